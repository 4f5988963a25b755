// Copies of frames against the gaps that are coming: which ones to send when, and how long the receiver has to wait for them.
//
// A handover silences a path for a time that the forecast knows. A frame that falls into it is heard all the same if a copy follows when
// the path is back, at an offset just above the length of the gap, and if the receiver plays late enough to use it. Against single and
// clustered losses one copy at a short offset is enough; a clean path carries none. Figures: docs/media.md.

import type { Bytes } from "../../keys/bytes";
import { buildRed, MAX_BLOCK_OCTETS, MAX_OFFSET, parseRed, type RedundantBlock } from "./red";

const TICKS_PER_MS = 48; // RTP clock of Opus, RFC 7587 §4.1
/** The packet as it leaves the encoder, before SFrame, SRTP, TURN, UDP and IP: small enough for every path. */
const MAX_PAYLOAD_OCTETS = 1_100;
/** Opus frames that are in use, the step in which offsets are chosen. */
const FRAME_MS = 20;
const MAX_OFFSET_MS = Math.floor(MAX_OFFSET / TICKS_PER_MS / FRAME_MS) * FRAME_MS;
/** What sending, queues and a change of satellite may add to a gap. */
const GAP_MARGIN_MS = 20;
/** The instant of a gap is known to this and to the error of the clock: the delays of both paths lie between sender and gap. */
const INSTANT_ERROR_MS = 150;
const MOST_CLOCK_ERROR_MS = 1_000;
/** A longer gap than this is no handover. Copies reach back a third of a second, so little of it could be saved. */
const LONGEST_GAP_MS = 1_000;
/** The receiver keeps its delay between gaps that follow each other closer than this: stretching speech each time is heard. */
const HORIZON_MS = 45_000;
/** Above what the copies need: jitter of the arrival and one frame in the decoder. */
const PLAYOUT_MARGIN_MS = 60;
/** Never above this, whatever the forecast says: ITU-T G.114 allows 400 ms from mouth to ear. */
const MOST_PLAYOUT_MS = 400;

/** Loss of a path between its gaps: below the first figure it counts as clean, from the second on as clustered. */
const CLEAN_LOSS = 0.002;
const CLUSTERED_LOSS = 0.02;
const HEAVY_LOSS = 0.1;

/** A time in which a path is expected to carry nothing. */
export interface Gap {
  /** Milliseconds since 1970. */
  at: number;
  lastsMs: number;
}

export interface CopyWindow {
  /** Milliseconds since 1970 of this device's clock. */
  from: number;
  until: number;
  /** How old the copies are, in milliseconds. */
  offsetsMs: number[];
}

/** What the worker follows, frame by frame. */
export interface RedundancyPlan {
  /** Outside the windows. */
  offsetsMs: number[];
  windows: CopyWindow[];
}

/**
 * The gaps that a stream meets, in the time of its sending, those that touch each other as one. `legMs` is the way from the sender to the
 * receiver's own path: what is lost there was sent so much earlier.
 */
export function gapsOnTheWay(senders: readonly Gap[], receivers: readonly Gap[], legMs: number): Gap[] {
  const met = [...senders, ...receivers.map(({ at, lastsMs }) => ({ at: at - legMs, lastsMs }))].filter(isHandover).sort((a, b) => a.at - b.at);
  const merged: Gap[] = [];
  for (const { at, lastsMs } of met) {
    const last = merged.at(-1);
    // A copy of what the first one took must not fall into the second.
    if (last !== undefined && at <= last.at + last.lastsMs + offsetOver(last.lastsMs)) last.lastsMs = Math.max(last.lastsMs, at + lastsMs - last.at);
    else merged.push({ at, lastsMs });
  }
  return merged;
}

/** The offset that carries every frame over a gap, or as many as the format can. */
function offsetOver(lastsMs: number): number {
  return Math.min(MAX_OFFSET_MS, Math.ceil((lastsMs + GAP_MARGIN_MS) / FRAME_MS) * FRAME_MS);
}

function isHandover({ lastsMs }: Gap): boolean {
  return lastsMs > 0 && lastsMs <= LONGEST_GAP_MS;
}

function offsetsAgainst(loss: number): number[] {
  if (loss < CLEAN_LOSS) return [];
  if (loss < CLUSTERED_LOSS) return [FRAME_MS];
  if (loss < HEAVY_LOSS) return [4 * FRAME_MS];
  return [4 * FRAME_MS, 8 * FRAME_MS];
}

/**
 * What to send. `gaps` are those that the stream meets (`gapsOnTheWay`), `loss` what is lost beside them (0–1), `clockErrorMs` how far
 * this device's clock may be from the one the gaps are told in.
 */
export function planCopies(gaps: readonly Gap[], loss: number, clockErrorMs: number, now: number): RedundancyPlan {
  const error = INSTANT_ERROR_MS + Math.min(MOST_CLOCK_ERROR_MS, Math.max(0, clockErrorMs));
  const standing = offsetsAgainst(loss);
  const windows = gaps
    .map(({ at, lastsMs }): CopyWindow => {
      const offset = offsetOver(lastsMs);
      // The copies of what was lost go out while the frames `offset` ago were in the gap.
      return { from: at - error + offset - GAP_MARGIN_MS, until: at + lastsMs + error + offset + GAP_MARGIN_MS, offsetsMs: [offset] };
    })
    .filter(({ until }) => until > now)
    .sort((a, b) => a.from - b.from);
  return { offsetsMs: standing, windows };
}

/** How late the receiver of such a stream has to play for the copies to be of use, in milliseconds; null leaves it to the browser. */
export function playoutDelayMs(gaps: readonly Gap[], loss: number, now: number): number | null {
  const coming = gaps.filter((gap) => gap.at + gap.lastsMs > now - HORIZON_MS && gap.at < now + HORIZON_MS);
  const most = Math.max(0, ...offsetsAgainst(loss), ...coming.map(({ lastsMs }) => offsetOver(lastsMs)));
  return most === 0 ? null : Math.min(MOST_PLAYOUT_MS, most + PLAYOUT_MARGIN_MS);
}

/** The offsets in force at an instant. */
export function offsetsAt(plan: RedundancyPlan, now: number): number[] {
  const open = plan.windows.filter(({ from, until }) => from <= now && now < until).flatMap(({ offsetsMs }) => offsetsMs);
  return [...new Set([...plan.offsetsMs, ...open])];
}

interface Kept {
  timestamp: number;
  payloadType: number;
  data: Uint8Array;
}

/** The sender's side: takes the payload that the browser made, and puts the copies into it that the plan wants instead of the browser's. */
export class CopyWriter {
  plan: RedundancyPlan | null = null;
  /** Copies written, and frames that went through. */
  readonly counts = { frames: 0, copies: 0 };
  private readonly history: Kept[] = [];

  /**
   * The payload to seal: as it came while there is no plan. `timestamp` is the frame's RTP timestamp. Throws MalformedRed for what
   * is not RFC 2198.
   */
  write(payload: Uint8Array, timestamp: number, now: number): Uint8Array {
    const { primary } = parseRed(payload);
    const { payloadType, data } = primary;
    const oldest = this.history.at(0);
    // Time that jumps (a new source, a long silence): what was kept belongs to another stream of time.
    if (oldest !== undefined && age(timestamp, this.history.at(-1)?.timestamp ?? 0) > MAX_OFFSET) this.history.length = 0;
    while (this.history[0] !== undefined && age(timestamp, this.history[0].timestamp) > MAX_OFFSET) this.history.shift();
    const written = this.plan === null ? payload : this.rebuild({ timestamp, payloadType, data }, offsetsAt(this.plan, now));
    this.counts.frames++;
    this.history.push({ timestamp, payloadType, data: data.slice() });
    return written;
  }

  private rebuild(primary: Kept, offsetsMs: readonly number[]): Bytes {
    const redundant: RedundantBlock[] = [];
    let octets = 1 + primary.data.length;
    for (const wanted of offsetsMs) {
      // Frames may be longer than 20 ms: the newest one that is old enough.
      const copy = this.history.findLast(({ timestamp }) => age(primary.timestamp, timestamp) >= wanted * TICKS_PER_MS);
      if (copy === undefined || copy.data.length === 0 || copy.data.length > MAX_BLOCK_OCTETS) continue;
      const offset = age(primary.timestamp, copy.timestamp);
      if (octets + 4 + copy.data.length > MAX_PAYLOAD_OCTETS || redundant.some((other) => other.offset === offset)) continue;
      octets += 4 + copy.data.length;
      redundant.push({ payloadType: copy.payloadType, offset, data: copy.data });
    }
    this.counts.copies += redundant.length;
    redundant.sort((a, b) => b.offset - a.offset);
    return buildRed({ redundant, primary });
  }
}

/** How much later `timestamp` is than `earlier`, modulo 2³². */
function age(timestamp: number, earlier: number): number {
  return (timestamp - earlier) >>> 0;
}
