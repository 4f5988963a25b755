// Who can be reached: what the server's directory says of presence and key packages, held against the certificates of the log.
//
// The directory makes nobody a member: a device whose key is not certified is not written to, not called and not let in, and the person
// is told that the server showed it.

import type { Schemas } from "../../api/client";
import { fromBase64 } from "../../keys/bytes";
import type { Authority, Identity } from "../../keys/conversation";
import type { Membership } from "./membership";
import type { Precedence } from "../model";
import { isRecord } from "./messages";
import type { Change } from "./store";

export interface Person {
  accountId: string;
  displayName: string;
  online: boolean;
  /** The server shows a device of this person that the organisation did not certify. */
  keyChanged: boolean;
}

export class Directory implements Authority {
  /** Account id → name: whom this phone has ever seen with a phone. */
  private met = new Map<string, string>();
  private current: Map<string, Schemas["DirectoryAccount"]> | null = null;
  /** For each question that is open: who came and went since it was asked. */
  private readonly asking = new Set<Map<string, boolean>>();
  private asked = 0;
  private answered = 0;

  constructor(
    private readonly own: Identity,
    private readonly membership: Membership,
  ) {}

  load(rows: ReadonlyMap<string, unknown>): void {
    for (const [accountId, row] of rows) if (isRecord(row) && typeof row["displayName"] === "string") this.met.set(accountId, row["displayName"]);
  }

  /** Takes over what the server says now. The changes returned must be persisted. Rejects as `ask` does. */
  async refresh(ask: () => Promise<readonly Schemas["DirectoryAccount"][]>): Promise<Change[]> {
    const turn = ++this.asked;
    const heard = new Map<string, boolean>();
    this.asking.add(heard);
    let accounts: readonly Schemas["DirectoryAccount"][];
    try {
      accounts = await ask();
    } finally {
      this.asking.delete(heard);
    }
    if (turn < this.answered) return []; // a later question was answered before
    this.answered = turn;
    const changes = this.update(accounts);
    for (const [accountId, online] of heard) this.presence(accountId, online); // newer than the answer
    return changes;
  }

  private update(accounts: readonly Schemas["DirectoryAccount"][]): Change[] {
    this.current = new Map(accounts.map((account) => [account.account_id, account]));
    const changes: Change[] = [];
    for (const { account_id: accountId, display_name, devices } of accounts) {
      const displayName = this.membership.nameOf(accountId) ?? display_name;
      if (accountId === this.own.accountId || devices.length === 0 || this.met.get(accountId) === displayName) continue;
      this.met.set(accountId, displayName);
      changes.push({ table: "pins", key: accountId, value: { displayName } });
    }
    return changes;
  }

  presence(accountId: string, online: boolean): void {
    for (const heard of this.asking) heard.set(accountId, online);
    const account = this.current?.get(accountId);
    if (account !== undefined) this.current?.set(accountId, { ...account, online });
  }

  serverLost(): void {
    for (const account of this.current?.keys() ?? []) this.presence(account, false);
  }

  accepts(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean {
    return this.membership.accepts(accountId, deviceId, signaturePublicKey);
  }

  admits(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean {
    return this.membership.accepts(accountId, deviceId, signaturePublicKey) && this.membership.admits(deviceId);
  }

  /** The device has to go from wherever it is. */
  isRevoked(deviceId: string): boolean {
    return this.membership.isRevoked(deviceId);
  }

  /** The directory shows a device, or a key of a device, that the organisation did not certify. */
  keyChanged(accountId: string): boolean {
    const listed = this.current?.get(accountId)?.devices ?? [];
    return listed.some((device) => !this.accepts(accountId, device.device_id, fromBase64(device.signature_public_key)));
  }

  /** The highest level at which a device may call, by its certificate. */
  ceiling(deviceId: string): Precedence {
    return this.membership.ceiling(deviceId);
  }

  /** Custodians certified this account as an archive: what it is let into, it keeps. */
  isArchive(accountId: string): boolean {
    return this.membership.archives().has(accountId);
  }

  /** Two custodians let this archive keep what these people say: its certificate is for the whole organisation, or for a unit of one of them. A guest's unit is his own organisation's. */
  mayKeep(archive: string, people: readonly string[]): boolean {
    const units = this.membership.archives().get(archive);
    if (units === undefined) return false;
    return units.has("") || people.some((accountId) => this.membership.devicesOf(accountId).some(({ claims, revokedAt, guest }) => guest === null && revokedAt === null && units.has(claims.unit)));
  }

  online(accountId: string): boolean {
    return this.current?.get(accountId)?.online ?? false;
  }

  /** The devices of an account that can be let in: certified, not revoked, with key packages at the server. */
  devicesOf(accountId: string): string[] {
    const listed = this.current?.get(accountId)?.devices ?? [];
    return listed.filter((device) => this.admits(accountId, device.device_id, fromBase64(device.signature_public_key))).map((device) => device.device_id);
  }

  people(): Person[] {
    return [...this.met].map(([accountId, displayName]) => ({
      accountId,
      displayName: this.membership.nameOf(accountId) ?? displayName,
      online: this.online(accountId),
      keyChanged: this.keyChanged(accountId),
    }));
  }
}
