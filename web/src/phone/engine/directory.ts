// Who is who: the server's directory, held against the keys that were pinned when an account was first seen.
//
// The directory alone is the server's word. A key, or a further device, that appears later for a known account is not believed: calls
// and texts with that account are refused and the person is told.

import type { Schemas } from "../../api/client";
import { equal, fromBase64, toBase64 } from "../../keys/bytes";
import type { Authority, Identity } from "../../keys/conversation";
import type { Precedence } from "../model";
import { isRecord } from "./messages";
import type { Change } from "./store";

export interface Person {
  accountId: string;
  displayName: string;
  online: boolean;
  keyChanged: boolean;
  deviceIds: string[];
}

interface Pin {
  displayName: string;
  /** Device id → signature public key, base64. */
  devices: Record<string, string>;
}

export class Directory implements Authority {
  private pins = new Map<string, Pin>();
  private current: Map<string, Schemas["DirectoryAccount"]> | null = null;

  constructor(
    private readonly own: Identity,
    private readonly ownKey: Uint8Array,
  ) {}

  load(rows: ReadonlyMap<string, unknown>): void {
    this.pins = new Map([...rows].filter((row): row is [string, Pin] => isRecord(row[1]) && isRecord(row[1]["devices"])));
  }

  /** Takes over what the server says now. The changes returned must be persisted: they pin what was seen for the first time. */
  update(accounts: readonly Schemas["DirectoryAccount"][]): Change[] {
    this.current = new Map(accounts.map((account) => [account.account_id, account]));
    const changes: Change[] = [];
    for (const account of accounts) {
      const known = this.pins.get(account.account_id);
      if (account.account_id === this.own.accountId || (known === undefined && account.devices.length === 0)) continue;
      const devices = known?.devices ?? Object.fromEntries(account.devices.map((device) => [device.device_id, device.signature_public_key]));
      if (known?.displayName === account.display_name) continue;
      const pin: Pin = { displayName: account.display_name, devices };
      this.pins.set(account.account_id, pin);
      changes.push({ table: "pins", key: account.account_id, value: pin });
    }
    return changes;
  }

  presence(accountId: string, online: boolean): void {
    const account = this.current?.get(accountId);
    if (account !== undefined) this.current?.set(accountId, { ...account, online });
  }

  serverLost(): void {
    for (const account of this.current?.keys() ?? []) this.presence(account, false);
  }

  accepts(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean {
    const given = toBase64(signaturePublicKey);
    if (accountId === this.own.accountId) return deviceId === this.own.deviceId && equal(fromBase64(given), this.ownKey);
    const listed = this.current?.get(accountId)?.devices.find((device) => device.device_id === deviceId);
    return listed?.signature_public_key === given && this.pins.get(accountId)?.devices[deviceId] === given;
  }

  /** The directory shows a key or a device that is not the pinned one. */
  keyChanged(accountId: string): boolean {
    const pinned = this.pins.get(accountId)?.devices;
    const listed = this.current?.get(accountId)?.devices ?? [];
    return pinned !== undefined && listed.some((device) => pinned[device.device_id] !== device.signature_public_key);
  }

  /** The highest level at which a person may call, by the server's word; routine for who is not listed. */
  ceiling(accountId: string): Precedence {
    return this.current?.get(accountId)?.precedence_ceiling ?? "routine";
  }

  online(accountId: string): boolean {
    return this.current?.get(accountId)?.online ?? false;
  }

  /** The devices of an account that `accepts` believes. */
  devicesOf(accountId: string): string[] {
    const listed = this.current?.get(accountId)?.devices ?? [];
    return listed.filter((device) => this.accepts(accountId, device.device_id, fromBase64(device.signature_public_key))).map((device) => device.device_id);
  }

  people(): Person[] {
    return [...this.pins].map(([accountId, pin]) => ({
      accountId,
      displayName: pin.displayName,
      online: this.current?.get(accountId)?.online ?? false,
      keyChanged: this.keyChanged(accountId),
      deviceIds: Object.keys(pin.devices),
    }));
  }
}
