import { t } from "../i18n";

interface PagesProps {
  /** What is turned over, for whoever does not see it. */
  label: string;
  /** Where the pages before this one began; empty on the first one. */
  trail: readonly string[];
  /** Where the next page begins, null at the end, undefined while nobody knows. */
  next: string | null | undefined;
  turn: (trail: readonly string[]) => void;
}

/** Turns over the pages of what the server gives page by page. */
export function Pages({ label, trail, next, turn }: PagesProps) {
  if (trail.length === 0 && !next) return null;
  return (
    <nav class="pages" aria-label={label}>
      <button type="button" class="button button-small" disabled={trail.length === 0} onClick={() => turn(trail.slice(0, -1))}>
        {t("pages.before")}
      </button>
      <span class="quiet" aria-live="polite">
        {t("pages.number", { number: trail.length + 1 })}
      </span>
      <button type="button" class="button button-small" disabled={!next} onClick={() => next && turn([...trail, next])}>
        {t("pages.next")}
      </button>
    </nav>
  );
}
