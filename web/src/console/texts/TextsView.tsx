import { useEffect, useState } from "preact/hooks";
import { ApiError } from "../../api/client";
import { format, t } from "../../i18n";
import { announce } from "../../ui/Announcer";
import type { ConsoleApi, OutgoingText, ShownTexts } from "../api";
import { CardTable } from "../CardTable";
import { ErrorNotice } from "../ErrorNotice";
import { Pages } from "../Pages";
import { useLoaded } from "../useLoaded";
import { Compose } from "./Compose";
import { Links } from "./Links";
import { rankWords } from "./rank";

const REFRESH_MS = 3_000;
const SEARCH_AFTER_MS = 400;
const SHOWS: readonly ShownTexts[] = ["all", "waiting", "unknown", "under-way", "delivered", "failed"];

/** Who a text is from, in words; case and device ids stay what they are. */
function originWords(origin: string): string {
  const [kind = "", of = ""] = origin.split(" ");
  if (kind === "administrator" || kind === "receipt") return t(`texts.origin.${kind}`);
  if (kind === "sos" || kind === "link" || kind === "sealed") return t(`texts.origin.${kind}`, { of: kind === "link" ? of : of.slice(0, 8) });
  return origin;
}

function stateWords(text: OutgoingText): string {
  const said = t(`sos.fate.${text.state}`);
  if (text.state === "queued" && text.wait_s !== null && text.wait_s >= 1) return t("texts.waits", { state: said, seconds: format.integer(Math.round(text.wait_s)) });
  return said;
}

function badge(state: OutgoingText["state"]): string {
  if (state === "delivered") return "badge badge-good";
  if (state === "unknown") return "badge badge-warn";
  return state === "refused" || state === "undelivered" || state === "expired" ? "badge badge-danger" : "badge";
}

interface RowProps {
  text: OutgoingText;
  nowS: number;
  busy: boolean;
  decide: (text: OutgoingText, what: "again" | "withdraw") => void;
}

function Row({ text, nowS, busy, decide }: RowProps) {
  const errors = [...new Set(text.messages.map(({ error }) => error).filter((error) => error !== ""))];
  return (
    <tr>
      <td class="nowrap">{format.recent(text.created_at * 1000, nowS * 1000)}</td>
      <th scope="row" class="text-number">
        {text.destination}
        <span class="quiet text-origin">{originWords(text.origin)}</span>
      </th>
      <td class="text-body">{text.body === "" ? <span class="quiet">{t("texts.noWords")}</span> : text.body}</td>
      <td>{rankWords(text.rank)}</td>
      <td>
        <span class={badge(text.state)}>{stateWords(text)}</span>
        {text.messages.length > 1 && <span class="quiet text-origin">{t("texts.parts", { count: text.messages.length, left: text.messages.filter(({ state }) => state === "queued").length })}</span>}
        <span class="quiet text-origin">{text.beam === "" ? text.link || t("texts.here") : `${text.link} · ${t("texts.beam", { beam: text.beam })}`}</span>
        {errors.length > 0 && <span class="quiet text-origin">{t("texts.error", { code: errors.join(", ") })}</span>}
      </td>
      <td>
        <span class="text-decide">
          {text.state === "unknown" && (
            <button type="button" class="button button-small" disabled={busy} onClick={() => decide(text, "again")} aria-label={t("texts.againTo", { number: text.destination })}>
              {t("texts.again")}
            </button>
          )}
          {text.messages.some(({ state }) => state === "unknown" || state === "queued") && (
            <button type="button" class="button button-small" disabled={busy} onClick={() => decide(text, "withdraw")} aria-label={t("texts.withdrawTo", { number: text.destination })}>
              {t("texts.withdraw")}
            </button>
          )}
        </span>
      </td>
    </tr>
  );
}

/** Short messages over operators' centres: links and beams, what goes out with what became of it, and a text to a number. */
export function TextsView({ api }: { api: ConsoleApi }) {
  const [typed, setTyped] = useState("");
  const [search, setSearch] = useState("");
  const [show, setShow] = useState<ShownTexts>("all");
  /** Where the pages before this one began; the first one begins nowhere. */
  const [trail, setTrail] = useState<readonly string[]>([]);
  const [fault, setFault] = useState("");
  const [busy, setBusy] = useState(false);
  const after = trail.at(-1) ?? "";
  const { value: page, error, reload } = useLoaded(() => api.texts({ show, search, after }), REFRESH_MS);
  const { value: links, error: linksError } = useLoaded(() => api.textLinks(), REFRESH_MS);
  useEffect(() => {
    const timer = setTimeout(() => {
      setSearch(typed.trim());
      setTrail([]);
    }, SEARCH_AFTER_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => void reload(), [show, search, after]);

  const decide = async (text: OutgoingText, what: "again" | "withdraw") => {
    setBusy(true);
    setFault("");
    try {
      await api.decideText(text.text_id, what);
      announce(t(what === "again" ? "texts.sentAgain" : "texts.withdrawn"));
    } catch (reason) {
      setFault(reason instanceof ApiError ? reason.message : t("console.unreachable"));
    } finally {
      setBusy(false);
      await reload();
    }
  };

  return (
    <div class="page texts">
      <h1>{t("console.view.texts")}</h1>
      <p class="quiet">{t("texts.lead")}</p>
      {linksError && <ErrorNotice error={linksError} />}
      {links && <Links page={links} nowS={api.nowS()} />}
      <Compose api={api} sender={links?.sender ?? ""} onSent={() => void reload()} />
      <section class="card" aria-labelledby="texts-list-title">
        <h2 id="texts-list-title">{t("texts.list")}</h2>
        <div class="texts-tools" role="search">
          <div class="field">
            <label for="texts-search">{t("texts.search")}</label>
            <input id="texts-search" class="input" type="search" maxLength={100} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
          </div>
          <div class="field">
            <label for="texts-show">{t("texts.show")}</label>
            <select
              id="texts-show"
              class="input"
              value={show}
              onChange={(event) => {
                setShow(SHOWS.find((each) => each === event.currentTarget.value) ?? "all");
                setTrail([]);
              }}
            >
              {SHOWS.map((each) => (
                <option key={each} value={each}>
                  {t(`texts.shown.${each}`)}
                </option>
              ))}
            </select>
          </div>
        </div>
        {error && <ErrorNotice error={error} />}
        {fault !== "" && (
          <p class="field-error" role="alert">
            {fault}
          </p>
        )}
        {page?.texts.length === 0 && <p class="empty">{t(search === "" && show === "all" ? "texts.none" : "texts.noneFound")}</p>}
        {page && page.texts.length > 0 && (
          <CardTable label={t("texts.newestFirst")} heads={[t("texts.at"), t("texts.to"), t("texts.words"), t("texts.precedence"), t("texts.state"), t("texts.decide")]}>
            {page.texts.map((text) => (
              <Row key={text.text_id} text={text} nowS={api.nowS()} busy={busy} decide={(of, what) => void decide(of, what)} />
            ))}
          </CardTable>
        )}
        <Pages label={t("texts.pages")} trail={trail} next={page?.next} turn={setTrail} />
        {links && (
          <p class="quiet">
            {t("texts.kept", { days: links.kept_days })} <a href="#/audit">{t("texts.keptChange")}</a>
          </p>
        )}
      </section>
    </div>
  );
}
