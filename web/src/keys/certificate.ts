// Device certificates and revocations: who may take part, said by the organisation (docs/protocols.md, "Organisation and certificates").

import type { Bytes } from "./bytes";
import { parseSigned, refuseMalformed, StatementRefused, type Organisation } from "./organisation";
import { parseStatement, readNumber, readText } from "./statement";

export const CERTIFICATE_CONTEXT = "tramontana device certificate 1";
export const REVOCATION_CONTEXT = "tramontana revocation 1";
const PUBLIC_KEY_BYTES = 32;
const MAX_NAME_CHARACTERS = 64;
/** How far the clock of whoever signed may run ahead of ours. */
const CLOCK_SKEW_S = 3_600;
/** Log indices of the two founding custodians: the only certificates that nobody approved, because there was nobody. */
export const FOUNDING_LEAVES: readonly number[] = [2, 3];

export const ROLES = ["approver", "archive", "auditor", "custodian", "gateway", "member", "nested", "operator", "site"] as const;
export type Role = (typeof ROLES)[number];
/** Roles with power over others, which two custodians have to approve. */
export const POWERFUL: readonly Role[] = ["custodian", "approver", "archive"];
/** RFC 4412 `dsn`, lowest first. */
export const PRECEDENCE_LABELS = ["routine", "priority", "immediate", "flash", "flash-override"] as const;
export type PrecedenceLabel = (typeof PRECEDENCE_LABELS)[number];

/** Which organisation a certificate claims to be of: whose keys to verify it with. Throws StatementRefused. */
export function claimedOrganisation(signed: Uint8Array): string {
  const { statement } = parseSigned(signed);
  return refuseMalformed(() => readText(parseStatement(CERTIFICATE_CONTEXT, 12, statement)[0] as Bytes));
}

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

/** Whether the time of a certificate has come and is not over. */
export function inForceAt({ notBefore, notAfter }: CertificateClaims, unixS: number): boolean {
  return notBefore - CLOCK_SKEW_S <= unixS && unixS < notAfter;
}

/** A certificate that the pinned organisation signed. Whether it counts is another question: `inForceAt`, and the log. */
export class DeviceCertificate {
  private constructor(readonly claims: CertificateClaims) {}

  /** Throws StatementRefused. */
  static async verify(signed: Uint8Array, organisation: Organisation): Promise<DeviceCertificate> {
    const fields = (await organisation.open(CERTIFICATE_CONTEXT, 12, parseSigned(signed))) as CertificateFields;
    const [organisationId, serial, accountId, deviceId, signaturePublicKey, displayName, unit, roles, ceiling, notBefore, notAfter, approvers] = fields;
    return refuseMalformed(() => {
      if (readText(organisationId) !== organisation.id) throw new StatementRefused("wrong_organisation", "the certificate is of another organisation");
      if (signaturePublicKey.length !== PUBLIC_KEY_BYTES) throw new StatementRefused("malformed", "the device key has another length");
      const claims: CertificateClaims = {
        serial: readId(serial),
        accountId: readId(accountId),
        deviceId: readId(deviceId),
        signaturePublicKey,
        displayName: readText(displayName, MAX_NAME_CHARACTERS),
        unit: readText(unit, MAX_NAME_CHARACTERS),
        roles: readRoles(readText(roles)),
        precedenceCeiling: readCeiling(readText(ceiling)),
        notBefore: readNumber(notBefore),
        notAfter: readNumber(notAfter),
        approvers: readList(readText(approvers)).map(checkId),
      };
      if (claims.displayName === "") throw new StatementRefused("malformed", "the certificate names nobody");
      if (claims.unit.includes(",")) throw new StatementRefused("malformed", "a unit has no comma");
      if (claims.roles.length === 0) throw new StatementRefused("malformed", "the certificate gives no role");
      if (claims.notBefore >= claims.notAfter) throw new StatementRefused("malformed", "the certificate is never valid");
      return new DeviceCertificate(claims);
    });
  }

  /** One custodian, or two for what matters. `recovery`: all earlier devices of the account are revoked. */
  approvalsNeeded(recovery: boolean): number {
    const { precedenceCeiling, roles } = this.claims;
    const high = PRECEDENCE_LABELS.indexOf(precedenceCeiling) >= PRECEDENCE_LABELS.indexOf("immediate");
    return recovery || high || roles.some((role) => POWERFUL.includes(role)) ? 2 : 1;
  }
}

/** A revocation that the organisation signed. */
export class Revocation {
  private constructor(
    /** Of the certificate that no longer counts. */
    readonly serial: string,
    /** Empty for a federation. */
    readonly deviceId: string,
    readonly reason: string,
    /** POSIX seconds. */
    readonly revokedAt: number,
  ) {}

  /** Throws StatementRefused. */
  static async verify(signed: Uint8Array, organisation: Organisation): Promise<Revocation> {
    const fields = await organisation.open(REVOCATION_CONTEXT, 5, parseSigned(signed));
    const [organisationId, serial, deviceId, reason, revokedAt] = fields as [Bytes, Bytes, Bytes, Bytes, Bytes];
    return refuseMalformed(() => {
      if (readText(organisationId) !== organisation.id) throw new StatementRefused("wrong_organisation", "the revocation is of another organisation");
      const device = readText(deviceId);
      return new Revocation(readId(serial), device === "" ? "" : checkId(device), readText(reason), readNumber(revokedAt));
    });
  }
}

type CertificateFields = [Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes];

export function readId(field: Uint8Array): string {
  return checkId(readText(field));
}

function checkId(id: string): string {
  if (!/^[0-9a-f]{32}$/.test(id)) throw new StatementRefused("malformed", "an id that is not 32 hex digits");
  return id;
}

/** Comma-joined, without repetition, in ascending order: one spelling for one set. */
export function readList(text: string): string[] {
  if (text === "") return [];
  const items = text.split(",");
  if (items.some((item, i) => item === "" || (i > 0 && (items[i - 1] as string) >= item))) throw new StatementRefused("malformed", "a list that is not sorted");
  return items;
}

export function readRoles(text: string): Role[] {
  return readList(text).map((item) => {
    const role = ROLES.find((known) => known === item);
    if (role === undefined) throw new StatementRefused("malformed", `the role "${item}" is unknown`);
    return role;
  });
}

export function readCeiling(text: string): PrecedenceLabel {
  const label = PRECEDENCE_LABELS.find((known) => known === text);
  if (label === undefined) throw new StatementRefused("malformed", `the precedence "${text}" is unknown`);
  return label;
}
