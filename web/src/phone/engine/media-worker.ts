// The worker through which every media frame of a call passes (RTCRtpScriptTransform). One worker a call.

import { FrameGate, type TransformOptions, type WorkerCommand, type WorkerReport } from "./frames";

/** The parts of the worker's scope that are used; TypeScript's libraries for pages and for workers exclude each other. */
interface EncodedFrame {
  data: ArrayBuffer;
}
interface TransformScope {
  onrtctransform: ((event: { transformer: { readable: ReadableStream<EncodedFrame>; writable: WritableStream<EncodedFrame>; options: TransformOptions } }) => void) | null;
  onmessage: ((event: MessageEvent<WorkerCommand>) => void) | null;
  postMessage(report: WorkerReport): void;
}

const REPORT_EVERY_MS = 200;

const scope = self as unknown as TransformScope;
const gate = new FrameGate();
let reported = "";

scope.onmessage = ({ data }) => {
  // A failure is not caught: without keys nothing passes, and the page sees that nothing does.
  void gate.useKeys(data.keys);
};

scope.onrtctransform = ({ transformer: { readable, writable, options } }) => {
  const pass = options.direction === "send" ? (frame: Uint8Array) => gate.seal(frame) : (frame: Uint8Array) => gate.open(frame);
  const transform = new TransformStream<EncodedFrame, EncodedFrame>({
    async transform(frame, controller) {
      const passed = await pass(new Uint8Array(frame.data));
      if (passed === null) return;
      frame.data = passed.buffer;
      controller.enqueue(frame);
    },
  });
  void readable.pipeThrough(transform).pipeTo(writable);
};

setInterval(() => {
  const now = JSON.stringify(gate.counts);
  if (now === reported) return;
  reported = now;
  scope.postMessage({ kind: "counts", counts: { ...gate.counts } });
}, REPORT_EVERY_MS);
