import { LngLatBounds } from "maplibre-gl";
import { useEffect, useRef } from "preact/hooks";
import { t } from "../../i18n";
import type { SosCase } from "../api";
import { putSign } from "../sky/sign";
import { ITALY, MapFigure, useBaseMap } from "../sky/useBaseMap";

const ZOOM = { min: 2, max: 12, fitted: 8 };

interface SosMapProps {
  cases: readonly SosCase[];
  selected: string | null;
}

/** Where the cases are. The list beside it says the same in words, so that nothing here has to be read aloud. */
export default function SosMap({ cases, selected }: SosMapProps) {
  const built = useBaseMap({ label: t("sos.map"), bounds: ITALY, minZoom: ZOOM.min, maxZoom: ZOOM.max });
  const { map } = built;
  const fitted = useRef(false);

  useEffect(() => {
    if (!map) return;
    const markers = cases.flatMap(({ case_id: id, number, position, state }) => {
      if (!position) return [];
      const kinds = ["sos", `sos-${state === "in care" ? "care" : state}`, ...(id === selected ? ["selected"] : [])];
      return [putSign(map, { kinds, name: String(number), longitudeDeg: position.longitude, latitudeDeg: position.latitude })];
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

  return (
    <div class="sos-map">
      <MapFigure built={built} />
    </div>
  );
}
