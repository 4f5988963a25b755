// The start page: the two doors of the house.

import { effect } from "@preact/signals";
import { render } from "preact";
import { t, watchDocumentLanguage } from "../i18n";
import { Icon } from "./icons";
import { LanguageSwitch } from "./LanguageSwitch";
import { Mark } from "./Mark";
import "./theme.css";
import "./start.css";

function StartPage() {
  return (
    <div class="start">
      <header class="start-top">
        <LanguageSwitch />
      </header>
      <main class="start-main">
        <Mark size={72} />
        <h1>{t("app.name")}</h1>
        <p class="start-lead">{t("start.lead")}</p>
        <nav class="start-doors" aria-label={t("start.doors")}>
          <a class="door" href="/phone">
            <Icon name="handset" size={28} />
            <span>
              <strong>{t("start.phone")}</strong>
              <span class="quiet">{t("start.phoneHint")}</span>
            </span>
          </a>
          <a class="door" href="/console">
            <Icon name="satellite" size={28} />
            <span>
              <strong>{t("start.console")}</strong>
              <span class="quiet">{t("start.consoleHint")}</span>
            </span>
          </a>
        </nav>
      </main>
    </div>
  );
}

watchDocumentLanguage();
effect(() => {
  document.title = t("app.name");
});
const mount = document.getElementById("app");
if (mount) render(<StartPage />, mount);
