import { useEffect } from "preact/hooks";
import { t } from "../../i18n";
import type { RoutersShown } from "../api";
import { putSign, type Sign } from "../sky/sign";
import { MapFigure, useBaseMap } from "../sky/useBaseMap";
import { conditionOf } from "./condition";

const MARGIN_DEG = 3;

interface SitesMapProps {
  shown: RoutersShown;
  nowS: number;
  selectedId: string | null;
}

interface Station extends Sign {
  id: string;
}

function stationsOf(shown: RoutersShown, nowS: number): Station[] {
  const station = ({ device_id: id, display_name: name, state }: RoutersShown["sites"][number] | RoutersShown["gateways"][number], kind: string): Station[] =>
    state?.position ? [{ id, name, kinds: [kind], longitudeDeg: state.position.longitude_deg, latitudeDeg: state.position.latitude_deg }] : [];
  return [...shown.gateways.flatMap((each) => station(each, "gateway")), ...shown.sites.flatMap((each) => station(each, conditionOf(each, nowS)))];
}

/** Where sites and gateways are, and how they are; the table says the same. */
export default function SitesMap({ shown, nowS, selectedId }: SitesMapProps) {
  const stations = stationsOf(shown, nowS);
  const longitudes = stations.map(({ longitudeDeg }) => longitudeDeg);
  const latitudes = stations.map(({ latitudeDeg }) => latitudeDeg);
  const built = useBaseMap({
    label: t("sites.mapLabel"),
    bounds: [
      [Math.min(...longitudes) - MARGIN_DEG, Math.max(-80, Math.min(...latitudes) - MARGIN_DEG)],
      [Math.max(...longitudes) + MARGIN_DEG, Math.min(80, Math.max(...latitudes) + MARGIN_DEG)],
    ],
    maxZoom: 7.5,
  });
  const { map } = built;

  useEffect(() => {
    if (!map) return;
    const markers = stations.map((station) => putSign(map, station.id === selectedId ? { ...station, kinds: [...station.kinds, "selected"] } : station));
    return () => {
      for (const marker of markers) marker.remove();
    };
  }, [map, JSON.stringify(stations), selectedId]);

  return <MapFigure built={built} />;
}
