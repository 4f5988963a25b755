// One call's media: microphone, peer connection over the relay, SFrame in a worker, loudspeaker.
//
// Fails closed. Without RTCRtpScriptTransform there is no peer connection at all; with it, no frame leaves before its key is set.

import type { Schemas } from "../../api/client";
import type { CallQuality, MediaHealth } from "../model";
import { Loudspeaker, MediaBlocked, microphone, mustSeal, pairInUse, sealStream, tuneStreams, watchPath, type PathEvents } from "./audio";
import { type FrameCounts, type MediaKeys, type WorkerCommand, type WorkerReport } from "./frames";
import { LOSS_WINDOW_S, type Measured, type Tuning } from "./callpath";
import { HealthMeter, LossMeter } from "./health";
import { QualityMeter, type StreamTotals } from "./quality";

export interface MediaReport {
  counts: FrameCounts;
  health: MediaHealth;
  quality: CallQuality | null;
  measured: Measured;
}

export interface MediaEvents extends PathEvents {
  candidates(candidates: RTCIceCandidateInit[]): void;
  report(report: MediaReport): void;
  audioBegan(): void;
}

export type IceServers = Schemas["IceServer"][];

/** What a call needs of its media; the twin for tests is in tests/engine. */
export interface CallMedia {
  offer(): Promise<string>;
  answerOffer(sdp: string): Promise<string>;
  /** For media that were opened without it. Rejects with MicrophoneRefused. */
  openMicrophone(): Promise<void>;
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

export type OpenMedia = (iceServers: () => Promise<IceServers>, events: MediaEvents, withMicrophone: boolean) => Promise<CallMedia>;

/** Candidates that come close together travel in one message. */
const CANDIDATE_BATCH_MS = 60;
const SAMPLE_EVERY_MS = 1_000;

/** Asks for the microphone, if it is wanted, and for a grant at the same time, then sets the connection up. Rejects with MicrophoneRefused or MediaBlocked. */
export const openBrowserMedia: OpenMedia = async (iceServers, events, withMicrophone) => {
  mustSeal();
  const granted = iceServers();
  granted.catch(() => undefined); // awaited below; until then a rejection is not unhandled
  const track = withMicrophone ? await microphone() : null;
  try {
    return new BrowserMedia(await granted, track, events);
  } catch (error) {
    track?.stop();
    throw error;
  }
};

class BrowserMedia implements CallMedia {
  private readonly connection: RTCPeerConnection;
  private readonly worker = new Worker(new URL("./media-worker.ts", import.meta.url), { type: "module" });
  private readonly loudspeaker = new Loudspeaker();
  private readonly healthMeter = new HealthMeter();
  private readonly qualityMeter = new QualityMeter();
  private readonly lossReceived = new LossMeter(LOSS_WINDOW_S);
  private readonly lossSent = new LossMeter(LOSS_WINDOW_S);
  private readonly sampling: ReturnType<typeof setInterval>;
  private readonly unwatch: () => void;
  private counts: FrameCounts = { sealed: 0, withheld: 0, decrypted: 0, refused: 0, copies: 0 };
  private early: RTCIceCandidateInit[] = [];
  private gathered: RTCIceCandidateInit[] = [];
  private gatherTimer: ReturnType<typeof setTimeout> | undefined;
  private audioHeard = false;
  private muted = false;
  private closed = false;

  constructor(
    iceServers: IceServers,
    private microphone: MediaStreamTrack | null,
    private readonly events: MediaEvents,
  ) {
    this.connection = new RTCPeerConnection({ iceServers, iceTransportPolicy: "relay", bundlePolicy: "max-bundle" });
    this.connection.onicecandidate = ({ candidate }) => candidate !== null && candidate.candidate !== "" && this.gather(candidate.toJSON());
    this.unwatch = watchPath(this.connection, events);
    this.worker.onmessage = ({ data }: MessageEvent<WorkerReport>) => {
      if (data.kind !== "counts") return;
      this.counts = data.counts;
      if (!this.audioHeard && data.counts.decrypted > 0) {
        this.audioHeard = true;
        events.audioBegan();
      }
    };
    this.sampling = setInterval(() => void this.sample(), SAMPLE_EVERY_MS);
  }

  async offer(): Promise<string> {
    const transceiver = this.connection.addTransceiver(this.microphone ?? "audio", { direction: "sendrecv" });
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

  async openMicrophone(): Promise<void> {
    if (this.microphone !== null) return;
    const track = await microphone();
    if (this.closed) return track.stop();
    this.microphone = track;
    track.enabled = !this.muted;
    await this.connection.getTransceivers()[0]?.sender.replaceTrack(track);
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
    this.muted = muted;
    if (this.microphone !== null) this.microphone.enabled = !muted;
  }

  tune(tuning: Tuning): void {
    if (!this.closed) tuneStreams(this.connection.getTransceivers(), tuning, (command) => this.command(command));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.sampling);
    clearTimeout(this.gatherTimer);
    this.unwatch();
    this.connection.close();
    this.microphone?.stop();
    this.worker.terminate();
    this.loudspeaker.release();
  }

  private encrypt(transceiver: RTCRtpTransceiver): void {
    sealStream(transceiver, this.worker, 0);
    this.loudspeaker.play(transceiver.receiver.track);
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
          Object.assign(measured, pairInUse(entry));
          break;
      }
    }
    measured.lossSent = this.lossSent.sample(missed, sent - missed);
    const health = this.healthMeter.sample(this.counts);
    const quality = totals === null || health === "starting" ? null : this.qualityMeter.sample(totals, health, measured.rttMs);
    this.events.report({ counts: this.counts, health, quality, measured });
  }
}
