import { useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { announce } from "../../ui/Announcer";
import { Icon } from "../../ui/icons";
import type { ConsoleApi } from "../api";
import { ErrorNotice } from "../ErrorNotice";
import { useLoaded } from "../useLoaded";
import type { Person } from "../person/person";
import { Unlock } from "../person/Unlock";
import { Compose } from "./Compose";
import { readContent } from "./content";
import { Details } from "./Details";
import type { WarningShown } from "./signed";

const REFRESH_MS = 3_000;
const LOAD_NETWORK = "tramontana warn load --network FILE";

function Row({ warning, chosen, choose }: { warning: WarningShown; chosen: boolean; choose: () => void }) {
  const content = readContent(warning);
  return (
    <li>
      <button type="button" class="warning-row" aria-pressed={chosen} onClick={choose}>
        <span class={`badge warning-state-${warning.state}`}>{t(`warnings.state.${warning.state}`)}</span>
        <strong>{content.event}</strong>
        <span>{t(`warnings.kind.${content.kind}`)}</span>
        {content.status === "exercise" && <span class="badge badge-warn">{t("warnings.exercise")}</span>}
        <span class="quiet">{content.area?.description ?? t("warnings.noArea")}</span>
        <span class="quiet">{format.dayAndClock(warning.submitted_at * 1000)}</span>
      </button>
    </li>
  );
}

/** Public warnings: write, approve, follow. Whoever signs is the person whose phone this browser is. */
export function WarningsView({ api }: { api: ConsoleApi }) {
  const { value, error, reload } = useLoaded(() => Promise.all([api.warnings(), api.warningSetup()]), REFRESH_MS);
  const [warner, setWarner] = useState<Person | null>(null);
  const [chosen, setChosen] = useState<string | "new" | null>(null);
  const [setup, warnings] = [value?.[1] ?? null, value?.[0] ?? []];
  const done = (warning: WarningShown) => {
    setChosen(warning.warning_id);
    announce(t(`warnings.state.${warning.state}`));
    void reload();
  };
  return (
    <section class="page warnings" aria-labelledby="warnings-title">
      <h1 id="warnings-title">{t("warnings.title")}</h1>
      <p class="quiet">{t("warnings.lead")}</p>
      {error && <ErrorNotice error={error} />}
      <Unlock person={warner} onOpen={setWarner} opened={t("warnings.signingAs", { name: warner?.name ?? "" })} action={t("warnings.unlock")}>
        <p class="quiet">{t("warnings.noPhone")}</p>
      </Unlock>
      {setup && (
        <ul class="warning-controllers" aria-label={t("warnings.controllers")}>
          {setup.controllers.length === 0 && (
            <li class="quiet">
              {t("warnings.noControllers")} <code class="nowrap">{LOAD_NETWORK}</code>
            </li>
          )}
          {setup.controllers.map((controller) => (
            <li key={controller.name}>
              <span class={controller.connected ? "badge badge-good" : "badge badge-danger"}>{t(controller.connected ? "warnings.connected" : "warnings.disconnected")}</span> {controller.name} ·{" "}
              {t("warnings.cells", { count: controller.cells })} {!controller.connected && <span class="quiet">{controller.fault}</span>}
            </li>
          ))}
        </ul>
      )}
      <button type="button" class="button button-primary" aria-pressed={chosen === "new"} onClick={() => setChosen(chosen === "new" ? null : "new")}>
        <Icon name="warning" />
        {t("warnings.write")}
      </button>
      {chosen === "new" && setup && <Compose api={api} setup={setup} warner={warner} warnings={warnings} onDone={done} />}
      <h2>{t("warnings.listed")}</h2>
      {value && warnings.length === 0 && <p class="quiet">{t("warnings.none")}</p>}
      <ul class="warning-list">
        {warnings.map((warning) => (
          <Row key={warning.warning_id} warning={warning} chosen={chosen === warning.warning_id} choose={() => setChosen(chosen === warning.warning_id ? null : warning.warning_id)} />
        ))}
      </ul>
      {warnings.some(({ warning_id }) => warning_id === chosen) && chosen !== null && <Details key={chosen} api={api} warningId={chosen} warner={warner} onDone={done} />}
    </section>
  );
}
