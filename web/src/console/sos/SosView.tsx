import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { ApiError } from "../../api/client";
import { format, t } from "../../i18n";
import { announce } from "../../ui/Announcer";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import type { ConsoleApi, SosAction, SosCase, SosEntry, Unit } from "../api";
import { ErrorNotice } from "../ErrorNotice";
import { Pages } from "../Pages";
import { hasWebGl, useMapComponent } from "../sky/useMapComponent";
import { useLoaded } from "../useLoaded";
import type { Person } from "../person/person";
import { Unlock } from "../person/Unlock";
import { type Acting, asDesk, asPerson } from "./acting";
import { CaseTools } from "./CaseTools";
import { Units } from "./Units";

const REFRESH_MS = 3_000;
const OPERATORS_MS = 30_000;
const NOBODY: readonly Unit[] = [];
const DESK_KEY = "tramontana.desk";
const STATES = { asking: "sos.state.asking", waiting: "sos.state.waiting", "in care": "sos.state.care", closed: "sos.state.closed" } as const;

function storedDesk(): string {
  try {
    return localStorage.getItem(DESK_KEY) ?? "";
  } catch {
    return ""; // storage may be forbidden: then the workplace is named anew each time
  }
}

function keepDesk(name: string): void {
  try {
    localStorage.setItem(DESK_KEY, name);
  } catch {
    // see storedDesk()
  }
}

function whereWords({ position }: SosCase): string {
  if (!position) return t("sos.nowhere");
  const at = `${position.latitude.toFixed(5)}, ${position.longitude.toFixed(5)}`;
  return t("sos.where", { at: position.name ? `${position.name} · ${at}` : at, metres: Math.round(position.accuracy_m) });
}

function Row({ each, current, nowS, choose }: { each: SosCase; current: boolean; nowS: number; choose: () => void }) {
  return (
    <li>
      <button type="button" class="sos-row" aria-current={current ? "true" : undefined} onClick={choose}>
        <span class="sos-row-head">
          <strong>{t("sos.case", { number: each.number })}</strong>
          <span class={each.state === "waiting" || each.state === "asking" ? "badge badge-warn" : "badge"}>{t(STATES[each.state])}</span>
        </span>
        <span class="sos-row-text">{each.last_text}</span>
        <span class="quiet">
          {[
            each.phone,
            each.operator,
            whereWords(each),
            each.people !== null ? t("sos.people", { count: each.people }) : "",
            each.injured ? t("sos.injured", { count: each.injured }) : "",
            t("sos.since", { duration: format.duration(Math.max(0, nowS - each.updated_at)) }),
          ]
            .filter(Boolean)
            .join(" · ")}
        </span>
      </button>
    </li>
  );
}

function Entry({ entry, nowS }: { entry: SosEntry; nowS: number }) {
  const from = entry.author === "person" ? t("sos.person") : entry.author === "automatic" ? t("sos.automatic") : entry.author;
  const fate = entry.messages.length > 0 ? ` · ${[...new Set(entry.messages)].map((state) => t(`sos.fate.${state}`)).join(", ")}` : "";
  return (
    <li class={`sos-entry sos-entry-${entry.kind}`}>
      <p class="sos-entry-body">{entry.kind === "repeat" ? t("sos.repeated", { text: entry.body }) : entry.body}</p>
      <p class="quiet">
        {from} · {format.recent(entry.at * 1000, nowS * 1000)}
        {fate}
      </p>
    </li>
  );
}

/** A machine without persons gives itself a name. */
function Desk({ hint, desk, name }: { hint: string; desk: string; name: (desk: string) => void }) {
  return (
    <div class="sos-desk field">
      <label for="sos-desk">{t("sos.desk")}</label>
      <input id="sos-desk" class="input" maxLength={40} value={desk} aria-describedby="sos-desk-hint" onInput={(event) => name(event.currentTarget.value.trim())} />
      <p id="sos-desk-hint" class="field-hint">
        {hint}
      </p>
    </div>
  );
}

interface CaseProps {
  id: string;
  acting: Acting;
  operators: readonly string[];
  api: ConsoleApi;
  changed: () => void;
  back: () => void;
}

function CasePane({ id, acting, operators, api, changed, back }: CaseProps) {
  const { value, error, reload } = useLoaded(() => api.sosCase(id), REFRESH_MS);
  const [body, setBody] = useState("");
  const [to, setTo] = useState("");
  const [refused, setRefused] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const loaded = value !== null;
  useLayoutEffect(() => heading.current?.focus(), [loaded]);
  const seen = useRef(0);
  const texts = value?.entries.filter((entry) => entry.kind === "text").length ?? 0;
  useEffect(() => {
    if (seen.current > 0 && texts > seen.current) announce(t("sos.newText"));
    seen.current = texts;
  }, [texts]);
  if (!value) return error ? <ErrorNotice error={error} /> : <p class="empty">{t("sos.loading")}</p>;
  const { case: shown, entries } = value;
  const me = acting.name;
  const mine = shown.state === "in care" && shown.operator === me && me !== "";
  const free = shown.state !== "in care" || shown.offered_to === me;

  const act = async (action: SosAction, more: object, said: string): Promise<boolean> => {
    setBusy(true);
    setRefused(null);
    try {
      await acting.as((bearer) => api.sosAct(id, action, { ...acting.desk, ...more }, bearer));
      announce(said);
      return true;
    } catch (reason) {
      setRefused(reason instanceof ApiError ? reason.message : t("console.unreachable"));
      return false;
    } finally {
      setBusy(false);
      await reload();
      changed();
    }
  };

  return (
    <section class="sos-case" aria-labelledby="sos-case-title">
      <div class="sos-case-head">
        <button type="button" class="button button-small sos-back" onClick={back}>
          <Icon name="back" size={18} />
          {t("sos.back")}
        </button>
        <h2 id="sos-case-title" tabIndex={-1} ref={heading}>
          {t("sos.case", { number: shown.number })}
        </h2>
        <span class="badge">{t(STATES[shown.state])}</span>
      </div>
      <p class="quiet with-icon">
        <Icon name="place" size={18} />
        {whereWords(shown)}
      </p>
      <p class="quiet">
        {[
          shown.phone,
          shown.operator && t("sos.with", { desk: shown.operator }),
          shown.offered_to && t("sos.offered", { desk: shown.offered_to }),
          shown.wait_s !== null && shown.wait_s >= 1 ? t("sos.wait", { seconds: Math.round(shown.wait_s) }) : "",
        ]
          .filter(Boolean)
          .join(" · ")}
      </p>
      <ol class="sos-entries" aria-label={t("sos.dialogue")}>
        {entries.map((entry, i) => (
          <Entry key={i} entry={entry} nowS={api.nowS()} />
        ))}
      </ol>
      {refused && (
        <div class="notice notice-warn" role="alert">
          <Icon name="warning" />
          <p>{refused}</p>
        </div>
      )}
      {error && <ErrorNotice error={error} />}
      {free && shown.state !== "closed" && (
        <button type="button" class="button button-primary" disabled={busy || !me} onClick={() => void act("take", { version: shown.version }, t("sos.taken"))}>
          {t(shown.offered_to === me && me ? "sos.accept" : "sos.take")}
        </button>
      )}
      {mine && (
        <>
          <form
            class="sos-answer"
            onSubmit={(event) => {
              event.preventDefault();
              void act("answer", { body }, t("sos.sent")).then((done) => done && setBody(""));
            }}
          >
            <label for="sos-answer">{t("sos.answer")}</label>
            <textarea id="sos-answer" class="input" rows={3} maxLength={1600} required value={body} onInput={(event) => setBody(event.currentTarget.value)} aria-describedby="sos-answer-hint" />
            <p id="sos-answer-hint" class="field-hint">
              {t("sos.answerHint", { count: body.length })}
            </p>
            <button type="submit" class="button button-primary" disabled={busy}>
              <Icon name="send" />
              {t("sos.send")}
            </button>
          </form>
          <form
            class="sos-offer"
            onSubmit={(event) => {
              event.preventDefault();
              void act("offer", { to }, t("sos.offeredTo", { desk: to }));
            }}
          >
            <label for="sos-to">{t("sos.offerTo")}</label>
            <input id="sos-to" class="input" list="sos-operators" required maxLength={40} value={to} onInput={(event) => setTo(event.currentTarget.value)} />
            <datalist id="sos-operators">
              {operators
                .filter((label) => label !== me)
                .map((label) => (
                  <option key={label} value={label} />
                ))}
            </datalist>
            <button type="submit" class="button" disabled={busy}>
              {t("sos.offer")}
            </button>
          </form>
          <div class="sos-actions">
            <button type="button" class="button" disabled={busy} onClick={() => void act("release", {}, t("sos.released"))}>
              {t("sos.release")}
            </button>
            <button type="button" class="button" disabled={busy} onClick={() => void act("close", { because: t("sos.helped") }, t("sos.closedNow"))}>
              {t("sos.close")}
            </button>
          </div>
        </>
      )}
      <CaseTools shown={shown} mine={mine} busy={busy} api={api} acting={acting} act={act} />
    </section>
  );
}

/** Cases of people in need: list, map, dialogue, hand-over. */
export function SosView({ api }: { api: ConsoleApi }) {
  const [closed, setClosed] = useState(false);
  /** Where the pages before this one began. */
  const [trail, setTrail] = useState<readonly string[]>([]);
  const { value: page, error, reload } = useLoaded(() => api.sosCases(closed, trail.at(-1) ?? ""), REFRESH_MS);
  const { value: field, error: fieldError } = useLoaded(() => api.units(), REFRESH_MS);
  const [selected, setSelected] = useState<string | null>(null);
  const { value: operators, error: operatorsError } = useLoaded(() => api.sosOperators(), OPERATORS_MS);
  const [desk, setDesk] = useState(storedDesk);
  const [person, setPerson] = useState<Person | null>(null);
  const [nobody, setNobody] = useState(false);
  const label = operators?.find(({ account_id }) => account_id === person?.accountId)?.label ?? null;
  const unfit = person !== null && operators !== null && label === null;
  // Who has not unlocked his phone yet acts under no name: not under his machine's either.
  const acting = person !== null && label !== null ? asPerson(person, label) : asDesk(nobody || unfit ? desk : "");
  const nameDesk = (name: string) => {
    setDesk(name);
    keepDesk(name);
  };
  const SosMap = useMapComponent(useMemo(hasWebGl, []), () => import("./SosMap"));
  useNow(1000);
  useEffect(() => void reload(), [closed, trail]);
  const counted = page?.counts ?? {};
  const waiting = (counted["waiting"] ?? 0) + (counted["asking"] ?? 0);
  const before = useRef(0);
  useEffect(() => {
    if (waiting > before.current) announce(t("sos.more", { count: waiting }));
    before.current = waiting;
  }, [waiting]);
  return (
    <div class={selected ? "page sos sos-open" : "page sos"}>
      <h1>{t("console.view.sos")}</h1>
      <Unlock
        person={person}
        onOpen={setPerson}
        opened={unfit ? t("sos.notOperator", { name: person.name }) : label !== null ? t("sos.actingAs", { name: label }) : t("console.loading")}
        action={t("sos.unlock")}
        onNobody={() => setNobody(true)}
      >
        <Desk hint={t("sos.deskHint")} desk={desk} name={nameDesk} />
      </Unlock>
      {operatorsError && <ErrorNotice error={operatorsError} />}
      {unfit && <Desk hint={t("sos.deskHint")} desk={desk} name={nameDesk} />}
      {error && <ErrorNotice error={error} />}
      {page?.one_way && <p class="badge badge-warn">{t("sos.oneWay")}</p>}
      {page?.emergency_numbers.length === 0 && <p class="empty">{t("sos.noNumbers")}</p>}
      <div class="sos-columns">
        <div class="sos-list-column">
          <label class="role">
            <input
              type="checkbox"
              checked={closed}
              onChange={(event) => {
                setClosed(event.currentTarget.checked);
                setTrail([]);
              }}
            />
            <span>{t("sos.showClosed")}</span>
          </label>
          {page?.cases.length === 0 && trail.length === 0 && page.emergency_numbers.length > 0 && <p class="empty">{t("sos.empty", { numbers: page.emergency_numbers.join(", ") })}</p>}
          {page && <p class="quiet">{t("sos.counts", { waiting, care: counted["in care"] ?? 0, closed: counted["closed"] ?? 0 })}</p>}
          <ul class="sos-list" aria-label={t("sos.list")}>
            {page?.cases.map((each) => (
              <Row key={each.case_id} each={each} current={each.case_id === selected} nowS={api.nowS()} choose={() => setSelected(each.case_id)} />
            ))}
          </ul>
          <Pages label={t("sos.pages")} trail={trail} next={page?.next} turn={setTrail} />
        </div>
        <div class="sos-side">
          {selected && <CasePane key={selected} id={selected} acting={acting} operators={operators?.map((each) => each.label) ?? []} api={api} changed={() => void reload()} back={() => setSelected(null)} />}
          {SosMap && page && (page.cases.length > 0 || (field?.units.length ?? 0) > 0) && (
            <SosMap cases={page.cases} selected={selected} units={field?.units ?? NOBODY} nowS={api.nowS()} />
          )}
        </div>
      </div>
      {fieldError && <ErrorNotice error={fieldError} />}
      {field && <Units page={field} nowS={api.nowS()} />}
    </div>
  );
}
