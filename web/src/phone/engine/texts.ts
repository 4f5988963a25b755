// What is written, and receipts: a queue that survives everything, sent in order, each exactly once as far as the receivers can see.

import { ApiError, Unreachable, type Schemas } from "../../api/client";
import { randomId, toBase64 } from "../../keys/bytes";
import type { AttachmentSecret } from "../../keys/attachment";
import type { AttachedFile, Receipts, TextState, ThreadEntry } from "../model";
import { Broken, NotReady, type GroupInfo } from "./groupinfo";
import type { Groups } from "./groups";
import { Lane } from "./lane";
import { encodeMessage, type ApplicationMessage, type AttachmentMessage, type ReceiptMessage, type TextMessage } from "./messages";
import type { Session } from "./session";
import type { Change, PhoneStore } from "./store";

interface OutboxRow {
  conversationId: string;
  messageId: string;
  /** Null for what has no line in the thread. */
  entryId: string | null;
  plaintext: Uint8Array;
  /** Sealed once; the same bytes go out until the server has them. */
  sealed: Uint8Array | null;
  /** A receipt that still waits for others to go with it: whom it is about. */
  receipt: ReceiptMessage | null;
  /** Milliseconds since 1970. */
  notBefore: number;
  /** The attachment that it tells of. */
  attachmentId?: string;
}

interface StoredEntry {
  /** Position in the thread. */
  order: number;
  entry: ThreadEntry;
  /** Accounts that confirmed; those that have seen it are in both. */
  deliveredTo?: string[];
  readBy?: string[];
  /** Opens the file that came with it. */
  secret?: AttachmentSecret;
}

export interface TextEvents {
  threadsChanged(): void;
  fault(code: "peer_not_ready" | "peer_key_changed" | "conversation_broken" | "not_a_member" | "unexpected", detail: string): void;
}

export interface TextsEnvironment {
  /** Milliseconds since 1970. */
  now: () => number;
  random: () => number;
}

/** The server forgets no accepted message, but an epoch may pass while a text waits; then it is sealed anew, at most this often. */
const RESEALS = 3;
/** In a group receipts wait this long for others to go with them: everybody's reach everybody. */
const RECEIPTS_GATHER_MS = 2_000;
/** Above this many members nobody confirms: n texts would cost n² receipts. */
export const MOST_WITH_RECEIPTS = 32;

export class Texts {
  private readonly entries = new Map<string, StoredEntry[]>();
  private readonly outbox = new Map<string, OutboxRow>();
  private readonly lanes = new Map<string, Lane>();
  private unread = new Map<string, string[]>();
  private nextOrder = 1;
  private nextOutbox = 1;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly own: string,
    private readonly store: PhoneStore,
    private readonly groups: Groups,
    private readonly session: Session,
    private readonly environment: TextsEnvironment,
    private readonly events: TextEvents,
  ) {}

  async load(): Promise<void> {
    for (const [key, value] of (await this.store.readAll("entries")) as Map<string, StoredEntry>) {
      const id = key.slice(0, key.indexOf("/"));
      this.entries.set(id, [...(this.entries.get(id) ?? []), value]);
      this.nextOrder = Math.max(this.nextOrder, value.order + 1);
    }
    for (const thread of this.entries.values()) thread.sort((a, b) => a.order - b.order);
    const outbox = [...((await this.store.readAll("outbox")) as Map<string, OutboxRow>)].sort(([a], [b]) => Number(a) - Number(b));
    for (const [key, row] of outbox) {
      this.outbox.set(key, row);
      this.nextOutbox = Math.max(this.nextOutbox, Number(key) + 1);
    }
    this.unread = (await this.store.readAll("unread")) as Map<string, string[]>;
  }

  close(): void {
    clearTimeout(this.timer);
  }

  /** By conversation id. */
  get threads(): Record<string, ThreadEntry[]> {
    return Object.fromEntries([...this.entries].map(([id, thread]) => [id, thread.map((stored) => this.shown(id, stored))]));
  }

  unreadOf(id: string): number {
    return this.unread.get(id)?.length ?? 0;
  }

  /** What arrived in a conversation was seen; its senders are told, and one's own other devices. */
  markRead(id: string): void {
    const seen = this.unread.get(id) ?? [];
    if (seen.length === 0) return;
    const texts = seen.filter((entryId) => {
      const entry = this.find(id, entryId)?.entry;
      return entry?.kind === "text" && entry.sealed !== true;
    });
    const changes = [...this.clearUnread(id, seen), ...(texts.length > 0 ? this.queueReceipt(id, "read", texts) : [])];
    // If this fails it is unread again after a restart.
    void this.store.write(changes).then(() => this.flush(), () => undefined);
    this.events.threadsChanged();
  }

  /** Entry ids of calls that nobody took and that were not looked at, in all conversations. */
  get unseenCalls(): string[] {
    return [...this.unread].flatMap(([id, entryIds]) => entryIds.filter((entryId) => this.find(id, entryId)?.entry.kind === "call"));
  }

  /** These calls were looked at, in whatever conversation they are. */
  callsSeen(entryIds: readonly string[]): void {
    const changes = [...this.unread.keys()].flatMap((id) => this.clearUnread(id, entryIds));
    void this.store.write(changes).catch(() => undefined); // then they are new again after a restart
    this.events.threadsChanged();
  }

  /** Queues a text. Resolves when it is persisted, not when it is sent. */
  async queue(id: string, body: string): Promise<void> {
    const at = this.environment.now();
    const entry: ThreadEntry = { kind: "text", id: randomId(), outgoing: true, sender: this.own, body, at, state: "queued", receipts: null };
    await this.enqueueText(id, { order: this.nextOrder++, entry });
  }

  /** Queues a text again that failed. */
  async retry(id: string, entryId: string): Promise<void> {
    const stored = this.find(id, entryId);
    if (stored?.entry.kind !== "text" || stored.entry.state !== "failed") return;
    await this.enqueueText(id, { ...stored, entry: { ...stored.entry, state: "queued" } });
  }

  newFileId(): string {
    return randomId();
  }

  /** A file's line in the thread, before anybody is told of it. `changes` are persisted with it. */
  async queueFile(id: string, entryId: string, file: AttachedFile, secret: AttachmentSecret, changes: Change[]): Promise<void> {
    const at = this.environment.now();
    const entry: ThreadEntry = { kind: "text", id: entryId, outgoing: true, sender: this.own, body: file.name, at, state: "queued", receipts: null, file };
    await this.store.write([...changes, this.keepEntry(id, { order: this.nextOrder++, entry, secret })]);
    this.events.threadsChanged();
  }

  /** The file is at the server: tells the others. */
  async tellOfFile(id: string, entryId: string, changes: Change[] = []): Promise<void> {
    const stored = this.find(id, entryId);
    if (stored?.entry.kind !== "text") return this.store.write(changes);
    await this.enqueueText(id, { ...stored, entry: { ...stored.entry, state: "queued" } }, changes);
  }

  requeueFile(id: string, entryId: string, changes: Change[]): Promise<void> {
    return this.restate(id, entryId, "queued", changes);
  }

  failFile(id: string, entryId: string, changes: Change[]): Promise<void> {
    return this.restate(id, entryId, "failed", changes);
  }

  /** Its line goes as if it had never been there: nobody was told. */
  async dropFile(id: string, entryId: string, changes: Change[]): Promise<void> {
    this.entries.set(id, (this.entries.get(id) ?? []).filter(({ entry }) => entry.id !== entryId));
    await this.store.write([...changes, { table: "entries", key: `${id}/${entryId}`, value: undefined }]);
    this.events.threadsChanged();
  }

  fileOf(id: string, entryId: string): { file: AttachedFile; secret: AttachmentSecret } | null {
    const stored = this.find(id, entryId);
    return stored?.entry.kind === "text" && stored.entry.file !== undefined && stored.secret !== undefined ? { file: stored.entry.file, secret: stored.secret } : null;
  }

  private async restate(id: string, entryId: string, state: TextState, changes: Change[]): Promise<void> {
    const stored = this.find(id, entryId);
    const kept = stored?.entry.kind === "text" ? [this.keepEntry(id, { ...stored, entry: { ...stored.entry, state } })] : [];
    await this.store.write([...changes, ...kept]);
    this.events.threadsChanged();
  }

  /** Says what a group is called: to everybody, or after others have come in once more for them. */
  async queueTitle(id: string, title: string, changes: Change[] = []): Promise<void> {
    const shown = changes.length > 0 ? this.titleEntry(id, this.own, title) : [];
    await this.store.write([...changes, ...shown, this.enqueue(id, { type: "group", title }, null)]);
    this.events.threadsChanged();
    this.flush();
  }

  /** Tells at which number this device takes sealed texts. */
  async queueNumber(id: string, number: string): Promise<void> {
    await this.store.write([this.enqueue(id, { type: "number", number }, null)]);
    this.flush();
  }

  /** Sends what is queued and due, conversation by conversation; a failure of one does not hold up the others. */
  flush(): void {
    const now = this.environment.now();
    const waiting = [...this.outbox.values()].map((row) => row.notBefore).filter((at) => at > now);
    clearTimeout(this.timer);
    if (waiting.length > 0) this.timer = setTimeout(() => this.flush(), Math.min(...waiting) - now + 1);
    for (const id of new Set([...this.outbox.values()].filter((row) => row.notBefore <= now).map((row) => row.conversationId))) {
      this.lane(id)
        .run(() => this.flushConversation(id))
        .catch((error: unknown) => this.events.fault("unexpected", error instanceof Error ? error.message : String(error)));
    }
  }

  /** The changes for a text that arrived: entry, unread count, receipt. One that is known is not shown twice; its receipt goes again. */
  receive(id: string, sender: string, message: TextMessage | AttachmentMessage): Change[] {
    const known = this.find(id, message.id);
    // Somebody else's text under a known id changes nothing.
    if (known !== undefined && (known.entry.kind !== "text" || known.entry.sender !== sender)) return [];
    const outgoing = sender === this.own; // written on another device of one's own
    const changes = outgoing ? [] : this.queueReceipt(id, "delivered", [message.id]);
    if (known !== undefined) {
      changes.push(this.keepEntry(id, known)); // it may be here and not in the store, if that failed the first time
    } else {
      const state = outgoing ? "sent" : "delivered";
      const written = { kind: "text" as const, id: message.id, outgoing, sender, at: message.sentAt * 1000, state: state as TextState, receipts: null };
      const order = this.nextOrder++;
      if (message.type === "text") changes.push(this.keepEntry(id, { order, entry: { ...written, body: message.body } }));
      else changes.push(this.keepEntry(id, { order, entry: { ...written, body: message.file.name, file: message.file }, secret: message.secret }));
      if (!outgoing) changes.push(...this.countUnread(id, message.id));
    }
    return changes;
  }

  /** The line of a sealed text that this device wrote, and its id. It is written with the key's counter. */
  sealedWritten(id: string, body: string, state: TextState): { entryId: string; change: Change } {
    const entryId = randomId();
    const entry: ThreadEntry = { kind: "text", id: entryId, outgoing: true, sender: this.own, body, at: this.environment.now(), state, receipts: null, sealed: true };
    return { entryId, change: this.keepEntry(id, { order: this.nextOrder++, entry }) };
  }

  /** What became of one that was to leave by the server. */
  sealedLeft(id: string, entryId: string, state: TextState, changes: Change[]): Promise<void> {
    return this.restate(id, entryId, state, changes);
  }

  /** The changes for a sealed text that was opened. Nobody confirms it: there may be no way back. */
  sealedCame(id: string, sender: string, body: string): Change[] {
    const entryId = randomId();
    const entry: ThreadEntry = { kind: "text", id: entryId, outgoing: false, sender, body, at: this.environment.now(), state: "delivered", receipts: null, sealed: true };
    return [this.keepEntry(id, { order: this.nextOrder++, entry }), ...this.countUnread(id, entryId)];
  }

  receipt(id: string, sender: string, message: ReceiptMessage): Change[] {
    if (sender === this.own) return message.state === "read" ? this.clearUnread(id, message.ids) : [];
    return message.ids.flatMap((entryId) => {
      const stored = this.find(id, entryId);
      if (stored?.entry.kind !== "text" || !stored.entry.outgoing) return [];
      const [deliveredTo, readBy] = [new Set(stored.deliveredTo), new Set(stored.readBy)];
      deliveredTo.add(sender);
      if (message.state === "read") readBy.add(sender);
      return [this.keepEntry(id, { ...stored, deliveredTo: [...deliveredTo], readBy: [...readBy] })];
    });
  }

  /** Somebody said what the group is called. */
  titled(id: string, actor: string, title: string): Change[] {
    return this.titleEntry(id, actor, title);
  }

  /** Somebody's commit changed who is in the group. */
  recordRoster(id: string, actor: string, added: readonly string[], removed: readonly string[], joined: boolean): Change[] {
    if (added.length + removed.length === 0 && !joined) return [];
    const at = this.environment.now();
    const entry: ThreadEntry = { kind: "roster", id: randomId(), outgoing: actor === this.own, actor, added: [...added], removed: [...removed], joined, at };
    return [this.keepEntry(id, { order: this.nextOrder++, entry })];
  }

  /** Somebody has got or lost a device, by the certificate with this serial: a line where there is a conversation with him. */
  async recordDevice(id: string, actor: string, serial: string, revoked: boolean): Promise<void> {
    const entryId = `${revoked ? "revoked" : "certified"}-${serial}`;
    if ((this.groups.info(id)?.members ?? []).length === 0 || this.find(id, entryId) !== undefined) return;
    const entry: ThreadEntry = { kind: "device", id: entryId, outgoing: false, actor, revoked, at: this.environment.now() };
    await this.store.write([this.keepEntry(id, { order: this.nextOrder++, entry })]);
    this.events.threadsChanged();
  }

  /** A call's line in the thread. */
  async recordCall(id: string, entry: Extract<ThreadEntry, { kind: "call" }>): Promise<void> {
    if (this.find(id, entry.id) !== undefined) return;
    const changes = [this.keepEntry(id, { order: this.nextOrder++, entry })];
    if (!entry.outgoing && (entry.outcome === "missed" || entry.outcome === "busy")) changes.push(...this.countUnread(id, entry.id));
    await this.store.write(changes);
    this.events.threadsChanged();
  }

  private titleEntry(id: string, actor: string, title: string): Change[] {
    const entry: ThreadEntry = { kind: "title", id: randomId(), outgoing: actor === this.own, actor, title, at: this.environment.now() };
    return [this.keepEntry(id, { order: this.nextOrder++, entry })];
  }

  private async enqueueText(id: string, stored: StoredEntry, changes: Change[] = []): Promise<void> {
    const { entry, secret } = stored;
    if (entry.kind !== "text") return;
    const sentAt = entry.at / 1000;
    const row =
      entry.file === undefined || secret === undefined
        ? this.enqueue(id, { type: "text", id: entry.id, body: entry.body, sentAt }, entry.id)
        : this.enqueue(id, { type: "attachment", id: entry.id, file: entry.file, secret, sentAt }, entry.id);
    await this.store.write([...changes, this.keepEntry(id, stored), row]);
    this.events.threadsChanged();
    this.flush();
  }

  private enqueue(conversationId: string, message: ApplicationMessage, entryId: string | null, notBefore = 0): Change {
    const receipt = message.type === "receipt" ? message : null;
    return this.keepOutbox(String(this.nextOutbox++), {
      conversationId,
      messageId: randomId(),
      entryId,
      plaintext: encodeMessage(message),
      sealed: null,
      receipt,
      notBefore,
      ...(message.type === "attachment" ? { attachmentId: message.id } : {}),
    });
  }

  /** A receipt goes with one of its kind that still waits. */
  private queueReceipt(id: string, state: ReceiptMessage["state"], ids: readonly string[]): Change[] {
    const info = this.groups.info(id);
    if (info === null || info.roster.members.length > MOST_WITH_RECEIPTS) return [];
    const now = this.environment.now();
    for (const [key, row] of this.outbox) {
      if (row.conversationId !== id || row.receipt?.state !== state || row.sealed !== null || row.notBefore <= now) continue;
      const receipt: ReceiptMessage = { type: "receipt", ids: [...new Set([...row.receipt.ids, ...ids])].slice(-500), state };
      return [this.keepOutbox(key, { ...row, receipt, plaintext: encodeMessage(receipt) })];
    }
    const gathers = info.kind !== "direct";
    const notBefore = gathers ? now + RECEIPTS_GATHER_MS * (0.5 + this.environment.random()) : 0;
    return [this.enqueue(id, { type: "receipt", ids: ids.slice(-500), state }, null, notBefore)];
  }

  private async flushConversation(id: string): Promise<void> {
    for (const [key, row] of [...this.outbox]) {
      if (row.conversationId !== id || row.notBefore > this.environment.now()) continue;
      try {
        await this.deliver(key, row);
      } catch (error) {
        if (error instanceof Unreachable || (error instanceof ApiError && error.passing)) return;
        if (error instanceof NotReady) {
          if (!error.soon) this.events.fault("peer_not_ready", error.message);
          return;
        }
        if (error instanceof Broken) {
          if (row.entryId !== null) this.events.fault(error.code, error.message);
        } else if (!(error instanceof ApiError)) throw error;
        await this.finish(key, row, "failed");
        continue;
      }
      await this.finish(key, row, "sent");
    }
  }

  private async deliver(key: string, row: OutboxRow): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (row.sealed === null) {
        await this.groups.seal(row.conversationId, row.plaintext, ({ message }) => {
          row.sealed = message;
          return [this.keepOutbox(key, row)];
        });
      }
      if (row.sealed === null) throw new NotReady("no conversation", true);
      const request: Schemas["MessageRequest"] = { message_id: row.messageId, message: toBase64(row.sealed), ...(row.attachmentId === undefined ? {} : { attachments: [row.attachmentId] }) };
      try {
        await this.session.call<Schemas["MessageAccepted"]>("POST", `/api/v1/conversations/${row.conversationId}/messages`, request);
        return;
      } catch (error) {
        const stale = error instanceof ApiError && (error.code === "epoch_out_of_range" || error.code === "message_id_reused");
        if (!stale || attempt >= RESEALS) throw error;
        row.sealed = null;
        row.messageId = randomId();
      }
    }
  }

  private async finish(key: string, row: OutboxRow, state: "sent" | "failed"): Promise<void> {
    this.outbox.delete(key);
    const changes: Change[] = [{ table: "outbox", key, value: undefined }];
    const stored = row.entryId === null ? undefined : this.find(row.conversationId, row.entryId);
    if (stored?.entry.kind === "text") changes.push(this.keepEntry(row.conversationId, { ...stored, entry: { ...stored.entry, state } }));
    await this.store.write(changes);
    this.events.threadsChanged();
  }

  /** An entry with what the others have confirmed: a receipt may be here before the answer to the request that sent the text. */
  private shown(id: string, { entry, deliveredTo = [], readBy = [] }: StoredEntry): ThreadEntry {
    if (entry.kind !== "text" || !entry.outgoing || deliveredTo.length === 0) return entry;
    const info = this.groups.info(id);
    const others = expected(info, this.own);
    const has = (confirmed: readonly string[]): boolean => others.every((account) => confirmed.includes(account));
    const state: TextState = has(readBy) ? "read" : has(deliveredTo) ? "delivered" : entry.state === "queued" ? "sent" : entry.state;
    const receipts: Receipts | null = info?.kind === "direct" ? null : { of: others.length, delivered: deliveredTo.length, read: readBy.length };
    return { ...entry, state, receipts };
  }

  private countUnread(id: string, entryId: string): Change[] {
    const unread = [...(this.unread.get(id) ?? []), entryId];
    this.unread.set(id, unread);
    return [{ table: "unread", key: id, value: unread }];
  }

  private clearUnread(id: string, seen: readonly string[]): Change[] {
    const left = (this.unread.get(id) ?? []).filter((entryId) => !seen.includes(entryId));
    if (left.length > 0) this.unread.set(id, left);
    else this.unread.delete(id);
    return [{ table: "unread", key: id, value: left.length > 0 ? left : undefined }];
  }

  private keepEntry(id: string, stored: StoredEntry): Change {
    const thread = (this.entries.get(id) ?? []).filter(({ entry }) => entry.id !== stored.entry.id);
    this.entries.set(id, [...thread, stored].sort((a, b) => a.order - b.order));
    return { table: "entries", key: `${id}/${stored.entry.id}`, value: stored };
  }

  private keepOutbox(key: string, row: OutboxRow): Change {
    this.outbox.set(key, row);
    return { table: "outbox", key, value: { ...row } };
  }

  private find(id: string, entryId: string): StoredEntry | undefined {
    return this.entries.get(id)?.find(({ entry }) => entry.id === entryId);
  }

  private lane(id: string): Lane {
    const lane = this.lanes.get(id) ?? new Lane();
    this.lanes.set(id, lane);
    return lane;
  }
}

/** Whose receipts count: the people in the conversation but oneself. An archive confirms nothing to anybody. */
function expected(info: GroupInfo | null, own: string): string[] {
  return info === null ? [] : info.roster.members.filter((account) => account !== own && !info.archives.includes(account));
}
