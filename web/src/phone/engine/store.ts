// What the phone keeps on this device: rows in tables, sealed one by one, written together or not at all.
//
// Rows are encrypted under an AES-GCM key that WebCrypto made non-extractable and IndexedDB keeps as an object. Whoever copies the
// browser's files has both, so this is no substitute for disk encryption; it keeps content out of backups, crash dumps and greps.

import { openDB, type IDBPDatabase } from "idb";

import { concat, fromBase64, fromUtf8, owned, toBase64, utf8, type Bytes } from "../../keys/bytes";
import type { StoredDeviceKey } from "../../keys/statement";

/** Tables and what their keys are. */
export type Table =
  | "device" // "enrolment" | "mailbox" | "draft"
  | "pins" // account id
  | "keyPackages" // reference in hex
  | "conversations" // peer's account id
  | "entries" // peer's account id / entry id
  | "outbox" // ascending number, as text
  | "unread"; // peer's account id

export const TABLES: readonly Table[] = ["device", "pins", "keyPackages", "conversations", "entries", "outbox", "unread"];

/** `value` undefined deletes the row. Values are JSON, with Uint8Array allowed anywhere. */
export interface Change {
  table: Table;
  key: string;
  value: unknown;
}

export interface PhoneStore {
  readAll(table: Table): Promise<Map<string, unknown>>;
  /** All or nothing, in one transaction. */
  write(changes: readonly Change[]): Promise<void>;
  readDeviceKey(): Promise<StoredDeviceKey | null>;
  writeDeviceKey(key: StoredDeviceKey): Promise<void>;
  close(): void;
}

/** The twin for tests. Values are copied by way of the same encoding as in the real one. */
export class MemoryStore implements PhoneStore {
  private readonly rows = new Map<string, Map<string, Bytes>>();
  private deviceKey: StoredDeviceKey | null = null;
  /** Set to make the next writes fail, as a full disk does. */
  refuseWrites = false;

  readAll(table: Table): Promise<Map<string, unknown>> {
    return Promise.resolve(new Map([...(this.rows.get(table) ?? [])].map(([key, value]) => [key, decodeValue(value)])));
  }

  write(changes: readonly Change[]): Promise<void> {
    if (this.refuseWrites) return Promise.reject(new Error("the store refuses writes"));
    for (const { table, key, value } of changes) {
      const rows = this.rows.get(table) ?? new Map<string, Bytes>();
      this.rows.set(table, rows);
      if (value === undefined) rows.delete(key);
      else rows.set(key, encodeValue(value));
    }
    return Promise.resolve();
  }

  readDeviceKey(): Promise<StoredDeviceKey | null> {
    return Promise.resolve(this.deviceKey);
  }

  writeDeviceKey(key: StoredDeviceKey): Promise<void> {
    this.deviceKey = key;
    return Promise.resolve();
  }

  close(): void {
    // nothing is held open
  }
}

const DATABASE = "tramontana-phone";
const KEYS = "keys";

/** Opens the database of this origin, making it and its sealing key on first use. Rejects if the browser refuses storage. */
export async function openIndexedDbStore(): Promise<PhoneStore> {
  const database = await openDB(DATABASE, 1, {
    upgrade(fresh) {
      for (const table of [...TABLES, KEYS]) fresh.createObjectStore(table);
    },
  });
  const made = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  const transaction = database.transaction(KEYS, "readwrite", { durability: "strict" });
  const present = (await transaction.store.get("sealing")) as CryptoKey | undefined;
  if (present === undefined) await transaction.store.put(made, "sealing");
  await transaction.done;
  void navigator.storage?.persist?.();
  return new IndexedDbStore(database, present ?? made);
}

class IndexedDbStore implements PhoneStore {
  constructor(
    private readonly database: IDBPDatabase,
    private readonly sealingKey: CryptoKey,
  ) {}

  async readAll(table: Table): Promise<Map<string, unknown>> {
    const transaction = this.database.transaction(table);
    const [keys, rows] = await Promise.all([transaction.store.getAllKeys(), transaction.store.getAll() as Promise<Uint8Array[]>]);
    const values = await Promise.all(rows.map((row, i) => this.open(table, String(keys[i]), row)));
    return new Map(values.map((value, i) => [String(keys[i]), value]));
  }

  async write(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    // Sealing first: an IndexedDB transaction ends as soon as something else is awaited.
    const sealed = await Promise.all(changes.map(({ table, key, value }) => (value === undefined ? undefined : this.seal(table, key, value))));
    const transaction = this.database.transaction([...new Set(changes.map(({ table }) => table))], "readwrite", { durability: "strict" });
    const requests: Promise<unknown>[] = changes.map(({ table, key }, i) => {
      const store = transaction.objectStore(table);
      return sealed[i] === undefined ? store.delete(key) : store.put(sealed[i], key);
    });
    await Promise.all([...requests, transaction.done]);
  }

  async readDeviceKey(): Promise<StoredDeviceKey | null> {
    return ((await this.database.get(KEYS, "device")) as StoredDeviceKey | undefined) ?? null;
  }

  async writeDeviceKey(key: StoredDeviceKey): Promise<void> {
    await this.database.put(KEYS, key, "device");
  }

  close(): void {
    this.database.close();
  }

  private async seal(table: Table, key: string, value: unknown): Promise<Bytes> {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const parameters: AesGcmParams = { name: "AES-GCM", iv, additionalData: utf8(`${table}/${key}`) };
    return concat(iv, new Uint8Array(await crypto.subtle.encrypt(parameters, this.sealingKey, encodeValue(value))));
  }

  private async open(table: Table, key: string, row: Uint8Array): Promise<unknown> {
    const parameters: AesGcmParams = { name: "AES-GCM", iv: owned(row.subarray(0, 12)), additionalData: utf8(`${table}/${key}`) };
    return decodeValue(new Uint8Array(await crypto.subtle.decrypt(parameters, this.sealingKey, owned(row.subarray(12)))));
  }
}

const BYTES_TAG = "$bytes";

function encodeValue(value: unknown): Bytes {
  return utf8(JSON.stringify(value, (_key, member: unknown) => (member instanceof Uint8Array ? { [BYTES_TAG]: toBase64(member) } : member)));
}

function decodeValue(bytes: Uint8Array): unknown {
  return JSON.parse(fromUtf8(bytes), (_key, member: unknown) => {
    const tagged = typeof member === "object" && member !== null ? (member as Record<string, unknown>)[BYTES_TAG] : undefined;
    return typeof tagged === "string" ? fromBase64(tagged) : member;
  });
}
