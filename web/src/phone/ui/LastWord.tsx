import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { LanguageSwitch } from "../../ui/LanguageSwitch";
import { Mark } from "../../ui/Mark";
import type { LastWord as Why } from "../model";

/** What a phone says that is no telephone any more. */
export function LastWord({ what }: { what: Why }) {
  return (
    <div class="enrolment">
      <header class="enrolment-top">
        <LanguageSwitch />
      </header>
      <main class="enrolment-main">
        <div class="enrolment-head">
          <Mark size={56} />
          <h1>{t(`lastWord.${what}.title`)}</h1>
        </div>
        <div class="notice notice-danger" role="alert">
          <Icon name="warning" />
          <div class="notice-body">
            <p>{t(`lastWord.${what}.what`)}</p>
            <p>{t(`lastWord.${what}.next`)}</p>
          </div>
        </div>
      </main>
    </div>
  );
}
