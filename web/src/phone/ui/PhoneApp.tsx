import { effect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { t } from "../../i18n";
import { Announcer, announce } from "../../ui/Announcer";
import { Icon } from "../../ui/icons";
import { LanguageSwitch } from "../../ui/LanguageSwitch";
import { Mark } from "../../ui/Mark";
import type { PhoneState } from "../model";
import { AccessDialog } from "./AccessDialog";
import { announcements } from "./announcements";
import { CallScreen, FoldedCall } from "./CallScreen";
import { ConferenceScreen, FoldedConference, IncomingConference } from "./ConferenceScreen";
import { ContactList } from "./ContactList";
import { followBrowserHistory, PhoneContext, type PhoneScreen, usePhone, watchTouches } from "./context";
import { Enrolment } from "./Enrolment";
import { Faults } from "./Faults";
import { MembersDialog, NewGroupDialog } from "./GroupDialogs";
import { IncomingCall } from "./IncomingCall";
import { LastWord } from "./LastWord";
import { LockScreen } from "./LockScreen";
import { MissedButton, MissedDialog } from "./MissedCalls";
import { PathStrip } from "./PathStrip";
import { SealedDialog } from "./SealedDialog";
import { ProtectionDialog } from "./ProtectionDialog";
import { subjectOf, subjects } from "./subject";
import { Thread } from "./Thread";
import { Waiting } from "./Waiting";

function pageTitle(state: PhoneState): string {
  const { call } = state;
  if (call && call.phase !== "ended") return t("title.call", { phase: t(`call.phase.${call.phase}`), name: call.peer.displayName });
  const unread = subjects(state).reduce((sum, subject) => sum + subject.unread, 0);
  return unread > 0 ? t("title.unread", { unread }) : t("title.phone");
}

/** Everything outside the page's own elements that follows the state: title, what a screen reader speaks. */
function useSideEffects(screen: PhoneScreen): void {
  useEffect(() => {
    let previous = screen.engine.state.peek();
    const stop = effect(() => {
      const state = screen.engine.state.value;
      document.title = pageTitle(state);
      const inCall = state.call?.callId ?? state.conference?.conversationId;
      if (inCall === undefined || inCall !== (previous.call?.callId ?? previous.conference?.conversationId)) screen.callFolded.value = false;
      const sentences = announcements(previous, state);
      if (sentences.length > 0) announce(sentences.join(" "));
      previous = state;
    });
    const unfollow = followBrowserHistory(screen);
    const unwatch = watchTouches(screen);
    return () => {
      stop();
      unfollow();
      unwatch();
    };
  }, [screen]);
}

function ServerBanner({ server }: { server: PhoneState["server"] }) {
  if (server === "online") return null;
  return (
    <div class={`server-banner ${server === "offline" ? "server-offline" : ""}`} role="status">
      <Icon name={server === "offline" ? "offline" : "clock"} size={20} />
      <span>{t(server === "offline" ? "server.offline" : "server.connecting")}</span>
    </div>
  );
}

function Telephone() {
  const screen = usePhone();
  const state = screen.engine.state.value;
  const { me, call, access, server, ringingConference } = state;
  const open = subjectOf(state, screen.openThread.value);
  const onScreen = call && call.phase !== "incoming" ? call : null;
  const conference = onScreen === null ? state.conference : null;
  const unfolded = (onScreen !== null || conference !== null) && !screen.callFolded.value;
  const Brand = unfolded || open ? "span" : "h1"; // a page has one main heading: that of what is open
  return (
    <div class={`telephone ${unfolded || open ? "detail-open" : ""}`}>
      <ServerBanner server={server} />
      <Faults />
      <main class="panes">
        <div class="list-pane">
          <header class="list-head">
            <Mark size={30} />
            <div class="list-owner">
              <Brand class="list-brand">{t("app.name")}</Brand>
              {me && <span class="quiet">{me.displayName}</span>}
            </div>
            <MissedButton />
            <button
              type="button"
              class="button button-icon"
              aria-label={t(state.quiet ? "protection.openQuiet" : "protection.open")}
              onClick={() => {
                screen.protectionOpen.value = true;
              }}
            >
              <Icon name={state.quiet ? "quiet" : "lock"} />
            </button>
            <LanguageSwitch />
          </header>
          {onScreen && !unfolded && !open && <FoldedCall call={onScreen} />}
          {conference && !unfolded && !open && <FoldedConference conference={conference} />}
          <ContactList />
          <PathStrip />
        </div>
        <div class="detail-pane">
          {unfolded && onScreen ? (
            <CallScreen call={onScreen} />
          ) : unfolded && conference ? (
            <ConferenceScreen conference={conference} />
          ) : (
            <>
              {conference && open && <FoldedConference conference={conference} />}
              {onScreen && open && <FoldedCall call={onScreen} />}
              {open ? (
                <Thread key={open.conversationId} subject={open} />
              ) : (
                <div class="nothing-open quiet">
                  <Mark size={64} />
                  <p>{t("contacts.choose")}</p>
                </div>
              )}
            </>
          )}
        </div>
      </main>
      {call?.phase === "incoming" && <IncomingCall key={call.callId} call={call} />}
      {ringingConference && call?.phase !== "incoming" && <IncomingConference key={ringingConference.conversationId} ringing={ringingConference} />}
      {screen.dialog.value === "missed" && <MissedDialog />}
      {screen.dialog.value === "newGroup" && <NewGroupDialog />}
      {screen.dialog.value === "members" && open?.group && <MembersDialog key={open.conversationId} group={open.group} />}
      {screen.dialog.value === "sealed" && open?.contact && <SealedDialog key={open.conversationId} contact={open.contact} />}
      {screen.accessOpen.value && access && <AccessDialog access={access} />}
      {screen.protectionOpen.value && <ProtectionDialog />}
    </div>
  );
}

function Page({ invitation }: { invitation: string | null }) {
  const screen = usePhone();
  useSideEffects(screen);
  const { enrolment } = screen.engine.state.value;
  switch (enrolment) {
    case "unknown":
      return (
        <main class="opening">
          <Mark size={72} />
          <h1 class="visually-hidden">{t("app.name")}</h1>
          <p class="quiet">{t("app.opening")}</p>
          <Faults />
        </main>
      );
    case "needed":
    case "working":
      return <Enrolment received={invitation} />;
    case "locked":
      return <LockScreen />;
    case "waiting":
      return <Waiting />;
    case "revoked":
    case "rejected":
    case "expired":
    case "zeroised":
      return <LastWord what={enrolment} />;
    case "done":
      return <Telephone />;
  }
}

/** The whole phone. `invitation` is what came in the link, already removed from the address bar. */
export function PhoneApp({ screen, invitation }: { screen: PhoneScreen; invitation: string | null }) {
  return (
    <PhoneContext.Provider value={screen}>
      <Page invitation={invitation} />
      <Announcer />
    </PhoneContext.Provider>
  );
}
