// Conversations with the call table: what is said to it, what it answers.

import { describe, expect, it } from "vitest";

import { CONNECT_MS, FIRST_RESTART_MS, NOTICE_MS, REPAIR_ALONE_MS, REPAIR_MS, RESTART_RETRY_MS, RING_MS, stepCall, type CallEffect, type CallInput, type CallState } from "../../src/phone/engine/call";
import type { CallStep } from "../../src/phone/engine/messages";
import { PRECEDENCES, type Precedence } from "../../src/phone/model";

const LOW = "0".repeat(32);
const HIGH = "f".repeat(32);
const PEER = "a".repeat(32);
const OTHER = "b".repeat(32);
const invite: Extract<CallStep, { step: "invite" }> = { step: "invite", sdp: "offer", commitment: new Uint8Array(32), precedence: "routine" };
const answer: Extract<CallStep, { step: "answer" }> = { step: "answer", sdp: "answer", nonce: new Uint8Array(16) };

/** One phone's call, played step by step from time 0. */
class Play {
  state: CallState | null = null;
  now = 0;
  effects: CallEffect[] = [];

  say(input: CallInput): this {
    [this.state, this.effects] = stepCall(this.state, input, this.now);
    return this;
  }

  hear(message: Exclude<CallStep, { step: "invite" }>, callId = LOW, peerAccountId = PEER): this {
    return this.say({ kind: "message", callId, peerAccountId, message });
  }

  invited(callId = LOW, peerAccountId = PEER, ageMs = 0, precedence: Precedence = "routine"): this {
    return this.say({ kind: "invite", callId, peerAccountId, ageMs, invite: { ...invite, precedence } });
  }

  at(now: number): this {
    this.now = now;
    return this.say({ kind: "time" });
  }

  expect(phase: CallState["phase"] | null, ...effects: string[]): this {
    expect(this.state?.phase ?? null).toBe(phase);
    expect(this.effects.map(summary)).toEqual(effects);
    return this;
  }
}

function summary(effect: CallEffect): string {
  switch (effect.kind) {
    case "send":
      return `send ${effect.message.step}`;
    case "record":
      return `record ${effect.outcome} ${effect.durationS}`;
    case "media":
      return `media ${effect.message.step}`;
    case "fault":
      return `fault ${effect.fault.code}`;
    default:
      return effect.kind;
  }
}

function dialled(callId = LOW): Play {
  return new Play().say({ kind: "dial", callId, peerAccountId: PEER, precedence: "routine" }).expect("requesting", "prepareOffer");
}

function offered(callId = LOW): Play {
  return dialled(callId).say({ kind: "offerReady", callId, invite }).expect("requesting", "send invite");
}

function ringing(): Play {
  return offered().hear({ step: "ringing" }).expect("ringing");
}

function callerActive(): Play {
  return ringing()
    .hear(answer)
    .expect("connecting", "media answer")
    .say({ kind: "connected", callId: LOW })
    .expect("active")
    .say({ kind: "audioBegan", callId: LOW })
    .expect("active");
}

function calleeConnecting(): Play {
  return new Play()
    .invited()
    .expect("incoming", "send ringing")
    .say({ kind: "pressAnswer" })
    .expect("connecting", "prepareAnswer")
    .say({ kind: "answerReady", callId: LOW, answer })
    .expect("connecting", "send answer");
}

describe("the caller", () => {
  it("talks and hangs up", () => {
    const play = callerActive();
    play.now = 65_000;
    play.say({ kind: "pressHangUp" }).expect("ended", "send end", "release", "record answered 65", "renewKeys");
    expect(play.state?.outcome).toBe("answered");
    play.say({ kind: "pressHangUp" }).expect(null);
  });

  it("hears that the other side hung up", () => {
    const play = callerActive();
    play.now = 10_400;
    play.hear({ step: "end", reason: "hang_up" }).expect("ended", "release", "record answered 10", "renewKeys");
  });

  it.each([
    ["decline", "declined"],
    ["busy", "busy"],
  ] as const)("is told %s", (step, outcome) => {
    ringing().hear({ step }).expect("ended", "release", `record ${outcome} 0`);
    offered().hear({ step }).expect("ended", "release", `record ${outcome} 0`);
  });

  it("cancels", () => {
    ringing().say({ kind: "pressHangUp" }).expect("ended", "send cancel", "release", "record cancelled 0");
    dialled().say({ kind: "pressHangUp" }).expect("ended", "send cancel", "release", "record cancelled 0");
  });

  it("gives up after 45 seconds", () => {
    ringing()
      .at(RING_MS - 1)
      .expect("ringing")
      .at(RING_MS)
      .expect("ended", "send cancel", "release", "record unanswered 0");
  });

  it("is told why there is no call, and tells the other side only if that knows of it", () => {
    const refused: CallInput = { kind: "setupFailed", callId: LOW, fault: { code: "microphone_refused", detail: "" } };
    dialled().say(refused).expect("ended", "release", "record failed 0", "fault microphone_refused");
    ringing().say(refused).expect("ended", "send end", "release", "record failed 0", "fault microphone_refused");
  });

  it("gives up when no media path is found", () => {
    ringing()
      .hear(answer)
      .at(FIRST_RESTART_MS - 1)
      .expect("connecting")
      .at(FIRST_RESTART_MS)
      .expect("connecting", "restartMedia")
      .say({ kind: "disconnected", callId: LOW, peerGone: false })
      .expect("connecting", "restartMedia")
      .at(CONNECT_MS - 1)
      .expect("connecting", "restartMedia")
      .at(CONNECT_MS)
      .expect("ended", "send end", "release", "record failed 0", "renewKeys", "fault media_blocked");
  });

  it("repairs a broken media path and goes on", () => {
    const play = callerActive();
    play.say({ kind: "disconnected", callId: LOW, peerGone: false }).expect("active", "restartMedia");
    play.at(RESTART_RETRY_MS).expect("active", "restartMedia");
    play.hear({ step: "restarted", sdp: "answer" }).expect("active", "media restarted");
    play.say({ kind: "connected", callId: LOW }).expect("active");
    play.at(2 * REPAIR_MS).expect("active");
  });

  it("gives a broken call up after a minute, sooner if the other phone is gone", () => {
    const broken = callerActive().say({ kind: "disconnected", callId: LOW, peerGone: false });
    broken.at(REPAIR_MS - 1).expect("active", "restartMedia").at(REPAIR_MS).expect("ended", "send end", "release", "record answered 60", "renewKeys", "fault call_lost");
    const alone = callerActive().say({ kind: "disconnected", callId: LOW, peerGone: true });
    alone.at(REPAIR_ALONE_MS).expect("ended", "send end", "release", "record answered 10", "renewKeys", "fault call_lost");
  });
});

describe("the callee", () => {
  it("answers, is connected, and the other side ends", () => {
    const play = calleeConnecting()
      .hear({ step: "reveal", nonce: new Uint8Array(16) })
      .expect("connecting", "media reveal")
      .say({ kind: "connected", callId: LOW })
      .expect("active")
      .say({ kind: "audioBegan", callId: LOW });
    play.now = 3_000;
    play.hear({ step: "end", reason: "hang_up" }).expect("ended", "release", "record answered 3");
  });

  it("declines", () => {
    new Play().invited().say({ kind: "pressDecline" }).expect("ended", "send decline", "release", "record declined 0");
    new Play().invited().say({ kind: "pressHangUp" }).expect("ended", "send decline", "release", "record declined 0");
  });

  it("misses a call that is cancelled, rings out, or arrives too late", () => {
    new Play().invited().hear({ step: "cancel" }).expect("ended", "release", "record missed 0");
    new Play().invited().at(RING_MS).expect("ended", "release", "record missed 0");
    new Play().invited(LOW, PEER, 30_000).at(15_000).expect("ended", "release", "record missed 0");
    new Play().invited(LOW, PEER, RING_MS + 1).expect(null, "record missed 0");
    calleeConnecting().hear({ step: "cancel" }).expect("ended", "release", "record missed 0");
  });

  it("leaves ICE restarts to the caller", () => {
    const play = calleeConnecting().say({ kind: "connected", callId: LOW });
    play.say({ kind: "disconnected", callId: LOW, peerGone: false }).expect("active");
    play.at(RESTART_RETRY_MS).expect("active");
    play.hear({ step: "restart", sdp: "offer" }).expect("active", "media restart");
  });

  it("ends a call whose short code was tampered with, visibly at both ends", () => {
    calleeConnecting().say({ kind: "revealFailed", callId: LOW }).expect("ended", "send end", "release", "record failed 0", "fault short_code_mismatch");
    callerActive().hear({ step: "end", reason: "short_code" }).expect("ended", "release", "record answered 0", "renewKeys", "fault short_code_mismatch");
  });
});

describe("the path while it rings", () => {
  const prepared = { step: "prepared", sdp: "answer" } as const;
  const rung = (): Play => new Play().say({ kind: "invite", callId: LOW, peerAccountId: PEER, ageMs: 0, invite, mayPrepare: true }).expect("incoming", "send ringing", "prepareMedia");

  it("is made, and the call stands with the answer", () => {
    const callee = rung().say({ kind: "prepared", callId: LOW, sdp: "answer" }).expect("incoming", "send prepared").say({ kind: "connected", callId: LOW }).expect("incoming");
    callee.say({ kind: "pressAnswer" }).expect("connecting", "prepareAnswer").say({ kind: "answerReady", callId: LOW, answer }).expect("active", "send answer").at(CONNECT_MS).expect("active");
    const caller = ringing().hear(prepared).expect("ringing", "media prepared").say({ kind: "connected", callId: LOW }).expect("ringing");
    caller.hear(answer).expect("active", "media answer").at(CONNECT_MS).expect("active");
  });

  it("is made after the answer where it was not ready, or is gone again", () => {
    rung().say({ kind: "pressAnswer" }).expect("connecting", "prepareAnswer").say({ kind: "prepared", callId: LOW, sdp: "answer" }).expect("connecting").say({ kind: "answerReady", callId: LOW, answer }).expect("connecting", "send answer");
    const gone = ringing().hear(prepared).say({ kind: "connected", callId: LOW }).say({ kind: "disconnected", callId: LOW, peerGone: false }).expect("ringing");
    gone.hear(answer).expect("connecting", "media answer").at(FIRST_RESTART_MS).expect("connecting", "restartMedia");
  });

  it("does not outlast a call that is declined, missed or cancelled", () => {
    rung().say({ kind: "connected", callId: LOW }).say({ kind: "pressDecline" }).expect("ended", "send decline", "release", "record declined 0");
    rung().say({ kind: "connected", callId: LOW }).at(RING_MS).expect("ended", "release", "record missed 0");
    ringing().hear(prepared).say({ kind: "connected", callId: LOW }).say({ kind: "pressHangUp" }).expect("ended", "send cancel", "release", "record cancelled 0");
  });
});

describe("more than one call", () => {
  it("is not available to whom the person does not want to hear, free or taken, and remembers that he called", () => {
    const quiet = (play: Play, callId: string, peerAccountId: string, ageMs = 0): Play => play.say({ kind: "invite", callId, peerAccountId, ageMs, invite: { ...invite, precedence: "priority" }, quiet: true });
    quiet(new Play(), LOW, PEER).expect(null, "send busy", "record missed 0");
    quiet(new Play(), LOW, PEER, RING_MS + 1).expect(null, "record missed 0");
    const play = quiet(new Play().invited().say({ kind: "pressAnswer" }), HIGH, OTHER).expect("connecting", "send busy", "record missed 0");
    expect(play.state?.next).toBeNull();
    expect(play.effects[0]).toMatchObject({ message: { step: "busy", reason: "not_available" }, peerAccountId: OTHER, callId: HIGH });
    // The one person who is being talked to loses his phone and calls again: he is heard.
    quiet(new Play().invited().say({ kind: "pressAnswer" }), HIGH, PEER).expect("incoming", "release", "record failed 0", "send ringing");
  });

  it("tells apart a line that is busy and a person who is not available", () => {
    const dialled = (): Play => new Play().say({ kind: "dial", callId: LOW, peerAccountId: PEER, precedence: "routine" });
    dialled().hear({ step: "busy" }).expect("ended", "release", "record busy 0");
    dialled().hear({ step: "busy", reason: "not_available" }).expect("ended", "release", "record unavailable 0");
  });

  it("is busy for a third person, and remembers that he called", () => {
    for (const play of [callerActive(), calleeConnecting(), ringing(), new Play().invited()]) {
      const { phase } = play.state as CallState;
      play.invited(HIGH, OTHER).expect(phase, "send busy", "record busy 0");
      expect(play.effects[0]).toMatchObject({ peerAccountId: OTHER, callId: HIGH });
    }
  });

  it("glare: the lower id goes on at both ends", () => {
    offered(LOW).invited(HIGH).expect("requesting");
    const yielding = offered(HIGH).invited(LOW).expect("connecting", "release", "prepareAnswer");
    expect(yielding.state).toMatchObject({ callId: LOW, outgoing: false, phase: "connecting" });
    dialled(HIGH).invited(LOW).expect("connecting", "release", "prepareAnswer");
  });

  it("takes a redial of the same person as the end of the call that he lost", () => {
    const play = callerActive().invited(HIGH);
    play.expect("incoming", "release", "record answered 0", "renewKeys", "send ringing");
    new Play().invited(LOW).invited(HIGH).expect("incoming", "release", "record missed 0", "send ringing");
  });

  it("rings and dials again after a call has ended", () => {
    const ended = (): Play => ringing().hear({ step: "decline" });
    ended().invited(HIGH).expect("incoming", "send ringing");
    ended().say({ kind: "dial", callId: HIGH, peerAccountId: OTHER, precedence: "routine" }).expect("requesting", "prepareOffer");
  });
});

describe("precedence", () => {
  const talking = (): [string, Play][] => [
    ["dialling", offered()],
    ["ringing", ringing()],
    ["connecting", calleeConnecting()],
    ["talking", callerActive()],
  ];

  it.each(talking())("a call that is %s ends for a higher one after notice, which then rings", (_, play) => {
    const { phase } = play.state as CallState;
    play.invited(HIGH, OTHER, 0, "flash").expect(phase, "send ringing");
    expect(play.state?.next).toMatchObject({ callId: HIGH, peerAccountId: OTHER, endsAt: NOTICE_MS });
    play.at(NOTICE_MS - 1).expect(phase);
    play.at(NOTICE_MS);
    expect(play.state).toMatchObject({ callId: HIGH, peerAccountId: OTHER, phase: "incoming", precedence: "flash", outgoing: false, next: null });
    expect(play.effects[0]).toMatchObject({ kind: "send", peerAccountId: PEER, callId: LOW, message: { step: "end", reason: "preempted", by: "flash" } });
    expect(play.effects.map(summary)).toContain("record preempted 5".replace("5", phase === "active" ? "5" : "0"));
    play.say({ kind: "pressAnswer" }).expect("connecting", "prepareAnswer");
  });

  it("only a higher level is heard during a call", () => {
    for (const mine of PRECEDENCES) {
      for (const other of PRECEDENCES) {
        const play = new Play().say({ kind: "dial", callId: LOW, peerAccountId: PEER, precedence: mine }).invited(HIGH, OTHER, 0, other);
        const above = PRECEDENCES.indexOf(other) > PRECEDENCES.indexOf(mine);
        play.expect("requesting", ...(above ? ["send ringing"] : ["send busy", "record busy 0"]));
        expect(play.state?.next?.callId ?? null).toBe(above ? HIGH : null);
      }
    }
  });

  it("the higher call may be answered at once, or declined", () => {
    const taken = callerActive().invited(HIGH, OTHER, 0, "immediate").say({ kind: "pressAnswer" });
    taken.expect("connecting", "send end", "release", "record preempted 0", "renewKeys", "prepareAnswer");
    expect(taken.state).toMatchObject({ callId: HIGH, precedence: "immediate" });
    const kept = callerActive().invited(HIGH, OTHER, 0, "immediate").say({ kind: "pressDecline" });
    kept.expect("active", "send decline", "record declined 0").at(NOTICE_MS).expect("active");
    callerActive().say({ kind: "pressAnswer" }).expect("active").say({ kind: "pressDecline" }).expect("active");
  });

  it("rings at once if the lower call ends first, and not at all if its caller gives up", () => {
    const first = callerActive().invited(HIGH, OTHER, 0, "flash").say({ kind: "pressHangUp" });
    first.expect("incoming", "send end", "release", "record answered 0", "renewKeys");
    const left = callerActive().invited(HIGH, OTHER, 0, "flash").hear({ step: "cancel" }, HIGH, OTHER);
    left.expect("active", "record missed 0").at(NOTICE_MS).expect("active");
    callerActive().invited(HIGH, OTHER, 0, "flash").hear({ step: "cancel" }, HIGH, PEER).at(NOTICE_MS - 1).expect("active");
  });

  it("keeps the candidates that come before it rings, and the time at which it is missed", () => {
    const play = callerActive().invited(HIGH, OTHER, 10_000, "flash");
    play.hear({ step: "candidate", candidates: [{ candidate: "a" }] }, HIGH, OTHER).hear({ step: "candidate", candidates: [{ candidate: "b" }] }, HIGH, OTHER);
    play.at(NOTICE_MS).expect("incoming", "send end", "release", "record preempted 5", "renewKeys", "media candidate");
    expect(play.effects.at(-1)).toMatchObject({ callId: HIGH, message: { candidates: [{ candidate: "a" }, { candidate: "b" }] } });
    play.at(RING_MS - 10_000 - 1).expect("incoming").at(RING_MS - 10_000).expect("ended", "release", "record missed 0");
  });

  it("a call that nobody has answered gives way at once", () => {
    new Play().invited().invited(HIGH, OTHER, 0, "priority").expect("incoming", "send busy", "release", "record missed 0", "send ringing");
  });

  it("of two that wait the higher one stays, and the notice is not begun anew", () => {
    const play = callerActive().invited(HIGH, OTHER, 0, "priority");
    play.now = 2_000;
    play.invited("e".repeat(32), "c".repeat(32), 0, "flash").expect("active", "send busy", "record busy 0", "send ringing");
    expect(play.state?.next).toMatchObject({ callId: "e".repeat(32), endsAt: NOTICE_MS });
    play.invited("d".repeat(32), OTHER, 0, "flash").expect("active", "send busy", "record busy 0");
  });

  it("glare: the higher level goes on at both ends, whatever the ids", () => {
    const routine = offered(LOW).invited(HIGH, PEER, 0, "flash").expect("connecting", "release", "prepareAnswer");
    expect(routine.state).toMatchObject({ callId: HIGH, precedence: "flash" });
    new Play().say({ kind: "dial", callId: HIGH, peerAccountId: PEER, precedence: "flash" }).invited(LOW).expect("requesting");
  });

  it.each([...talking(), ["incoming", new Play().invited()] as [string, Play]])("the server ends a call that is %s: it says so and why", (_, play) => {
    play.say({ kind: "preempted", callId: HIGH, by: "flash" }); // another call's
    expect(play.state?.phase).not.toBe("ended");
    play.say({ kind: "preempted", callId: LOW, by: "flash" });
    expect(play.state).toMatchObject({ phase: "ended", outcome: "preempted", preemptedBy: "flash" });
    expect(play.effects[0]).toMatchObject({ message: { step: "end", reason: "preempted", by: "flash" } });
    play.say({ kind: "preempted", callId: LOW, by: null }).expect("ended");
  });

  it("the other side's word is enough, if the server's is lost", () => {
    const play = callerActive().hear({ step: "end", reason: "preempted", by: "immediate" });
    play.expect("ended", "release", "record preempted 0", "renewKeys");
    expect(play.state?.preemptedBy).toBe("immediate");
  });

  it("no room at the callee's end is said at both", () => {
    calleeConnecting().say({ kind: "setupFailed", callId: LOW, fault: { code: "no_capacity", detail: "" } }).expect("ended", "send end", "release", "record failed 0", "fault no_capacity");
    ringing().hear({ step: "end", reason: "no_capacity" }).expect("ended", "release", "record failed 0", "fault no_capacity");
  });
});

describe("what does not belong", () => {
  it("changes nothing: other calls, other people, repeated invites, late answers", () => {
    ringing().hear(answer, HIGH).expect("ringing");
    ringing().hear(answer, LOW, OTHER).expect("ringing");
    new Play().invited().invited().expect("incoming");
    new Play().hear(answer).expect(null);
    callerActive().hear(answer).expect("active");
    callerActive().hear({ step: "decline" }).expect("active");
    new Play().say({ kind: "pressAnswer" }).expect(null);
    const ended = ringing().hear({ step: "decline" });
    ended.hear(answer).expect("ended").at(10 * RING_MS).expect("ended");
  });
});
