// The media of a conference or talk group: one connection to the forwarder, everybody's frames through a few slots, SFrame in a worker.
//
// Fails closed, as media.ts: no transform, no connection; no key of the present epoch, no frame.

import type { Tuning } from "./callpath";
import { Loudspeaker, microphone, mustSeal, pairInUse, sealStream, tuneStreams, watchPath, type PathEvents } from "./audio";
import { CONFERENCE_WORKER, type CallEpoch, type FrameCounts, type Heard, type WorkerCommand, type WorkerReport } from "./frames";

/** Slots in the offer: others' voices at a time (docs/protocols.md). */
const CONFERENCE_SLOTS = 3;
const SAMPLE_EVERY_MS = 1_000;

export type ConferenceKind = "group" | "talk";

/** Somebody who can be heard: how loud, 0–1 of full scale. */
export interface Voice {
  leafIndex: number;
  level: number;
}

export interface ConferenceReport {
  counts: FrameCounts;
  rttMs: number | null;
  availableBps: number | null;
}

export interface ConferenceEvents extends PathEvents {
  /** Who was heard in the last fifth of a second, oneself among them. Levels are measured here: nobody is believed who says that he is loud. */
  voices(voices: readonly Voice[]): void;
  report(report: ConferenceReport): void;
}

/** What a conference needs of its media. */
export interface ConferenceMedia {
  /** Connects; again, with new ICE credentials, over the same connection. `ask` hands an offer to the forwarder and gives its answer. */
  connect(ask: (offer: string) => Promise<string>, restart: boolean): Promise<void>;
  useEpoch(epoch: CallEpoch): void;
  /** Opens the microphone where it is not open yet. Rejects with MicrophoneRefused. */
  openMicrophone(): Promise<void>;
  /** Whether the microphone is heard. Its frames leave only while it is. */
  setTalking(talking: boolean): void;
  tune(tuning: Tuning): void;
  close(): void;
}

export type OpenConference = (kind: ConferenceKind, events: ConferenceEvents) => Promise<ConferenceMedia>;

/** A conference opens the microphone at once, a talk group when its button is pressed first. Rejects with MicrophoneRefused or MediaBlocked. */
export const openBrowserConference: OpenConference = async (kind, events) => {
  mustSeal();
  const media = new BrowserConference(kind, events);
  try {
    if (kind === "group") await media.openMicrophone();
    return media;
  } catch (error) {
    media.close();
    throw error;
  }
};

class BrowserConference implements ConferenceMedia {
  private readonly connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  private readonly worker = new Worker(new URL("./media-worker.ts", import.meta.url), { type: "module", name: CONFERENCE_WORKER });
  private readonly loudspeakers: Loudspeaker[] = [];
  private readonly sampling: ReturnType<typeof setInterval>;
  private readonly unwatch: () => void;
  private counts: FrameCounts = { sealed: 0, withheld: 0, decrypted: 0, refused: 0, copies: 0 };
  private microphone: MediaStreamTrack | null = null;
  private talking = false;
  private ownLeaf: number | null = null;
  private measuring = false;
  private closed = false;

  constructor(
    kind: ConferenceKind,
    private readonly events: ConferenceEvents,
  ) {
    this.command({ kind: "talk", allowed: false });
    this.unwatch = watchPath(this.connection, events);
    this.worker.onmessage = ({ data }: MessageEvent<WorkerReport>) => {
      if (data.kind === "counts") this.counts = data.counts;
      else if (!this.closed) void this.measure(data.heard);
    };
    for (let slot = 0; slot < (kind === "group" ? CONFERENCE_SLOTS : 1); slot++) this.addSlot(slot);
    this.sampling = setInterval(() => void this.sample(), SAMPLE_EVERY_MS);
  }

  async connect(ask: (offer: string) => Promise<string>, restart: boolean): Promise<void> {
    if (this.connection.signalingState === "have-local-offer") await this.connection.setLocalDescription({ type: "rollback" });
    if (restart) this.connection.restartIce();
    await this.connection.setLocalDescription(await this.connection.createOffer());
    const sdp = await ask(this.connection.localDescription?.sdp ?? "");
    if (!this.closed) await this.connection.setRemoteDescription({ type: "answer", sdp });
  }

  useEpoch(epoch: CallEpoch): void {
    this.ownLeaf = epoch.ownLeaf;
    this.command({ kind: "epoch", epoch });
  }

  async openMicrophone(): Promise<void> {
    if (this.microphone !== null) return;
    const track = await microphone();
    if (this.closed) {
      track.stop();
      return;
    }
    track.enabled = this.talking;
    this.microphone = track;
    await this.connection.getTransceivers()[0]?.sender.replaceTrack(track);
  }

  setTalking(talking: boolean): void {
    this.talking = talking;
    if (this.microphone !== null) this.microphone.enabled = talking;
    this.command({ kind: "talk", allowed: talking });
  }

  tune(tuning: Tuning): void {
    if (!this.closed) tuneStreams(this.connection.getTransceivers(), tuning, (command) => this.command(command));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.sampling);
    this.unwatch();
    this.connection.close();
    this.microphone?.stop();
    this.worker.terminate();
    for (const loudspeaker of this.loudspeakers) loudspeaker.release();
  }

  private addSlot(slot: number): void {
    const transceiver = this.connection.addTransceiver("audio", { direction: slot === 0 ? "sendrecv" : "recvonly" });
    sealStream(transceiver, this.worker, slot);
    const loudspeaker = new Loudspeaker();
    loudspeaker.play(transceiver.receiver.track);
    this.loudspeakers.push(loudspeaker);
  }

  private command(command: WorkerCommand): void {
    this.worker.postMessage(command);
  }

  private async measure(heard: readonly Heard[]): Promise<void> {
    if (this.measuring) return;
    this.measuring = true;
    try {
      const levels = heard.length > 0 || this.talking ? await this.levels() : null;
      if (this.closed) return;
      const voices = heard.map(({ slot, leafIndex }) => ({ leafIndex, level: levels?.slots.get(slot) ?? 0 }));
      if (this.talking && this.ownLeaf !== null && levels !== null) voices.push({ leafIndex: this.ownLeaf, level: levels.own });
      this.events.voices(voices);
    } finally {
      this.measuring = false;
    }
  }

  /** How loud it is in each slot, and at the own microphone. */
  private async levels(): Promise<{ slots: Map<number, number>; own: number }> {
    const stats = await this.connection.getStats();
    const mids = this.connection.getTransceivers().map(({ mid }) => mid);
    const slots = new Map<number, number>();
    let own = 0;
    for (const entry of stats.values() as Iterable<Record<string, unknown>>) {
      const level = entry["audioLevel"];
      if (typeof level !== "number") continue;
      if (entry["type"] === "inbound-rtp") slots.set(mids.indexOf(String(entry["mid"])), level);
      else if (entry["type"] === "media-source") own = level;
    }
    return { slots, own };
  }

  private async sample(): Promise<void> {
    const stats = await this.connection.getStats();
    if (this.closed) return;
    const report: ConferenceReport = { counts: this.counts, rttMs: null, availableBps: null };
    for (const entry of stats.values() as Iterable<Record<string, unknown>>) {
      Object.assign(report, pairInUse(entry));
    }
    this.events.report(report);
  }
}
