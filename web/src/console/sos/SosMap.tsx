import { LngLatBounds } from "maplibre-gl";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../../i18n";
import type { SosCase, Unit } from "../api";
import { putSign } from "../sky/sign";
import { ITALY, MapFigure, useBaseMap } from "../sky/useBaseMap";
import { isStale, nameOf } from "./Units";

const ZOOM = { min: 2, max: 12, fitted: 8 };

interface SosMapProps {
  cases: readonly SosCase[];
  selected: string | null;
  units: readonly Unit[];
  /** POSIX seconds, as the server has them. */
  nowS: number;
}

/** Where the cases and the units in the field are. The list beside it says the same in words, so that nothing here has to be read aloud. */
export default function SosMap({ cases, selected, units, nowS }: SosMapProps) {
  const built = useBaseMap({ label: t("sos.map"), bounds: ITALY, minZoom: ZOOM.min, maxZoom: ZOOM.max });
  const { map } = built;
  const fitted = useRef(false);

  useEffect(() => {
    if (!map) return;
    const markers = units.map((unit) => {
      const kinds = ["unit", ...(isStale(unit, nowS) ? ["unit-stale"] : unit.emergency ? ["unit-emergency"] : [])];
      return putSign(map, { kinds, name: nameOf(unit), longitudeDeg: unit.longitude_deg, latitudeDeg: unit.latitude_deg });
    });
    return () => {
      for (const marker of markers) marker.remove();
    };
  }, [map, units]); // asked for every few seconds: often enough to notice who is out of date

  useEffect(() => {
    if (!map) return;
    const markers = cases.flatMap(({ case_id: id, number, position, state }) => {
      if (!position) return [];
      const kinds = ["sos", `sos-${state === "in care" ? "care" : state}`, ...(id === selected ? ["selected"] : [])];
      return [putSign(map, { kinds, name: String(number), longitudeDeg: position.longitude, latitudeDeg: position.latitude })];
    });
    const bounds = new LngLatBounds();
    for (const marker of markers) bounds.extend(marker.getLngLat());
    if (cases.length === 0) for (const { longitude_deg: longitude, latitude_deg: latitude } of units) bounds.extend([longitude, latitude]);
    if (!fitted.current && !bounds.isEmpty()) {
      fitted.current = true; // once: afterwards the operator's own view stays
      map.fitBounds(bounds, { padding: 60, maxZoom: ZOOM.fitted, duration: 0 });
    }
    return () => {
      for (const marker of markers) marker.remove();
    };
  }, [map, cases, selected, units]);

  return (
    <div class="sos-map">
      <MapFigure built={built} />
    </div>
  );
}
