// What the organisation signs, against statements that Python's `cryptography` signed (tests/vectors/identity).

import { describe, expect, it } from "vitest";

import { fromBase64, owned, toHex } from "../../src/keys/bytes";
import { DeviceCertificate, inForceAt, Revocation } from "../../src/keys/certificate";
import { deviceCode, Organisation, StatementRefused } from "../../src/keys/organisation";
import { LogKey, TreeHead, type UnverifiedTreeHead } from "../../src/keys/treeHead";
import { vectors } from "./identityVectors";

const { organisation: root, certificate, revocation, log } = vectors;
const organisation = await Organisation.verify(fromBase64(root.signed_root), fromBase64(root.fingerprint));

/** One bit of every region flipped: statement, each signature, each length. */
function* flipped(signed: Uint8Array): Generator<[number, Uint8Array]> {
  for (let offset = 0; offset < signed.length; offset += Math.max(1, Math.floor(signed.length / 61))) {
    const other = owned(signed);
    other[offset] = (other[offset] as number) ^ 1;
    yield [offset, other];
  }
}

describe("organisation", () => {
  it("is the pinned one and signed by itself", () => {
    expect(organisation).toMatchObject({ id: root.id, name: root.name, profileName: root.profile, createdUnixS: root.created_unix_s });
  });

  it("is refused under another fingerprint, however well it is signed", async () => {
    await expect(Organisation.verify(fromBase64(root.foreign_root), fromBase64(root.fingerprint))).rejects.toThrow(StatementRefused);
  });

  it("is refused with a profile that this phone does not know", async () => {
    const signed = fromBase64(root.unknown_profile_root);
    const statement = signed.subarray(2, 2 + ((signed[0] as number) << 8) + (signed[1] as number));
    const fingerprint = new Uint8Array(await crypto.subtle.digest("SHA-256", statement));
    await expect(Organisation.verify(signed, fingerprint)).rejects.toMatchObject({ reason: "unknown_profile" });
  });

  it("and a device's key make the code that a person reads out", async () => {
    expect(await deviceCode(organisation.fingerprint, fromBase64(certificate.claims.signature_public_key))).toBe(root.device_code);
  });

  it("is refused when one bit differs", async () => {
    for (const [offset, other] of flipped(fromBase64(root.signed_root))) {
      await expect(Organisation.verify(other, fromBase64(root.fingerprint)), `offset ${offset}`).rejects.toThrow(StatementRefused);
    }
  });
});

describe("certificate", () => {
  it("says what was signed", async () => {
    const verified = await DeviceCertificate.verify(fromBase64(certificate.signed), organisation);
    const { signaturePublicKey, ...claims } = verified.claims;
    expect({ ...claims, key: toHex(signaturePublicKey) }).toEqual({
      serial: certificate.claims.serial,
      accountId: certificate.claims.account_id,
      deviceId: certificate.claims.device_id,
      key: toHex(fromBase64(certificate.claims.signature_public_key)),
      displayName: certificate.claims.display_name,
      unit: certificate.claims.unit,
      roles: certificate.claims.roles,
      precedenceCeiling: certificate.claims.precedence_ceiling,
      notBefore: certificate.claims.not_before,
      notAfter: certificate.claims.not_after,
      approvers: certificate.claims.approvers,
    });
  });

  it("of the founding has no approvers", async () => {
    const verified = await DeviceCertificate.verify(fromBase64(certificate.founding), organisation);
    expect(verified.claims).toMatchObject({ approvers: [], roles: ["member"], precedenceCeiling: "routine" });
  });

  it("is in force from its beginning to before its end", async () => {
    const verified = await DeviceCertificate.verify(fromBase64(certificate.signed), organisation);
    const { not_before, not_after } = certificate.claims;
    const moments = [not_before - 3_601, not_before - 3_600, not_after - 1, not_after]; // an hour of skew between clocks
    expect(moments.map((at) => inForceAt(verified.claims, at))).toEqual([false, true, true, false]);
  });

  it("of another signer is refused", async () => {
    await expect(DeviceCertificate.verify(fromBase64(certificate.signed_by_a_foreign_key), organisation)).rejects.toThrow(StatementRefused);
  });

  it("needs both signatures", async () => {
    const [ours, theirs] = [fromBase64(certificate.signed), fromBase64(certificate.signed_by_a_foreign_key)];
    const ed25519End = 2 + ((ours[0] as number) << 8) + (ours[1] as number) + 2 + 64;
    for (const [first, second] of [
      [ours, theirs],
      [theirs, ours],
    ] as const) {
      const mixed = owned(first);
      mixed.set(second.subarray(ed25519End), ed25519End);
      await expect(DeviceCertificate.verify(mixed, organisation)).rejects.toThrow("signature does not match");
    }
  });

  it("is refused when one bit differs, or when it is cut off", async () => {
    const signed = fromBase64(certificate.signed);
    for (const [offset, other] of flipped(signed)) {
      await expect(DeviceCertificate.verify(other, organisation), `offset ${offset}`).rejects.toThrow(StatementRefused);
    }
    for (const length of [0, 1, 2, 100, signed.length - 1]) {
      await expect(DeviceCertificate.verify(signed.subarray(0, length), organisation), `length ${length}`).rejects.toThrow(StatementRefused);
    }
  });

  it.each(Object.entries(certificate.refused))("is refused with %s, though the signatures are sound", async (_what, signed) => {
    await expect(DeviceCertificate.verify(fromBase64(signed), organisation)).rejects.toThrow(StatementRefused);
  });
});

describe("revocation", () => {
  it("names the certificate, the device and why", async () => {
    const { serial, device_id: deviceId, reason, revoked_at: revokedAt } = revocation;
    expect(await Revocation.verify(fromBase64(revocation.signed), organisation)).toMatchObject({ serial, deviceId, reason, revokedAt });
  });

  it("is no certificate, and a certificate no revocation", async () => {
    await expect(DeviceCertificate.verify(fromBase64(revocation.signed), organisation)).rejects.toThrow(StatementRefused);
    await expect(Revocation.verify(fromBase64(certificate.signed), organisation)).rejects.toThrow(StatementRefused);
  });
});

describe("tree head", async () => {
  const key = await LogKey.verify(fromBase64(log.signed_key), organisation);
  const head = (size: number): UnverifiedTreeHead => {
    const found = log.heads[size] as (typeof log.heads)[number];
    return { logId: fromBase64(found.log_id), treeSize: found.tree_size, rootHash: fromBase64(found.root_hash), at: found.at, signature: fromBase64(found.signature) };
  };

  it("is signed by the log whose key the organisation signed", async () => {
    expect(key.serviceId).toBe(log.service_id);
    expect(key.logId).toEqual(fromBase64(log.log_id));
    for (const size of log.heads.keys()) {
      expect(await TreeHead.verify(head(size), key)).toMatchObject({ treeSize: size, rootHash: fromBase64(log.roots[size] as string) });
    }
  });

  it("is refused when anything in it differs", async () => {
    const sound = head(5);
    const bent = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => bytes.map((byte, i) => (i === 3 ? byte ^ 1 : byte)) as Uint8Array<ArrayBuffer>;
    for (const other of [
      { ...sound, logId: bent(sound.logId) },
      { ...sound, treeSize: 6 },
      { ...sound, treeSize: -1 },
      { ...sound, treeSize: 5.5 },
      { ...sound, rootHash: bent(sound.rootHash) },
      { ...sound, rootHash: sound.rootHash.subarray(1) },
      { ...sound, at: sound.at + 1 },
      { ...sound, signature: bent(sound.signature) },
      { ...sound, signature: new Uint8Array() },
    ]) {
      await expect(TreeHead.verify(other as UnverifiedTreeHead, key)).rejects.toThrow(StatementRefused);
    }
  });
});
