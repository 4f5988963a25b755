// What a screen reader should speak when the state changes. Pure, so that it can be tested without a browser.
// Faults and the incoming call are not here: they are alerts on screen and speak for themselves.

import { t } from "../../i18n";
import type { PhoneState, ThreadEntry } from "../model";
import { fileTitle } from "./FileBubble";
import { eventSentence, personName, subjectOf } from "./subject";

function ofEntry(state: PhoneState, conversationId: string, before: ThreadEntry | undefined, entry: ThreadEntry): string | null {
  if (entry.kind === "call") return null; // the call itself was announced by its phases
  const subject = subjectOf(state, conversationId);
  const group = subject?.group ?? null;
  const name = subject?.name ?? "";
  if (entry.kind !== "text") return before || entry.outgoing ? null : `${eventSentence(state, group, entry)}.`;
  if (!before) {
    if (entry.outgoing) return null;
    const body = entry.file === undefined ? entry.body : fileTitle(entry.file);
    const sender = personName(state, group, entry.sender);
    return group ? t("announce.groupText", { group: name, name: sender, body }) : t("announce.text", { name, body });
  }
  if (before.kind === "text" && before.state !== entry.state && entry.outgoing) {
    if (entry.state === "failed") return t("announce.failed", { name });
    if (entry.state === "delivered" || (entry.state === "read" && before.state !== "delivered")) return t("announce.delivered", { name });
  }
  return null;
}

/** The sentences that lead from one state to the next, in the order in which they should be spoken. */
export function announcements(previous: PhoneState, next: PhoneState): string[] {
  const spoken: string[] = [];
  if (previous.server !== next.server && previous.server !== "connecting" && next.server !== "connecting") {
    spoken.push(t(next.server === "online" ? "announce.serverBack" : "announce.serverLost"));
  }
  const was = previous.call;
  const is = next.call;
  if (is && (was?.callId !== is.callId || was.phase !== is.phase) && is.phase !== "incoming") {
    const name = is.peer.displayName;
    spoken.push(
      is.phase === "ended"
        ? t("announce.callEnded", { outcome: t(`call.outcome.${is.outcome ?? "answered"}`) })
        : t("announce.callPhase", { name, phase: t(`call.phase.${is.phase}`) }),
    );
  }
  if (is && was && was.callId === is.callId && was.health !== is.health && is.health === "good" && was.health === "interrupted") {
    spoken.push(t("announce.audioBack"));
  }
  if (previous.enrolment === "done") {
    for (const [conversationId, entries] of Object.entries(next.threads)) {
      const earlier = previous.threads[conversationId];
      if (!earlier || earlier === entries) continue;
      const byId = new Map(earlier.map((entry) => [entry.id, entry]));
      for (const entry of entries) {
        const sentence = ofEntry(next, conversationId, byId.get(entry.id), entry);
        if (sentence) spoken.push(sentence);
      }
    }
  }
  return spoken;
}
