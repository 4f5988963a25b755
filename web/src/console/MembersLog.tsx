import { useState } from "preact/hooks";
import { format, t } from "../i18n";
import type { ConsoleApi, LogEntryShown, LogPage } from "./api";
import { CardTable } from "./CardTable";
import { ErrorNotice } from "./ErrorNotice";
import { Identifiers } from "./Identifiers";
import { precedenceWord } from "./rights";
import { useLoaded } from "./useLoaded";

const REFRESH_MS = 5_000;
const PAGE = 64;

/** The newest entries and the head over all of them. */
async function newest(api: ConsoleApi): Promise<LogPage> {
  const { head } = await api.log(0, 1);
  return api.log(Math.max(0, head.tree_size - PAGE), PAGE);
}

function Words({ entry }: { entry: LogEntryShown }) {
  if (entry.kind === "revocation") return <>{entry.reason}</>;
  const rights = [entry.unit, (entry.roles ?? []).join(", "), entry.precedence_ceiling && precedenceWord(entry.precedence_ceiling)];
  return <>{rights.filter((word) => word !== null && word !== undefined && word !== "").join(" · ")}</>;
}

function AuditorLink({ api }: { api: ConsoleApi }) {
  const [link, setLink] = useState<string | null>(null);
  const [failure, setFailure] = useState<Error | null>(null);
  const { value: auditors, error, reload } = useLoaded(() => api.auditors(), REFRESH_MS);
  return (
    <section class="card auditor" aria-labelledby="auditor-title">
      <h2 id="auditor-title">{t("log.auditor")}</h2>
      <p class="quiet">{t("log.auditorLead")}</p>
      {failure && <ErrorNotice error={failure} />}
      {link === null ? (
        <button
          type="button"
          class="button"
          onClick={() =>
            void api.inviteAuditor().then(({ link: made }) => {
              setLink(made);
              reload();
            }, setFailure)
          }
        >
          {t("log.auditorMake")}
        </button>
      ) : (
        <code class="fresh-link">{link}</code>
      )}
      {error && <ErrorNotice error={error} />}
      {auditors && auditors.length > 0 && (
        <CardTable
          label={t("log.auditors")}
          heads={[t("invitations.note"), t("invitations.created"), t("invitations.expires"), <span key="action" class="visually-hidden">{t("invitations.action")}</span>]}
        >
          {auditors.map(({ auditor_id: id, note, created_at: created, expires_at: expires }) => (
            <tr key={id}>
              <th scope="row">{note || t("rights.role.auditor")}</th>
              <td>{format.dayAndClock(created * 1000)}</td>
              <td>{format.dayAndClock(expires * 1000)}</td>
              <td class="cell-action">
                <button
                  type="button"
                  class="button button-small"
                  aria-label={t("log.auditorWithdraw", { note: note || format.dayAndClock(created * 1000) })}
                  onClick={() => void api.withdrawAuditor(id).then(() => {
                    setLink(null); // it may have been this one
                    reload();
                  }, setFailure)}
                >
                  {t("invitations.withdraw")}
                </button>
              </td>
            </tr>
          ))}
        </CardTable>
      )}
    </section>
  );
}

/** Every certificate and revocation, in the order in which they hold, and what the server has signed of them. */
export function MembersLog({ api }: { api: ConsoleApi }) {
  const { value: page, error } = useLoaded(() => newest(api), REFRESH_MS);
  return (
    <div class="page">
      <h1>{t("console.view.log")}</h1>
      <p class="quiet">{t("log.lead")}</p>
      {error && <ErrorNotice error={error} />}
      {page && (
        <dl class="log-head">
          <dt>{t("log.size")}</dt>
          <dd>{format.integer(page.head.tree_size)}</dd>
          <dt>{t("log.root")}</dt>
          <dd>
            <code>{page.head.root_hash}</code>
          </dd>
          <dt>{t("log.signed")}</dt>
          <dd>{format.dayAndClock(page.head.at * 1000)}</dd>
        </dl>
      )}
      {page && (
        <CardTable
          label={t("log.list")}
          heads={[t("log.index"), t("log.at"), t("log.kind"), t("people.name"), t("log.what"), t("log.approvers")]}
        >
          {[...page.entries].reverse().map((entry) => (
            <tr key={entry.log_index}>
              <td class="number">{entry.log_index}</td>
              <td class="nowrap">{format.dayAndClock(entry.added_at * 1000)}</td>
              <th scope="row">
                <span class={entry.kind === "revocation" ? "badge badge-warn" : "badge"}>{t(`log.kinds.${entry.kind}`)}</span>
              </th>
              <td>
                {entry.display_name} {entry.device_id && <Identifiers text={entry.device_id} />}
              </td>
              <td>
                <Words entry={entry} />
              </td>
              <td>{(entry.approvers ?? []).map((device) => <Identifiers key={device} text={device} />)}</td>
            </tr>
          ))}
        </CardTable>
      )}
      <AuditorLink api={api} />
    </div>
  );
}
