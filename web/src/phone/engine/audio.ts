// What the media of a call of two and of a conference have in common: microphone, sealed streams, tuning, loudspeaker, and when a path is gone.

import type { Tuning } from "./callpath";
import type { TransformOptions, WorkerCommand } from "./frames";

/** How the microphone is opened. Settings may change the members. */
const microphoneConstraints: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  channelCount: 1,
};

export class MicrophoneRefused extends Error {}
/** This browser cannot encrypt media end to end, or the other side asked for something other than one audio stream. */
export class MediaBlocked extends Error {}

/**
 * Chromium says "disconnected" after some five seconds without an answer, far longer than a satellite handover: the path is gone, and
 * every second more is silence. A path that comes back within this needs no ICE restart; one that is made in vain harms nothing.
 */
const DISCONNECTED_GRACE_MS = 1_000;

/** Rejects with MediaBlocked where a browser cannot seal frames: then there is no connection at all. */
export function mustSeal(): void {
  if (typeof RTCRtpScriptTransform === "undefined") throw new MediaBlocked("RTCRtpScriptTransform is missing");
}

/** Rejects with MicrophoneRefused. */
export async function microphone(): Promise<MediaStreamTrack> {
  let stream: MediaStream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: microphoneConstraints, video: false });
  } catch (error) {
    throw new MicrophoneRefused(error instanceof Error ? error.name : "unknown");
  }
  const [track] = stream.getAudioTracks();
  if (track === undefined) throw new MicrophoneRefused("no audio track");
  return track;
}

/**
 * Every frame of the stream, both ways, goes through the worker. Before any description is made: a transform that is set later lets
 * frames pass beside it (measured in Chromium).
 */
export function sealStream(transceiver: RTCRtpTransceiver, worker: Worker, slot: number): void {
  const transform = (direction: TransformOptions["direction"]): RTCRtpScriptTransform => new RTCRtpScriptTransform(worker, { direction, slot } satisfies TransformOptions);
  transceiver.sender.transform = transform("send");
  transceiver.receiver.transform = transform("receive");
  if (transceiver.sender.transform === null || transceiver.receiver.transform === null) throw new MediaBlocked("the transform was not taken");
  preferRedundancy(transceiver);
}

/** RED (RFC 2198) before plain Opus where the browser has it: one lost packet is then no lost sound. */
function preferRedundancy(transceiver: RTCRtpTransceiver): void {
  const codecs = RTCRtpReceiver.getCapabilities("audio")?.codecs ?? [];
  const wanted = ["audio/red", "audio/opus"].flatMap((mimeType) => codecs.filter((codec) => codec.mimeType.toLowerCase() === mimeType));
  if (wanted.some((codec) => codec.mimeType.toLowerCase() === "audio/opus")) transceiver.setCodecPreferences(wanted);
}

/** Copies, playout delay and bit rate, from now on. The first stream is the one that is sent. */
export function tuneStreams(transceivers: readonly RTCRtpTransceiver[], { plan, playoutDelayMs, rate }: Tuning, command: (command: WorkerCommand) => void): void {
  for (const { receiver } of transceivers) {
    if ("jitterBufferTarget" in receiver && receiver.jitterBufferTarget !== playoutDelayMs) receiver.jitterBufferTarget = playoutDelayMs;
  }
  const sender = transceivers[0]?.sender;
  if (sender === undefined) return;
  const parameters = sender.getParameters();
  const red = parameters.codecs.find(({ mimeType }) => mimeType.toLowerCase() === "audio/red");
  if (red !== undefined) command({ kind: "copies", orders: { payloadType: red.payloadType, plan } });
  const [encoding] = parameters.encodings;
  if (encoding === undefined || encoding.maxBitrate === rate) return;
  encoding.maxBitrate = rate;
  sender.setParameters(parameters).catch(() => undefined); // a negotiation came between; the next tuning does it
}

/** Plays a track until it is released. */
export class Loudspeaker {
  private readonly element = document.createElement("audio");

  constructor() {
    this.element.autoplay = true;
    this.element.hidden = true;
    document.body.append(this.element);
  }

  play(track: MediaStreamTrack): void {
    this.element.srcObject = new MediaStream([track]);
    void this.element.play().catch(() => undefined); // autoplay begins when the first sound is there
  }

  release(): void {
    this.element.srcObject = null;
    this.element.remove();
  }
}

export interface PathEvents {
  connected(): void;
  /** The path broke and did not mend itself. */
  disconnected(): void;
}

/** Says when the path of a connection is there and when it is gone. Returns what ends the watch. */
export function watchPath(connection: RTCPeerConnection, events: PathEvents): () => void {
  let graceTimer: ReturnType<typeof setTimeout> | undefined;
  connection.onconnectionstatechange = () => {
    clearTimeout(graceTimer);
    switch (connection.connectionState) {
      case "connected":
        events.connected();
        break;
      case "disconnected":
        graceTimer = setTimeout(() => events.disconnected(), DISCONNECTED_GRACE_MS);
        break;
      case "failed":
        events.disconnected();
        break;
    }
  };
  return () => {
    clearTimeout(graceTimer);
    connection.onconnectionstatechange = null;
  };
}

/** What the browser measured on the pair of addresses in use. Over the relay it ends at the peer, so its round trip is the one to the far end. */
export function pairInUse(entry: Record<string, unknown>): { rttMs?: number; availableBps?: number } {
  if (entry["type"] !== "candidate-pair" || entry["nominated"] !== true) return {};
  const { currentRoundTripTime: rttS, availableOutgoingBitrate: availableBps } = entry;
  return { ...(typeof rttS === "number" ? { rttMs: rttS * 1_000 } : {}), ...(typeof availableBps === "number" ? { availableBps } : {}) };
}
