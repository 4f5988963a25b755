import type { ComponentChildren } from "preact";
import { format, t } from "../../i18n";
import { Icon } from "../../ui/icons";
import type { CallView, PathView } from "../model";
import { usePhone } from "./context";
import { ForecastChart } from "./ForecastChart";
import { pathNames } from "./pathNames";

function Fact({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{label}</dt>
      <dd class="figures">{children}</dd>
    </div>
  );
}

/** The label that never leaves a simulated path. */
export function SimulatedBadge({ path }: { path: PathView }) {
  return path.simulated ? <span class="badge badge-warn">{t("path.simulated")}</span> : <span class="badge">{t("path.measured")}</span>;
}

/** The phone's own path now and in the next seconds; during a call also what WebRTC really measured. */
export function PathPanel({ path, call }: { path: PathView; call: CallView | null }) {
  const names = pathNames(path, usePhone().engine.state.value.access);
  const unknown = t("path.unknown");
  const nextHandoverS = path.handoversS[0];
  return (
    <section class="card path-panel" aria-labelledby="path-title">
      <header class="path-head">
        <h2 id="path-title">{t("path.title")}</h2>
        <SimulatedBadge path={path} />
      </header>
      {path.inOutage && (
        <div class="notice notice-warn" role="alert">
          <Icon name="offline" />
          <div class="notice-body">
            <p class="notice-title">{t("path.outage")}</p>
            <p>{t("path.outageNext")}</p>
          </div>
        </div>
      )}
      <div class="path-now">
        <p class="path-delay">
          <span class="quiet">{t("path.delayNow")}</span>
          <strong class="figures">{path.oneWayDelayMs === null ? unknown : format.milliseconds(path.oneWayDelayMs)}</strong>
        </p>
        <p class="path-delay">
          <span class="quiet">{t("path.nextHandover")}</span>
          <strong class="figures">{nextHandoverS === undefined ? unknown : format.seconds(Math.ceil(nextHandoverS))}</strong>
        </p>
      </div>
      <ForecastChart path={path} />
      <dl class="facts">
        <Fact label={t("path.carrier")}>{names.carrier}</Fact>
        <Fact label={t("path.place")}>{names.place}</Fact>
        {path.satellite !== null && (
          <Fact label={t("path.satellite")}>
            {path.satellite}
            {path.elevationDeg !== null && (
              <span class="quiet"> {t("path.elevation", { angle: format.degrees(path.elevationDeg) })}</span>
            )}
          </Fact>
        )}
        <Fact label={t("path.loss")}>{format.percent(path.loss)}</Fact>
        <Fact label={t("path.gateway")}>{path.gateway ?? t("path.noGateway")}</Fact>
        <Fact label={t("path.pointOfPresence")}>{path.pointOfPresence}</Fact>
      </dl>
      {call && (call.phase === "active" || call.phase === "connecting") && (
        <div class="path-measured">
          <h3>{t("path.measuredTitle")}</h3>
          <dl class="facts">
            <Fact label={t("path.roundTrip")}>{call.measuredRttMs === null ? unknown : format.milliseconds(call.measuredRttMs)}</Fact>
            <Fact label={t("path.lossMeasured")}>{call.measuredLoss === null ? unknown : format.percent(call.measuredLoss)}</Fact>
            <Fact label={t("quality.concealed")}>{call.quality?.concealed == null ? unknown : format.percent(call.quality.concealed)}</Fact>
            <Fact label={t("quality.delay")}>
              {call.quality?.delayMs == null ? unknown : t("quality.about", { delay: format.milliseconds(call.quality.delayMs) })}
            </Fact>
            <Fact label={t("quality.sending")}>
              {call.sendingBps === null ? unknown : t("quality.kilobits", { rate: format.integer(call.sendingBps / 1_000) })}
            </Fact>
            <Fact label={t("quality.copies")}>{call.copiesPerFrame === null ? unknown : format.decimal(call.copiesPerFrame)}</Fact>
            <Fact label={t("path.framesDecrypted")}>{format.integer(call.framesDecrypted)}</Fact>
            <Fact label={t("path.framesRefused")}>{format.integer(call.framesRefused)}</Fact>
          </dl>
        </div>
      )}
      <p class="path-source quiet">{t("path.source", { source: path.source })}</p>
    </section>
  );
}
