import { format, t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { usePhone } from "./context";
import { SimulatedBadge } from "./PathPanel";
import { pathNames } from "./pathNames";

/** One line about the present path at the foot of the list; opens the choice of place and carrier. */
export function PathStrip() {
  const screen = usePhone();
  const { path, access } = screen.engine.state.value;
  if (!path && !access) return null;
  return (
    <button
      type="button"
      class="path-strip"
      aria-haspopup="dialog"
      disabled={!access}
      onClick={() => (screen.accessOpen.value = true)}
    >
      <Icon name={path?.inOutage ? "offline" : "satellite"} size={22} />
      <span class="path-strip-words">
        {path ? (
          <>
            <span class="path-strip-name">{t("strip.path", pathNames(path, access))}</span>
            <span class="quiet figures">
              {path.inOutage
                ? t("strip.outage")
                : path.oneWayDelayMs === null
                  ? path.pointOfPresence
                  : t("strip.delay", { delay: format.milliseconds(path.oneWayDelayMs), via: path.satellite ?? path.pointOfPresence })}
            </span>
          </>
        ) : (
          <span>{t("strip.choose")}</span>
        )}
      </span>
      {path && <SimulatedBadge path={path} />}
    </button>
  );
}
