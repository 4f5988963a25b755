// Sealed texts: the vectors that the Python code made (tests/vectors/sealed_text), with the same words to every step of its stories.

import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { fromHex, toHex } from "../../src/keys/bytes";
import { CannotOpen, CannotSeal, DirectionKey, EXPORT_BYTES, LABEL, SealedTexts, exportContext } from "../../src/keys/sealedText";
import { decode, encode, missing, pack, septetsOf, unpack } from "../../src/texts/gsmAlphabet";
import { MAX_PARTS, countMessages } from "../../src/texts/shortMessage";
import { decodeText, encodeText } from "../../src/texts/smallText";

type Step = { now: number; epochs: number[]; sending_epoch: number | null } & (
  | { do: "epoch"; epoch: number; sending: string; receiving: string }
  | { do: "seal"; plaintext: string; says: string }
  | { do: "open"; datagram: string; says: string | { plaintext: string; epoch: number; counter: number } }
  | { do: "confirm" | "forget_before"; epoch: number }
);

interface Vectors {
  exporter: { label: string; octets: number; sender: string; receiver: string; context: string };
  alphabet: [string, number[]][];
  datagrams: { exported: string; counter: number; plaintext: string; datagram: string }[];
  texts: { text: string; plaintext: string }[];
  counts: { text: string; lacking: string; messages: number }[];
  stories: Step[][];
}

const vectors = JSON.parse(readFileSync(new URL("../../../tests/vectors/sealed_text/vectors.json", import.meta.url), "utf8")) as Vectors;

describe("the GSM alphabet", () => {
  it("is that of the server", () => {
    for (const [character, septets] of vectors.alphabet) expect([...encode(character)], JSON.stringify(character)).toEqual(septets);
    expect(vectors.alphabet.length).toBe(137);
    const others = Array.from({ length: 0x3000 }, (_, code) => String.fromCodePoint(code)).filter((character) => septetsOf(character) === 0);
    expect(missing(others.join(""))).toBe(others.join(""));
    expect(others.length).toBe(0x3000 - 137);
  });

  it("packs and unpacks any number of septets", () => {
    for (let length = 0; length < 40; length++) {
      const septets = Uint8Array.from({ length }, (_, index) => (index * 37 + length) % 128);
      expect([...unpack(pack(septets), length)]).toEqual([...septets]);
      expect(() => unpack(pack(septets), Math.floor((pack(septets).length * 8) / 7) + 1)).toThrow();
    }
    expect(decode(Uint8Array.of(0x1b, 0x1b, 0x1b, 0x41, 0x1b))).toBe(" A ");
  });

  it("counts short messages as the server writes them", () => {
    for (const { text, lacking, messages } of vectors.counts) {
      const counted = countMessages(text);
      expect(counted.lacking).toBe(lacking);
      expect(counted.fits).toBe(messages <= MAX_PARTS);
      if (messages <= MAX_PARTS) expect(counted.messages, text).toBe(messages);
      if (counted.messages === 1) expect(counted.used).toBeLessThanOrEqual(counted.room);
    }
  });
});

describe("small texts", () => {
  it.each(vectors.texts)("agree with the vectors: $text", ({ text, plaintext }) => {
    expect(toHex(encodeText(text))).toBe(plaintext);
    expect(decodeText(fromHex(plaintext))).toBe(text);
  });

  it("are refused where they cannot be read", () => {
    for (const octets of [[], [0, 0xff], [9, 1]]) expect(decodeText(Uint8Array.from(octets))).toBeNull();
  });
});

describe("sealed texts", () => {
  it.each(vectors.datagrams)("agree with the vectors at counter $counter", ({ exported, counter, plaintext, datagram }) => {
    const key = new DirectionKey(fromHex(exported));
    expect(toHex(key.seal(counter, fromHex(plaintext)))).toBe(datagram);
    expect(toHex(key.open(fromHex(datagram)) ?? new Uint8Array([1]))).toBe(plaintext);
    const changed = fromHex(datagram);
    changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
    expect(key.open(changed)).toBeNull();
  });

  it.each(vectors.stories.map((story, number) => ({ story, number })))("say to every step of story $number what Python says, restored at every step", ({ story }) => {
    let texts = new SealedTexts();
    for (const step of story) {
      texts = SealedTexts.restore(structuredClone(texts.record()));
      if (step.do === "epoch") texts.addEpoch(step.epoch, fromHex(step.sending), fromHex(step.receiving), step.now);
      else if (step.do === "seal") expect(said(() => toHex(texts.seal(fromHex(step.plaintext), step.now)))).toEqual(step.says);
      else if (step.do === "open") {
        const opened = said(() => texts.open(fromHex(step.datagram), step.now));
        expect(typeof opened === "string" ? opened : { ...opened, plaintext: toHex(opened.plaintext) }).toEqual(step.says);
      } else if (step.do === "confirm") texts.confirm(step.epoch);
      else texts.forgetBefore(step.epoch);
      expect({ epochs: texts.epochs, sending: texts.sendingEpoch }).toEqual({ epochs: step.epochs, sending: step.sending_epoch });
    }
  });

  it("ask the exporter for what Python asks", () => {
    const { label, octets, sender, receiver, context } = vectors.exporter;
    expect([LABEL, EXPORT_BYTES]).toEqual([label, octets]);
    expect(toHex(exportContext(fromHex(sender), fromHex(receiver)))).toBe(context);
  });

  it("have 117 octets and a direction", () => {
    const texts = new SealedTexts();
    expect(() => texts.seal(new Uint8Array(1), 0)).toThrow(CannotSeal);
    texts.addEpoch(1, new Uint8Array(46).fill(1), new Uint8Array(46).fill(2), 0);
    const sealed = texts.seal(new Uint8Array(117), 0);
    expect(sealed.length).toBe(140);
    expect(() => texts.seal(new Uint8Array(118), 0)).toThrow(CannotSeal);
    expect(said(() => texts.open(sealed, 0))).toBe("not_yet");
    const [one, other] = [new Uint8Array(16), new Uint8Array(16).fill(1)];
    expect(exportContext(one, other).length).toBe(32);
    expect(() => exportContext(one, one)).toThrow(RangeError);
  });
});

function said<T>(work: () => T): T | string {
  try {
    return work();
  } catch (error) {
    if (error instanceof CannotOpen) return error.reason;
    if (error instanceof CannotSeal) return "refused";
    throw error;
  }
}
