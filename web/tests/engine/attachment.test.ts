// Sealed attachments: the shared vectors, whatever a server could do to one, and files between whole phones.

import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { AttachmentCipher, AttachmentRefused, CHUNK_BYTES, chunkCount, newSecret, paddedBytes, sealedBytes } from "../../src/keys/attachment";
import { equal, fromBase64, randomBytes, toBase64, type Bytes } from "../../src/keys/bytes";
import { isPicture, safeName, safeType } from "../../src/phone/engine/files";
import { encodeMessage, MalformedMessage, parseMessage, type AttachmentMessage } from "../../src/phone/engine/messages";
import { handset, twoPeople, until, type Handset } from "./handset";

interface Vectors {
  padded: [number, number][];
  attachments: { attachment_id: string; key: string; size: number; sha256: string; chunks: { octets: number; sha256: string }[] }[];
}

const vectors = JSON.parse(readFileSync(new URL("../../../tests/vectors/attachment/vectors.json", import.meta.url), "utf8")) as Vectors;
const ID = "00112233445566778899aabbccddeeff";

async function sha256(bytes: Bytes): Promise<string> {
  return toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

function contentOf(size: number): Bytes {
  return Uint8Array.from({ length: size }, (_, i) => i * 7 + (i >> 8));
}

/** Vitest compares arrays one octet at a time. */
const same = (one: Uint8Array | null, other: Uint8Array): boolean => one !== null && equal(one, other);

async function seal(cipher: AttachmentCipher, content: Uint8Array): Promise<Bytes[]> {
  return Promise.all(Array.from({ length: chunkCount(content.length) }, (_, index) => cipher.sealChunk(content, index)));
}

async function open(cipher: AttachmentCipher, chunks: readonly Uint8Array[]): Promise<Bytes> {
  return cipher.finish(await Promise.all(chunks.map((chunk, index) => cipher.openChunk(chunk, index))));
}

describe("the chunk format", () => {
  it.each(vectors.attachments)("agrees with the vectors at $size octets", async ({ attachment_id: id, key, size, sha256: digest, chunks }) => {
    const cipher = await AttachmentCipher.open(id, size, { key: fromBase64(key), sha256: fromBase64(digest) });
    const content = contentOf(size);
    const sealed = await seal(cipher, content);
    expect(await Promise.all(sealed.map(async (chunk) => ({ octets: chunk.length, sha256: await sha256(chunk) })))).toEqual(chunks.map(({ octets, sha256: each }) => ({ octets, sha256: each })));
    expect(sealed.reduce((sum, { length }) => sum + length, 0)).toBe(sealedBytes(size));
    expect(same(await open(cipher, sealed), content)).toBe(true);
  });

  it("pads to the size classes of the vectors", () => {
    expect(vectors.padded.map(([size]) => [size, paddedBytes(size)])).toEqual(vectors.padded);
  });

  it("names what was cut, moved, altered or mixed, and gives nothing out", async () => {
    const long = contentOf(300_000);
    const secret = await newSecret(long);
    const cipher = await AttachmentCipher.open(ID, long.length, secret);
    const [first, second, third] = (await seal(cipher, long)) as [Bytes, Bytes, Bytes];
    const altered = first.slice();
    altered[7] = (altered[7] ?? 0) ^ 1;
    const elsewhere = await AttachmentCipher.open("ff".repeat(16), long.length, secret);
    const longer = await AttachmentCipher.open(ID, long.length + CHUNK_BYTES, secret);
    const strange = await AttachmentCipher.open(ID, long.length, await newSecret(long));
    const refused: [string, readonly Uint8Array[]][] = [
      ["wrong_length", [first, second]],
      ["wrong_length", [first, second, third.slice(1)]],
      ["forged", [second, first, third]],
      ["forged", [first, first, third]],
      ["forged", [altered, second, third]],
      ["forged", [first, await elsewhere.sealChunk(long, 1), third]],
      ["forged", [first, await longer.sealChunk(long, 1), third]],
      ["forged", [first, await strange.sealChunk(long, 1), third]],
    ];
    for (const [reason, chunks] of refused) await expect(open(cipher, chunks)).rejects.toMatchObject({ reason });
    const other = await AttachmentCipher.open(ID, long.length, { key: secret.key, sha256: randomBytes(32) });
    await expect(open(other, [first, second, third])).rejects.toBeInstanceOf(AttachmentRefused);
    expect(same(await open(cipher, [first, second, third]), long)).toBe(true);
  });
});

describe("what a sender calls his file", () => {
  it("is a name and nothing else", () => {
    const right = String.fromCodePoint(0x202e); // turns the rest of the line around
    expect(["../../etc/passwd", "C:\\dir\\a.txt", ".profile", "  ", `gnp${right}.exe`, "a\u0000b\n.txt", "ünïcode è.pdf"].map(safeName)).toEqual([
      "passwd", "a.txt", "profile", "file", "gnp.exe", "ab.txt", "ünïcode è.pdf",
    ]); // prettier-ignore
    expect(safeName(`${"x".repeat(400)}.pdf`)).toBe(`${"x".repeat(116)}.pdf`);
  });

  it("is drawn only if it is a picture of a known kind", () => {
    const file = (mediaType: string, voiceS: number | null = null) => ({ name: "a", mediaType, size: 1, voiceS });
    expect(["image/png", "image/svg+xml", "text/html", "image/jpeg"].map((type) => isPicture(file(type)))).toEqual([true, false, false, true]);
    expect(["image/svg+xml", "text/html", "image/webp"].map((type) => safeType(file(type)))).toEqual(["application/octet-stream", "application/octet-stream", "image/webp"]);
    expect(safeType(file("text/html", 3))).toBe("audio/webm");
  });

  it("travels, and what breaks the format is dropped", () => {
    const message: AttachmentMessage = { type: "attachment", id: ID, file: { name: "a.pdf", mediaType: "application/pdf", size: 7, voiceS: null }, secret: { key: randomBytes(32), sha256: randomBytes(32) }, sentAt: 1 };
    expect(parseMessage(encodeMessage(message))).toEqual(message);
    const wire = JSON.parse(new TextDecoder().decode(encodeMessage(message))) as Record<string, unknown>;
    const broken = [{ size: -1 }, { size: 1.5 }, { size: 2 ** 40 }, { key: "AA==" }, { kind: "voice", duration_s: 1e9 }, { id: "../x" }, { name: 7 }];
    for (const change of broken) expect(() => parseMessage(new TextEncoder().encode(JSON.stringify({ ...wire, ...change })))).toThrow(MalformedMessage);
  });
});

function files(phone: Handset, peer: string): { id: string; name: string | undefined; state: string }[] {
  const thread = phone.state().threads[phone.with(peer)] ?? [];
  return thread.flatMap((entry) => (entry.kind === "text" && entry.file !== undefined ? [{ id: entry.id, name: entry.file.name, state: entry.state }] : []));
}

describe("files between phones", () => {
  const picture = { name: "map.png", mediaType: "image/png", voiceS: null };

  it("arrive whole, are confirmed, and the server has only what is sealed", async () => {
    const { server, anna, bruno } = await twoPeople();
    const content = new Uint8Array(300_000).fill(7);
    await anna.phone.sendFile(anna.with(bruno.id()), { ...picture, content });
    await until(() => files(anna, bruno.id())[0]?.state === "delivered");
    const [file] = files(bruno, anna.id());
    expect(file).toMatchObject({ name: "map.png" });
    expect(same(await bruno.phone.fetchFile(bruno.with(anna.id()), file?.id ?? ""), content)).toBe(true);
    expect([anna.state().transfers, bruno.state().transfers]).toEqual([{}, {}]);
    const stored = [...server.attachments.values()].flatMap(({ chunks }) => [...chunks.values()]);
    expect(stored.map(({ length }) => length)).toEqual([CHUNK_BYTES + 16, CHUNK_BYTES + 16, paddedBytes(300_000) - 2 * CHUNK_BYTES + 16]);
    expect(stored.some((chunk) => chunk.subarray(0, 100).every((octet) => octet === 7))).toBe(false);
    expect(server.seen.join().includes("map.png")).toBe(false);
    // What is small enough stays on the device and is there without the server.
    server.attachments.clear();
    bruno.phone.stop();
    const again = handset(server, bruno.store);
    await again.phone.start();
    await until(() => files(again, anna.id()).length === 1);
    expect(same(await again.phone.fetchFile(again.with(anna.id()), file?.id ?? ""), content)).toBe(true);
  });

  it("go on at the missing chunk when the server was away and the phone was closed", async () => {
    const { server, anna, bruno } = await twoPeople();
    const content = contentOf(300_000);
    server.loseAnswersTo = /chunks\/1/;
    server.holdUntil(1, /chunks\/2/);
    const [held] = [server.barrier];
    if (held !== null) held.missing = 1_000; // the third chunk hangs
    await anna.phone.sendFile(anna.with(bruno.id()), { ...picture, content });
    await until(() => server.chunksPut === 2);
    anna.phone.stop();
    server.barrier = null;
    const again = handset(server, anna.store);
    await again.phone.start();
    await until(() => files(again, bruno.id())[0]?.state === "delivered");
    expect(server.chunksPut).toBe(3);
    expect(same(await bruno.phone.fetchFile(bruno.with(again.id()), files(bruno, again.id())[0]?.id ?? ""), content)).toBe(true);
  });

  it("that the server has altered are refused by name, and fetched anew when asked", async () => {
    const { server, anna, bruno } = await twoPeople();
    const content = contentOf(200_000);
    await anna.phone.sendFile(anna.with(bruno.id()), { ...picture, content });
    await until(() => files(bruno, anna.id()).length === 1);
    const { id } = files(bruno, anna.id())[0] as { id: string };
    const chunks = server.attachments.get(id)?.chunks as Map<number, Uint8Array>;
    const honest = chunks.get(0) as Uint8Array;
    const altered = honest.slice();
    altered[5] = (altered[5] ?? 0) ^ 1;
    chunks.set(0, altered);
    expect(await bruno.phone.fetchFile(bruno.with(anna.id()), id)).toBeNull();
    expect(bruno.state().transfers[id]?.fault).toBe("refused");
    chunks.set(0, honest);
    expect(same(await bruno.phone.fetchFile(bruno.with(anna.id()), id), content)).toBe(true);
    expect(bruno.state().transfers[id]).toBeUndefined();
  });

  it("that were not all sealed when the phone ended are gone from it after the next start; those that wait are not", async () => {
    const { server, anna, bruno } = await twoPeople();
    const chunksAt = (phone: Handset): number => phone.store.dump().values.filter((value) => value instanceof Uint8Array && value.length > CHUNK_BYTES).length;
    await anna.phone.sendText(anna.with(bruno.id()), "first");
    await until(() => anna.texts(bruno.id()).includes("> first delivered"));
    server.holdUntil(1_000, /attachments/);
    await anna.phone.sendFile(anna.with(bruno.id()), { ...picture, content: contentOf(3 * CHUNK_BYTES) });
    const waiting = chunksAt(anna);
    expect(waiting).toBeGreaterThanOrEqual(3);
    const apply = anna.store.apply.bind(anna.store);
    let left = 1; // the others are not written any more: the phone ended
    anna.store.apply = (changes) => (changes.some((change) => change.value instanceof Uint8Array && change.value.length > CHUNK_BYTES) && left-- === 0 ? Promise.reject(new Error("ended")) : apply(changes));
    await anna.phone.sendFile(anna.with(bruno.id()), { ...picture, name: "long.png", content: contentOf(20 * CHUNK_BYTES) });
    expect(chunksAt(anna)).toBeGreaterThan(waiting);
    anna.phone.stop();
    anna.store.apply = apply;
    const again = handset(server, anna.store);
    await again.phone.start();
    await until(() => again.state().me !== null);
    expect(chunksAt(again)).toBe(waiting);
    expect(files(again, bruno.id()).map(({ name }) => name)).toEqual(["map.png"]);
    server.letGo();
    await until(() => files(again, bruno.id())[0]?.state === "delivered");
  });

  it("that are too large for the server fail and say so; a cancelled one leaves no trace", async () => {
    const { server, anna, bruno } = await twoPeople();
    server.mostOctets = 10_000;
    await anna.phone.sendFile(anna.with(bruno.id()), { ...picture, content: randomBytes(20_000) });
    await until(() => files(anna, bruno.id())[0]?.state === "failed");
    const { id } = files(anna, bruno.id())[0] as { id: string };
    expect(anna.state().transfers[id]?.fault).toBe("too_large");
    server.mostOctets = 1e9;
    await anna.phone.retryText(anna.with(bruno.id()), id);
    await until(() => files(anna, bruno.id())[0]?.state === "delivered");
    server.holdUntil(1_000, /chunks/);
    await anna.phone.sendFile(anna.with(bruno.id()), { ...picture, name: "no.png", content: randomBytes(20_000) });
    await until(() => server.attachments.size === 2);
    await anna.phone.cancelTransfer(anna.with(bruno.id()), files(anna, bruno.id())[1]?.id ?? "");
    expect(files(anna, bruno.id()).map(({ name }) => name)).toEqual(["map.png"]);
    await until(() => server.attachments.size === 1);
    expect(Object.keys(anna.state().transfers)).toEqual([]);
  });
});
