// The conference or talk group that this phone is in: joining, keys of each epoch, who is there and who speaks, the floor, leaving.
//
// The server says which call of a conversation is in progress and which devices are in it; whose voice can be heard says the MLS group
// alone. Every commit of the conversation brings new media keys at once, and whoever it removed is out of the call with it.

import { ApiError, Unreachable, type Schemas } from "../../api/client";
import { fromHex, randomId, toBase64 } from "../../keys/bytes";
import type { Member } from "../../keys/conversation";
import { conferenceCode } from "../../keys/shortcode";
import { isAbove, type ConferencePhase, type Fault, type FloorView, type MediaHealth, type Precedence } from "../model";
import { LOUDEST_QUIET } from "./call";
import { CallPath, type Clock } from "./callpath";
import { faultOf } from "./calls";
import type { ConferenceKind, ConferenceMedia, ConferenceReport, OpenConference, Voice } from "./conferencemedia";
import { Broken, NotReady } from "./groupinfo";
import type { Groups } from "./groups";
import { Lane } from "./lane";
import { encodeMessage, type ConferenceMessage } from "./messages";
import type { PathProfile } from "./path";
import type { FloorFrame, Session } from "./session";
import type { Tone } from "./tones";

const BASE_KEY_LABEL = "SFrame 1.0 Base Key"; // RFC 9605 §5.2
const BASE_KEY_BYTES = 32;
const RING_MS = 45_000;
/** The server says when a call changes; this finds what was said while nothing could be heard. */
const POLL_MS = 30_000;
/** What the server says in this time is answered by one question: many may come and go at once. */
const SPACING_MS = 2_000;
const RETRY_MS = 1_500;
/** The server admits a device to a call for four hours (docs/protocols.md). */
const RENEW_MS = 3_600_000;
/** How often the server is asked for room (docs/protocols.md, "Precedence and admission"). */
const WAIT_MS = 2_000;
/** How long an answer of the server is waited for when a person wants to join. */
const JOIN_MS = 30_000;
/** How long a broken connection is repaired before the person is told that it is lost. */
const REPAIR_MS = 60_000;
/** A voice counts as speaking above this level (0–1 of full scale, −40 dBov), and for this long after. */
const SPEAKING_LEVEL = 0.01;
const SPEAKING_MS = 600;

export interface Present {
  accountId: string;
  deviceId: string;
}

export interface ConferenceState {
  conversationId: string;
  kind: ConferenceKind;
  callId: string;
  phase: ConferencePhase;
  precedence: Precedence;
  preempted: { by: Precedence | null } | null;
  /** Milliseconds since 1970. */
  activeSince: number | null;
  present: readonly Present[];
  /** Account ids. */
  speaking: readonly string[];
  muted: boolean;
  code: string | null;
  health: MediaHealth;
  floor: FloorView | null;
  /** The button is held, whether the floor was granted or not. */
  pressed: boolean;
  fault: Fault | null;
}

export interface RingingState {
  conversationId: string;
  callId: string;
  from: string;
  precedence: Precedence;
}

export interface ConferencesEvents {
  changed(): void;
  /** The person does not want to be disturbed. */
  quiet(): boolean;
  tone(tone: Tone | null): void;
}

export interface ConferencesEnvironment {
  openConference: OpenConference;
  now: () => number;
  pause: (ms: number) => Promise<void>;
}

/** What belongs to one stay in one call. */
interface Stay {
  callId: string;
  /** The id under which this phone opens a call where there is none. */
  opened: string;
  invited: boolean;
  /** When the server is told again that this phone is in the call. */
  renewAt: number;
  media: ConferenceMedia | null;
  path: CallPath;
  over: boolean;
  /** When the repair of a broken connection began. */
  brokenSince: number | null;
  epoch: bigint | null;
  members: readonly Member[];
  /** Who is in the call, as the server has it. */
  listed: readonly Present[];
  heardAt: Map<string, number>;
  decrypted: number;
  refused: number;
  work: Lane;
}

export class Conferences {
  state: ConferenceState | null = null;
  ringing: RingingState | null = null;
  private stay: Stay | null = null;
  private profile: PathProfile | null = null;
  private ringTimer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;
  /** The call may have changed since the server was last asked. */
  private stale = false;
  private wake: () => void = () => undefined;
  private readonly clock: Clock = {
    now: () => this.environment.now(),
    serverAheadMs: () => this.session.clock.aheadMs,
    serverErrorMs: () => this.session.clock.errorMs,
  };

  constructor(
    private readonly environment: ConferencesEnvironment,
    private readonly session: Session,
    private readonly groups: Groups,
    private readonly deviceId: string,
    private readonly events: ConferencesEvents,
  ) {
    void this.keepAsking();
  }

  get busy(): boolean {
    return this.state !== null && this.state.phase !== "ended";
  }

  /** Joins the call that is in progress in a group or talk group, or opens one at this precedence. */
  async join(conversationId: string, precedence: Precedence): Promise<void> {
    const info = this.groups.info(conversationId);
    if (info === null || info.kind === "direct" || info.standing !== "open") throw new Broken("not_a_member", "this conversation has no conference");
    if (this.busy && this.state?.conversationId === conversationId) return;
    this.leave();
    this.stopRinging();
    await this.reach(conversationId, info.kind, precedence);
  }

  /** The server ended the call, for one of a higher level or for want of room. */
  preempted(callId: string, by: Precedence | null): void {
    if (this.stay?.callId !== callId || this.stay.over) return;
    this.show({ preempted: { by } });
    this.end(null);
    this.events.tone("preemption");
  }

  /** Leaves the call, or puts away one that has ended. */
  leave(): void {
    if (this.state === null) return;
    if (this.stay !== null) this.release(this.stay);
    if (this.state.preempted !== null) this.events.tone(null);
    this.state = null;
    this.events.changed();
  }

  decline(): void {
    this.stopRinging();
    this.events.changed();
  }

  setMuted(muted: boolean): void {
    this.show({ muted });
    this.applyTalking();
  }

  /** The button of a talk group is held. The microphone opens only when the floor is granted. */
  async press(precedence: Precedence): Promise<void> {
    const { stay } = this;
    if (this.state?.kind !== "talk" || this.state.pressed || stay?.media == null) return;
    this.show({ pressed: true, fault: null });
    try {
      await stay.media.openMicrophone();
    } catch (error) {
      this.show({ pressed: false, fault: faultOf(error) });
      return;
    }
    if (!this.holding || stay.over || this.session.sendFloor(stay.callId, precedence)) return;
    this.show({ pressed: false, fault: { code: "server_unreachable", detail: "the floor could not be asked for" } });
  }

  /** Whether the button is held at this moment; it may have been let go of while the microphone opened. */
  private get holding(): boolean {
    return this.state?.pressed === true;
  }

  releaseFloor(): void {
    if (this.state?.kind !== "talk" || !this.state.pressed) return;
    this.show({ pressed: false });
    this.applyTalking();
    if (this.stay !== null) this.session.sendFloor(this.stay.callId, null);
  }

  /**
   * A conference was opened: it rings unless it is old, or this phone is in a call that is not of a lower level. `engaged` is the level of
   * a call of two; the level that the message states is one that its sender may ask for.
   */
  receive(conversationId: string, from: string, message: ConferenceMessage, acceptedUnixS: number, engaged: Precedence | null): void {
    const ageMs = 1_000 * (this.session.serverUnixS() - acceptedUnixS);
    const { precedence } = message;
    const inTheWay = [engaged, this.busy ? (this.state?.precedence ?? null) : null, this.ringing?.precedence ?? null];
    if (ageMs > RING_MS || this.groups.info(conversationId)?.kind !== "group" || this.stay?.callId === message.callId) return;
    if (inTheWay.some((level) => level !== null && !isAbove(precedence, level))) return;
    if (this.events.quiet() && !isAbove(precedence, LOUDEST_QUIET)) return; // it stands in its group, and can be joined there
    this.stopRinging();
    this.ringing = { conversationId, callId: message.callId, from, precedence };
    this.ringTimer = setTimeout(() => this.decline(), RING_MS - Math.max(0, ageMs));
    this.events.tone(isAbove(precedence, "priority") ? "incomingUrgent" : "incoming");
    this.events.changed();
    this.callChanged(null); // it may be over
  }

  /** Something happened to a conversation: if it is that of the call, its new keys are used at once. */
  conversationMoved(conversationId?: string): void {
    const { state, stay } = this;
    if (state === null || stay === null || stay.over || (conversationId !== undefined && conversationId !== state.conversationId)) return;
    if (this.groups.info(state.conversationId)?.standing !== "open") this.end({ code: "not_a_member", detail: "removed from the group" });
    else stay.work.run(() => this.useKeys(stay)).catch((error: unknown) => this.end(faultOf(error)));
  }

  /** Who is in the call of a conversation has changed, or it ended; null: nobody knows what was missed. */
  callChanged(conversationId: string | null): void {
    if (conversationId !== null && conversationId !== this.state?.conversationId && conversationId !== this.ringing?.conversationId) return;
    this.stale = true;
    this.wake();
  }

  pathChanged(profile: PathProfile): void {
    this.profile = profile;
    this.stay?.path.ownChanged(profile);
  }

  floorTold(frame: FloorFrame): void {
    if (this.state === null || this.stay?.callId !== frame.call_id) return;
    const holder = this.stay.members.find(({ deviceId }) => deviceId === frame.holder_device_id)?.accountId ?? null;
    const floor: FloorView = {
      holder,
      mine: frame.holder_device_id === this.deviceId,
      precedence: frame.precedence ?? null,
      until: frame.until == null ? null : frame.until * 1_000 - this.session.clock.aheadMs,
      queued: frame.queued,
      position: frame.position ?? null,
      event: frame.event ?? null,
    };
    const lost = frame.event === "revoked_time" || frame.event === "revoked_precedence" || frame.event === "denied";
    this.show({ floor, ...(lost ? { pressed: false } : {}) });
    this.applyTalking();
  }

  /** The forwarder of the call is gone: a new connection. */
  reconnectTold(callId: string): void {
    const { stay, state } = this;
    if (stay?.callId === callId && state !== null) this.repair(stay, true);
  }

  close(): void {
    this.closed = true;
    this.stopRinging();
    if (this.stay !== null) this.release(this.stay);
  }

  private async reach(conversationId: string, kind: ConferenceKind, precedence: Precedence): Promise<void> {
    const stay = this.begin(conversationId, kind, randomId(), precedence);
    const began = this.environment.now();
    while (!stay.over) {
      try {
        await this.groups.ensure(conversationId);
        const going = await this.inProgress(conversationId);
        if (stay.over) return;
        this.rename(stay, going?.call_id ?? stay.opened);
        await this.enter(stay, conversationId, kind);
        return;
      } catch (error) {
        if (stay.over) return;
        const queued = error instanceof ApiError && error.code === "call_waiting";
        const patient = isPassing(error) && this.environment.now() - began < JOIN_MS;
        if (!queued && !patient) return this.end(faultOf(error));
        this.show({ phase: queued ? "waiting" : "connecting" });
        await this.environment.pause(queued ? WAIT_MS : RETRY_MS);
      }
    }
  }

  private begin(conversationId: string, kind: ConferenceKind, callId: string, precedence: Precedence): Stay {
    const path = new CallPath(this.clock);
    if (this.profile !== null) path.ownChanged(this.profile);
    const counts = { decrypted: 0, refused: 0 };
    const stay: Stay = { callId, opened: callId, media: null, path, over: false, invited: false, renewAt: 0, brokenSince: null, epoch: null, members: [], listed: [], heardAt: new Map(), ...counts, work: new Lane() };
    this.stay = stay;
    this.state = {
      conversationId,
      kind,
      callId,
      phase: "connecting",
      precedence,
      preempted: null,
      activeSince: null,
      present: [],
      speaking: [],
      muted: false,
      code: null,
      health: "starting",
      floor: null,
      pressed: false,
      fault: null,
    };
    this.events.changed();
    return stay;
  }

  private rename(stay: Stay, callId: string): void {
    if (callId === stay.callId) return;
    stay.callId = callId;
    this.show({ callId });
  }

  private async enter(stay: Stay, conversationId: string, kind: ConferenceKind): Promise<void> {
    const precedence = await this.admit(stay, conversationId);
    if (stay.over) return;
    this.show({ phase: "connecting", precedence });
    // The others' phones ring while this one is still connecting.
    const invited = stay.callId === stay.opened && kind === "group" && !stay.invited ? this.invite(stay, conversationId, precedence) : Promise.resolve();
    invited.catch(() => undefined); // awaited below; until then a rejection is not unhandled
    await this.openMedia(stay, kind);
    await this.connect(stay, false);
    await invited;
  }

  /** Tells the server that this phone is in the call; the level that the call has. */
  private async admit(stay: Stay, conversationId: string): Promise<Precedence> {
    const request: Schemas["CallRequest"] = { conversation_id: conversationId, precedence: this.state?.precedence ?? "routine", ringing: false };
    const { call_id, precedence } = await this.session.call<Schemas["CallGrant"]>("PUT", `/api/v1/calls/${stay.callId}`, request);
    // Somebody else opened one in the same moment: this phone was let into that.
    if (call_id !== stay.callId && stay.over) this.depart(call_id);
    else this.rename(stay, call_id);
    stay.renewAt = this.environment.now() + RENEW_MS;
    return precedence;
  }

  private async openMedia(stay: Stay, kind: ConferenceKind): Promise<void> {
    const mine = (): boolean => this.stay === stay && !stay.over;
    const media = await this.environment.openConference(kind, {
      connected: () => {
        if (!mine()) return;
        stay.brokenSince = null;
        this.show({ phase: "active", activeSince: this.state?.activeSince ?? this.environment.now() });
        this.callChanged(null);
      },
      disconnected: () => mine() && this.repair(stay, false),
      voices: (voices) => mine() && this.heard(stay, voices),
      report: (report) => mine() && this.report(stay, report),
    });
    if (stay.over) {
      media.close();
      return;
    }
    stay.media?.close();
    stay.media = media;
    stay.epoch = null;
    await this.useKeys(stay);
    this.applyTalking();
  }

  private async connect(stay: Stay, restart: boolean): Promise<void> {
    await stay.media?.connect(async (offer) => {
      const request: Schemas["ConnectionRequest"] = { offer };
      return (await this.session.call<Schemas["ConnectionAnswer"]>("POST", `/api/v1/calls/${stay.callId}/connection`, request)).answer;
    }, restart);
  }

  /** In order with everything else of this stay: ICE again, or all anew where the forwarder is another one. */
  private repair(stay: Stay, anew: boolean): void {
    stay.brokenSince ??= this.environment.now();
    this.show({ phase: "reconnecting" });
    void stay.work
      .run(async () => {
        if (stay.over || this.state === null) return;
        if (anew) await this.openMedia(stay, this.state.kind);
        await this.connect(stay, !anew);
      })
      .catch(async (error: unknown) => {
        if (!isPassing(error) || this.environment.now() - (stay.brokenSince ?? 0) > REPAIR_MS) {
          if (!stay.over) this.end(faultOf(error));
          return;
        }
        await this.environment.pause(RETRY_MS);
        if (!stay.over) this.repair(stay, true);
      });
  }

  /** The keys of the conversation's present epoch, for everybody in it. */
  private async useKeys(stay: Stay): Promise<void> {
    const { state } = this;
    if (state === null || stay.media === null || stay.over) return;
    const keys = this.groups.keys(state.conversationId);
    if (keys === null) throw new NotReady("no keys of the conversation yet", true);
    if (stay.epoch !== null && keys.epoch <= stay.epoch) return;
    stay.epoch = keys.epoch;
    stay.members = keys.members;
    this.showPresent(stay);
    const baseKey = await keys.export(BASE_KEY_LABEL, fromHex(stay.callId), BASE_KEY_BYTES);
    stay.media.useEpoch({ epoch: keys.epoch, baseKey, ownLeaf: keys.ownLeaf, leaves: keys.members.map(({ leafIndex }) => leafIndex) });
    const code = await conferenceCode(keys.export, stay.callId);
    if (this.stay === stay && !stay.over && stay.epoch === keys.epoch) this.show({ code });
  }

  private async invite(stay: Stay, conversationId: string, precedence: Precedence): Promise<void> {
    const message: ConferenceMessage = { type: "conference", callId: stay.callId, step: "invite", precedence };
    const { sealed } = await this.groups.seal(conversationId, encodeMessage(message), () => []);
    const request: Schemas["MessageRequest"] = { message_id: randomId(), message: toBase64(sealed.message) };
    await this.session.call<Schemas["MessageAccepted"]>("POST", `/api/v1/conversations/${conversationId}/messages`, request);
    stay.invited = true;
  }

  private async inProgress(conversationId: string): Promise<Schemas["OngoingCall"] | null> {
    return (await this.session.call<Schemas["ConversationCall"]>("GET", `/api/v1/conversations/${conversationId}/call`)).call ?? null;
  }

  private async keepAsking(): Promise<void> {
    while (!this.closed) {
      this.stale = false;
      if (await this.ask()) await this.environment.pause(SPACING_MS);
      if (!this.stale) await Promise.race([this.environment.pause(POLL_MS), new Promise<void>((resolve) => (this.wake = resolve))]);
    }
  }

  /** Asks which call there is and who is in it; false where there was nothing to ask. */
  private async ask(): Promise<boolean> {
    const { state, stay, ringing } = this;
    if (ringing !== null) await this.stillRinging(ringing);
    if (state === null || stay === null || stay.over || state.phase === "connecting" || state.phase === "waiting") return ringing !== null;
    try {
      const going = await this.inProgress(state.conversationId);
      if (stay.over || this.stay !== stay) return true;
      if (going?.call_id === stay.callId) {
        const listed = going.participants.some(({ device_id }) => device_id === this.deviceId);
        if (!listed || this.environment.now() >= stay.renewAt) await this.admit(stay, state.conversationId);
        stay.listed = going.participants.map(({ account_id, device_id }) => ({ accountId: account_id, deviceId: device_id }));
        this.showPresent(stay);
        return true;
      }
      if (state.kind === "group") {
        this.end(null);
        return true;
      }
      // A talk group is there for as long as somebody listens: the call that ended gives way to the next.
      this.release(stay);
      await this.reach(state.conversationId, state.kind, state.precedence);
    } catch (error) {
      if (error instanceof ApiError && !error.passing) {
        if (!stay.over) this.end(error.code === "not_found" ? { code: "not_a_member", detail: "the server lists this account no more" } : faultOf(error));
      } else {
        this.stale = true; // no answer: once more
      }
    }
    return true;
  }

  /** Who is not in the group cannot be heard, whatever the server says. */
  private showPresent(stay: Stay): void {
    const known = new Set(stay.members.map(({ deviceId }) => deviceId));
    this.show({ present: stay.listed.filter(({ deviceId }) => known.has(deviceId)) });
  }

  private async stillRinging(ringing: RingingState): Promise<void> {
    const going = await this.inProgress(ringing.conversationId).catch(() => undefined);
    if (going === undefined) this.stale = true; // no answer: once more
    if (going === undefined || going?.call_id === ringing.callId || this.ringing !== ringing) return;
    this.decline();
  }

  private heard(stay: Stay, voices: readonly Voice[]): void {
    const now = this.environment.now();
    for (const { leafIndex, level } of voices) {
      const member = stay.members.find((one) => one.leafIndex === leafIndex);
      if (member !== undefined && level >= SPEAKING_LEVEL) stay.heardAt.set(member.accountId, now);
    }
    const speaking = [...stay.heardAt].filter(([, at]) => now - at < SPEAKING_MS).map(([accountId]) => accountId).sort();
    if (speaking.join() !== this.state?.speaking.join()) this.show({ speaking });
  }

  private report(stay: Stay, { counts, rttMs, availableBps }: ConferenceReport): void {
    stay.media?.tune(stay.path.tune({ rttMs, lossReceived: null, lossSent: null, availableBps }));
    const [decrypted, refused] = [counts.decrypted - stay.decrypted, counts.refused - stay.refused];
    [stay.decrypted, stay.refused] = [counts.decrypted, counts.refused];
    // Silence is no fault here: nobody may be speaking. Frames that all fail to decrypt are one.
    const health: MediaHealth = decrypted > 0 ? "good" : refused > 10 ? "undecryptable" : (this.state?.health ?? "starting");
    if (health !== this.state?.health) this.show({ health });
  }

  private applyTalking(): void {
    const { state, stay } = this;
    if (state === null || stay === null) return;
    stay.media?.setTalking(!state.muted && (state.kind === "group" || (state.pressed && state.floor?.mine === true)));
  }

  private end(fault: Fault | null): void {
    if (this.stay !== null) this.release(this.stay);
    this.show({ phase: "ended", fault, speaking: [], pressed: false });
  }

  private release(stay: Stay): void {
    if (stay.over) return;
    stay.over = true;
    stay.media?.close();
    this.depart(stay.callId);
  }

  private depart(callId: string): void {
    void this.session.call("DELETE", `/api/v1/calls/${callId}`).catch(() => undefined); // it ends by itself if this is lost
  }

  private stopRinging(): void {
    clearTimeout(this.ringTimer);
    if (this.ringing !== null) this.events.tone(null);
    this.ringing = null;
  }

  private show(change: Partial<ConferenceState>): void {
    if (this.state === null) return;
    this.state = { ...this.state, ...change };
    this.events.changed();
  }
}

/** What waiting may mend: no answer, an overloaded server, no forwarder yet, a welcome under way. */
function isPassing(error: unknown): boolean {
  if (error instanceof ApiError) return error.passing || error.code === "media_unavailable";
  return error instanceof Unreachable || (error instanceof NotReady && error.soon);
}
