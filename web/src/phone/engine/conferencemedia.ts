// The media of a conference or talk group: one connection to the forwarder, everybody's frames through a few slots, SFrame in a worker.
//
// Fails closed, as media.ts: no transform, no connection; no key of the present epoch, no frame.

import type { Tuning } from "./callpath";
import { CONFERENCE_WORKER, type CallEpoch, type FrameCounts, type Heard, type TransformOptions, type WorkerCommand, type WorkerReport } from "./frames";
import { MediaBlocked, microphoneConstraints, MicrophoneRefused, preferRedundancy } from "./media";

/** Slots in the offer: others' voices at a time (docs/protocols.md). */
const CONFERENCE_SLOTS = 3;
const DISCONNECTED_GRACE_MS = 1_000;
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

export interface ConferenceEvents {
  connected(): void;
  /** The path to the forwarder broke and did not mend itself. */
  disconnected(): void;
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
  if (typeof RTCRtpScriptTransform === "undefined") throw new MediaBlocked("RTCRtpScriptTransform is missing");
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
  private readonly loudspeakers: HTMLAudioElement[] = [];
  private readonly sampling: ReturnType<typeof setInterval>;
  private counts: FrameCounts = { sealed: 0, withheld: 0, decrypted: 0, refused: 0, copies: 0 };
  private microphone: MediaStreamTrack | null = null;
  private graceTimer: ReturnType<typeof setTimeout> | undefined;
  private talking = false;
  private ownLeaf: number | null = null;
  private measuring = false;
  private closed = false;

  constructor(
    kind: ConferenceKind,
    private readonly events: ConferenceEvents,
  ) {
    this.command({ kind: "talk", allowed: false });
    this.connection.onconnectionstatechange = () => this.watch();
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
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: microphoneConstraints, video: false });
    } catch (error) {
      throw new MicrophoneRefused(error instanceof Error ? error.name : "unknown");
    }
    const [track] = stream.getAudioTracks();
    if (track === undefined) throw new MicrophoneRefused("no audio track");
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

  tune({ plan, playoutDelayMs, rate }: Tuning): void {
    if (this.closed) return;
    for (const { receiver } of this.connection.getTransceivers()) {
      if ("jitterBufferTarget" in receiver && receiver.jitterBufferTarget !== playoutDelayMs) receiver.jitterBufferTarget = playoutDelayMs;
    }
    const sender = this.connection.getTransceivers()[0]?.sender;
    if (sender === undefined) return;
    const parameters = sender.getParameters();
    const red = parameters.codecs.find(({ mimeType }) => mimeType.toLowerCase() === "audio/red");
    if (red !== undefined) this.command({ kind: "copies", orders: { payloadType: red.payloadType, plan } });
    const [encoding] = parameters.encodings;
    if (encoding === undefined || encoding.maxBitrate === rate) return;
    encoding.maxBitrate = rate;
    sender.setParameters(parameters).catch(() => undefined); // a negotiation came between; the next tuning does it
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.sampling);
    clearTimeout(this.graceTimer);
    this.connection.onconnectionstatechange = null;
    this.connection.close();
    this.microphone?.stop();
    this.worker.terminate();
    for (const loudspeaker of this.loudspeakers) {
      loudspeaker.srcObject = null;
      loudspeaker.remove();
    }
  }

  /** The transforms stand before any description is made: set later, frames pass beside them (measured in Chromium). */
  private addSlot(slot: number): void {
    const direction = slot === 0 ? "sendrecv" : "recvonly";
    const transceiver = this.connection.addTransceiver("audio", { direction });
    const transform = (of: TransformOptions["direction"]): RTCRtpScriptTransform => new RTCRtpScriptTransform(this.worker, { direction: of, slot } satisfies TransformOptions);
    transceiver.receiver.transform = transform("receive");
    if (direction === "sendrecv") transceiver.sender.transform = transform("send");
    if (transceiver.receiver.transform === null || (direction === "sendrecv" && transceiver.sender.transform === null)) {
      throw new MediaBlocked("the transform was not taken");
    }
    preferRedundancy(transceiver);
    const loudspeaker = document.createElement("audio");
    loudspeaker.autoplay = true;
    loudspeaker.hidden = true;
    loudspeaker.srcObject = new MediaStream([transceiver.receiver.track]);
    document.body.append(loudspeaker);
    void loudspeaker.play().catch(() => undefined); // autoplay begins when the first sound is there
    this.loudspeakers.push(loudspeaker);
  }

  private command(command: WorkerCommand): void {
    this.worker.postMessage(command);
  }

  private watch(): void {
    clearTimeout(this.graceTimer);
    switch (this.connection.connectionState) {
      case "connected":
        this.events.connected();
        break;
      case "disconnected":
        this.graceTimer = setTimeout(() => this.events.disconnected(), DISCONNECTED_GRACE_MS);
        break;
      case "failed":
        this.events.disconnected();
        break;
    }
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
      if (entry["type"] !== "candidate-pair" || entry["nominated"] !== true) continue;
      if (typeof entry["currentRoundTripTime"] === "number") report.rttMs = entry["currentRoundTripTime"] * 1_000;
      if (typeof entry["availableOutgoingBitrate"] === "number") report.availableBps = entry["availableOutgoingBitrate"];
    }
    this.events.report(report);
  }
}
