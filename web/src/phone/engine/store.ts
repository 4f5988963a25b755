// What the phone keeps on this device: rows in tables, sealed one by one, written together or not at all.
//
// Values and names are both hidden: a row's name in the database is a keyed hash, its table, key and value are sealed. Whose key it is,
// and what protects that key, is the vault's business (vault.ts).

import { concat, fromBase64, fromUtf8, owned, randomBytes, toBase64, toHex, utf8, type Bytes } from "../../keys/bytes";
import type { StoredDeviceKey } from "../../keys/statement";
import type { Database, RawChange } from "./database";

/** Tables and what their keys are. */
export type Table =
  | "device" // "enrolment" | "mailbox" | "draft"
  | "pins" // account id
  | "log" // "log" | "evidence"
  | "certificates" // serial
  | "keyPackages" // reference in hex
  | "conversations" // conversation id
  | "entries" // conversation id / entry id
  | "outbox" // ascending number, as text
  | "uploads" // entry id
  | "chunks" // entry id / number
  | "sealed" // "keys/" conversation id, "number/" device id, "held/" id, "leaving/" entry id
  | "unread"; // conversation id

export const TABLES: readonly Table[] = ["device", "pins", "log", "certificates", "keyPackages", "conversations", "entries", "outbox", "uploads", "chunks", "sealed", "unread"];

/** `value` undefined deletes the row. Values are JSON, with Uint8Array allowed anywhere. */
export interface Change {
  table: Table;
  key: string;
  value: unknown;
}

export interface PhoneStore {
  readAll(table: Table): Promise<Map<string, unknown>>;
  /** One row, undefined where there is none. */
  read(table: Table, key: string): Promise<unknown>;
  /** All or nothing, in one transaction. */
  write(changes: readonly Change[]): Promise<void>;
  readDeviceKey(): Promise<StoredDeviceKey | null>;
  /** The private half must be extractable: it is wrapped. What `readDeviceKey` yields is not. */
  writeDeviceKey(key: StoredDeviceKey): Promise<void>;
  close(): void;
}

const IV_BYTES = 12;
const NAME_BYTES = 16;
const DEVICE_KEY = "device key";

/** The keys of one vault, all from one secret. */
class VaultKeys {
  private constructor(
    private readonly sealing: CryptoKey,
    private readonly naming: CryptoKey,
    private readonly wrapping: CryptoKey,
  ) {}

  static async derive(secret: Uint8Array): Promise<VaultKeys> {
    const material = await crypto.subtle.importKey("raw", owned(secret), "HKDF", false, ["deriveKey"]);
    const derive = (purpose: string, algorithm: AesKeyGenParams | HmacKeyGenParams, uses: KeyUsage[]): Promise<CryptoKey> => {
      const parameters: HkdfParams = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8(`tramontana vault 1 ${purpose}`) };
      return crypto.subtle.deriveKey(parameters, material, algorithm, false, uses);
    };
    return new VaultKeys(
      await derive("rows", { name: "AES-GCM", length: 256 }, ["encrypt", "decrypt"]),
      await derive("names", { name: "HMAC", hash: "SHA-256", length: 256 }, ["sign"]),
      await derive("device key", { name: "AES-GCM", length: 256 }, ["wrapKey", "unwrapKey"]),
    );
  }

  /** The first half is the table's, so that a table can be read as a range. */
  async rowName(table: Table, key: string): Promise<string> {
    return (await this.hidden(table)) + (await this.hidden(`${table}/${key}`));
  }

  async hidden(name: string): Promise<string> {
    return toHex(new Uint8Array(await crypto.subtle.sign("HMAC", this.naming, utf8(name))).subarray(0, NAME_BYTES));
  }

  async seal(rowName: string, value: unknown): Promise<Bytes> {
    const iv = randomBytes(IV_BYTES);
    const parameters: AesGcmParams = { name: "AES-GCM", iv, additionalData: utf8(rowName) };
    return concat(iv, new Uint8Array(await crypto.subtle.encrypt(parameters, this.sealing, encodeValue(value))));
  }

  async open(rowName: string, row: Uint8Array): Promise<unknown> {
    const parameters: AesGcmParams = { name: "AES-GCM", iv: owned(row.subarray(0, IV_BYTES)), additionalData: utf8(rowName) };
    return decodeValue(new Uint8Array(await crypto.subtle.decrypt(parameters, this.sealing, owned(row.subarray(IV_BYTES)))));
  }

  async wrap(key: CryptoKey): Promise<Bytes> {
    const iv = randomBytes(IV_BYTES);
    return concat(iv, new Uint8Array(await crypto.subtle.wrapKey("pkcs8", key, this.wrapping, { name: "AES-GCM", iv })));
  }

  unwrap(wrapped: Uint8Array, extractable: boolean): Promise<CryptoKey> {
    const parameters: AesGcmParams = { name: "AES-GCM", iv: owned(wrapped.subarray(0, IV_BYTES)) };
    return crypto.subtle.unwrapKey("pkcs8", owned(wrapped.subarray(IV_BYTES)), this.wrapping, parameters, "Ed25519", extractable, ["sign"]);
  }
}

interface Row {
  key: string;
  value: unknown;
}

/** The store over a database, under the keys of one vault. Rows of another vault in the same database are invisible to it. */
export class SealedStore implements PhoneStore {
  private constructor(
    private readonly database: Database,
    private keys: VaultKeys,
  ) {}

  static async open(database: Database, secret: Uint8Array): Promise<SealedStore> {
    return new SealedStore(database, await VaultKeys.derive(secret));
  }

  async readAll(table: Table): Promise<Map<string, unknown>> {
    const rows = await this.database.rows(await this.keys.hidden(table));
    const opened = await Promise.all(rows.map(async ([name, row]) => (await this.keys.open(name, row)) as Row));
    return new Map(opened.map(({ key, value }) => [key, value]));
  }

  async read(table: Table, key: string): Promise<unknown> {
    const rowName = await this.keys.rowName(table, key);
    const [found] = await this.database.rows(rowName);
    return found === undefined ? undefined : ((await this.keys.open(...found)) as Row).value;
  }

  async write(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    await this.database.apply(await Promise.all(changes.map((change) => sealed(this.keys, change))));
  }

  async readDeviceKey(): Promise<StoredDeviceKey | null> {
    return this.deviceKey(false);
  }

  async writeDeviceKey({ publicKey, privateKey }: StoredDeviceKey): Promise<void> {
    await this.write([{ table: "device", key: DEVICE_KEY, value: { publicKey, wrapped: await this.keys.wrap(privateKey) } }]);
  }

  /** Seals everything anew under another secret, together with `further` changes. */
  async moveTo(secret: Uint8Array, further: readonly RawChange[]): Promise<void> {
    const keys = await VaultKeys.derive(secret);
    const changes: RawChange[] = [];
    for (const table of TABLES) {
      for (const [key, value] of await this.readAll(table)) {
        changes.push({ row: await this.keys.rowName(table, key), value: undefined });
        if (table !== "device" || key !== DEVICE_KEY) changes.push(await sealed(keys, { table, key, value }));
      }
    }
    const device = await this.deviceKey(true);
    if (device !== null) {
      const value = { publicKey: device.publicKey, wrapped: await keys.wrap(device.privateKey) };
      changes.push(await sealed(keys, { table: "device", key: DEVICE_KEY, value }));
    }
    await this.database.apply([...changes, ...further]);
    this.keys = keys;
  }

  close(): void {
    this.database.close();
  }

  private async deviceKey(extractable: boolean): Promise<StoredDeviceKey | null> {
    const stored = (await this.readAll("device")).get(DEVICE_KEY) as { publicKey: Uint8Array; wrapped: Uint8Array } | undefined;
    return stored === undefined ? null : { publicKey: stored.publicKey, privateKey: await this.keys.unwrap(stored.wrapped, extractable) };
  }
}

async function sealed(keys: VaultKeys, { table, key, value }: Change): Promise<RawChange> {
  const row = await keys.rowName(table, key);
  return { row, value: value === undefined ? undefined : await keys.seal(row, { key, value } satisfies Row) };
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
