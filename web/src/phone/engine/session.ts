// A device's connection to the server: login by proof of possession, requests with a fresh token, the mailbox's WebSocket.

import { ApiError, request, requestOctets, Unreachable, type Answer, type Fetch, type Method, type OctetOptions, type Schemas } from "../../api/client";
import { fromBase64, toBase64, type Bytes } from "../../keys/bytes";
import { sessionStatement, type DeviceKey } from "../../keys/statement";
import type { Precedence } from "../model";
import { isRecord } from "./messages";

export type MailboxItem = Schemas["Deliver"];
export type FloorFrame = Schemas["FloorState"];
type ServerFrame =
  | Schemas["Ready"]
  | MailboxItem
  | Schemas["Presence"]
  | Schemas["DirectoryChanged"]
  | Schemas["ConversationChanged"]
  | Schemas["CallChanged"]
  | Schemas["Preempted"]
  | Schemas["SealedTextCame"]
  | FloorFrame
  | Schemas["Reconnect"]
  | Schemas["Ping"]
  | Schemas["Pong"];

const CLOSE_NOT_LOGGED_IN = 4401;
const CLOSE_REPLACED = 4409;
/** The server pings every 20 s; this much silence means that the connection is dead (docs/protocols.md). */
const SILENCE_MS = 45_000;
const BACKOFF_FIRST_MS = 500;
const BACKOFF_MOST_MS = 15_000;

/** The part of a WebSocket that is used here. */
export interface Socket {
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface SessionEnvironment {
  fetch: Fetch;
  openSocket: () => Socket;
  /** Milliseconds since 1970. */
  now: () => number;
  /** 0 ≤ x < 1, for jitter. */
  random: () => number;
}

export interface SessionEvents {
  /** Resolves when the results are persisted; only then is the item acknowledged. Rejecting drops the connection and tries again. */
  deliver(item: MailboxItem): Promise<void>;
  /** Before the mailbox is opened, so that what it brings can be judged. */
  connecting(): Promise<void>;
  online(): void;
  offline(): void;
  presence(accountId: string, online: boolean): void;
  directoryChanged(): void;
  /** A sealed text for this device's number waits at the server. */
  sealedTextCame(): void;
  /** The server ended a call of this device. */
  preempted(callId: string, by: Precedence | null): void;
  conversationChanged(id: string): void;
  /** Somebody joined or left the call of a conversation, or it ended. */
  callChanged(conversationId: string): void;
  /** Who has the floor of a talk group now. */
  floor(frame: FloorFrame): void;
  /** The forwarder of a call is gone. */
  reconnect(callId: string): void;
  /** Another place opened the mailbox of this device; this one stops. */
  takenOver(): void;
  /** Connecting failed in a way that waiting alone will not mend; it is tried again all the same. */
  failed(error: unknown): void;
}

export interface SessionIdentity {
  serviceId: string;
  deviceId: string;
  key: DeviceKey;
}

/** Delay before attempt `failures` + 1: doubling, with jitter so that phones do not return in step. */
export function backoffMs(failures: number, random: number): number {
  return Math.min(BACKOFF_MOST_MS, BACKOFF_FIRST_MS * 2 ** Math.min(failures, 10)) * (0.5 + random / 2);
}

/** A Date header is cut to whole seconds, and servers renew it but once a second: the true time is up to so much later. */
const DATE_ERROR_S = 2;

/**
 * How far the server's clock is ahead, from what it says of the time in its answers: Date headers, and better ones where there are any.
 * Each bounds the difference from both sides, and the bounds soon lie close together.
 */
export class ServerClock {
  private atLeastMs = Number.NEGATIVE_INFINITY;
  private atMostMs = Number.POSITIVE_INFINITY;

  get aheadMs(): number {
    return Number.isFinite(this.atLeastMs) ? (this.atLeastMs + this.atMostMs) / 2 : 0;
  }

  /** By how much `aheadMs` may be wrong. */
  get errorMs(): number {
    return (this.atMostMs - this.atLeastMs) / 2;
  }

  /**
   * A time that the server told between `sentAt` and `receivedAt`, in milliseconds since 1970 of this device's clock; it was then up to
   * `errorS` later.
   */
  observe(toldUnixS: number, sentAt: number, receivedAt: number, errorS = DATE_ERROR_S): void {
    const [atLeast, atMost] = [toldUnixS * 1_000 - receivedAt, (toldUnixS + errorS) * 1_000 - sentAt];
    if (atLeast > this.atMostMs || atMost < this.atLeastMs) {
      [this.atLeastMs, this.atMostMs] = [atLeast, atMost]; // one of the clocks was set
    } else {
      this.atLeastMs = Math.max(this.atLeastMs, atLeast);
      this.atMostMs = Math.min(this.atMostMs, atMost);
    }
  }
}

export class Session {
  private token: Promise<string> | null = null;
  private socket: Socket | null = null;
  private failures = 0;
  private running = false;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private silenceTimer: ReturnType<typeof setTimeout> | undefined;
  readonly clock = new ServerClock();

  constructor(
    private readonly environment: SessionEnvironment,
    private readonly identity: SessionIdentity,
    private readonly events: SessionEvents,
    /** The last mailbox item whose results are persisted. */
    private readonly processed: () => number,
  ) {}

  /** The server's clock as far as this device knows it, in POSIX seconds. */
  serverUnixS(): number {
    return (this.environment.now() + this.clock.aheadMs) / 1000;
  }

  /** An authorised request. A token that the server no longer knows is renewed once. Rejects with ApiError or Unreachable. */
  call<T>(method: Method, path: string, body?: unknown): Promise<T> {
    return this.authorised((token) => this.send<T>(method, path, body, token));
  }

  fetchOctets(path: string, options?: OctetOptions): Promise<Bytes> {
    return this.authorised((token) => this.observed(requestOctets(this.environment.fetch, "GET", path, null, token, options)));
  }

  async putOctets(path: string, body: Uint8Array, signal?: AbortSignal): Promise<void> {
    const options = signal === undefined ? {} : { signal };
    await this.authorised((token) => this.observed(requestOctets(this.environment.fetch, "PUT", path, body, token, options)));
  }

  /** A wish for the floor of a talk group; null gives it back. False without a connection: then nothing was sent. */
  sendFloor(callId: string, precedence: Precedence | null): boolean {
    const wish = precedence === null ? { op: "release" } : { op: "request", precedence };
    this.socket?.send(JSON.stringify({ type: "floor", call_id: callId, ...wish }));
    return this.socket !== null;
  }

  start(): void {
    if (this.running) return;
    this.running = true;
    void this.connect();
  }

  stop(): void {
    this.running = false;
    clearTimeout(this.retryTimer);
    clearTimeout(this.silenceTimer);
    this.socket?.close();
    this.socket = null;
  }

  /** The network came back, says the browser: do not wait for the back-off. */
  hurry(): void {
    if (!this.running || this.socket !== null || this.retryTimer === undefined) return;
    clearTimeout(this.retryTimer);
    this.retryTimer = undefined;
    void this.connect();
  }

  private async authorised<T>(ask: (token: string) => Promise<T>): Promise<T> {
    const token = this.login();
    try {
      return await ask(await token);
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "not_logged_in")) throw error;
      if (this.token === token) this.token = null;
      return ask(await this.login());
    }
  }

  private send<T>(method: Method, path: string, body?: unknown, token?: string): Promise<T> {
    return this.observed(request<T>(this.environment.fetch, method, path, body, token));
  }

  /** The value of an answer, with what it says of the server's clock noted. */
  private async observed<T>(answer: Promise<Answer<T>>): Promise<T> {
    const sentAt = this.environment.now();
    const { value, serverUnixS } = await answer;
    if (serverUnixS !== null) this.clock.observe(serverUnixS, sentAt, this.environment.now());
    return value;
  }

  private login(): Promise<string> {
    if (this.token === null) {
      const attempt = this.proveOurselves();
      this.token = attempt;
      attempt.catch(() => {
        if (this.token === attempt) this.token = null;
      });
    }
    return this.token;
  }

  private async proveOurselves(): Promise<string> {
    const { serviceId, deviceId, key } = this.identity;
    const { challenge } = await this.send<Schemas["ChallengeAnswer"]>("POST", "/api/v1/sessions/challenge", { device_id: deviceId });
    const signature = await key.sign(sessionStatement(serviceId, deviceId, fromBase64(challenge)));
    const login: Schemas["Login"] = { device_id: deviceId, challenge, signature: toBase64(signature) };
    return (await this.send<Schemas["Session"]>("POST", "/api/v1/sessions", login)).token;
  }

  private async connect(): Promise<void> {
    try {
      await this.events.connecting();
      const token = await this.login();
      if (this.running) this.openSocket(token);
    } catch (error) {
      if (!(error instanceof Unreachable || (error instanceof ApiError && error.passing))) this.events.failed(error);
      this.retryLater();
    }
  }

  private openSocket(token: string): void {
    const socket = this.environment.openSocket();
    this.socket = socket;
    let chain: Promise<void> = Promise.resolve();
    const mine = (): boolean => this.socket === socket;
    const listen = (): void => {
      clearTimeout(this.silenceTimer);
      this.silenceTimer = setTimeout(() => mine() && this.lost(socket), SILENCE_MS);
    };
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token, after: this.processed() }));
    socket.onmessage = (event) => {
      if (!mine()) return;
      listen();
      const frame = parseFrame(event.data);
      if (frame === null) return;
      switch (frame.type) {
        case "ready":
          this.failures = 0;
          this.events.online();
          break;
        case "deliver":
          chain = chain.then(async () => {
            if (!mine()) return;
            if (frame.seq > this.processed()) await this.events.deliver(frame);
            if (mine()) socket.send(JSON.stringify({ type: "ack", seq: frame.seq }));
          });
          chain.catch(() => mine() && this.lost(socket));
          break;
        case "presence":
          this.events.presence(frame.account_id, frame.online);
          break;
        case "preempted":
          this.events.preempted(frame.call_id, frame.by);
          break;
        case "sealed_text":
          this.events.sealedTextCame();
          break;
        case "directory":
          this.events.directoryChanged();
          break;
        case "conversation":
          this.events.conversationChanged(frame.conversation_id);
          break;
        case "call":
          this.events.callChanged(frame.conversation_id);
          break;
        case "floor":
          this.events.floor(frame);
          break;
        case "reconnect":
          this.events.reconnect(frame.call_id);
          break;
        case "ping":
          socket.send(JSON.stringify({ type: "pong" }));
          break;
        case "pong":
          break;
      }
    };
    socket.onclose = (event) => {
      if (!mine()) return;
      if (event.code === CLOSE_NOT_LOGGED_IN) this.token = null;
      if (event.code === CLOSE_REPLACED) {
        this.stop();
        this.events.offline();
        this.events.takenOver();
      } else {
        this.lost(socket);
      }
    };
    listen();
  }

  private lost(socket: Socket): void {
    this.socket = null;
    socket.close();
    this.retryLater();
  }

  private retryLater(): void {
    clearTimeout(this.silenceTimer);
    if (!this.running) return;
    this.events.offline();
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => {
      this.retryTimer = undefined;
      void this.connect();
    }, backoffMs(this.failures++, this.environment.random()));
  }
}

function parseFrame(data: unknown): ServerFrame | null {
  try {
    const frame: unknown = JSON.parse(String(data));
    return isRecord(frame) && typeof frame["type"] === "string" ? (frame as unknown as ServerFrame) : null;
  } catch {
    return null;
  }
}
