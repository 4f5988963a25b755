import { useMemo } from "preact/hooks";
import { encode } from "uqr";

const QUIET_ZONE = 4; // modules of white around a code, ISO/IEC 18004 §5.3.8

/** A QR code, always dark on white: many cameras do not read it the other way round. */
export function QrCode({ text, label }: { text: string; label: string }) {
  const { path, size } = useMemo(() => {
    const { data, size: modules } = encode(text, { ecc: "M", border: 0 });
    const squares = data.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET_ZONE} ${y + QUIET_ZONE}h1v1h-1z` : "")));
    return { path: squares.join(""), size: modules + 2 * QUIET_ZONE };
  }, [text]);
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  );
}
