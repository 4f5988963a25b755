// The way between two phones in a call, as far as both know it: what each forecasts of its own path, told to the other inside the
// conversation, together with what the call measures. Out of it: copies, playout delay and bit rate.

import { MAX_OUTAGES, type PathForecast } from "./messages";
import type { PathProfile } from "./path";
import { gapsOnTheWay, planCopies, playoutDelayMs, type Gap, type RedundancyPlan } from "./redundancy";
import { RateControl } from "./rate";

/** How far ahead a forecast is told; the other phone hears of it again long before. */
const TOLD_S = 300;
/** A playout delay that was needed is kept for so many samples: each change stretches speech. */
const HELD_SAMPLES = 30;
const DEFAULT_LEG_MS = 30;
/** The window of the loss measurement, which expected gaps are taken out of. */
export const LOSS_WINDOW_S = 30;

/** What is measured in a call, once a second. */
export interface Measured {
  rttMs: number | null;
  /** Shares of packets lost over the last LOSS_WINDOW_S: of what the peer sent, and of what he says he missed. */
  lossReceived: number | null;
  lossSent: number | null;
  availableBps: number | null;
}

export interface Tuning {
  plan: RedundancyPlan;
  playoutDelayMs: number | null;
  rate: number;
}

/** A device's clock beside the server's, in which forecasts are told. */
export interface Clock {
  now(): number;
  /** How far the server's is ahead, and by how much that may be wrong; milliseconds. */
  serverAheadMs(): number;
  serverErrorMs(): number;
}

/** What of a profile the other phone has to know. */
export function forecastOf(profile: PathProfile, fromUnixS: number): PathForecast {
  const outages: [number, number][] = [];
  for (const [i, start] of profile.outage_start_unix_s.entries()) {
    const end = profile.outage_end_unix_s[i] ?? start;
    if (end > fromUnixS && start < fromUnixS + TOLD_S && outages.length < MAX_OUTAGES) outages.push([start, end - start]);
  }
  const loss = profile.loss.reduce((sum, one) => sum + one, 0) / Math.max(1, profile.loss.length);
  return { outages, loss, capacityUpBps: least(profile.capacity_up_bps), capacityDownBps: least(profile.capacity_down_bps) };
}

/** The least capacity while there is any: what carries nothing at all is an outage, and has its own place. */
function least(capacities: readonly number[]): number | null {
  const open = capacities.filter((capacity) => capacity > 0);
  return open.length === 0 ? null : Math.min(...open);
}

export class CallPath {
  private own: PathForecast | null = null;
  private peer: PathForecast | null = null;
  private readonly rate = new RateControl();
  private readonly wanted: number[] = [];

  constructor(private readonly clock: Clock) {}

  /** The own forecast, to be told to the peer. */
  ownChanged(profile: PathProfile): PathForecast {
    this.own = forecastOf(profile, (this.clock.now() + this.clock.serverAheadMs()) / 1_000);
    return this.own;
  }

  peerTold(forecast: PathForecast): void {
    this.peer = forecast;
  }

  /** Once a second. */
  tune({ rttMs, lossReceived, lossSent, availableBps }: Measured): Tuning {
    const now = this.clock.now();
    const legMs = rttMs === null ? DEFAULT_LEG_MS : rttMs / 4;
    const [own, peer] = [this.gapsOf(this.own), this.gapsOf(this.peer)];
    const [sending, receiving] = [gapsOnTheWay(own, peer, legMs), gapsOnTheWay(peer, own, legMs)];
    const expected = 1 - (1 - (this.own?.loss ?? 0)) * (1 - (this.peer?.loss ?? 0));
    const plan = planCopies(sending, Math.max(expected, besideGaps(lossSent, sending, now)), this.clock.serverErrorMs(), now);
    this.wanted.push(playoutDelayMs(receiving, Math.max(expected, besideGaps(lossReceived, receiving, now)), now) ?? 0);
    if (this.wanted.length > HELD_SAMPLES) this.wanted.shift();
    const delay = Math.max(...this.wanted);
    const capacities = [this.own?.capacityUpBps, this.peer?.capacityDownBps].filter((capacity) => capacity != null);
    const rate = this.rate.sample({
      loss: lossSent === null ? null : besideGaps(lossSent, sending, now),
      rttMs,
      availableBps,
      capacityBps: capacities.length === 0 ? null : Math.min(...capacities),
      copies: plan.offsetsMs.length,
    });
    return { plan, playoutDelayMs: delay === 0 ? null : delay, rate };
  }

  private gapsOf(forecast: PathForecast | null): Gap[] {
    const ahead = this.clock.serverAheadMs();
    return (forecast?.outages ?? []).map(([atUnixS, seconds]) => ({ at: atUnixS * 1_000 - ahead, lastsMs: Math.round(seconds * 1_000) }));
  }
}

/** A measured loss without the share that the gaps of the measured time account for. */
function besideGaps(loss: number | null, gaps: readonly Gap[], now: number): number {
  const from = now - 1_000 * LOSS_WINDOW_S;
  const silent = gaps.reduce((sum, { at, lastsMs }) => sum + Math.max(0, Math.min(now, at + lastsMs) - Math.max(from, at)), 0);
  return Math.max(0, (loss ?? 0) - silent / (now - from));
}
