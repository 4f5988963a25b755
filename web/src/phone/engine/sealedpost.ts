// Sealed texts of this device (docs/protocols.md): its keys with each device of the other persons, what came, and what still has to leave.
//
// Nothing leaves and nothing is shown before the store says so: counter and datagram are written together, and so are the window and the
// thread's line. A crash in between sends the same octets again; it never uses a counter twice.
//
// Everybody in a direct conversation can make these keys, an archive too: a sealed text proves the conversation, and names the device.

import { ApiError, type Schemas } from "../../api/client";
import { equal, fromBase64, fromHex, randomId, toBase64, toHex } from "../../keys/bytes";
import { CannotOpen, CannotSeal, EXPORT_BYTES, LABEL, SealedTexts, exportContext, type NotOpened, type OpenedText, type PairRecord } from "../../keys/sealedText";
import { decodeText, encodeText } from "../../texts/smallText";
import type { Precedence, SealedOpened, SealedSent } from "../model";
import type { Groups } from "./groups";
import { Lane } from "./lane";
import type { Session } from "./session";
import type { Change, PhoneStore } from "./store";
import type { Texts } from "./texts";

const MOST_HELD = 32;
const HELD_S = 72 * 3600;
const OWN_NUMBER = "own";
const REFUSED: Partial<Record<string, "no_route" | "precedence" | "full">> = { no_route: "no_route", precedence_refused: "precedence", mailbox_full: "full" };

interface StoredConversation {
  peer: string;
  epoch: number;
  members: string[];
  pairs: [string, PairRecord][];
}

interface Conversation {
  peer: string;
  epoch: number;
  members: readonly string[];
  pairs: Map<string, SealedTexts>;
}

/** Whose key is not here: of an epoch to come, of somebody else, or junk. */
interface HeldDatagram {
  datagram: Uint8Array;
  at: number;
}

/** For the server, which sends it as one short message; the same octets until it has them. */
interface Leaving {
  conversationId: string;
  entryId: string;
  number: string;
  datagram: Uint8Array;
  precedence: Precedence;
}

type Opened = OpenedText & { id: string; peer: string };

export class SealedPost {
  private readonly conversations = new Map<string, Conversation>();
  private readonly numbers = new Map<string, string>();
  private readonly held = new Map<string, HeldDatagram>();
  private readonly leaving = new Map<string, Leaving>();
  private readonly lane = new Lane();

  constructor(
    private readonly deviceId: string,
    private readonly store: PhoneStore,
    private readonly groups: Groups,
    private readonly texts: Texts,
    private readonly session: Session,
    private readonly isRevoked: (deviceId: string) => boolean,
    /** Milliseconds since 1970. */
    private readonly now: () => number,
    private readonly changed: () => void,
  ) {}

  async load(): Promise<void> {
    for (const [key, value] of await this.store.readAll("sealed")) {
      const [kind, id = ""] = key.split("/");
      if (kind === "keys") {
        const { peer, epoch, members, pairs } = value as StoredConversation;
        this.conversations.set(id, { peer, epoch, members, pairs: new Map(pairs.map(([device, record]) => [device, SealedTexts.restore(record)])) });
      } else if (kind === "number") this.numbers.set(id, value as string);
      else if (kind === "held") this.held.set(id, value as HeldDatagram);
      else if (kind === "leaving") this.leaving.set(id, value as Leaving);
    }
  }

  /** The conversation may be in a new epoch: what it exports is stored, as nobody can make it once the epoch is over. */
  reached(id: string): Promise<void> {
    return this.lane.run(async () => {
      const [keys, peer] = [this.groups.keys(id), this.groups.info(id)?.peer ?? null];
      if (keys === null || peer === null) return;
      const known = this.conversations.get(id);
      const epoch = Number(keys.epoch);
      if (known !== undefined && epoch <= known.epoch) return;
      const members = keys.members.map(({ deviceId }) => deviceId);
      const somebodyLeft = known !== undefined && known.members.some((device) => !members.includes(device));
      const pairs = new Map<string, SealedTexts>();
      for (const { deviceId } of keys.members.filter(({ accountId }) => accountId === peer)) {
        const before = known?.pairs.get(deviceId);
        const texts = before === undefined ? new SealedTexts() : SealedTexts.restore(before.record());
        const [here, there] = [fromHex(this.deviceId), fromHex(deviceId)];
        const sending = await keys.export(LABEL, exportContext(here, there), EXPORT_BYTES);
        const receiving = await keys.export(LABEL, exportContext(there, here), EXPORT_BYTES);
        texts.addEpoch(epoch, sending, receiving, this.now() / 1000);
        if (somebodyLeft) texts.forgetBefore(epoch);
        pairs.set(deviceId, texts);
      }
      const made: Conversation = { peer, epoch, members, pairs };
      await this.store.write([keysRow(id, made)]);
      this.conversations.set(id, made);
      await this.openHeld();
    });
  }

  /** A device was heard in this epoch over the conversation: it has its keys. */
  heard(id: string, deviceId: string, epoch: bigint): void {
    this.conversations.get(id)?.pairs.get(deviceId)?.confirm(Number(epoch));
  }

  /** At this number a device takes sealed texts; "" that it no longer does. No server says which number is whose. */
  learn(deviceId: string, number: string): Change {
    if (number === "") this.numbers.delete(deviceId);
    else this.numbers.set(deviceId, number);
    return { table: "sealed", key: `number/${deviceId}`, value: number === "" ? undefined : number };
  }

  /** The number that the server gave to this device; null where it has none. */
  get ownNumber(): string | null {
    return this.numbers.get(OWN_NUMBER) ?? null;
  }

  /** Where the other person's device takes sealed texts; null if nobody told. */
  numberOf(id: string): string | null {
    return this.devices(id).flatMap((device) => this.numbers.get(device) ?? [])[0] ?? null;
  }

  /** Whether there are keys for anybody in a conversation. */
  ready(id: string): boolean {
    return this.devices(id).length > 0;
  }

  /** Seals a text. By hand it is yours to carry; else the server gets it now, or when it is there again. */
  async seal(id: string, body: string, precedence: Precedence | "by hand"): Promise<SealedSent> {
    const made = await this.lane.run(() => this.sealed(id, body, precedence));
    // Outside the lane: a server that is slow to answer must not hold up the mailbox.
    return "entryId" in made ? this.hand(made.entryId, made.row) : made;
  }

  /** In the lane. */
  private async sealed(id: string, body: string, precedence: Precedence | "by hand"): Promise<SealedSent | { entryId: string; row: Leaving }> {
    const [deviceId, texts] = this.chosen(id);
    if (texts === undefined || deviceId === null) return { state: "refused", reason: deviceId === null && this.ready(id) ? "which_device" : "no_key" };
    const number = this.numbers.get(deviceId) ?? "";
    if (precedence !== "by hand" && (number === "" || this.ownNumber === null)) return { state: "refused", reason: "no_number" };
    const conversation = this.conversations.get(id) as Conversation;
    const next = SealedTexts.restore(texts.record());
    let datagram: Uint8Array;
    try {
      datagram = next.seal(encodeText(body), this.now() / 1000);
    } catch (error) {
      if (error instanceof CannotSeal) return { state: "refused", reason: error.reason };
      throw error;
    }
    const byHand = precedence === "by hand";
    const { entryId, change } = this.texts.sealedWritten(id, body, byHand ? "sent" : "queued");
    const row: Leaving | undefined = byHand ? undefined : { conversationId: id, entryId, number, datagram, precedence };
    await this.keep(id, conversation, deviceId, next, [change, ...(row === undefined ? [] : [{ table: "sealed" as const, key: `leaving/${entryId}`, value: row }])]);
    this.changed();
    if (row === undefined) return { state: "sealed", hex: toHex(datagram) };
    this.leaving.set(entryId, row);
    return { entryId, row };
  }

  /** What could not be handed to the server before. */
  async flush(): Promise<void> {
    for (const [entryId, row] of [...this.leaving]) await this.hand(entryId, row);
  }

  /** Opens what came, from whomever; its line stands in the thread when this resolves. */
  open(datagram: Uint8Array): Promise<SealedOpened> {
    return this.lane.run(() => this.take(datagram));
  }

  openHex(text: string): Promise<SealedOpened> {
    const digits = text.replace(/\s/g, "").toLowerCase();
    return /^(?:[0-9a-f]{2})+$/.test(digits) ? this.open(fromHex(digits)) : Promise.resolve({ state: "not_hex" });
  }

  /** Fetches what waits at the server for this device's number. */
  async fetch(): Promise<void> {
    if (this.ownNumber === null) return;
    for (;;) {
      const waiting = await this.session.call<Schemas["SealedTextShown"][]>("GET", "/api/v1/me/sealed-texts");
      if (waiting.length === 0) return;
      for (const { datagram } of waiting) await this.open(fromBase64(datagram));
      const taken: Schemas["SealedTextsTaken"] = { text_ids: waiting.map(({ text_id }) => text_id) };
      await this.session.call("POST", "/api/v1/me/sealed-texts/taken", taken);
    }
  }

  /** A number of the server's for this device; null where it has none left or gives none. */
  async claim(): Promise<string | null> {
    try {
      const { number } = await this.session.call<Schemas["SealedNumber"]>("POST", "/api/v1/me/sealed-texts/number");
      await this.store.write([this.learn(OWN_NUMBER, number)]);
      return number;
    } catch (error) {
      if (error instanceof ApiError && error.code === "no_sealed_numbers") return null;
      throw error;
    }
  }

  private devices(id: string): string[] {
    return [...(this.conversations.get(id)?.pairs.keys() ?? [])].filter((device) => !this.isRevoked(device));
  }

  /** The only device of the other person, or the only one with a number. */
  private chosen(id: string): [string | null, SealedTexts | undefined] {
    const devices = this.devices(id);
    const chosen = devices.length > 1 ? devices.filter((device) => this.numbers.has(device)) : devices;
    const [only] = chosen;
    return chosen.length === 1 && only !== undefined ? [only, this.conversations.get(id)?.pairs.get(only)] : [null, undefined];
  }

  /** In the lane: keys as they are after sealing or opening, with what goes with them, in one transaction. */
  private async keep(id: string, conversation: Conversation, deviceId: string, next: SealedTexts, changes: Change[]): Promise<void> {
    const made = { ...conversation, pairs: new Map(conversation.pairs).set(deviceId, next) };
    await this.store.write([keysRow(id, made), ...changes]);
    this.conversations.set(id, made);
  }

  /** Without the server it stays; what the server refuses for good has failed. */
  private async hand(entryId: string, row: Leaving): Promise<SealedSent> {
    const request: Schemas["SealedTextRequest"] = { destination: row.number, datagram: toBase64(row.datagram), precedence: row.precedence, request_id: entryId };
    let sent: SealedSent = { state: "sent", waitS: null };
    try {
      const queued = await this.session.call<Schemas["TextQueued"]>("POST", "/api/v1/me/sealed-texts", request);
      sent = { state: "sent", waitS: queued.wait_s };
    } catch (error) {
      if (!(error instanceof ApiError) || error.passing) return { state: "later" };
      sent = { state: "refused", reason: REFUSED[error.code] ?? "server" };
    }
    await this.texts.sealedLeft(row.conversationId, entryId, sent.state === "sent" ? "sent" : "failed", [{ table: "sealed", key: `leaving/${entryId}`, value: undefined }]);
    this.leaving.delete(entryId);
    return sent;
  }

  /** In the lane. */
  private async take(datagram: Uint8Array): Promise<SealedOpened> {
    const found = await this.tryAll(datagram);
    if (!Array.isArray(found)) return this.told(found);
    if (!found.includes("seen") && (found.length === 0 || found.includes("not_yet"))) await this.hold(datagram);
    // Key ids are short: a text for one conversation may look as if it were an old or a damaged one of another.
    const reason = (["seen", "gone", "refused", "not_yet"] as const).find((each) => found.includes(each));
    return { state: reason ?? "not_yet" };
  }

  private told({ id, peer, plaintext }: Opened): SealedOpened {
    this.changed();
    return { state: "opened", conversationId: id, accountId: peer, body: wordsOf(plaintext) };
  }

  /** In the lane: the text, which stands in its thread then, or why each key did not open it. */
  private async tryAll(datagram: Uint8Array, further: Change[] = []): Promise<Opened | NotOpened[]> {
    const reasons: NotOpened[] = [];
    for (const [id, conversation] of this.conversations) {
      for (const [deviceId, texts] of conversation.pairs) {
        if (this.isRevoked(deviceId)) continue;
        const next = SealedTexts.restore(texts.record());
        try {
          const opened = next.open(datagram, this.now() / 1000);
          await this.keep(id, conversation, deviceId, next, [...further, ...this.texts.sealedCame(id, conversation.peer, wordsOf(opened.plaintext))]);
          return { ...opened, id, peer: conversation.peer };
        } catch (error) {
          if (!(error instanceof CannotOpen)) throw error;
          reasons.push(error.reason);
        }
      }
    }
    return reasons;
  }

  /** In the lane: the oldest one makes room, as anybody may send octets to a number. */
  private async hold(datagram: Uint8Array): Promise<void> {
    if ([...this.held.values()].some((each) => equal(each.datagram, datagram))) return;
    const oldest = [...this.held].sort(([, a], [, b]) => a.at - b.at).slice(0, Math.max(0, this.held.size + 1 - MOST_HELD));
    const [id, row] = [randomId(), { datagram, at: this.now() }];
    await this.store.write([{ table: "sealed", key: `held/${id}`, value: row }, ...oldest.map(([each]): Change => ({ table: "sealed", key: `held/${each}`, value: undefined }))]);
    for (const [each] of oldest) this.held.delete(each);
    this.held.set(id, row);
  }

  /** In the lane: the conversations have gone on. */
  private async openHeld(): Promise<void> {
    for (const [id, { datagram, at }] of [...this.held]) {
      const gone: Change = { table: "sealed", key: `held/${id}`, value: undefined };
      const found = await this.tryAll(datagram, [gone]);
      if (Array.isArray(found)) {
        if (found.includes("not_yet") && this.now() - at <= HELD_S * 1000) continue;
        await this.store.write([gone]);
      } else this.changed();
      this.held.delete(id);
    }
  }
}

/** What cannot be read, from a newer phone, is shown as that. */
function wordsOf(plaintext: Uint8Array): string {
  return decodeText(plaintext) ?? "\ufffd";
}

function keysRow(id: string, { peer, epoch, members, pairs }: Conversation): Change {
  const value: StoredConversation = { peer, epoch, members: [...members], pairs: [...pairs].map(([device, texts]) => [device, texts.record()]) };
  return { table: "sealed", key: `keys/${id}`, value };
}
