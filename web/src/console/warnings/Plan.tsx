import { useState } from "preact/hooks";
import type { Schemas } from "../../api/client";
import { format, t } from "../../i18n";
import { Told } from "./Told";

export type PlanShown = Schemas["PlanShown"];
export type Block = "sib19" | "sib31";

const CHART = { width: 600, height: 120 };

function clock(plan: PlanShown, seconds: number): string {
  return format.dayAndClock((plan.begins_at + seconds) * 1000);
}

/**
 * When the area is lit, by which satellites, how many phones by then. `onDwell` shows the beams of one moment on the map; `again` makes the
 * same plan with what each beam's cell tells phones in octets.
 */
export function Plan({ plan, onDwell, again }: { plan: PlanShown; onDwell: (dwell: number) => void; again: (block: Block) => Promise<PlanShown> }) {
  const [dwell, setDwell] = useState(0);
  const dwells = plan.reached.length;
  const chosen = Math.min(dwell, Math.max(0, dwells - 1));
  const lit = plan.beams.filter((beam) => beam.dwell === chosen);
  const reached = plan.reached[chosen] ?? [];
  const step = CHART.width / Math.max(1, dwells);
  const said = (share: number | null): string => (share === null ? t("warnings.plan.never") : t("warnings.plan.after", { seconds: share }));
  return (
    <section class="card" aria-labelledby="plan-title">
      <h3 id="plan-title">{t("warnings.plan.title")}</h3>
      <p class="quiet">{t("warnings.plan.simulated", { satellites: plan.satellites })}</p>
      {dwells === 0 ? (
        <p>{t("warnings.plan.none")}</p>
      ) : (
        <>
          <svg viewBox={`0 0 ${CHART.width} ${CHART.height}`} class="warning-timeline" preserveAspectRatio="none" role="img" aria-label={t("warnings.plan.chart")}>
            {plan.reached.map((shares, n) =>
              shares.map((share, times) => (
                <rect key={`${n}-${times}`} x={n * step} width={Math.max(1, step - 1)} y={CHART.height * (1 - share)} height={CHART.height * share} class={`timeline-bar timeline-bar-${times}`} />
              )),
            )}
            <rect x={chosen * step} width={Math.max(2, step)} y={0} height={CHART.height} class="timeline-now" />
          </svg>
          <div class="field">
            <label for="plan-dwell">{t("warnings.plan.moment", { at: clock(plan, chosen * plan.dwell_s) })}</label>
            <input
              id="plan-dwell"
              type="range"
              min={0}
              max={dwells - 1}
              value={chosen}
              onInput={(event) => {
                const next = Number(event.currentTarget.value);
                setDwell(next);
                onDwell(next);
              }}
            />
          </div>
          <p aria-live="polite">
            {t("warnings.plan.then", { beams: lit.length, satellites: [...new Set(lit.map((beam) => beam.satellite))].join(", ") || "–", share: format.percent(reached[0] ?? 0) })}
          </p>
          <dl class="warning-facts">
            <dt>{t("warnings.plan.half")}</dt>
            <dd>{said(plan.half_reached_s)}</dd>
            <dt>{t("warnings.plan.ninety")}</dt>
            <dd>{said(plan.nine_tenths_reached_s)}</dd>
            <dt>{t("warnings.plan.ninetyNine")}</dt>
            <dd>{said(plan.ninety_nine_hundredths_reached_s)}</dd>
            <dt>{t("warnings.plan.overspill")}</dt>
            <dd>{plan.overspill_people === null ? t("warnings.plan.overspillArea", { km2: Math.round(plan.overspill_km2) }) : t("warnings.plan.overspillPeople", { km2: Math.round(plan.overspill_km2), people: plan.overspill_people })}</dd>
          </dl>
          {!plan.counts_people && <p class="quiet">{t("warnings.plan.noPeople")}</p>}
          {!plan.complete && <p>{t("warnings.plan.incomplete")}</p>}
          <Told key={plan.begins_at} plan={plan} dwell={chosen} again={again} />
        </>
      )}
    </section>
  );
}
