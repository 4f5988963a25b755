import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { LanguageSwitch } from "../../ui/LanguageSwitch";
import { Mark } from "../../ui/Mark";
import { usePhone } from "./context";
import { Faults } from "./Faults";

/** Enrolled, but not yet certified: a custodian compares the code. */
export function Waiting() {
  const { organisation, me, server } = usePhone().engine.state.value;
  return (
    <div class="enrolment">
      <header class="enrolment-top">
        <LanguageSwitch />
      </header>
      <main class="enrolment-main">
        <div class="enrolment-head">
          <Mark size={56} />
          <h1>{t("waiting.title")}</h1>
          <p class="quiet">{t("waiting.lead", { organisation: organisation?.name ?? "", name: me?.displayName ?? "" })}</p>
        </div>
        <Faults />
        <div class="card enrolment-form">
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
      </main>
    </div>
  );
}
