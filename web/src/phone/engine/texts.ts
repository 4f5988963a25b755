// Texts and receipts: a queue that survives everything, sent in order, each exactly once as far as the receiver can see.

import { ApiError, Unreachable, type Schemas } from "../../api/client";
import { randomId, toBase64 } from "../../keys/bytes";
import type { TextState, ThreadEntry } from "../model";
import { Broken, NotReady, type Groups } from "./groups";
import { Lane } from "./lane";
import { encodeMessage, type ReceiptMessage, type TextMessage } from "./messages";
import type { Session } from "./session";
import type { Change, PhoneStore } from "./store";

interface OutboxRow {
  peer: string;
  messageId: string;
  /** Null for a receipt. */
  entryId: string | null;
  plaintext: Uint8Array;
  /** Sealed once; the same bytes go out until the server has them. */
  sealed: Uint8Array | null;
}

interface StoredEntry {
  /** Position in the thread. */
  order: number;
  entry: ThreadEntry;
}

export interface TextEvents {
  threadsChanged(): void;
  fault(code: "peer_not_ready" | "peer_key_changed" | "conversation_broken" | "unexpected", detail: string): void;
}

/** The server forgets no accepted message, but an epoch may pass while a text waits; then it is sealed anew, at most this often. */
const RESEALS = 3;

export class Texts {
  private readonly entries = new Map<string, StoredEntry[]>();
  private readonly outbox = new Map<string, OutboxRow>();
  private readonly lanes = new Map<string, Lane>();
  private unread = new Map<string, number>();
  private nextOrder = 1;
  private nextOutbox = 1;

  constructor(
    private readonly store: PhoneStore,
    private readonly groups: Groups,
    private readonly session: Session,
    private readonly events: TextEvents,
  ) {}

  async load(): Promise<void> {
    for (const [key, value] of (await this.store.readAll("entries")) as Map<string, StoredEntry>) {
      const peer = key.slice(0, key.indexOf("/"));
      this.entries.set(peer, [...(this.entries.get(peer) ?? []), value]);
      this.nextOrder = Math.max(this.nextOrder, value.order + 1);
    }
    for (const thread of this.entries.values()) thread.sort((a, b) => a.order - b.order);
    const outbox = [...((await this.store.readAll("outbox")) as Map<string, OutboxRow>)].sort(([a], [b]) => Number(a) - Number(b));
    for (const [key, row] of outbox) {
      this.outbox.set(key, row);
      this.nextOutbox = Math.max(this.nextOutbox, Number(key) + 1);
    }
    this.unread = (await this.store.readAll("unread")) as Map<string, number>;
  }

  get threads(): Record<string, ThreadEntry[]> {
    return Object.fromEntries([...this.entries].map(([peer, thread]) => [peer, thread.map(({ entry }) => entry)]));
  }

  unreadOf(peer: string): number {
    return this.unread.get(peer) ?? 0;
  }

  markRead(peer: string): void {
    if (this.unreadOf(peer) === 0) return;
    this.unread.delete(peer);
    void this.store.write([{ table: "unread", key: peer, value: undefined }]).catch(() => undefined); // then it is unread again after a restart
    this.events.threadsChanged();
  }

  /** Queues a text. Resolves when it is persisted, not when it is sent. `nowMs` in milliseconds since 1970. */
  async queue(peer: string, body: string, nowMs: number): Promise<void> {
    const entry: ThreadEntry = { kind: "text", id: randomId(), outgoing: true, body, at: nowMs, state: "queued" };
    await this.enqueueText(peer, { order: this.nextOrder++, entry });
  }

  /** Queues a text again that failed. */
  async retry(peer: string, id: string): Promise<void> {
    const stored = this.find(peer, id);
    if (stored?.entry.kind !== "text" || stored.entry.state !== "failed") return;
    await this.enqueueText(peer, { ...stored, entry: { ...stored.entry, state: "queued" } });
  }

  /** Sends what is queued, peer by peer; a failure of one does not hold up the others. */
  flush(): void {
    for (const peer of new Set([...this.outbox.values()].map((row) => row.peer))) {
      this.lane(peer)
        .run(() => this.flushPeer(peer))
        .catch((error: unknown) => this.events.fault("unexpected", error instanceof Error ? error.message : String(error)));
    }
  }

  /** The changes for a text that arrived: entry, unread count, receipt. One that is known is not shown twice; its receipt goes again. */
  receive(peer: string, message: TextMessage): Change[] {
    const receipt: ReceiptMessage = { type: "receipt", ids: [message.id], state: "delivered" };
    const row: OutboxRow = { peer, messageId: randomId(), entryId: null, plaintext: encodeMessage(receipt), sealed: null };
    const changes: Change[] = [this.keepOutbox(String(this.nextOutbox++), row)];
    const known = this.find(peer, message.id);
    if (known !== undefined) {
      changes.push(this.keepEntry(peer, known)); // it may be here and not in the store, if that failed the first time
    } else {
      const entry: ThreadEntry = { kind: "text", id: message.id, outgoing: false, body: message.body, at: message.sentAt * 1000, state: "delivered" };
      changes.push(this.keepEntry(peer, { order: this.nextOrder++, entry }), ...this.countUnread(peer));
    }
    return changes;
  }

  receipt(peer: string, message: ReceiptMessage): Change[] {
    return message.ids.flatMap((id) => this.setState(peer, id, message.state));
  }

  /** A call's line in the thread. */
  async recordCall(peer: string, entry: Extract<ThreadEntry, { kind: "call" }>): Promise<void> {
    if (this.find(peer, entry.id) !== undefined) return;
    const changes = [this.keepEntry(peer, { order: this.nextOrder++, entry })];
    if (!entry.outgoing && (entry.outcome === "missed" || entry.outcome === "busy")) changes.push(...this.countUnread(peer));
    await this.store.write(changes);
    this.events.threadsChanged();
  }

  private async enqueueText(peer: string, stored: StoredEntry): Promise<void> {
    const { entry } = stored;
    if (entry.kind !== "text") return;
    const plaintext = encodeMessage({ type: "text", id: entry.id, body: entry.body, sentAt: entry.at / 1000 });
    const row: OutboxRow = { peer, messageId: randomId(), entryId: entry.id, plaintext, sealed: null };
    await this.store.write([this.keepEntry(peer, stored), this.keepOutbox(String(this.nextOutbox++), row)]);
    this.events.threadsChanged();
    this.flush();
  }

  private async flushPeer(peer: string): Promise<void> {
    for (const [key, row] of [...this.outbox]) {
      if (row.peer !== peer) continue;
      try {
        await this.deliver(key, row);
      } catch (error) {
        if (error instanceof Unreachable || (error instanceof ApiError && error.passing)) return;
        if (error instanceof NotReady) {
          if (!error.soon) this.events.fault("peer_not_ready", error.message);
          return;
        }
        if (error instanceof Broken) this.events.fault(error.code, error.message);
        else if (!(error instanceof ApiError)) throw error;
        await this.finish(key, row, "failed");
        continue;
      }
      await this.finish(key, row, "sent");
    }
  }

  private async deliver(key: string, row: OutboxRow): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      if (row.sealed === null) {
        await this.groups.seal(row.peer, row.plaintext, ({ message }) => {
          row.sealed = message;
          return [this.keepOutbox(key, row)];
        });
      }
      const id = this.groups.conversationId(row.peer);
      if (id === null || row.sealed === null) throw new NotReady("no conversation", true);
      const request: Schemas["MessageRequest"] = { message_id: row.messageId, message: toBase64(row.sealed) };
      try {
        await this.session.call<Schemas["MessageAccepted"]>("POST", `/api/v1/conversations/${id}/messages`, request);
        return;
      } catch (error) {
        const stale = error instanceof ApiError && (error.code === "epoch_out_of_range" || error.code === "message_id_reused");
        if (!stale || attempt >= RESEALS) throw error;
        row.sealed = null;
        row.messageId = randomId();
      }
    }
  }

  private async finish(key: string, row: OutboxRow, state: TextState): Promise<void> {
    this.outbox.delete(key);
    const changes: Change[] = [{ table: "outbox", key, value: undefined }];
    if (row.entryId !== null) changes.push(...this.setState(row.peer, row.entryId, state));
    await this.store.write(changes);
    this.events.threadsChanged();
  }

  /** States only rise: a receipt may be here before the answer to the request that sent the text. */
  private setState(peer: string, id: string, state: TextState): Change[] {
    const stored = this.find(peer, id);
    if (stored?.entry.kind !== "text" || !stored.entry.outgoing || stored.entry.state === "delivered") return [];
    return [this.keepEntry(peer, { ...stored, entry: { ...stored.entry, state } })];
  }

  private countUnread(peer: string): Change[] {
    const count = this.unreadOf(peer) + 1;
    this.unread.set(peer, count);
    return [{ table: "unread", key: peer, value: count }];
  }

  private keepEntry(peer: string, stored: StoredEntry): Change {
    const thread = (this.entries.get(peer) ?? []).filter(({ entry }) => entry.id !== stored.entry.id);
    this.entries.set(peer, [...thread, stored].sort((a, b) => a.order - b.order));
    return { table: "entries", key: `${peer}/${stored.entry.id}`, value: stored };
  }

  private keepOutbox(key: string, row: OutboxRow): Change {
    this.outbox.set(key, row);
    return { table: "outbox", key, value: { ...row } };
  }

  private find(peer: string, id: string): StoredEntry | undefined {
    return this.entries.get(peer)?.find(({ entry }) => entry.id === id);
  }

  private lane(peer: string): Lane {
    const lane = this.lanes.get(peer) ?? new Lane();
    this.lanes.set(peer, lane);
    return lane;
  }
}
