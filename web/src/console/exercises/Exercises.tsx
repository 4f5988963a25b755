import { useEffect, useRef, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import type { ConsoleApi, Exercise, ExerciseNow, ExerciseShown } from "../api";
import { CardTable } from "../CardTable";
import { ErrorNotice } from "../ErrorNotice";
import { hasWebGl, useMapComponent } from "../sky/useMapComponent";
import { useLoaded } from "../useLoaded";
import { frameAt, isPlaying, type Shows, shares, worst } from "./exercise";
import "./exercises.css";

const COMMAND = "tramontana exercise run amatrice-2016 --watch";
const REFRESH_MS = 2_000;
/** One picture after the other, fast enough for a night in half a minute. */
const STEP_MS = 400;
const TOWNS = 8;
/** What the player calls the run without any (exercise/timeline.py). */
const WITHOUT = "without satellites";

function delay(seconds: number | null): string {
  return seconds === null ? t("exercises.never") : t("exercises.minutes", { minutes: format.decimal(seconds / 60) });
}

/** Names of fleets are as the player gives them; that there is none is said in the reader's language. */
function labelOf(label: string | undefined): string {
  return label === WITHOUT ? t("exercises.without") : (label ?? "");
}

function state(now: ExerciseNow, serverS: number): string {
  if (now.state === "done") return t("exercises.done");
  const label = labelOf(now.labels[now.ended]);
  return isPlaying(now, serverS) ? t("exercises.playing", { label }) : t("exercises.silent", { label });
}

/** The run that is played: the instant of its world, and what came of it by then. */
function Live({ exercise, now }: { exercise: Exercise; now: ExerciseNow }) {
  const at = exercise.begins_at + now.now_s;
  return (
    <section class="card" aria-labelledby="exercise-live">
      <h3 id="exercise-live">{t("exercises.live", { number: now.ended + 1, all: now.labels.length, label: labelOf(now.labels[now.ended]) })}</h3>
      <p>
        <progress max={exercise.seconds} value={now.now_s} aria-label={t("exercises.progress")} /> {format.dayAndClock(at * 1000)}
      </p>
      <dl class="warning-facts">
        <dt>{t("exercises.warned")}</dt>
        <dd>{format.percent(now.warned_percent / 100)}</dd>
        <dt>{t("exercises.heard")}</dt>
        <dd>{t("exercises.of", { part: format.integer(now.heard), whole: format.integer(now.asked_for_help) })}</dd>
        <dt>{t("exercises.textsDelivered")}</dt>
        <dd>{t("exercises.texts", { part: format.integer(now.texts_delivered), whole: format.integer(now.texts), satellite: format.integer(now.texts_by_satellite) })}</dd>
        <dt>{t("exercises.textsWaiting")}</dt>
        <dd>{format.integer(now.texts_waiting)}</dd>
      </dl>
    </section>
  );
}

/** Runs that are over, side by side. */
function Runs({ exercise }: { exercise: Exercise }) {
  const heads = ["satellites", "half", "nineTenths", "warnedAtEnd", "heard", "cutOffTexts", "busiest"] as const;
  return (
    <CardTable label={t("exercises.runs")} heads={heads.map((head) => t(`exercises.${head}`))}>
      {exercise.runs.map((run) => (
        <tr key={run.label}>
          <th scope="row">{labelOf(run.label)}</th>
          <td class="nowrap">{delay(run.half_warned_s)}</td>
          <td class="nowrap">{delay(run.nine_tenths_warned_s)}</td>
          <td class="number">{format.percent((run.warned_percent.at(-1) ?? 0) / 100)}</td>
          <td class="nowrap">{t("exercises.of", { part: format.integer(run.heard), whole: format.integer(run.asked_for_help) })}</td>
          <td class="number">{run.cut_off_texts > 0 ? format.percent(run.cut_off_texts_delivered / run.cut_off_texts) : "–"}</td>
          <td class="number">{format.percent(run.busiest_cell_percent / 100)}</td>
        </tr>
      ))}
    </CardTable>
  );
}

/** The world over time on a map, and its worst places in words. While a run is played the map goes with it, unless somebody looks elsewhere. */
function OverTime({ exercise, now, playing }: { exercise: Exercise; now: ExerciseNow; playing: boolean }) {
  const [wish, setWish] = useState<Shows | null>(null);
  const [chosen, setChosen] = useState(0);
  const [running, setRunning] = useState(false);
  const last = exercise.at_s.length - 1;
  const fallback: Shows = playing ? "now" : exercise.runs.length > 0 ? exercise.runs.length - 1 : "cut";
  const shows = wish === null || (wish === "now" && !playing) || (typeof wish === "number" && wish >= exercise.runs.length) ? fallback : wish;
  const frame = shows === "now" ? frameAt(exercise, now.now_s) : Math.min(chosen, last);
  const ends = shows !== "now" && frame >= last;
  useEffect(() => {
    if (!running || shows === "now") return;
    const timer = setInterval(() => setChosen((before) => Math.min(before + 1, last)), STEP_MS);
    return () => clearInterval(timer);
  }, [running, shows, last]);
  useEffect(() => {
    if (ends) setRunning(false);
  }, [ends]);
  const ExerciseMap = useMapComponent(hasWebGl(), () => import("./ExerciseMap"));
  const values = shares(exercise, now, shows, frame);
  const towns = worst(exercise, values, shows, frame, TOWNS);
  const at = exercise.begins_at + (shows === "now" ? now.now_s : (exercise.at_s[frame] ?? 0));
  const percentHead = shows === "cut" ? t("exercises.cutShare") : t("exercises.warnedShare");
  const inWords =
    shows === "cut"
      ? t("exercises.cutOff", { phones: format.integer(exercise.cut_off_phones[frame] ?? 0) })
      : t("exercises.warnedThen", { share: format.percent((shows === "now" ? now.warned_percent : (exercise.runs[shows]?.warned_percent[frame] ?? 0)) / 100) });
  return (
    <section aria-labelledby="exercise-time">
      <h3 id="exercise-time">{t("exercises.overTime")}</h3>
      <div class="exercise-controls">
        <label>
          {t("exercises.shows")}{" "}
          <select class="input" value={String(shows)} onChange={({ currentTarget: { value } }) => setWish(value === "cut" || value === "now" ? value : Number(value))}>
            {playing && <option value="now">{t("exercises.showsNow", { label: labelOf(now.labels[now.ended]) })}</option>}
            <option value="cut">{t("exercises.showsCut")}</option>
            {exercise.runs.map((run, n) => (
              <option key={run.label} value={String(n)}>
                {t("exercises.showsRun", { label: labelOf(run.label) })}
              </option>
            ))}
          </select>
        </label>
        {shows !== "now" && (
          <>
            <input type="range" aria-label={t("exercises.time")} aria-valuetext={format.dayAndClock(at * 1000)} min={0} max={last} value={frame} onInput={({ currentTarget }) => setChosen(Number(currentTarget.value))} />
            <button
              type="button"
              class="button button-small"
              onClick={() => {
                if (!running && ends) setChosen(0);
                setRunning(!running);
              }}
            >
              {running ? t("exercises.stop") : t("exercises.play")}
            </button>
          </>
        )}
      </div>
      <p class="exercise-words">
        {format.dayAndClock(at * 1000)}: {inWords}
      </p>
      {ExerciseMap && <ExerciseMap exercise={exercise} values={values} dark={exercise.dark[frame] ?? []} />}
      {towns.length > 0 && (
        <CardTable label={t(shows === "cut" ? "exercises.worstCut" : "exercises.worstWarned")} heads={[t("exercises.town"), t("exercises.people"), percentHead, t("exercises.mains")]}>
          {towns.map((town) => (
            <tr key={town.name}>
              <th scope="row">{town.name}</th>
              <td class="number">{format.integer(town.people)}</td>
              <td class="number">{format.percent(town.percent / 100)}</td>
              <td>{town.dark ? t("exercises.mainsOut") : t("exercises.mainsOn")}</td>
            </tr>
          ))}
        </CardTable>
      )}
    </section>
  );
}

function Watched({ api, shown }: { api: ConsoleApi; shown: ExerciseShown }) {
  const { now } = shown;
  const { value: exercise, error, reload } = useLoaded(() => api.exercise(shown.name));
  const read = useRef(true);
  useEffect(() => {
    if (read.current) read.current = false;
    else void reload(); // a run is over, or the exercise began anew
  }, [now.began_at, now.ended]);
  const playing = isPlaying(now, api.nowS());
  return (
    <section class="exercise" aria-labelledby="exercise-title">
      <h2 id="exercise-title">
        {now.title} <span class="badge badge-danger">{t("exercises.simulated")}</span>
      </h2>
      {error && <ErrorNotice error={error} />}
      {exercise && (
        <>
          <p class="quiet">
            {t("exercises.about", {
              start: format.dayAndClock(exercise.begins_at * 1000),
              hours: format.decimal(exercise.seconds / 3600),
              phones: format.integer(exercise.phones),
              sites: format.integer(exercise.sites),
              seed: exercise.seed,
            })}
          </p>
          {playing && <Live exercise={exercise} now={now} />}
          {exercise.runs.length > 0 && <Runs exercise={exercise} />}
          <OverTime exercise={exercise} now={now} playing={playing} />
        </>
      )}
    </section>
  );
}

/** Exercises that are played beside this server: watched on the way, and looked at again afterwards. */
export function Exercises({ api }: { api: ConsoleApi }) {
  const { value: exercises, error } = useLoaded(() => api.exercises(), REFRESH_MS);
  const [open, setOpen] = useState<string | null>(null);
  const chosen = exercises?.find(({ name }) => name === open) ?? exercises?.[0];
  return (
    <div class="page">
      <h1>{t("console.view.exercises")}</h1>
      <p class="quiet">{t("exercises.what")}</p>
      {error && <ErrorNotice error={error} />}
      {exercises?.length === 0 && (
        <p class="empty">
          {t("exercises.empty")} <code>{COMMAND}</code>
        </p>
      )}
      {exercises && exercises.length > 0 && (
        <CardTable label={t("exercises.list")} heads={[t("exercises.exercise"), t("exercises.state"), t("exercises.told")]}>
          {exercises.map(({ name, now }) => (
            <tr key={name} class={name === chosen?.name ? "row-selected" : undefined}>
              <th scope="row">
                <button type="button" class="row-button exercise-open" aria-pressed={name === chosen?.name} onClick={() => setOpen(name)}>
                  {now.title}
                </button>
              </th>
              <td>{state(now, api.nowS())}</td>
              <td class="nowrap">{format.dayAndClock(now.told_at * 1000)}</td>
            </tr>
          ))}
        </CardTable>
      )}
      {chosen && <Watched key={chosen.name} api={api} shown={chosen} />}
    </div>
  );
}
