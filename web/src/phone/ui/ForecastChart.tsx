import { format, t } from "../../i18n";
import type { PathView } from "../model";
import { forecastGeometry } from "./forecastPath";

const WIDTH = 320;
const HEIGHT = 72;

/** One-way delay over the coming seconds, handovers as upright lines, the next one bold, spans without coverage hatched. */
export function ForecastChart({ path }: { path: PathView }) {
  const geometry = forecastGeometry(path.forecast, path.handoversS, WIDTH, HEIGHT);
  if (!geometry) return <p class="quiet">{t("path.noForecast")}</p>;
  const { line, outages, handovers, lowMs, highMs, spanS } = geometry;
  const range = t("path.forecastRange", { low: format.milliseconds(lowMs), high: format.milliseconds(highMs), span: format.seconds(spanS) });
  return (
    <figure class="forecast">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={range} preserveAspectRatio="none">
        {outages.map(([left, width]) => (
          <rect key={left} class="forecast-outage" x={left} y={0} width={width} height={HEIGHT} />
        ))}
        {handovers.map((at, i) => (
          <line key={at} class={i === 0 ? "forecast-handover" : "forecast-later"} x1={at} x2={at} y1={0} y2={HEIGHT} />
        ))}
        <path class="forecast-line" d={line} />
      </svg>
      <figcaption>
        <span>{t("path.now")}</span>
        <span>{t("path.forecastCaption", { low: format.milliseconds(lowMs), high: format.milliseconds(highMs) })}</span>
        <span>{t("path.ahead", { span: format.seconds(spanS) })}</span>
      </figcaption>
    </figure>
  );
}
