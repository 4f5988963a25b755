// The short code that both people read to each other (docs/protocols.md, "Short code").
//
// The caller commits to his nonce before he sees the callee's: whoever sits in the middle has one try in a million per call.

import { concat, equal, fromHex, owned, randomBytes, utf8, type Bytes } from "./bytes";

const LABEL = "tramontana short code 1";
const EXPORTER_LABEL = "tramontana short code";
export const NONCE_BYTES = 16;

/** RFC 9420 §8.5, bound to one conversation and epoch. */
export type Exporter = (label: string, context: Uint8Array, length: number) => Promise<Uint8Array>;

export function newNonce(): Bytes {
  return randomBytes(NONCE_BYTES);
}

/** SHA-256("tramontana short code 1" ‖ 0x00 ‖ nonce): what the caller sends first. */
export async function commitTo(nonce: Uint8Array): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(utf8(LABEL), Uint8Array.of(0), owned(nonce))));
}

/** Whether the nonce revealed is the one that was committed to. */
export async function revealMatches(commitment: Uint8Array, nonce: Uint8Array): Promise<boolean> {
  return nonce.length === NONCE_BYTES && equal(await commitTo(nonce), commitment);
}

/** Six digits, the same at both ends. `callId` is 32 hex digits. */
export async function shortCode(exporter: Exporter, callId: string, callerNonce: Uint8Array, calleeNonce: Uint8Array): Promise<string> {
  if (callerNonce.length !== NONCE_BYTES || calleeNonce.length !== NONCE_BYTES) throw new RangeError("a nonce has 16 bytes");
  const exported = await exporter(EXPORTER_LABEL, concat(fromHex(callId), callerNonce, calleeNonce), 4);
  return sixDigits(exported);
}

/** Four bytes as a big-endian number modulo 10⁶, with leading zeros. */
export function sixDigits(bytes: Uint8Array): string {
  const value = new DataView(owned(bytes).buffer).getUint32(0);
  return String(value % 1_000_000).padStart(6, "0");
}

const CONFERENCE_CODE_DIGITS = 20;

/**
 * Twenty digits of a conference, the same for all who are in the epoch. There is no commitment before it, so it is long enough that
 * nobody can search for keys that give the same one.
 */
export async function conferenceCode(exporter: Exporter, callId: string): Promise<string> {
  const octets = await exporter("tramontana conference code", fromHex(callId), 16);
  const value = octets.reduce((number, octet) => (number << 8n) | BigInt(octet), 0n);
  return (value % 10n ** BigInt(CONFERENCE_CODE_DIGITS)).toString().padStart(CONFERENCE_CODE_DIGITS, "0");
}
