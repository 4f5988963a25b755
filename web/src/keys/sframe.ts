// SFrame (RFC 9605): header, key derivation, the five registered cipher suites. Calls use suite 0x0005 (AES_256_GCM_SHA512_128).

import { concat, equal, owned, utf8, type Bytes } from "./bytes";

export const AES_256_GCM_SHA512_128 = 0x0005;

const MAX_UINT64 = (1n << 64n) - 1n;

interface CipherSuite {
  hash: "SHA-256" | "SHA-512";
  /** Length of the AES key, and for AES-CTR with HMAC of the authentication key behind it. */
  encryptionKeyBytes: number;
  authenticationKeyBytes: number;
  nonceBytes: number;
  tagBytes: number;
}

/** RFC 9605 §4.5, table 1. */
const SUITES: Readonly<Record<number, CipherSuite>> = {
  0x0001: { hash: "SHA-256", encryptionKeyBytes: 16, authenticationKeyBytes: 32, nonceBytes: 12, tagBytes: 10 },
  0x0002: { hash: "SHA-256", encryptionKeyBytes: 16, authenticationKeyBytes: 32, nonceBytes: 12, tagBytes: 8 },
  0x0003: { hash: "SHA-256", encryptionKeyBytes: 16, authenticationKeyBytes: 32, nonceBytes: 12, tagBytes: 4 },
  0x0004: { hash: "SHA-256", encryptionKeyBytes: 16, authenticationKeyBytes: 0, nonceBytes: 12, tagBytes: 16 },
  0x0005: { hash: "SHA-512", encryptionKeyBytes: 32, authenticationKeyBytes: 0, nonceBytes: 12, tagBytes: 16 },
};

/** A frame that is not ours, was changed on the way or came twice. It is counted and dropped. */
export class FrameRefused extends Error {}

export interface SFrameHeader {
  kid: bigint;
  ctr: bigint;
  /** Octets that the header takes at the front of the frame. */
  length: number;
}

function minimalOctets(value: bigint): number[] {
  const octets: number[] = [];
  for (let rest = value; rest > 0n; rest >>= 8n) octets.unshift(Number(rest & 0xffn));
  return octets;
}

/** One half of the config octet and the octets that follow it (RFC 9605 §4.3): values below 8 stand in the octet itself. */
function encodeField(value: bigint): [number, number[]] {
  if (value < 0n || value > MAX_UINT64) throw new RangeError("KID and CTR are unsigned 64-bit numbers");
  if (value < 8n) return [Number(value), []];
  const octets = minimalOctets(value);
  return [0x8 | (octets.length - 1), octets];
}

/** RFC 9605 §4.3. */
export function encodeHeader(kid: bigint, ctr: bigint): Bytes {
  const [kidBits, kidOctets] = encodeField(kid);
  const [ctrBits, ctrOctets] = encodeField(ctr);
  return Uint8Array.of((kidBits << 4) | ctrBits, ...kidOctets, ...ctrOctets);
}

/** Strict: throws FrameRefused on a header that is cut short or not in its shortest form. */
export function parseHeader(frame: Uint8Array): SFrameHeader {
  const config = frame[0];
  if (config === undefined) throw new FrameRefused("empty frame");
  let offset = 1;
  const field = (bits: number): bigint => {
    if ((bits & 0x8) === 0) return BigInt(bits);
    const octets = (bits & 0x7) + 1;
    if (frame.length < offset + octets) throw new FrameRefused("header cut short");
    let value = 0n;
    for (let i = 0; i < octets; i++) value = (value << 8n) | BigInt(frame[offset + i] ?? 0);
    offset += octets;
    if (value < 8n || value >> BigInt(8 * (octets - 1)) === 0n) throw new FrameRefused("header not in its shortest form");
    return value;
  };
  const kid = field(config >> 4);
  const ctr = field(config & 0xf);
  return { kid, ctr, length: offset };
}

async function hkdfExtract(hash: string, ikm: Uint8Array): Promise<Bytes> {
  // RFC 5869 §2.2 with an empty salt, which is a key of HashLen zeros.
  const zeros = new Uint8Array(hash === "SHA-512" ? 64 : 32);
  const key = await crypto.subtle.importKey("raw", zeros, { name: "HMAC", hash }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, owned(ikm)));
}

async function hkdfExpand(hash: string, prk: Bytes, info: Bytes, length: number): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", prk, { name: "HMAC", hash }, false, ["sign"]);
  let block: Bytes = new Uint8Array();
  let output: Bytes = new Uint8Array();
  for (let i = 1; output.length < length; i++) {
    block = new Uint8Array(await crypto.subtle.sign("HMAC", key, concat(block, info, Uint8Array.of(i))));
    output = concat(output, block);
  }
  return output.slice(0, length);
}

export interface DerivedKey {
  key: Bytes;
  salt: Bytes;
}

/** RFC 9605 §4.4.2. */
export async function deriveKeySalt(suiteId: number, kid: bigint, baseKey: Uint8Array): Promise<DerivedKey> {
  const suite = suiteOf(suiteId);
  const tail = new Uint8Array(10);
  new DataView(tail.buffer).setBigUint64(0, kid);
  new DataView(tail.buffer).setUint16(8, suiteId);
  const secret = await hkdfExtract(suite.hash, baseKey);
  const keyBytes = suite.encryptionKeyBytes + suite.authenticationKeyBytes;
  return {
    key: await hkdfExpand(suite.hash, secret, concat(utf8("SFrame 1.0 Secret key "), tail), keyBytes),
    salt: await hkdfExpand(suite.hash, secret, concat(utf8("SFrame 1.0 Secret salt "), tail), suite.nonceBytes),
  };
}

function suiteOf(suiteId: number): CipherSuite {
  const suite = SUITES[suiteId];
  if (suite === undefined) throw new RangeError(`SFrame cipher suite ${suiteId} is not registered`);
  return suite;
}

export interface Aead {
  seal(nonce: Bytes, aad: Bytes, plaintext: Uint8Array): Promise<Bytes>;
  open(nonce: Bytes, aad: Bytes, sealed: Uint8Array): Promise<Bytes>;
}

async function gcmAead(suite: CipherSuite, key: Bytes): Promise<Aead> {
  const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]);
  const parameters = (iv: Bytes, additionalData: Bytes): AesGcmParams => ({ name: "AES-GCM", iv, additionalData, tagLength: 8 * suite.tagBytes });
  return {
    seal: async (nonce, aad, plaintext) => new Uint8Array(await crypto.subtle.encrypt(parameters(nonce, aad), aes, owned(plaintext))),
    open: async (nonce, aad, sealed) => {
      try {
        return new Uint8Array(await crypto.subtle.decrypt(parameters(nonce, aad), aes, owned(sealed)));
      } catch {
        throw new FrameRefused("authentication failed");
      }
    },
  };
}

/** AES-CTR with HMAC (RFC 9605 §4.5.1). */
async function ctrHmacAead(suite: CipherSuite, key: Bytes): Promise<Aead> {
  const aes = await crypto.subtle.importKey("raw", key.slice(0, suite.encryptionKeyBytes), "AES-CTR", false, ["encrypt", "decrypt"]);
  const mac = await crypto.subtle.importKey("raw", key.slice(suite.encryptionKeyBytes), { name: "HMAC", hash: suite.hash }, false, ["sign"]);
  const parameters = (nonce: Bytes): AesCtrParams => ({ name: "AES-CTR", counter: concat(nonce, new Uint8Array(4)), length: 32 });
  const tag = async (nonce: Bytes, aad: Bytes, ciphertext: Bytes): Promise<Bytes> => {
    const lengths = new Uint8Array(24);
    [aad.length, ciphertext.length, suite.tagBytes].forEach((length, i) => new DataView(lengths.buffer).setBigUint64(8 * i, BigInt(length)));
    const full = new Uint8Array(await crypto.subtle.sign("HMAC", mac, concat(lengths, nonce, aad, ciphertext)));
    return full.slice(0, suite.tagBytes);
  };
  return {
    seal: async (nonce, aad, plaintext) => {
      const ciphertext = new Uint8Array(await crypto.subtle.encrypt(parameters(nonce), aes, owned(plaintext)));
      return concat(ciphertext, await tag(nonce, aad, ciphertext));
    },
    open: async (nonce, aad, sealed) => {
      const ciphertext = owned(sealed.subarray(0, sealed.length - suite.tagBytes));
      const received = sealed.subarray(sealed.length - suite.tagBytes);
      if (!equal(received, await tag(nonce, aad, ciphertext))) throw new FrameRefused("authentication failed");
      return new Uint8Array(await crypto.subtle.decrypt(parameters(nonce), aes, ciphertext));
    },
  };
}

/** The AEAD of a suite under a key that `deriveKeySalt` made. */
export async function importAead(suiteId: number, key: Bytes): Promise<Aead> {
  const suite = suiteOf(suiteId);
  return suite.authenticationKeyBytes > 0 ? ctrHmacAead(suite, key) : gcmAead(suite, key);
}

/** How far behind the newest counter a frame may arrive; WebRTC reorders little, redundancy is below SFrame. */
const REPLAY_WINDOW = 1024n;

/** Refuses counters seen before or too old. A counter is marked only after its frame was authenticated. */
export class ReplayWindow {
  private newest = -1n;
  private readonly seen = new Set<bigint>();

  check(ctr: bigint): void {
    if (ctr + REPLAY_WINDOW <= this.newest) throw new FrameRefused("counter too old");
    if (this.seen.has(ctr)) throw new FrameRefused("counter used twice");
  }

  mark(ctr: bigint): void {
    this.seen.add(ctr);
    if (ctr > this.newest) {
      this.newest = ctr;
      if (this.seen.size > 2 * Number(REPLAY_WINDOW)) {
        for (const old of this.seen) if (old + REPLAY_WINDOW <= ctr) this.seen.delete(old);
      }
    }
  }
}

/** One key of one sender: seals with a running counter, or opens what bears this KID. Use an object for one direction only. */
export class SFrameKey {
  private nextCounter = 0n;
  private readonly replay = new ReplayWindow();

  private constructor(
    readonly kid: bigint,
    private readonly suite: CipherSuite,
    private readonly salt: Bytes,
    private readonly aead: Aead,
  ) {}

  static async derive(suiteId: number, kid: bigint, baseKey: Uint8Array): Promise<SFrameKey> {
    const suite = suiteOf(suiteId);
    const { key, salt } = await deriveKeySalt(suiteId, kid, baseKey);
    return new SFrameKey(kid, suite, salt, await importAead(suiteId, key));
  }

  /** RFC 9605 §4.4.3: salt XOR counter. */
  private nonce(ctr: bigint): Bytes {
    const nonce = this.salt.slice();
    for (let i = nonce.length - 1, rest = ctr; i >= 0; i--, rest >>= 8n) nonce[i] = (nonce[i] ?? 0) ^ Number(rest & 0xffn);
    return nonce;
  }

  /** Header ‖ ciphertext ‖ tag. The counter is taken before anything is awaited, so that no two frames ever share one. */
  async seal(plaintext: Uint8Array, metadata: Uint8Array = new Uint8Array()): Promise<Bytes> {
    return this.sealWith(this.nextCounter++, plaintext, metadata);
  }

  /** With a counter of the caller's choosing, for test vectors. */
  async sealWith(ctr: bigint, plaintext: Uint8Array, metadata: Uint8Array = new Uint8Array()): Promise<Bytes> {
    const header = encodeHeader(this.kid, ctr);
    return concat(header, await this.aead.seal(this.nonce(ctr), concat(header, metadata), plaintext));
  }

  /** The plaintext. Throws FrameRefused for a foreign KID, a counter seen before, or a frame that does not authenticate. */
  async open(frame: Uint8Array, metadata: Uint8Array = new Uint8Array()): Promise<Bytes> {
    const header = parseHeader(frame);
    if (header.kid !== this.kid) throw new FrameRefused("unknown key id");
    if (frame.length < header.length + this.suite.tagBytes) throw new FrameRefused("frame cut short");
    this.replay.check(header.ctr);
    const aad = concat(frame.subarray(0, header.length), metadata);
    const plaintext = await this.aead.open(this.nonce(header.ctr), aad, frame.subarray(header.length));
    this.replay.check(header.ctr); // two copies may have been opened side by side
    this.replay.mark(header.ctr);
    return plaintext;
  }
}

/** RFC 9605 §5.2 with E = 8: the sender's leaf and the low bits of the epoch. */
export function mlsKid(leafIndex: number, epoch: bigint): bigint {
  return (BigInt(leafIndex) << 8n) + (epoch & 0xffn);
}

const SENDER_BITS = 16n;
const EPOCH_BITS = 8n;
const CONTEXT_BITS = 40n;

/** What a KID of RFC 9605 §5.2 says, with E = 8, S = 16 and the rest for a context. */
export interface MlsKid {
  context: bigint;
  leafIndex: number;
  /** The low bits of the epoch. */
  epochBits: number;
}

/**
 * A context of one sender's one connection, drawn by chance. Keys are derived from the whole KID (§4.4.2), so whoever comes back into a
 * call starts his counter under a key of its own.
 */
export function drawContext(): bigint {
  const octets = crypto.getRandomValues(new Uint8Array(Number(CONTEXT_BITS) / 8));
  return octets.reduce((value, octet) => (value << 8n) | BigInt(octet), 0n);
}

export function encodeMlsKid(context: bigint, leafIndex: number, epoch: bigint): bigint {
  if (leafIndex >> Number(SENDER_BITS) !== 0 || context >> CONTEXT_BITS !== 0n) throw new RangeError("a leaf or context too large for a KID");
  return (context << (SENDER_BITS + EPOCH_BITS)) | (BigInt(leafIndex) << EPOCH_BITS) | (epoch & 0xffn);
}

export function parseMlsKid(kid: bigint): MlsKid {
  return { context: kid >> (SENDER_BITS + EPOCH_BITS), leafIndex: Number((kid >> EPOCH_BITS) & 0xffffn), epochBits: Number(kid & 0xffn) };
}
