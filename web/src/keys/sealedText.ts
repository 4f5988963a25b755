// Sealed texts: from one device to another, end to end encrypted, each in one short message or one small datagram (docs/protocols.md).
//
//   key id (2) ‖ counter (5) ‖ AES-256-GCM ciphertext ‖ tag (16)      140 octets at most: 117 of plaintext
//
// Keys come from the exporter of the two devices' MLS conversation, one for each epoch and direction. The way may lose, repeat and
// reorder: every datagram stands alone, a window refuses what was seen, and keys of earlier epochs are kept for a while.

import { gcm } from "@noble/ciphers/aes.js";

import { concat, owned, toHex, type Bytes } from "./bytes";

export const LABEL = "tramontana sealed text 1";
/** key (32) ‖ salt (12) ‖ key id (2). */
export const EXPORT_BYTES = 46;
const DEVICE_ID_BYTES = 16;
/** One short message, TS 23.040 §9.2.3.16. */
export const MOST_BYTES = 140;
const KEY_ID_BYTES = 2;
const COUNTER_BYTES = 5;
const TAG_BYTES = 16;
const HEADER_BYTES = KEY_ID_BYTES + COUNTER_BYTES;
export const LEAST_BYTES = HEADER_BYTES + TAG_BYTES;
export const MOST_PLAINTEXT_BYTES = MOST_BYTES - LEAST_BYTES;
export const MOST_COUNTER = 2 ** (8 * COUNTER_BYTES) - 1;
/** How far a datagram may be behind the newest one: what an official writes in weeks. */
export const WINDOW = 1024;
const EPOCHS_KEPT = 8;
/** Longer than centres keep a text (two days). */
export const EPOCH_KEPT_S = 72 * 3600;
const MOST_GONE = 16;

/** Why nothing can be sealed. */
export class CannotSeal extends Error {
  constructor(readonly reason: "too_long" | "no_key" | "used_up") {
    super(`cannot be sealed: ${reason}`);
  }
}

/**
 * Why a datagram did not open. `refused`: none, changed on its way, or not for this device. `seen`: opened before, or too far behind to
 * tell. `not_yet`: its key is not here; hold it. `gone`: of an epoch whose keys were destroyed; nobody can open it here any more.
 */
export type NotOpened = "refused" | "seen" | "not_yet" | "gone";

export class CannotOpen extends Error {
  constructor(readonly reason: NotOpened) {
    super(`a sealed text did not open: ${reason}`);
  }
}

export interface OpenedText {
  plaintext: Bytes;
  epoch: number;
  counter: number;
}

/** What must be kept of an epoch, in the same transaction as what was sealed or opened. */
export interface EpochRecord {
  epoch: number;
  /** POSIX seconds. */
  beganAt: number;
  nextCounter: number;
  highest: number;
  /** Hexadecimal: bit n says that highest − n was seen. */
  seen: string;
  /** What the exporter gave, for sending and for receiving. */
  sending: Uint8Array;
  receiving: Uint8Array;
}

export interface PairRecord {
  sendingEpoch: number | null;
  epochs: EpochRecord[];
  /** Key ids (hex) by which the other one sealed in epochs that are over, and those epochs; the oldest first. */
  gone: [string, number][];
}

/** The exporter's context of one direction: both device ids, 16 octets each. */
export function exportContext(sender: Uint8Array, receiver: Uint8Array): Bytes {
  if (sender.length !== DEVICE_ID_BYTES || receiver.length !== DEVICE_ID_BYTES || toHex(sender) === toHex(receiver)) throw new RangeError("two different device ids of 16 octets are needed");
  return concat(sender, receiver);
}

/** Key, salt and key id of one epoch and direction. */
export class DirectionKey {
  readonly #key: Bytes;
  readonly #salt: Bytes;
  readonly keyId: string;

  constructor(exported: Uint8Array) {
    if (exported.length !== EXPORT_BYTES) throw new RangeError(`the exporter must give ${EXPORT_BYTES} octets`);
    this.#key = owned(exported.subarray(0, 32));
    this.#salt = owned(exported.subarray(32, 44));
    this.keyId = toHex(exported.subarray(44));
  }

  seal(counter: number, plaintext: Uint8Array): Bytes {
    const octets = counterOctets(counter);
    const header = concat(Uint8Array.from(this.keyId.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)), octets);
    return concat(header, gcm(this.#key, this.#nonce(octets), header).encrypt(plaintext));
  }

  /** Null where this key does not open it. */
  open(datagram: Uint8Array): Bytes | null {
    const header = datagram.subarray(0, HEADER_BYTES);
    try {
      return owned(gcm(this.#key, this.#nonce(header.subarray(KEY_ID_BYTES)), header).decrypt(datagram.subarray(HEADER_BYTES)));
    } catch {
      return null;
    }
  }

  #nonce(counter: Uint8Array): Bytes {
    const nonce = owned(this.#salt);
    counter.forEach((octet, index) => {
      const at = nonce.length - COUNTER_BYTES + index;
      nonce[at] = (nonce[at] ?? 0) ^ octet;
    });
    return nonce;
  }
}

function counterOctets(counter: number): Bytes {
  const octets = new Uint8Array(8);
  new DataView(octets.buffer).setBigUint64(0, BigInt(counter));
  return octets.slice(8 - COUNTER_BYTES);
}

function counterOf(datagram: Uint8Array): number {
  return datagram.subarray(KEY_ID_BYTES, HEADER_BYTES).reduce((value, octet) => value * 256 + octet, 0);
}

/** Counters that were seen: the highest, and a bit for each of the `WINDOW` below it (as RFC 4303 §3.4.3). */
export class ReplayWindow {
  constructor(
    public highest = -1,
    public seen = 0n,
  ) {}

  isNew(counter: number): boolean {
    const behind = this.highest - counter;
    return behind < 0 || (behind < WINDOW && ((this.seen >> BigInt(behind)) & 1n) === 0n);
  }

  mark(counter: number): void {
    const behind = this.highest - counter;
    if (behind < 0) {
      this.seen = ((this.seen << BigInt(Math.min(-behind, WINDOW))) | 1n) & ((1n << BigInt(WINDOW)) - 1n);
      this.highest = counter;
    } else this.seen |= 1n << BigInt(behind);
  }
}

interface Epoch {
  epoch: number;
  beganAt: number;
  sending: DirectionKey;
  receiving: DirectionKey;
  exported: { sending: Uint8Array; receiving: Uint8Array };
  window: ReplayWindow;
  nextCounter: number;
}

/** Both directions between two devices. Store `record()` before a sealed datagram leaves and before what was opened is shown. */
export class SealedTexts {
  private readonly held = new Map<number, Epoch>();
  private readonly gone = new Map<string, number>();
  private current: number | null = null;

  /** Restoring without the record is the caller's fault: a counter that is used twice breaks the key. */
  static restore(record: PairRecord): SealedTexts {
    const texts = new SealedTexts();
    for (const [keyId, epoch] of record.gone) texts.gone.set(keyId, epoch);
    for (const each of record.epochs) {
      const made = epochOf(each.epoch, each.sending, each.receiving, each.beganAt);
      made.window = new ReplayWindow(each.highest, BigInt(`0x${each.seen}`));
      made.nextCounter = each.nextCounter;
      texts.held.set(each.epoch, made);
    }
    texts.current = record.sendingEpoch;
    return texts;
  }

  record(): PairRecord {
    return {
      sendingEpoch: this.current,
      epochs: [...this.held.values()].map(({ epoch, beganAt, nextCounter, window, exported }) => ({ epoch, beganAt, nextCounter, highest: window.highest, seen: window.seen.toString(16), ...exported })),
      gone: [...this.gone],
    };
  }

  /** Whose keys are here. */
  get epochs(): number[] {
    return [...this.held.keys()].sort((a, b) => a - b);
  }

  /** Whose key seals the next text. */
  get sendingEpoch(): number | null {
    return this.current;
  }

  /** The conversation reached an epoch. Its keys are used from the moment in which the other device was heard to have them, a first epoch's at once. */
  addEpoch(epoch: number, sending: Uint8Array, receiving: Uint8Array, now: number): void {
    if (this.held.has(epoch)) return;
    this.held.set(epoch, epochOf(epoch, sending, receiving, now));
    this.current ??= epoch;
    this.forget(now);
  }

  /** Somebody was taken out of the conversation with this epoch: keys that he has neither seal nor open anything from now on. */
  forgetBefore(epoch: number): void {
    if (!this.held.has(epoch)) return;
    this.current = epoch;
    for (const each of this.epochs) if (each < epoch) this.end(each);
  }

  /** The other device was heard in this epoch, by whatever way: send with it from now on. */
  confirm(epoch: number): void {
    if (this.held.has(epoch) && (this.current === null || epoch > this.current)) this.current = epoch;
  }

  /** One datagram of at most 140 octets. Throws CannotSeal. */
  seal(plaintext: Uint8Array, now: number): Bytes {
    if (plaintext.length > MOST_PLAINTEXT_BYTES) throw new CannotSeal("too_long");
    this.forget(now);
    const using = this.current === null ? undefined : this.held.get(this.current);
    if (using === undefined) throw new CannotSeal("no_key");
    if (using.nextCounter > MOST_COUNTER) throw new CannotSeal("used_up");
    return using.sending.seal(using.nextCounter++, plaintext);
  }

  /** Throws CannotOpen; nothing moves then. */
  open(datagram: Uint8Array, now: number): OpenedText {
    if (datagram.length < LEAST_BYTES || datagram.length > MOST_BYTES) throw new CannotOpen("refused");
    this.forget(now);
    const keyId = toHex(datagram.subarray(0, KEY_ID_BYTES));
    // Two epochs may have the same key id by chance (1 in 65,536): whichever key opens it is right.
    const named = [...this.held.values()].filter(({ receiving }) => receiving.keyId === keyId).sort((a, b) => b.epoch - a.epoch);
    if (named.length === 0) throw new CannotOpen(this.gone.has(keyId) ? "gone" : "not_yet");
    const counter = counterOf(datagram);
    for (const each of named) {
      const plaintext = each.receiving.open(datagram);
      if (plaintext === null) continue;
      // Only now: a forged one must not move the window, nor tell what was seen.
      if (!each.window.isNew(counter)) throw new CannotOpen("seen");
      each.window.mark(counter);
      this.confirm(each.epoch);
      return { plaintext, epoch: each.epoch, counter };
    }
    throw new CannotOpen("refused");
  }

  /** Destroys the keys of epochs that are over for long enough. */
  forget(now: number): void {
    const order = this.epochs;
    const newest = order.at(-1);
    // Whoever is still not there will not come by waiting.
    if (newest !== undefined && newest !== this.current && now - this.beganAt(newest) > EPOCH_KEPT_S) this.current = newest;
    order.forEach((epoch, position) => {
      const next = order[position + 1];
      if (next === undefined || epoch === this.current) return;
      // An epoch's texts may be under way as long as its successor is young.
      if (order.length - position > EPOCHS_KEPT || now - this.beganAt(next) > EPOCH_KEPT_S) this.end(epoch);
    });
  }

  private beganAt(epoch: number): number {
    return this.held.get(epoch)?.beganAt ?? 0;
  }

  private end(epoch: number): void {
    const over = this.held.get(epoch);
    if (over === undefined) return;
    this.held.delete(epoch);
    this.gone.delete(over.receiving.keyId);
    this.gone.set(over.receiving.keyId, epoch);
    for (const keyId of [...this.gone.keys()].slice(0, Math.max(0, this.gone.size - MOST_GONE))) this.gone.delete(keyId);
  }
}

function epochOf(epoch: number, sending: Uint8Array, receiving: Uint8Array, beganAt: number): Epoch {
  return { epoch, beganAt, sending: new DirectionKey(sending), receiving: new DirectionKey(receiving), exported: { sending: owned(sending), receiving: owned(receiving) }, window: new ReplayWindow(), nextCounter: 0 };
}
