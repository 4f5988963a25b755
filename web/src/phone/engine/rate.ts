// How many bits a second the encoder may spend: as much as the path carries with its copies, down to the least that Opus offers.

/** Rungs in bit/s. 6 kbit/s is the least of Opus (RFC 6716 §2.1.1); above 32 kbit/s speech gains nothing. */
export const RUNGS = [6_000, 8_000, 12_000, 16_000, 24_000, 32_000] as const;
export const FIRST_RATE = 24_000;
const PACKETS_PER_SECOND = 50;
/** IPv4, UDP, ChannelData, RTP with two extensions, SRTP tag, SFrame header and tag, RED header. */
const OVERHEAD_OCTETS = 20 + 8 + 4 + 12 + 12 + 16 + 20 + 1;
const COPY_HEADER_OCTETS = 4;
/** What of a path's capacity one call may take. */
const SHARE = 0.8;
/** A queue is building up when the round trip is so much above the least of the last minute. */
const QUEUE_MS = 250;
const RTT_SAMPLES = 60;
const LOSS = 0.15;
const BAD_SAMPLES = 3;
const GOOD_SAMPLES = 10;

export interface RateSample {
  /** Share of packets lost between the gaps that were expected. */
  loss: number | null;
  rttMs: number | null;
  /** What the sender's congestion control believes to be there, bit/s. */
  availableBps: number | null;
  /** The least capacity of the paths in use, as forecast, bit/s. */
  capacityBps: number | null;
  /** Copies a frame, on average. */
  copies: number;
}

/** Bits a second on the wire. */
export function wireRate(rate: number, copies: number): number {
  return rate * (1 + copies) + 8 * PACKETS_PER_SECOND * (OVERHEAD_OCTETS + COPY_HEADER_OCTETS * copies);
}

/** Fed once a second; quick to give way, slow to come back. */
export class RateControl {
  private rung = RUNGS.indexOf(FIRST_RATE);
  private readonly rtts: number[] = [];
  private bad = 0;
  private good = 0;

  get rate(): number {
    return RUNGS[this.rung] ?? FIRST_RATE;
  }

  sample({ loss, rttMs, availableBps, capacityBps, copies }: RateSample): number {
    if (rttMs !== null) this.rtts.push(rttMs);
    if (this.rtts.length > RTT_SAMPLES) this.rtts.shift();
    const queue = rttMs !== null && rttMs > Math.min(...this.rtts) + QUEUE_MS;
    const pressed = availableBps !== null && availableBps < wireRate(this.rate, copies) && (queue || (loss ?? 0) > LOSS / 3);
    if (queue || pressed || (loss ?? 0) > LOSS) [this.bad, this.good] = [this.bad + 1, 0];
    else [this.bad, this.good] = [0, this.good + 1];
    const limit = capacityBps === null ? Number.POSITIVE_INFINITY : SHARE * capacityBps;
    if (this.bad >= BAD_SAMPLES) {
      this.rung = Math.max(0, this.rung - 1);
      this.bad = 0;
    } else if (this.good >= GOOD_SAMPLES && wireRate(RUNGS[this.rung + 1] ?? Number.POSITIVE_INFINITY, copies) <= limit) {
      this.rung++;
      this.good = 0;
    }
    while (this.rung > 0 && wireRate(this.rate, copies) > limit) this.rung--; // what is known beforehand need not be suffered first
    return this.rate;
  }
}
