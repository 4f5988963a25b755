import { useCallback, useEffect, useRef, useState } from "preact/hooks";

export interface Loaded<T> {
  /** The last good answer; it stays while a later one fails. */
  value: T | null;
  error: Error | null;
  reload: () => Promise<void>;
}

/** Asks now and, if `everyMs` is given, again and again while the page is in front. */
export function useLoaded<T>(ask: () => Promise<T>, everyMs?: number): Loaded<T> {
  const [value, setValue] = useState<T | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const mounted = useRef(true);
  const latest = useRef(ask);
  latest.current = ask;

  const reload = useCallback(async () => {
    try {
      const answer = await latest.current();
      if (!mounted.current) return;
      setValue(answer);
      setError(null);
    } catch (reason) {
      if (!mounted.current) return;
      setError(reason instanceof Error ? reason : new Error(String(reason)));
    }
  }, []);

  useEffect(() => {
    mounted.current = true;
    void reload();
    const timer =
      everyMs === undefined
        ? undefined
        : setInterval(() => {
            if (document.visibilityState === "visible") void reload();
          }, everyMs);
    return () => {
      mounted.current = false;
      clearInterval(timer);
    };
  }, [everyMs, reload]);

  return { value, error, reload };
}
