// The server's twin: the protocol of docs/protocols.md in memory, for tests of whole phones. It can be taken away and brought back.

import type { Schemas } from "../../src/api/client";
import { fromBase64, randomId, toBase64, toHex } from "../../src/keys/bytes";
import { sessionStatement } from "../../src/keys/statement";
import type { MailboxItem, Socket } from "../../src/phone/engine/session";

interface Account {
  accountId: string;
  deviceId: string;
  displayName: string;
  precedenceCeiling: Schemas["PrecedenceCeiling"]["ceiling"];
  key: string;
  keyPackages: string[];
  lastResort: string | null;
  mailbox: MailboxItem[];
  nextSeq: number;
  socket: TwinSocket | null;
}

interface TwinConversation {
  id: string;
  members: string[];
  epoch: number | null;
  creator: string | null;
  commits: Map<number, string>;
}

class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
  ) {
    super(code);
  }
}

class TwinSocket implements Socket {
  onopen: ((event: Event) => void) | null = null;
  onmessage: ((event: MessageEvent) => void) | null = null;
  onclose: ((event: CloseEvent) => void) | null = null;
  open = true;

  constructor(private readonly hears: (socket: TwinSocket, text: string) => void) {}

  send(text: string): void {
    if (this.open) this.hears(this, text);
  }

  push(frame: object): void {
    if (this.open) queueMicrotask(() => this.open && this.onmessage?.({ data: JSON.stringify(frame) } as MessageEvent));
  }

  close(code = 1000): void {
    if (!this.open) return;
    this.open = false;
    queueMicrotask(() => this.onclose?.({ code } as CloseEvent));
  }
}

export class TwinServer {
  readonly serviceId = randomId();
  readonly calls = new Map<string, Set<string>>();
  /** Everything that was ever stored or put on the wire, for a search for plaintext. */
  readonly seen: string[] = [];
  /** Codes of the requests that were refused. */
  readonly refused: string[] = [];
  /** How often the alarm of a phone under duress arrived. */
  alarms = 0;
  private readonly armed = new Set<string>();
  up = true;
  /** The code with which calls are refused. */
  refuseCalls: string | null = null;
  /** Loses the answers, not the requests, that match. */
  loseAnswersTo: RegExp | null = null;
  /** Holds requests that match until this many are there, to force a race. */
  barrier: { path: RegExp; missing: number; open: Promise<void>; release: () => void } | null = null;
  private readonly accounts = new Map<string, Account>();
  private readonly conversations = new Map<string, TwinConversation>();
  private readonly tokens = new Map<string, Account>();
  private readonly messageIds = new Set<string>();

  readonly fetch = async (path: string, init: RequestInit): Promise<Response> => {
    await Promise.resolve();
    if (!this.up) throw new TypeError("connection refused");
    if (this.barrier?.path.test(path)) {
      const { open, release } = this.barrier;
      if (--this.barrier.missing === 0) release();
      await open;
    }
    const body = typeof init.body === "string" ? (JSON.parse(init.body) as unknown) : undefined;
    if (typeof init.body === "string") this.seen.push(init.body);
    const token = new Headers(init.headers).get("Authorization")?.slice(7);
    try {
      const value = await this.route(init.method ?? "GET", path, body, token);
      if (this.loseAnswersTo?.test(path)) {
        this.loseAnswersTo = null;
        throw new TypeError("connection lost");
      }
      return new Response(value === undefined ? null : JSON.stringify(value), { status: value === undefined ? 204 : 200, headers: { Date: new Date().toUTCString() } });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.refused.push(error.code);
      return new Response(JSON.stringify({ code: error.code, detail: error.code }), { status: error.status });
    }
  };

  openSocket(): TwinSocket {
    const socket = new TwinSocket((from, text) => this.hear(from, text));
    queueMicrotask(() => (this.up ? socket.onopen?.(new Event("open")) : socket.close(1006)));
    return socket;
  }

  holdUntil(count: number, path: RegExp): void {
    let release = (): void => undefined;
    const open = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.barrier = { path, missing: count, open, release };
  }

  goDown(): void {
    this.up = false;
    this.tokens.clear();
    for (const account of this.accounts.values()) account.socket?.close(1006);
  }

  replaceKey(accountId: string, key: string): void {
    const account = this.accounts.get(accountId);
    if (account !== undefined) account.key = key;
    for (const { socket } of this.accounts.values()) socket?.push({ type: "directory" });
  }

  /** Closes a device's socket as a newer one would. */
  takeOver(accountId: string): void {
    this.accounts.get(accountId)?.socket?.close(4409);
  }

  allow(accountId: string, ceiling: Account["precedenceCeiling"]): void {
    const account = this.accounts.get(accountId);
    if (account !== undefined) account.precedenceCeiling = ceiling;
    for (const { socket } of this.accounts.values()) socket?.push({ type: "directory" });
  }

  /** Ends a call as the server does for want of room. */
  preempt(callId: string, by: string | null): void {
    const devices = this.calls.get(callId) ?? new Set();
    this.calls.delete(callId);
    for (const { deviceId, socket } of this.accounts.values()) if (devices.has(deviceId)) socket?.push({ type: "preempted", call_id: callId, by });
  }

  pending(accountId: string): number {
    return this.accounts.get(accountId)?.mailbox.length ?? 0;
  }

  keyPackagesOf(accountId: string): number {
    return this.accounts.get(accountId)?.keyPackages.length ?? 0;
  }

  epochs(): (number | null)[] {
    return [...this.conversations.values()].map((conversation) => conversation.epoch);
  }

  conversationIds(): string[] {
    return [...this.conversations.keys()];
  }

  private async route(method: string, path: string, body: unknown, token: string | undefined): Promise<unknown> {
    const route = `${method} ${path.replace("/api/v1", "").replace(/\?.*/, "").replace(/[0-9a-f]{32}/g, "*")}`;
    const id = /[0-9a-f]{32}/.exec(path)?.[0] ?? "";
    switch (route) {
      case "GET /service":
        return { service_id: this.serviceId, version: "twin", suite: 0xf002 } satisfies Schemas["Service"];
      case "POST /enrolments":
        return this.enrol(body as Schemas["Enrolment"]);
      case "POST /sessions/challenge":
        return { challenge: toBase64(new TextEncoder().encode(randomId())), expires_at: 0 } satisfies Schemas["ChallengeAnswer"];
      case "POST /presence":
        if (this.armed.has(await sha256(fromBase64((body as Schemas["DuressAlarm"]).secret)))) this.alarms++;
        return undefined;
      case "POST /sessions":
        return this.login(body as Schemas["Login"]);
    }
    const me = this.tokens.get(token ?? "");
    if (me === undefined) throw new Refusal(401, "not_logged_in");
    switch (route) {
      case "GET /accounts":
        return [...this.accounts.values()].map((account) => ({
          account_id: account.accountId,
          display_name: account.displayName,
          precedence_ceiling: account.precedenceCeiling,
          online: account.socket !== null,
          devices: [{ device_id: account.deviceId, signature_public_key: account.key }],
        }));
      case "PUT /me/duress":
        this.armed.add((body as Schemas["DuressAlarmKey"]).secret_sha256);
        return undefined;
      case "GET /me/key-packages":
        return { remaining: me.keyPackages.length };
      case "PUT /me/key-packages": {
        const { key_packages, last_resort } = body as Schemas["KeyPackages"];
        [me.keyPackages, me.lastResort] = [[...key_packages], last_resort];
        return undefined;
      }
      case "POST /accounts/*/key-packages/claim": {
        const account = this.accounts.get(id);
        const keyPackage = account?.keyPackages.shift() ?? account?.lastResort;
        return account === undefined || keyPackage == null ? [] : [{ device_id: account.deviceId, key_package: keyPackage }];
      }
      case "POST /conversations":
        return this.direct(me, (body as Schemas["ConversationRequest"]).members[0] ?? "");
      case "GET /conversations":
        return [...this.conversations.values()].filter((one) => one.members.includes(me.accountId)).map(shape);
      case "POST /conversations/*/commits":
        return this.commit(me, id, body as Schemas["CommitRequest"]);
      case "POST /conversations/*/messages":
        return this.message(me, id, body as Schemas["MessageRequest"]);
      case "PUT /calls/*":
        if (this.refuseCalls !== null) throw new Refusal(409, this.refuseCalls);
        this.calls.set(id, (this.calls.get(id) ?? new Set()).add(me.deviceId));
        return { call_id: id, precedence: "routine", ice_servers: [], expires_at: 0, simulated: true };
      case "DELETE /calls/*":
        this.calls.get(id)?.delete(me.deviceId);
        return undefined;
      default:
        throw new Refusal(404, "not_found");
    }
  }

  private enrol(body: Schemas["Enrolment"]): Schemas["Enrolled"] {
    const same = [...this.accounts.values()].find((account) => account.key === body.signature_public_key);
    const made = same ?? {
      accountId: randomId(),
      deviceId: randomId(),
      displayName: body.display_name,
      precedenceCeiling: "routine" as const,
      key: body.signature_public_key,
      keyPackages: [],
      lastResort: null,
      mailbox: [],
      nextSeq: 1,
      socket: null,
    };
    this.accounts.set(made.accountId, made);
    for (const { socket } of this.accounts.values()) socket?.push({ type: "directory" });
    return { account_id: made.accountId, device_id: made.deviceId };
  }

  private async login(body: Schemas["Login"]): Promise<Schemas["Session"]> {
    const account = [...this.accounts.values()].find(({ deviceId }) => deviceId === body.device_id);
    if (account === undefined) throw new Refusal(401, "login_refused");
    const key = await crypto.subtle.importKey("raw", fromBase64(account.key), "Ed25519", false, ["verify"]);
    const statement = sessionStatement(this.serviceId, body.device_id, fromBase64(body.challenge));
    if (!(await crypto.subtle.verify("Ed25519", key, fromBase64(body.signature), statement))) throw new Refusal(401, "login_refused");
    const token = randomId();
    this.tokens.set(token, account);
    return { token, expires_at: 0 };
  }

  private direct(me: Account, peer: string): Schemas["Conversation"] {
    const members = [me.accountId, peer].sort();
    let found = [...this.conversations.values()].find((one) => one.members.join() === members.join());
    if (found === undefined) {
      found = { id: randomId(), members, epoch: null, creator: null, commits: new Map() };
      this.conversations.set(found.id, found);
    }
    return shape(found);
  }

  private commit(me: Account, id: string, body: Schemas["CommitRequest"]): Schemas["CommitAccepted"] {
    const conversation = this.conversations.get(id) as TwinConversation;
    const current = conversation.epoch ?? 0;
    if (body.epoch !== current) {
      if (conversation.commits.get(body.epoch) !== body.commit) throw new Refusal(409, "epoch_taken");
      return { epoch: body.epoch + 1, accepted_at: Date.now() / 1000 };
    }
    const first = conversation.epoch === null;
    conversation.commits.set(current, body.commit);
    conversation.epoch = current + 1;
    if (first) conversation.creator = me.deviceId;
    for (const member of conversation.members) {
      if (member === me.accountId) continue;
      if (body.welcome !== null) this.mail(member, id, "welcome", me, body.welcome as string);
      else this.mail(member, id, "commit", me, body.commit);
    }
    return { epoch: conversation.epoch, accepted_at: Date.now() / 1000 };
  }

  private message(me: Account, id: string, body: Schemas["MessageRequest"]): Schemas["MessageAccepted"] {
    const conversation = this.conversations.get(id) as TwinConversation;
    const epoch = Number(BigInt(`0x${toHex(fromBase64(body.message).slice(21, 29))}`));
    if (!this.messageIds.has(body.message_id)) {
      if (Math.abs((conversation.epoch ?? 0) - epoch) > 2) throw new Refusal(409, "epoch_out_of_range");
      this.messageIds.add(body.message_id);
      for (const member of conversation.members) if (member !== me.accountId) this.mail(member, id, "application", me, body.message);
    }
    return { accepted_at: Date.now() / 1000 };
  }

  private mail(accountId: string, conversationId: string, kind: MailboxItem["kind"], from: Account, payload: string): void {
    const account = this.accounts.get(accountId) as Account;
    const item = { type: "deliver", seq: account.nextSeq++, conversation_id: conversationId, kind, sender_device_id: from.deviceId, payload, accepted_at: Date.now() / 1000 } as const;
    account.mailbox.push(item);
    account.socket?.push(item);
  }

  private hear(socket: TwinSocket, text: string): void {
    const frame = JSON.parse(text) as { type: string; token?: string; after?: number; seq?: number };
    if (frame.type === "hello") {
      const account = this.tokens.get(frame.token ?? "");
      if (account === undefined) {
        socket.close(4401);
        return;
      }
      account.socket?.close(4409);
      account.socket = socket;
      account.mailbox = account.mailbox.filter((item) => item.seq > (frame.after ?? 0));
      socket.push({ type: "ready", device_id: account.deviceId, pending: account.mailbox.length });
      for (const item of account.mailbox) socket.push(item);
      return;
    }
    const account = [...this.accounts.values()].find((one) => one.socket === socket);
    if (frame.type === "ack" && account !== undefined) account.mailbox = account.mailbox.filter((item) => item.seq > (frame.seq ?? 0));
  }
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

function shape(one: TwinConversation): Schemas["Conversation"] {
  return { conversation_id: one.id, kind: "direct", members: one.members, owners: [], archives: [], epoch: one.epoch, creator_device_id: one.creator };
}
