import { useMemo, useState } from "preact/hooks";
import { ApiError, type Schemas } from "../../api/client";
import { format, t } from "../../i18n";
import type { ConsoleApi } from "../api";
import { CardTable } from "../CardTable";
import { ErrorNotice } from "../ErrorNotice";
import { hasWebGl, useMapComponent } from "../sky/useMapComponent";
import { useLoaded } from "../useLoaded";
import { readContent, type Point } from "./content";
import type { Person } from "../person/person";
import { decideWarning, submitWarning, type Decision, type WarningShown } from "./signed";

const REFRESH_MS = 2_000;
const SHOWN_CELLS = 500;

function Cells({ cells }: { cells: Schemas["CellShown"][] }) {
  const onAir = cells.filter(({ state }) => state === "on-air").length;
  const failed = cells.filter(({ state }) => state === "failed").length;
  return (
    <>
      <h3>{t("warnings.cellsTitle")}</h3>
      <p aria-live="polite">{t("warnings.cellsSummary", { onAir, failed, all: cells.length })}</p>
      {cells.length > 0 && (
        <CardTable label={t("warnings.cellsTitle")} heads={[t("warnings.controller"), t("warnings.cell"), t("warnings.identifier"), t("warnings.stateTitle"), t("warnings.since")]}>
          {cells.slice(0, SHOWN_CELLS).map((cell) => (
            <tr key={`${cell.controller} ${cell.cell} ${cell.message_identifier}`}>
              <td>{cell.controller}</td>
              <th scope="row">{cell.cell}</th>
              <td class="number">{cell.message_identifier}</td>
              <td>
                {t(`warnings.cellState.${cell.state}`)} {cell.reason !== "" && <span class="quiet">{cell.reason}</span>}
              </td>
              <td>{format.clockWithSeconds((cell.on_air_at ?? cell.at) * 1000)}</td>
            </tr>
          ))}
        </CardTable>
      )}
    </>
  );
}

/** What goes off the air with an update or a cancellation. Not under the signature: it is what the server says. */
function Replaced({ api, warningId }: { api: ConsoleApi; warningId: string }) {
  const { value, error } = useLoaded(() => api.warning(warningId), REFRESH_MS);
  if (!value) return error ? <ErrorNotice error={error} /> : null;
  const content = readContent(value);
  return (
    <section class="warning-replaced" aria-labelledby="replaced-title">
      <h3 id="replaced-title">
        {t("warnings.replacedTitle")} <span class={`badge warning-state-${value.state}`}>{t(`warnings.state.${value.state}`)}</span>
      </h3>
      <p>
        {content.event} · {t(`warnings.levels.${content.level}`)} · {content.area?.description ?? t("warnings.noArea")}
      </p>
      {content.texts.map(({ language, text }) => (
        <blockquote key={language} lang={language} class="warning-text">
          {text}
        </blockquote>
      ))}
      <p class="quiet">{t("warnings.replacedUnsigned")}</p>
    </section>
  );
}

/** One warning: what it says, who stands behind it, what every cell answered; and what this person may do about it. */
export function Details({ api, warningId, warner, onDone }: { api: ConsoleApi; warningId: string; warner: Person | null; onDone: (warning: WarningShown) => void }) {
  const { value, error, reload } = useLoaded(() => api.warning(warningId), REFRESH_MS);
  const [read, setRead] = useState(false);
  const [fault, setFault] = useState("");
  const [working, setWorking] = useState(false);
  const Map = useMapComponent(useMemo(hasWebGl, []), () => import("./AreaMap"));
  const content = useMemo(() => (value ? readContent(value) : null), [value?.content]);
  const polygons = useMemo(() => (content?.area?.polygons ?? []).map((ring) => ring.map((point): Point => [Number(point[0]), Number(point[1])])), [content]);
  if (!value || !content) return error ? <ErrorNotice error={error} /> : null;
  const author = value.decisions.find(({ decision }) => decision === "submit");
  const mine = warner !== null && author?.account_id === warner.accountId;
  const act = async (work: () => Promise<WarningShown>) => {
    setWorking(true);
    setFault("");
    try {
      onDone(await work());
      await reload();
    } catch (reason) {
      setFault(reason instanceof ApiError ? reason.message : t("console.unreachable"));
    } finally {
      setWorking(false);
    }
  };
  const decide = (decision: Decision) => void act(async () => await decideWarning(warner as Person, value, decision));
  const cancel = () =>
    void act(async () => {
      const { template: _template, cap: _cap, ...said } = content;
      return await submitWarning(warner as Person, { ...said, kind: "cancel", replaces: warningId, texts: [], urgency: "Past" });
    });
  return (
    <article class="card warning-details" aria-labelledby="details-title">
      <h2 id="details-title">
        {content.event} <span class={`badge warning-state-${value.state}`}>{t(`warnings.state.${value.state}`)}</span>
      </h2>
      <p>
        {t(`warnings.kind.${content.kind}`)} · {t(`warnings.levels.${content.level}`)} · {t("warnings.lasts", { minutes: Math.round(content.duration_s / 60) })}
      </p>
      {content.texts.map(({ language, text }) => (
        <blockquote key={language} lang={language} class="warning-text">
          {text}
        </blockquote>
      ))}
      {content.area && <p>{content.area.description}</p>}
      {content.cap && <p>{t("warnings.fromCap", { identifier: content.cap.identifier, sender: content.cap.sender })}</p>}
      {content.replaces && <Replaced key={content.replaces} api={api} warningId={content.replaces} />}
      {Map && polygons.length > 0 && <Map polygons={polygons} beams={[]} beamRadiusM={0} />}
      <ul class="warning-decisions">
        {value.decisions.map((made) => (
          <li key={made.decision}>{t(`warnings.decided.${made.decision as "submit"}`, { name: made.display_name, at: format.dayAndClock(made.at * 1000) })}</li>
        ))}
      </ul>
      {fault !== "" && (
        <p class="field-error" role="alert">
          {fault}
        </p>
      )}
      {value.state === "submitted" && (
        <div class="warning-decide">
          {mine ? (
            <>
              <p>{t("warnings.waits")}</p>
              <button type="button" class="button" disabled={working} onClick={() => decide("withdraw")}>
                {t("warnings.withdraw")}
              </button>
            </>
          ) : warner ? (
            <>
              <label class="role">
                <input type="checkbox" checked={read} onChange={(event) => setRead(event.currentTarget.checked)} />
                <span>{t("warnings.haveRead")}</span>
              </label>
              <div class="warning-actions">
                <button type="button" class="button" disabled={working} onClick={() => decide("reject")}>
                  {t("warnings.reject")}
                </button>
                <button type="button" class="button button-primary" disabled={working || !read} onClick={() => decide("approve")}>
                  {t(`warnings.approve.${content.kind}`)}
                </button>
              </div>
            </>
          ) : (
            <p class="quiet">{t("warnings.noPhone")}</p>
          )}
        </div>
      )}
      {value.state === "on-air" && (
        <button type="button" class="button" disabled={working || !warner} onClick={cancel}>
          {t("warnings.cancel")}
        </button>
      )}
      {value.state === "authorised" && (
        <button type="button" class="button" disabled={working || !warner} onClick={() => decide("withdraw")}>
          {t("warnings.withdrawTemplate")}
        </button>
      )}
      {content.kind !== "template" && content.kind !== "cancel" && value.approved_at !== null && <Cells cells={value.cells} />}
    </article>
  );
}
