import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

import { concat, fromHex, toHex, utf8 } from "../../src/keys/bytes";
import { AES_256_GCM_SHA512_128, deriveKeySalt, encodeHeader, FrameRefused, importAead, mlsKid, parseHeader, ReplayWindow, SFrameKey } from "../../src/keys/sframe";

interface Vectors {
  header: { kid: string; ctr: string; encoded: string }[];
  aes_ctr_hmac: Record<string, string>[];
  sframe: ({ cipher_suite: string; kid: string; ctr: string } & Record<string, string>)[];
}

// KID and CTR reach 2⁶⁴-1: every number is read as a string.
const source = readFileSync(new URL("../../../tests/vectors/sframe/test-vectors.json", import.meta.url), "utf8");
const vectors = JSON.parse(source.replace(/: (\d+)/g, ': "$1"')) as Vectors;
const field = (vector: Record<string, string>, name: string): Uint8Array<ArrayBuffer> => fromHex(vector[name] ?? "missing");

describe("official vectors of the SFrame working group", () => {
  it("headers: all 289, both ways", () => {
    expect(vectors.header.length).toBe(289);
    for (const { kid, ctr, encoded } of vectors.header) {
      expect(toHex(encodeHeader(BigInt(kid), BigInt(ctr)))).toBe(encoded);
      expect(parseHeader(fromHex(encoded))).toEqual({ kid: BigInt(kid), ctr: BigInt(ctr), length: encoded.length / 2 });
    }
  });

  it.each(vectors.sframe)("cipher suite $cipher_suite: key, salt, ciphertext and plaintext", async (vector) => {
    const suite = Number(vector.cipher_suite);
    const [kid, ctr] = [BigInt(vector.kid), BigInt(vector.ctr)];
    const derived = await deriveKeySalt(suite, kid, field(vector, "base_key"));
    expect(toHex(derived.key)).toBe(vector.sframe_key);
    expect(toHex(derived.salt)).toBe(vector.sframe_salt);
    const key = await SFrameKey.derive(suite, kid, field(vector, "base_key"));
    expect(toHex(await key.sealWith(ctr, field(vector, "pt"), field(vector, "metadata")))).toBe(vector.ct);
    expect(toHex(await key.open(field(vector, "ct"), field(vector, "metadata")))).toBe(vector.pt);
  });

  it.each(vectors.aes_ctr_hmac)("AES-CTR with HMAC of cipher suite $cipher_suite", async (vector) => {
    const aead = await importAead(Number(vector["cipher_suite"]), field(vector, "key"));
    const [nonce, aad] = [field(vector, "nonce"), field(vector, "aad")];
    expect(toHex(await aead.seal(nonce, aad, field(vector, "pt")))).toBe(vector["ct"]);
    expect(toHex(await aead.open(nonce, aad, field(vector, "ct")))).toBe(vector["pt"]);
  });

  it("cover every registered suite", () => {
    expect(vectors.sframe.map((vector) => vector.cipher_suite)).toEqual(["1", "2", "3", "4", "5"]);
    expect(vectors.aes_ctr_hmac.map((vector) => vector["cipher_suite"])).toEqual(["1", "2", "3"]);
  });
});

describe("SFrame", () => {
  const baseKey = new Uint8Array(32).fill(9);
  const pair = async () => [await SFrameKey.derive(AES_256_GCM_SHA512_128, 257n, baseKey), await SFrameKey.derive(AES_256_GCM_SHA512_128, 257n, baseKey)] as const;

  it("counts up and refuses replays, but takes frames out of order", async () => {
    const [sender, receiver] = await pair();
    const frames = await Promise.all(["a", "b", "c"].map((text) => sender.seal(utf8(text))));
    expect(new Set(frames.map((frame) => parseHeader(frame).ctr)).size).toBe(3);
    for (const i of [2, 0, 1]) expect((await receiver.open(frames[i] as Uint8Array)).length).toBe(1);
    await expect(receiver.open(frames[0] as Uint8Array)).rejects.toThrow(FrameRefused);
  });

  it("refuses changed, cut and foreign frames, and goes on with the next good one", async () => {
    const [sender, receiver] = await pair();
    const frame = await sender.seal(utf8("suono"));
    for (let i = 0; i < frame.length; i++) {
      const changed = frame.slice();
      changed[i] = (changed[i] ?? 0) ^ 1;
      await expect(receiver.open(changed)).rejects.toThrow(FrameRefused);
      await expect(receiver.open(frame.slice(0, i))).rejects.toThrow(FrameRefused);
    }
    const wrong = await SFrameKey.derive(AES_256_GCM_SHA512_128, 257n, new Uint8Array(32).fill(8));
    await expect(wrong.open(frame)).rejects.toThrow(FrameRefused);
    const otherKid = await SFrameKey.derive(AES_256_GCM_SHA512_128, 1n, baseKey);
    await expect(otherKid.open(frame)).rejects.toThrow("unknown key id");
    expect(await receiver.open(frame)).toEqual(utf8("suono"));
  });

  it("reads headers in their shortest form only", () => {
    for (const encoded of ["", "0800", "0807", "8007", "09", "0900ff", "f0"]) {
      expect(() => parseHeader(concat(fromHex(encoded)))).toThrow(FrameRefused);
    }
    expect(() => encodeHeader(-1n, 0n)).toThrow(RangeError);
    expect(() => encodeHeader(0n, 1n << 64n)).toThrow(RangeError);
  });

  it("makes the KID from leaf and epoch (RFC 9605 §5.2)", () => {
    expect(mlsKid(0, 1n)).toBe(1n);
    expect(mlsKid(1, 258n)).toBe(258n);
  });

  it("keeps a bounded replay window", () => {
    const window = new ReplayWindow();
    for (let ctr = 0n; ctr < 5000n; ctr++) window.mark(ctr);
    expect(() => window.check(5000n)).not.toThrow();
    expect(() => window.check(4999n)).toThrow("twice");
    expect(() => window.check(10n)).toThrow("too old");
  });
});
