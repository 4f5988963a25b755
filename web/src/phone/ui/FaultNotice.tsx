import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import type { Fault } from "../model";

/** A fault in a sentence that says what to do next. It is an alert: a screen reader speaks it at once. */
export function FaultNotice({ fault, onDismiss }: { fault: Fault; onDismiss?: () => void }) {
  return (
    <div class="notice notice-danger" role="alert">
      <Icon name="warning" />
      <div class="notice-body">
        <p class="notice-title">{t(`fault.${fault.code}.title`)}</p>
        <p>{t(`fault.${fault.code}.next`)}</p>
        {fault.detail && (
          <details class="fault-detail">
            <summary>{t("fault.detail")}</summary>
            <code>{fault.detail}</code>
          </details>
        )}
      </div>
      {onDismiss && (
        <button type="button" class="button button-icon" aria-label={t("fault.dismiss")} onClick={onDismiss}>
          <Icon name="close" />
        </button>
      )}
    </div>
  );
}
