import { useRef } from "preact/hooks";
import { format, t } from "../i18n";
import { Icon } from "../ui/icons";
import type { AuditEntry, ConsoleApi } from "./api";
import { CardTable } from "./CardTable";
import { ErrorNotice } from "./ErrorNotice";
import { Identifiers } from "./Identifiers";
import { RetentionForm } from "./RetentionForm";
import { useLoaded } from "./useLoaded";

const REFRESH_MS = 5_000;
/** The newest rows that the page keeps; the whole trail is on the server. */
const SHOWN = 500;

interface Trail {
  entries: readonly AuditEntry[];
  intact: boolean;
  lastSeq: number;
}

/** Reads on from where the trail was read before, page after page. */
async function readOn(api: ConsoleApi, from: Trail): Promise<Trail> {
  let { entries, intact, lastSeq } = from;
  for (;;) {
    const page = await api.audit(lastSeq);
    entries = [...entries, ...page.entries].slice(-SHOWN);
    intact = intact && page.intact;
    lastSeq = page.entries.at(-1)?.seq ?? lastSeq;
    if (!page.more || page.entries.length === 0) return { entries, intact, lastSeq };
  }
}

function details(entry: AuditEntry): string {
  return Object.entries(entry.details)
    .map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(", ");
}

export function Audit({ api }: { api: ConsoleApi }) {
  const read = useRef<Trail>({ entries: [], intact: true, lastSeq: 0 });
  const { value: trail, error } = useLoaded(async () => {
    read.current = await readOn(api, read.current);
    return read.current;
  }, REFRESH_MS);
  return (
    <div class="page">
      <h1>{t("console.view.audit")}</h1>
      {error && <ErrorNotice error={error} />}
      {trail?.intact === true && (
        <p class="with-icon audit-intact">
          <Icon name="check" size={18} />
          {t("audit.intact")}
        </p>
      )}
      {trail?.intact === false && (
        <div class="notice notice-danger" role="alert">
          <Icon name="warning" />
          <div class="notice-body">
            <p class="notice-title">{t("audit.broken")}</p>
            <p>{t("audit.brokenNext")}</p>
          </div>
        </div>
      )}
      {trail && (
        <CardTable
          label={t("audit.list")}
          heads={[t("audit.number"), t("audit.at"), t("audit.actor"), t("audit.action"), t("audit.subject"), t("audit.details")]}
        >
          {[...trail.entries].reverse().map((entry) => (
            <tr key={entry.seq}>
              <td class="number">{entry.seq}</td>
              <td class="nowrap">{format.dayAndClock(entry.at * 1000)}</td>
              <td>
                <Identifiers text={entry.actor} />
              </td>
              <th scope="row">{entry.action}</th>
              <td>
                <Identifiers text={entry.subject} />
              </td>
              <td class="quiet">
                <Identifiers text={details(entry)} />
              </td>
            </tr>
          ))}
        </CardTable>
      )}
      <RetentionForm api={api} />
    </div>
  );
}
