import { Fragment } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Icon, type IconName } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import type { Precedence, TextState, ThreadEntry } from "../model";
import { ArchiveNotice, archivesOfGroup } from "./ArchiveNotice";
import { JoinButton } from "./ConferenceScreen";
import { Composer } from "./Composer";
import { callSentence, isMissed } from "./callSentence";
import { attempt, usePhone } from "./context";
import { FaultNotice } from "./FaultNotice";
import { FileBubble } from "./FileBubble";
import { PrecedenceBadge, PrecedenceMenu } from "./Precedence";
import { eventSentence, personName, type Subject } from "./subject";

const MINUTE_MS = 60_000;

const STATE_ICONS: Record<TextState, IconName> = { queued: "clock", sent: "check", delivered: "checkTwice", read: "checkTwice", failed: "warning" };

type EntryOf<K extends ThreadEntry["kind"]> = Extract<ThreadEntry, { kind: K }>;

/** How far a message got; in a group how many have it. */
function Fate({ entry }: { entry: EntryOf<"text"> }) {
  const { state, receipts } = entry;
  const counts = receipts !== null && state !== "read" ? t("group.receipts", { ...receipts }) : null;
  return (
    <span class={`text-state ${state === "read" ? "text-state-read" : ""}`}>
      <Icon name={STATE_ICONS[state]} size={16} />
      {counts ?? t(`textState.${state}`)}
    </span>
  );
}

function TextEntry({ subject, entry }: { subject: Subject; entry: EntryOf<"text"> }) {
  const screen = usePhone();
  const sender = subject.group ? personName(screen.engine.state.value, subject.group, entry.sender) : subject.name;
  return (
    <li class={`entry ${entry.outgoing ? "entry-mine" : "entry-theirs"}`}>
      <div class={`bubble ${entry.state === "failed" ? "bubble-failed" : ""}`}>
        <p class="visually-hidden">{entry.outgoing ? t("thread.youWrote") : t("thread.wrote", { name: sender })}</p>
        {subject.group && !entry.outgoing && (
          <p class="bubble-sender" aria-hidden="true">
            {sender}
          </p>
        )}
        {entry.file === undefined ? (
          <p class="bubble-text" dir="auto">
            {entry.body}
          </p>
        ) : (
          <FileBubble conversationId={subject.conversationId} entry={{ ...entry, file: entry.file }} />
        )}
        <p class="bubble-meta">
          <time dateTime={new Date(entry.at).toISOString()}>{format.clock(entry.at)}</time>
          {entry.sealed && (
            <span class="text-state">
              <Icon name="sealed" size={16} />
              {t("sealed.mark")}
            </span>
          )}
          {entry.outgoing && <Fate entry={entry} />}
        </p>
      </div>
      {entry.state === "failed" && (
        <button
          type="button"
          class="button button-small"
          onClick={() => attempt(screen, screen.engine.retryText(subject.conversationId, entry.id))}
        >
          {t("thread.retry")}
        </button>
      )}
    </li>
  );
}

function CallEntry({ subject, entry }: { subject: Subject; entry: EntryOf<"call"> }) {
  const screen = usePhone();
  const { contact } = subject;
  const missed = isMissed(entry);
  const icon: IconName = missed ? "missed" : entry.outgoing ? "outgoing" : "incoming";
  return (
    <li class={`entry entry-call ${missed ? "entry-missed" : ""}`}>
      <Icon name={icon} />
      <span>{callSentence(entry)}</span>
      <PrecedenceBadge precedence={entry.precedence ?? "routine"} />
      <time class="quiet" dateTime={new Date(entry.at).toISOString()}>
        {format.clock(entry.at)}
      </time>
      {missed && contact && !contact.keyChanged && (
        <button
          type="button"
          class="button button-small"
          disabled={screen.engine.state.value.call !== null}
          onClick={() => attempt(screen, screen.engine.call(contact.accountId, "routine"))}
        >
          {t("thread.callBack")}
        </button>
      )}
    </li>
  );
}

function EventEntry({ subject, entry }: { subject: Subject; entry: EntryOf<"title" | "roster" | "device"> }) {
  return (
    <li class="entry entry-event">
      <span>{eventSentence(usePhone().engine.state.value, subject.group, entry)}</span>
      <time class="quiet" dateTime={new Date(entry.at).toISOString()}>
        {format.clock(entry.at)}
      </time>
    </li>
  );
}

function Entry({ subject, entry }: { subject: Subject; entry: ThreadEntry }) {
  switch (entry.kind) {
    case "text":
      return <TextEntry subject={subject} entry={entry} />;
    case "call":
      return <CallEntry subject={subject} entry={entry} />;
    case "title":
    case "roster":
    case "device":
      return <EventEntry subject={subject} entry={entry} />;
  }
}

function Standing({ subject }: { subject: Subject }) {
  const screen = usePhone();
  const { contact, group } = subject;
  if (contact) {
    return (
      <p class="quiet presence-line">
        <span class={`presence presence-${contact.online ? "online" : "offline"}`} />
        {t(contact.online ? "presence.online" : "presence.offline")}
      </p>
    );
  }
  return (
    <button type="button" class="members-line quiet" aria-haspopup="dialog" onClick={() => (screen.dialog.value = "members")}>
      {t("group.members", { count: group?.members.length ?? 0 })}
    </button>
  );
}

/** What was said and rung with a person or in a group, oldest first, and the field to write. */
export function Thread({ subject }: { subject: Subject }) {
  const screen = usePhone();
  const { threads, call } = screen.engine.state.value;
  const { conversationId, name, contact, group } = subject;
  const entries = threads[conversationId] ?? [];
  const now = useNow(MINUTE_MS);
  const list = useRef<HTMLDivElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const lastId = entries.at(-1)?.id;
  const [level, setLevel] = useState<Precedence>("routine");

  useLayoutEffect(() => title.current?.focus({ preventScroll: true }), [conversationId]);
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [conversationId, lastId]);
  useEffect(() => {
    // read is what a person can have seen: only while the page is in front
    const markRead = () => {
      if (subject.unread > 0 && document.visibilityState === "visible") screen.engine.markRead(conversationId);
    };
    markRead();
    document.addEventListener("visibilitychange", markRead);
    return () => document.removeEventListener("visibilitychange", markRead);
  }, [conversationId, subject.unread]);

  return (
    <section class="thread" aria-labelledby="thread-title">
      <header class="pane-head">
        <button type="button" class="button button-icon only-narrow" aria-label={t("thread.back")} onClick={() => history.back()}>
          <Icon name="back" size={24} />
        </button>
        <Avatar name={name} />
        <div class="pane-title">
          <h1 id="thread-title" ref={title} tabIndex={-1}>
            {name}
          </h1>
          <Standing subject={subject} />
        </div>
        {(contact || (group?.kind === "group" && group.standing === "open")) && <PrecedenceMenu chosen={level} onChoose={setLevel} />}
        {contact && (
          <button
            type="button"
            class="button button-good"
            disabled={call !== null || contact.keyChanged}
            aria-label={t("thread.callName", { name })}
            onClick={() => {
              attempt(screen, screen.engine.call(contact.accountId, level));
              setLevel("routine"); // more than routine is asked for each time anew
            }}
          >
            <Icon name="handset" />
            {t("thread.call")}
          </button>
        )}
        {contact && !contact.keyChanged && (
          <button type="button" class="button button-icon sealed-button" aria-label={t("sealed.button", { name })} aria-haspopup="dialog" onClick={() => (screen.dialog.value = "sealed")}>
            <Icon name="sealed" />
          </button>
        )}
        {group && <JoinButton group={group} level={level} />}
        {group && (
          <button type="button" class="button button-icon" aria-label={t("group.manage")} aria-haspopup="dialog" onClick={() => (screen.dialog.value = "members")}>
            <Icon name="person" />
          </button>
        )}
      </header>
      <ArchiveNotice names={contact?.archives ?? archivesOfGroup(screen.engine.state.value, conversationId)} />
      <div class="entries" ref={list} tabIndex={0} role="region" aria-label={t("thread.entries", { name })}>
        {entries.length === 0 && (
          <p class="entries-empty quiet">
            <Icon name="lock" size={28} />
            {group ? t("group.empty") : t("thread.empty", { name })}
          </p>
        )}
        <ol>
          {entries.map((entry, i) => {
            const before = entries[i - 1];
            const newDay = !before || new Date(before.at).toDateString() !== new Date(entry.at).toDateString();
            return (
              <Fragment key={entry.id}>
                {newDay && <li class="entry-day">{format.day(entry.at, now)}</li>}
                <Entry subject={subject} entry={entry} />
              </Fragment>
            );
          })}
        </ol>
      </div>
      {contact?.keyChanged ? (
        <div class="thread-blocked">
          <FaultNotice fault={{ code: "peer_key_changed", detail: "" }} />
        </div>
      ) : group && group.standing !== "open" ? (
        <p class="thread-over quiet">{t(`group.${group.standing}`)}</p>
      ) : (
        <Composer key={conversationId} subject={subject} />
      )}
    </section>
  );
}
