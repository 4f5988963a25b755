import { render } from "preact";
import { watchDocumentLanguage } from "../i18n";
import { takeFromFragment } from "../ui/fragment";
import "../ui/theme.css";
import { ConsoleApp } from "./ConsoleApp";
import "./console.css";
import { ConsoleSession } from "./session";

const oneTimeToken = takeFromFragment("admin"); // first of all: before anything can log or store the address
watchDocumentLanguage();

const session = new ConsoleSession();
if (oneTimeToken !== null) void session.signIn(oneTimeToken);
const mount = document.getElementById("app");
if (mount) render(<ConsoleApp session={session} />, mount);
