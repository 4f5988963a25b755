import { LngLatBounds, Map as MapLibreMap, Marker, NavigationControl, setWorkerUrl } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../../i18n";
import type { SosCase } from "../api";
import { baseStyle, loadBaseMap, type MapColours } from "../sky/baseMap";

setWorkerUrl(workerUrl); // its own file: a blob: worker would need a looser content policy

const ITALY: [[number, number], [number, number]] = [
  [6, 36],
  [19, 47.5],
];
const ZOOM = { min: 2, max: 12, fitted: 8 };
const DARK = matchMedia("(prefers-color-scheme: dark)");
const COLOURS: Record<"light" | "dark", MapColours> = {
  light: { sea: "#cfdeec", land: "#f5f3ec", border: "#c9c4b6", coast: "#94a8bd", graticule: "#bccfe0" },
  dark: { sea: "#0a1422", land: "#18253a", border: "#2c3d58", coast: "#3d5373", graticule: "#14233a" },
};

export interface SosMapProps {
  cases: readonly SosCase[];
  selected: string | null;
}

/** Where the cases are. The list beside it says the same in words, so that nothing here has to be read aloud. */
export default function SosMap({ cases, selected }: SosMapProps) {
  const container = useRef<HTMLDivElement>(null);
  const [map, setMap] = useState<MapLibreMap | null>(null);
  const [failed, setFailed] = useState(false);
  const fitted = useRef(false);

  useEffect(() => {
    let built: MapLibreMap | null = null;
    let gone = false;
    loadBaseMap()
      .then((baseMap) => {
        if (gone || !container.current) return;
        built = new MapLibreMap({
          container: container.current,
          style: baseStyle(baseMap, COLOURS[DARK.matches ? "dark" : "light"]),
          bounds: ITALY,
          minZoom: ZOOM.min,
          maxZoom: ZOOM.max,
          attributionControl: false, // the page itself says "Natural Earth"
          dragRotate: false,
          pitchWithRotate: false,
          fadeDuration: 0,
          locale: { "Map.Title": t("sos.map"), "NavigationControl.ZoomIn": t("sky.zoomIn"), "NavigationControl.ZoomOut": t("sky.zoomOut") },
        });
        built.touchZoomRotate.disableRotation();
        built.addControl(new NavigationControl({ showCompass: false }), "top-right");
        setMap(built);
      })
      .catch(() => setFailed(true));
    return () => {
      gone = true;
      built?.remove();
      setMap(null);
    };
  }, []);

  useEffect(() => {
    if (!map) return;
    const markers = cases.flatMap(({ case_id: id, number, position, state }) => {
      if (!position) return [];
      const element = document.createElement("div");
      element.className = `sign sign-sos sign-sos-${state === "in care" ? "care" : state}${id === selected ? " sign-selected" : ""}`;
      const dot = document.createElement("span");
      dot.className = "sign-dot";
      const label = document.createElement("span");
      label.className = "sign-name";
      label.textContent = String(number);
      element.append(dot, label);
      const marker = new Marker({ element }).setLngLat([position.longitude, position.latitude]).addTo(map);
      for (const name of ["role", "aria-label", "tabindex"]) element.removeAttribute(name);
      element.setAttribute("aria-hidden", "true");
      return [marker];
    });
    if (!fitted.current && markers.length > 0) {
      fitted.current = true; // once: afterwards the operator's own view stays
      const bounds = new LngLatBounds();
      for (const marker of markers) bounds.extend(marker.getLngLat());
      map.fitBounds(bounds, { padding: 60, maxZoom: ZOOM.fitted, duration: 0 });
    }
    return () => {
      for (const marker of markers) marker.remove();
    };
  }, [map, cases, selected]);

  if (failed) return <p class="map-message">{t("sky.mapFailed")}</p>;
  return (
    <figure class="map-figure sos-map">
      <div class="map" ref={container} />
      <figcaption class="map-caption">
        <span class="quiet">{t("sky.attribution")}</span>
      </figcaption>
    </figure>
  );
}
