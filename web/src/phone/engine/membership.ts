// Who is a member: the organisation's log, read from its beginning, held against every head that this phone or its contacts ever saw.
//
// Nothing the server's directory says makes anybody a member. The phone reads each entry, computes the root itself and accepts a head
// only if it is the one; so the log can only have grown. Heads that others saw come in conversations, where the server cannot put
// itself between: two heads that do not fit prove that it shows different people different logs.

import { ApiError, type Schemas } from "../../api/client";
import { equal, fromBase64, toHex } from "../../keys/bytes";
import { inForceAt, type PrecedenceLabel } from "../../keys/certificate";
import type { Authority, Identity } from "../../keys/conversation";
import { GrowingTree, ProofRefused, verifyConsistency } from "../../keys/merkle";
import { Organisation, StatementRefused } from "../../keys/organisation";
import { Register, type Accord, type Standing } from "../../keys/register";
import { LogKey, TreeHead, type UnverifiedTreeHead } from "../../keys/treeHead";
import type { Change } from "./store";

const ENTRIES_AT_ONCE = 64; // the most that the server gives
const LOG = "log";
const EVIDENCE = "evidence";
const ACCORDS = "accords";

/** The organisation as it was pinned at enrolment. */
export interface PinnedOrganisation {
  fingerprint: Uint8Array;
  /** The signed root. */
  root: Uint8Array;
  /** The signed log key. */
  logKey: Uint8Array;
}

/** Two heads that cannot both be of one log that only grows: whoever holds both can prove it. */
export class Equivocation extends Error {
  constructor(
    readonly one: UnverifiedTreeHead,
    readonly other: UnverifiedTreeHead,
    detail: string,
  ) {
    super(detail);
  }
}

/** Asks the server. Rejects with ApiError or Unreachable. */
export type Ask = <T>(method: "GET", path: string) => Promise<T>;

/** What following the log brought. */
export interface News {
  changes: Change[];
  /** Certificates that are new, or newly revoked. */
  standings: Standing[];
  /** Devices that people who were known have got or lost. */
  devices: DeviceNews[];
  /** Entries that may not stand in the log. */
  refused: StatementRefused[];
}

export interface DeviceNews {
  accountId: string;
  deviceId: string;
  /** Of the certificate. */
  serial: string;
  revoked: boolean;
}

interface LogRow {
  size: number;
  subtrees: Uint8Array[];
  head: UnverifiedTreeHead;
}

/** As stored; a release without guests stored none. */
type StandingRow = Omit<Standing, "guest"> & Partial<Pick<Standing, "guest">>;

export class Membership implements Authority {
  private readonly register: Register;
  private tree = GrowingTree.empty();
  private accepted: TreeHead | null = null;
  /** The archives, until the log says something new. */
  private known: Map<string, ReadonlySet<string>> | null = null;
  /** Whether the server showed different logs; it stays so. */
  evidence: string | null = null;

  private constructor(
    readonly organisation: Organisation,
    private readonly logKey: LogKey,
    private readonly own: Identity,
    /** POSIX seconds. */
    private readonly now: () => number,
  ) {
    this.register = new Register(organisation, logKey);
  }

  /** Throws StatementRefused if the pinned organisation is not what the fingerprint says. */
  static async open(pinned: PinnedOrganisation, own: Identity, now: () => number): Promise<Membership> {
    const organisation = await Organisation.verify(pinned.root, pinned.fingerprint);
    return new Membership(organisation, await LogKey.verify(pinned.logKey, organisation), own, now);
  }

  /** Takes up what was read before. Throws RangeError or StatementRefused if it is damaged. */
  async load(log: ReadonlyMap<string, unknown>, certificates: ReadonlyMap<string, unknown>): Promise<void> {
    const row = log.get(LOG) as LogRow | undefined;
    this.evidence = (log.get(EVIDENCE) as { detail: string } | undefined)?.detail ?? null;
    if (row === undefined) return;
    this.tree = GrowingTree.restore(row.size, row.subtrees);
    this.accepted = await TreeHead.verify(row.head, this.logKey);
    this.known = null;
    const standings = ([...certificates.values()] as StandingRow[]).map((standing) => ({ ...standing, guest: standing.guest ?? null }));
    await this.register.restore((log.get(ACCORDS) as Accord[] | undefined) ?? [], standings);
  }

  /** The head that everything here was read under; null before the first. */
  get head(): UnverifiedTreeHead | null {
    return this.accepted?.shown ?? null;
  }

  /** Reads what the log has got since. The changes must be persisted. Throws Equivocation. */
  async follow(ask: Ask): Promise<News> {
    const head = await TreeHead.verify(unverified(await ask<Schemas["TreeHead"]>("GET", "/api/v1/log/head")), this.logKey);
    const known = this.accepted;
    const news: News = { changes: [], standings: [], devices: [], refused: [] };
    if (known !== null && head.treeSize < known.treeSize) throw new Equivocation(known.shown, head.shown, "the log has become shorter");
    const tree = this.tree.copy();
    const entries: Uint8Array[] = [];
    while (tree.size < head.treeSize) {
      const count = Math.min(ENTRIES_AT_ONCE, head.treeSize - tree.size);
      const page = await ask<Schemas["LogEntries"]>("GET", `/api/v1/log/entries?start=${tree.size}&count=${count}`);
      if (page.entries.length === 0) throw new StatementRefused("malformed", "the server shows a head and keeps the entries back");
      for (const entry of page.entries.slice(0, count).map(fromBase64)) {
        entries.push(entry);
        await tree.append(entry);
      }
    }
    if (!equal(await tree.root(), head.rootHash)) {
      if (known === null) throw new StatementRefused("forged", "the entries of the log are not those of its head");
      throw new Equivocation(known.shown, head.shown, "the log was rewritten: it no longer begins with what it showed before");
    }
    const before = this.register.all().map(({ claims }) => claims);
    const [accounts, devices] = [new Set(before.map(({ accountId }) => accountId)), new Set(before.map(({ deviceId }) => deviceId))];
    this.known = null;
    const accords = this.register.accords.length;
    for (const [i, entry] of entries.entries()) {
      try {
        for (const standing of await this.register.read(entry, this.tree.size + i)) {
          news.standings.push(standing);
          const { accountId, deviceId, serial } = standing.claims;
          const revoked = standing.revokedAt !== null;
          // A first certificate is a new person's, one for a known device a renewal.
          if (accounts.has(accountId) && (revoked || !devices.has(deviceId))) news.devices.push({ accountId, deviceId, serial, revoked });
        }
      } catch (error) {
        if (!(error instanceof StatementRefused)) throw error;
        news.refused.push(error);
      }
    }
    if (this.register.accords.length > accords) news.changes.push({ table: "log", key: ACCORDS, value: [...this.register.accords] });
    [this.tree, this.accepted] = [tree, head];
    const row: LogRow = { size: tree.size, subtrees: [...tree.subtrees], head: head.shown };
    if (entries.length > 0) news.changes.push({ table: "log", key: LOG, value: row });
    news.changes.push(...news.standings.map((standing): Change => ({ table: "certificates", key: standing.claims.serial, value: standing })));
    return news;
  }

  /**
   * A head that somebody else saw. Whatever is not signed by the log's key is no head and says nothing. Throws Equivocation if it does not
   * fit what this phone has seen.
   */
  async heard(given: UnverifiedTreeHead, ask: Ask): Promise<void> {
    let head: TreeHead;
    try {
      head = await TreeHead.verify(given, this.logKey);
    } catch (error) {
      if (error instanceof StatementRefused) return;
      throw error;
    }
    const known = this.accepted;
    if (known === null) return;
    const [older, newer] = head.treeSize <= known.treeSize ? [head, known] : [known, head];
    const differ = (detail: string): Equivocation => new Equivocation(known.shown, head.shown, detail);
    if (older.treeSize === newer.treeSize) {
      if (!equal(older.rootHash, newer.rootHash)) throw differ(`the server signed two different logs of ${older.treeSize} entries`);
      return;
    }
    try {
      const path = `/api/v1/log/consistency?first=${older.treeSize}&second=${newer.treeSize}`;
      const proof = older.treeSize === 0 ? [] : (await ask<Schemas["Consistency"]>("GET", path)).proof.map(fromBase64);
      await verifyConsistency(older.treeSize, older.rootHash, newer.treeSize, newer.rootHash, proof);
    } catch (error) {
      // An honest server can always give the proof: it signed both heads.
      const refused = error instanceof ProofRefused || (error instanceof ApiError && !error.passing && error.status !== 401 && error.status !== 403);
      if (!refused) throw error;
      throw differ(`the server signed logs of ${older.treeSize} and of ${newer.treeSize} entries that do not fit together`);
    }
  }

  /** The change that keeps the proof. */
  convict({ one, other, message }: Equivocation): Change {
    this.evidence = message;
    return { table: "log", key: EVIDENCE, value: { one, other, detail: message } };
  }

  /** A certificate of the organisation gives this key to this device. Whether it still counts is `admits`' question. */
  accepts(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean {
    const claims = this.register.last(deviceId)?.claims;
    return claims?.accountId === accountId && equal(claims.signaturePublicKey, signaturePublicKey);
  }

  /** The device may be let into conversations now. */
  admits(deviceId: string): boolean {
    const standing = this.register.last(deviceId);
    return standing !== null && standing.revokedAt === null && inForceAt(standing.claims, this.now());
  }

  /** The device was revoked: it has to go wherever it is. */
  isRevoked(deviceId: string): boolean {
    return this.register.last(deviceId)?.revokedAt != null;
  }

  standing(deviceId: string): Standing | null {
    return this.register.last(deviceId);
  }

  /** The last certificates of an account's devices, the oldest first. */
  devicesOf(accountId: string): Standing[] {
    return this.register
      .all()
      .filter(({ claims }) => claims.accountId === accountId)
      .sort((a, b) => a.logIndex - b.logIndex);
  }

  /** The name that the custodians certified last, of a guest with his organisation; null for an account without a certificate. */
  nameOf(accountId: string): string | null {
    const last = this.devicesOf(accountId).at(-1);
    if (last === undefined) return null;
    return last.guest === null ? last.claims.displayName : `${last.claims.displayName} (${last.guest.organisation})`;
  }

  /** Accounts that custodians certified as archives → the units for which they are; "" is the whole organisation. */
  archives(): ReadonlyMap<string, ReadonlySet<string>> {
    if (this.known === null) {
      this.known = new Map();
      for (const { claims, revokedAt } of this.register.all()) {
        if (revokedAt !== null || !claims.roles.includes("archive")) continue;
        this.known.set(claims.accountId, new Set([...(this.known.get(claims.accountId) ?? []), claims.unit]));
      }
    }
    return this.known;
  }

  /** The precedence that the device's certificate allows; routine for one that is not certified now. */
  ceiling(deviceId: string): PrecedenceLabel {
    const standing = this.register.last(deviceId);
    return standing !== null && this.admits(deviceId) ? standing.claims.precedenceCeiling : "routine";
  }

  /** Whether custodians let this device in, and whether it is out again. */
  get ownState(): "waiting" | "certified" | "expired" | "revoked" {
    const standing = this.register.last(this.own.deviceId);
    if (standing === null) return "waiting";
    if (standing.revokedAt !== null) return "revoked";
    return inForceAt(standing.claims, this.now()) ? "certified" : "expired";
  }
}

function unverified(head: Schemas["TreeHead"]): UnverifiedTreeHead {
  return { logId: fromBase64(head.log_id), treeSize: head.tree_size, rootHash: fromBase64(head.root_hash), at: head.at, signature: fromBase64(head.signature) };
}

/** For people who compare: what a head is called. */
export function headName({ treeSize, rootHash }: UnverifiedTreeHead): string {
  return `${treeSize}:${toHex(rootHash).slice(0, 16)}`;
}

