// What the organisation signs, against statements that Python's `cryptography` signed (tests/vectors/identity).

import { describe, expect, it } from "vitest";

import { fromBase64, owned, toHex } from "../../src/keys/bytes";
import { DeviceCertificate, Revocation } from "../../src/keys/certificate";
import { Organisation, StatementRefused } from "../../src/keys/organisation";
import { LogKey, TreeHead } from "../../src/keys/treeHead";
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
    expect(organisation).toMatchObject({ id: root.id, name: root.name, profile: root.profile, createdUnixS: root.created_unix_s });
  });

  it("is refused under another fingerprint, however well it is signed", async () => {
    await expect(Organisation.verify(fromBase64(root.foreign_root), fromBase64(root.fingerprint))).rejects.toThrow(StatementRefused);
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
    expect(verified.signed).toEqual(fromBase64(certificate.signed));
  });

  it("of the founding has no approvers", async () => {
    const verified = await DeviceCertificate.verify(fromBase64(certificate.founding), organisation);
    expect(verified.claims).toMatchObject({ approvers: [], roles: ["member"], precedenceCeiling: "routine" });
  });

  it("is in force from its first to its last second", async () => {
    const verified = await DeviceCertificate.verify(fromBase64(certificate.signed), organisation);
    const { not_before, not_after } = certificate.claims;
    expect([not_before - 1, not_before, not_after, not_after + 1].map((at) => verified.inForceAt(at))).toEqual([false, true, true, false]);
  });

  it("covers its own device under its own key alone", async () => {
    const verified = await DeviceCertificate.verify(fromBase64(certificate.signed), organisation);
    const { account_id: account, device_id: device, signature_public_key } = certificate.claims;
    const key = fromBase64(signature_public_key);
    expect(verified.covers(account, device, key)).toBe(true);
    expect(verified.covers(account, "0".repeat(32), key)).toBe(false);
    expect(verified.covers("0".repeat(32), device, key)).toBe(false);
    expect(verified.covers(account, device, key.map((byte) => byte ^ 1))).toBe(false);
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

  it("is signed by the log whose key the organisation signed", async () => {
    expect(key.serviceId).toBe(log.service_id);
    expect(key.logId).toEqual(fromBase64(log.log_id));
    for (const [size, signed] of log.heads.entries()) {
      const head = await TreeHead.verify(fromBase64(signed), key);
      expect(head).toMatchObject({ treeSize: size, rootHash: fromBase64(log.roots[size] as string) });
    }
  });

  it("is refused when one bit differs", async () => {
    for (const [offset, other] of flipped(fromBase64(log.heads[5] as string))) {
      await expect(TreeHead.verify(other, key), `offset ${offset}`).rejects.toThrow(StatementRefused);
    }
  });
});
