import type { GeoJSONSource } from "maplibre-gl";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../../i18n";
import type { Scheme } from "../sky/baseMap";
import { ITALY, MapFigure, scheme, useBaseMap } from "../sky/useBaseMap";
import type { Point } from "./content";

const AREA: Record<Scheme, string> = { light: "#b3261e", dark: "#ff9a92" };
const BEAM: Record<Scheme, string> = { light: "#0a5aad", dark: "#7cc0ff" };
const CIRCLE_POINTS = 48;
const EARTH_RADIUS_M = 6_371_008.8;

interface Beam {
  latitude: number;
  longitude: number;
}

interface AreaMapProps {
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
  const clicked = useRef(onPoint);
  clicked.current = onPoint;
  const built = useBaseMap({ label: t("warnings.mapLabel"), bounds: ITALY });
  const { map } = built;

  useEffect(() => {
    if (!map) return;
    const [area, beam] = [AREA[scheme()], BEAM[scheme()]];
    map.on("click", ({ lngLat }) => clicked.current?.([Number(lngLat.lat.toFixed(4)), Number(lngLat.lng.toFixed(4))]));
    const empty = { type: "FeatureCollection", features: [] } as GeoJSON.FeatureCollection;
    map.addSource("beams", { type: "geojson", data: empty });
    map.addSource("area", { type: "geojson", data: empty });
    map.addLayer({ id: "beams", type: "fill", source: "beams", paint: { "fill-color": beam, "fill-opacity": 0.12 } });
    map.addLayer({ id: "beam-rims", type: "line", source: "beams", paint: { "line-color": beam, "line-width": 1, "line-opacity": 0.6 } });
    map.addLayer({ id: "area", type: "fill", source: "area", filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": area, "fill-opacity": 0.25 } });
    map.addLayer({ id: "area-rim", type: "line", source: "area", paint: { "line-color": area, "line-width": 2 } });
    map.addLayer({ id: "area-points", type: "circle", source: "area", filter: ["==", ["geometry-type"], "Point"], paint: { "circle-color": area, "circle-radius": 4 } });
  }, [map]);
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

  return (
    <div class="warning-map">
      <MapFigure built={built}>
        <span class="quiet">{t("warnings.mapCaption")}</span>
      </MapFigure>
    </div>
  );
}
