import { ApiError, Unreachable } from "../api/client";
import { t } from "../i18n";
import { Icon } from "../ui/icons";

/** A failed request, in words. What was shown before stays. */
export function ErrorNotice({ error }: { error: Error }) {
  return (
    <div class="notice notice-warn" role="alert">
      <Icon name="offline" />
      <div class="notice-body">
        <p class="notice-title">{t(error instanceof Unreachable ? "console.unreachable" : "console.failed")}</p>
        <p>{t(error instanceof Unreachable ? "console.unreachableNext" : "console.failedNext")}</p>
        <details class="error-detail">
          <summary>{t("fault.detail")}</summary>
          <code>
            {error instanceof ApiError ? `${error.code}: ${error.message}` : error.message}
          </code>
        </details>
      </div>
    </div>
  );
}
