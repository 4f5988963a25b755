// A telephone engine made of plain state: scenes to look at and to test the interface with. Never shipped.

import { signal } from "@preact/signals";
import type {
  AttachedFile,
  CallView,
  ConferenceView,
  Contact,
  Fault,
  FloorView,
  Group,
  GroupMember,
  OutgoingFile,
  PassphraseFault,
  PathView,
  PhoneEngine,
  PhoneState,
  Precedence,
  SealedOpened,
  SealedReach,
  SealedSent,
  TextState,
  ThreadEntry,
} from "../../src/phone/model";

const NOW = Date.now();
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const crisisRoom: Contact = { accountId: "a1", displayName: "Crisis room", online: true, conversationId: "a1", archives: [], unread: 0, keyChanged: false };
const embassy: Contact = { accountId: "a2", displayName: "Embassy Tunis, duty officer", online: true, conversationId: "a2", archives: [], unread: 2, keyChanged: false };
const ship: Contact = { accountId: "a3", displayName: "Patrol vessel P402", online: false, conversationId: "a3", archives: [], unread: 1, keyChanged: false };
const field: Contact = { accountId: "a4", displayName: "Field post Norcia", online: false, conversationId: "a4", archives: [], unread: 0, keyChanged: true };
const fresh: Contact = { accountId: "a5", displayName: "Civil protection Catania", online: true, conversationId: "a5", archives: [], unread: 0, keyChanged: false };

function text(id: string, outgoing: boolean, agoMs: number, body: string, state: TextState = "delivered"): ThreadEntry {
  return { kind: "text", id, outgoing, sender: outgoing ? "me" : "a1", body, at: NOW - agoMs, state, receipts: null };
}

const threads: Record<string, readonly ThreadEntry[]> = {
  a1: [
    text("t0", false, 26 * HOUR, "Handover at six. Two field posts on satellite, one on fibre."),
    { kind: "call", id: "c0", outgoing: true, at: NOW - 25 * HOUR, outcome: "answered", durationS: 754 },
    text("t1", false, 41 * MINUTE, "Shaking felt from Rieti to Ascoli. Terrestrial cells are down in the valley. Which of your posts still answer?"),
    text("t2", true, 40 * MINUTE, "Norcia and Amatrice by satellite. Visso is silent since 03:36."),
    text("t3", false, 38 * MINUTE, "Send the list of blocked roads as soon as you have it.\nThe convoy leaves from Spoleto."),
    text("t4", true, 12 * MINUTE, "SP 477 blocked at km 8, SS 685 open to one lane.", "delivered"),
    text("t5", true, 4 * MINUTE, "Helicopter can land at the sports ground, lights are on.", "sent"),
    text("t6", true, 2 * MINUTE, "Second list follows.", "queued"),
    text("t7", true, 1 * MINUTE, "Generator fuel for nine hours.", "failed"),
  ],
  a2: [
    text("u0", true, 3 * HOUR, "Line check at 21:00?"),
    text("u1", false, 2.6 * HOUR, "Confirmed. The minister will join from the residence."),
    { kind: "call", id: "c1", outgoing: false, at: NOW - 34 * MINUTE, outcome: "missed", durationS: 0 },
    text("u2", false, 30 * MINUTE, "Tried to reach you. Please call when you can."),
  ],
  a3: [
    text("v0", false, 20 * HOUR, "Position 36.4 N 13.9 E, sea state 4."),
    { kind: "call", id: "c2", outgoing: false, at: NOW - 90 * MINUTE, outcome: "missed", durationS: 0 },
  ],
  a4: [text("w0", false, 50 * HOUR, "Antenna is up.")],
  g1: [
    { kind: "roster", id: "r0", outgoing: true, actor: "me", added: ["a1", "a2", "a3"], removed: [], joined: false, at: NOW - 70 * MINUTE },
    { kind: "title", id: "r1", outgoing: true, actor: "me", title: "Convoy south", at: NOW - 70 * MINUTE },
    text("g1-0", false, 66 * MINUTE, "Crisis room reads here."),
    { kind: "text", id: "g1-1", outgoing: false, sender: "a2", body: "Border post is open until 22:00.", at: NOW - 64 * MINUTE, state: "delivered", receipts: null },
    { kind: "text", id: "g1-2", outgoing: true, sender: "me", body: "Two lorries at the gate, papers are in order.", at: NOW - 63 * MINUTE, state: "sent", receipts: { of: 3, delivered: 2, read: 1 } },
    { kind: "roster", id: "r2", outgoing: false, actor: "a1", added: [], removed: ["a3"], joined: false, at: NOW - 62 * MINUTE },
    { kind: "text", id: "g1-3", outgoing: true, sender: "me", body: "Leaving now.", at: NOW - 61 * MINUTE, state: "read", receipts: { of: 2, delivered: 2, read: 2 } },
  ],
  g2: [{ kind: "roster", id: "s0", outgoing: false, actor: "a1", added: [], removed: ["me"], joined: false, at: NOW - 30 * HOUR }],
};

function sent(id: string, outgoing: boolean, agoMs: number, file: AttachedFile, state: TextState = "delivered"): ThreadEntry {
  return { kind: "text", id, outgoing, sender: outgoing ? "me" : "a1", body: file.name, at: NOW - agoMs, state, receipts: null, file };
}

const files: readonly ThreadEntry[] = [
  sent("f0", false, 30 * MINUTE, { name: "bridge on SS 685.jpg", mediaType: "image/jpeg", size: 184_320, voiceS: null }),
  sent("f1", false, 20 * MINUTE, { name: "blocked roads, second list, all municipalities of the upper valley.pdf", mediaType: "application/pdf", size: 2_400_000, voiceS: null }),
  sent("f2", true, 9 * MINUTE, { name: "fuel.csv", mediaType: "text/csv", size: 3_200, voiceS: null }),
  sent("f3", true, 5 * MINUTE, { name: "camp.png", mediaType: "image/png", size: 900_000, voiceS: null }, "queued"),
  sent("f4", true, 4 * MINUTE, { name: "film of the valley.mp4", mediaType: "video/mp4", size: 60_000_000, voiceS: null }, "failed"),
  sent("f5", false, 3 * MINUTE, { name: "voice.webm", mediaType: "audio/webm", size: 21_000, voiceS: 37 }),
  sent("f6", false, 2 * MINUTE, { name: "plan.odt", mediaType: "application/vnd.oasis.opendocument.text", size: 80_000, voiceS: null }),
];
const transfers: PhoneState["transfers"] = {
  f1: { direction: "down", done: 655_360, total: 2_490_368, fault: null, waiting: false },
  f3: { direction: "up", done: 262_176, total: 917_616, fault: null, waiting: true },
  f4: { direction: "up", done: 0, total: 60_817_408, fault: "too_large", waiting: false },
  f6: { direction: "down", done: 0, total: 81_936, fault: "refused", waiting: false },
};

const me: GroupMember = { accountId: "me", displayName: "Duty officer, field post", online: true, me: true, role: "owner", joined: true };
const memberOf = ({ accountId, displayName, online }: Contact, more: Partial<GroupMember> = {}): GroupMember => ({
  ...{ accountId, displayName, online, me: false, role: "member", joined: true },
  ...more,
});
const archive: GroupMember = { accountId: "a9", displayName: "Archive of the ministry", online: true, me: false, role: "archive", joined: true };
const convoy: Group = {
  conversationId: "g1",
  kind: "group",
  title: "Convoy south",
  members: [me, memberOf(crisisRoom), memberOf(embassy, { joined: false }), archive],
  unread: 0,
  standing: "open",
  mayChange: true,
};
const formerGroup: Group = { ...convoy, conversationId: "g2", title: "Exercise in May", members: [memberOf(crisisRoom)], standing: "removed", mayChange: false };

function forecast(): [number, number | null][] {
  return Array.from({ length: 61 }, (_, i) => {
    const s = i * 2;
    const slot = Math.floor((s + 6) / 15);
    const base = [27.5, 31.2, 25.8, 29.6, 34.1, 28.2, 26.4, 30.3, 27.7][slot] ?? 28;
    return [s, base + 0.06 * ((s + 6) % 15)] as [number, number];
  });
}

const satellitePath: PathView = {
  place: "rome",
  carrier: "starlink",
  source: "simulated, Starlink Gen1 as filed",
  simulated: true,
  satellite: "S2-17-05",
  elevationDeg: 61.4,
  gateway: "Foggia",
  pointOfPresence: "Milan",
  oneWayDelayMs: 27.9,
  loss: 0.004,
  inOutage: false,
  handoversS: [9, 24, 39],
  forecast: forecast(),
};

const idle: PhoneState = {
  enrolment: "done",
  organisation: { name: "Ministry of Examples", deviceCode: "K7QF 2MXA 3WTR C4DN", logHead: "14:9f2a4c1be07d3356" },
  ownDevices: [
    { deviceId: "0f3a77c2".repeat(4), me: true, since: NOW - 90 * 24 * HOUR, until: NOW + 275 * 24 * HOUR, revoked: false },
    { deviceId: "b81e04d9".repeat(4), me: false, since: NOW - 3 * HOUR, until: NOW + 365 * 24 * HOUR, revoked: false },
    { deviceId: "5c660a1f".repeat(4), me: false, since: NOW - 200 * 24 * HOUR, until: NOW + 165 * 24 * HOUR, revoked: true },
  ],
  lock: { sealed: true, working: false, wrong: false, retryAt: 0, idleMinutes: 15 },
  me: { accountId: "me", deviceId: "d0", displayName: "Duty officer, field post", precedenceCeiling: "flash" },
  server: "online",
  fault: null,
  contacts: [crisisRoom, embassy, ship, field, fresh],
  groups: [convoy, formerGroup],
  threads,
  transfers: {},
  unseenCalls: ["c1", "c2"],
  quiet: false,
  call: null,
  conference: null,
  ringingConference: null,
  access: {
    placeId: "rome",
    carrierId: "starlink",
    places: [
      { id: "rome", name: "Rome", detail: "41.90° N, 12.50° E" },
      { id: "lampedusa", name: "Lampedusa", detail: "35.50° N, 12.61° E" },
      { id: "amatrice", name: "Amatrice", detail: "42.63° N, 13.29° E" },
      { id: "ionian", name: "Ionian Sea", detail: "37.50° N, 18.00° E" },
    ],
    carriers: [
      { id: "starlink", name: "Starlink, residential", detail: "Low orbit, simulated from the constellation as filed" },
      { id: "fibre", name: "Fibre", detail: "Terrestrial, national operator" },
    ],
  },
  path: satellitePath,
};

const call: CallView = {
  callId: "11",
  peer: crisisRoom,
  outgoing: true,
  precedence: "routine",
  phase: "active",
  outcome: null,
  preemptedBy: null,
  waiting: false,
  next: null,
  activeSince: NOW - 83_000,
  shortCode: "482913",
  muted: false,
  health: "good",
  measuredRttMs: 118,
  measuredLoss: 0.006,
  quality: { grade: "good", concealed: 0.002, loss: 0.006, delayMs: 182 },
  sendingBps: 24_000,
  copiesPerFrame: 1.1,
  framesDecrypted: 4152,
  framesRefused: 0,
  fault: null,
};

const notActive: Partial<CallView> = { activeSince: null, shortCode: null, measuredRttMs: null, measuredLoss: null, quality: null, sendingBps: null, copiesPerFrame: null, framesDecrypted: 0, health: "starting" };
const fault = (code: Fault["code"], detail = ""): Fault => ({ code, detail });

const locked: PhoneState = { ...idle, enrolment: "locked", me: null, server: "offline", contacts: [], groups: [], threads: {}, access: null, path: null };

const conference: ConferenceView = {
  conversationId: "g1",
  kind: "group",
  title: "Convoy",
  phase: "active",
  precedence: "routine",
  preempted: null,
  activeSince: NOW - 83_000,
  people: [
    { accountId: "me", displayName: "Duty officer, field post", me: true, speaking: false },
    { accountId: "a1", displayName: "Crisis room", me: false, speaking: true },
    { accountId: "a2", displayName: "Embassy Tunis, duty officer", me: false, speaking: false },
  ],
  muted: false,
  code: "48291300752266104938",
  health: "good",
  floor: null,
  holderName: null,
  pressed: false,
  fault: null,
};
const floor: FloorView = { holder: "a1", mine: false, precedence: "immediate", until: NOW + 42_000, queued: 2, position: null, event: null };
const talk: ConferenceView = { ...conference, kind: "talk", title: "Harbour", floor, holderName: "Crisis room" };

/** A person with whom everything that is said is archived. */
const archived: Contact = { ...call.peer, archives: ["Archive of the ministry"] };

/** State and, for scenes that need it, the open thread or dialog. */
export const SCENES: Record<string, { state: PhoneState; open?: string; accessOpen?: true; protectionOpen?: true; folded?: true; dialog?: "newGroup" | "members" | "missed" }> = {
  opening: { state: { ...idle, enrolment: "unknown", me: null, server: "connecting" } },
  enrol: { state: { ...idle, enrolment: "needed", me: null } },
  enrolWorking: { state: { ...idle, enrolment: "working", me: null } },
  enrolRefused: { state: { ...idle, enrolment: "needed", me: null, fault: fault("invitation_refused", "409 invitation_used") } },
  list: { state: idle },
  empty: { state: { ...idle, contacts: [], groups: [], threads: {} } },
  thread: { state: idle, open: "a1" },
  threadMissed: { state: idle, open: "a2" },
  threadEmpty: { state: idle, open: "a5" },
  group: { state: idle, open: "g1" },
  groupLeft: { state: idle, open: "g2" },
  groupMembers: { state: idle, open: "g1", dialog: "members" },
  newGroup: { state: idle, dialog: "newGroup" },
  keyChanged: { state: idle, open: "a4" },
  offline: { state: { ...idle, server: "offline" }, open: "a1" },
  faults: { state: { ...idle, fault: fault("session_taken_over", "websocket closed: 4409") } },
  incoming: { state: { ...idle, call: { ...call, ...notActive, outgoing: false, phase: "incoming", peer: archived } } },
  ringing: { state: { ...idle, call: { ...call, ...notActive, phase: "ringing" } } },
  connecting: { state: { ...idle, call: { ...call, ...notActive, phase: "connecting" } } },
  active: { state: { ...idle, call } },
  muted: { state: { ...idle, call: { ...call, muted: true, peer: archived } } },
  interrupted: { state: { ...idle, call: { ...call, health: "interrupted", measuredLoss: 0.84 } } },
  undecryptable: { state: { ...idle, call: { ...call, health: "undecryptable", framesDecrypted: 0, framesRefused: 912 } } },
  outage: {
    state: {
      ...idle,
      call: { ...call, health: "interrupted" },
      path: {
        ...satellitePath,
        inOutage: true,
        oneWayDelayMs: null,
        satellite: null,
        elevationDeg: null,
        gateway: null,
        forecast: forecast().map(([s, ms]) => [s, s < 24 ? null : ms]),
      },
    },
  },
  fibre: {
    state: {
      ...idle,
      call,
      path: {
        ...satellitePath,
        carrier: "fibre",
        satellite: null,
        elevationDeg: null,
        gateway: null,
        handoversS: [],
        oneWayDelayMs: 6.1,
        forecast: forecast().map(([s]) => [s, 6.1]),
      },
    },
  },
  ended: { state: { ...idle, call: { ...call, phase: "ended", outcome: "answered" } } },
  failed: { state: { ...idle, call: { ...call, ...notActive, phase: "ended", outcome: "failed", fault: fault("short_code_mismatch") } } },
  flashIncoming: { state: { ...idle, call: { ...call, ...notActive, outgoing: false, precedence: "flash", phase: "incoming" } } },
  waiting: { state: { ...idle, call: { ...call, ...notActive, precedence: "immediate", phase: "requesting", waiting: true } } },
  givingWay: { state: { ...idle, call: { ...call, next: { peer: embassy, precedence: "flash", endsAt: NOW + 3_600_000 } } } },
  preempted: { state: { ...idle, call: { ...call, phase: "ended", outcome: "preempted", preemptedBy: "flash" } } },
  folded: { state: { ...idle, call }, open: "a1", folded: true },
  conference: { state: { ...idle, conference } },
  conferenceOver: { state: { ...idle, conference: { ...conference, phase: "ended", fault: fault("not_a_member", "removed from the group") } } },
  conferencePreempted: { state: { ...idle, conference: { ...conference, phase: "ended", preempted: { by: "flash" } } } },
  conferenceFolded: { state: { ...idle, conference }, open: "a1", folded: true },
  conferenceRings: { state: { ...idle, ringingConference: { conversationId: "g1", title: "Convoy", from: "Crisis room", precedence: "immediate" } } },
  talkTaken: { state: { ...idle, conference: talk } },
  talkMine: { state: { ...idle, conference: { ...talk, pressed: true, holderName: idle.me?.displayName ?? "", floor: { ...floor, holder: "me", mine: true, event: "granted" } } } },
  talkFree: { state: { ...idle, conference: { ...talk, holderName: null, floor: { ...floor, holder: null, precedence: null, until: null, queued: 0 } } } },
  talkLost: { state: { ...idle, conference: { ...talk, floor: { ...floor, precedence: "flash", event: "revoked_precedence" } } } },
  talkQueued: { state: { ...idle, conference: { ...talk, pressed: true, floor: { ...floor, position: 2, event: "queued" } } } },
  access: { state: idle, accessOpen: true },
  protection: { state: idle, protectionOpen: true },
  unprotected: { state: { ...idle, lock: { ...idle.lock, sealed: false } }, protectionOpen: true },
  missed: { dialog: "missed", state: { ...idle, quiet: true } },
  files: { open: "a1", state: { ...idle, threads: { ...threads, a1: files }, transfers } },
  locked: { state: { ...locked } },
  lockedWrong: { state: { ...locked, lock: { ...locked.lock, wrong: true, retryAt: NOW + 40_000 } } },
  approval: { state: { ...idle, enrolment: "waiting", contacts: [], threads: {} } },
  revoked: { state: { ...locked, enrolment: "revoked" } },
  equivocation: { state: { ...idle, fault: fault("log_equivocates", "the server signed two different logs of 14 entries") } },
  zeroised: { state: { ...locked, enrolment: "zeroised" } },
};

/** A grey square of 4 by 4 pixels, PNG. */
const PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAAAAACMmsGiAAAAC0lEQVR4nGNoAAEAAYgAgccqJ1UAAAAASUVORK5CYII=";

/** Behaves as the real engine does as far as the interface can tell; what was asked is kept in `asked`. */
export class FakeEngine implements PhoneEngine {
  readonly asked: string[] = [];
  #ownNumber: string | null = null;
  readonly state;

  constructor(initial: PhoneState) {
    this.state = signal(initial);
  }

  #patch(change: Partial<PhoneState>): void {
    this.state.value = { ...this.state.value, ...change };
  }

  #patchCall(change: Partial<CallView>): void {
    const current = this.state.value.call;
    if (current) this.#patch({ call: { ...current, ...change } });
  }

  #setText(accountId: string, id: string, state: TextState): void {
    const entries = this.state.value.threads[accountId] ?? [];
    this.#patch({
      threads: {
        ...this.state.value.threads,
        [accountId]: entries.map((entry) => (entry.kind === "text" && entry.id === id ? { ...entry, state } : entry)),
      },
    });
  }

  async start(): Promise<void> {
    this.asked.push("start");
  }

  async enrol(invitation: string, displayName: string): Promise<void> {
    this.asked.push(`enrol ${invitation} ${displayName}`);
    this.#patch({ enrolment: "working" });
    setTimeout(() => this.#patch({ enrolment: "done", me: { accountId: "me", deviceId: "d0", displayName, precedenceCeiling: "routine" } }), 300);
  }

  async sendText(accountId: string, body: string): Promise<void> {
    this.asked.push(`sendText ${accountId} ${body}`);
    const id = `new-${this.asked.length}`;
    const entry: ThreadEntry = { kind: "text", id, outgoing: true, sender: "me", receipts: null, body, at: Date.now(), state: "queued" };
    this.#patch({ threads: { ...this.state.value.threads, [accountId]: [...(this.state.value.threads[accountId] ?? []), entry] } });
    setTimeout(() => this.#setText(accountId, id, "sent"), 100);
    setTimeout(() => this.#setText(accountId, id, "delivered"), 200);
  }

  async sendFile(accountId: string, file: OutgoingFile): Promise<void> {
    this.asked.push(`sendFile ${accountId} ${file.name} ${file.mediaType} ${file.content.length} ${file.voiceS === null ? "file" : "voice"}`);
    if (file.content.length > 1_000_000) throw new RangeError("too large");
    const id = `new-${this.asked.length}`;
    const { name, mediaType, content, voiceS } = file;
    const entry: ThreadEntry = { kind: "text", id, outgoing: true, sender: "me", receipts: null, body: name, at: Date.now(), state: "queued", file: { name, mediaType, size: content.length, voiceS } };
    this.#patch({ threads: { ...this.state.value.threads, [accountId]: [...(this.state.value.threads[accountId] ?? []), entry] } });
    setTimeout(() => this.#setText(accountId, id, "delivered"), 200);
  }

  /** Every file is the same small picture. */
  async fetchFile(accountId: string, id: string): Promise<Uint8Array<ArrayBuffer>> {
    this.asked.push(`fetchFile ${accountId} ${id}`);
    return Uint8Array.from(atob(PICTURE), (character) => character.charCodeAt(0));
  }

  async cancelTransfer(accountId: string, id: string): Promise<void> {
    this.asked.push(`cancelTransfer ${accountId} ${id}`);
    const transfers = { ...this.state.value.transfers };
    delete transfers[id];
    this.#patch({ transfers });
  }

  async retryText(accountId: string, id: string): Promise<void> {
    this.asked.push(`retryText ${accountId} ${id}`);
    this.#setText(accountId, id, "sent");
  }

  markRead(accountId: string): void {
    this.asked.push(`markRead ${accountId}`);
    this.#patch({ contacts: this.state.value.contacts.map((each) => (each.conversationId === accountId ? { ...each, unread: 0 } : each)) });
  }

  callsSeen(entryIds: readonly string[]): void {
    this.asked.push(`callsSeen ${entryIds.join()}`);
    this.#patch({ unseenCalls: this.state.value.unseenCalls.filter((id) => !entryIds.includes(id)) });
  }

  async setQuiet(quiet: boolean): Promise<void> {
    this.asked.push(`setQuiet ${quiet}`);
    this.#patch({ quiet });
  }

  sealedReach(conversationId: string): SealedReach {
    return { ready: conversationId !== "a5", number: conversationId === "a3" ? "+881612345678" : null, ownNumber: this.#ownNumber };
  }

  async sealText(conversationId: string, body: string, precedence: Precedence | "by hand"): Promise<SealedSent> {
    this.asked.push(`sealText ${conversationId} ${body} ${precedence}`);
    return precedence === "by hand" ? { state: "sealed", hex: "1f0b".repeat(30) } : { state: "sent", waitS: 40.2 };
  }

  async openSealed(hex: string): Promise<SealedOpened> {
    this.asked.push(`openSealed ${hex}`);
    return hex.startsWith("1f0b") ? { state: "opened", conversationId: "a3", accountId: "a3", body: "Sea state 4." } : { state: "not_yet" };
  }

  async takeSealedTexts(conversationId: string): Promise<string | null> {
    this.asked.push(`takeSealedTexts ${conversationId}`);
    this.#ownNumber = "+390612345";
    return this.#ownNumber;
  }

  async createGroup(kind: "group" | "talk", title: string, accountIds: readonly string[]): Promise<string | null> {
    this.asked.push(`createGroup ${kind} ${title} ${accountIds.join()}`);
    const members = [me, ...this.state.value.contacts.filter((each) => accountIds.includes(each.accountId)).map((each) => memberOf(each))];
    this.#patch({ groups: [...this.state.value.groups, { ...convoy, conversationId: "g9", kind, title, members }] });
    return "g9";
  }

  #changeGroup(conversationId: string, change: (group: Group) => Partial<Group>): void {
    this.#patch({ groups: this.state.value.groups.map((group) => (group.conversationId === conversationId ? { ...group, ...change(group) } : group)) });
  }

  async renameGroup(conversationId: string, title: string): Promise<void> {
    this.asked.push(`renameGroup ${conversationId} ${title}`);
    this.#changeGroup(conversationId, () => ({ title }));
  }

  async addMembers(conversationId: string, accountIds: readonly string[]): Promise<void> {
    this.asked.push(`addMembers ${conversationId} ${accountIds.join()}`);
    const added = this.state.value.contacts.filter((each) => accountIds.includes(each.accountId)).map((each) => memberOf(each));
    this.#changeGroup(conversationId, ({ members }) => ({ members: [...members, ...added] }));
  }

  async removeMember(conversationId: string, accountId: string): Promise<void> {
    this.asked.push(`removeMember ${conversationId} ${accountId}`);
    this.#changeGroup(conversationId, ({ members }) => ({ members: members.filter((member) => member.accountId !== accountId) }));
  }

  async leaveGroup(conversationId: string): Promise<void> {
    this.asked.push(`leaveGroup ${conversationId}`);
    this.#changeGroup(conversationId, () => ({ standing: "left", mayChange: false }));
  }

  async call(accountId: string, precedence: Precedence): Promise<void> {
    this.asked.push(`call ${accountId} ${precedence}`);
    const peer = this.state.value.contacts.find((each) => each.accountId === accountId);
    if (peer) this.#patch({ call: { ...call, ...notActive, peer, precedence, phase: "ringing" } });
  }

  async answer(): Promise<void> {
    this.asked.push("answer");
    this.#patchCall({ phase: "connecting" });
    setTimeout(() => this.#patchCall({ ...call, outgoing: false, activeSince: Date.now() }), 200);
  }

  async decline(): Promise<void> {
    this.asked.push("decline");
    this.#patch({ call: null });
  }

  async hangUp(): Promise<void> {
    this.asked.push("hangUp");
    if (this.state.value.call?.phase === "ended") this.#patch({ call: null });
    else this.#patchCall({ phase: "ended", outcome: "answered" });
  }

  setMuted(muted: boolean): void {
    this.asked.push(`setMuted ${muted}`);
    this.#patchCall({ muted });
  }

  async joinConference(conversationId: string, precedence: Precedence): Promise<void> {
    this.asked.push(`joinConference ${conversationId} ${precedence}`);
    this.#patch({ conference: { ...conference, conversationId, precedence }, ringingConference: null });
  }

  declineConference(): void {
    this.asked.push("declineConference");
    this.#patch({ ringingConference: null });
  }

  leaveConference(): void {
    this.asked.push("leaveConference");
    this.#patch({ conference: null });
  }

  muteConference(muted: boolean): void {
    this.asked.push(`muteConference ${muted}`);
    if (this.state.value.conference) this.#patch({ conference: { ...this.state.value.conference, muted } });
  }

  async pressToTalk(precedence: Precedence): Promise<void> {
    this.asked.push(`pressToTalk ${precedence}`);
    if (this.state.value.conference) this.#patch({ conference: { ...this.state.value.conference, pressed: true } });
  }

  releaseToTalk(): void {
    const current = this.state.value.conference;
    if (current === null || !current.pressed) return;
    this.asked.push("releaseToTalk");
    this.#patch({ conference: { ...current, pressed: false } });
  }

  async chooseAccess(placeId: string, carrierId: string): Promise<void> {
    this.asked.push(`chooseAccess ${placeId} ${carrierId}`);
    const { access } = this.state.value;
    if (access) this.#patch({ access: { ...access, placeId, carrierId } });
  }

  async unlock(passphrase: string): Promise<void> {
    this.asked.push(`unlock ${passphrase}`);
    this.#patch({ enrolment: "done", me: idle.me });
  }

  async lock(): Promise<void> {
    this.asked.push("lock");
    this.#patch(locked);
  }

  touched(): void {
    // nothing is shown of it
  }

  async setIdleMinutes(minutes: number): Promise<void> {
    this.asked.push(`setIdleMinutes ${minutes}`);
    this.#patch({ lock: { ...this.state.value.lock, idleMinutes: minutes } });
  }

  async setPassphrase(passphrase: string): Promise<PassphraseFault> {
    this.asked.push(`setPassphrase ${passphrase}`);
    if (passphrase.length < 12) return "short";
    this.#patch({ lock: { ...this.state.value.lock, sealed: true } });
    return null;
  }

  async setDuressPassphrase(passphrase: string): Promise<PassphraseFault> {
    this.asked.push(`setDuressPassphrase ${passphrase}`);
    return passphrase.length < 12 ? "short" : null;
  }

  async zeroise(): Promise<void> {
    this.asked.push("zeroise");
    this.#patch({ ...locked, enrolment: "zeroised" });
  }

  dismissFault(): void {
    this.asked.push("dismissFault");
    this.#patch({ fault: null });
  }
}
