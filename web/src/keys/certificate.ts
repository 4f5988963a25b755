// Device certificates and revocations: who may take part, said by the organisation (docs/protocols.md, "Organisation and certificates").

import { equal, type Bytes } from "./bytes";
import { parseSigned, refuseMalformed, StatementRefused, type Organisation } from "./organisation";
import { readNumber, readText } from "./statement";

const CERTIFICATE_CONTEXT = "tramontana device certificate 1";
const REVOCATION_CONTEXT = "tramontana revocation 1";
const PUBLIC_KEY_BYTES = 32;

export const ROLES = ["approver", "auditor", "custodian", "member", "operator"] as const;
export type Role = (typeof ROLES)[number];
/** RFC 4412 `dsn`, lowest first. */
export const PRECEDENCE_LABELS = ["routine", "priority", "immediate", "flash", "flash-override"] as const;
export type PrecedenceLabel = (typeof PRECEDENCE_LABELS)[number];

/** What a certificate says. Times in POSIX seconds. */
export interface CertificateClaims {
  serial: string;
  accountId: string;
  deviceId: string;
  signaturePublicKey: Bytes;
  displayName: string;
  unit: string;
  roles: readonly Role[];
  precedenceCeiling: PrecedenceLabel;
  notBefore: number;
  notAfter: number;
  /** Device ids of the custodians who approved; none at the founding. */
  approvers: readonly string[];
}

/** A certificate that the pinned organisation signed. Whether it is in force at a moment, and not revoked, is asked of it and of the log. */
export class DeviceCertificate {
  private constructor(
    readonly claims: CertificateClaims,
    /** The signed statement: what is a leaf of the log. */
    readonly signed: Bytes,
  ) {}

  /** Throws StatementRefused. */
  static async verify(signed: Uint8Array, organisation: Organisation): Promise<DeviceCertificate> {
    const fields = (await organisation.open(CERTIFICATE_CONTEXT, 12, parseSigned(signed))) as CertificateFields;
    const [organisationId, serial, accountId, deviceId, signaturePublicKey, displayName, unit, roles, ceiling, notBefore, notAfter, approvers] = fields;
    return refuseMalformed(() => {
      if (readText(organisationId) !== organisation.id) throw new StatementRefused("the certificate is of another organisation");
      if (signaturePublicKey.length !== PUBLIC_KEY_BYTES) throw new StatementRefused("the device key has another length");
      const claims: CertificateClaims = {
        serial: readId(serial),
        accountId: readId(accountId),
        deviceId: readId(deviceId),
        signaturePublicKey,
        displayName: readText(displayName),
        unit: readText(unit),
        roles: readRoles(readText(roles)),
        precedenceCeiling: readCeiling(readText(ceiling)),
        notBefore: readNumber(notBefore),
        notAfter: readNumber(notAfter),
        approvers: readList(readText(approvers)).map(checkId),
      };
      if (claims.displayName === "") throw new StatementRefused("the certificate names nobody");
      if (claims.notBefore >= claims.notAfter) throw new StatementRefused("the certificate is never valid");
      return new DeviceCertificate(claims, new Uint8Array(signed));
    });
  }

  inForceAt(unixS: number): boolean {
    return this.claims.notBefore <= unixS && unixS <= this.claims.notAfter;
  }

  /** Whether it speaks of this device under this key. */
  covers(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean {
    const { claims } = this;
    return claims.accountId === accountId && claims.deviceId === deviceId && equal(claims.signaturePublicKey, signaturePublicKey);
  }
}

/** A revocation that the organisation signed. */
export class Revocation {
  private constructor(
    /** Of the certificate that no longer counts. */
    readonly serial: string,
    readonly deviceId: string,
    readonly reason: string,
    /** POSIX seconds. */
    readonly revokedAt: number,
    readonly signed: Bytes,
  ) {}

  /** Throws StatementRefused. */
  static async verify(signed: Uint8Array, organisation: Organisation): Promise<Revocation> {
    const fields = await organisation.open(REVOCATION_CONTEXT, 5, parseSigned(signed));
    const [organisationId, serial, deviceId, reason, revokedAt] = fields as [Bytes, Bytes, Bytes, Bytes, Bytes];
    return refuseMalformed(() => {
      if (readText(organisationId) !== organisation.id) throw new StatementRefused("the revocation is of another organisation");
      return new Revocation(readId(serial), readId(deviceId), readText(reason), readNumber(revokedAt), new Uint8Array(signed));
    });
  }
}

type CertificateFields = [Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes];

function readId(field: Uint8Array): string {
  return checkId(readText(field));
}

function checkId(id: string): string {
  if (!/^[0-9a-f]{32}$/.test(id)) throw new StatementRefused("an id that is not 32 hex digits");
  return id;
}

/** Comma-joined, without repetition, in ascending order: one spelling for one set. */
function readList(text: string): string[] {
  if (text === "") return [];
  const items = text.split(",");
  if (items.some((item, i) => item === "" || (i > 0 && (items[i - 1] as string) >= item))) throw new StatementRefused("a list that is not sorted");
  return items;
}

function readRoles(text: string): Role[] {
  return readList(text).map((item) => {
    const role = ROLES.find((known) => known === item);
    if (role === undefined) throw new StatementRefused(`the role "${item}" is unknown`);
    return role;
  });
}

function readCeiling(text: string): PrecedenceLabel {
  const label = PRECEDENCE_LABELS.find((known) => known === text);
  if (label === undefined) throw new StatementRefused(`the precedence "${text}" is unknown`);
  return label;
}
