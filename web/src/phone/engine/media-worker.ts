// The worker through which every media frame of a call passes (RTCRtpScriptTransform). One worker a call.

import { ConferenceGate } from "./conferenceframes";
import { parseMlsKid } from "../../keys/sframe";
import { CONFERENCE_WORKER, FrameGate, type FrameFacts, type TransformOptions, type WorkerCommand, type WorkerReport } from "./frames";

/** The parts of the worker's scope that are used; TypeScript's libraries for pages and for workers exclude each other. */
interface EncodedFrame {
  data: ArrayBuffer;
  timestamp?: number;
  getMetadata(): { payloadType?: number; rtpTimestamp?: number };
}
interface TransformScope {
  name: string;
  onrtctransform: ((event: { transformer: { readable: ReadableStream<EncodedFrame>; writable: WritableStream<EncodedFrame>; options: TransformOptions } }) => void) | null;
  onmessage: ((event: MessageEvent<WorkerCommand>) => void) | null;
  postMessage(report: WorkerReport): void;
}

const REPORT_EVERY_MS = 200;

const scope = self as unknown as TransformScope;
/** Slot → leaf of the last frame that decrypted since the last report. */
const heard = new Map<number, number>();
// The page says by the worker's name what kind of call it is.
const gate = scope.name === CONFERENCE_WORKER ? new ConferenceGate() : new FrameGate();
let reported = "";

scope.onmessage = ({ data }) => {
  // A failure is not caught: without keys nothing passes, and the page sees that nothing does.
  if (data.kind === "copies") gate.orderCopies(data.orders);
  else if (gate instanceof FrameGate) {
    if (data.kind === "keys") void gate.useKeys(data.keys);
  } else if (data.kind === "epoch") void gate.useEpoch(data.epoch);
  else if (data.kind === "talk") gate.talking = data.allowed;
};

/** Null where the browser does not say what a frame is; then its redundancy is left alone. */
function factsOf(frame: EncodedFrame): FrameFacts | null {
  const { payloadType, rtpTimestamp } = frame.getMetadata();
  const timestamp = rtpTimestamp ?? frame.timestamp;
  return payloadType === undefined || timestamp === undefined ? null : { payloadType, timestamp };
}

scope.onrtctransform = ({ transformer: { readable, writable, options } }) => {
  const pass = (frame: EncodedFrame): Promise<Uint8Array<ArrayBuffer> | null> => {
    if (options.direction === "send") return gate.seal(new Uint8Array(frame.data), factsOf(frame), Date.now());
    return gate.open(new Uint8Array(frame.data), (kid) => heard.set(options.slot, parseMlsKid(kid).leafIndex));
  };
  const transform = new TransformStream<EncodedFrame, EncodedFrame>({
    async transform(frame, controller) {
      const passed = await pass(frame);
      if (passed === null) return;
      frame.data = passed.buffer;
      controller.enqueue(frame);
    },
  });
  void readable.pipeThrough(transform).pipeTo(writable);
};

setInterval(() => {
  if (gate instanceof ConferenceGate) {
    scope.postMessage({ kind: "heard", heard: [...heard].map(([slot, leafIndex]) => ({ slot, leafIndex })) });
    heard.clear();
  }
  const now = JSON.stringify(gate.counts);
  if (now === reported) return;
  reported = now;
  scope.postMessage({ kind: "counts", counts: { ...gate.counts } });
}, REPORT_EVERY_MS);
