import { format, t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import type { ThreadEntry } from "../model";
import { callSentence, isMissed } from "./callSentence";
import { openThread, usePhone } from "./context";
import { fileTitle } from "./FileBubble";
import { eventSentence, personName, subjects, type Subject } from "./subject";

const MINUTE_MS = 60_000;

function Preview({ subject, entry }: { subject: Subject; entry: ThreadEntry | undefined }) {
  const state = usePhone().engine.state.value;
  if (!entry) return <span class="quiet">{t("contacts.noEntries")}</span>;
  switch (entry.kind) {
    case "call":
      return (
        <span class={isMissed(entry) ? "preview-missed" : "quiet"}>
          <Icon name={isMissed(entry) ? "missed" : "handset"} size={16} />
          {callSentence(entry)}
        </span>
      );
    case "title":
    case "roster":
    case "device":
      return <span class="quiet">{eventSentence(state, subject.group, entry)}</span>;
    case "text": {
      if (entry.state === "failed") {
        return (
          <span class="preview-missed">
            <Icon name="warning" size={16} />
            {t("textState.failed")}
          </span>
        );
      }
      const body = entry.file === undefined ? entry.body : fileTitle(entry.file);
      if (entry.outgoing) return <span class="quiet">{t("contacts.you", { body })}</span>;
      return <span class="quiet">{subject.group ? t("contacts.by", { name: personName(state, subject.group, entry.sender), body }) : body}</span>;
    }
  }
}

function Presence({ subject }: { subject: Subject }) {
  if (!subject.contact) return null;
  return <span class={`presence presence-${subject.contact.online ? "online" : "offline"}`} />;
}

function SubjectRow({ subject, last, now }: { subject: Subject; last: ThreadEntry | undefined; now: number }) {
  const screen = usePhone();
  const { contact, group } = subject;
  return (
    <li>
      <button
        type="button"
        class="contact"
        aria-current={screen.openThread.value === subject.conversationId ? "true" : undefined}
        onClick={() => openThread(screen, subject.conversationId)}
      >
        <span class="contact-face">
          <Avatar name={subject.name} />
          <Presence subject={subject} />
        </span>
        <span class="contact-words">
          <span class="contact-name">{subject.name}</span>
          {contact && <span class="visually-hidden">{t(contact.online ? "presence.online" : "presence.offline")}</span>}
          {group && <span class="visually-hidden">{t("group.members", { count: group.members.length })}</span>}
          <span class="contact-preview">
            {contact?.keyChanged ? (
              <span class="preview-missed">
                <Icon name="warning" size={16} />
                {t("contacts.keyChanged")}
              </span>
            ) : (
              <Preview subject={subject} entry={last} />
            )}
          </span>
        </span>
        <span class="contact-side">
          {last && <time dateTime={new Date(last.at).toISOString()}>{format.recent(last.at, now)}</time>}
          {subject.unread > 0 && (
            <span class="unread">
              <span aria-hidden="true">{format.integer(subject.unread)}</span>
              <span class="visually-hidden">{t("contacts.unread", { count: subject.unread })}</span>
            </span>
          )}
        </span>
      </button>
    </li>
  );
}

/** People and groups in one list, those last heard of first. */
export function ContactList() {
  const screen = usePhone();
  const state = screen.engine.state.value;
  const now = useNow(MINUTE_MS);
  const lastOf = (subject: Subject): ThreadEntry | undefined => state.threads[subject.conversationId]?.at(-1);
  const ordered = subjects(state).sort((a, b) => (lastOf(b)?.at ?? 0) - (lastOf(a)?.at ?? 0) || a.name.localeCompare(b.name));
  return (
    <nav class="contacts" aria-labelledby="contacts-title">
      <div class="contacts-head">
        <h2 id="contacts-title">{t("contacts.title")}</h2>
        {state.contacts.length > 0 && (
          <button type="button" class="button button-small" onClick={() => (screen.dialog.value = "newGroup")}>
            <Icon name="person" size={18} />
            {t("group.new")}
          </button>
        )}
      </div>
      {ordered.length === 0 ? (
        <p class="contacts-empty quiet">{t("contacts.empty")}</p>
      ) : (
        <ul>
          {ordered.map((subject) => (
            <SubjectRow key={subject.conversationId} subject={subject} last={lastOf(subject)} now={now} />
          ))}
        </ul>
      )}
    </nav>
  );
}
