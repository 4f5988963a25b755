import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { t } from "../i18n";
import { Announcer } from "../ui/Announcer";
import { Icon, type IconName } from "../ui/icons";
import { LanguageSwitch } from "../ui/LanguageSwitch";
import { Mark } from "../ui/Mark";
import { Alarms } from "./Alarms";
import { Approvals } from "./Approvals";
import { Audit } from "./Audit";
import { Calls } from "./Calls";
import { Conversations } from "./Conversations";
import { Invitations } from "./Invitations";
import { Exercises } from "./exercises/Exercises";
import { MembersLog } from "./MembersLog";
import { People } from "./People";
import { Planning } from "./planning/Planning";
import { SignIn } from "./SignIn";
import type { ConsoleSession } from "./session";
import { Sites } from "./sites/Sites";
import { SkyView } from "./sky/SkyView";
import { SosView } from "./sos/SosView";
import { TextsView } from "./texts/TextsView";
import { WarningsView } from "./warnings/WarningsView";

const VIEWS = ["sky", "warnings", "sos", "texts", "exercises", "sites", "invitations", "approvals", "people", "conversations", "calls", "planning", "log", "audit"] as const;
type View = (typeof VIEWS)[number];

const ICONS: Record<View, IconName> = { sky: "satellite", warnings: "warning", sos: "place", texts: "send", sites: "router", invitations: "ticket", approvals: "check", people: "person", conversations: "message", calls: "handset", exercises: "clock", planning: "file", log: "lock", audit: "list" };

function viewInAddress(): View {
  const named = location.hash.replace(/^#\//, "");
  return VIEWS.find((view) => view === named) ?? "sky";
}

const view = signal<View>(viewInAddress());

function Present({ session }: { session: ConsoleSession }) {
  const { api } = session;
  switch (view.value) {
    case "sky":
      return <SkyView api={api} />;
    case "sites":
      return <Sites api={api} />;
    case "warnings":
      return <WarningsView api={api} />;
    case "sos":
      return <SosView api={api} />;
    case "texts":
      return <TextsView api={api} />;
    case "invitations":
      return <Invitations api={api} />;
    case "people":
      return <People api={api} />;
    case "conversations":
      return <Conversations api={api} />;
    case "approvals":
      return <Approvals api={api} />;
    case "exercises":
      return <Exercises api={api} />;
    case "planning":
      return <Planning api={api} />;
    case "log":
      return <MembersLog api={api} />;
    case "calls":
      return <Calls api={api} />;
    case "audit":
      return <Audit api={api} />;
  }
}

function Frame({ session }: { session: ConsoleSession }) {
  return (
    <div class="console">
      <header class="console-head">
        <span class="console-brand">
          <Mark size={28} />
          <span>{t("app.name")}</span>
        </span>
        <nav class="console-nav" aria-label={t("console.nav")}>
          {VIEWS.map((each) => (
            <a key={each} href={`#/${each}`} aria-current={view.value === each ? "page" : undefined}>
              <Icon name={ICONS[each]} />
              <span>{t(`console.view.${each}`)}</span>
            </a>
          ))}
        </nav>
        <span class="console-tools">
          <LanguageSwitch />
          <button type="button" class="button button-small" onClick={() => session.signOut()}>
            {t("console.signOut")}
          </button>
        </span>
      </header>
      <Alarms api={session.api} />
      <main class="console-main" key={view.value}>
        <Present session={session} />
      </main>
    </div>
  );
}

export function ConsoleApp({ session }: { session: ConsoleSession }) {
  const signedIn = session.signedIn.value;
  useEffect(() => {
    const follow = () => (view.value = viewInAddress());
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const title = t("title.console", { view: signedIn ? t(`console.view.${view.value}`) : t("signIn.title") });
  useEffect(() => {
    document.title = title;
  }, [title]);
  return (
    <>
      {signedIn ? <Frame session={session} /> : <SignIn session={session} />}
      <Announcer />
    </>
  );
}
