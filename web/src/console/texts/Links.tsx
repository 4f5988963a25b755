import { format, t } from "../../i18n";
import type { TextLink, TextLinks } from "../api";
import { CardTable } from "../CardTable";
import { rankWords, type Rank } from "./rank";

const OPERATORS_FILE = "tramontana serve --operators FILE";

/** What is known of a link; why it is closed, in the server's words. */
function State({ state }: { state: string }) {
  if (state === "bound") return <span class="badge badge-good">{t("texts.link.bound")}</span>;
  if (state === "elsewhere") return <span class="badge">{t("texts.link.elsewhere")}</span>;
  return (
    <>
      <span class="badge badge-danger">{t("texts.link.closed")}</span>
      {state !== "closed" && <span class="quiet text-origin">{state}</span>}
    </>
  );
}

function Beam({ beam, alone }: { beam: TextLink["beams"][number]; alone: boolean }) {
  const waiting = Object.entries(beam.waiting);
  return (
    <li>
      {(beam.name !== "" || !alone) && <strong>{beam.name === "" ? t("texts.link.whole") : t("texts.beam", { beam: beam.name })}: </strong>}
      {waiting.length === 0 ? t("texts.link.nothing") : waiting.map(([rank, count]) => t("texts.link.queued", { count, rank: rankWords(rank as Rank) })).join(", ")}
      {beam.messages_per_s !== null && ` · ${t("texts.link.rate", { rate: format.decimal(beam.messages_per_s) })}`}
      {waiting.length > 0 && beam.wait_s !== null && beam.wait_s >= 1 && ` · ${t("texts.link.wait", { seconds: format.integer(Math.round(beam.wait_s)) })}`}
    </li>
  );
}

/** Links to centres and to those who bind to ours, with what waits in each beam; what was pre-empted there. */
export function Links({ page, nowS }: { page: TextLinks; nowS: number }) {
  return (
    <section class="card" aria-labelledby="texts-links-title">
      <h2 id="texts-links-title">{t("texts.link.title")}</h2>
      {page.links.length === 0 ? (
        <p class="empty">
          {t("texts.link.none")} <code class="nowrap">{OPERATORS_FILE}</code>
        </p>
      ) : (
        <CardTable label={t("texts.link.each")} heads={[t("texts.link.name"), t("texts.link.state"), t("texts.link.window"), t("texts.link.beams"), t("texts.link.unknown")]}>
          {page.links.map((link) => (
            <tr key={link.name}>
              <th scope="row">
                {link.name}
                <span class="quiet text-origin">{t(`texts.link.kind.${link.kind}`)}</span>
              </th>
              <td>
                <State state={link.state} />
              </td>
              <td class="number">{link.window === null ? format.integer(link.messages["sending"] ?? 0) : t("texts.link.of", { used: link.messages["sending"] ?? 0, window: link.window })}</td>
              <td>
                <ul class="text-beams">
                  {link.beams.length === 0 && <li>{t("texts.link.nothing")}</li>}
                  {link.beams.map((beam) => (
                    <Beam key={beam.name} beam={beam} alone={link.beams.length === 1} />
                  ))}
                </ul>
              </td>
              <td class="number">{format.integer(link.messages["unknown"] ?? 0)}</td>
            </tr>
          ))}
        </CardTable>
      )}
      {page.preempted.length > 0 && (
        <details class="texts-preempted">
          <summary>{t("texts.preempted", { count: page.preempted.length })}</summary>
          <ul>
            {page.preempted.map((event, i) => (
              <li key={i}>
                {format.recent(event.at * 1000, nowS * 1000)} · {event.link}
                {event.beam !== "" && ` · ${t("texts.beam", { beam: event.beam })}`} · {t("texts.gaveWay", { rank: rankWords(event.rank as Rank), by: rankWords(event.by_rank as Rank), id: event.text_id.slice(0, 8) })}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}
