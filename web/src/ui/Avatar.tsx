/** First letters of a name in a disc; decoration beside the name itself. */
export function Avatar({ name, size = "normal" }: { name: string; size?: "normal" | "large" }) {
  const words = name.trim().split(/\s+/u);
  const initials = [words[0], words.length > 1 ? words[words.length - 1] : undefined]
    .map((word) => (word ? ([...word][0] ?? "") : ""))
    .join("")
    .toLocaleUpperCase();
  return (
    <span class={`avatar avatar-${size}`} aria-hidden="true">
      {initials}
    </span>
  );
}
