import { render } from "preact";
import { t, watchDocumentLanguage } from "../i18n";
import "../ui/theme.css";
import { createPhoneEngine } from "./engine/browser";
import { createPhoneScreen } from "./ui/context";
import "./ui/phone.css";
import { takeInvitation } from "./ui/invitation";
import { PhoneApp } from "./ui/PhoneApp";

const invitation = takeInvitation(); // first of all: before anything can log or store the address
watchDocumentLanguage();
document.title = t("title.phone");

const screen = createPhoneScreen(createPhoneEngine());
const mount = document.getElementById("app");
if (mount) render(<PhoneApp screen={screen} invitation={invitation} />, mount);

screen.engine.start().catch((reason: unknown) => {
  screen.unexpectedFault.value = { code: "unexpected", detail: reason instanceof Error ? reason.message : String(reason) };
});
