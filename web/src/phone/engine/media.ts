// One call's media: microphone, peer connection over the relay, SFrame in a worker, loudspeaker.
//
// Fails closed. Without RTCRtpScriptTransform there is no peer connection at all; with it, no frame leaves before its key is set.

import type { Schemas } from "../../api/client";
import type { CallQuality, MediaHealth } from "../model";
import { type FrameCounts, type MediaKeys, type TransformOptions, type WorkerCommand, type WorkerReport } from "./frames";
import { LOSS_WINDOW_S, type Measured, type Tuning } from "./callpath";
import { HealthMeter, LossMeter } from "./health";
import { QualityMeter, type StreamTotals } from "./quality";

/** How the microphone is opened. Settings may change the members. */
export const microphoneConstraints: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  channelCount: 1,
};

export class MicrophoneRefused extends Error {}
/** This browser cannot encrypt media end to end, or the other side asked for something other than one audio stream. */
export class MediaBlocked extends Error {}

export interface MediaReport {
  counts: FrameCounts;
  health: MediaHealth;
  quality: CallQuality | null;
  measured: Measured;
}

export interface MediaEvents {
  candidates(candidates: RTCIceCandidateInit[]): void;
  connected(): void;
  /** The path broke and did not mend itself. */
  disconnected(): void;
  report(report: MediaReport): void;
  audioBegan(): void;
}

export type IceServers = Schemas["IceServer"][];

/** What a call needs of its media; the twin for tests is in tests/engine. */
export interface CallMedia {
  offer(): Promise<string>;
  answerOffer(sdp: string): Promise<string>;
  acceptAnswer(sdp: string): Promise<void>;
  addCandidates(candidates: readonly RTCIceCandidateInit[]): Promise<void>;
  /** An offer with new ICE credentials; null while another one is under way. */
  restart(iceServers: IceServers): Promise<string | null>;
  answerRestart(sdp: string): Promise<string>;
  useKeys(keys: MediaKeys): void;
  setMuted(muted: boolean): void;
  /** Copies, playout delay and bit rate, from now on. */
  tune(tuning: Tuning): void;
  close(): void;
}

export type OpenMedia = (iceServers: () => Promise<IceServers>, events: MediaEvents) => Promise<CallMedia>;

/** Candidates that come close together travel in one message. */
const CANDIDATE_BATCH_MS = 60;
/**
 * Chromium says "disconnected" after some five seconds without an answer, far longer than a satellite handover: the path is gone, and
 * every second more is silence. A path that comes back within this needs no ICE restart; one that is made in vain harms nothing.
 */
const DISCONNECTED_GRACE_MS = 1_000;
const SAMPLE_EVERY_MS = 1_000;

/** Asks for the microphone and for a grant at the same time, then sets the connection up. Rejects with MicrophoneRefused or MediaBlocked. */
export const openBrowserMedia: OpenMedia = async (iceServers, events) => {
  if (typeof RTCRtpScriptTransform === "undefined") throw new MediaBlocked("RTCRtpScriptTransform is missing");
  const granted = iceServers();
  granted.catch(() => undefined); // awaited below; until then a rejection is not unhandled
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: microphoneConstraints, video: false });
  } catch (error) {
    throw new MicrophoneRefused(error instanceof Error ? error.name : "unknown");
  }
  const [microphone] = stream.getAudioTracks();
  try {
    if (microphone === undefined) throw new MicrophoneRefused("no audio track");
    return new BrowserMedia(await granted, microphone, events);
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    throw error;
  }
};

class BrowserMedia implements CallMedia {
  private readonly connection: RTCPeerConnection;
  private readonly worker = new Worker(new URL("./media-worker.ts", import.meta.url), { type: "module" });
  private readonly loudspeaker = document.createElement("audio");
  private readonly healthMeter = new HealthMeter();
  private readonly qualityMeter = new QualityMeter();
  private readonly lossReceived = new LossMeter(LOSS_WINDOW_S);
  private readonly lossSent = new LossMeter(LOSS_WINDOW_S);
  private readonly sampling: ReturnType<typeof setInterval>;
  private counts: FrameCounts = { sealed: 0, withheld: 0, decrypted: 0, refused: 0, copies: 0 };
  private early: RTCIceCandidateInit[] = [];
  private gathered: RTCIceCandidateInit[] = [];
  private gatherTimer: ReturnType<typeof setTimeout> | undefined;
  private graceTimer: ReturnType<typeof setTimeout> | undefined;
  private audioHeard = false;
  private closed = false;

  constructor(
    iceServers: IceServers,
    private readonly microphone: MediaStreamTrack,
    private readonly events: MediaEvents,
  ) {
    this.connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay", bundlePolicy: "max-bundle" });
    this.connection.onicecandidate = ({ candidate }) => candidate !== null && candidate.candidate !== "" && this.gather(candidate.toJSON());
    this.connection.onconnectionstatechange = () => this.watch();
    this.worker.onmessage = ({ data }: MessageEvent<WorkerReport>) => {
      if (data.kind !== "counts") return;
      this.counts = data.counts;
      if (!this.audioHeard && data.counts.decrypted > 0) {
        this.audioHeard = true;
        events.audioBegan();
      }
    };
    this.loudspeaker.autoplay = true;
    this.loudspeaker.hidden = true;
    document.body.append(this.loudspeaker);
    this.sampling = setInterval(() => void this.sample(), SAMPLE_EVERY_MS);
  }

  async offer(): Promise<string> {
    const transceiver = this.connection.addTransceiver(this.microphone, { direction: "sendrecv" });
    this.encrypt(transceiver);
    return this.setLocal(await this.connection.createOffer());
  }

  async answerOffer(sdp: string): Promise<string> {
    await this.connection.setRemoteDescription({ type: "offer", sdp });
    const [transceiver, ...others] = this.connection.getTransceivers();
    if (transceiver === undefined || others.length > 0 || transceiver.receiver.track.kind !== "audio") {
      throw new MediaBlocked("the offer is not one audio stream");
    }
    this.encrypt(transceiver);
    transceiver.direction = "sendrecv";
    await transceiver.sender.replaceTrack(this.microphone);
    await this.addEarly();
    return this.setLocal(await this.connection.createAnswer());
  }

  async acceptAnswer(sdp: string): Promise<void> {
    if (this.connection.signalingState !== "have-local-offer") return; // a repeated answer to a restart
    await this.connection.setRemoteDescription({ type: "answer", sdp });
    await this.addEarly();
  }

  async addCandidates(candidates: readonly RTCIceCandidateInit[]): Promise<void> {
    if (this.connection.remoteDescription === null) {
      this.early.push(...candidates);
      return;
    }
    for (const candidate of candidates) {
      // One of a generation that a restart has overtaken, or one that this browser cannot read: the others may do.
      await this.connection.addIceCandidate(candidate).catch(() => undefined);
    }
  }

  async restart(iceServers: IceServers): Promise<string | null> {
    if (this.connection.signalingState === "have-local-offer") return this.connection.localDescription?.sdp ?? null;
    if (this.connection.signalingState !== "stable") return null;
    this.connection.setConfiguration({ ...this.connection.getConfiguration(), iceServers });
    return this.setLocal(await this.connection.createOffer({ iceRestart: true }));
  }

  async answerRestart(sdp: string): Promise<string> {
    await this.connection.setRemoteDescription({ type: "offer", sdp });
    if (this.connection.getTransceivers().length !== 1) throw new MediaBlocked("the restart adds a stream");
    return this.setLocal(await this.connection.createAnswer());
  }

  useKeys(keys: MediaKeys): void {
    this.command({ kind: "keys", keys });
  }

  private command(command: WorkerCommand): void {
    this.worker.postMessage(command);
  }

  setMuted(muted: boolean): void {
    this.microphone.enabled = !muted;
  }

  tune({ plan, playoutDelayMs, rate }: Tuning): void {
    const [transceiver] = this.connection.getTransceivers();
    if (transceiver === undefined || this.closed) return;
    const { receiver, sender } = transceiver;
    if ("jitterBufferTarget" in receiver && receiver.jitterBufferTarget !== playoutDelayMs) receiver.jitterBufferTarget = playoutDelayMs;
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
    clearTimeout(this.gatherTimer);
    clearTimeout(this.graceTimer);
    this.connection.onconnectionstatechange = null;
    this.connection.close();
    this.microphone.stop();
    this.worker.terminate();
    this.loudspeaker.srcObject = null;
    this.loudspeaker.remove();
  }

  /** Before any description is made: a transform that is set later lets frames pass beside it (measured in Chromium). */
  private encrypt(transceiver: RTCRtpTransceiver): void {
    const transform = (direction: TransformOptions["direction"]): RTCRtpScriptTransform =>
      new RTCRtpScriptTransform(this.worker, { direction, slot: 0 } satisfies TransformOptions);
    transceiver.sender.transform = transform("send");
    transceiver.receiver.transform = transform("receive");
    if (transceiver.sender.transform === null || transceiver.receiver.transform === null) throw new MediaBlocked("the transform was not taken");
    preferRedundancy(transceiver);
    this.loudspeaker.srcObject = new MediaStream([transceiver.receiver.track]);
    void this.loudspeaker.play().catch(() => undefined); // autoplay begins when the first sound is there
  }

  private async setLocal(description: RTCSessionDescriptionInit): Promise<string> {
    await this.connection.setLocalDescription(description);
    const sdp = this.connection.localDescription?.sdp;
    if (sdp === undefined) throw new MediaBlocked("no local description");
    return sdp;
  }

  private async addEarly(): Promise<void> {
    const early = this.early;
    this.early = [];
    await this.addCandidates(early);
  }

  private gather(candidate: RTCIceCandidateInit): void {
    this.gathered.push(candidate);
    if (this.gathered.length > 1) return;
    this.gatherTimer = setTimeout(() => {
      const batch = this.gathered;
      this.gathered = [];
      if (!this.closed) this.events.candidates(batch);
    }, CANDIDATE_BATCH_MS);
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

  private async sample(): Promise<void> {
    const stats = await this.connection.getStats();
    if (this.closed) return;
    const measured: Measured = { rttMs: null, lossReceived: null, lossSent: null, availableBps: null };
    let totals: StreamTotals | null = null;
    let [sent, missed] = [0, 0];
    for (const entry of stats.values() as Iterable<Record<string, unknown>>) {
      const number = (name: string): number => Number(entry[name] ?? 0);
      switch (entry["type"]) {
        case "inbound-rtp":
          measured.lossReceived = this.lossReceived.sample(number("packetsLost"), number("packetsReceived"));
          totals = {
            packetsLost: number("packetsLost"),
            packetsReceived: number("packetsReceived"),
            samples: number("totalSamplesReceived"),
            concealedSamples: number("concealedSamples"),
            bufferDelayS: number("jitterBufferDelay"),
            emitted: number("jitterBufferEmittedCount"),
          };
          break;
        case "outbound-rtp":
          sent = number("packetsSent");
          break;
        case "remote-inbound-rtp":
          missed = number("packetsLost");
          break;
        case "candidate-pair":
          // Over the relay the nominated pair ends at the peer, so its round trip is the one to the far end.
          if (entry["nominated"] !== true) break;
          if (typeof entry["currentRoundTripTime"] === "number") measured.rttMs = entry["currentRoundTripTime"] * 1_000;
          if (typeof entry["availableOutgoingBitrate"] === "number") measured.availableBps = entry["availableOutgoingBitrate"];
          break;
      }
    }
    measured.lossSent = this.lossSent.sample(missed, sent - missed);
    const health = this.healthMeter.sample(this.counts);
    const quality = totals === null || health === "starting" ? null : this.qualityMeter.sample(totals, health, measured.rttMs);
    this.events.report({ counts: this.counts, health, quality, measured });
  }
}

/** RED (RFC 2198) before plain Opus where the browser has it: one lost packet is then no lost sound. */
export function preferRedundancy(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpReceiver.getCapabilities("audio")?.codecs ?? [];
  const wanted = ["audio/red", "audio/opus"].flatMap((mimeType) => codecs.filter((codec) => codec.mimeType.toLowerCase() === mimeType));
  if (wanted.some((codec) => codec.mimeType.toLowerCase() === "audio/opus")) transceiver.setCodecPreferences(wanted);
}
