import { t } from "../i18n";
import type { ConsoleApi } from "./api";
import { Archives } from "./Archives";
import { TalkGroups } from "./TalkGroups";

/** What an administrator sets of conversations. The server knows who is in one, never what it is called or what is said. */
export function Conversations({ api }: { api: ConsoleApi }) {
  return (
    <div class="page">
      <h1>{t("console.view.conversations")}</h1>
      <Archives api={api} />
      <TalkGroups api={api} />
    </div>
  );
}
