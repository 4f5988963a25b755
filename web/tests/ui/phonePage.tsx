// The real interface over the fake engine: `phone.html?scene=NAME`.

import { render } from "preact";
import { watchDocumentLanguage } from "../../src/i18n";
import { createPhoneScreen } from "../../src/phone/ui/context";
import { takeInvitation } from "../../src/phone/ui/invitation";
import { PhoneApp } from "../../src/phone/ui/PhoneApp";
import "../../src/phone/ui/phone.css";
import "../../src/ui/theme.css";
import { FakeEngine, SCENES } from "./fakeEngine";

const scene = SCENES[new URLSearchParams(location.search).get("scene") ?? "list"];
if (!scene) throw new Error("no such scene");
const invitation = takeInvitation();
watchDocumentLanguage();

const engine = new FakeEngine(scene.state);
const screen = createPhoneScreen(engine);
screen.openThread.value = scene.open ?? null;
screen.accessOpen.value = scene.accessOpen ?? false;
screen.protectionOpen.value = scene.protectionOpen ?? false;
screen.dialog.value = scene.dialog ?? null;
const mount = document.getElementById("app");
if (mount) render(<PhoneApp screen={screen} invitation={invitation} />, mount);
requestAnimationFrame(() => (screen.callFolded.value = scene.folded ?? false));
Object.assign(window, { engine });
