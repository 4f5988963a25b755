// The phone's store under a passphrase, under another one that opens an empty phone, and under none.

import { describe, expect, it } from "vitest";

import { toHex } from "../../src/keys/bytes";
import { DeviceKey } from "../../src/keys/statement";
import { MemoryDatabase } from "../../src/phone/engine/database";
import { PassphraseRefused, Vault, WrongPassphrase } from "../../src/phone/engine/vault";

const FEW = 1_000; // iterations: the cost of a guess is measured in bench/passphrase.mjs, not here
const OWN = "sette galere a Lepanto";
const DURESS = "nove barche da pesca";
const NOW = 1_800_000_000_000;
const PEER = "0123456789abcdef0123456789abcdef";
const text = { body: "the frigate sails at dawn", bytes: Uint8Array.of(1, 2, 3) };

async function furnished(): Promise<{ database: MemoryDatabase; vault: Vault; publicKey: Uint8Array }> {
  const database = new MemoryDatabase();
  const vault = new Vault(database, FEW);
  const store = await vault.open();
  await store.write([
    { table: "entries", key: `${PEER}/1`, value: text },
    { table: "pins", key: PEER, value: { displayName: "Bruno" } },
  ]);
  const pair = await DeviceKey.generateWrappable();
  await store.writeDeviceKey(pair);
  return { database, vault, publicKey: pair.publicKey };
}

/** The same files in a new page. */
const reopened = (database: MemoryDatabase): Vault => new Vault(database, FEW);

/** All that stands in the files, as far as it can be read. */
function readable(database: MemoryDatabase): string {
  const { names, values } = database.dump();
  const bytes = values.flatMap((value) => (value instanceof Uint8Array ? [toHex(value), Buffer.from(value).toString("latin1")] : [JSON.stringify(value)]));
  return [...names, ...bytes].join("\n");
}

describe("without a passphrase", () => {
  it("keeps rows and device key for the next page", async () => {
    const { database, publicKey } = await furnished();
    const vault = reopened(database);
    expect(await vault.isSealed()).toBe(false);
    const store = await vault.open();
    expect((await store.readAll("entries")).get(`${PEER}/1`)).toEqual(text);
    const stored = await store.readDeviceKey();
    expect(stored?.publicKey).toEqual(publicKey);
    expect(stored?.privateKey.extractable).toBe(false);
  });

  it("shows in the files neither content nor who is known", async () => {
    const { database } = await furnished();
    for (const secret of ["frigate", PEER, "Bruno", "entries", "pins"]) expect(readable(database)).not.toContain(secret);
  });

  it("writes all or nothing", async () => {
    const { database, vault } = await furnished();
    const store = await vault.open();
    database.refuseWrites = true;
    await expect(store.write([{ table: "unread", key: PEER, value: 1 }])).rejects.toThrow();
    database.refuseWrites = false;
    expect((await store.readAll("unread")).size).toBe(0);
    await store.write([
      { table: "unread", key: PEER, value: 1 },
      { table: "entries", key: `${PEER}/1`, value: undefined },
    ]);
    expect((await store.readAll("unread")).get(PEER)).toBe(1);
    expect((await store.readAll("entries")).size).toBe(0);
  });

  it("does not take a row that was put in another one's place", async () => {
    const { database, vault } = await furnished();
    const store = await vault.open();
    await store.write([{ table: "pins", key: "second", value: 2 }]);
    const { names, values } = database.dump();
    const rows = names.map((name, i) => [name, values[i]] as const).filter((row): row is [string, Uint8Array<ArrayBuffer>] => /^[0-9a-f]{64}$/.test(row[0]));
    const table = rows.find(([name]) => rows.filter(([other]) => other.startsWith(name.slice(0, 32))).length === 2)?.[0].slice(0, 32) as string;
    const [first, second] = rows.filter(([name]) => name.startsWith(table)) as [(typeof rows)[0], (typeof rows)[0]];
    await database.apply([{ row: first[0], value: second[1] }]);
    await expect(store.readAll("pins")).rejects.toThrow();
  });
});

describe("with a passphrase", () => {
  it("opens with it and with nothing else", async () => {
    const { database, vault, publicKey } = await furnished();
    await vault.setPassphrase(OWN);
    const next = reopened(database);
    expect(await next.isSealed()).toBe(true);
    await expect(next.open()).rejects.toThrow();
    await expect(next.unlock(`${OWN}.`, NOW)).rejects.toThrow(WrongPassphrase);
    const store = await next.unlock(OWN, NOW);
    expect((await store.readAll("entries")).get(`${PEER}/1`)).toEqual(text);
    const stored = await store.readDeviceKey();
    expect(stored?.publicKey).toEqual(publicKey);
    expect(stored?.privateKey.extractable).toBe(false);
    const signature = await crypto.subtle.sign("Ed25519", stored?.privateKey as CryptoKey, Uint8Array.of(7));
    const verifying = await crypto.subtle.importKey("raw", new Uint8Array(publicKey), "Ed25519", false, ["verify"]);
    expect(await crypto.subtle.verify("Ed25519", verifying, signature, Uint8Array.of(7))).toBe(true);
  });

  it("leaves no key in the files that opens without it", async () => {
    const { database, vault } = await furnished();
    await vault.setPassphrase(OWN);
    expect(database.dump().values.some((value) => value instanceof CryptoKey)).toBe(false);
    expect(database.dump().names.filter((name) => !/^[0-9a-f]{64}$/.test(name))).toEqual(["slots"]);
  });

  it("takes the same words composed otherwise", async () => {
    const { database, vault } = await furnished();
    await vault.setPassphrase("la città è già qui".normalize("NFD"));
    await reopened(database).unlock("la città è già qui".normalize("NFC"), NOW);
  });

  it("can be changed; the former one opens nothing then", async () => {
    const { database, vault } = await furnished();
    await vault.setPassphrase(OWN);
    await vault.setPassphrase("un altro giro di boa");
    await expect(reopened(database).unlock(OWN, NOW)).rejects.toThrow(WrongPassphrase);
    const store = await reopened(database).unlock("un altro giro di boa", NOW);
    expect((await store.readAll("entries")).size).toBe(1);
  });

  it("is refused when it is short", async () => {
    const { database, vault } = await furnished();
    await expect(vault.setPassphrase("eleven char")).rejects.toThrow(PassphraseRefused);
    expect(await reopened(database).isSealed()).toBe(false);
  });

  it("slows down whoever guesses, over restarts and for the right one too", async () => {
    const { database, vault } = await furnished();
    await vault.setPassphrase(OWN);
    const waits: number[] = [];
    let now = NOW;
    for (let guess = 1; guess <= 12; guess++) {
      const refused: unknown = await reopened(database)
        .unlock(`guess number ${guess}`, now)
        .catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(WrongPassphrase);
      const { retryAt } = refused as WrongPassphrase;
      waits.push((retryAt - now) / 1_000);
      if (retryAt > now) {
        await expect(reopened(database).unlock(OWN, retryAt - 1)).rejects.toMatchObject({ retryAt });
      }
      now = retryAt;
    }
    expect(waits).toEqual([0, 0, 0, 5, 10, 20, 40, 80, 160, 320, 640, 900]);
    await reopened(database).unlock(OWN, now);
    await expect(reopened(database).unlock("a first wrong guess", now)).rejects.toMatchObject({ retryAt: now });
  });

  it("does not lock the owner out because a clock was set back", async () => {
    const { database, vault } = await furnished();
    await vault.setPassphrase(OWN);
    for (let guess = 1; guess <= 4; guess++) {
      await reopened(database)
        .unlock(`guess number ${guess}`, NOW)
        .catch(() => undefined);
    }
    await expect(reopened(database).unlock(OWN, NOW - 86_400_000)).rejects.toMatchObject({ retryAt: NOW - 86_400_000 + 900_000 });
  });
});

describe("with a passphrase for duress", () => {
  async function underDuress(): Promise<{ database: MemoryDatabase; vault: Vault }> {
    const { database, vault } = await furnished();
    await vault.setPassphrase(OWN);
    await vault.setDuressPassphrase(DURESS, (store) => store.write([{ table: "device", key: "decoy", value: "empty phone" }]));
    return { database, vault };
  }

  it("opens an empty phone; the own one opens the real one as before", async () => {
    const { database } = await underDuress();
    const decoy = await reopened(database).unlock(DURESS, NOW);
    expect((await decoy.readAll("device")).get("decoy")).toBe("empty phone");
    expect((await decoy.readAll("entries")).size + (await decoy.readAll("pins")).size).toBe(0);
    expect(await decoy.readDeviceKey()).toBeNull();
    const real = await reopened(database).unlock(OWN, NOW);
    expect((await real.readAll("entries")).size).toBe(1);
  });

  it("leaves the same things in the files, whether it was set or not", async () => {
    const shape = (database: MemoryDatabase): unknown => {
      const { names, values } = database.dump();
      const slots = values[names.indexOf("slots")] as { salt: Uint8Array; iterations: number; slots: Uint8Array[] };
      return [names.filter((name) => !/^[0-9a-f]{64}$/.test(name)), slots.slots.map((slot) => slot.length), slots.salt.length];
    };
    const without = await furnished();
    await without.vault.setPassphrase(OWN);
    expect(shape((await underDuress()).database)).toEqual(shape(without.database));
  });

  it("can be changed from either side, and the other one stays", async () => {
    const { database, vault } = await underDuress();
    await vault.setPassphrase("un altro giro di boa");
    await vault.setDuressPassphrase("nessuna barca in mare", (store) => store.write([{ table: "device", key: "decoy", value: "still empty" }]));
    await expect(reopened(database).unlock(DURESS, NOW)).rejects.toThrow(WrongPassphrase);
    const decoyVault = reopened(database);
    await decoyVault.unlock("nessuna barca in mare", NOW);
    await decoyVault.setPassphrase("changed under duress");
    const decoy = await reopened(database).unlock("changed under duress", NOW);
    expect((await decoy.readAll("device")).get("decoy")).toBe("still empty");
    const real = await reopened(database).unlock("un altro giro di boa", NOW);
    expect((await real.readAll("entries")).size).toBe(1);
  });

  it("is refused when it is the own one, is short, or there is no own one yet", async () => {
    const { vault } = await underDuress();
    await expect(vault.setDuressPassphrase(OWN, () => Promise.resolve())).rejects.toThrow(PassphraseRefused);
    await expect(vault.setDuressPassphrase("short", () => Promise.resolve())).rejects.toThrow(PassphraseRefused);
    await expect(vault.setPassphrase(DURESS)).rejects.toThrow(PassphraseRefused);
    const { vault: open } = await furnished();
    await expect(open.setDuressPassphrase(DURESS, () => Promise.resolve())).rejects.toThrow(PassphraseRefused);
  });
});

it("destroyed, it opens for nobody", async () => {
  const { database, vault } = await furnished();
  await vault.setPassphrase(OWN);
  await vault.destroy();
  expect(database.dump()).toEqual({ names: [], values: [] });
  await expect(reopened(database).unlock(OWN, NOW)).rejects.toThrow();
});
