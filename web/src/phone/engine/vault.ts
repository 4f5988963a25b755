// What protects the phone's store on this device: a passphrase, or the platform's key where the person set none.
//
// A vault's secret seals its rows (store.ts). Without a passphrase the secret is wrapped by a key that WebCrypto made non-extractable and
// the browser keeps: that keeps content out of backups, crash dumps and greps, but whoever copies the browser's files has both.
// With a passphrase there are always two slots of one size in random order, each for one passphrase; where only one is set the other
// holds random bytes. A slot opens or it does not: nothing tells whether the other one opens for anybody.

import { concat, owned, randomBytes, utf8, type Bytes } from "../../keys/bytes";
import type { Database, RawChange } from "./database";
import { SealedStore, type PhoneStore } from "./store";

/**
 * PBKDF2-HMAC-SHA-512 (RFC 8018), computed by the browser's own code off the page's thread. Argon2id with memory that would hurt an
 * attacker takes several times as long in JavaScript: bench/passphrase.mjs measures both.
 */
const ITERATIONS = 1_000_000;
const SECRET_BYTES = 32;
const SALT_BYTES = 32;
const IV_BYTES = 12;
const SLOT_BYTES = IV_BYTES + SECRET_BYTES + 16;
export const MIN_PASSPHRASE_CHARACTERS = 12;

/** So many wrong passphrases cost nothing but their computation; each further one doubles the wait. */
const FREE_FAILURES = 3;
const FIRST_DELAY_MS = 5_000;
const MOST_DELAY_MS = 15 * 60_000;

/** The names of what is not a row. */
const PLATFORM_KEY = "platform key";
const PLATFORM_SLOT = "platform slot";
const SLOTS = "slots";
const ATTEMPTS = "attempts";
/** Under which the real vault keeps the secret of the one that opens under duress. */
const DURESS_SECRET = "duress secret";

interface Slots {
  salt: Bytes;
  iterations: number;
  slots: [Bytes, Bytes];
}

interface Attempts {
  failures: number;
  /** Milliseconds since 1970. */
  notBefore: number;
}

/** No slot opens. The next attempt is taken from `retryAt` on, in milliseconds since 1970. */
export class WrongPassphrase extends Error {
  constructor(readonly retryAt: number) {
    super("the passphrase opens nothing on this device");
  }
}

/** `short`: fewer than 12 characters. `unusable`: it opens the other slot already. `first`: the own passphrase comes before the other. */
export class PassphraseRefused extends Error {
  constructor(readonly reason: "short" | "unusable" | "first") {
    super(`the passphrase is refused: ${reason}`);
  }
}

interface Opened {
  store: SealedStore;
  /** The slot that opened; null under the platform's key. */
  slot: 0 | 1 | null;
}

export class Vault {
  private opened: Opened | null = null;

  constructor(
    private readonly database: Database,
    private readonly iterations = ITERATIONS,
  ) {}

  async isSealed(): Promise<boolean> {
    return (await this.database.named(SLOTS)) !== undefined;
  }

  /** Without a passphrase. Rejects if one is set. */
  async open(): Promise<PhoneStore> {
    if (await this.isSealed()) throw new Error("a passphrase is set");
    const platformKey = (await this.database.named(PLATFORM_KEY)) as CryptoKey | undefined;
    const slot = (await this.database.named(PLATFORM_SLOT)) as Bytes | undefined;
    if (platformKey !== undefined && slot !== undefined) {
      const secret = await openSlot(platformKey, slot);
      if (secret === null) throw new Error("the stored secret does not open: the browser's files are damaged");
      return this.keep(secret, null);
    }
    const made = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
    const secret = randomBytes(SECRET_BYTES);
    await this.database.apply([
      { name: PLATFORM_KEY, value: made },
      { name: PLATFORM_SLOT, value: await sealSlot(made, secret) },
    ]);
    return this.keep(secret, null);
  }

  /** Rejects with WrongPassphrase, also when it is too early for another attempt. `now` in milliseconds since 1970. */
  async unlock(passphrase: string, now: number): Promise<PhoneStore> {
    const { failures, notBefore } = ((await this.database.named(ATTEMPTS)) as Attempts | undefined) ?? { failures: 0, notBefore: 0 };
    const wait = Math.min(notBefore - now, MOST_DELAY_MS); // a clock that was set back must not lock the owner out for longer
    if (wait > 0) throw new WrongPassphrase(now + wait);
    // Counted before the answer is known: closing the page is no way around it.
    const retryAt = now + delayAfter(failures + 1);
    await this.database.apply([{ name: ATTEMPTS, value: { failures: failures + 1, notBefore: retryAt } satisfies Attempts }]);
    const slots = await this.slots();
    const key = await keyFrom(passphrase, slots);
    const secrets = await Promise.all(slots.slots.map((slot) => openSlot(key, slot)));
    const found = secrets.findIndex((secret) => secret !== null);
    const secret = secrets[found];
    if (secret == null) throw new WrongPassphrase(retryAt);
    await this.database.apply([{ name: ATTEMPTS, value: undefined }]);
    return this.keep(secret, found === 0 ? 0 : 1);
  }

  /** Sets or changes the passphrase of what is open. Everything is sealed anew. Rejects with PassphraseRefused. */
  async setPassphrase(passphrase: string): Promise<void> {
    const { store, slot } = this.mustBeOpen();
    checkLength(passphrase);
    const before = slot === null ? this.freshSlots() : await this.slots();
    const own = slot ?? ((randomBytes(1)[0] as number) & 1 ? 1 : 0);
    const key = await keyFrom(passphrase, before);
    if ((await openSlot(key, before.slots[own === 0 ? 1 : 0])) !== null) throw new PassphraseRefused("unusable");
    const secret = randomBytes(SECRET_BYTES);
    const sealed = await sealSlot(key, secret);
    const slots: [Bytes, Bytes] = own === 0 ? [sealed, before.slots[1]] : [before.slots[0], sealed];
    const further: RawChange[] = [
      { name: SLOTS, value: { ...before, slots } satisfies Slots },
      { name: PLATFORM_KEY, value: undefined },
      { name: PLATFORM_SLOT, value: undefined },
    ];
    await store.moveTo(secret, further);
    this.opened = { store, slot: own };
  }

  /**
   * Sets or changes the passphrase that opens the other slot, and what stands there: `fill` writes it. Needs a passphrase of its own
   * first. Rejects with PassphraseRefused.
   */
  async setDuressPassphrase(passphrase: string, fill: (store: PhoneStore) => Promise<void>): Promise<void> {
    const { store, slot } = this.mustBeOpen();
    if (slot === null) throw new PassphraseRefused("first");
    checkLength(passphrase);
    const before = await this.slots();
    const key = await keyFrom(passphrase, before);
    if ((await openSlot(key, before.slots[slot])) !== null) throw new PassphraseRefused("unusable");
    const known = (await store.readAll("device")).get(DURESS_SECRET) as Uint8Array | undefined;
    const secret = known === undefined ? randomBytes(SECRET_BYTES) : owned(known);
    await fill(await SealedStore.open(this.database, secret));
    await store.write([{ table: "device", key: DURESS_SECRET, value: secret }]);
    const sealed = await sealSlot(key, secret);
    const slots: [Bytes, Bytes] = slot === 0 ? [before.slots[0], sealed] : [sealed, before.slots[1]];
    await this.database.apply([{ name: SLOTS, value: { ...before, slots } satisfies Slots }]);
  }

  /** Nothing on this device opens any more, for anybody. */
  async destroy(): Promise<void> {
    this.opened = null;
    await this.database.destroy();
  }

  close(): void {
    this.opened = null;
    this.database.close();
  }

  private async keep(secret: Uint8Array, slot: 0 | 1 | null): Promise<PhoneStore> {
    const store = await SealedStore.open(this.database, secret);
    this.opened = { store, slot };
    return store;
  }

  private mustBeOpen(): Opened {
    if (this.opened === null) throw new Error("the vault is closed");
    return this.opened;
  }

  private async slots(): Promise<Slots> {
    const slots = (await this.database.named(SLOTS)) as Slots | undefined;
    if (slots === undefined) throw new Error("no passphrase is set");
    return slots;
  }

  private freshSlots(): Slots {
    return { salt: randomBytes(SALT_BYTES), iterations: this.iterations, slots: [randomBytes(SLOT_BYTES), randomBytes(SLOT_BYTES)] };
  }
}

function delayAfter(failures: number): number {
  return failures <= FREE_FAILURES ? 0 : Math.min(MOST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - FREE_FAILURES - 1));
}

/** Rejects with PassphraseRefused. */
export function checkLength(passphrase: string): void {
  if ([...passphrase.normalize("NFC")].length < MIN_PASSPHRASE_CHARACTERS) throw new PassphraseRefused("short");
}

/** The same words typed on another keyboard are the same bytes: NFC (RFC 8265 §4.2). */
async function keyFrom(passphrase: string, { salt, iterations }: Slots): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey("raw", utf8(passphrase.normalize("NFC")), "PBKDF2", false, ["deriveKey"]);
  const parameters: Pbkdf2Params = { name: "PBKDF2", hash: "SHA-512", salt: owned(salt), iterations };
  return crypto.subtle.deriveKey(parameters, material, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

async function sealSlot(key: CryptoKey, secret: Bytes): Promise<Bytes> {
  const iv = randomBytes(IV_BYTES);
  return concat(iv, new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, secret)));
}

async function openSlot(key: CryptoKey, slot: Uint8Array): Promise<Bytes | null> {
  try {
    const parameters: AesGcmParams = { name: "AES-GCM", iv: owned(slot.subarray(0, IV_BYTES)) };
    return new Uint8Array(await crypto.subtle.decrypt(parameters, key, owned(slot.subarray(IV_BYTES))));
  } catch (error) {
    if (error instanceof DOMException) return null; // OperationError: it does not open
    throw error;
  }
}
