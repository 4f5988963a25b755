// MLS cipher suite 0xF002: X-Wing (KEM 0x647a), HKDF-SHA384, AES-256-GCM, SHA-384, Ed25519.
//
// draft-ietf-mls-pq-ciphersuites has no number for it yet, so it stands under a private one. ts-mls knows an unlisted suite by its
// number in decimal, both in messages and in the capabilities of a leaf. Confidentiality is post-quantum, signatures are classical.

import { Aes256Gcm, CipherSuite, HkdfSha384 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";
import type { Capabilities, CiphersuiteImpl, CiphersuiteName, Hpke } from "ts-mls";

import { equal, owned, randomBytes, type Bytes } from "./bytes";
import type { DeviceKey } from "./statement";

export const SUITE_ID = 0xf002;
export const SUITE_NAME = String(SUITE_ID) as CiphersuiteName;
export const HASH_BYTES = 48;

/** What every leaf of ours can do: this suite alone, basic credentials, no extensions. */
export const CAPABILITIES: Capabilities = {
  versions: ["mls10"],
  ciphersuites: [SUITE_NAME],
  extensions: [],
  proposals: [],
  credentials: ["basic"],
};

type HpkePublicKey = Parameters<Hpke["seal"]>[0];
type HpkePrivateKey = Parameters<Hpke["open"]>[0];

async function aesGcm(key: Uint8Array, nonce: Uint8Array, aad: Uint8Array | undefined, usage: "encrypt" | "decrypt", data: Uint8Array): Promise<Bytes> {
  const imported = await crypto.subtle.importKey("raw", owned(key), "AES-GCM", false, [usage]);
  const parameters: AesGcmParams = { name: "AES-GCM", iv: owned(nonce), additionalData: owned(aad ?? new Uint8Array()) };
  return new Uint8Array(await crypto.subtle[usage](parameters, imported, owned(data)));
}

/** HPKE (RFC 9180) with X-Wing. Keys are copied on the way in and out: no caller's buffer is ever shared with the KEM. */
function xWingHpke(): Hpke {
  const kem = new XWing();
  const hpke = new CipherSuite({ kem, kdf: new HkdfSha384(), aead: new Aes256Gcm() });
  const aead = new Aes256Gcm();
  return {
    keyLength: aead.keySize,
    nonceLength: aead.nonceSize,
    async seal(recipientPublicKey, plaintext, info, aad) {
      const sealed = await hpke.seal({ recipientPublicKey, info: owned(info).buffer }, owned(plaintext).buffer, owned(aad ?? new Uint8Array()).buffer);
      return { enc: new Uint8Array(sealed.enc), ct: new Uint8Array(sealed.ct) };
    },
    async open(recipientKey, kemOutput, ciphertext, info, aad) {
      const parameters = { recipientKey, enc: owned(kemOutput).buffer, info: owned(info).buffer };
      return new Uint8Array(await hpke.open(parameters, owned(ciphertext).buffer, owned(aad ?? new Uint8Array()).buffer));
    },
    async exportSecret(recipientPublicKey, exporterContext, length, info) {
      const context = await hpke.createSenderContext({ recipientPublicKey, info: owned(info).buffer });
      const secret = await context.export(owned(exporterContext).buffer, length);
      return { enc: new Uint8Array(context.enc), secret: new Uint8Array(secret) };
    },
    async importSecret(recipientKey, exporterContext, kemOutput, length, info) {
      const context = await hpke.createRecipientContext({ recipientKey, enc: owned(kemOutput).buffer, info: owned(info).buffer });
      return new Uint8Array(await context.export(owned(exporterContext).buffer, length));
    },
    importPrivateKey: async (key) => (await kem.deserializePrivateKey(owned(key).buffer)) as HpkePrivateKey,
    importPublicKey: async (key) => (await kem.deserializePublicKey(owned(key).buffer)) as HpkePublicKey,
    exportPublicKey: async (key) => owned(new Uint8Array(await kem.serializePublicKey(key))),
    exportPrivateKey: async (key) => owned(new Uint8Array(await kem.serializePrivateKey(key))),
    encryptAead: (key, nonce, aad, plaintext) => aesGcm(key, nonce, aad, "encrypt", plaintext),
    decryptAead: (key, nonce, aad, ciphertext) => aesGcm(key, nonce, aad, "decrypt", ciphertext),
    async deriveKeyPair(ikm) {
      const pair = await kem.deriveKeyPair(owned(ikm).buffer);
      return { privateKey: pair.privateKey as HpkePrivateKey, publicKey: pair.publicKey as HpkePublicKey };
    },
    async generateKeyPair() {
      const pair = await kem.generateKeyPair();
      return { privateKey: pair.privateKey as HpkePrivateKey, publicKey: pair.publicKey as HpkePublicKey };
    },
  };
}

async function hmacKey(key: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", owned(key), { name: "HMAC", hash: "SHA-384" }, false, ["sign", "verify"]);
}

/**
 * The suite as one device uses it. MLS states carry a signature private key; ours carry the public key in its place, and signing
 * goes to the device's key, which no code can read.
 */
export function suiteFor(device: DeviceKey): CiphersuiteImpl {
  const kdf = new HkdfSha384();
  return {
    name: SUITE_NAME,
    hpke: xWingHpke(),
    hash: {
      digest: async (data) => new Uint8Array(await crypto.subtle.digest("SHA-384", owned(data))),
      mac: async (key, data) => new Uint8Array(await crypto.subtle.sign("HMAC", await hmacKey(key), owned(data))),
      verifyMac: async (key, mac, data) => crypto.subtle.verify("HMAC", await hmacKey(key), owned(mac), owned(data)),
    },
    kdf: {
      size: HASH_BYTES,
      extract: async (salt, ikm) => new Uint8Array(await kdf.extract(owned(salt).buffer, owned(ikm).buffer)),
      expand: async (prk, info, length) => new Uint8Array(await kdf.expand(owned(prk).buffer, owned(info).buffer, length)),
    },
    signature: {
      async sign(signKey, message) {
        if (!equal(signKey, device.publicKey)) throw new Error("this MLS state belongs to another device key");
        return device.sign(message);
      },
      async verify(publicKey, message, signature) {
        const key = await crypto.subtle.importKey("raw", owned(publicKey), "Ed25519", false, ["verify"]);
        return crypto.subtle.verify("Ed25519", key, owned(signature), owned(message));
      },
      keygen: async () => ({ signKey: device.publicKey, publicKey: device.publicKey }),
    },
    rng: { randomBytes },
  };
}
