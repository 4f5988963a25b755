// Geometry of the small drawing of the delay to come; no drawing library for one line.

export interface ForecastGeometry {
  /** SVG path of the delay, with a gap wherever the path is down. */
  line: string;
  /** Spans without coverage: [x, width]. */
  outages: [number, number][];
  /** x of each handover within the span. */
  handovers: number[];
  lowMs: number;
  highMs: number;
  spanS: number;
}

/**
 * `forecast`: [seconds from now, one-way delay in ms or null], ascending; `handoversS`: seconds from now, ascending.
 * Null if there is nothing to draw.
 */
export function forecastGeometry(
  forecast: readonly [number, number | null][],
  handoversS: readonly number[],
  width: number,
  height: number,
): ForecastGeometry | null {
  const first = forecast[0];
  const last = forecast.at(-1);
  const delays = forecast.flatMap(([, ms]) => (ms === null ? [] : [ms]));
  if (!first || !last || last[0] <= first[0] || delays.length === 0) return null;
  const lowMs = Math.min(...delays);
  const highMs = Math.max(...delays);
  const margin = Math.max(1, (highMs - lowMs) * 0.15);
  const bottom = lowMs - margin;
  const range = highMs + margin - bottom;
  const x = (seconds: number): number => ((seconds - first[0]) / (last[0] - first[0])) * width;
  const y = (ms: number): number => height - ((ms - bottom) / range) * height;

  let line = "";
  const outages: [number, number][] = [];
  let before: number | null = null;
  forecast.forEach(([at, ms], i) => {
    const next = forecast[i + 1]?.[0] ?? at;
    if (ms === null) {
      const open = outages.at(-1);
      if (open && Math.abs(open[0] + open[1] - x(at)) < 0.01) open[1] = x(next) - open[0];
      else outages.push([x(at), x(next) - x(at)]);
    } else {
      const since = before;
      const joined = since !== null && !handoversS.some((handover) => since < handover && handover <= at);
      line += `${joined ? "L" : "M"}${x(at).toFixed(1)} ${y(ms).toFixed(1)}`;
    }
    before = ms === null ? null : at;
  });
  const handovers = handoversS.filter((at) => first[0] <= at && at <= last[0]).map(x);
  return { line, outages, handovers, lowMs, highMs, spanS: last[0] - first[0] };
}
