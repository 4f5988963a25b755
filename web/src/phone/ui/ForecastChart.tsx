import { format, t } from "../../i18n";
import type { PathView } from "../model";
import { forecastGeometry } from "./forecastPath";

const WIDTH = 320;
const HEIGHT = 72;
const STEP_S = 2;

/** One-way delay over the coming seconds, handovers as upright lines, the next one bold, spans without coverage hatched. */
export function ForecastChart({ path }: { path: PathView }) {
  const geometry = forecastGeometry(path.forecast, WIDTH, HEIGHT);
  if (!geometry) return <p class="quiet">{t("path.noForecast")}</p>;
  const { line, outages, handovers, lowMs, highMs, spanS, x } = geometry;
  const handover = path.nextHandoverS !== null && path.nextHandoverS <= spanS ? x(path.nextHandoverS) : null;
  // the samples show the next handover too, up to a step late: it is drawn once
  const later = handovers.filter((at) => handover === null || Math.abs(at - handover) > x(STEP_S) - x(0));
  const range = t("path.forecastRange", { low: format.milliseconds(lowMs), high: format.milliseconds(highMs), span: format.seconds(spanS) });
  return (
    <figure class="forecast">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={range} preserveAspectRatio="none">
        {outages.map(([left, width]) => (
          <rect key={left} class="forecast-outage" x={left} y={0} width={width} height={HEIGHT} />
        ))}
        {later.map((at) => (
          <line key={at} class="forecast-later" x1={at} x2={at} y1={0} y2={HEIGHT} />
        ))}
        {handover !== null && <line class="forecast-handover" x1={handover} x2={handover} y1={0} y2={HEIGHT} />}
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
