/** The mark of the house: the pole star over the horizon by which sailors kept their bearings. Decorative: the name stands beside it. */
export function Mark({ size = 32 }: { size?: number }) {
  return (
    <svg class="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path class="mark-star" d="M16 1.5 L17.9 10.1 L26.5 12 L17.9 13.9 L16 22.5 L14.1 13.9 L5.5 12 L14.1 10.1 Z" />
      <path class="mark-horizon" d="M2.5 26.5 Q16 20.5 29.5 26.5" />
      <path class="mark-sea" d="M7.5 30 Q16 26.4 24.5 30" />
    </svg>
  );
}
