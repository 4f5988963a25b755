// The server's twin: the protocol of docs/protocols.md in memory, for tests of whole phones. It can be taken away and brought back.

import type { Schemas } from "../../src/api/client";
import { fromBase64, owned, randomId, toBase64, toHex } from "../../src/keys/bytes";
import { keyPackageReference } from "../../src/keys/conversation";
import { directConversationId, sessionStatement } from "../../src/keys/statement";
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
  kind: "direct" | "group" | "talk";
  members: string[];
  owners: string[];
  archives: string[];
  epoch: number | null;
  creator: string | null;
  commits: Map<number, string>;
  /** Account id → the epoch at which its device came in. */
  joined: Map<string, number>;
  /** `epoch` → what the committer offered. */
  trees: Map<number, Uint8Array>;
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
  private readonly lastMessages = new Map<string, string>();
  /** KeyPackageRef in hex → account. */
  private readonly references = new Map<string, string>();

  readonly fetch = async (path: string, init: RequestInit): Promise<Response> => {
    await Promise.resolve();
    if (!this.up) throw new TypeError("connection refused");
    if (this.barrier?.path.test(path)) {
      const { open, release } = this.barrier;
      if (--this.barrier.missing === 0) release();
      await open;
    }
    const body = typeof init.body === "string" ? (JSON.parse(init.body) as unknown) : init.body;
    if (typeof init.body === "string") this.seen.push(init.body);
    const token = new Headers(init.headers).get("Authorization")?.slice(7);
    try {
      const value = await this.route(init.method ?? "GET", path, body, token);
      if (this.loseAnswersTo?.test(path)) {
        this.loseAnswersTo = null;
        throw new TypeError("connection lost");
      }
      const answer = value === undefined ? null : value instanceof Uint8Array ? new Uint8Array(value) : JSON.stringify(value);
      return new Response(answer, { status: value === undefined ? 204 : 200, headers: { Date: new Date().toUTCString() } });
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

  private async reference(keyPackage: string): Promise<string> {
    const digest = async (data: Uint8Array): Promise<Uint8Array> => new Uint8Array(await crypto.subtle.digest("SHA-384", owned(data)));
    return toHex(await keyPackageReference(fromBase64(keyPackage), { hash: { digest } }));
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
        for (const one of [...key_packages, last_resort]) this.references.set(await this.reference(one), me.accountId);
        [me.keyPackages, me.lastResort] = [[...key_packages], last_resort];
        return undefined;
      }
      case "POST /conversations/*/key-packages/claim": {
        const conversation = this.mine(me, id);
        const { accounts } = body as Schemas["ClaimRequest"];
        return accounts.flatMap((accountId): Schemas["ClaimedOfMember"][] => {
          const account = this.accounts.get(accountId);
          if (account === undefined || account === me || !conversation.members.includes(accountId) || conversation.joined.has(accountId)) return [];
          const keyPackage = account.keyPackages.shift() ?? account.lastResort;
          return keyPackage === null ? [] : [{ account_id: accountId, device_id: account.deviceId, key_package: keyPackage }];
        });
      }
      case "POST /conversations":
        return this.open(me, body as Schemas["ConversationRequest"]);
      case "GET /conversations":
        return [...this.conversations.values()].filter((one) => one.members.includes(me.accountId)).map(shape);
      case "GET /conversations/*":
        return shape(this.mine(me, id));
      case "POST /conversations/*/members": {
        const conversation = this.mine(me, id);
        const { members } = body as Schemas["MembersRequest"];
        conversation.members = [...new Set([...conversation.members, ...members])].sort();
        this.tell(conversation, []);
        return shape(conversation);
      }
      case "DELETE /conversations/*/members/*": {
        const conversation = this.mine(me, id);
        const gone = path.slice(-32);
        conversation.members = conversation.members.filter((member) => member !== gone);
        this.tell(conversation, [gone]);
        return undefined;
      }
      case `PUT /conversations/*/trees/${path.split("/").at(-1)}`:
        this.mine(me, id).trees.set(Number(path.split("/").at(-1)), body as Uint8Array);
        return undefined;
      case `GET /conversations/*/trees/${path.split("/").at(-1)}`:
        return this.mine(me, id).trees.get(Number(path.split("/").at(-1)));
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

  /** Accounts whose devices are in the group. */
  joined(conversationId: string): string[] {
    return [...(this.conversations.get(conversationId)?.joined.keys() ?? [])];
  }

  /** How many items were ever put into a mailbox. */
  delivered(accountId: string): number {
    return (this.accounts.get(accountId)?.nextSeq ?? 1) - 1;
  }

  lastMessage(conversationId: string): string {
    return this.lastMessages.get(conversationId) ?? "";
  }

  /** Gives somebody a message that is not for him. */
  smuggle(to: string, conversationId: string, from: string, message: string): void {
    this.mail(to, conversationId, "application", this.accounts.get(from) as Account, message);
  }

  /** An administrator sets an archive. */
  archive(conversationId: string, accountId: string): void {
    const conversation = this.conversations.get(conversationId) as TwinConversation;
    conversation.members = [...conversation.members, accountId].sort();
    conversation.archives.push(accountId);
    this.tell(conversation, []);
  }

  private mine(me: Account, id: string): TwinConversation {
    const found = this.conversations.get(id);
    if (found === undefined || !found.members.includes(me.accountId)) throw new Refusal(404, "not_found");
    return found;
  }

  private tell(conversation: TwinConversation, also: readonly string[]): void {
    for (const accountId of [...conversation.members, ...also]) {
      this.accounts.get(accountId)?.socket?.push({ type: "conversation", conversation_id: conversation.id });
    }
  }

  private async open(me: Account, body: Schemas["ConversationRequest"]): Promise<Schemas["Conversation"]> {
    const members = [me.accountId, ...body.members].sort();
    const id = body.kind === "direct" ? await directConversationId(me.accountId, body.members[0] ?? "") : (body.conversation_id ?? "");
    let found = this.conversations.get(id);
    if (found === undefined) {
      const owners = body.kind === "direct" ? [] : [me.accountId];
      const empty = { epoch: null, creator: null, commits: new Map(), joined: new Map(), trees: new Map() };
      found = { id, kind: body.kind, members, owners, archives: [], ...empty };
      this.conversations.set(id, found);
      if (body.kind !== "direct") this.tell(found, []);
    }
    return shape(found);
  }

  private async commit(me: Account, id: string, body: Schemas["CommitRequest"]): Promise<Schemas["CommitAccepted"]> {
    const conversation = this.mine(me, id);
    const current = conversation.epoch ?? 0;
    if (body.epoch !== current) {
      if (conversation.commits.get(body.epoch) !== body.commit) throw new Refusal(409, "epoch_taken");
      return { epoch: body.epoch + 1, accepted_at: Date.now() / 1000 };
    }
    if (conversation.epoch !== null && !conversation.joined.has(me.accountId)) throw new Refusal(403, "not_joined");
    const welcomed = body.welcome === null ? [] : await this.welcomed(fromBase64(body.welcome as string), conversation);
    if ((conversation.epoch ?? 0) !== current) throw new Refusal(409, "epoch_taken"); // while the references were looked up
    if (conversation.epoch === null) {
      conversation.creator = me.deviceId;
      conversation.joined.set(me.accountId, 1);
    }
    conversation.commits.set(current, body.commit as string);
    conversation.epoch = current + 1;
    for (const accountId of conversation.joined.keys()) if (accountId !== me.accountId) this.mail(accountId, id, "commit", me, body.commit as string);
    for (const accountId of welcomed) {
      conversation.joined.set(accountId, conversation.epoch);
      this.mail(accountId, id, "welcome", me, body.welcome as string);
    }
    for (const account of this.accounts.values()) if (body.removed?.includes(account.deviceId)) conversation.joined.delete(account.accountId);
    return { epoch: conversation.epoch, accepted_at: Date.now() / 1000 };
  }

  /** Whose key packages a welcome names. */
  private async welcomed(welcome: Uint8Array, conversation: TwinConversation): Promise<string[]> {
    const named: string[] = [];
    const text = toHex(welcome);
    for (const [reference, accountId] of this.references) if (text.includes(reference) && conversation.members.includes(accountId)) named.push(accountId);
    return named;
  }

  private message(me: Account, id: string, body: Schemas["MessageRequest"]): Schemas["MessageAccepted"] {
    const conversation = this.mine(me, id);
    const epoch = Number(BigInt(`0x${toHex(fromBase64(body.message).slice(21, 29))}`));
    if (!this.messageIds.has(body.message_id)) {
      if (!conversation.joined.has(me.accountId)) throw new Refusal(403, "not_joined");
      if (Math.abs((conversation.epoch ?? 0) - epoch) > 2) throw new Refusal(409, "epoch_out_of_range");
      this.messageIds.add(body.message_id);
      this.lastMessages.set(id, body.message as string);
      for (const [accountId, since] of conversation.joined) {
        const entitled = accountId !== me.accountId && since <= epoch && conversation.members.includes(accountId);
        if (entitled) this.mail(accountId, id, "application", me, body.message as string);
      }
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
  const { id, kind, members, owners, archives, epoch, creator } = one;
  return { conversation_id: id, kind, members, owners, archives, epoch, creator_device_id: creator };
}
