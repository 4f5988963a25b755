import { Map as MapLibreMap, Marker, NavigationControl, setWorkerUrl } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../../i18n";
import type { RoutersShown } from "../api";
import { baseStyle, loadBaseMap } from "../sky/baseMap";
import { MAP_COLOURS } from "../sky/mapColours";
import { conditionOf } from "./condition";

setWorkerUrl(workerUrl);

const DARK = matchMedia("(prefers-color-scheme: dark)");
const MARGIN_DEG = 3;

export interface SitesMapProps {
  shown: RoutersShown;
  nowS: number;
  selectedId: string | null;
}

interface Point {
  id: string;
  name: string;
  kind: string;
  at: [number, number];
}

function pointsOf(shown: RoutersShown, nowS: number): Point[] {
  const gateways = shown.gateways.flatMap((each) =>
    each.state?.position ? [{ id: each.device_id, name: each.display_name, kind: "gateway", at: [each.state.position.longitude_deg, each.state.position.latitude_deg] as [number, number] }] : [],
  );
  const sites = shown.sites.flatMap((each) =>
    each.state?.position ? [{ id: each.device_id, name: each.display_name, kind: conditionOf(each, nowS), at: [each.state.position.longitude_deg, each.state.position.latitude_deg] as [number, number] }] : [],
  );
  return [...gateways, ...sites];
}

function element({ name, kind }: Point): HTMLElement {
  const made = document.createElement("div");
  made.className = `sign sign-${kind}`;
  const [dot, label] = [document.createElement("span"), document.createElement("span")];
  dot.className = "sign-dot";
  label.className = "sign-name";
  label.textContent = name;
  made.append(dot, label);
  return made;
}

/** Where sites and gateways are, and how they are; the table says the same. */
export default function SitesMap({ shown, nowS, selectedId }: SitesMapProps) {
  const container = useRef<HTMLDivElement>(null);
  const [map, setMap] = useState<MapLibreMap | null>(null);
  const [failed, setFailed] = useState(false);
  const points = pointsOf(shown, nowS);
  const key = points.map(({ id, name, kind, at }) => `${id} ${name} ${kind} ${at.join()}`).join("|");

  useEffect(() => {
    let gone = false;
    let built: MapLibreMap | null = null;
    const longitudes = points.map(({ at }) => at[0]);
    const latitudes = points.map(({ at }) => at[1]);
    loadBaseMap()
      .then((baseMap) => {
        if (gone || !container.current) return;
        built = new MapLibreMap({
          container: container.current,
          style: baseStyle(baseMap, MAP_COLOURS[DARK.matches ? "dark" : "light"]),
          bounds: [
            [Math.min(...longitudes) - MARGIN_DEG, Math.max(-80, Math.min(...latitudes) - MARGIN_DEG)],
            [Math.max(...longitudes) + MARGIN_DEG, Math.min(80, Math.max(...latitudes) + MARGIN_DEG)],
          ],
          maxZoom: 7.5,
          renderWorldCopies: false,
          attributionControl: false,
          dragRotate: false,
          fadeDuration: 0,
          locale: { "Map.Title": t("sites.mapLabel"), "NavigationControl.ZoomIn": t("sky.zoomIn"), "NavigationControl.ZoomOut": t("sky.zoomOut") },
        });
        built.keyboard.disableRotation();
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
    const markers = points.map((point) => {
      const made = element(point);
      made.classList.toggle("sign-selected", point.id === selectedId);
      const marker = new Marker({ element: made }).setLngLat(point.at).addTo(map);
      for (const attribute of ["role", "aria-label", "tabindex"]) made.removeAttribute(attribute);
      made.setAttribute("aria-hidden", "true");
      return marker;
    });
    return () => {
      for (const marker of markers) marker.remove();
    };
  }, [map, key, selectedId]);

  if (failed) return <p class="map-message">{t("sky.mapFailed")}</p>;
  return (
    <figure class="map-figure">
      <div class="map" ref={container} />
      <figcaption class="map-caption">
        <span class="quiet">{t("sky.attribution")}</span>
      </figcaption>
    </figure>
  );
}
