// Signed statements (docs/protocols.md, "Identity and enrolment"): UTF-8(context) ‖ 0x00 ‖ fields, each field with a 2-byte
// big-endian length in front.

import { concat, fromBase64Url, owned, utf8, type Bytes } from "./bytes";

const ENROLMENT_CONTEXT = "tramontana enrolment 1";
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

/** A device's Ed25519 key pair. The private half is not extractable: it can sign here and be copied nowhere. */
export class DeviceKey {
  private constructor(
    readonly publicKey: Bytes,
    private readonly privateKey: CryptoKey,
  ) {}

  static async generate(): Promise<DeviceKey> {
    const pair = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
    return new DeviceKey(new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)), pair.privateKey);
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

export interface StoredDeviceKey {
  publicKey: Uint8Array;
  privateKey: CryptoKey;
}
