import { useEffect, useState } from "preact/hooks";

/** The wall clock in milliseconds since 1970, read again every `everyMs`; for timers and countdowns on screen only. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
