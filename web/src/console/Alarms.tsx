import { format, t } from "../i18n";
import { Icon } from "../ui/icons";
import type { ConsoleApi } from "./api";
import { useLoaded } from "./useLoaded";

const REFRESH_MS = 5_000;

/** Phones that were opened under duress, above every view: whoever looks at the sky has to see it too. */
export function Alarms({ api }: { api: ConsoleApi }) {
  const { value } = useLoaded(() => api.alarms(), REFRESH_MS);
  if (value === null || value.length === 0) return null;
  return (
    <div class="console-alarms">
      {value.map(({ device_id, display_name, raised_at }) => (
        <div class="notice notice-danger" role="alert" key={device_id}>
          <Icon name="warning" />
          <div class="notice-body">
            <p class="notice-title">{t("duressAlarm.title", { name: display_name, at: format.dayAndClock(raised_at * 1000) })}</p>
            <p>
              {t("duressAlarm.next")} <code>tramontana custodian revoke --reason REASON {device_id}</code>
            </p>
          </div>
        </div>
      ))}
    </div>
  );
}
