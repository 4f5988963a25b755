import { t } from "../../i18n";
import { PRECEDENCES, type CallView, type Precedence } from "../model";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import { attempt, usePhone } from "./context";

const TICK_MS = 250;

/** The level of a call, where it is more than routine. */
export function PrecedenceBadge({ precedence }: { precedence: Precedence }) {
  if (precedence === "routine") return null;
  return <span class={`badge precedence precedence-${precedence}`}>{t(`precedence.${precedence}`)}</span>;
}

/** The level of the next call, up to the person's ceiling; nothing for those who may call at routine only. */
export function PrecedenceMenu({ label, chosen, onChoose }: { label?: string; chosen: Precedence; onChoose: (level: Precedence) => void }) {
  const ceiling = usePhone().engine.state.value.me?.precedenceCeiling ?? "routine";
  if (ceiling === "routine") return null;
  const offered = PRECEDENCES.slice(0, PRECEDENCES.indexOf(ceiling) + 1);
  return (
    <select
      class="precedence-menu"
      aria-label={label ?? t("precedence.menu")}
      value={offered.includes(chosen) ? chosen : "routine"}
      onChange={({ currentTarget }) => onChoose(offered.find((level) => level === currentTarget.value) ?? "routine")}
    >
      {offered.map((level) => (
        <option key={level} value={level}>
          {t(`precedence.${level}`)}
        </option>
      ))}
    </select>
  );
}

/** What pre-emption does to the call on screen: that it is about to end for another one, or why it has ended. */
export function PreemptionNotice({ call }: { call: CallView }) {
  const screen = usePhone();
  const now = useNow(TICK_MS);
  if (call.next !== null && call.phase !== "ended") {
    const { peer, precedence, endsAt } = call.next;
    const level = t(`precedence.${precedence}`);
    return (
      <div class="notice notice-warn preemption">
        <Icon name="warning" size={26} />
        <div class="notice-body">
          <div role="alert">
            <p class="notice-title">{t("preemption.coming", { level, name: peer.displayName })}</p>
            <p>{t("preemption.comingNext")}</p>
          </div>
          <p class="figures" aria-hidden="true">
            {t("preemption.endsIn", { count: Math.max(0, Math.ceil((endsAt - now) / 1000)) })}
          </p>
          <div class="preemption-actions">
            <button type="button" class="button button-small button-good" onClick={() => attempt(screen, screen.engine.answer())}>
              <Icon name="handset" size={18} />
              {t("preemption.take")}
            </button>
            <button type="button" class="button button-small" onClick={() => attempt(screen, screen.engine.decline())}>
              {t("preemption.decline")}
            </button>
          </div>
        </div>
      </div>
    );
  }
  return call.outcome === "preempted" ? <EndedForAnother by={call.preemptedBy} /> : null;
}

/** Why a call has ended: for one of this level, or null, for want of room. */
export function EndedForAnother({ by }: { by: Precedence | null }) {
  return (
    <div class="notice notice-warn" role="alert">
      <Icon name="warning" size={26} />
      <div class="notice-body">
        <p class="notice-title">
          {by === null ? t("preemption.noRoom") : t("preemption.ended", { level: t(`precedence.${by}`) })}
        </p>
        <p>{t("preemption.endedNext")}</p>
      </div>
    </div>
  );
}
