import { format, t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import type { Contact, ThreadEntry } from "../model";
import { callSentence, isMissed } from "./callSentence";
import { openThread, usePhone } from "./context";

const MINUTE_MS = 60_000;

function Preview({ entry }: { entry: ThreadEntry | undefined }) {
  if (!entry) return <span class="quiet">{t("contacts.noEntries")}</span>;
  if (entry.kind === "call") {
    return (
      <span class={isMissed(entry) ? "preview-missed" : "quiet"}>
        <Icon name={isMissed(entry) ? "missed" : "handset"} size={16} />
        {callSentence(entry)}
      </span>
    );
  }
  const text = entry.outgoing ? t("contacts.you", { body: entry.body }) : entry.body;
  return entry.state === "failed" ? (
    <span class="preview-missed">
      <Icon name="warning" size={16} />
      {t("textState.failed")}
    </span>
  ) : (
    <span class="quiet">{text}</span>
  );
}

function ContactRow({ contact, last, now }: { contact: Contact; last: ThreadEntry | undefined; now: number }) {
  const screen = usePhone();
  return (
    <li>
      <button
        type="button"
        class="contact"
        aria-current={screen.openThread.value === contact.accountId ? "true" : undefined}
        onClick={() => openThread(screen, contact.accountId)}
      >
        <span class="contact-face">
          <Avatar name={contact.displayName} />
          <span class={`presence presence-${contact.online ? "online" : "offline"}`} />
        </span>
        <span class="contact-words">
          <span class="contact-name">{contact.displayName}</span>
          <span class="visually-hidden">{t(contact.online ? "presence.online" : "presence.offline")}</span>
          <span class="contact-preview">
            {contact.keyChanged ? (
              <span class="preview-missed">
                <Icon name="warning" size={16} />
                {t("contacts.keyChanged")}
              </span>
            ) : (
              <Preview entry={last} />
            )}
          </span>
        </span>
        <span class="contact-side">
          {last && <time dateTime={new Date(last.at).toISOString()}>{format.recent(last.at, now)}</time>}
          {contact.unread > 0 && (
            <span class="unread">
              <span aria-hidden="true">{format.integer(contact.unread)}</span>
              <span class="visually-hidden">{t("contacts.unread", { count: contact.unread })}</span>
            </span>
          )}
        </span>
      </button>
    </li>
  );
}

export function ContactList() {
  const { contacts, threads } = usePhone().engine.state.value;
  const now = useNow(MINUTE_MS);
  const lastOf = (contact: Contact): ThreadEntry | undefined => threads[contact.accountId]?.at(-1);
  const ordered = [...contacts].sort(
    (a, b) => (lastOf(b)?.at ?? 0) - (lastOf(a)?.at ?? 0) || a.displayName.localeCompare(b.displayName),
  );
  return (
    <nav class="contacts" aria-labelledby="contacts-title">
      <h2 id="contacts-title">{t("contacts.title")}</h2>
      {ordered.length === 0 ? (
        <p class="contacts-empty quiet">{t("contacts.empty")}</p>
      ) : (
        <ul>
          {ordered.map((contact) => (
            <ContactRow key={contact.accountId} contact={contact} last={lastOf(contact)} now={now} />
          ))}
        </ul>
      )}
    </nav>
  );
}
