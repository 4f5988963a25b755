// Where sealed rows lie: a flat table of byte strings by name, changed all or nothing. Whatever stands here, somebody who copies the
// browser's files has.

import { openDB, type IDBPDatabase } from "idb";

import { owned, type Bytes } from "../../keys/bytes";

/** `value` undefined deletes. Named values are the few that are not rows: they are kept as they are. */
export type RawChange = { row: string; value: Bytes | undefined } | { name: string; value: unknown };

export interface Database {
  /** The rows whose names begin with `prefix` (hex digits), with their names. */
  rows(prefix: string): Promise<[string, Bytes][]>;
  named(name: string): Promise<unknown>;
  apply(changes: readonly RawChange[]): Promise<void>;
  /** Deletes everything; nothing can be written afterwards. */
  destroy(): Promise<void>;
  close(): void;
}

/** The twin for tests. */
export class MemoryDatabase implements Database {
  private readonly stored = new Map<string, Bytes>();
  private readonly names = new Map<string, unknown>();
  private destroyed = false;
  /** Set to make the next writes fail, as a full disk does. */
  refuseWrites = false;

  rows(prefix: string): Promise<[string, Bytes][]> {
    return Promise.resolve([...this.stored].filter(([name]) => name.startsWith(prefix)).map(([name, value]) => [name, owned(value)]));
  }

  named(name: string): Promise<unknown> {
    return Promise.resolve(this.names.get(name));
  }

  apply(changes: readonly RawChange[]): Promise<void> {
    if (this.refuseWrites || this.destroyed) return Promise.reject(new Error("the database refuses writes"));
    for (const change of changes) {
      const [map, key]: [Map<string, unknown>, string] = "row" in change ? [this.stored, change.row] : [this.names, change.name];
      if (change.value === undefined) map.delete(key);
      else map.set(key, change.value);
    }
    return Promise.resolve();
  }

  destroy(): Promise<void> {
    this.destroyed = true;
    this.stored.clear();
    this.names.clear();
    return Promise.resolve();
  }

  close(): void {
    // nothing is held open
  }

  /** Everything that a thief finds. */
  dump(): { names: string[]; values: unknown[] } {
    return { names: [...this.stored.keys(), ...this.names.keys()], values: [...this.stored.values(), ...this.names.values()] };
  }
}

const NAME = "tramontana";
/** Of versions before there were organisations: those phones were members of none and enrol anew. */
const FORMER_NAME = "tramontana-phone";
const ROWS = "rows";
const NAMED = "named";

/** Opens the database of this origin, making it on first use. Rejects if the browser refuses storage. */
export async function openBrowserDatabase(): Promise<Database> {
  indexedDB.deleteDatabase(FORMER_NAME);
  const database = await openDB(NAME, 1, {
    upgrade(fresh) {
      for (const store of [ROWS, NAMED]) fresh.createObjectStore(store);
    },
  });
  void navigator.storage?.persist?.();
  return new BrowserDatabase(database);
}

class BrowserDatabase implements Database {
  constructor(private readonly database: IDBPDatabase) {}

  async rows(prefix: string): Promise<[string, Bytes][]> {
    const range = IDBKeyRange.bound(prefix, `${prefix}g`); // "g" follows every hex digit
    const { store } = this.database.transaction(ROWS);
    const [names, values] = await Promise.all([store.getAllKeys(range), store.getAll(range) as Promise<Bytes[]>]);
    return values.map((value, i) => [String(names[i]), value]);
  }

  named(name: string): Promise<unknown> {
    return this.database.get(NAMED, name);
  }

  async apply(changes: readonly RawChange[]): Promise<void> {
    const transaction = this.database.transaction([ROWS, NAMED], "readwrite", { durability: "strict" });
    const requests: Promise<unknown>[] = changes.map((change) => {
      const [store, key] = "row" in change ? [transaction.objectStore(ROWS), change.row] : [transaction.objectStore(NAMED), change.name];
      return change.value === undefined ? store.delete(key) : store.put(change.value, key);
    });
    await Promise.all([...requests, transaction.done]);
  }

  async destroy(): Promise<void> {
    // First the rows, in a transaction that is on disk when it resolves: deleting the database waits for whoever else has it open.
    const transaction = this.database.transaction([ROWS, NAMED], "readwrite", { durability: "strict" });
    await Promise.all([transaction.objectStore(ROWS).clear(), transaction.objectStore(NAMED).clear(), transaction.done]);
    this.database.close();
    indexedDB.deleteDatabase(NAME);
  }

  close(): void {
    this.database.close();
  }
}
