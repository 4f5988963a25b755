// The phone's own path over time, read from the profile that the server computed (tramontana.path_profile).

import type { Schemas } from "../../api/client";
import type { PathView } from "../model";

export type PathProfile = Schemas["PathProfileShape"];

export const FORECAST_S = 60;
/** What is shown as an outage lasts longer: a handover is over (at most 0.5 s, space/parameters.py) before anybody could read of it. */
const SHORTEST_SHOWN_OUTAGE_S = 0.5;

/** Index of the last element that is not above `value`, or -1; `ascending` is sorted. */
function lastNotAbove(ascending: readonly number[], value: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] ?? Number.POSITIVE_INFINITY) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function inOutage(profile: PathProfile, unixS: number): boolean {
  const i = lastNotAbove(profile.outage_start_unix_s, unixS);
  const [start, end] = [profile.outage_start_unix_s[i], profile.outage_end_unix_s[i]];
  return start !== undefined && end !== undefined && unixS < end && end - start > SHORTEST_SHOWN_OUTAGE_S;
}

/** One-way delay in ms, linear between two samples of one serving satellite; null without coverage. */
function delayMs(profile: PathProfile, unixS: number): number | null {
  const i = Math.max(0, lastNotAbove(profile.time_unix_s, unixS));
  const delay = profile.one_way_delay_s[i] ?? null;
  if (delay === null) return null;
  const [from, to] = [profile.time_unix_s[i], profile.time_unix_s[i + 1]];
  const next = profile.one_way_delay_s[i + 1] ?? null;
  if (from === undefined || to === undefined || next === null || unixS <= from || profile.serving[i] !== profile.serving[i + 1]) return delay * 1_000;
  return (delay + ((unixS - from) / (to - from)) * (next - delay)) * 1_000;
}

/** The path at an instant (POSIX seconds of the server's clock). Before the first sample the first holds, after the last the last. */
export function pathView(profile: PathProfile, simulated: boolean, unixS: number): PathView {
  const i = Math.max(0, lastNotAbove(profile.time_unix_s, unixS));
  const delay = delayMs(profile, unixS);
  const forecast: [number, number | null][] = [];
  for (let ahead = 0; ahead <= FORECAST_S; ahead++) {
    const outage = inOutage(profile, unixS + ahead);
    forecast.push([ahead, outage ? null : delayMs(profile, unixS + ahead)]);
  }
  return {
    place: profile.place,
    carrier: profile.carrier,
    source: profile.source,
    simulated,
    satellite: profile.satellite_names[profile.serving[i] ?? -1] ?? null,
    elevationDeg: profile.elevation_deg[i] ?? null,
    gateway: profile.gateway_names[profile.gateway[i] ?? -1] ?? null,
    pointOfPresence: profile.point_of_presence,
    oneWayDelayMs: delay,
    loss: profile.loss[i] ?? 0,
    inOutage: delay === null || inOutage(profile, unixS),
    handoversS: profile.handover_unix_s.slice(lastNotAbove(profile.handover_unix_s, unixS) + 1).map((at) => at - unixS),
    forecast,
  };
}
