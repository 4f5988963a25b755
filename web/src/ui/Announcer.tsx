import { signal } from "@preact/signals";

const spoken = signal<{ text: string; turn: number }>({ text: "", turn: 0 });

/** Has a screen reader speak a sentence when it has finished its present one. */
export function announce(text: string): void {
  spoken.value = { text, turn: spoken.peek().turn + 1 };
}

/** The region that screen readers watch. A new key for each sentence, so that the same sentence is spoken twice if it happens twice. */
export function Announcer() {
  const { text, turn } = spoken.value;
  return (
    <div class="visually-hidden" role="status" aria-live="polite">
      <span key={turn}>{text}</span>
    </div>
  );
}
