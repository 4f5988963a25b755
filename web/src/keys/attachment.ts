// Attachments sealed in chunks (docs/protocols.md, "Attachments"): AES-256-GCM under a key of the attachment's own.
//
// The nonce of a chunk is its number, so a key seals one content once and never another. Its additional data bind attachment, number and
// count: a chunk of another attachment, in another place, or of a shorter or longer one does not open. The content is padded with zeros
// to a size class before it is cut: sizes tell little.

import { concat, equal, fromHex, owned, randomBytes, type Bytes } from "./bytes";
import { encodeStatement, numberField } from "./statement";

const CONTEXT = "tramontana attachment chunk 1";
const KEY_BYTES = 32;
const TAG_BYTES = 16;
const NONCE_BYTES = 12;
export const CHUNK_BYTES = 128 * 1024;
const LEAST_PADDED_BYTES = 1024;
/** What a phone takes at all: a content lies in its memory as a whole. */
export const MOST_ATTACHMENT_BYTES = 64 * 1024 * 1024;

/**
 * What was fetched is not what its sender told of; nothing of it is used. `forged`: a chunk does not open, because it was altered, is out
 * of place, of another attachment, or under another key. `wrong_length`: something is missing or too much.
 */
export class AttachmentRefused extends Error {
  constructor(
    readonly reason: "forged" | "wrong_length" | "wrong_digest",
    detail: string,
  ) {
    super(`${reason}: ${detail}`);
  }
}

/** What travels in the message that tells of an attachment, and opens it. */
export interface AttachmentSecret {
  key: Uint8Array;
  sha256: Uint8Array;
}

/** The size class of a content: Padmé (Nikitin et al., PoPETs 2019, §4.3), at least 1 KiB; at most 12 % are added above that. */
export function paddedBytes(size: number): number {
  const least = Math.max(size, LEAST_PADDED_BYTES);
  const exponent = 31 - Math.clz32(least);
  const step = 2 ** (exponent - (32 - Math.clz32(exponent)));
  return Math.ceil(least / step) * step;
}

export function chunkCount(size: number): number {
  return Math.ceil(paddedBytes(size) / CHUNK_BYTES);
}

/** Octets of a sealed chunk, and of all together. */
export function sealedChunkBytes(size: number, index: number): number {
  return Math.min(CHUNK_BYTES, paddedBytes(size) - index * CHUNK_BYTES) + TAG_BYTES;
}

export function sealedBytes(size: number): number {
  return paddedBytes(size) + chunkCount(size) * TAG_BYTES;
}

export async function newSecret(content: Uint8Array): Promise<AttachmentSecret> {
  return { key: randomBytes(KEY_BYTES), sha256: await digest(content) };
}

/** Opens and seals the chunks of one attachment. */
export class AttachmentCipher {
  private constructor(
    private readonly key: CryptoKey,
    private readonly attachmentId: Bytes,
    private readonly size: number,
    private readonly sha256: Uint8Array,
  ) {}

  static async open(attachmentId: string, size: number, secret: AttachmentSecret): Promise<AttachmentCipher> {
    const key = await crypto.subtle.importKey("raw", owned(secret.key), "AES-GCM", false, ["encrypt", "decrypt"]);
    return new AttachmentCipher(key, fromHex(attachmentId), size, secret.sha256);
  }

  /** `content` is the whole content, always the same one. */
  async sealChunk(content: Uint8Array, index: number): Promise<Bytes> {
    const plain = new Uint8Array(sealedChunkBytes(this.size, index) - TAG_BYTES);
    plain.set(content.subarray(index * CHUNK_BYTES, index * CHUNK_BYTES + plain.length));
    return new Uint8Array(await crypto.subtle.encrypt(this.parameters(index), this.key, plain));
  }

  /** Rejects with AttachmentRefused. */
  async openChunk(chunk: Uint8Array, index: number): Promise<Bytes> {
    const count = chunkCount(this.size);
    if (chunk.length !== sealedChunkBytes(this.size, index)) {
      throw new AttachmentRefused("wrong_length", `chunk ${index + 1} of ${count} has ${chunk.length} octets, not ${sealedChunkBytes(this.size, index)}`);
    }
    try {
      return new Uint8Array(await crypto.subtle.decrypt(this.parameters(index), this.key, owned(chunk)));
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      throw new AttachmentRefused("forged", `chunk ${index + 1} of ${count} does not belong there`);
    }
  }

  /** The content, from all opened chunks in order. Rejects with AttachmentRefused. */
  async finish(opened: readonly Uint8Array[]): Promise<Bytes> {
    if (opened.length !== chunkCount(this.size)) throw new AttachmentRefused("wrong_length", `${opened.length} chunks, not ${chunkCount(this.size)}`);
    const content = concat(...opened).subarray(0, this.size);
    if (!equal(await digest(content), this.sha256)) throw new AttachmentRefused("wrong_digest", "the content has another SHA-256 than its sender told");
    return owned(content);
  }

  private parameters(index: number): AesGcmParams {
    const iv = concat(new Uint8Array(NONCE_BYTES - 8), numberField(index));
    return { name: "AES-GCM", iv, additionalData: encodeStatement(CONTEXT, [this.attachmentId, numberField(index), numberField(chunkCount(this.size))]) };
  }
}

async function digest(content: Uint8Array): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", owned(content)));
}
