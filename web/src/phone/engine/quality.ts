// What the person really hears, second by second, from what the browser measured: never from what the path should give.

import type { CallQuality, MediaHealth } from "../model";

/** Running totals of one received stream, as WebRTC counts them (W3C webrtc-stats). */
export interface StreamTotals {
  packetsLost: number;
  packetsReceived: number;
  /** Samples that came out of the jitter buffer, and how many of them were made up for want of a packet. */
  samples: number;
  concealedSamples: number;
  /** Time that samples spent in the jitter buffer, in seconds, summed over `emitted` samples. */
  bufferDelayS: number;
  emitted: number;
}

const WINDOW_SAMPLES = 10;
const NO_SOUND_SAMPLES = 2;
/** Above this share of made-up samples nothing of what is said comes through. */
const NO_SOUND_CONCEALED = 0.9;
// Shares of made-up sound, by bench/voice_quality.py: at 0.5 % PESQ stays above 4, at 3 % it falls below 3.5 (docs/media.md).
const GOOD_CONCEALED = 0.005;
const FAIR_CONCEALED = 0.03;
/** ITU-T G.114: above 400 ms a conversation suffers; beyond 600 ms people talk into each other. */
const GOOD_DELAY_MS = 400;
const FAIR_DELAY_MS = 600;
/** One Opus frame in the encoder, and its look-ahead of 6.5 ms (RFC 6716 §2). */
const ENCODER_MS = 26.5;

/** Fed once a second. Says nothing, null, before it has measured. */
export class QualityMeter {
  private readonly totals: StreamTotals[] = [];

  sample(now: StreamTotals, health: MediaHealth, rttMs: number | null): CallQuality | null {
    this.totals.push(now);
    if (this.totals.length > WINDOW_SAMPLES + 1) this.totals.shift();
    const concealed = this.concealedOver(WINDOW_SAMPLES);
    const bufferMs = this.bufferMs();
    const delayMs = rttMs === null || bufferMs === null ? null : rttMs / 2 + bufferMs + ENCODER_MS;
    const silent = health !== "good" || (this.concealedOver(NO_SOUND_SAMPLES) ?? 0) > NO_SOUND_CONCEALED;
    if (concealed === null && !silent) return null;
    return { grade: silent ? "none" : gradeOf(concealed, delayMs), concealed, loss: this.loss(), delayMs };
  }

  private over(length: number): [StreamTotals, StreamTotals] | null {
    const last = this.totals.at(-1);
    const first = this.totals.at(Math.max(-1 - length, -this.totals.length));
    return last === undefined || first === undefined || first === last ? null : [first, last];
  }

  private concealedOver(length: number): number | null {
    const span = this.over(length);
    if (span === null) return null;
    const samples = span[1].samples - span[0].samples;
    return samples <= 0 ? null : Math.max(0, span[1].concealedSamples - span[0].concealedSamples) / samples;
  }

  private bufferMs(): number | null {
    const span = this.over(NO_SOUND_SAMPLES);
    if (span === null) return null;
    const emitted = span[1].emitted - span[0].emitted;
    return emitted <= 0 ? null : (1_000 * (span[1].bufferDelayS - span[0].bufferDelayS)) / emitted;
  }

  private loss(): number | null {
    const span = this.over(WINDOW_SAMPLES);
    if (span === null) return null;
    const missing = Math.max(0, span[1].packetsLost - span[0].packetsLost);
    const expected = missing + Math.max(0, span[1].packetsReceived - span[0].packetsReceived);
    return expected === 0 ? null : missing / expected;
  }
}

function gradeOf(concealed: number | null, delayMs: number | null): CallQuality["grade"] {
  const [gaps, delay] = [concealed ?? 0, delayMs ?? 0];
  if (gaps <= GOOD_CONCEALED && delay <= GOOD_DELAY_MS) return "good";
  if (gaps <= FAIR_CONCEALED && delay <= FAIR_DELAY_MS) return "fair";
  return "poor";
}
