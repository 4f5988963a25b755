// The call as a table: (state, input, now) → (state, effects). No clock, no network, no media here; `calls.ts` carries the effects out.
//
// What a phase does not list, it ignores: late, repeated and foreign messages change nothing.
//
// Glare (both people dial at once): the call with the lower id (as hex) goes on. Whoever made the other one drops it and answers the
// surviving invite without asking, since he wanted to talk anyway. Of two levels the higher goes on.
//
// While it rings a phone that may makes the path ready, without its microphone (`prepareMedia`): what is left to do after the answer is then
// one message. If that fails or takes too long, the answer does it all.
//
// Precedence: an invite of a higher level than the call on the phone is heard as well. An unanswered call gives way to it at once; a call
// that is dialled or held ends for it after NOTICE_MS, unless the person takes or declines it before. Until then it waits in `next`:
//
//     dialling, talking ──invite above──► the same, with next ──NOTICE_MS, or the call ends──► incoming (next rings)
//                                              ├──pressAnswer──► connecting (next is answered)
//                                              └──pressDecline, or its caller gives up──► the same, without next
//     dialling, talking, incoming ──preempted (by the server, for want of room)──► ended, outcome "preempted"

import { isAbove, type CallOutcome, type CallPhase, type Fault, type Precedence } from "../model";
import type { CallStep, EndReason } from "./messages";

export const RING_MS = 45_000; // docs/protocols.md: an invite processed later than this is a missed call
export const CONNECT_MS = 30_000;
/** How long a call whose media path broke is kept while ICE restarts are tried. */
export const REPAIR_MS = 60_000;
/** The same if the peer's phone has left the server too: its page was closed, most likely. */
export const REPAIR_ALONE_MS = 10_000;
/** An unanswered ICE restart is repeated after this. */
export const RESTART_RETRY_MS = 8_000;

/** A path that is not there this long after the answer is tried anew: later than the slowest of healthy ones, over a geostationary satellite. */
export const FIRST_RESTART_MS = 12_000;

/** How long a call goes on, with notice given, before it ends for one of a higher level. */
export const NOTICE_MS = 5_000;

/** Calls above this level ring whatever the person has asked for. */
export const LOUDEST_QUIET: Precedence = "immediate";

/** A call of a higher level that the one on the phone ends for. */
export interface NextCall {
  callId: string;
  peerAccountId: string;
  invite: Invite;
  /** Milliseconds since 1970: when the present call ends for it, and when it would be missed. */
  endsAt: number;
  missedAt: number;
  /** What came for it meanwhile. */
  candidates: RTCIceCandidateInit[];
}

export interface CallState {
  callId: string;
  peerAccountId: string;
  outgoing: boolean;
  precedence: Precedence;
  phase: CallPhase;
  outcome: CallOutcome | null;
  /** With the outcome `preempted`: for which level; null if for want of room. */
  preemptedBy: Precedence | null;
  next: NextCall | null;
  /** Milliseconds since 1970. */
  deadline: number | null;
  activeSince: number | null;
  /** The media path is there before the call is answered. */
  pathReady: boolean;
  /** The media path is broken and under repair until `deadline`; the next restart is due at `restartAt`. */
  repairing: boolean;
  restartAt: number | null;
  /** The caller's invite, until it was answered. */
  invite: { sdp: string; commitment: Uint8Array } | null;
}

type Invite = Extract<CallStep, { step: "invite" }>;

export type CallInput =
  | { kind: "dial"; callId: string; peerAccountId: string; precedence: Precedence }
  | { kind: "pressAnswer" }
  | { kind: "pressDecline" }
  | { kind: "pressHangUp" }
  | { kind: "offerReady"; callId: string; invite: Invite }
  | { kind: "answerReady"; callId: string; answer: Extract<CallStep, { step: "answer" }> }
  | { kind: "prepared"; callId: string; sdp: string }
  | { kind: "setupFailed"; callId: string; fault: Fault }
  /** `ageMs`: how long ago the server accepted it; the level in it is one that the caller is known to be allowed. `quiet`: the person does not want to hear a call of this level. `mayPrepare`: this is his only device, and it is free. */
  | { kind: "invite"; callId: string; peerAccountId: string; ageMs: number; invite: Invite; quiet?: boolean; mayPrepare?: boolean }
  | { kind: "message"; callId: string; peerAccountId: string; message: Exclude<CallStep, Invite> }
  | { kind: "connected"; callId: string }
  | { kind: "disconnected"; callId: string; peerGone: boolean }
  | { kind: "audioBegan"; callId: string }
  | { kind: "revealFailed"; callId: string }
  /** The server ended the call, for one of this level or for want of room. */
  | { kind: "preempted"; callId: string; by: Precedence | null }
  /** Another device of this person answered or declined. */
  | { kind: "takenElsewhere"; callId: string; outcome: "answered" | "declined" }
  | { kind: "time" };

export type CallEffect =
  | { kind: "send"; peerAccountId: string; callId: string; message: CallStep }
  /** Microphone, grant, peer connection, offer; answered by `offerReady` or `setupFailed`. */
  | { kind: "prepareOffer"; callId: string; peerAccountId: string }
  /** The same for the answer; answered by `answerReady` or `setupFailed`. */
  | { kind: "prepareAnswer"; callId: string; peerAccountId: string; invite: { sdp: string; commitment: Uint8Array } }
  /** The same without a microphone, while it rings; answered by `prepared` or by nothing. */
  | { kind: "prepareMedia"; callId: string; sdp: string }
  /** Hand to the media: the peer's answer, nonce, candidates or restart. */
  | { kind: "media"; callId: string; message: CallStep }
  | { kind: "restartMedia"; callId: string }
  /** Close media and leave the call at the server. */
  | { kind: "release"; callId: string }
  | { kind: "record"; callId: string; peerAccountId: string; outgoing: boolean; outcome: CallOutcome; durationS: number; precedence: Precedence }
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

function fresh(callId: string, peerAccountId: string, outgoing: boolean, precedence: Precedence, phase: CallPhase, deadline: number): CallState {
  const nothingYet = { outcome: null, preemptedBy: null, next: null, activeSince: null, pathReady: false, repairing: false, restartAt: null, invite: null };
  return { callId, peerAccountId, outgoing, precedence, phase, deadline, ...nothingYet };
}

/** Ends the call here; `farewell` tells the other side. */
function finish(state: CallState, now: number, outcome: CallOutcome, farewell?: CallStep): CallStepResult {
  const durationS = state.activeSince === null ? 0 : Math.max(0, Math.round((now - state.activeSince) / 1000));
  const { callId, peerAccountId, outgoing, precedence } = state;
  const effects: CallEffect[] = farewell === undefined ? [] : [send(state, farewell)];
  effects.push({ kind: "release", callId }, { kind: "record", callId, peerAccountId, outgoing, outcome, durationS, precedence });
  if (outgoing && (state.phase === "connecting" || state.phase === "active")) effects.push({ kind: "renewKeys", peerAccountId });
  return [{ ...state, phase: "ended", outcome, deadline: null, repairing: false, restartAt: null, invite: null }, effects];
}

function dial(_state: CallState | null, input: InputOf<"dial">, now: number): CallStepResult {
  const { callId, peerAccountId, precedence } = input;
  return [fresh(callId, peerAccountId, true, precedence, "requesting", now + RING_MS), [{ kind: "prepareOffer", callId, peerAccountId }]];
}

function unheard({ callId, peerAccountId, invite }: Pick<InputOf<"invite">, "callId" | "peerAccountId" | "invite">, outcome: "missed" | "busy" | "declined"): CallEffect {
  return { kind: "record", callId, peerAccountId, outgoing: false, outcome, durationS: 0, precedence: invite.precedence };
}

/** The caller is told, the person finds it in the list of missed calls. */
function turnedAway(input: InputOf<"invite">): CallEffect[] {
  const { peerAccountId, callId } = input;
  return [{ kind: "send", peerAccountId, callId, message: { step: "busy", reason: "not_available" } }, unheard(input, "missed")];
}

/** An invite that finds the phone free. */
function ring(state: CallState | null, input: InputOf<"invite">, now: number): CallStepResult {
  if (state?.callId === input.callId) return [state, []];
  if (input.ageMs > RING_MS) return [state, [unheard(input, "missed")]];
  if (input.quiet === true) return [state, turnedAway(input)];
  const { sdp, commitment, precedence } = input.invite;
  const next = { ...fresh(input.callId, input.peerAccountId, false, precedence, "incoming", now + RING_MS - Math.max(0, input.ageMs)), invite: { sdp, commitment } };
  const effects: CallEffect[] = [send(next, { step: "ringing" })];
  if (input.mayPrepare === true) effects.push({ kind: "prepareMedia", callId: input.callId, sdp });
  return [next, effects];
}

/** The path of a call that is not answered yet. */
const preparing: Row = {
  connected: (state) => [{ ...state, pathReady: true }, []],
  disconnected: (state) => [{ ...state, pathReady: false }, []],
};

function connecting(state: CallState, now: number): CallState {
  return { ...state, phase: "connecting", deadline: now + CONNECT_MS, restartAt: now + FIRST_RESTART_MS, invite: null };
}

/** The answer is on its way or here: with a path that is ready the call stands. */
function answered(state: CallState, now: number): CallState {
  return state.pathReady ? { ...state, phase: "active", deadline: null, restartAt: null, invite: null } : connecting(state, now);
}

/** An invite during another call: heard if it is of a higher level, and told busy otherwise. */
function another(state: CallState, input: InputOf<"invite">, now: number): CallStepResult {
  const { callId, peerAccountId, invite } = input;
  if (state.callId === callId || state.next?.callId === callId) return [state, []];
  if (input.ageMs > RING_MS) return [state, [unheard(input, "missed")]];
  if (input.quiet === true) return [state, turnedAway(input)];
  if (!isAbove(invite.precedence, state.next?.invite.precedence ?? state.precedence)) {
    return [state, [{ kind: "send", peerAccountId, callId, message: { step: "busy" } }, unheard(input, "busy")]];
  }
  if (state.phase === "incoming") {
    const [, given] = finish(state, now, "missed", { step: "busy" });
    const [ringing, heard] = ring(null, input, now);
    return [ringing, [...given, ...heard]];
  }
  const displaced: CallEffect[] = state.next === null ? [] : [toNext(state.next, { step: "busy" }), unheard(state.next, "busy")];
  const missedAt = now + RING_MS - Math.max(0, input.ageMs);
  const next: NextCall = { callId, peerAccountId, invite, endsAt: state.next?.endsAt ?? now + NOTICE_MS, missedAt, candidates: [] };
  return [{ ...state, next }, [...displaced, toNext(next, { step: "ringing" })]];
}

function toNext(next: NextCall, message: CallStep): CallEffect {
  return { kind: "send", peerAccountId: next.peerAccountId, callId: next.callId, message };
}

/** The call that waited takes the place of the one that has ended. Its caller has been told that it rings. */
function takeUp(next: NextCall): CallStepResult {
  const { callId, peerAccountId, invite, candidates } = next;
  const { sdp, commitment, precedence } = invite;
  const state = { ...fresh(callId, peerAccountId, false, precedence, "incoming", next.missedAt), invite: { sdp, commitment } };
  return [state, candidates.length === 0 ? [] : [{ kind: "media", callId, message: { step: "candidate", candidates } }]];
}

/** What the caller of the waiting call says. */
function forNext(state: CallState, next: NextCall, message: CallStep): CallStepResult {
  if (message.step === "cancel" || message.step === "end") return [{ ...state, next: null }, [unheard(next, "missed")]];
  if (message.step !== "candidate") return [state, []];
  return [{ ...state, next: { ...next, candidates: [...next.candidates, ...message.candidates] } }, []];
}

/** The present call ends for the one that waits. */
function giveWay(state: CallState, next: NextCall, now: number): CallStepResult {
  const by = next.invite.precedence;
  const [ended, effects] = finish(state, now, "preempted", { step: "end", reason: "preempted", by });
  return [ended === null ? null : { ...ended, preemptedBy: by }, effects];
}

const pressAnswer: Handler<"pressAnswer"> = (state, _input, now) => {
  const { callId, peerAccountId, invite } = state;
  if (invite === null) return [state, []];
  return [connecting(state, now), [{ kind: "prepareAnswer", callId, peerAccountId, invite }]];
};

const preempted: Handler<"preempted"> = (state, { by }, now) => {
  const [ended, effects] = finish(state, now, "preempted", { step: "end", reason: "preempted", by });
  return [ended === null ? null : { ...ended, preemptedBy: by }, effects];
};

/** What a call that is dialled or held does about one that waits. */
const withNext: Row = {
  pressAnswer: (state, _input, now) => {
    if (state.next === null) return [state, []];
    const [, ended] = giveWay(state, state.next, now);
    const [rung, waited] = takeUp(state.next);
    const [answered, prepared] = rung === null ? [null, []] : pressAnswer(rung, { kind: "pressAnswer" }, now);
    return [answered, [...ended, ...prepared, ...waited]];
  },
  pressDecline: (state) => {
    if (state.next === null) return [state, []];
    return [{ ...state, next: null }, [toNext(state.next, { step: "decline" }), unheard(state.next, "declined")]];
  },
  preempted,
};


/** An invite while dialling: glare if it comes from the person being dialled. */
function glare(state: CallState, input: InputOf<"invite">, now: number): CallStepResult {
  if (state.peerAccountId !== input.peerAccountId || input.ageMs > RING_MS) return another(state, input, now);
  const { sdp, commitment, precedence } = input.invite;
  const equal = precedence === state.precedence;
  if (equal ? state.callId <= input.callId : isAbove(state.precedence, precedence)) return [state, []];
  const next = fresh(input.callId, input.peerAccountId, false, precedence, "connecting", now + CONNECT_MS);
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
  if (state.peerAccountId !== input.peerAccountId || state.callId === input.callId || input.ageMs > RING_MS) return another(state, input, now);
  const [, ended] = finish(state, now, state.phase === "incoming" ? "missed" : state.activeSince === null ? "failed" : "answered");
  const [next, ringing] = ring(null, { ...input, quiet: false }, now);
  return [next, [...ended, ...ringing]];
}

function setupFailed(state: CallState, input: InputOf<"setupFailed">, now: number): CallStepResult {
  const unsent = state.outgoing && state.phase === "requesting" && state.invite === null; // the peer knows nothing of it yet
  const reason = input.fault.code === "no_capacity" ? "no_capacity" : "media";
  const [next, effects] = finish(state, now, "failed", unsent ? undefined : { step: "end", reason });
  return [next, [...effects, { kind: "fault", fault: input.fault }]];
}

/** The caller's side before the answer. */
const dialling: Row = {
  ...withNext,
  ...preparing,
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
        return [answered(state, now), [{ kind: "media", callId: state.callId, message }]];
      case "prepared":
      case "candidate":
        return [state, [{ kind: "media", callId: state.callId, message }]];
      case "decline":
        return finish(state, now, "declined");
      case "busy":
        return finish(state, now, message.reason === "not_available" ? "unavailable" : "busy");
      case "end":
        return endedByPeer(state, message, now);
      default:
        return [state, []];
    }
  },
};

/** Both sides between the answer and the end. */
const talking: Row = {
  ...withNext,
  answerReady: (state, { answer }, now) => [state.pathReady ? answered(state, now) : state, [send(state, answer)]],
  setupFailed,
  invite: redial,
  connected: (state) => [{ ...state, phase: "active", deadline: null, repairing: false, restartAt: null }, []],
  disconnected: (state, { peerGone }, now) => {
    if (state.phase !== "active") return [{ ...state, pathReady: false, restartAt: now + RESTART_RETRY_MS }, state.outgoing ? [{ kind: "restartMedia", callId: state.callId }] : []];
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
        return endedByPeer(state, message, now);
      default:
        return [state, []];
    }
  },
};

const REPORTED: Partial<Record<EndReason, Fault["code"]>> = { short_code: "short_code_mismatch", no_capacity: "no_capacity" };

function endedByPeer(state: CallState, { reason, by }: Extract<CallStep, { step: "end" }>, now: number): CallStepResult {
  if (reason === "preempted") {
    const [ended, effects] = finish(state, now, "preempted");
    return [ended === null ? null : { ...ended, preemptedBy: by ?? null }, effects];
  }
  const [next, effects] = finish(state, now, state.activeSince === null ? "failed" : "answered");
  const code = REPORTED[reason];
  return code === undefined ? [next, effects] : [next, [...effects, { kind: "fault", fault: { code, detail: "reported by the other side" } }]];
}

const TABLE: Readonly<Record<Phase, Row>> = {
  idle: { dial, invite: ring },
  requesting: dialling,
  ringing: dialling,
  incoming: {
    ...preparing,
    pressAnswer,
    prepared: (state, { sdp }) => [state, [send(state, { step: "prepared", sdp })]],
    preempted,
    setupFailed: (state, input, now) => {
      const [next, effects] = finish(state, now, "missed");
      return [next, [...effects, { kind: "fault", fault: input.fault }]];
    },
    takenElsewhere: (state, { outcome }, now) => finish(state, now, outcome),
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
  const [stepped, effects] = stepOne(state, input, now);
  if (stepped?.phase !== "ended" || stepped.next === null) return [stepped, effects];
  const [rung, waited] = takeUp(stepped.next);
  return [rung, [...effects, ...waited]];
}

function stepOne(state: CallState | null, input: CallInput, now: number): CallStepResult {
  if (state !== null && state.next !== null) {
    if (input.kind === "time" && now >= state.next.endsAt) return giveWay(state, state.next, now);
    if (input.kind === "message" && input.callId === state.next.callId && input.peerAccountId === state.next.peerAccountId) {
      return forNext(state, state.next, input.message);
    }
  }
  const row = TABLE[state === null ? "idle" : state.phase];
  const handler = row[input.kind] as Handler<typeof input.kind> | undefined;
  if (handler === undefined) return [state, []];
  const starts = input.kind === "dial" || input.kind === "invite";
  if (!starts && state !== null && "callId" in input && input.callId !== state.callId) return [state, []];
  if (input.kind === "message" && input.peerAccountId !== state?.peerAccountId) return [state, []];
  return (handler as (state: CallState | null, input: CallInput, now: number) => CallStepResult)(state, input, now);
}
