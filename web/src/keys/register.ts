// What stands after reading the log in order: which certificate of each device counts, who is custodian, what is revoked.
//
// The rules are those of docs/protocols.md, "Organisation, certificates, log"; the server's twin is keys/register.py. An entry that may
// not stand in the log is refused and makes nobody a member.

import { CERTIFICATE_CONTEXT, DeviceCertificate, FOUNDING_LEAVES, REVOCATION_CONTEXT, Revocation, type CertificateClaims } from "./certificate";
import { equal } from "./bytes";
import { contextOf, parseSigned, StatementRefused, type Organisation } from "./organisation";
import type { LogKey } from "./treeHead";

const FEDERATION_CONTEXT = "tramontana federation 1";

/** A logged certificate and what became of it. */
export interface Standing {
  claims: CertificateClaims;
  logIndex: number;
  /** POSIX seconds; null while it is not revoked. */
  revokedAt: number | null;
  /** Why, in the custodian's words. */
  reason: string;
}

export class Register {
  private readonly bySerial = new Map<string, Standing>();
  private readonly lastOfDevice = new Map<string, Standing>();
  private readonly founders: string[] = [];

  constructor(
    private readonly organisation: Organisation,
    private readonly logKey: LogKey,
  ) {}

  /** Takes up what was read before, in any order. */
  restore(standings: Iterable<Standing>): void {
    for (const standing of [...standings].sort((a, b) => a.logIndex - b.logIndex)) this.keep(standing);
  }

  /** The last certificate of a device, revoked or not. */
  last(deviceId: string): Standing | null {
    return this.lastOfDevice.get(deviceId) ?? null;
  }

  /** The last certificate of each device. */
  all(): Standing[] {
    return [...this.lastOfDevice.values()];
  }

  /**
   * The entry at this place of the log. Returns the standing that it made or changed, null where it is about no device. Throws
   * StatementRefused, and then nothing has changed.
   */
  async read(entry: Uint8Array, logIndex: number): Promise<Standing | null> {
    if (logIndex === 0) return mustBe(entry, this.organisation.signed, "root");
    if (logIndex === 1) return mustBe(entry, this.logKey.signed, "log key");
    switch (contextOf(parseSigned(entry))) {
      case CERTIFICATE_CONTEXT:
        return this.add(await DeviceCertificate.verify(entry, this.organisation), logIndex);
      case REVOCATION_CONTEXT:
        return this.revoke(await Revocation.verify(entry, this.organisation));
      case FEDERATION_CONTEXT:
        return null; // devices of another organisation are accepted by nobody here yet
      default:
        throw new StatementRefused("malformed", "an entry of a kind that does not belong in a log");
    }
  }

  private add(certificate: DeviceCertificate, logIndex: number): Standing {
    const { claims } = certificate;
    if (this.bySerial.has(claims.serial)) throw new StatementRefused("replayed", "a certificate with this serial is in the log already");
    if (FOUNDING_LEAVES.includes(logIndex)) this.checkFounding(claims);
    else this.checkApprovers(certificate);
    const standing: Standing = { claims, logIndex, revokedAt: null, reason: "" };
    this.keep(standing);
    return standing;
  }

  private checkFounding({ approvers, roles, accountId }: CertificateClaims): void {
    if (approvers.length > 0 || !roles.includes("custodian") || this.founders.includes(accountId)) {
      throw new StatementRefused("founding_incomplete", "an organisation begins with two custodians, two persons");
    }
  }

  private checkApprovers(certificate: DeviceCertificate): void {
    const { approvers, accountId, deviceId, notBefore } = certificate.claims;
    const earlier = this.all().filter((standing) => standing.claims.accountId === accountId);
    const recovery = earlier.length > 0 && earlier.every(({ revokedAt }) => revokedAt !== null);
    const persons = new Set<string>();
    for (const approver of approvers) {
      const standing = this.last(approver);
      const valid = standing !== null && standing.revokedAt === null && standing.claims.notBefore <= notBefore && notBefore < standing.claims.notAfter;
      if (!valid || !standing.claims.roles.includes("custodian")) {
        throw new StatementRefused("approver_not_custodian", "an approver is not a custodian with a valid certificate");
      }
      if (approver !== deviceId) persons.add(standing.claims.accountId);
    }
    if (persons.size < certificate.approvalsNeeded(recovery)) throw new StatementRefused("missing_approver", "too few custodians approved");
  }

  private revoke(revocation: Revocation): Standing | null {
    if (revocation.deviceId === "") return null; // of a federation
    const standing = this.bySerial.get(revocation.serial);
    if (standing?.claims.deviceId !== revocation.deviceId) throw new StatementRefused("unknown_serial", "no certificate of this device has this serial");
    if (standing.revokedAt !== null) throw new StatementRefused("replayed", "this certificate is revoked already");
    const revoked: Standing = { ...standing, revokedAt: revocation.revokedAt, reason: revocation.reason };
    this.keep(revoked);
    return revoked;
  }

  private keep(standing: Standing): void {
    const { serial, deviceId, accountId } = standing.claims;
    this.bySerial.set(serial, standing);
    const last = this.lastOfDevice.get(deviceId);
    if (last === undefined || last.logIndex <= standing.logIndex) this.lastOfDevice.set(deviceId, standing);
    if (FOUNDING_LEAVES.includes(standing.logIndex) && !this.founders.includes(accountId)) this.founders.push(accountId);
  }
}

function mustBe(entry: Uint8Array, expected: Uint8Array, what: string): null {
  if (!equal(entry, expected)) throw new StatementRefused("wrong_organisation", `the log does not begin with the organisation's ${what}`);
  return null;
}
