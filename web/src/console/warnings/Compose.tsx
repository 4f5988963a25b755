import { useEffect, useMemo, useState } from "preact/hooks";
import type { Schemas } from "../../api/client";
import { ApiError } from "../../api/client";
import { format, t } from "../../i18n";
import type { ConsoleApi } from "../api";
import { hasWebGl, useMapComponent } from "../sky/useMapComponent";
import { LEVELS, parsePoints, readContent, writePoints, type Content, type Level, type Point } from "./content";
import { Plan, type PlanShown } from "./Plan";
import type { Person } from "../person/person";
import { submitWarning, type WarningShown } from "./signed";

const PREVIEW_AFTER_MS = 400;
const USUAL = { category: "Safety", urgency: "Immediate", certainty: "Observed", repetition_s: 60 } as const;
const SEVERITIES: Record<Level, Content["severity"]> = { "always-on": "Extreme", "level-1": "Severe", "level-2": "Moderate", "level-3": "Minor", exercise: "Minor" };

interface Props {
  api: ConsoleApi;
  setup: Schemas["WarningSetup"];
  warner: Person | null;
  warnings: readonly WarningShown[];
  onDone: (warning: WarningShown) => void;
}

function Counted({ count }: { count: Schemas["TextCount"] | undefined }) {
  if (!count) return null;
  return (
    <p class={count.fits ? "field-hint" : "field-error"} aria-live="polite">
      {t("warnings.count", { used: count.characters, capacity: count.capacity, pages: count.pages })}
      {count.needs_ucs_2 !== "" && ` ${t("warnings.ucs2", { characters: count.needs_ucs_2 })}`}
      {!count.fits && ` ${t("warnings.tooLong")}`}
    </p>
  );
}

/** A warning being written: what it says, where, and what both take, while one writes. */
export function Compose({ api, setup, warner, warnings, onDone }: Props) {
  const [event, setEvent] = useState("");
  const [italian, setItalian] = useState("");
  const [english, setEnglish] = useState("");
  const [level, setLevel] = useState<Level>("always-on");
  const [exercise, setExercise] = useState(false);
  const [minutes, setMinutes] = useState(60);
  const [areaName, setAreaName] = useState("");
  const [written, setWritten] = useState("");
  const [further, setFurther] = useState<readonly (readonly Point[])[]>([]);
  const [replaces, setReplaces] = useState("");
  const [imported, setImported] = useState<Content | null>(null);
  const [template, setTemplate] = useState("");
  const [preview, setPreview] = useState<Schemas["Preview"] | null>(null);
  const [plan, setPlan] = useState<PlanShown | null>(null);
  /** The area of the plan: what is written may have changed since. */
  const [planned, setPlanned] = useState<number[][][]>([]);
  const [dwell, setDwell] = useState(0);
  const [fault, setFault] = useState("");
  const [working, setWorking] = useState(false);
  const Map = useMapComponent(useMemo(hasWebGl, []), () => import("./AreaMap"));

  const points = useMemo(() => parsePoints(written), [written]);
  const polygons = useMemo(() => [...further, ...(points && points.length > 0 ? [points] : [])], [further, points]);
  const whole = useMemo(() => polygons.filter((ring) => ring.length >= 3).map((ring) => ring.map((point) => [...point])), [polygons]);
  const from = warnings.find(({ warning_id }) => warning_id === template);
  const source = from ? readContent(from) : null;
  const beams = useMemo(() => (plan?.beams ?? []).filter((beam) => beam.dwell === dwell).map((beam) => ({ latitude: beam.latitude_deg, longitude: beam.longitude_deg })), [plan, dwell]);
  const onAir = warnings.filter(({ state }) => state === "on-air");
  const templates = warnings.filter(({ state }) => state === "authorised");

  useEffect(() => {
    let gone = false;
    const timer = setTimeout(() => {
      api
        .previewWarning({ texts: [italian, english], polygons: whole.length > 0 ? whole : null })
        .then((answer) => !gone && setPreview(answer))
        .catch(() => undefined); // the page says itself when the server does not answer
    }, PREVIEW_AFTER_MS);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [italian, english, whole]);

  const attempt = async (work: () => Promise<void>) => {
    setWorking(true);
    setFault("");
    try {
      await work();
    } catch (reason) {
      setFault(reason instanceof ApiError ? reason.message : t("console.unreachable"));
    } finally {
      setWorking(false);
    }
  };
  const read = async (file: File) => {
    const text = await file.text();
    if (text.trimStart().startsWith("{")) {
      const found = JSON.parse(text) as { features?: { geometry: GeoJSON.Geometry }[]; geometry?: GeoJSON.Geometry } & Partial<GeoJSON.Geometry>;
      const geometries = found.features?.map(({ geometry }) => geometry) ?? [found.geometry ?? (found as GeoJSON.Geometry)];
      const rings = geometries.flatMap((geometry) => (geometry.type === "Polygon" ? [geometry.coordinates[0] ?? []] : geometry.type === "MultiPolygon" ? geometry.coordinates.map((polygon) => polygon[0] ?? []) : []));
      setFurther(rings.map((ring) => ring.map(([longitude = 0, latitude = 0]): Point => [latitude, longitude])));
      if (areaName === "") setAreaName(file.name.replace(/\.[^.]*$/, ""));
      return;
    }
    const content = await api.readCap(text);
    setImported(content);
    setTemplate("");
    setEvent(content.event);
    setItalian(content.texts.find(({ language }) => language === "it")?.text ?? content.texts[0]?.text ?? "");
    setEnglish(content.texts.find(({ language }) => language === "en")?.text ?? "");
    setExercise(content.status === "exercise");
    if (content.level !== "exercise") setLevel(content.level);
    setMinutes(Math.round(content.duration_s / 60));
    setReplaces(content.replaces ?? "");
    setAreaName(content.area?.description ?? "");
    setFurther((content.area?.polygons ?? []).map((ring) => ring.map((point): Point => [Number(point[0]), Number(point[1])])));
  };
  const submit = (kind: "alert" | "template") =>
    attempt(async () => {
      if (!warner) return;
      const chosen: Level = exercise ? "exercise" : level;
      const { category, urgency, severity, certainty, repetition_s } = imported ?? { ...USUAL, severity: SEVERITIES[chosen] };
      const own = {
        kind: imported?.kind ?? (replaces !== "" ? "update" : kind),
        ...(replaces !== "" ? { replaces } : {}),
        ...(imported?.cap ? { cap: imported.cap } : {}),
        status: exercise ? "exercise" : "actual",
        level: chosen,
        category,
        event: event.trim(),
        urgency,
        severity,
        certainty,
        texts: [
          { language: "it", text: italian.trim() },
          { language: "en", text: english.trim() },
        ].filter(({ text }) => text !== ""),
        repetition_s,
      };
      const area = kind === "template" ? {} : { area: { description: areaName.trim(), polygons: whole } };
      onDone(await submitWarning(warner, source && from ? { ...source, kind: "alert", template: from.warning_id, ...area } : { ...own, duration_s: minutes * 60, ...area }));
    });
  const area = preview?.area ?? null;

  return (
    <form class="card warning-compose" aria-labelledby="compose-title" aria-busy={working} onSubmit={(submitted) => submitted.preventDefault()}>
      <h2 id="compose-title">{t("warnings.compose")}</h2>
      {imported?.cap && (
        <p class="notice" role="status">
          {t(`warnings.imported.${imported.kind as "alert"}`, { identifier: imported.cap.identifier, sender: imported.cap.sender })}
        </p>
      )}
      <div class="warning-columns">
        <div>
          {templates.length > 0 && (
            <div class="field">
              <label for="w-template">{t("warnings.template")}</label>
              <select id="w-template" class="input" value={template} aria-describedby="w-template-hint" onChange={(e) => setTemplate(e.currentTarget.value)}>
                <option value="">{t("warnings.noTemplate")}</option>
                {templates.map((each) => (
                  <option key={each.warning_id} value={each.warning_id}>
                    {readContent(each).event}
                  </option>
                ))}
              </select>
              <p id="w-template-hint" class="field-hint">
                {t("warnings.templateHint")}
              </p>
            </div>
          )}
          {source ? (
            source.texts.map(({ language, text }) => (
              <blockquote key={language} lang={language} class="warning-text">
                {text}
              </blockquote>
            ))
          ) : (
            <>
              <div class="field">
                <label for="w-event">{t("warnings.event")}</label>
                <input id="w-event" class="input" value={event} maxLength={200} onInput={(e) => setEvent(e.currentTarget.value)} />
              </div>
              {onAir.length > 0 && (
                <div class="field">
                  <label for="w-replaces">{t("warnings.replaces")}</label>
                  <select id="w-replaces" class="input" value={replaces} disabled={imported !== null} onChange={(e) => setReplaces(e.currentTarget.value)}>
                    <option value="">{t("warnings.replacesNothing")}</option>
                    {onAir.map((each) => (
                      <option key={each.warning_id} value={each.warning_id}>
                        {readContent(each).event}
                      </option>
                    ))}
                  </select>
                </div>
              )}
              <div class="field">
                <label for="w-italian">{t("warnings.italian")}</label>
                <textarea id="w-italian" class="input" lang="it" rows={5} value={italian} onInput={(e) => setItalian(e.currentTarget.value)} />
                <Counted count={preview?.texts[0]} />
              </div>
              <div class="field">
                <label for="w-english">{t("warnings.english")}</label>
                <textarea id="w-english" class="input" lang="en" rows={5} value={english} onInput={(e) => setEnglish(e.currentTarget.value)} />
                <Counted count={preview?.texts[1]} />
              </div>
              <div class="field">
                <label for="w-level">{t("warnings.level")}</label>
                <select id="w-level" class="input" value={level} disabled={exercise} onChange={(e) => setLevel(LEVELS.find((each) => each === e.currentTarget.value) ?? "always-on")}>
                  {LEVELS.map((each) => (
                    <option key={each} value={each}>
                      {t(`warnings.levels.${each}`)}
                    </option>
                  ))}
                </select>
              </div>
              <label class="role">
                <input type="checkbox" checked={exercise} onChange={(e) => setExercise(e.currentTarget.checked)} />
                <span>{t("warnings.isExercise")}</span>
              </label>
              <div class="field">
                <label for="w-minutes">{t("warnings.minutes")}</label>
                <input id="w-minutes" class="input" type="number" min={1} max={1440} value={minutes} onInput={(e) => setMinutes(Number(e.currentTarget.value))} />
              </div>
            </>
          )}
        </div>
        <div>
          <div class="field">
            <label for="w-area-name">{t("warnings.areaName")}</label>
            <input id="w-area-name" class="input" value={areaName} maxLength={200} onInput={(e) => setAreaName(e.currentTarget.value)} />
          </div>
          {setup.areas.length > 0 && (
            <div class="field">
              <label for="w-named">{t("warnings.named")}</label>
              <select
                id="w-named"
                class="input"
                value=""
                onChange={(e) => {
                  const name = e.currentTarget.value;
                  void attempt(async () => {
                    const found = await api.namedArea(name);
                    setFurther([...further, ...found.polygons.map((ring) => ring.map((point): Point => [Number(point[0]), Number(point[1])]))]);
                    setAreaName(areaName === "" ? name : `${areaName}, ${name}`);
                  });
                }}
              >
                <option value="">{t("warnings.choose")}</option>
                {setup.areas.map((name) => (
                  <option key={name}>{name}</option>
                ))}
              </select>
            </div>
          )}
          <div class="field">
            <label for="w-points">{t("warnings.points")}</label>
            <textarea id="w-points" class="input" rows={4} value={written} aria-invalid={points === null} aria-describedby="w-points-hint" onInput={(e) => setWritten(e.currentTarget.value)} />
            <p id="w-points-hint" class={points === null ? "field-error" : "field-hint"}>
              {t(points === null ? "warnings.pointsWrong" : "warnings.pointsHint")}
            </p>
          </div>
          <div class="field">
            <label for="w-file">{t("warnings.file")}</label>
            <input
              id="w-file"
              type="file"
              accept=".xml,.cap,.json,.geojson"
              onChange={(e) => {
                const [file] = e.currentTarget.files ?? [];
                if (file) void attempt(() => read(file));
              }}
            />
          </div>
          <button
            type="button"
            class="button button-small"
            onClick={() => {
              setFurther([]);
              setWritten("");
              setPlan(null);
            }}
          >
            {t("warnings.clearArea")}
          </button>
          {Map && <Map polygons={polygons} beams={beams} beamRadiusM={plan?.beam_radius_m ?? 0} onPoint={(point) => setWritten(writePoints([...(points ?? []), point]))} />}
          <div aria-live="polite">
            {area?.fault && <p class="field-error">{area.fault}</p>}
            {area && !area.fault && (
              <dl class="warning-facts">
                <dt>{t("warnings.size")}</dt>
                <dd>{t("warnings.km2", { km2: format.integer(area.size_km2) })}</dd>
                <dt>{t("warnings.people")}</dt>
                <dd>{area.people === null ? t("warnings.peopleUnknown") : `${format.integer(area.people)}${area.places.length > 0 ? ` (${area.places.slice(0, 5).join(", ")}${area.places.length > 5 ? " …" : ""})` : ""}`}</dd>
                <dt>{t("warnings.cellsIn")}</dt>
                <dd>{area.controllers.length === 0 ? t("warnings.noCells") : area.controllers.map(({ controller, cells }) => `${controller}: ${cells}`).join(", ")}</dd>
              </dl>
            )}
          </div>
        </div>
      </div>
      {fault !== "" && (
        <p class="field-error" role="alert">
          {fault}
        </p>
      )}
      <div class="warning-actions">
        <button
          type="button"
          class="button"
          disabled={working || whole.length === 0}
          onClick={() =>
            void attempt(async () => {
              setPlan(await api.planWarning({ polygons: whole }));
              setPlanned(whole);
              setDwell(0);
            })
          }
        >
          {t("warnings.plan.make")}
        </button>
        {!source && (
          <button type="button" class="button" disabled={working || !warner || replaces !== "" || imported !== null} onClick={() => void submit("template")}>
            {t("warnings.submitTemplate")}
          </button>
        )}
        <button type="button" class={source ? "button button-danger" : "button button-primary"} disabled={working || !warner || whole.length === 0} onClick={() => void submit("alert")}>
          {t(source ? "warnings.use" : "warnings.submit")}
        </button>
      </div>
      <p class="quiet">{t(warner ? "warnings.submitHint" : "warnings.noPhone")}</p>
      {plan && <Plan plan={plan} onDwell={setDwell} again={(block) => api.planWarning({ polygons: planned, begins_at: plan.begins_at, block })} />}
    </form>
  );
}
