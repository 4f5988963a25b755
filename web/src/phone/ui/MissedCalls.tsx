import { format, t } from "../../i18n";
import { Dialog } from "../../ui/Dialog";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import type { PhoneState, ThreadEntry } from "../model";
import { isMissed } from "./callSentence";
import { attempt, openThread, usePhone } from "./context";
import { PrecedenceBadge } from "./Precedence";
import { subjects, type Subject } from "./subject";

const MINUTE_MS = 60_000;
const MOST_LISTED = 100;

export interface MissedCall {
  subject: Subject;
  entry: Extract<ThreadEntry, { kind: "call" }>;
  /** The person has not looked at it yet. */
  fresh: boolean;
}

/** The calls that rang here and were not taken, or found this phone taken, the latest first. */
export function missedCalls(state: PhoneState): MissedCall[] {
  return subjects(state)
    .flatMap((subject) =>
      (state.threads[subject.conversationId] ?? []).flatMap((entry): MissedCall[] =>
        entry.kind === "call" && (isMissed(entry) || (!entry.outgoing && entry.outcome === "busy")) ? [{ subject, entry, fresh: state.unseenCalls.includes(entry.id) }] : [],
      ),
    )
    .sort((a, b) => b.entry.at - a.entry.at)
    .slice(0, MOST_LISTED);
}

/** Opens the list; says how many are new. Not there while nobody was missed. */
export function MissedButton() {
  const screen = usePhone();
  const state = screen.engine.state.value;
  const count = state.unseenCalls.length;
  if (missedCalls(state).length === 0) return null;
  return (
    <button type="button" class="button button-icon missed-button" aria-haspopup="dialog" aria-label={count > 0 ? t("missed.openNew", { count }) : t("missed.open")} onClick={() => (screen.dialog.value = "missed")}>
      <Icon name="missed" />
      {count > 0 && (
        <span class="unread" aria-hidden="true">
          {format.integer(count)}
        </span>
      )}
    </button>
  );
}

export function MissedDialog() {
  const screen = usePhone();
  const state = screen.engine.state.value;
  const now = useNow(MINUTE_MS);
  const listed = missedCalls(state);
  const close = () => {
    screen.dialog.value = null;
  };
  const callBack = ({ subject, entry }: MissedCall) => {
    if (subject.contact === null) return;
    close();
    screen.engine.callsSeen([entry.id]);
    openThread(screen, subject.conversationId);
    attempt(screen, screen.engine.call(subject.contact.accountId, "routine"));
  };
  return (
    <Dialog labelledBy="missed-title" class="missed" onDismiss={close}>
      <div class="protection-head">
        <h2 id="missed-title">{t("missed.title")}</h2>
        <button type="button" class="button button-icon" aria-label={t("missed.close")} onClick={close}>
          <Icon name="close" />
        </button>
      </div>
      <ul class="missed-list">
        {listed.map((missed) => (
          <li key={missed.entry.id} class={missed.fresh ? "missed-fresh" : ""}>
            <span class="missed-who">
              {missed.fresh && <span class="visually-hidden">{t("missed.new")} </span>}
              <strong>{missed.subject.name}</strong>
              <time class="quiet" dateTime={new Date(missed.entry.at).toISOString()}>
                {format.day(missed.entry.at, now)}, {format.clock(missed.entry.at)}
              </time>
              <PrecedenceBadge precedence={missed.entry.precedence ?? "routine"} />
            </span>
            {missed.subject.contact !== null && !missed.subject.contact.keyChanged && (
              <button type="button" class="button button-small button-good" disabled={state.call !== null && state.call.phase !== "ended"} onClick={() => callBack(missed)}>
                <Icon name="handset" size={18} />
                {t("thread.callBack")}
                <span class="visually-hidden"> {missed.subject.name}</span>
              </button>
            )}
          </li>
        ))}
      </ul>
      {state.unseenCalls.length > 0 && (
        <button type="button" class="button" onClick={() => screen.engine.callsSeen(state.unseenCalls)}>
          <Icon name="checkTwice" />
          {t("missed.seen")}
        </button>
      )}
    </Dialog>
  );
}

/** Calls do not ring here, but for those that must always be heard. */
export function QuietSwitch() {
  const screen = usePhone();
  const { quiet } = screen.engine.state.value;
  return (
    <section aria-labelledby="quiet-title">
      <h3 id="quiet-title">{t("quiet.title")}</h3>
      <label class="quiet-switch">
        <input type="checkbox" checked={quiet} aria-describedby="quiet-hint" onChange={({ currentTarget }) => attempt(screen, screen.engine.setQuiet(currentTarget.checked))} />
        {t("quiet.on")}
      </label>
      <p id="quiet-hint" class="field-hint">
        {t("quiet.hint")}
      </p>
    </section>
  );
}
