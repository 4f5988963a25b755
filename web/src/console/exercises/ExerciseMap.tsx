import { type ExpressionSpecification, type GeoJSONSource, LngLatBounds } from "maplibre-gl";
import { useEffect } from "preact/hooks";
import { t } from "../../i18n";
import type { Exercise } from "../api";
import { ITALY, MapFigure, scheme, useBaseMap } from "../sky/useBaseMap";

/** From nobody to everybody: lightness alone tells them apart too. */
const COLOUR: ExpressionSpecification = ["case", ["<", ["get", "percent"], 0], "#9aa0a6", ["interpolate", ["linear"], ["get", "percent"], 0, "#fde7c8", 50, "#e6783c", 100, "#6e143c"]];

interface ExerciseMapProps {
  exercise: Exercise;
  /** By municipality, percent; −1 where there is nothing to show. */
  values: readonly number[];
  /** By municipality, whether it has no mains. */
  dark: readonly boolean[];
}

function features({ exercise, values, dark }: ExerciseMapProps): GeoJSON.FeatureCollection {
  return {
    type: "FeatureCollection",
    features: exercise.places.map(({ longitude_deg, latitude_deg, people }, n) => ({
      type: "Feature",
      properties: { percent: values[n] ?? -1, dark: dark[n] ?? false, radius: Math.max(4, Math.min(24, 0.085 * Math.sqrt(people))) },
      geometry: { type: "Point", coordinates: [longitude_deg, latitude_deg] },
    })),
  };
}

/** Municipalities coloured by their share. What matters of it is said in the table below. */
export default function ExerciseMap(props: ExerciseMapProps) {
  const { exercise, values, dark } = props;
  const built = useBaseMap({ label: t("exercises.map"), bounds: ITALY, minZoom: 3, maxZoom: 12 });
  const { map } = built;
  useEffect(() => {
    if (!map) return;
    const rim = scheme() === "dark" ? "#e7ebef" : "#1d2733";
    map.addSource("towns", { type: "geojson", data: features(props) });
    map.addLayer({
      id: "towns",
      type: "circle",
      source: "towns",
      paint: { "circle-color": COLOUR, "circle-radius": ["get", "radius"], "circle-stroke-color": rim, "circle-stroke-width": ["case", ["get", "dark"], 2.5, 0.5], "circle-opacity": 0.9 },
    });
    const bounds = new LngLatBounds();
    for (const { longitude_deg, latitude_deg } of exercise.places) bounds.extend([longitude_deg, latitude_deg]);
    if (!bounds.isEmpty()) map.fitBounds(bounds, { padding: 40, maxZoom: 9, animate: false });
  }, [map]);
  useEffect(() => {
    (map?.getSource("towns") as GeoJSONSource | undefined)?.setData(features(props));
  }, [map, exercise, values, dark]);
  return (
    <div class="exercise-map">
      <MapFigure built={built}>
        <span class="quiet">
          0 % <span class="exercise-scale" aria-hidden="true" /> 100 %. {t("exercises.legend")}
        </span>
      </MapFigure>
    </div>
  );
}
