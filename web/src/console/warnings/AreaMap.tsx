import { Map as MapLibreMap, NavigationControl, setWorkerUrl, type GeoJSONSource } from "maplibre-gl";
import "maplibre-gl/dist/maplibre-gl.css";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../../i18n";
import { baseStyle, loadBaseMap, type MapColours } from "../sky/baseMap";
import type { Point } from "./content";

setWorkerUrl(workerUrl);

const ITALY: [[number, number], [number, number]] = [
  [6, 36],
  [19, 47.5],
];
const COLOURS: MapColours = { sea: "#cfdeec", land: "#f5f3ec", border: "#c9c4b6", coast: "#94a8bd", graticule: "#bccfe0" };
const AREA = "#b3261e";
const BEAM = "#0a5aad";
const CIRCLE_POINTS = 48;
const EARTH_RADIUS_M = 6_371_008.8;

export interface Beam {
  latitude: number;
  longitude: number;
}

export interface AreaMapProps {
  polygons: readonly (readonly Point[])[];
  beams: readonly Beam[];
  beamRadiusM: number;
  /** A click adds a point to what is drawn; without it the map only shows. */
  onPoint?: (point: Point) => void;
}

function areaFeatures(polygons: AreaMapProps["polygons"]): GeoJSON.FeatureCollection {
  const features: GeoJSON.Feature[] = [];
  for (const ring of polygons) {
    const positions = ring.map(([latitude, longitude]) => [longitude, latitude]);
    for (const coordinates of positions) features.push({ type: "Feature", properties: {}, geometry: { type: "Point", coordinates } });
    const [first] = positions;
    if (first && positions.length >= 3) features.push({ type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [[...positions, first]] } });
    else if (positions.length === 2) features.push({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: positions } });
  }
  return { type: "FeatureCollection", features };
}

function beamFeatures(beams: readonly Beam[], radiusM: number): GeoJSON.FeatureCollection {
  const reach = (radiusM / EARTH_RADIUS_M) * (180 / Math.PI);
  return {
    type: "FeatureCollection",
    features: beams.map(({ latitude, longitude }) => {
      const stretch = Math.cos((latitude * Math.PI) / 180);
      const ring = Array.from({ length: CIRCLE_POINTS + 1 }, (_, n) => {
        const angle = (2 * Math.PI * n) / CIRCLE_POINTS;
        return [longitude + (reach * Math.sin(angle)) / stretch, latitude + reach * Math.cos(angle)];
      });
      return { type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [ring] } };
    }),
  };
}

/** The area and the beams drawn. Whatever it takes in can be written as well, and whatever it shows is said beside it. */
export default function AreaMap({ polygons, beams, beamRadiusM, onPoint }: AreaMapProps) {
  const container = useRef<HTMLDivElement>(null);
  const clicked = useRef(onPoint);
  clicked.current = onPoint;
  const [map, setMap] = useState<MapLibreMap | null>(null);
  const [failed, setFailed] = useState(false);

  useEffect(() => {
    let gone = false;
    let built: MapLibreMap | null = null;
    loadBaseMap()
      .then((base) => {
        if (gone || !container.current) return;
        built = new MapLibreMap({
          container: container.current,
          style: baseStyle(base, COLOURS),
          bounds: ITALY,
          renderWorldCopies: false,
          attributionControl: false,
          dragRotate: false,
          maxPitch: 0,
          fadeDuration: 0,
          locale: { "Map.Title": t("warnings.mapLabel"), "NavigationControl.ZoomIn": t("sky.zoomIn"), "NavigationControl.ZoomOut": t("sky.zoomOut") },
        });
        built.addControl(new NavigationControl({ showCompass: false }), "top-right");
        built.on("click", (event) => clicked.current?.([Number(event.lngLat.lat.toFixed(4)), Number(event.lngLat.lng.toFixed(4))]));
        built.on("load", () => {
          if (gone || !built) return;
          const empty = { type: "FeatureCollection", features: [] } as GeoJSON.FeatureCollection;
          built.addSource("beams", { type: "geojson", data: empty });
          built.addSource("area", { type: "geojson", data: empty });
          built.addLayer({ id: "beams", type: "fill", source: "beams", paint: { "fill-color": BEAM, "fill-opacity": 0.12 } });
          built.addLayer({ id: "beam-rims", type: "line", source: "beams", paint: { "line-color": BEAM, "line-width": 1, "line-opacity": 0.6 } });
          built.addLayer({ id: "area", type: "fill", source: "area", filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": AREA, "fill-opacity": 0.25 } });
          built.addLayer({ id: "area-rim", type: "line", source: "area", paint: { "line-color": AREA, "line-width": 2 } });
          built.addLayer({ id: "area-points", type: "circle", source: "area", filter: ["==", ["geometry-type"], "Point"], paint: { "circle-color": AREA, "circle-radius": 4 } });
          setMap(built);
        });
      })
      .catch(() => setFailed(true));
    return () => {
      gone = true;
      built?.remove();
      setMap(null);
    };
  }, []);

  useEffect(() => {
    (map?.getSource("area") as GeoJSONSource | undefined)?.setData(areaFeatures(polygons));
  }, [map, polygons]);
  useEffect(() => {
    const all = polygons.filter((ring) => ring.length >= 3).flat();
    if (!map || all.length === 0) return;
    const [latitudes, longitudes] = [all.map(([latitude]) => latitude), all.map(([, longitude]) => longitude)];
    map.fitBounds([Math.min(...longitudes), Math.min(...latitudes), Math.max(...longitudes), Math.max(...latitudes)], { padding: 60, maxZoom: 9, animate: false });
  }, [map, polygons.length]); // not with every corner: a map that moves under the pointer cannot be drawn on
  useEffect(() => {
    (map?.getSource("beams") as GeoJSONSource | undefined)?.setData(beamFeatures(beams, beamRadiusM));
  }, [map, beams, beamRadiusM]);

  if (failed) return <p class="map-message">{t("sky.mapFailed")}</p>;
  return (
    <figure class="map-figure">
      <div class="map warning-map" ref={container} />
      <figcaption class="map-caption quiet">{t("warnings.mapCaption")}</figcaption>
    </figure>
  );
}
