// The call as a table: (state, input, now) → (state, effects). No clock, no network, no media here; `calls.ts` carries the effects out.
//
// What a phase does not list, it ignores: late, repeated and foreign messages change nothing.
//
// Glare (both people dial at once): the call with the lower id (as hex) goes on. Whoever made the other one drops it and answers the
// surviving invite without asking, since he wanted to talk anyway.

import type { CallOutcome, CallPhase, Fault } from "../model";
import type { CallStep, EndReason } from "./messages";

export const RING_MS = 45_000; // docs/protocols.md: an invite processed later than this is a missed call
export const CONNECT_MS = 30_000;
/** How long a call whose media path broke is kept while ICE restarts are tried. */
export const REPAIR_MS = 60_000;
/** The same if the peer's phone has left the server too: its page was closed, most likely. */
export const REPAIR_ALONE_MS = 10_000;
/** An unanswered ICE restart is repeated after this. */
export const RESTART_RETRY_MS = 8_000;

export interface CallState {
  callId: string;
  peerAccountId: string;
  outgoing: boolean;
  phase: CallPhase;
  outcome: CallOutcome | null;
  /** Milliseconds since 1970. */
  deadline: number | null;
  activeSince: number | null;
  /** The media path is broken and under repair until `deadline`; the next restart is due at `restartAt`. */
  repairing: boolean;
  restartAt: number | null;
  /** The caller's invite, until it was answered. */
  invite: { sdp: string; commitment: Uint8Array } | null;
}

type Invite = Extract<CallStep, { step: "invite" }>;

export type CallInput =
  | { kind: "dial"; callId: string; peerAccountId: string }
  | { kind: "pressAnswer" }
  | { kind: "pressDecline" }
  | { kind: "pressHangUp" }
  | { kind: "offerReady"; callId: string; invite: Invite }
  | { kind: "answerReady"; callId: string; answer: Extract<CallStep, { step: "answer" }> }
  | { kind: "setupFailed"; callId: string; fault: Fault }
  /** `ageMs`: how long ago the server accepted it. */
  | { kind: "invite"; callId: string; peerAccountId: string; ageMs: number; invite: Invite }
  | { kind: "message"; callId: string; peerAccountId: string; message: Exclude<CallStep, Invite> }
  | { kind: "connected"; callId: string }
  | { kind: "disconnected"; callId: string; peerGone: boolean }
  | { kind: "audioBegan"; callId: string }
  | { kind: "revealFailed"; callId: string }
  | { kind: "time" };

export type CallEffect =
  | { kind: "send"; peerAccountId: string; callId: string; message: CallStep }
  /** Microphone, grant, peer connection, offer; answered by `offerReady` or `setupFailed`. */
  | { kind: "prepareOffer"; callId: string; peerAccountId: string }
  /** The same for the answer; answered by `answerReady` or `setupFailed`. */
  | { kind: "prepareAnswer"; callId: string; peerAccountId: string; invite: { sdp: string; commitment: Uint8Array } }
  /** Hand to the media: the peer's answer, nonce, candidates or restart. */
  | { kind: "media"; callId: string; message: CallStep }
  | { kind: "restartMedia"; callId: string }
  /** Close media and leave the call at the server. */
  | { kind: "release"; callId: string }
  | { kind: "record"; callId: string; peerAccountId: string; outgoing: boolean; outcome: CallOutcome; durationS: number }
  | { kind: "fault"; fault: Fault }
  /** The caller heals the conversation with an update commit. */
  | { kind: "renewKeys"; peerAccountId: string };

export type CallStepResult = [CallState | null, CallEffect[]];

type Phase = CallPhase | "idle";
type InputOf<K extends CallInput["kind"]> = Extract<CallInput, { kind: K }>;
type Handler<K extends CallInput["kind"]> = (state: CallState, input: InputOf<K>, now: number) => CallStepResult;
type Row = { [K in CallInput["kind"]]?: Handler<K> };

function send(state: CallState, message: CallStep): CallEffect {
  return { kind: "send", peerAccountId: state.peerAccountId, callId: state.callId, message };
}

function fresh(callId: string, peerAccountId: string, outgoing: boolean, phase: CallPhase, deadline: number): CallState {
  return { callId, peerAccountId, outgoing, phase, outcome: null, deadline, activeSince: null, repairing: false, restartAt: null, invite: null };
}

/** Ends the call here; `farewell` tells the other side. */
function finish(state: CallState, now: number, outcome: CallOutcome, farewell?: CallStep): CallStepResult {
  const durationS = state.activeSince === null ? 0 : Math.max(0, Math.round((now - state.activeSince) / 1000));
  const { callId, peerAccountId, outgoing } = state;
  const effects: CallEffect[] = farewell === undefined ? [] : [send(state, farewell)];
  effects.push({ kind: "release", callId }, { kind: "record", callId, peerAccountId, outgoing, outcome, durationS });
  if (outgoing && (state.phase === "connecting" || state.phase === "active")) effects.push({ kind: "renewKeys", peerAccountId });
  return [{ ...state, phase: "ended", outcome, deadline: null, repairing: false, restartAt: null, invite: null }, effects];
}

function dial(_state: CallState | null, input: InputOf<"dial">, now: number): CallStepResult {
  const { callId, peerAccountId } = input;
  return [fresh(callId, peerAccountId, true, "requesting", now + RING_MS), [{ kind: "prepareOffer", callId, peerAccountId }]];
}

function unheard(input: InputOf<"invite">, outcome: "missed" | "busy"): CallEffect {
  const { callId, peerAccountId } = input;
  return { kind: "record", callId, peerAccountId, outgoing: false, outcome, durationS: 0 };
}

/** An invite that finds the phone free. */
function ring(state: CallState | null, input: InputOf<"invite">, now: number): CallStepResult {
  if (state?.callId === input.callId) return [state, []];
  if (input.ageMs > RING_MS) return [state, [unheard(input, "missed")]];
  const { sdp, commitment } = input.invite;
  const next = { ...fresh(input.callId, input.peerAccountId, false, "incoming", now + RING_MS - Math.max(0, input.ageMs)), invite: { sdp, commitment } };
  return [next, [send(next, { step: "ringing" })]];
}

/** An invite during another call. */
function busy(state: CallState, input: InputOf<"invite">): CallStepResult {
  if (state.callId === input.callId) return [state, []];
  if (input.ageMs > RING_MS) return [state, [unheard(input, "missed")]];
  return [state, [{ kind: "send", peerAccountId: input.peerAccountId, callId: input.callId, message: { step: "busy" } }, unheard(input, "busy")]];
}

/** An invite while dialling: glare if it comes from the person being dialled. */
function glare(state: CallState, input: InputOf<"invite">, now: number): CallStepResult {
  if (state.peerAccountId !== input.peerAccountId || input.ageMs > RING_MS) return busy(state, input);
  if (state.callId <= input.callId) return [state, []];
  const { sdp, commitment } = input.invite;
  const next = fresh(input.callId, input.peerAccountId, false, "connecting", now + CONNECT_MS);
  return [
    next,
    [
      { kind: "release", callId: state.callId },
      { kind: "prepareAnswer", callId: next.callId, peerAccountId: next.peerAccountId, invite: { sdp, commitment } },
    ],
  ];
}

/** An invite from the very person one talks to: his phone lost the call, so this one gives it up too. */
function redial(state: CallState, input: InputOf<"invite">, now: number): CallStepResult {
  if (state.peerAccountId !== input.peerAccountId || state.callId === input.callId || input.ageMs > RING_MS) return busy(state, input);
  const [, ended] = finish(state, now, state.phase === "incoming" ? "missed" : state.activeSince === null ? "failed" : "answered");
  const [next, ringing] = ring(null, input, now);
  return [next, [...ended, ...ringing]];
}

function setupFailed(state: CallState, input: InputOf<"setupFailed">, now: number): CallStepResult {
  const unsent = state.outgoing && state.phase === "requesting" && state.invite === null; // the peer knows nothing of it yet
  const [next, effects] = finish(state, now, "failed", unsent ? undefined : { step: "end", reason: "media" });
  return [next, [...effects, { kind: "fault", fault: input.fault }]];
}

/** The caller's side before the answer. */
const dialling: Row = {
  offerReady: (state, { invite }) => [{ ...state, invite: { sdp: invite.sdp, commitment: invite.commitment } }, [send(state, invite)]],
  setupFailed,
  invite: glare,
  pressHangUp: (state, _input, now) => finish(state, now, "cancelled", { step: "cancel" }),
  time: (state, _input, now) => (state.deadline !== null && now >= state.deadline ? finish(state, now, "unanswered", { step: "cancel" }) : [state, []]),
  message: (state, { message }, now) => {
    switch (message.step) {
      case "ringing":
        return [{ ...state, phase: "ringing" }, []];
      case "answer":
        return [
          { ...state, phase: "connecting", deadline: now + CONNECT_MS, invite: null },
          [{ kind: "media", callId: state.callId, message }],
        ];
      case "candidate":
        return [state, [{ kind: "media", callId: state.callId, message }]];
      case "decline":
        return finish(state, now, "declined");
      case "busy":
        return finish(state, now, "busy");
      case "end":
        return finish(state, now, "failed");
      default:
        return [state, []];
    }
  },
};

/** Both sides between the answer and the end. */
const talking: Row = {
  answerReady: (state, { answer }) => [state, [send(state, answer)]],
  setupFailed,
  invite: redial,
  connected: (state) => [{ ...state, phase: "active", deadline: null, repairing: false, restartAt: null }, []],
  disconnected: (state, { peerGone }, now) => {
    if (state.phase !== "active") return [state, []];
    if (state.repairing && !peerGone) return [state, []];
    const deadline = Math.min(state.deadline ?? Number.POSITIVE_INFINITY, now + (peerGone ? REPAIR_ALONE_MS : REPAIR_MS));
    const next = { ...state, repairing: true, deadline, restartAt: now + RESTART_RETRY_MS };
    return [next, state.outgoing ? [{ kind: "restartMedia", callId: state.callId }] : []];
  },
  audioBegan: (state, _input, now) => [{ ...state, activeSince: state.activeSince ?? now }, []],
  revealFailed: (state, _input, now) => {
    const [next, effects] = finish(state, now, "failed", { step: "end", reason: "short_code" });
    const fault: Fault = { code: "short_code_mismatch", detail: "the nonce does not match its commitment" };
    return [next, [...effects, { kind: "fault", fault }]];
  },
  pressHangUp: (state, _input, now) =>
    finish(state, now, state.activeSince === null ? "cancelled" : "answered", { step: "end", reason: "hang_up" }),
  time: (state, _input, now) => {
    if (state.deadline !== null && now >= state.deadline) {
      const [next, effects] = finish(state, now, state.activeSince === null ? "failed" : "answered", { step: "end", reason: "media" });
      const code = state.phase === "active" ? "call_lost" : "media_blocked"; // what has worked is not blocked
      return [next, [...effects, { kind: "fault", fault: { code, detail: "no media path to the other phone" } }]];
    }
    if (state.restartAt === null || now < state.restartAt) return [state, []];
    return [{ ...state, restartAt: now + RESTART_RETRY_MS }, state.outgoing ? [{ kind: "restartMedia", callId: state.callId }] : []];
  },
  message: (state, { message }, now) => {
    switch (message.step) {
      case "reveal":
      case "candidate":
      case "restart":
      case "restarted":
        return [state, [{ kind: "media", callId: state.callId, message }]];
      case "cancel": // crossed with our answer
        return state.outgoing ? [state, []] : finish(state, now, "missed");
      case "end":
        return endedByPeer(state, message.reason, now);
      default:
        return [state, []];
    }
  },
};

function endedByPeer(state: CallState, reason: EndReason, now: number): CallStepResult {
  const [next, effects] = finish(state, now, state.activeSince === null ? "failed" : "answered");
  if (reason !== "short_code") return [next, effects];
  return [next, [...effects, { kind: "fault", fault: { code: "short_code_mismatch", detail: "reported by the other side" } }]];
}

const TABLE: Readonly<Record<Phase, Row>> = {
  idle: { dial, invite: ring },
  requesting: dialling,
  ringing: dialling,
  incoming: {
    pressAnswer: (state, _input, now) => {
      const { callId, peerAccountId, invite } = state;
      if (invite === null) return [state, []];
      return [
        { ...state, phase: "connecting", deadline: now + CONNECT_MS, invite: null },
        [{ kind: "prepareAnswer", callId, peerAccountId, invite }],
      ];
    },
    pressDecline: (state, _input, now) => finish(state, now, "declined", { step: "decline" }),
    pressHangUp: (state, _input, now) => finish(state, now, "declined", { step: "decline" }),
    invite: redial,
    time: (state, _input, now) => (state.deadline !== null && now >= state.deadline ? finish(state, now, "missed") : [state, []]),
    message: (state, { message }, now) => {
      if (message.step === "cancel" || message.step === "end") return finish(state, now, "missed");
      return [state, message.step === "candidate" ? [{ kind: "media", callId: state.callId, message }] : []];
    },
  },
  connecting: talking,
  active: talking,
  ended: { dial, invite: ring, pressHangUp: () => [null, []] },
};

/** One step. `state` is null when there is no call on screen. */
export function stepCall(state: CallState | null, input: CallInput, now: number): CallStepResult {
  const row = TABLE[state === null ? "idle" : state.phase];
  const handler = row[input.kind] as Handler<typeof input.kind> | undefined;
  if (handler === undefined) return [state, []];
  const starts = input.kind === "dial" || input.kind === "invite";
  if (!starts && state !== null && "callId" in input && input.callId !== state.callId) return [state, []];
  if (input.kind === "message" && input.peerAccountId !== state?.peerAccountId) return [state, []];
  return (handler as (state: CallState | null, input: CallInput, now: number) => CallStepResult)(state, input, now);
}
