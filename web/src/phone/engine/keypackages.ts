// Key packages: what others need to start a conversation with this device while it is away.

import type { Schemas } from "../../api/client";
import { toBase64, toHex } from "../../keys/bytes";
import { keyPackageReference, type MlsDevice, type StoredKeyPackage } from "../../keys/conversation";
import type { Session } from "./session";
import type { Change, PhoneStore } from "./store";

const WANTED = 20;
const FEWEST = 10;
/** New ones replace what is at the server after this, so that none there ever comes near the end of its 12 weeks. */
const RENEW_BEFORE_END_S = 70 * 86_400;

interface Row extends StoredKeyPackage {
  lastResort: boolean;
}

export class KeyPackages {
  private rows = new Map<string, Row>();

  constructor(
    private readonly device: MlsDevice,
    private readonly store: PhoneStore,
  ) {}

  async load(): Promise<void> {
    this.rows = (await this.store.readAll("keyPackages")) as Map<string, Row>;
  }

  /** All private halves that a welcome may still need. */
  get held(): StoredKeyPackage[] {
    return [...this.rows.values()];
  }

  /** Makes sure that the server has enough. Private halves are persisted before the public ones leave. */
  async replenish(session: Session): Promise<void> {
    const now = session.serverUnixS();
    const { remaining } = await session.call<Schemas["KeyPackagesRemaining"]>("GET", "/api/v1/me/key-packages");
    const newest = Math.max(0, ...[...this.rows.values()].map((row) => row.notAfter));
    if (remaining >= FEWEST && newest - now > RENEW_BEFORE_END_S) return;
    const fresh = new Map<string, Row>();
    for (let i = 0; i <= WANTED; i++) {
      const made = await this.device.newKeyPackage(now);
      fresh.set(toHex(await keyPackageReference(made.message, this.device.suite)), { ...made, lastResort: i === WANTED });
    }
    // Older ones may be in a welcome that is under way: they stay until they expire.
    const expired = [...this.rows].filter(([, row]) => row.notAfter < now).map(([key]) => key);
    await this.store.write([
      ...[...fresh].map(([key, value]): Change => ({ table: "keyPackages", key, value })),
      ...expired.map((key): Change => ({ table: "keyPackages", key, value: undefined })),
    ]);
    for (const key of expired) this.rows.delete(key);
    for (const [key, row] of fresh) this.rows.set(key, row);
    const offered: Schemas["KeyPackages"] = { key_packages: [], last_resort: "" };
    for (const row of fresh.values()) {
      if (row.lastResort) offered.last_resort = toBase64(row.message);
      else offered.key_packages.push(toBase64(row.message));
    }
    await session.call("PUT", "/api/v1/me/key-packages", offered);
  }

  /** The change that deletes a used one; the last resort stays, as others may have been given it too. */
  async spend(used: StoredKeyPackage): Promise<Change[]> {
    const key = toHex(await keyPackageReference(used.message, this.device.suite));
    return this.rows.get(key)?.lastResort === true ? [] : [{ table: "keyPackages", key, value: undefined }];
  }

  /** After `spend`'s changes were persisted. */
  forget(changes: readonly Change[]): void {
    for (const { key } of changes) this.rows.delete(key);
  }
}
