import { useMemo, useRef, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import type { CallInProgress, ConsoleApi, Links, SkySummary } from "../api";
import { ErrorNotice } from "../ErrorNotice";
import { useLoaded } from "../useLoaded";
import { drawnLinks, takenOver } from "./links";
import { SkyTable } from "./SkyTable";
import { hasWebGl, useMapComponent } from "./useMapComponent";
import { useSky } from "./useSky";

const DAY_S = 86_400;

function Provenance({ sky }: { sky: SkySummary }) {
  return (
    <div class="card sky-card">
      <div class="sky-card-head">
        <h2>{sky.constellation}</h2>
        {sky.simulated && <span class="badge badge-warn">{t("sky.simulated")}</span>}
      </div>
      <p>{sky.age_s === null ? t("sky.asFiled") : t("sky.elementsAge", { age: t("sky.days", { count: Math.floor(sky.age_s / DAY_S) }) })}</p>
      <p class="quiet">
        {t("sky.satelliteCount", { number: format.integer(sky.satellite_count) })}
      </p>
    </div>
  );
}

const CALLS_REFRESH_MS = 3_000;

/** How many talk, and from where; never what. */
function Talking({ sky, calls }: { sky: SkySummary; calls: readonly CallInProgress[] }) {
  const names = new Map(sky.places.map((place) => [place.place_id, place.name]));
  return (
    <div class="card sky-card" role="status">
      <h2>{t("sky.calls", { count: calls.length })}</h2>
      {calls.map((call) => (
        <p key={call.call_id} class="quiet">
          {call.participants.map(({ place_id }) => names.get(place_id) ?? place_id).join(" – ")}
        </p>
      ))}
    </div>
  );
}

/** Satellites that took over in the newest slot, compared with the slot before. */
function useTakenOver(links: Links | null): readonly number[] {
  const before = useRef<Links | null>(null);
  return useMemo(() => {
    const previous = before.current;
    before.current = links;
    return previous && links && links.slot_start > previous.slot_start ? takenOver(previous.links, links.links) : [];
  }, [links]);
}

export function SkyView({ api }: { api: ConsoleApi }) {
  const { summary, links, track, error } = useSky(api);
  const [selectedPlaceId, select] = useState<string | null>(null);
  const webGl = useMemo(hasWebGl, []);
  const SkyMap = useMapComponent(webGl, () => import("./SkyMap"));
  const tookOver = useTakenOver(links);
  const { value: calls } = useLoaded(() => api.calls(), CALLS_REFRESH_MS);
  const talkingPlaceIds = useMemo(() => new Set(calls?.flatMap((call) => call.participants.map(({ place_id }) => place_id))), [calls]);
  const drawn = useMemo(
    () => (summary && links ? drawnLinks(summary, links.links, selectedPlaceId) : []),
    [summary, links, selectedPlaceId],
  );
  const nowUnixS = useMemo(() => () => api.nowS(), [api]);

  return (
    <div class="sky">
      <div class="sky-map">
        {!webGl ? (
          <p class="map-message">{t("sky.noWebGl")}</p>
        ) : SkyMap && summary ? (
          <SkyMap
            sky={summary}
            track={track}
            links={drawn}
            tookOver={tookOver}
            selectedPlaceId={selectedPlaceId}
            talkingPlaceIds={talkingPlaceIds}
            nowUnixS={nowUnixS}
          />
        ) : (
          !error && <p class="map-message quiet">{t("console.loading")}</p>
        )}
      </div>
      <div class="sky-side">
        <h1 class="visually-hidden">{t("console.view.sky")}</h1>
        {error && <ErrorNotice error={error} />}
        {summary && <Provenance sky={summary} />}
        {summary && calls && <Talking sky={summary} calls={calls} />}
        {summary && links && (
          <SkyTable sky={summary} links={links} nowUnixS={nowUnixS} selectedPlaceId={selectedPlaceId} onSelect={select} />
        )}
      </div>
    </div>
  );
}
