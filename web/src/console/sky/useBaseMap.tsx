import { Map as MapLibreMap, NavigationControl, setWorkerUrl } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../../i18n";
import { type BaseMap, baseStyle, loadBaseMap, type Scheme } from "./baseMap";

setWorkerUrl(workerUrl); // its own file: a blob: worker would need a looser content policy

const RETRY_MS = 1000;
const DARK = matchMedia("(prefers-color-scheme: dark)");

export const scheme = (): Scheme => (DARK.matches ? "dark" : "light");

/** South-west and north-east corner, degrees, longitude first. */
export type Bounds = [[number, number], [number, number]];

export const ITALY: Bounds = [
  [6, 36],
  [19, 47.5],
];

interface BaseMapOptions {
  label: string;
  /** What a new map shows. One that is built anew shows what the last one showed. */
  bounds: Bounds;
  minZoom?: number;
  maxZoom?: number;
  /** With another value the map is built anew. */
  subject?: string;
}

interface BaseMapBuilt {
  container: RefObject<HTMLDivElement>;
  /** Null until its style is there: then sources, layers and signs can be added. Another one each time it is built anew. */
  map: MapLibreMap | null;
  failed: boolean;
  /** To be called when a canvas above this map loses its context: all is built anew, as the buffers are gone with it. */
  lost: () => void;
}

type View = Pick<ReturnType<MapLibreMap["cameraForBounds"]> & object, "center" | "zoom">;

function build(container: HTMLElement, baseMap: BaseMap, { label, bounds, minZoom = 0, maxZoom = 22 }: BaseMapOptions, view: View | null): MapLibreMap {
  const map = new MapLibreMap({
    container,
    style: baseStyle(baseMap, scheme()),
    ...(view ?? { bounds }),
    minZoom,
    maxZoom,
    renderWorldCopies: false,
    attributionControl: false, // the page itself says "Natural Earth"
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    maxPitch: 0,
    fadeDuration: 0,
    locale: { "Map.Title": label, "NavigationControl.ZoomIn": t("sky.zoomIn"), "NavigationControl.ZoomOut": t("sky.zoomOut") },
  });
  map.touchZoomRotate.disableRotation();
  map.keyboard.disableRotation();
  map.addControl(new NavigationControl({ showCompass: false }), "top-right");
  return map;
}

/** The map that the pages draw on: built once, and anew when the colour scheme changes or a context is lost. */
export function useBaseMap(options: BaseMapOptions): BaseMapBuilt {
  const container = useRef<HTMLDivElement>(null);
  const view = useRef<View | null>(null);
  const [built, setBuilt] = useState<{ map: MapLibreMap; lost: () => void } | null>(null);
  const [failed, setFailed] = useState(false);
  const [turn, setTurn] = useState(0);

  useEffect(() => {
    let gone = false;
    let map: MapLibreMap | null = null;
    const rebuild = () => {
      if (!gone) setTurn((last) => last + 1); // taking a map down loses its context as well
    };
    const lost = () => void setTimeout(rebuild, RETRY_MS);
    loadBaseMap()
      .then((baseMap) => {
        if (gone || !container.current) return;
        const made = build(container.current, baseMap, options, view.current);
        map = made;
        made.on("webglcontextlost", lost);
        made.once("style.load", () => !gone && setBuilt({ map: made, lost }));
      })
      .catch(() => setFailed(true));
    DARK.addEventListener("change", rebuild);
    return () => {
      gone = true;
      DARK.removeEventListener("change", rebuild);
      if (map) view.current = { center: map.getCenter(), zoom: map.getZoom() };
      map?.remove();
      setBuilt(null);
    };
  }, [turn, options.subject]);

  return { container, map: built?.map ?? null, failed, lost: built?.lost ?? (() => undefined) };
}

/** Where the map appears, and what stands below it; a sentence in its place where it cannot be drawn. */
export function MapFigure({ built, children }: { built: BaseMapBuilt; children?: ComponentChildren }) {
  if (built.failed) return <p class="map-message">{t("sky.mapFailed")}</p>;
  return (
    <figure class="map-figure">
      <div class="map" ref={built.container} />
      <figcaption class="map-caption">{children ?? <span class="quiet">{t("sky.attribution")}</span>}</figcaption>
    </figure>
  );
}
