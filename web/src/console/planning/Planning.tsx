import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import type { ConsoleApi, PlanningReport } from "../api";
import { CardTable } from "../CardTable";
import { ErrorNotice } from "../ErrorNotice";
import { useLoaded } from "../useLoaded";
import "./planning.css";

const COMMAND = "tramontana plan publish";

const REFRESH_MS = 30_000;
/** Links hold for five minutes: the one to a tab of its own is renewed before that; the frame keeps what it has loaded. */
const RENEW_MS = 240_000;

/** One report in a frame: its server's policy and this sandbox let no script run in it, and nothing be loaded by it. */
function ReportFrame({ api, report }: { api: ConsoleApi; report: PlanningReport }) {
  const { value: link, error } = useLoaded(() => api.planningReportLink(report.name), RENEW_MS);
  const [shown, setShown] = useState<string | null>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (link) setShown((before) => before ?? link.path);
  }, [link]);
  useLayoutEffect(() => heading.current?.focus(), []);
  return (
    <section class="planning-report" aria-labelledby="planning-report-title">
      <h2 id="planning-report-title" ref={heading} tabIndex={-1}>
        {report.title}
      </h2>
      {error && <ErrorNotice error={error} />}
      {link && (
        <p>
          <a href={link.path} target="_blank" rel="noopener">
            {t("planning.openAlone")}
          </a>
        </p>
      )}
      {shown && (
        <iframe
          class="planning-frame"
          title={t("planning.frame", { title: report.title })}
          src={shown}
          sandbox="allow-popups allow-popups-to-escape-sandbox"
          referrerpolicy="no-referrer"
        />
      )}
    </section>
  );
}

/** The reports that planners gave to this server. */
export function Planning({ api }: { api: ConsoleApi }) {
  const { value: reports, error } = useLoaded(() => api.planningReports(), REFRESH_MS);
  const [open, setOpen] = useState<string | null>(null);
  const chosen = reports?.find((report) => report.name === open);
  return (
    <div class="page">
      <h1>{t("console.view.planning")}</h1>
      <p class="quiet">{t("planning.what")}</p>
      {error && <ErrorNotice error={error} />}
      {reports?.length === 0 && (
        <p class="empty">
          {t("planning.empty")} <code>{COMMAND}</code>
        </p>
      )}
      {reports && reports.length > 0 && (
        <CardTable label={t("planning.list")} heads={[t("planning.report"), t("planning.published"), t("planning.size")]}>
          {reports.map((report) => (
            <tr key={report.name} class={report.name === open ? "row-selected" : undefined}>
              <th scope="row">
                <button
                  type="button"
                  class="row-button planning-open"
                  aria-expanded={report.name === open}
                  onClick={() => setOpen(report.name === open ? null : report.name)}
                >
                  {report.title}
                </button>
              </th>
              <td class="nowrap">{format.dayAndClock(report.published_at * 1000)}</td>
              <td class="number nowrap">{format.octets(report.size_bytes)}</td>
            </tr>
          ))}
        </CardTable>
      )}
      {chosen && <ReportFrame key={chosen.name} api={api} report={chosen} />}
    </div>
  );
}
