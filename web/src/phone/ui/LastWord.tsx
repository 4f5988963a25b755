import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import type { LastWord as Why } from "../model";
import { Door } from "./Door";

/** What a phone says that is no telephone any more. */
export function LastWord({ what }: { what: Why }) {
  return (
    <Door title={t(`lastWord.${what}.title`)}>
      <div class="notice notice-danger" role="alert">
        <Icon name="warning" />
        <div class="notice-body">
          <p>{t(`lastWord.${what}.what`)}</p>
          <p>{t(`lastWord.${what}.next`)}</p>
        </div>
      </div>
    </Door>
  );
}
