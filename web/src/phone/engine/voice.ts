// A voice message: what the microphone hears, as one small file.

import type { OutgoingFile } from "../model";
import { plainType } from "./files";

/** Longest voice message. */
export const MOST_VOICE_MS = 120_000;
/** Opus carries speech in wide band at this rate (RFC 6716 §2.1.1); two minutes are 180 kB. */
const VOICE_BPS = 12_000;
const TYPES = ["audio/webm;codecs=opus", "audio/ogg;codecs=opus", "audio/mp4"];

/** Whether this browser can record at all. */
export function canRecord(): boolean {
  return typeof MediaRecorder !== "undefined" && TYPES.some((type) => MediaRecorder.isTypeSupported(type));
}

export class VoiceRecording {
  private readonly parts: Blob[] = [];
  private readonly stopped: Promise<void>;

  private constructor(
    private readonly recorder: MediaRecorder,
    private readonly stream: MediaStream,
    /** Milliseconds since 1970. */
    readonly since: number,
  ) {
    recorder.ondataavailable = ({ data }) => this.parts.push(data);
    this.stopped = new Promise((resolve) => {
      recorder.onstop = () => resolve();
    });
  }

  /** Rejects with the browser's DOMException if there is no microphone, or no leave to use it. */
  static async begin(): Promise<VoiceRecording> {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
    const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type)) ?? "";
    const recorder = new MediaRecorder(stream, { mimeType, audioBitsPerSecond: VOICE_BPS });
    const recording = new VoiceRecording(recorder, stream, Date.now());
    recorder.start();
    return recording;
  }

  async finish(): Promise<OutgoingFile> {
    const voiceS = Math.min(MOST_VOICE_MS, Date.now() - this.since) / 1000;
    await this.end();
    const mediaType = plainType(this.recorder.mimeType);
    const content = new Uint8Array(await new Blob(this.parts).arrayBuffer());
    return { name: `voice.${mediaType.split("/")[1] ?? "webm"}`, mediaType, content, voiceS: Math.round(voiceS * 10) / 10 };
  }

  discard(): void {
    void this.end();
  }

  private async end(): Promise<void> {
    if (this.recorder.state !== "inactive") this.recorder.stop();
    for (const track of this.stream.getTracks()) track.stop();
    await this.stopped;
  }
}
