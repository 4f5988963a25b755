import { Fragment } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { Avatar } from "../../ui/Avatar";
import { Icon, type IconName } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import type { Contact, Precedence, TextState, ThreadEntry } from "../model";
import { Composer } from "./Composer";
import { callSentence, isMissed } from "./callSentence";
import { attempt, usePhone } from "./context";
import { FaultNotice } from "./FaultNotice";
import { PrecedenceBadge, PrecedenceMenu } from "./Precedence";

const MINUTE_MS = 60_000;

const STATE_ICONS: Record<TextState, IconName> = { queued: "clock", sent: "check", delivered: "checkTwice", failed: "warning" };

function TextEntry({ contact, entry }: { contact: Contact; entry: Extract<ThreadEntry, { kind: "text" }> }) {
  const screen = usePhone();
  return (
    <li class={`entry ${entry.outgoing ? "entry-mine" : "entry-theirs"}`}>
      <div class={`bubble ${entry.state === "failed" ? "bubble-failed" : ""}`}>
        <p class="visually-hidden">{entry.outgoing ? t("thread.youWrote") : t("thread.wrote", { name: contact.displayName })}</p>
        <p class="bubble-text" dir="auto">
          {entry.body}
        </p>
        <p class="bubble-meta">
          <time dateTime={new Date(entry.at).toISOString()}>{format.clock(entry.at)}</time>
          {entry.outgoing && (
            <span class="text-state">
              <Icon name={STATE_ICONS[entry.state]} size={16} />
              {t(`textState.${entry.state}`)}
            </span>
          )}
        </p>
      </div>
      {entry.state === "failed" && (
        <button
          type="button"
          class="button button-small"
          onClick={() => attempt(screen, screen.engine.retryText(contact.accountId, entry.id))}
        >
          {t("thread.retry")}
        </button>
      )}
    </li>
  );
}

function CallEntry({ contact, entry }: { contact: Contact; entry: Extract<ThreadEntry, { kind: "call" }> }) {
  const screen = usePhone();
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
      {missed && !contact.keyChanged && (
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

/** What was said and rung with one person, oldest first, and the field to write. */
export function Thread({ contact }: { contact: Contact }) {
  const screen = usePhone();
  const { threads, call } = screen.engine.state.value;
  const entries = threads[contact.accountId] ?? [];
  const now = useNow(MINUTE_MS);
  const list = useRef<HTMLDivElement>(null);
  const title = useRef<HTMLHeadingElement>(null);
  const lastId = entries.at(-1)?.id;
  const [level, setLevel] = useState<Precedence>("routine");

  useEffect(() => title.current?.focus({ preventScroll: true }), [contact.accountId]);
  useEffect(() => setLevel("routine"), [contact.accountId]);
  useEffect(() => {
    list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [contact.accountId, lastId]);
  useEffect(() => {
    // read is what a person can have seen: only while the page is in front
    const markRead = () => {
      if (contact.unread > 0 && document.visibilityState === "visible") screen.engine.markRead(contact.accountId);
    };
    markRead();
    document.addEventListener("visibilitychange", markRead);
    return () => document.removeEventListener("visibilitychange", markRead);
  }, [contact.accountId, contact.unread]);

  return (
    <section class="thread" aria-labelledby="thread-title">
      <header class="pane-head">
        <button type="button" class="button button-icon only-narrow" aria-label={t("thread.back")} onClick={() => history.back()}>
          <Icon name="back" size={24} />
        </button>
        <Avatar name={contact.displayName} />
        <div class="pane-title">
          <h1 id="thread-title" ref={title} tabIndex={-1}>
            {contact.displayName}
          </h1>
          <p class="quiet presence-line">
            <span class={`presence presence-${contact.online ? "online" : "offline"}`} />
            {t(contact.online ? "presence.online" : "presence.offline")}
          </p>
        </div>
        <PrecedenceMenu chosen={level} onChoose={setLevel} />
        <button
          type="button"
          class="button button-good"
          disabled={call !== null || contact.keyChanged}
          aria-label={t("thread.callName", { name: contact.displayName })}
          onClick={() => {
            attempt(screen, screen.engine.call(contact.accountId, level));
            setLevel("routine"); // more than routine is asked for each time anew
          }}
        >
          <Icon name="handset" />
          {t("thread.call")}
        </button>
      </header>
      <div class="entries" ref={list} tabIndex={0} role="region" aria-label={t("thread.entries", { name: contact.displayName })}>
        {entries.length === 0 && (
          <p class="entries-empty quiet">
            <Icon name="lock" size={28} />
            {t("thread.empty", { name: contact.displayName })}
          </p>
        )}
        <ol>
          {entries.map((entry, i) => {
            const before = entries[i - 1];
            const newDay = !before || new Date(before.at).toDateString() !== new Date(entry.at).toDateString();
            return (
              <Fragment key={entry.id}>
                {newDay && <li class="entry-day">{format.day(entry.at, now)}</li>}
                {entry.kind === "text" ? <TextEntry contact={contact} entry={entry} /> : <CallEntry contact={contact} entry={entry} />}
              </Fragment>
            );
          })}
        </ol>
      </div>
      {contact.keyChanged ? (
        <div class="thread-blocked">
          <FaultNotice fault={{ code: "peer_key_changed", detail: "" }} />
        </div>
      ) : (
        <Composer key={contact.accountId} contact={contact} />
      )}
    </section>
  );
}
