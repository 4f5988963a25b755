import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { usePhone } from "./context";
import { Door } from "./Door";
import { Faults } from "./Faults";

/** Enrolled, but not yet certified: a custodian compares the code. */
export function Waiting() {
  const { organisation, me, server } = usePhone().engine.state.value;
  return (
    <Door title={t("waiting.title")} lead={t("waiting.lead", { organisation: organisation?.name ?? "", name: me?.displayName ?? "" })}>
      <Faults />
      <div class="card door-form">
        <h2 id="device-code" class="field-label">
          {t("waiting.code")}
        </h2>
        <p class="device-code" aria-labelledby="device-code">
          {organisation?.deviceCode}
        </p>
        <p class="quiet">{t("waiting.codeHint")}</p>
      </div>
      <p class="enrolment-promise quiet" role="status">
        <Icon name={server === "online" ? "clock" : "offline"} size={18} />
        <span>{t(server === "online" ? "waiting.state" : "server.offline")}</span>
      </p>
    </Door>
  );
}
