// Signed statements (docs/protocols.md, "Identity and enrolment"): UTF-8(context) ‖ 0x00 ‖ fields, each field with a 2-byte
// big-endian length in front.

import { concat, equal, fromBase64Url, fromUtf8, owned, toHex, utf8, type Bytes } from "./bytes";

const ENROLMENT_CONTEXT = "tramontana enrolment 1";
const DIRECT_CONTEXT = "tramontana direct conversation 1";
const ZEROISED_CONTEXT = "tramontana zeroised 1";
const SESSION_CONTEXT = "tramontana session 1";

/** The bytes that are signed. Throws RangeError for a field above 65535 bytes. */
export function encodeStatement(context: string, fields: readonly Uint8Array[]): Bytes {
  const parts: Uint8Array[] = [utf8(context), Uint8Array.of(0)];
  for (const field of fields) {
    if (field.length > 0xffff) throw new RangeError("a field of a statement is longer than 65535 bytes");
    parts.push(Uint8Array.of(field.length >> 8, field.length & 0xff), field);
  }
  return concat(...parts);
}

/**
 * The fields of a statement, taken apart. Throws RangeError unless the bytes are the one encoding of exactly `count` fields under this
 * context, so that nothing can ride along unread.
 */
export function parseStatement(context: string, count: number, statement: Uint8Array): Bytes[] {
  const head = concat(utf8(context), Uint8Array.of(0));
  if (!equal(statement.subarray(0, head.length), head)) throw new RangeError(`not a statement of the kind "${context}"`);
  const fields = parseFields(statement.subarray(head.length));
  if (fields.length !== count) throw new RangeError(`a statement of the kind "${context}" has ${count} fields`);
  return fields;
}

/** Byte strings with a 2-byte big-endian length in front, to the last byte. Throws RangeError. */
export function parseFields(bytes: Uint8Array): Bytes[] {
  const fields: Bytes[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const [high, low] = [bytes[offset], bytes[offset + 1]];
    if (high === undefined || low === undefined) throw new RangeError("a length is cut off");
    const end = offset + 2 + ((high << 8) | low);
    if (end > bytes.length) throw new RangeError("a field is cut off");
    fields.push(owned(bytes.subarray(offset + 2, end)));
    offset = end;
  }
  return fields;
}

/** A number in a field: 8 bytes, big-endian. */
export function numberField(value: number): Bytes {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError("a number in a statement is a count");
  const field = new Uint8Array(8);
  new DataView(field.buffer).setBigUint64(0, BigInt(value));
  return field;
}

/** Throws RangeError for anything that is not 8 bytes or not exact as a JavaScript number. */
export function readNumber(field: Uint8Array): number {
  if (field.length !== 8) throw new RangeError("a number in a statement has 8 bytes");
  const value = Number(new DataView(owned(field).buffer).getBigUint64(0));
  if (!Number.isSafeInteger(value)) throw new RangeError("a number in a statement is too large");
  return value;
}

const MAX_TEXT_CHARACTERS = 120;

/** Text in a field: UTF-8 that can be shown, without a space at either end. Throws RangeError. */
export function readText(field: Uint8Array, longest = MAX_TEXT_CHARACTERS): string {
  let text: string;
  try {
    text = fromUtf8(field);
  } catch {
    throw new RangeError("a text in a statement is not UTF-8");
  }
  if ([...text].length > longest || text !== text.trim() || /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u.test(text)) {
    throw new RangeError(`a text in a statement has more than ${longest} characters, a space at an end or characters that cannot be shown`);
  }
  return text;
}

/** Whether `signature` is an Ed25519 signature (RFC 8032) over the statement. False for a key that is none. */
export async function verifyEd25519(publicKey: Uint8Array, signature: Uint8Array, statement: Uint8Array): Promise<boolean> {
  try {
    const key = await crypto.subtle.importKey("raw", owned(publicKey), "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, owned(signature), owned(statement));
  } catch (error) {
    if (error instanceof DOMException) return false;
    throw error;
  }
}

/** What a device signs to use up an invitation. `invitation` is the token as it stands in the link (base64url). */
export async function enrolmentStatement(
  serviceId: string,
  invitation: string,
  signaturePublicKey: Uint8Array,
  displayName: string,
): Promise<Bytes> {
  const tokenDigest = new Uint8Array(await crypto.subtle.digest("SHA-256", fromBase64Url(invitation)));
  return encodeStatement(ENROLMENT_CONTEXT, [utf8(serviceId), tokenDigest, signaturePublicKey, utf8(displayName)]);
}

/** What a device signs to log in. */
export function sessionStatement(serviceId: string, deviceId: string, challenge: Uint8Array): Bytes {
  return encodeStatement(SESSION_CONTEXT, [utf8(serviceId), utf8(deviceId), challenge]);
}

/** The id of the one direct conversation of two accounts. */
export async function directConversationId(accountId: string, peerId: string): Promise<string> {
  const statement = encodeStatement(DIRECT_CONTEXT, [accountId, peerId].sort().map(utf8));
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", statement)).subarray(0, 16));
}

/** A device's Ed25519 key pair. The private half is not extractable: it can sign here and be copied nowhere. */
export class DeviceKey {
  private constructor(
    readonly publicKey: Bytes,
    private readonly privateKey: CryptoKey,
  ) {}

  static async generate(): Promise<DeviceKey> {
    return DeviceKey.restore(await generatePair(false));
  }

  /** A pair to be stored: its private half is extractable, so that a vault can wrap it. What the vault gives back is not. */
  static generateWrappable(): Promise<StoredDeviceKey> {
    return generatePair(true);
  }

  static restore(stored: StoredDeviceKey): DeviceKey {
    return new DeviceKey(owned(stored.publicKey), stored.privateKey);
  }

  /** For storage that keeps CryptoKey objects as they are (IndexedDB's structured clone). */
  store(): StoredDeviceKey {
    return { publicKey: this.publicKey, privateKey: this.privateKey };
  }

  async sign(message: Uint8Array): Promise<Bytes> {
    return new Uint8Array(await crypto.subtle.sign("Ed25519", this.privateKey, owned(message)));
  }
}

/** What a device signs last: that it destroys its keys. */
export function zeroisedStatement(serviceId: string, deviceId: string): Bytes {
  return encodeStatement(ZEROISED_CONTEXT, [utf8(serviceId), utf8(deviceId)]);
}

async function generatePair(extractable: boolean): Promise<StoredDeviceKey> {
  const pair = (await crypto.subtle.generateKey("Ed25519", extractable, ["sign", "verify"])) as CryptoKeyPair;
  return { publicKey: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)), privateKey: pair.privateKey };
}

export interface StoredDeviceKey {
  publicKey: Uint8Array;
  privateKey: CryptoKey;
}
