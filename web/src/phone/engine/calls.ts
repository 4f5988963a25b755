// Carries out what the call table decides: messages, media, keys, short code, tones.

import { ApiError, Unreachable, type Schemas } from "../../api/client";
import { fromHex, randomId, toBase64 } from "../../keys/bytes";
import type { EpochKeys } from "../../keys/conversation";
import { mlsKid } from "../../keys/sframe";
import { commitTo, newNonce, revealMatches, shortCode } from "../../keys/shortcode";
import { isAbove, type CallOutcome, type CallQuality, type Fault, type MediaHealth, type Precedence } from "../model";
import { CallPath, type Clock } from "./callpath";
import { LOUDEST_QUIET, stepCall, type CallEffect, type CallInput, type CallState } from "./call";
import type { FrameCounts } from "./frames";
import { Broken, NotReady } from "./groupinfo";
import type { Groups } from "./groups";
import { Lane } from "./lane";
import { MediaBlocked, MicrophoneRefused } from "./audio";
import type { CallMedia, IceServers, MediaEvents, MediaReport, OpenMedia } from "./media";
import { encodeMessage, type CallMessage, type CallStep } from "./messages";
import type { PathProfile } from "./path";
import type { Session } from "./session";
import type { Tone } from "./tones";

const BASE_KEY_LABEL = "SFrame 1.0 Base Key"; // RFC 9605 §5.2
const BASE_KEY_BYTES = 32;
/** How long a call message is tried again while the server is away. */
const SEND_FOR_MS = 45_000;
const SEND_RETRY_MS = 1_000;
const TICK_MS = 500;
const WELCOME_PAUSE_MS = 300;
const WAITING_PAUSE_S = 2;

/** What the screen shows of the call, beyond its state. */
export interface CallDetails {
  shortCode: string | null;
  muted: boolean;
  /** The server has no room for the call yet. */
  waiting: boolean;
  health: MediaHealth;
  rttMs: number | null;
  loss: number | null;
  quality: CallQuality | null;
  sendingBps: number | null;
  copiesPerFrame: number | null;
  framesDecrypted: number;
  framesRefused: number;
  fault: Fault | null;
}

export interface CallEvents {
  changed(): void;
  /** The person does not want to be disturbed. */
  quiet(): boolean;
  record(peer: string, callId: string, outgoing: boolean, outcome: CallOutcome, beganAt: number, durationS: number, precedence: Precedence): void;
  /** The highest level at which a device may call, by its certificate and not by the server's word. */
  ceiling(deviceId: string): Precedence;
  /** The conversation should be renewed. */
  renewKeys(peer: string): void;
  tone(tone: Tone | null): void;
  /** No conference or talk group is joined: a device is in one call at a time. */
  free(): boolean;
  /** Whether the server, if it is there, says that the peer's phone is not. */
  peerGone(peer: string): boolean;
}

export interface CallsEnvironment {
  openMedia: OpenMedia;
  /** Milliseconds since 1970. */
  now: () => number;
  pause: (ms: number) => Promise<void>;
}

/** The parts of one call that are not in its state: media, keys and nonces. */
interface Line {
  callId: string;
  peer: string;
  precedence: Precedence;
  peerDeviceId: string | null;
  beganAt: number;
  media: CallMedia | null;
  /** All that the peer has named. */
  candidates: RTCIceCandidateInit[];
  ownNonce: Uint8Array;
  /** The callee's copy of the caller's commitment. */
  commitment: Uint8Array | null;
  peerNonce: Uint8Array | null;
  keys: EpochKeys | null;
  /** Of the epochs in which this call said or heard something: somebody may commit while an answer is on its way. */
  epochs: EpochKeys[];
  /** The callee's: the description that he sent while it rang. */
  prepared: string | null;
  /** The caller's: the device that sent such a description. */
  preparedBy: string | null;
  path: CallPath;
  /** Of the last report. */
  counts: FrameCounts | null;
  released: boolean;
  work: Lane;
}

const NO_DETAILS: CallDetails = {
  shortCode: null,
  muted: false,
  waiting: false,
  health: "starting",
  rttMs: null,
  loss: null,
  quality: null,
  sendingBps: null,
  copiesPerFrame: null,
  framesDecrypted: 0,
  framesRefused: 0,
  fault: null,
};

export class Calls {
  state: CallState | null = null;
  details: CallDetails = NO_DETAILS;
  private line: Line | null = null;
  /** The devices that sent the invites which have not become the call of this phone yet, by call id. */
  private invitedBy: Readonly<Record<string, string>> = {};
  private readonly outgoing = new Lane();
  private readonly ticking: ReturnType<typeof setInterval>;
  private profile: PathProfile | null = null;
  private readonly clock: Clock = {
    now: () => this.environment.now(),
    serverAheadMs: () => this.session.clock.aheadMs,
    serverErrorMs: () => this.session.clock.errorMs,
  };

  constructor(
    private readonly environment: CallsEnvironment,
    private readonly session: Session,
    private readonly groups: Groups,
    private readonly events: CallEvents,
  ) {
    this.ticking = setInterval(() => this.state !== null && this.step({ kind: "time" }), TICK_MS);
  }

  /** Whether a call is being set up or held, with this peer or with anybody. */
  busy(peer?: string): boolean {
    return this.state !== null && this.state.phase !== "ended" && (peer === undefined || this.state.peerAccountId === peer);
  }

  /** Whoever calls the person whose call has just begun to ring wants to talk to him: it is answered. */
  dial(peer: string, precedence: Precedence): void {
    if (this.state?.phase === "incoming" && this.state.peerAccountId === peer) this.answer();
    else if (!this.busy()) this.step({ kind: "dial", callId: randomId(), peerAccountId: peer, precedence });
  }

  /** The server ended a call of this phone, for one of a higher level or for want of room. */
  preempted(callId: string, by: Precedence | null): void {
    this.step({ kind: "preempted", callId, by });
  }

  answer(): void {
    this.step({ kind: "pressAnswer" });
  }

  decline(): void {
    this.step({ kind: "pressDecline" });
  }

  hangUp(): void {
    this.step({ kind: "pressHangUp" });
  }

  setMuted(muted: boolean): void {
    this.line?.media?.setMuted(muted);
    this.show({ muted });
  }

  /** A call message from a verified sender, sealed in `epoch`. `keys` are those of the present one. */
  receive(peer: string, deviceId: string, message: CallMessage, acceptedUnixS: number, epoch: bigint, keys: EpochKeys): void {
    const { callId, type: _, ...step } = message;
    if (step.step === "invite") {
      const ageMs = 1_000 * (this.session.serverUnixS() - acceptedUnixS);
      this.invitedBy = { ...(this.state?.next == null ? {} : this.invitedBy), [callId]: deviceId };
      const invite = { ...step, precedence: this.allowed(deviceId, step.precedence) };
      const quiet = this.events.quiet() && !isAbove(invite.precedence, LOUDEST_QUIET);
      this.step({ kind: "invite", callId, peerAccountId: peer, ageMs, invite, quiet, mayPrepare: this.events.free() && isOnlyDevice(keys) });
      if (this.line?.callId === callId) {
        this.line.peerDeviceId ??= deviceId;
        remember(this.line, keys);
      }
      return;
    }
    if (this.line?.callId === callId && this.line.peer === peer) remember(this.line, keys);
    if (step.step === "path") {
      if (this.line?.callId === callId && this.line.peer === peer) this.line.path.peerTold(step.forecast);
      return;
    }
    if (step.step === "answer" && this.line?.callId === callId && this.line.peer === peer) {
      this.line.peerDeviceId = deviceId;
      this.line.keys = this.line.epochs.find((each) => each.epoch === epoch) ?? null;
    }
    if (step.step === "prepared" && this.line?.callId === callId && this.line.peer === peer) this.line.preparedBy ??= deviceId;
    this.step({ kind: "message", callId, peerAccountId: peer, message: step });
  }

  /** The level of an invite as far as its caller may ask for it: the one place where a claim to precedence is judged. */
  allowed(deviceId: string, claimed: Precedence): Precedence {
    const ceiling = this.events.ceiling(deviceId);
    return isAbove(claimed, ceiling) ? ceiling : claimed;
  }

  /** A call message of another device of the same person: what it took need not ring here. */
  receiveOwn(message: CallMessage): void {
    if (message.step === "answer") this.step({ kind: "takenElsewhere", callId: message.callId, outcome: "answered" });
    if (message.step === "decline") this.step({ kind: "takenElsewhere", callId: message.callId, outcome: "declined" });
  }

  /** A device was revoked: nothing more is said to it. */
  deviceRevoked(deviceId: string): void {
    const line = this.line;
    if (line === null || line.released || line.peerDeviceId !== deviceId) return;
    this.step({ kind: "setupFailed", callId: line.callId, fault: { code: "peer_revoked", detail: deviceId } });
  }

  /** The server is back: it is told of the call again, as it may have forgotten while it was away. */
  serverBack(): void {
    const line = this.line;
    if (line?.media != null && !line.released) void this.grant(line, this.state?.phase === "incoming").catch((error: unknown) => this.unlessPreempted(line, error));
  }

  /** The phone's own path changed or was forecast anew: what is sent follows it, and the other phone is told. */
  pathChanged(profile: PathProfile): void {
    this.profile = profile;
    const { line } = this;
    if (line === null || line.released) return;
    const forecast = line.path.ownChanged(profile);
    if (this.state?.phase === "active") this.post(line.peer, line.callId, { step: "path", forecast });
  }

  close(): void {
    clearInterval(this.ticking);
    if (this.line !== null) this.release(this.line);
    this.events.tone(null);
  }

  private step(input: CallInput): void {
    const before = this.state;
    const now = this.environment.now();
    const [next, effects] = stepCall(before, input, now);
    this.state = next;
    if (next !== null && next.callId !== before?.callId) {
      this.details = NO_DETAILS;
      const path = new CallPath(this.clock);
      if (this.profile !== null) path.ownChanged(this.profile);
      const line = { callId: next.callId, peer: next.peerAccountId, precedence: next.precedence, beganAt: now, ownNonce: newNonce(), work: new Lane(), path, counts: null };
      const previous = this.line;
      this.line = { ...line, peerDeviceId: this.invitedBy[next.callId] ?? null, media: null, candidates: [], commitment: next.invite?.commitment ?? null, peerNonce: null, keys: null, epochs: [], prepared: null, preparedBy: null, released: false };
      if (previous !== null) this.release(previous);
    }
    for (const effect of effects) this.carryOut(effect);
    if (next === null) this.line = null;
    if (next?.phase === "active" && before?.phase !== "active" && this.profile !== null) this.pathChanged(this.profile); // the other phone is told of it
    this.events.tone(toneFor(next));
    if (next !== before || effects.length > 0) this.events.changed();
  }

  private carryOut(effect: CallEffect): void {
    const line = this.line;
    switch (effect.kind) {
      case "send":
        this.post(effect.peerAccountId, effect.callId, effect.message);
        break;
      case "prepareOffer":
        if (line !== null) this.attempt(line, () => this.prepareOffer(line));
        break;
      case "prepareAnswer":
        if (line !== null) {
          line.commitment = effect.invite.commitment;
          this.attempt(line, () => this.prepareAnswer(line, effect.invite.sdp));
        }
        break;
      case "prepareMedia":
        if (line !== null) void line.work.run(() => this.prepareMedia(line, effect.sdp)).catch((error: unknown) => this.unlessPreempted(line, error));
        break;
      case "media":
        if (line?.callId === effect.callId) this.attempt(line, () => this.handToMedia(line, effect.message));
        break;
      case "restartMedia":
        // A failed attempt is no reason to give up: the table asks again until its deadline.
        if (line !== null) void line.work.run(() => this.restart(line)).catch((error: unknown) => this.unlessPreempted(line, error));
        break;
      case "release":
        if (line?.callId === effect.callId) this.release(line);
        break;
      case "record": {
        const beganAt = line?.callId === effect.callId ? line.beganAt : this.environment.now();
        this.events.record(effect.peerAccountId, effect.callId, effect.outgoing, effect.outcome, beganAt, effect.durationS, effect.precedence);
        break;
      }
      case "fault":
        this.show({ fault: effect.fault });
        break;
      case "renewKeys":
        this.events.renewKeys(effect.peerAccountId);
        break;
    }
  }

  /** Media work of one call, in order; what fails ends the call with a fault. */
  private attempt(line: Line, work: () => Promise<void>): void {
    line.work
      .run(async () => {
        if (!line.released) await work();
      })
      .catch((error: unknown) => {
        if (!line.released && !this.unlessPreempted(line, error)) this.step({ kind: "setupFailed", callId: line.callId, fault: faultOf(error) });
      });
  }

  /** The server's word that the call was pre-empted, if the frame that said so was lost. True if that is what happened. */
  private unlessPreempted(line: Line, error: unknown): boolean {
    if (!(error instanceof ApiError && error.code === "call_preempted")) return false;
    this.step({ kind: "preempted", callId: line.callId, by: null });
    return true;
  }

  private async prepareOffer(line: Line): Promise<void> {
    await this.ensureConversation(line);
    const media = await this.openMedia(line);
    const sdp = await media.offer();
    const commitment = await commitTo(line.ownNonce);
    if (!line.released) this.step({ kind: "offerReady", callId: line.callId, invite: { step: "invite", sdp, commitment, precedence: line.precedence } });
  }

  /** Waits for a welcome that is on its way, for as long as the call is wanted. */
  private async ensureConversation(line: Line): Promise<void> {
    while (!line.released) {
      try {
        await this.groups.ensure(this.groups.directId(line.peer));
        return;
      } catch (error) {
        if (!(error instanceof NotReady && error.soon)) throw error;
      }
      await this.environment.pause(WELCOME_PAUSE_MS);
    }
  }

  /** Makes the path ready while it rings. What fails here is done when the call is answered. */
  private async prepareMedia(line: Line, offer: string): Promise<void> {
    if (line.released || this.state?.phase !== "incoming") return;
    try {
      const media = await this.openMedia(line, true);
      const sdp = await media.answerOffer(offer);
      await media.addCandidates(line.candidates);
      line.prepared = sdp;
      this.step({ kind: "prepared", callId: line.callId, sdp });
    } catch (error) {
      line.media?.close();
      line.media = null;
      throw error;
    }
  }

  private async prepareAnswer(line: Line, offer: string): Promise<void> {
    let sdp = line.media === null ? null : line.prepared;
    if (sdp === null) {
      const media = await this.openMedia(line);
      sdp = await media.answerOffer(offer);
      await media.addCandidates(line.candidates);
    } else {
      await line.media?.openMicrophone();
      void this.grant(line).catch((error: unknown) => this.unlessPreempted(line, error)); // the server learns that it is answered
    }
    if (!line.released) this.step({ kind: "answerReady", callId: line.callId, answer: { step: "answer", sdp, nonce: new Uint8Array(line.ownNonce) } });
  }

  private async handToMedia(line: Line, message: CallStep): Promise<void> {
    const { media } = line;
    switch (message.step) {
      case "candidate":
        line.candidates.push(...message.candidates);
        await media?.addCandidates(message.candidates);
        break;
      case "prepared":
        await media?.acceptAnswer(message.sdp);
        break;
      case "answer":
        if (media === null) throw new MediaBlocked("an answer without an offer");
        if (line.preparedBy !== null && line.preparedBy !== line.peerDeviceId) throw new MediaBlocked("another device than the one that prepared the call has answered");
        line.peerNonce = message.nonce;
        await this.useKeys(line, true);
        await media.acceptAnswer(message.sdp);
        this.post(line.peer, line.callId, { step: "reveal", nonce: new Uint8Array(line.ownNonce) });
        await this.showShortCode(line, line.ownNonce, message.nonce);
        break;
      case "reveal":
        if (line.commitment === null || line.peerNonce !== null) return;
        line.peerNonce = message.nonce;
        if (await revealMatches(line.commitment, message.nonce)) await this.showShortCode(line, message.nonce, line.ownNonce);
        else this.step({ kind: "revealFailed", callId: line.callId });
        break;
      case "restart":
        if (media !== null) this.post(line.peer, line.callId, { step: "restarted", sdp: await media.answerRestart(message.sdp) });
        break;
      case "restarted":
        if (media !== null) await media.acceptAnswer(message.sdp);
        break;
      default:
        break;
    }
  }

  private async openMedia(line: Line, ringing = false): Promise<CallMedia> {
    const mine = (): boolean => this.line === line && !line.released;
    const events: MediaEvents = {
      candidates: (candidates) => mine() && this.post(line.peer, line.callId, { step: "candidate", candidates }),
      connected: () => mine() && this.step({ kind: "connected", callId: line.callId }),
      disconnected: () => mine() && this.step({ kind: "disconnected", callId: line.callId, peerGone: this.events.peerGone(line.peer) }),
      audioBegan: () => mine() && this.step({ kind: "audioBegan", callId: line.callId }),
      report: (report) => mine() && this.report(line, report),
    };
    const media = await this.environment.openMedia(() => this.grant(line, ringing), events, !ringing);
    if (line.released) {
      media.close();
      throw new MediaBlocked("the call is over");
    }
    media.setMuted(this.details.muted);
    line.media = media;
    return media;
  }

  /** `ringing`: the path is made ready for a call that nobody has answered yet. */
  private async grant(line: Line, ringing = false): Promise<IceServers> {
    const request: Schemas["CallRequest"] = { conversation_id: this.groups.directId(line.peer), precedence: line.precedence, ringing };
    for (;;) {
      try {
        const grant = await this.session.call<Schemas["CallGrant"]>("PUT", `/api/v1/calls/${line.callId}`, request);
        if (this.line === line) this.show({ waiting: false });
        return grant.ice_servers;
      } catch (error) {
        if (!(error instanceof ApiError && error.code === "call_waiting") || line.released) throw error;
        if (this.line === line) this.show({ waiting: true });
        await this.environment.pause((error.retryAfterS ?? WAITING_PAUSE_S) * 1_000);
        if (line.released) throw error;
      }
    }
  }

  private async restart(line: Line): Promise<void> {
    if (line.media === null || line.released) return;
    const sdp = await line.media.restart(await this.grant(line));
    if (sdp !== null) this.post(line.peer, line.callId, { step: "restart", sdp });
  }

  /** Media keys of the epoch in which `answer` was sealed, the same at both ends. */
  private async useKeys(line: Line, fromAnswer: boolean): Promise<void> {
    const { keys } = line;
    const peerLeaf = keys?.members.find((member) => member.accountId === line.peer && member.deviceId === line.peerDeviceId)?.leafIndex;
    if (keys === null || peerLeaf === undefined || line.media === null) {
      throw new MediaBlocked(fromAnswer ? "the answer came in an epoch that is over" : "the caller is not in the conversation");
    }
    const baseKey = await keys.export(BASE_KEY_LABEL, fromHex(line.callId), BASE_KEY_BYTES);
    line.media.useKeys({
      send: { kid: mlsKid(keys.ownLeaf, keys.epoch), baseKey },
      receive: { kid: mlsKid(peerLeaf, keys.epoch), baseKey },
    });
  }

  private async showShortCode(line: Line, callerNonce: Uint8Array, calleeNonce: Uint8Array): Promise<void> {
    if (line.keys === null) return;
    const code = await shortCode(line.keys.export, line.callId, callerNonce, calleeNonce);
    if (this.line === line) this.show({ shortCode: code });
  }

  /** Sends a call message, in order, trying again for a while if the server is away. */
  private post(peer: string, callId: string, message: CallStep): void {
    const giveUpAt = this.environment.now() + SEND_FOR_MS;
    const line = this.line?.callId === callId ? this.line : null;
    void this.outgoing
      .run(() => this.deliver(peer, callId, message, line, giveUpAt))
      .catch((error: unknown) => {
        const needed = message.step === "invite" || message.step === "answer";
        if (needed && line !== null && !line.released) this.step({ kind: "setupFailed", callId, fault: faultOf(error) });
      });
  }

  private async deliver(peer: string, callId: string, message: CallStep, line: Line | null, giveUpAt: number): Promise<void> {
    // Farewells go out for calls that are over; everything else of such a call is pointless.
    const farewell = message.step === "cancel" || message.step === "end" || message.step === "decline" || message.step === "busy";
    const [id, messageId] = [this.groups.directId(peer), randomId()];
    let request: Schemas["MessageRequest"] | null = null;
    for (;;) {
      if (!farewell && line?.released === true) return;
      try {
        if (request === null) {
          const { sealed, keys } = await this.groups.seal(id, encodeMessage({ type: "call", callId, ...message }), () => []);
          if (line !== null) remember(line, keys);
          request = { message_id: messageId, message: toBase64(sealed.message) };
          if (message.step === "answer" && line !== null) {
            line.keys = keys;
            await this.useKeys(line, false);
          }
        }
        await this.session.call<Schemas["MessageAccepted"]>("POST", `/api/v1/conversations/${id}/messages`, request);
        return;
      } catch (error) {
        const passing = error instanceof Unreachable || (error instanceof ApiError && error.passing);
        if (!passing || this.environment.now() >= giveUpAt) throw error;
        await this.environment.pause(SEND_RETRY_MS);
      }
    }
  }

  private report(line: Line, { counts, health, quality, measured }: MediaReport): void {
    const wasUndecryptable = this.details.fault?.code === "media_undecryptable";
    const undecryptable: Fault = { code: "media_undecryptable", detail: `${counts.refused} frames refused` };
    const fault = health === "undecryptable" ? undecryptable : wasUndecryptable && health === "good" ? null : this.details.fault;
    const tuning = line.path.tune(measured);
    line.media?.tune(tuning);
    const sealed = counts.sealed - (line.counts?.sealed ?? 0);
    const copiesPerFrame = sealed === 0 ? null : (counts.copies - (line.counts?.copies ?? 0)) / sealed;
    line.counts = counts;
    const { rttMs, lossReceived: loss } = measured;
    this.show({ health, quality, rttMs, loss, fault, sendingBps: tuning.rate, copiesPerFrame, framesDecrypted: counts.decrypted, framesRefused: counts.refused });
  }

  private release(line: Line): void {
    if (line.released) return;
    line.released = true;
    line.media?.close();
    void this.session.call("DELETE", `/api/v1/calls/${line.callId}`).catch(() => undefined); // it ends by itself if this is lost
  }

  private show(details: Partial<CallDetails>): void {
    this.details = { ...this.details, ...details };
    this.events.changed();
  }
}

function remember(line: Line, keys: EpochKeys): void {
  if (!line.epochs.some((each) => each.epoch === keys.epoch)) line.epochs.push(keys);
}

/** Whether no other device of this person is in the conversation. */
function isOnlyDevice({ members, ownLeaf }: EpochKeys): boolean {
  const own = members.find((member) => member.leafIndex === ownLeaf)?.accountId;
  return members.filter((member) => member.accountId === own).length === 1;
}

function toneFor(state: CallState | null): Tone | null {
  if (state?.next != null || (state?.phase === "ended" && state.outcome === "preempted")) return "preemption";
  if (state?.phase === "ringing") return "ringback";
  if (state?.phase === "incoming") return isAbove(state.precedence, "priority") ? "incomingUrgent" : "incoming";
  if (state?.phase === "ended" && (state.outcome === "busy" || state.outcome === "declined")) return "busy";
  return null;
}

/** The fault that a person sees for what went wrong. */
export function faultOf(error: unknown): Fault {
  const detail = error instanceof Error ? error.message : String(error);
  if (error instanceof ApiError && (error.code === "no_capacity" || error.code === "precedence_refused")) return { code: error.code, detail };
  if (error instanceof ApiError && error.code === "call_waiting") return { code: "no_capacity", detail };
  if (error instanceof MicrophoneRefused) return { code: "microphone_refused", detail };
  if (error instanceof MediaBlocked) return { code: "media_blocked", detail };
  if (error instanceof NotReady) return { code: "peer_not_ready", detail };
  if (error instanceof Broken) return { code: error.code, detail };
  if (error instanceof Unreachable || (error instanceof ApiError && error.passing)) return { code: "server_unreachable", detail };
  return { code: "unexpected", detail };
}
