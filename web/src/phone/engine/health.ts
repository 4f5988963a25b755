// What the receiver really hears, judged from counted frames: never from what ought to be.

import type { MediaHealth } from "../model";
import type { FrameCounts } from "./frames";

/** Opus frames come 50 times a second; a second with fewer than this played means that speech is being lost. */
const FEWEST_PER_SECOND = 10;
/** Frames refused in a second, with none decrypted, that cannot be stragglers of a key change. */
const REFUSED_PER_SECOND = 10;

/** Fed once a second with the counts so far. */
export class HealthMeter {
  private last: Pick<FrameCounts, "decrypted" | "refused"> = { decrypted: 0, refused: 0 };
  private health: MediaHealth = "starting";

  sample(counts: FrameCounts): MediaHealth {
    const decrypted = counts.decrypted - this.last.decrypted;
    const refused = counts.refused - this.last.refused;
    this.last = { decrypted: counts.decrypted, refused: counts.refused };
    if (decrypted === 0 && refused >= REFUSED_PER_SECOND) this.health = "undecryptable";
    else if (decrypted >= FEWEST_PER_SECOND) this.health = "good";
    else if (this.health === "good") this.health = "interrupted";
    return this.health;
  }
}

/** Share of packets lost over the last samples of the receiver's running totals. */
export class LossMeter {
  private readonly samples: { lost: number; received: number }[] = [];

  constructor(private readonly length = 5) {}

  /** Null until two samples with packets between them are known. */
  sample(lost: number, received: number): number | null {
    this.samples.push({ lost, received });
    if (this.samples.length > this.length + 1) this.samples.shift();
    const first = this.samples[0];
    if (first === undefined) return null;
    const missing = Math.max(0, lost - first.lost);
    const expected = missing + Math.max(0, received - first.received);
    return expected === 0 ? null : missing / expected;
  }
}
