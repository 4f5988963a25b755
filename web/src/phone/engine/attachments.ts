// Files on their way: sealed on this device, sent chunk by chunk, told of in the conversation once all is at the server; fetched the same
// way. A connection that is lost goes on at the chunk that is missing, also after the phone was closed.

import { ApiError, Unreachable, type Schemas } from "../../api/client";
import { AttachmentCipher, AttachmentRefused, chunkCount, MOST_ATTACHMENT_BYTES, newSecret, sealedBytes, sealedChunkBytes } from "../../keys/attachment";
import type { Bytes } from "../../keys/bytes";
import type { AttachedFile, OutgoingFile, Transfer, TransferFault } from "../model";
import { plainType, safeName } from "./files";
import { Broken, NotReady } from "./groupinfo";
import type { Groups } from "./groups";
import { Lane } from "./lane";
import { backoffMs, type Session } from "./session";
import type { Change, PhoneStore } from "./store";
import type { Texts } from "./texts";

interface Upload {
  conversationId: string;
  size: number;
  /** It is not tried again before the person says so. */
  refused: TransferFault | null;
}

export interface AttachmentEvents {
  changed(): void;
}

/** What stays on this device besides the message: small ones are there without the server, larger ones are fetched again. */
const KEPT_CHUNKS = 8;
/** Contents in memory, so that a picture stays on screen. */
const MOST_IN_MEMORY_BYTES = MOST_ATTACHMENT_BYTES;
const WRITTEN_AT_ONCE = 8;

class Cancelled extends Error {}

export class Attachments {
  private readonly uploads = new Map<string, Upload>();
  private readonly shown = new Map<string, Transfer>();
  private readonly contents = new Map<string, Bytes>();
  private readonly running = new Map<string, AbortController>();
  private readonly fetching = new Map<string, Promise<Bytes | null>>();
  /** One transfer of each direction at a time: a thin link that is shared carries none of them to its end. */
  private readonly sending = new Lane();
  private readonly receiving = new Lane();
  private readonly waits = new Set<() => void>();
  private closed = false;

  constructor(
    private readonly store: PhoneStore,
    private readonly session: Session,
    private readonly groups: Groups,
    private readonly texts: Texts,
    private readonly environment: { pause: (ms: number) => Promise<void>; random: () => number },
    private readonly events: AttachmentEvents,
  ) {}

  async load(): Promise<void> {
    for (const [id, upload] of (await this.store.readAll("uploads")) as Map<string, Upload>) {
      if (this.texts.fileOf(upload.conversationId, id) === null) {
        await this.store.write(this.forgotten(id, upload.size)); // the phone ended while it was sealed: no line in a thread names it
        continue;
      }
      this.uploads.set(id, upload);
      this.show(id, { direction: "up", done: 0, total: sealedBytes(upload.size), fault: upload.refused, waiting: upload.refused === null });
    }
  }

  /** By entry id. */
  get transfers(): Record<string, Transfer> {
    return Object.fromEntries(this.shown);
  }

  close(): void {
    this.closed = true;
    for (const controller of this.running.values()) controller.abort();
    this.wake();
  }

  /** The server is there: go on with what waits. */
  resume(): void {
    this.wake();
    for (const [id, upload] of this.uploads) if (upload.refused === null && !this.running.has(id)) this.start(id, upload);
  }

  /** The server is gone: nothing that is under way will be answered. */
  offline(): void {
    for (const controller of this.running.values()) controller.abort(new Unreachable("the server is away"));
  }

  /** Seals a file and queues it. Resolves when it is on this device, not when it is sent. Rejects with RangeError if it is too large. */
  async send(conversationId: string, outgoing: OutgoingFile): Promise<void> {
    const { content } = outgoing;
    if (content.length > MOST_ATTACHMENT_BYTES) throw new RangeError("the file is too large");
    const secret = await newSecret(content);
    const file: AttachedFile = { name: safeName(outgoing.name), mediaType: plainType(outgoing.mediaType), size: content.length, voiceS: outgoing.voiceS };
    const id = this.texts.newFileId();
    const cipher = await AttachmentCipher.open(id, file.size, secret);
    const upload: Upload = { conversationId, size: file.size, refused: null };
    // First, with the first chunks: if the phone ends before the last, the next start finds what to delete.
    const changes: Change[] = [{ table: "uploads", key: id, value: upload }];
    for (let index = 0; index < chunkCount(file.size); index++) {
      changes.push({ table: "chunks", key: chunkKey(id, index), value: await cipher.sealChunk(content, index) });
      if (changes.length >= WRITTEN_AT_ONCE) await this.store.write(changes.splice(0));
    }
    this.remember(id, content);
    this.uploads.set(id, upload);
    this.show(id, { direction: "up", done: 0, total: sealedBytes(file.size), fault: null, waiting: true });
    // Last, in one transaction: before it no line in a thread names the file.
    await this.texts.queueFile(conversationId, id, file, secret, changes);
    this.start(id, upload);
  }

  /** Tries again what was refused. */
  async retry(conversationId: string, id: string): Promise<void> {
    const upload = this.uploads.get(id);
    if (upload === undefined) return this.texts.tellOfFile(conversationId, id);
    const again = { ...upload, refused: null };
    this.uploads.set(id, again);
    await this.texts.requeueFile(conversationId, id, [{ table: "uploads", key: id, value: again }]);
    this.start(id, again);
  }

  /** Ends a transfer. What was not sent yet is forgotten everywhere. */
  async cancel(conversationId: string, id: string): Promise<void> {
    const upload = this.uploads.get(id);
    this.uploads.delete(id);
    this.running.get(id)?.abort(new Cancelled());
    this.wake();
    this.hide(id);
    if (upload === undefined) return;
    this.contents.delete(id);
    await this.texts.dropFile(conversationId, id, this.forgotten(id, upload.size));
    // The server forgets it by itself in time, if it cannot be told now.
    await this.session.call("DELETE", path(conversationId, id)).catch(() => undefined);
  }

  /** The content of a file in a thread, fetched if need be; null if that was cancelled or failed, and its transfer says why. */
  content(conversationId: string, id: string): Promise<Bytes | null> {
    const known = this.contents.get(id);
    if (known !== undefined) return Promise.resolve(known);
    const under = this.fetching.get(id) ?? this.receiving.run(() => this.fetch(conversationId, id)).finally(() => this.fetching.delete(id));
    this.fetching.set(id, under);
    return under;
  }

  private start(id: string, upload: Upload): void {
    if (this.running.has(id)) return;
    this.running.set(id, new AbortController());
    void this.sending.run(() => this.upload(id, upload)).catch(() => undefined); // every failure is shown
  }

  private async upload(id: string, { conversationId, size }: Upload): Promise<void> {
    try {
      await this.persist(id, async (signal) => {
        this.show(id, { waiting: false });
        await this.groups.ensure(conversationId);
        const request: Schemas["AttachmentRequest"] = { octets: sealedBytes(size) };
        const { stored } = await this.session.call<Schemas["Attachment"]>("PUT", path(conversationId, id), request);
        let done = stored.reduce((sum, index) => sum + sealedChunkBytes(size, index), 0);
        this.show(id, { done });
        for (let index = 0; index < chunkCount(size); index++) {
          if (stored.includes(index)) continue;
          signal.throwIfAborted();
          const chunk = (await this.store.read("chunks", chunkKey(id, index))) as Uint8Array | undefined;
          if (chunk === undefined) throw new AttachmentRefused("wrong_length", "a chunk is no longer on this device");
          await this.session.putOctets(path(conversationId, id, index), chunk, signal);
          this.show(id, { done: (done += chunk.length) });
        }
      });
      if (!this.uploads.has(id)) return;
      this.uploads.delete(id);
      const forgotten = chunkCount(size) > KEPT_CHUNKS ? this.forgotten(id, size) : [{ table: "uploads", key: id, value: undefined } as const];
      this.hide(id);
      await this.texts.tellOfFile(conversationId, id, forgotten);
    } catch (error) {
      if (error instanceof Cancelled || this.closed || !this.uploads.has(id)) return;
      const refused: Upload = { conversationId, size, refused: faultOf(error) };
      this.uploads.set(id, refused);
      this.show(id, { fault: refused.refused, waiting: false });
      await this.texts.failFile(conversationId, id, [{ table: "uploads", key: id, value: refused }]);
    } finally {
      this.running.delete(id);
    }
  }

  private async fetch(conversationId: string, id: string): Promise<Bytes | null> {
    const found = this.texts.fileOf(conversationId, id);
    if (found === null) return null;
    const { file, secret } = found;
    const count = chunkCount(file.size);
    this.show(id, { direction: "down", done: 0, total: sealedBytes(file.size), fault: null, waiting: false });
    this.running.set(id, new AbortController());
    try {
      const cipher = await AttachmentCipher.open(id, file.size, secret);
      const opened: Uint8Array[] = [];
      let done = 0;
      await this.persist(id, async (signal) => {
        this.show(id, { waiting: false });
        for (let index = opened.length; index < count; index++) {
          const kept = (await this.store.read("chunks", chunkKey(id, index))) as Uint8Array | undefined;
          const progress = (octets: number): void => this.show(id, { done: done + octets });
          const chunk = kept ?? (await this.session.fetchOctets(path(conversationId, id, index), { signal, progress }));
          opened.push(await cipher.openChunk(chunk, index).catch((error: unknown) => this.letGo(id, index, error)));
          // Kept before the next one is asked for: what has come over a thin link comes once.
          if (kept === undefined) await this.store.write([{ table: "chunks", key: chunkKey(id, index), value: chunk }]);
          this.show(id, { done: (done += chunk.length) });
        }
      });
      const content = await cipher.finish(opened);
      if (count > KEPT_CHUNKS) await this.store.write(this.forgotten(id, file.size));
      this.remember(id, content);
      this.hide(id);
      return content;
    } catch (error) {
      if (error instanceof Cancelled || this.closed) this.hide(id);
      else this.show(id, { fault: faultOf(error), waiting: false });
      return null;
    } finally {
      this.running.delete(id);
    }
  }

  /** A chunk that does not open is not kept: the next attempt fetches it anew. */
  private async letGo(id: string, index: number, error: unknown): Promise<never> {
    await this.store.write([{ table: "chunks", key: chunkKey(id, index), value: undefined }]);
    throw error;
  }

  /** Works again and again until it is done, refused or cancelled. What it has done stays done. */
  private async persist(id: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
    for (let failures = 0; ; failures++) {
      const controller = this.running.get(id) ?? new AbortController();
      if (controller.signal.reason instanceof Cancelled) throw controller.signal.reason;
      try {
        await work(controller.signal);
        return;
      } catch (error) {
        if (controller.signal.reason instanceof Cancelled) throw controller.signal.reason;
        const passes = error instanceof Unreachable || (error instanceof ApiError && error.passing) || (error instanceof NotReady && error.soon);
        if (!passes || this.closed) throw error;
        if (controller.signal.aborted) this.running.set(id, new AbortController());
        this.show(id, { waiting: true });
        await Promise.race([this.environment.pause(backoffMs(failures, this.environment.random())), new Promise<void>((resolve) => this.waits.add(resolve))]);
      }
    }
  }

  private wake(): void {
    for (const resolve of this.waits) resolve();
    this.waits.clear();
  }

  private forgotten(id: string, size: number): Change[] {
    const chunks = Array.from({ length: chunkCount(size) }, (_, index): Change => ({ table: "chunks", key: chunkKey(id, index), value: undefined }));
    return [...chunks, { table: "uploads", key: id, value: undefined }];
  }

  private remember(id: string, content: Uint8Array): void {
    this.contents.set(id, content as Bytes);
    let total = [...this.contents.values()].reduce((sum, { length }) => sum + length, 0);
    for (const [oldest, { length }] of this.contents) {
      if (total <= MOST_IN_MEMORY_BYTES || oldest === id) break;
      this.contents.delete(oldest);
      total -= length;
    }
  }

  private show(id: string, change: Partial<Transfer>): void {
    const before = this.shown.get(id) ?? { direction: "up", done: 0, total: 0, fault: null, waiting: false };
    this.shown.set(id, { ...before, ...change });
    this.events.changed();
  }

  private hide(id: string): void {
    this.shown.delete(id);
    this.events.changed();
  }
}

function path(conversationId: string, id: string, index?: number): string {
  const base = `/api/v1/conversations/${conversationId}/attachments/${id}`;
  return index === undefined ? base : `${base}/chunks/${index}`;
}

function chunkKey(id: string, index: number): string {
  return `${id}/${index}`;
}

function faultOf(error: unknown): TransferFault {
  if (error instanceof AttachmentRefused) return "refused";
  if (error instanceof NotReady) return "not_ready";
  if (error instanceof Broken) return "not_ready";
  if (!(error instanceof ApiError)) return "failed";
  switch (error.code) {
    case "attachment_too_large":
    case "too_large":
      return "too_large";
    case "attachment_quota":
      return "quota";
    case "not_found":
    case "not_joined":
      return "gone";
    default:
      return "failed";
  }
}
