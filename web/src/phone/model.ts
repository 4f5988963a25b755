// What the phone's engine shows and what a person can ask of it. The user interface knows only this module; the engine fills it.

import type { ReadonlySignal } from "@preact/signals";

/** RFC 4412 §10.1 (`dsn`), the lowest first. */
export const PRECEDENCES = ["routine", "priority", "immediate", "flash", "flash-override"] as const;
export type Precedence = (typeof PRECEDENCES)[number];

/** Whether a call of level `a` pre-empts one of level `b`. */
export function isAbove(a: Precedence, b: Precedence): boolean {
  return PRECEDENCES.indexOf(a) > PRECEDENCES.indexOf(b);
}

/** A fault a person must see. `code` selects the sentence in the catalogue; `detail` is for the curious. */
export interface Fault {
  code:
    | "server_unreachable"
    | "invitation_refused"
    | "microphone_refused"
    | "peer_key_changed"
    | "peer_not_ready"
    | "short_code_mismatch"
    | "media_undecryptable"
    | "media_blocked"
    | "call_lost"
    | "no_capacity"
    | "precedence_refused"
    | "conversation_broken"
    | "not_a_member"
    | "storage_refused"
    | "session_taken_over"
    | "organisation_refused"
    | "log_equivocates"
    | "log_refused"
    | "new_own_device"
    | "peer_revoked"
    | "unexpected";
  detail: string;
}

export interface Contact {
  accountId: string;
  displayName: string;
  online: boolean;
  /** Of the direct conversation with this person. */
  conversationId: string;
  unread: number;
  /** Who keeps the direct conversation for the archive, if an administrator set somebody: names. */
  archives: readonly string[];
  /** The peer's device key is not the one pinned at first contact: calls and texts are refused. */
  keyChanged: boolean;
}

export interface GroupMember {
  accountId: string;
  displayName: string;
  online: boolean;
  me: boolean;
  role: "member" | "owner" | "archive";
  /** A device of this person is in the group: he can read. */
  joined: boolean;
}

export interface Group {
  conversationId: string;
  kind: "group" | "talk";
  /** Empty until somebody has said it. */
  title: string;
  members: readonly GroupMember[];
  unread: number;
  /** `left` by oneself, `removed` by somebody else: then the thread can be read and nothing more. */
  standing: "open" | "left" | "removed";
  /** Whether this person may add and remove members. */
  mayChange: boolean;
}

export type TextState = "queued" | "sent" | "delivered" | "read" | "failed";
export type CallOutcome = "answered" | "missed" | "declined" | "busy" | "cancelled" | "unanswered" | "failed" | "preempted" | "unavailable";

/** In a group: how many of the others have a text, and how many have seen it. */
export interface Receipts {
  of: number;
  delivered: number;
  read: number;
}

/** A file that was sent as a message. Names and types are its sender's: `safeName` and `safeType` (files.ts) come before any use. */
export interface AttachedFile {
  name: string;
  mediaType: string;
  /** Octets. */
  size: number;
  /** Seconds of a voice message, null for a file. */
  voiceS: number | null;
}

export interface OutgoingFile {
  name: string;
  mediaType: string;
  content: Uint8Array;
  voiceS: number | null;
}

/** `gone`: no longer at the server. `refused`: what came is not what was sent. */
export type TransferFault = "too_large" | "quota" | "gone" | "refused" | "not_ready" | "failed";

/** A file on its way. Octets; `waiting`: for the network, or for its turn. */
export interface Transfer {
  direction: "up" | "down";
  done: number;
  total: number;
  fault: TransferFault | null;
  waiting: boolean;
}

/** `at` is in milliseconds since 1970; `sender`, `actor` and the like are account ids. */
export type ThreadEntry =
  | { kind: "text"; id: string; outgoing: boolean; sender: string; body: string; at: number; state: TextState; receipts: Receipts | null; file?: AttachedFile; sealed?: true }
  | { kind: "title"; id: string; outgoing: boolean; actor: string; title: string; at: number }
  /** Verified: what a member's commit did. `joined`: this device came in. */
  | { kind: "roster"; id: string; outgoing: boolean; actor: string; added: readonly string[]; removed: readonly string[]; joined: boolean; at: number }
  /** By the organisation's log: somebody has a further device (his name is `actor`), or one less. */
  | { kind: "device"; id: string; outgoing: boolean; actor: string; revoked: boolean; at: number }
  | { kind: "call"; id: string; outgoing: boolean; at: number; outcome: CallOutcome; durationS: number; precedence?: Precedence };

export type CallPhase = "requesting" | "ringing" | "incoming" | "connecting" | "active" | "ended";

/** What the receiver really hears: measured, never assumed. */
export type MediaHealth = "starting" | "good" | "interrupted" | "undecryptable";

/** How the call sounds here, from measurements of the last seconds. `grade` none: nothing of what is said comes through. */
export interface CallQuality {
  grade: "good" | "fair" | "poor" | "none";
  /** Share of the sound that had to be made up for want of packets, null until known. */
  concealed: number | null;
  /** Share of packets lost. */
  loss: number | null;
  /** From mouth to ear: half the round trip, and what waits in encoder and jitter buffer. */
  delayMs: number | null;
}

export interface CallView {
  callId: string;
  peer: Contact;
  outgoing: boolean;
  precedence: Precedence;
  phase: CallPhase;
  outcome: CallOutcome | null;
  /** With the outcome `preempted`: the level of the call that it had to end for; null if its path became too small. */
  preemptedBy: Precedence | null;
  /** The server has no room for the call yet; it waits its turn. */
  waiting: boolean;
  /** A call of a higher level that this one ends for at `endsAt`, in milliseconds since 1970. */
  next: { peer: Contact; precedence: Precedence; endsAt: number } | null;
  /** Milliseconds since 1970 at which audio began; null before. */
  activeSince: number | null;
  /** Six digits, the same at both ends; null until both nonces are known. */
  shortCode: string | null;
  muted: boolean;
  health: MediaHealth;
  /** Measured by WebRTC statistics: round trip to the far end, share of packets lost in the last seconds; null until known. */
  measuredRttMs: number | null;
  measuredLoss: number | null;
  /** Null until sound was measured. */
  quality: CallQuality | null;
  /** What this phone sends: bit rate of the speech, and copies a frame in the last second; null until known. */
  sendingBps: number | null;
  copiesPerFrame: number | null;
  framesDecrypted: number;
  framesRefused: number;
  fault: Fault | null;
}

/** `waiting`: the server has no room for it yet. */
export type ConferencePhase = "connecting" | "waiting" | "active" | "reconnecting" | "ended";

/** The floor of a talk group, in the words of 3GPP TS 24.380. */
export interface FloorView {
  /** Account id of who may speak now; null while nobody does, or somebody who is not in the group. */
  holder: string | null;
  mine: boolean;
  precedence: Precedence | null;
  /** Milliseconds since 1970 at which the talk burst ends at the latest. */
  until: number | null;
  queued: number;
  /** The own place in the queue, from 1. */
  position: number | null;
  event: "granted" | "queued" | "denied" | "revoked_precedence" | "revoked_time" | null;
}

export interface ConferencePerson {
  accountId: string;
  displayName: string;
  me: boolean;
  speaking: boolean;
}

export interface ConferenceView {
  conversationId: string;
  kind: "group" | "talk";
  title: string;
  phase: ConferencePhase;
  precedence: Precedence;
  /** It had to end for a call of this level; null within if the path became too small. */
  preempted: { by: Precedence | null } | null;
  /** Milliseconds since 1970. */
  activeSince: number | null;
  people: readonly ConferencePerson[];
  muted: boolean;
  /** Twenty digits, the same at all ends; another one whenever the group changes. */
  code: string | null;
  health: MediaHealth;
  floor: FloorView | null;
  /** Name of who has the floor. */
  holderName: string | null;
  pressed: boolean;
  fault: Fault | null;
}

/** A conference that asks to be joined. */
export interface RingingConference {
  conversationId: string;
  title: string;
  from: string;
  precedence: Precedence;
}

/** The phone's own path at this moment, from its profile. Always simulated in this build, and said so. */
export interface PathView {
  place: string;
  carrier: string;
  source: string;
  simulated: boolean;
  satellite: string | null;
  elevationDeg: number | null;
  gateway: string | null;
  pointOfPresence: string;
  oneWayDelayMs: number | null;
  loss: number;
  inOutage: boolean;
  /** Seconds until each handover that is known, ascending. */
  handoversS: number[];
  /** One-way delay over the coming seconds, for drawing: [seconds from now, ms or null]. */
  forecast: [number, number | null][];
}

export interface AccessOption {
  id: string;
  name: string;
  detail: string;
}

/** Why this is no telephone, or no longer one. */
export type LastWord = "revoked" | "rejected" | "expired" | "zeroised";

/** How what is kept on this device is protected. */
export interface LockView {
  /** A passphrase is set. */
  sealed: boolean;
  /** A passphrase is being tried. */
  working: boolean;
  wrong: boolean;
  /** Milliseconds since 1970 from which on another passphrase is taken. */
  retryAt: number;
  /** Minutes without a touch after which the phone locks itself; 0 for never. */
  idleMinutes: number;
}

/** Why a new passphrase was not taken; null if it was. */
export type PassphraseFault = "short" | "unusable" | "first" | null;

/** A device of this person, by the organisation's certificate. Times in milliseconds since 1970. */
export interface OwnDevice {
  deviceId: string;
  /** This very device. */
  me: boolean;
  since: number;
  until: number;
  revoked: boolean;
}

/** Whose member this phone is, or asks to be. */
export interface OrganisationView {
  name: string;
  /** What the person reads out to a custodian: it tells which key is his. */
  deviceCode: string;
  /** Entries and root of the log as this phone saw it last; the same for everybody at the same number of entries. */
  logHead: string | null;
}

export interface PhoneState {
  enrolment: "unknown" | "locked" | "needed" | "working" | "waiting" | "done" | LastWord;
  organisation: OrganisationView | null;
  ownDevices: OwnDevice[];
  lock: LockView;
  me: { accountId: string; deviceId: string; displayName: string; precedenceCeiling: Precedence } | null;
  server: "connecting" | "online" | "offline";
  fault: Fault | null;
  contacts: Contact[];
  groups: Group[];
  /** By conversation id, oldest first. */
  threads: Readonly<Record<string, readonly ThreadEntry[]>>;
  /** Entry ids of missed calls that the person has not looked at. */
  unseenCalls: readonly string[];
  /** Calls below flash do not ring on this device. */
  quiet: boolean;
  /** Files on their way, by entry id. */
  transfers: Readonly<Record<string, Transfer>>;
  call: CallView | null;
  conference: ConferenceView | null;
  ringingConference: RingingConference | null;
  access: { placeId: string; carrierId: string; places: AccessOption[]; carriers: AccessOption[] } | null;
  path: PathView | null;
}

export interface SealedReach {
  /** There are keys for a device of the person. */
  ready: boolean;
  /** Where it takes sealed texts; null if nobody told. */
  number: string | null;
  /** This device's own number, which the server gave it. */
  ownNumber: string | null;
}

/** `later`: the server gets it when it is there again. */
export type SealedSent =
  | { state: "sealed"; hex: string }
  | { state: "sent"; waitS: number | null }
  | { state: "later" }
  | { state: "refused"; reason: "too_long" | "no_key" | "used_up" | "which_device" | "no_number" | "no_route" | "precedence" | "full" | "server" };

export type SealedOpened = { state: "opened"; conversationId: string; accountId: string; body: string } | { state: "not_hex" | "refused" | "seen" | "not_yet" | "gone" };

export interface PhoneEngine {
  readonly state: ReadonlySignal<PhoneState>;
  /** Opens local storage and, if this device is enrolled, connects. */
  start(): Promise<void>;
  /** `invitation`: the fragment of an invitation's link, with token and organisation. */
  enrol(invitation: string, displayName: string): Promise<void>;
  sendText(conversationId: string, body: string): Promise<void>;
  /** Whether a sealed text can be written to a person now, and where it would go by the server. */
  sealedReach(conversationId: string): SealedReach;
  /** Seals a text of one SMS: "by hand" gives its octets, otherwise the server sends it to the number that the other device told. */
  sealText(conversationId: string, body: string, precedence: Precedence | "by hand"): Promise<SealedSent>;
  /** Opens the octets of a sealed text, in hexadecimal; its line stands in the thread then. */
  openSealed(hex: string): Promise<SealedOpened>;
  /** Asks the server for a number at which this device takes sealed texts, and tells the other person. Null: it has none. */
  takeSealedTexts(conversationId: string): Promise<string | null>;
  /** Seals a file and sends it as a message. Resolves when it is queued; rejects with RangeError if it is too large. */
  sendFile(conversationId: string, file: OutgoingFile): Promise<void>;
  /** The content of a file in a thread; null if that was cancelled or failed, and its transfer says why. */
  fetchFile(conversationId: string, id: string): Promise<Uint8Array<ArrayBuffer> | null>;
  cancelTransfer(conversationId: string, id: string): Promise<void>;
  /** Sends a text or a file again that failed. */
  retryText(conversationId: string, id: string): Promise<void>;
  markRead(conversationId: string): void;
  /** Missed calls were looked at. */
  callsSeen(entryIds: readonly string[]): void;
  /** Do not disturb: calls below flash do not ring on this device, and their callers are told that nobody is available. */
  setQuiet(quiet: boolean): Promise<void>;
  /** The new group's conversation id; null if it could not be made, and the fault says why. */
  createGroup(kind: "group" | "talk", title: string, accountIds: readonly string[]): Promise<string | null>;
  renameGroup(conversationId: string, title: string): Promise<void>;
  addMembers(conversationId: string, accountIds: readonly string[]): Promise<void>;
  removeMember(conversationId: string, accountId: string): Promise<void>;
  leaveGroup(conversationId: string): Promise<void>;
  /** Calls at a precedence, at most one's own ceiling. */
  call(accountId: string, precedence: Precedence): Promise<void>;
  /** Answers the call that rings, or the one that the call on screen ends for. */
  answer(): Promise<void>;
  /** Declines it. */
  decline(): Promise<void>;
  /** Ends, cancels or dismisses the call on screen. */
  hangUp(): Promise<void>;
  setMuted(muted: boolean): void;
  /** Joins the conference or talk group of a conversation, opening it at this precedence if nobody has. A call that this phone is in ends. */
  joinConference(conversationId: string, precedence: Precedence): Promise<void>;
  declineConference(): void;
  /** Leaves it, or puts away one that has ended. */
  leaveConference(): void;
  muteConference(muted: boolean): void;
  /** The button of a talk group: held, and let go. */
  pressToTalk(precedence: Precedence): Promise<void>;
  releaseToTalk(): void;
  chooseAccess(placeId: string, carrierId: string): Promise<void>;
  unlock(passphrase: string): Promise<void>;
  /** Forgets every key until the passphrase is given again. Without a passphrase it does nothing. */
  lock(): Promise<void>;
  /** The person is here. */
  touched(): void;
  setIdleMinutes(minutes: number): Promise<void>;
  setPassphrase(passphrase: string): Promise<PassphraseFault>;
  /** A passphrase that opens an empty phone and tells the custodians. */
  setDuressPassphrase(passphrase: string): Promise<PassphraseFault>;
  /** Destroys every key and all content on this device. */
  zeroise(): Promise<void>;
  dismissFault(): void;
}
