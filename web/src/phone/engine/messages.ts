// Application messages inside MLS (docs/protocols.md): UTF-8 JSON. What parses is checked field by field; unknown types are ignored.

import { fromBase64, fromUtf8, toBase64, utf8, type Bytes } from "../../keys/bytes";
import type { UnverifiedTreeHead } from "../../keys/treeHead";
import { MOST_ATTACHMENT_BYTES, type AttachmentSecret } from "../../keys/attachment";
import { PRECEDENCES, type AttachedFile, type Precedence } from "../model";
import { plainType, safeName } from "./files";

export const MAX_TEXT_CHARACTERS = 10_000;
export const MAX_TITLE_CHARACTERS = 64;
const MAX_WIRE_NAME_CHARACTERS = 255;
/** Two minutes, and what a recorder needs to stop. */
export const MAX_VOICE_S = 125;
const MAX_SDP_CHARACTERS = 64_000;
const MAX_CANDIDATES = 64;
const MAX_RECEIPT_IDS = 500;
export const MAX_OUTAGES = 32;

export interface TextMessage {
  type: "text";
  id: string;
  body: string;
  /** POSIX seconds. */
  sentAt: number;
}

export interface ReceiptMessage {
  type: "receipt";
  ids: string[];
  state: "delivered" | "read";
}

/** Tells of a file that lies sealed at the server, and opens it (keys/attachment.ts). Its id is the attachment's too. */
export interface AttachmentMessage {
  type: "attachment";
  id: string;
  file: AttachedFile;
  secret: AttachmentSecret;
  /** POSIX seconds. */
  sentAt: number;
}

/** What a group is called. */
export interface GroupMessage {
  type: "group";
  title: string;
}

export type CallStep =
  | { step: "invite"; sdp: string; commitment: Bytes; precedence: Precedence }
  | { step: "ringing" }
  /** The path of the call may be made while it rings; the microphone waits for the answer. */
  | { step: "prepared"; sdp: string }
  | { step: "answer"; sdp: string; nonce: Bytes }
  | { step: "reveal"; nonce: Bytes }
  | { step: "candidate"; candidates: RTCIceCandidateInit[] }
  | { step: "restart"; sdp: string }
  | { step: "restarted"; sdp: string }
  | { step: "path"; forecast: PathForecast }
  | { step: "decline" }
  /** `not_available`: nobody is on the phone, but its person does not want to be called now. */
  | { step: "busy"; reason?: "not_available" }
  | { step: "cancel" }
  /** `by`: with the reason `preempted`, the level of the call that this one ends for; null if its path became too small. */
  | { step: "end"; reason: EndReason; by?: Precedence | null };

/** What a phone expects of its own path, told to the other one so that its copies follow the sky too. Times of the server's clock. */
export interface PathForecast {
  /** [POSIX seconds, seconds] of each time without a way, ascending. */
  outages: [number, number][];
  /** Share of packets lost outside these times. */
  loss: number;
  capacityUpBps: number | null;
  capacityDownBps: number | null;
}

export type EndReason = "hang_up" | "media" | "short_code" | "superseded" | "preempted" | "no_capacity";

export type CallMessage = { type: "call"; callId: string } & CallStep;
/** A head of the organisation's log as the sender saw it. */
export interface HeadMessage {
  type: "head";
  head: UnverifiedTreeHead;
}

/** A conference has been opened in a group; whoever likes joins it. */
export interface ConferenceMessage {
  type: "conference";
  callId: string;
  step: "invite";
  precedence: Precedence;
}

/** At this telephone number the sending device takes sealed texts; "" that it no longer does. */
export interface NumberMessage {
  type: "number";
  number: string;
}

export type ApplicationMessage = NumberMessage | HeadMessage | TextMessage | AttachmentMessage | ReceiptMessage | GroupMessage | CallMessage | ConferenceMessage;

/** The sender broke the format; the message is dropped. */
export class MalformedMessage extends Error {}

export function encodeMessage(message: ApplicationMessage): Bytes {
  return utf8(JSON.stringify(toWire(message)));
}

function toWire(message: ApplicationMessage): object {
  switch (message.type) {
    case "text":
      return { type: "text", id: message.id, body: message.body, sent_at: message.sentAt };
    case "attachment": {
      const { id, file, secret, sentAt } = message;
      const [key, sha256] = [toBase64(secret.key), toBase64(secret.sha256)];
      const { name, mediaType, size, voiceS } = file;
      return { type: "attachment", id, kind: voiceS === null ? "file" : "voice", name, media_type: mediaType, size, duration_s: voiceS, key, sha256, sent_at: sentAt };
    }
    case "head": {
      const { logId, treeSize, rootHash, at, signature } = message.head;
      return { type: "head", log_id: toBase64(logId), tree_size: treeSize, root_hash: toBase64(rootHash), at, signature: toBase64(signature) };
    }
    case "receipt":
    case "group":
    case "number":
      return message;
    case "conference":
      return { type: "conference", call_id: message.callId, step: message.step, precedence: message.precedence };
    case "call": {
      const { callId, type, ...step } = message;
      if (step.step === "path") {
        const { outages, loss, capacityUpBps: up, capacityDownBps: down } = step.forecast;
        return { type, call_id: callId, step: "path", outages, loss, capacity_up_bps: up, capacity_down_bps: down };
      }
      const wire: Record<string, unknown> = { type, call_id: callId, ...step };
      if ("commitment" in step) wire["commitment"] = toBase64(step.commitment);
      if ("nonce" in step) wire["nonce"] = toBase64(step.nonce);
      return wire;
    }
  }
}

/** null for a type or call step that this version does not know. Throws MalformedMessage. */
export function parseMessage(plaintext: Uint8Array): ApplicationMessage | null {
  let wire: unknown;
  try {
    wire = JSON.parse(fromUtf8(plaintext));
  } catch {
    throw new MalformedMessage("not UTF-8 JSON");
  }
  if (!isRecord(wire)) throw new MalformedMessage("not a JSON object");
  switch (wire["type"]) {
    case "text":
      return { type: "text", id: id(wire, "id"), body: text(wire, "body", MAX_TEXT_CHARACTERS), sentAt: number(wire, "sent_at") };
    case "attachment":
      return {
        type: "attachment",
        id: id(wire, "id"),
        file: parseFile(wire),
        secret: { key: octets(wire, "key", 32), sha256: octets(wire, "sha256", 32) },
        sentAt: number(wire, "sent_at"),
      };
    case "head":
      return {
        type: "head",
        head: {
          logId: octets(wire, "log_id", 32),
          treeSize: number(wire, "tree_size"),
          rootHash: octets(wire, "root_hash", 32),
          at: number(wire, "at"),
          signature: octets(wire, "signature", 64),
        },
      };
    case "receipt": {
      const ids = wire["ids"];
      if (!Array.isArray(ids) || ids.length > MAX_RECEIPT_IDS || !ids.every(isId)) throw new MalformedMessage("ids");
      const state = wire["state"];
      return state === "delivered" || state === "read" ? { type: "receipt", ids, state } : null;
    }
    case "number": {
      const told = text(wire, "number", 21);
      if (told !== "" && !/^\+?[0-9]{2,20}$/.test(told)) throw new MalformedMessage("number");
      return { type: "number", number: told };
    }
    case "group":
      return { type: "group", title: text(wire, "title", MAX_TITLE_CHARACTERS) };
    case "conference": {
      const precedence = PRECEDENCES.find((known) => known === wire["precedence"]);
      if (precedence === undefined) throw new MalformedMessage("precedence");
      return wire["step"] === "invite" ? { type: "conference", callId: id(wire, "call_id"), step: "invite", precedence } : null;
    }
    case "call": {
      const step = parseStep(wire);
      return step === null ? null : { type: "call", callId: id(wire, "call_id"), ...step };
    }
    default:
      return null;
  }
}

/** Whatever its sender calls it: the name is only a name, and a type that is none says nothing. */
function parseFile(wire: Record<string, unknown>): AttachedFile {
  const size = number(wire, "size");
  if (!Number.isInteger(size) || size < 0 || size > MOST_ATTACHMENT_BYTES) throw new MalformedMessage("size");
  const voiceS = wire["kind"] === "voice" ? number(wire, "duration_s") : null;
  if (voiceS !== null && (voiceS < 0 || voiceS > MAX_VOICE_S)) throw new MalformedMessage("duration_s");
  return { name: safeName(text(wire, "name", MAX_WIRE_NAME_CHARACTERS)), mediaType: plainType(text(wire, "media_type", 128)), size, voiceS };
}

function parseStep(wire: Record<string, unknown>): CallStep | null {
  const step = wire["step"];
  switch (step) {
    case "invite": {
      const precedence = level(wire["precedence"]);
      if (precedence === undefined) throw new MalformedMessage("precedence");
      return { step, sdp: text(wire, "sdp", MAX_SDP_CHARACTERS), commitment: octets(wire, "commitment", 32), precedence };
    }
    case "answer":
      return { step, sdp: text(wire, "sdp", MAX_SDP_CHARACTERS), nonce: octets(wire, "nonce", 16) };
    case "reveal":
      return { step, nonce: octets(wire, "nonce", 16) };
    case "candidate": {
      const candidates = wire["candidates"];
      if (!Array.isArray(candidates) || candidates.length > MAX_CANDIDATES) throw new MalformedMessage("candidates");
      return { step, candidates: candidates.map(parseCandidate) };
    }
    case "prepared":
    case "restart":
    case "restarted":
      return { step, sdp: text(wire, "sdp", MAX_SDP_CHARACTERS) };
    case "path": {
      const outages = wire["outages"];
      if (!Array.isArray(outages) || outages.length > MAX_OUTAGES || !outages.every(isSpan)) throw new MalformedMessage("outages");
      const loss = number(wire, "loss");
      if (loss < 0 || loss > 1) throw new MalformedMessage("loss");
      const [capacityUpBps, capacityDownBps] = [capacity(wire, "capacity_up_bps"), capacity(wire, "capacity_down_bps")];
      return { step, forecast: { outages, loss, capacityUpBps, capacityDownBps } };
    }
    case "end": {
      const known: readonly EndReason[] = ["hang_up", "media", "short_code", "superseded", "preempted", "no_capacity"];
      const reason = known.find((each) => each === wire["reason"]) ?? "hang_up";
      return reason === "preempted" ? { step, reason, by: level(wire["by"]) ?? null } : { step, reason };
    }
    case "busy":
      return wire["reason"] === "not_available" ? { step, reason: "not_available" } : { step };
    case "ringing":
    case "decline":
    case "cancel":
      return { step };
    default:
      return null;
  }
}

function isSpan(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every((one) => typeof one === "number" && Number.isFinite(one) && one >= 0);
}

function capacity(wire: Record<string, unknown>, name: string): number | null {
  if (wire[name] === null) return null;
  const value = number(wire, name);
  if (value <= 0) throw new MalformedMessage(name);
  return value;
}

function level(value: unknown): Precedence | undefined {
  return PRECEDENCES.find((known) => known === value);
}

function parseCandidate(value: unknown): RTCIceCandidateInit {
  if (!isRecord(value)) throw new MalformedMessage("candidate");
  const line = value["sdpMLineIndex"];
  const mid = value["sdpMid"];
  return {
    candidate: text(value, "candidate", 1_000),
    sdpMid: typeof mid === "string" && mid.length <= 64 ? mid : null,
    sdpMLineIndex: typeof line === "number" && Number.isInteger(line) && line >= 0 ? line : null,
  };
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{32}$/.test(value);
}

function id(wire: Record<string, unknown>, name: string): string {
  const value = wire[name];
  if (!isId(value)) throw new MalformedMessage(name);
  return value;
}

function text(wire: Record<string, unknown>, name: string, maxCharacters: number): string {
  const value = wire[name];
  if (typeof value !== "string" || value.length > maxCharacters) throw new MalformedMessage(name);
  return value;
}

function number(wire: Record<string, unknown>, name: string): number {
  const value = wire[name];
  if (typeof value !== "number" || !Number.isFinite(value)) throw new MalformedMessage(name);
  return value;
}

function octets(wire: Record<string, unknown>, name: string, length: number): Bytes {
  const value = wire[name];
  try {
    const bytes = fromBase64(typeof value === "string" ? value : "");
    if (bytes.length === length) return bytes;
  } catch {
    // falls through to the one refusal
  }
  throw new MalformedMessage(name);
}
