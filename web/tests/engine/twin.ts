// The server's twin: the protocol of docs/protocols.md in memory, for tests of whole phones. It can be taken away and brought back.

import type { Schemas } from "../../src/api/client";
import { fromBase64, owned, randomId, toBase64, toHex } from "../../src/keys/bytes";
import { keyPackageReference } from "../../src/keys/conversation";
import { directConversationId, sessionStatement } from "../../src/keys/statement";
import { PRECEDENCES } from "../../src/phone/model";
import type { MailboxItem, Socket } from "../../src/phone/engine/session";
import { organisation, TestLog } from "./organisation";

/** A device and its account's name. */
interface Device {
  accountId: string;
  deviceId: string;
  displayName: string;
  precedenceCeiling: Schemas["Me"]["precedence_ceiling"];
  roles: string;
  unit: string;
  key: string;
  keyPackages: string[];
  lastResort: string | null;
  mailbox: MailboxItem[];
  nextSeq: number;
  socket: TwinSocket | null;
  /** Of its certificate; null before custodians let it in. */
  serial: string | null;
  revoked: boolean;
  /** At which it takes sealed texts. */
  sealedNumber: string | null;
  sealed: Schemas["SealedTextShown"][];
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
  /** Device id → the epoch at which it came in. */
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
  readonly serviceId = organisation.serviceId;
  /** What everybody is shown who is not shown another one. */
  readonly log = new TestLog(organisation);
  /** Device id → the log that it alone is shown. */
  readonly shown = new Map<string, TestLog>();
  readonly revocations = new Map<string, Uint8Array>();
  /** Requests of sealed texts that were carried. */
  private readonly carried = new Set<string>();
  /** Devices that said that they destroyed themselves. */
  readonly zeroised: string[] = [];
  /** Custodians let everybody in at once, or wait for `certify`. */
  approves = true;
  /** The archive that new conversations get. */
  archiving: string | null = null;
  /** Accounts that a dishonest server puts on the list of every new conversation. */
  slippedIn: string[] = [];
  /** Devices whose call rings. */
  readonly ringing = new Set<string>();
  /** The account that the next invitation is a further device of. */
  furtherFor: string | null = null;
  readonly calls = new Map<string, Set<string>>();
  /** How often it was asked which call there is. */
  callsAsked = 0;
  /** Says nothing of calls that change. */
  mute = false;
  /** Call id → whose call it is, at which level. */
  private readonly about = new Map<string, { conversation: string; precedence: Schemas["CallRequest"]["precedence"] }>();
  /** What phones asked of the floor: device, and level or null. */
  readonly floorWishes: { deviceId: string; precedence: string | null }[] = [];
  /** Everything that was ever stored or put on the wire, for a search for plaintext. */
  readonly seen: string[] = [];
  /** With which precedence sealed texts came, each request once. */
  readonly sealedLevels: string[] = [];
  /** Codes of the requests that were refused. */
  readonly refused: string[] = [];
  /** How often the alarm of a phone under duress arrived. */
  alarms = 0;
  private readonly armed = new Set<string>();
  up = true;
  readonly attachments = new Map<string, { conversationId: string; octets: number; chunks: Map<number, Uint8Array>; told: boolean }>();
  chunksPut = 0;
  chunksFetched = 0;
  /** The largest attachment that is taken. */
  mostOctets = 64 * 1024 * 1024;
  /** The code with which calls are refused. */
  refuseCalls: string | null = null;
  /** Loses the answers, not the requests, that match. */
  loseAnswersTo: RegExp | null = null;
  /** Holds requests that match until this many are there, to force a race. */
  barrier: { path: RegExp; missing: number; open: Promise<void>; release: () => void } | null = null;
  private readonly devices = new Map<string, Device>();
  private readonly conversations = new Map<string, TwinConversation>();
  private readonly tokens = new Map<string, Device>();
  private readonly messageIds = new Set<string>();
  private readonly lastMessages = new Map<string, string>();
  /** KeyPackageRef in hex → device. */
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

  letGo(): void {
    this.barrier?.release();
    this.barrier = null;
  }

  goDown(): void {
    this.up = false;
    this.tokens.clear();
    for (const account of this.devices.values()) account.socket?.close(1006);
  }

  replaceKey(accountId: string, key: string): void {
    for (const device of this.of(accountId)) device.key = key;
    for (const { socket } of this.devices.values()) socket?.push({ type: "directory" });
  }

  /** Closes a device's socket as a newer one would. */
  takeOver(accountId: string): void {
    for (const { socket } of this.of(accountId)) socket?.close(4409);
  }

  /** Custodians certify a person up to this precedence. */
  async allow(accountId: string, ceiling: Device["precedenceCeiling"]): Promise<void> {
    for (const device of this.of(accountId)) {
      device.precedenceCeiling = ceiling;
      await this.certify(device.deviceId);
    }
  }

  /** Two custodians certify a person as an archive, of everybody or of a unit. */
  async certifyArchive(accountId: string, unit = ""): Promise<void> {
    for (const device of this.of(accountId)) {
      Object.assign(device, { roles: "archive", unit });
      await this.certify(device.deviceId);
    }
  }

  /** Ends a call as the server does for want of room. */
  preempt(callId: string, by: string | null): void {
    const devices = this.calls.get(callId) ?? new Set();
    for (const { deviceId, socket } of this.devices.values()) if (devices.has(deviceId)) socket?.push({ type: "preempted", call_id: callId, by });
    this.endCall(callId);
  }

  endCall(callId: string): void {
    this.calls.delete(callId);
    this.tellCall(callId);
  }

  /** To whoever is in the call; to all members once it has ended. */
  tellCall(callId: string): void {
    const conversation = this.conversations.get(this.about.get(callId)?.conversation ?? "");
    const present = this.calls.get(callId);
    for (const { deviceId, accountId, socket } of this.devices.values()) {
      const told = present === undefined ? conversation?.members.includes(accountId) : present.has(deviceId);
      if (told === true && !this.mute) socket?.push({ type: "call", conversation_id: conversation?.id });
    }
  }

  pending(accountId: string): number {
    return this.of(accountId).reduce((sum, { mailbox }) => sum + mailbox.length, 0);
  }

  keyPackagesOf(accountId: string): number {
    return this.of(accountId).reduce((sum, { keyPackages }) => sum + keyPackages.length, 0);
  }

  epochs(): (number | null)[] {
    return [...this.conversations.values()].map((conversation) => conversation.epoch);
  }

  conversationIds(): string[] {
    return [...this.conversations.keys()];
  }

  private of(accountId: string): Device[] {
    return [...this.devices.values()].filter((device) => device.accountId === accountId);
  }

  /** Custodians let a device in. */
  async certify(deviceId: string): Promise<void> {
    const device = this.devices.get(deviceId) as Device;
    device.serial = randomId();
    const { accountId, displayName, key, serial, roles, unit, precedenceCeiling: ceiling } = device;
    this.log.entries.push(await organisation.certificate({ accountId, deviceId, displayName, key: fromBase64(key), ceiling, roles, unit }, serial));
    this.tellAll();
  }

  /** Custodians put a device out. */
  async revoke(deviceId: string, reason = "lost"): Promise<void> {
    const device = this.devices.get(deviceId) as Device;
    const revocation = await organisation.revocation(device.serial ?? "", deviceId, reason);
    this.revocations.set(deviceId, revocation);
    this.log.entries.push(revocation);
    device.revoked = true;
    for (const [token, owner] of this.tokens) if (owner === device) this.tokens.delete(token);
    device.socket?.close(4403);
    device.socket = null;
    this.tellAll();
  }

  devicesIn(conversationId: string): string[] {
    return [...(this.conversations.get(conversationId)?.joined.keys() ?? [])];
  }

  /** As two operators would: the octets come to the device whose number it is, each request once. */
  private carrySealed(from: Device, { destination, datagram, precedence, request_id }: Schemas["SealedTextRequest"]): Schemas["TextQueued"] {
    const level = precedence ?? "routine";
    if (PRECEDENCES.indexOf(level) > PRECEDENCES.indexOf(from.precedenceCeiling)) throw new Refusal(403, "precedence_refused");
    const to = [...this.devices.values()].find(({ sealedNumber }) => sealedNumber === destination);
    if (to === undefined) throw new Refusal(409, "no_route");
    if (!this.carried.has(request_id)) {
      this.carried.add(request_id);
      this.sealedLevels.push(level);
      to.sealed.push({ text_id: randomId(), source: from.sealedNumber ?? "", datagram, received_at: Date.now() / 1000 });
      to.socket?.push({ type: "sealed_text" });
    }
    return { text_id: randomId(), wait_s: 40 };
  }

  private tellAll(): void {
    for (const { socket } of this.devices.values()) socket?.push({ type: "directory" });
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
      case "GET /organisation":
        return { organisation_id: "", fingerprint: toBase64(organisation.fingerprint), organisation: toBase64(organisation.root), log_key: toBase64(organisation.logKey), log_id: "" };
      case "POST /enrolments":
        return this.enrol(body as Schemas["Enrolment"]);
      case "POST /sessions/challenge":
        return { challenge: toBase64(new TextEncoder().encode(randomId())), expires_at: 0 } satisfies Schemas["ChallengeAnswer"];
      case "GET /devices/*/revocation":
        if (!this.revocations.has(id)) throw new Refusal(404, "not_found");
        return { revocation: toBase64(this.revocations.get(id) as Uint8Array) };
      case "POST /devices/*/zeroised":
        this.zeroised.push(id);
        return undefined;
      case "POST /presence":
        if (this.armed.has(await sha256(fromBase64((body as Schemas["DuressAlarm"]).secret)))) this.alarms++;
        return undefined;
      case "POST /sessions":
        return this.login(body as Schemas["Login"]);
    }
    const me = this.tokens.get(token ?? "");
    if (me === undefined) throw new Refusal(401, "not_logged_in");
    const log = this.shown.get(me.deviceId) ?? this.log;
    const query = (name: string): number => Number(new URLSearchParams(path.split("?")[1]).get(name));
    switch (route) {
      case "GET /access-options":
        return {
          places: [{ place_id: "rome", name: "Rome", country: "Italy" }],
          carriers: [{ carrier_id: "leo", name: "Leo", kind: "leo", operator: "Twin" }],
          chosen: { place_id: "rome", carrier_id: "leo" },
        };
      case "GET /log/head":
        return log.head();
      case "GET /log/entries":
        return log.page(query("start"), query("count"));
      case "GET /log/consistency":
        if (query("second") > log.entries.length) throw new Refusal(422, "invalid_request");
        return log.consistency(query("first"), query("second"));
      case "GET /accounts":
        return me.serial === null ? [] : this.directory();
      case "PUT /me/duress":
        this.armed.add((body as Schemas["DuressAlarmKey"]).secret_sha256);
        return undefined;
      case "POST /me/sealed-texts/number":
        me.sealedNumber ??= `+3906${this.devices.size}${[...this.devices.values()].indexOf(me)}`;
        return { number: me.sealedNumber } satisfies Schemas["SealedNumber"];
      case "POST /me/sealed-texts":
        return this.carrySealed(me, body as Schemas["SealedTextRequest"]);
      case "GET /me/sealed-texts":
        return me.sealed;
      case "POST /me/sealed-texts/taken":
        me.sealed = me.sealed.filter(({ text_id }) => !(body as Schemas["SealedTextsTaken"]).text_ids.includes(text_id));
        return undefined;
      case "GET /me/key-packages":
        return { remaining: me.keyPackages.length };
      case "PUT /me/key-packages": {
        const { key_packages, last_resort } = body as Schemas["KeyPackages"];
        for (const one of [...key_packages, last_resort]) this.references.set(await this.reference(one), me.deviceId);
        if (me.lastResort === null) this.tellAll();
        [me.keyPackages, me.lastResort] = [[...key_packages], last_resort];
        return undefined;
      }
      case "POST /conversations/*/key-packages/claim": {
        const conversation = this.mine(me, id);
        const { accounts } = body as Schemas["ClaimRequest"];
        return accounts.flatMap((accountId): Schemas["ClaimedOfMember"][] => {
          if (!conversation.members.includes(accountId)) return [];
          const wanted = this.of(accountId).filter((device) => device !== me && device.serial !== null && !device.revoked && !conversation.joined.has(device.deviceId));
          return wanted.flatMap((device) => {
            const keyPackage = device.keyPackages.shift() ?? device.lastResort;
            return keyPackage === null ? [] : [{ account_id: accountId, device_id: device.deviceId, key_package: keyPackage }];
          });
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
        for (const [callId, about] of this.about) {
          if (about.conversation === id) for (const { deviceId } of this.of(gone)) this.leaveCall(deviceId, callId);
        }
        this.tell(conversation, [gone]);
        return undefined;
      }
      case `PUT /conversations/*/trees/${path.split("/").at(-1)}`:
        this.mine(me, id).trees.set(Number(path.split("/").at(-1)), body as Uint8Array);
        return undefined;
      case `GET /conversations/*/trees/${path.split("/").at(-1)}`:
        return this.mine(me, id).trees.get(Number(path.split("/").at(-1)));
      case "PUT /conversations/*/attachments/*": {
        this.mine(me, id);
        const attachmentId = path.split("/").at(-1) as string;
        const { octets } = body as Schemas["AttachmentRequest"];
        if (octets > this.mostOctets) throw new Refusal(413, "attachment_too_large");
        const known = this.attachments.get(attachmentId) ?? { conversationId: id, octets, chunks: new Map<number, Uint8Array>(), told: false };
        this.attachments.set(attachmentId, known);
        return { attachment_id: attachmentId, octets, chunks: 0, stored: [...known.chunks.keys()], expires_at: 0 } satisfies Schemas["Attachment"];
      }
      case "DELETE /conversations/*/attachments/*":
        this.attachments.delete(path.split("/").at(-1) as string);
        return undefined;
      case `PUT /conversations/*/attachments/*/chunks/${path.split("/").at(-1)}`:
        this.attachments.get(path.split("/").at(-3) as string)?.chunks.set(Number(path.split("/").at(-1)), owned(body as Uint8Array));
        this.chunksPut++;
        return undefined;
      case `GET /conversations/*/attachments/*/chunks/${path.split("/").at(-1)}`: {
        const attachment = this.attachments.get(path.split("/").at(-3) as string);
        const chunk = attachment?.chunks.get(Number(path.split("/").at(-1)));
        if (attachment?.told !== true || chunk === undefined) throw new Refusal(404, "not_found");
        this.chunksFetched++;
        return chunk;
      }
      case "POST /conversations/*/commits":
        return this.commit(me, id, body as Schemas["CommitRequest"]);
      case "POST /conversations/*/messages":
        return this.message(me, id, body as Schemas["MessageRequest"]);
      case "PUT /calls/*":
        if (this.refuseCalls !== null) throw new Refusal(409, this.refuseCalls);
        return this.joinCall(me, id, body as Schemas["CallRequest"]);
      case "POST /calls/*/connection":
        if (!this.calls.get(id)?.has(me.deviceId)) throw new Refusal(404, "not_found");
        return { answer: "answer", kind: "conference", slots: 3 } satisfies Schemas["ConnectionAnswer"];
      case "GET /conversations/*/call":
        this.callsAsked++;
        return this.callOf(this.mine(me, id));
      case "DELETE /calls/*":
        this.leaveCall(me.deviceId, id);
        return undefined;
      default:
        throw new Refusal(404, "not_found");
    }
  }

  private joinCall(me: Device, asked: string, { conversation_id, precedence, ringing }: Schemas["CallRequest"]): Schemas["CallGrant"] {
    const conversation = this.mine(me, conversation_id);
    // A conference or talk group has one call at a time.
    const id = this.calls.has(asked) || conversation.kind === "direct" ? asked : (this.callOf(conversation).call?.call_id ?? asked);
    if (ringing) this.ringing.add(me.deviceId);
    else this.ringing.delete(me.deviceId);
    for (const other of this.calls.keys()) if (other !== id) this.leaveCall(me.deviceId, other);
    const about = this.about.get(id) ?? { conversation: conversation_id, precedence };
    this.about.set(id, about);
    const isNew = this.calls.get(id)?.has(me.deviceId) !== true;
    this.calls.set(id, (this.calls.get(id) ?? new Set()).add(me.deviceId));
    if (isNew) this.tellCall(id);
    return { call_id: id, precedence: about.precedence, ice_servers: [], expires_at: 0, simulated: true };
  }

  private leaveCall(deviceId: string, id: string): void {
    if (this.calls.get(id)?.delete(deviceId) !== true) return;
    if (this.calls.get(id)?.size === 0 && this.about.has(id)) this.calls.delete(id);
    this.tellCall(id);
  }

  private callOf(conversation: TwinConversation): Schemas["ConversationCall"] {
    for (const [call_id, devices] of this.calls) {
      const about = this.about.get(call_id);
      if (about?.conversation !== conversation.id) continue;
      const participants = [...devices].map((device_id) => ({ device_id, account_id: this.devices.get(device_id)?.accountId ?? "" }));
      return { call: { call_id, precedence: about.precedence, participants } };
    }
    return { call: null };
  }

  /** The forwarder tells everybody in a call who has the floor; `told` is for one device alone. */
  tellFloor(callId: string, holder: string | null, told: { deviceId: string; event: Schemas["FloorState"]["event"]; position?: number } | null = null, queued = 0, precedence: Schemas["FloorState"]["precedence"] = "routine"): void {
    for (const { deviceId, socket } of this.devices.values()) {
      if (!this.calls.get(callId)?.has(deviceId)) continue;
      const own = told?.deviceId === deviceId ? told : null;
      const until = holder === null ? null : Date.now() / 1000 + 60;
      const frame = { type: "floor", call_id: callId, state: holder === null ? "idle" : "taken", holder_device_id: holder, precedence: holder === null ? null : precedence, until, queued, position: own?.position ?? null, event: own?.event ?? null };
      socket?.push(frame);
    }
  }

  /** The forwarder of a call is gone. */
  forwarderLost(callId: string): void {
    for (const { deviceId, socket } of this.devices.values()) if (this.calls.get(callId)?.has(deviceId)) socket?.push({ type: "reconnect", call_id: callId });
  }

  private directory(): Schemas["DirectoryAccount"][] {
    const listed = new Map<string, Schemas["DirectoryAccount"]>();
    for (const device of this.devices.values()) {
      const { accountId, displayName, precedenceCeiling, socket } = device;
      const known = listed.get(accountId) ?? { account_id: accountId, display_name: displayName, precedence_ceiling: precedenceCeiling, online: false, devices: [] };
      listed.set(accountId, known);
      known.online ||= socket !== null;
      if (device.serial === null || device.revoked || device.lastResort === null) continue;
      known.devices.push({ device_id: device.deviceId, signature_public_key: device.key, serial: device.serial, log_index: 0, certificate: null });
    }
    return [...listed.values()];
  }

  private async enrol(body: Schemas["Enrolment"]): Promise<Schemas["Enrolled"]> {
    const same = [...this.devices.values()].find((account) => account.key === body.signature_public_key);
    const made: Device = same ?? {
      accountId: this.furtherFor ?? randomId(),
      deviceId: randomId(),
      displayName: body.display_name,
      precedenceCeiling: "routine" as const,
      roles: "member",
      unit: "Navy",
      key: body.signature_public_key,
      keyPackages: [],
      lastResort: null,
      sealedNumber: null,
      sealed: [],
      mailbox: [],
      nextSeq: 1,
      socket: null,
      serial: null,
      revoked: false,
    };
    this.devices.set(made.deviceId, made);
    if (same === undefined && this.approves) await this.certify(made.deviceId);
    return { account_id: made.accountId, device_id: made.deviceId };
  }

  private async login(body: Schemas["Login"]): Promise<Schemas["Session"]> {
    const account = this.devices.get(body.device_id);
    if (account === undefined) throw new Refusal(401, "login_refused");
    const key = await crypto.subtle.importKey("raw", fromBase64(account.key), "Ed25519", false, ["verify"]);
    const statement = sessionStatement(this.serviceId, body.device_id, fromBase64(body.challenge));
    if (!(await crypto.subtle.verify("Ed25519", key, fromBase64(body.signature), statement))) throw new Refusal(401, "login_refused");
    if (account.revoked) throw new Refusal(403, "device_revoked");
    const token = randomId();
    this.tokens.set(token, account);
    return { token, expires_at: 0 };
  }

  /** Accounts whose devices are in the group. */
  joined(conversationId: string): string[] {
    return this.devicesIn(conversationId).map((deviceId) => (this.devices.get(deviceId) as Device).accountId);
  }

  /** How many items were ever put into somebody's mailboxes. */
  delivered(accountId: string): number {
    return this.of(accountId).reduce((sum, { nextSeq }) => sum + nextSeq - 1, 0);
  }

  lastMessage(conversationId: string): string {
    return this.lastMessages.get(conversationId) ?? "";
  }

  /** Gives somebody a message that is not for him. */
  smuggle(to: string, conversationId: string, from: string, message: string): void {
    const [sender] = this.of(from) as [Device];
    for (const { deviceId } of this.of(to)) this.mail(deviceId, conversationId, "application", sender, message);
  }

  /** Puts an account on a list as an archive, whoever it is. */
  archive(conversationId: string, accountId: string): void {
    const conversation = this.conversations.get(conversationId) as TwinConversation;
    conversation.members = [...conversation.members, accountId].sort();
    conversation.archives.push(accountId);
    this.tell(conversation, []);
  }

  /** An administrator makes a talk group. */
  talkGroup(owner: string, members: string[]): string {
    const id = randomId();
    const empty = { epoch: null, creator: null, commits: new Map(), joined: new Map(), trees: new Map() };
    const made: TwinConversation = { id, kind: "talk", members: [owner, ...members].sort(), owners: [owner], archives: [], ...empty };
    this.conversations.set(id, made);
    this.tell(made, []);
    return id;
  }

  private mine(me: Device, id: string): TwinConversation {
    const found = this.conversations.get(id);
    if (found === undefined || !found.members.includes(me.accountId)) throw new Refusal(404, "not_found");
    return found;
  }

  private tell(conversation: TwinConversation, also: readonly string[]): void {
    for (const accountId of [...conversation.members, ...also]) {
      for (const { socket } of this.of(accountId)) socket?.push({ type: "conversation", conversation_id: conversation.id });
    }
  }

  private async open(me: Device, body: Schemas["ConversationRequest"]): Promise<Schemas["Conversation"]> {
    const members = [me.accountId, ...body.members].sort();
    const id = body.kind === "direct" ? await directConversationId(me.accountId, body.members[0] ?? "") : (body.conversation_id ?? "");
    let found = this.conversations.get(id);
    if (found === undefined) {
      const owners = body.kind === "direct" ? [] : [me.accountId];
      const empty = { epoch: null, creator: null, commits: new Map(), joined: new Map(), trees: new Map() };
      const archives = this.archiving === null ? [] : [this.archiving];
      found = { id, kind: body.kind, members: [...members, ...archives, ...this.slippedIn].sort(), owners, archives, ...empty };
      this.conversations.set(id, found);
      if (body.kind !== "direct") this.tell(found, []);
    }
    return shape(found);
  }

  private async commit(me: Device, id: string, body: Schemas["CommitRequest"]): Promise<Schemas["CommitAccepted"]> {
    const conversation = this.mine(me, id);
    const current = conversation.epoch ?? 0;
    if (body.epoch !== current) {
      if (conversation.commits.get(body.epoch) !== body.commit) throw new Refusal(409, "epoch_taken");
      return { epoch: body.epoch + 1, accepted_at: Date.now() / 1000 };
    }
    if (conversation.epoch !== null && !conversation.joined.has(me.deviceId)) throw new Refusal(403, "not_joined");
    const welcomed = body.welcome === null ? [] : await this.welcomed(fromBase64(body.welcome as string), conversation);
    if ((conversation.epoch ?? 0) !== current) throw new Refusal(409, "epoch_taken"); // while the references were looked up
    if (conversation.epoch === null) {
      conversation.creator = me.deviceId;
      conversation.joined.set(me.deviceId, 1);
    }
    conversation.commits.set(current, body.commit as string);
    conversation.epoch = current + 1;
    for (const deviceId of conversation.joined.keys()) if (deviceId !== me.deviceId) this.mail(deviceId, id, "commit", me, body.commit as string);
    for (const deviceId of welcomed) {
      conversation.joined.set(deviceId, conversation.epoch);
      this.mail(deviceId, id, "welcome", me, body.welcome as string);
    }
    for (const deviceId of body.removed ?? []) conversation.joined.delete(deviceId);
    return { epoch: conversation.epoch, accepted_at: Date.now() / 1000 };
  }

  /** Whose key packages a welcome names. */
  private async welcomed(welcome: Uint8Array, conversation: TwinConversation): Promise<string[]> {
    const named: string[] = [];
    const text = toHex(welcome);
    for (const [reference, deviceId] of this.references) {
      if (text.includes(reference) && conversation.members.includes(this.devices.get(deviceId)?.accountId ?? "")) named.push(deviceId);
    }
    return named;
  }

  private message(me: Device, id: string, body: Schemas["MessageRequest"]): Schemas["MessageAccepted"] {
    const conversation = this.mine(me, id);
    const epoch = Number(BigInt(`0x${toHex(fromBase64(body.message).slice(21, 29))}`));
    if (!this.messageIds.has(body.message_id)) {
      if (!conversation.joined.has(me.deviceId)) throw new Refusal(403, "not_joined");
      if (Math.abs((conversation.epoch ?? 0) - epoch) > 2) throw new Refusal(409, "epoch_out_of_range");
      for (const told of body.attachments ?? []) {
        const attachment = this.attachments.get(told);
        if (attachment === undefined) throw new Refusal(409, "attachment_missing");
        attachment.told = true;
      }
      this.messageIds.add(body.message_id);
      this.lastMessages.set(id, body.message as string);
      for (const [deviceId, since] of conversation.joined) {
        const entitled = deviceId !== me.deviceId && since <= epoch && conversation.members.includes(this.devices.get(deviceId)?.accountId ?? "");
        if (entitled) this.mail(deviceId, id, "application", me, body.message as string);
      }
    }
    return { accepted_at: Date.now() / 1000 };
  }

  private mail(deviceId: string, conversationId: string, kind: MailboxItem["kind"], from: Device, payload: string): void {
    const account = this.devices.get(deviceId) as Device;
    if (account.revoked) return;
    const item = { type: "deliver", seq: account.nextSeq++, conversation_id: conversationId, kind, sender_device_id: from.deviceId, payload, accepted_at: Date.now() / 1000 } as const;
    account.mailbox.push(item);
    account.socket?.push(item);
  }

  private hear(socket: TwinSocket, text: string): void {
    const frame = JSON.parse(text) as { type: string; token?: string; after?: number; seq?: number; op?: string; precedence?: string };
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
    const account = [...this.devices.values()].find((one) => one.socket === socket);
    if (frame.type === "floor" && account !== undefined) this.floorWishes.push({ deviceId: account.deviceId, precedence: frame.op === "request" ? (frame.precedence ?? "routine") : null });
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
