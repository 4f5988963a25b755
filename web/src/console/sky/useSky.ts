import { useEffect, useMemo, useState } from "preact/hooks";
import type { ConsoleApi, Links, SkySummary } from "../api";
import { endUnixS, type PositionTrack, parsePositions } from "./positions";

export interface Sky {
  summary: SkySummary | null;
  links: Links | null;
  track: PositionTrack | null;
  error: Error | null;
}

/** The links of a slot are asked for when it has surely begun; the server's clock has fractions that ours does not know. */
const SLOT_GRACE_S = 0.4;
/** The positions of the next span are asked for this long before the present ones run out, so that no satellite ever stops. */
const TRACK_MARGIN_S = 6;
const RETRY_S = 3;
const SHORTEST_WAIT_S = 1;

/**
 * Asks, and asks again when the answer has run out (`dueUnixS`) or after an error. Hidden pages ask nothing.
 * Returns how to stop.
 */
function keepAsking<T>(
  api: ConsoleApi,
  ask: () => Promise<T>,
  dueUnixS: (answer: T) => number,
  onAnswer: (answer: T) => void,
  onError: (error: Error) => void,
): () => void {
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = (seconds: number): void => {
    timer = setTimeout(() => void turn(), Math.max(seconds, SHORTEST_WAIT_S) * 1000);
  };
  const turn = async (): Promise<void> => {
    if (document.visibilityState !== "visible") {
      wait(RETRY_S);
      return;
    }
    try {
      const answer = await ask();
      if (stopped) return;
      onAnswer(answer);
      wait(dueUnixS(answer) - api.nowS());
    } catch (reason) {
      if (stopped) return;
      onError(reason instanceof Error ? reason : new Error(String(reason)));
      wait(RETRY_S);
    }
  };
  void turn();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

const SUMMARY_EVERY_S = 60;

/** Everything that the sky view shows, kept fresh. The last good answers stay while the server is away. */
export function useSky(api: ConsoleApi): Sky {
  const [summary, setSummary] = useState<SkySummary | null>(null);
  const [links, setLinks] = useState<Links | null>(null);
  const [track, setTrack] = useState<PositionTrack | null>(null);
  const [error, setError] = useState<Error | null>(null);

  useEffect(() => {
    const good =
      <T>(set: (answer: T) => void) =>
      (answer: T): void => {
        set(answer);
        setError(null);
      };
    let trackEndUnixS: number | null = null;
    const stops = [
      keepAsking(api, () => api.sky(), () => api.nowS() + SUMMARY_EVERY_S, good(setSummary), setError),
      keepAsking(api, () => api.links(), (answer) => answer.next_slot + SLOT_GRACE_S, good(setLinks), setError),
      keepAsking(
        api,
        async () => {
          const nowS = api.nowS();
          const at = trackEndUnixS !== null && trackEndUnixS > nowS ? trackEndUnixS + 0.5 : nowS;
          const answer = parsePositions(await api.positions(at));
          trackEndUnixS = endUnixS(answer);
          return answer;
        },
        (answer) => endUnixS(answer) - TRACK_MARGIN_S,
        good(setTrack),
        setError,
      ),
    ];
    return () => stops.forEach((stop) => stop());
  }, [api]);

  return useMemo(() => ({ summary, links, track, error }), [summary, links, track, error]);
}
