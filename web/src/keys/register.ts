// What stands after reading the log in order: which certificate of each device counts, who is custodian, what is revoked.
//
// The rules are those of docs/protocols.md, "Organisation, certificates, log"; the server's twin is keys/register.py. An entry that may
// not stand in the log is refused and makes nobody a member.

import { CERTIFICATE_CONTEXT, claimedOrganisation, DeviceCertificate, FOUNDING_LEAVES, REVOCATION_CONTEXT, Revocation, type CertificateClaims } from "./certificate";
import { equal } from "./bytes";
import { Federation, FEDERATION_CONTEXT } from "./federation";
import { contextOf, Organisation, ORGANISATION_CONTEXT, parseSigned, StatementRefused } from "./organisation";
import type { LogKey } from "./treeHead";

/** A logged certificate and what became of it. */
export interface Standing {
  claims: CertificateClaims;
  logIndex: number;
  /** POSIX seconds; null while it is not revoked. */
  revokedAt: number | null;
  /** Why, in the custodian's words. */
  reason: string;
  /** Of a guest: the cross-certification under which he stands and with which he falls, and his organisation's name. */
  guest: { federation: string; organisation: string } | null;
}

/** An entry about another organisation: these few are kept as they are, and read again at each start. */
export interface Accord {
  entry: Uint8Array;
  logIndex: number;
}

export class Register {
  private readonly bySerial = new Map<string, Standing>();
  private readonly lastOfDevice = new Map<string, Standing>();
  private readonly founders: string[] = [];
  /** In force, by serial. */
  private readonly federations = new Map<string, Federation>();
  /** Other organisations that were cross-certified, by id. */
  private readonly peers = new Map<string, Organisation>();
  readonly accords: Accord[] = [];

  constructor(
    private readonly organisation: Organisation,
    private readonly logKey: LogKey,
  ) {}

  /** Takes up what was read before; standings in any order. Rejects with StatementRefused if it is damaged. */
  async restore(accords: Iterable<Accord>, standings: Iterable<Standing>): Promise<void> {
    for (const { entry, logIndex } of accords) await this.read(entry, logIndex);
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
   * The entry at this place of the log. Returns the standings that it made or changed. Throws StatementRefused, and then nothing has
   * changed.
   */
  async read(entry: Uint8Array, logIndex: number): Promise<Standing[]> {
    if (logIndex === 0) return mustBe(entry, this.organisation.signed, "root");
    if (logIndex === 1) return mustBe(entry, this.logKey.signed, "log key");
    switch (contextOf(parseSigned(entry))) {
      case CERTIFICATE_CONTEXT:
        return [await this.certify(entry, logIndex)];
      case REVOCATION_CONTEXT:
        return this.revoke(await Revocation.verify(entry, this.organisation), { entry, logIndex });
      case FEDERATION_CONTEXT:
        return this.federate(await Federation.verify(entry, this.organisation), { entry, logIndex });
      case ORGANISATION_CONTEXT:
        return this.meet({ entry, logIndex });
      default:
        throw new StatementRefused("malformed", "an entry of a kind that does not belong in a log");
    }
  }

  private federate(federation: Federation, accord: Accord): Standing[] {
    if (this.federations.has(federation.serial) || this.bySerial.has(federation.serial)) throw new StatementRefused("replayed", "this serial is in the log already");
    this.federations.set(federation.serial, federation);
    this.accords.push(accord);
    return [];
  }

  /** The root of another organisation, behind the cross-certification that names it. */
  private async meet(accord: Accord): Promise<Standing[]> {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", parseSigned(accord.entry).statement));
    const named = [...this.federations.values()].find(({ peerFingerprint }) => equal(peerFingerprint, digest));
    if (named === undefined) throw new StatementRefused("wrong_organisation", "the root of an organisation that was not cross-certified");
    const peer = await Organisation.verify(accord.entry, named.peerFingerprint);
    if (this.peers.has(peer.id)) throw new StatementRefused("replayed", "this organisation's root is in the log already");
    this.peers.set(peer.id, peer);
    this.accords.push(accord);
    return [];
  }

  private async certify(entry: Uint8Array, logIndex: number): Promise<Standing> {
    const peer = this.peers.get(claimedOrganisation(entry));
    const certificate = await DeviceCertificate.verify(entry, peer ?? this.organisation);
    const guest = peer === undefined ? null : { federation: this.hosting(peer, certificate.claims), organisation: peer.name };
    const mixed = this.all().some((standing) => standing.claims.accountId === certificate.claims.accountId && (standing.guest === null) !== (guest === null));
    if (mixed) throw new StatementRefused("outside_federation", "a guest and a member of this organisation are never one account");
    return this.add(certificate, logIndex, guest);
  }

  /** The cross-certification whose limits a guest's certificate keeps. */
  private hosting(peer: Organisation, claims: CertificateClaims): string {
    let why = new StatementRefused("outside_federation", "the organisation of this device is not cross-certified");
    for (const federation of this.federations.values()) {
      if (!equal(federation.peerFingerprint, peer.fingerprint)) continue;
      try {
        federation.check(claims);
        return federation.serial;
      } catch (error) {
        if (!(error instanceof StatementRefused)) throw error;
        why = error;
      }
    }
    throw why;
  }

  private add(certificate: DeviceCertificate, logIndex: number, guest: Standing["guest"]): Standing {
    const { claims } = certificate;
    if (this.bySerial.has(claims.serial)) throw new StatementRefused("replayed", "a certificate with this serial is in the log already");
    if (FOUNDING_LEAVES.includes(logIndex)) this.checkFounding(claims);
    else this.checkApprovers(certificate);
    const standing: Standing = { claims, logIndex, revokedAt: null, reason: "", guest };
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

  private revoke(revocation: Revocation, accord: Accord): Standing[] {
    const { revokedAt, reason } = revocation;
    if (revocation.deviceId === "") {
      if (!this.federations.delete(revocation.serial)) throw new StatementRefused("unknown_serial", "no cross-certification has this serial");
      this.accords.push(accord);
      const fallen = [...this.bySerial.values()].filter((standing) => standing.guest?.federation === revocation.serial && standing.revokedAt === null);
      return fallen.map((standing) => this.keep({ ...standing, revokedAt, reason }));
    }
    const standing = this.bySerial.get(revocation.serial);
    if (standing?.claims.deviceId !== revocation.deviceId) throw new StatementRefused("unknown_serial", "no certificate of this device has this serial");
    if (standing.revokedAt !== null) throw new StatementRefused("replayed", "this certificate is revoked already");
    return [this.keep({ ...standing, revokedAt, reason })];
  }

  private keep(standing: Standing): Standing {
    const { serial, deviceId, accountId } = standing.claims;
    this.bySerial.set(serial, standing);
    const last = this.lastOfDevice.get(deviceId);
    if (last === undefined || last.logIndex <= standing.logIndex) this.lastOfDevice.set(deviceId, standing);
    if (FOUNDING_LEAVES.includes(standing.logIndex) && !this.founders.includes(accountId)) this.founders.push(accountId);
    return standing;
  }
}

function mustBe(entry: Uint8Array, expected: Uint8Array, what: string): Standing[] {
  if (!equal(entry, expected)) throw new StatementRefused("wrong_organisation", `the log does not begin with the organisation's ${what}`);
  return [];
}
