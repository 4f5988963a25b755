import { format, t } from "../../i18n";
import type { ThreadEntry } from "../model";

type CallEntry = Extract<ThreadEntry, { kind: "call" }>;

/** A call that rang here and was not taken: the person has to see it. */
export function isMissed(entry: CallEntry): boolean {
  return !entry.outgoing && (entry.outcome === "missed" || entry.outcome === "unanswered" || entry.outcome === "cancelled");
}

/** What became of a call, in one short sentence. */
export function callSentence(entry: CallEntry): string {
  const what = t(`callEntry.${entry.outgoing ? "outgoing" : "incoming"}.${entry.outcome}`);
  return entry.outcome === "answered" || entry.outcome === "preempted" ? t("callEntry.withDuration", { what, duration: format.duration(entry.durationS) }) : what;
}
