import { format, t } from "../../i18n";
import { useNow } from "../../ui/useNow";
import type { Link, Links, SkySummary } from "../api";

interface SkyTableProps {
  sky: SkySummary;
  links: Links;
  nowUnixS: () => number;
  selectedPlaceId: string | null;
  onSelect: (placeId: string | null) => void;
}

function Handover({ link, slotEndsInS }: { link: Link; slotEndsInS: number }) {
  if (link.next_satellite_index === link.satellite_index) return <span class="quiet">{t("sky.stays")}</span>;
  const time = format.seconds(Math.max(0, Math.ceil(slotEndsInS)));
  return <>{t(link.next_satellite_index === null ? "sky.endsIn" : "sky.handoverIn", { time })}</>;
}

/** The same facts as the map, for everyone: place, satellite, elevation, gateway, delay, next handover. */
export function SkyTable({ sky, links, nowUnixS, selectedPlaceId, onSelect }: SkyTableProps) {
  useNow(1000);
  const slotEndsInS = links.next_slot - nowUnixS();
  const byPlace = new Map(links.links.map((link) => [link.place_id, link]));
  const gatewayNames = new Map(sky.gateways.map((site) => [site.site_id, site.name]));
  return (
    <div class="table-scroll" role="region" aria-label={t("sky.tableLabel")} tabIndex={0}>
      <table class="table sky-table">
        <caption class="visually-hidden">{t("sky.tableLabel")}</caption>
        <thead>
          <tr>
            <th scope="col">{t("sky.place")}</th>
            <th scope="col">{t("sky.satellite")}</th>
            <th scope="col">{t("sky.elevation")}</th>
            <th scope="col">{t("sky.gateway")}</th>
            <th scope="col">{t("sky.delay")}</th>
            <th scope="col">{t("sky.handover")}</th>
          </tr>
        </thead>
        <tbody>
          {sky.places.map((place) => {
            const link = byPlace.get(place.place_id);
            const selected = place.place_id === selectedPlaceId;
            return (
              <tr key={place.place_id} class={selected ? "row-selected" : undefined}>
                <th scope="row">
                  <button
                    type="button"
                    class="row-button"
                    aria-pressed={selected}
                    onClick={() => onSelect(selected ? null : place.place_id)}
                  >
                    {place.name}
                  </button>
                </th>
                {!link || link.satellite_index === null ? (
                  <td colSpan={5} class="row-uncovered">
                    {t("sky.uncovered")}
                  </td>
                ) : (
                  <>
                    <td>{link.satellite}</td>
                    <td class="number">{link.elevation_deg === null ? t("sky.none") : format.degrees(link.elevation_deg)}</td>
                    <td>{(link.gateway_id !== null && gatewayNames.get(link.gateway_id)) || t("sky.none")}</td>
                    <td class="number">{link.one_way_delay_ms === null ? t("sky.none") : format.milliseconds(link.one_way_delay_ms)}</td>
                    <td class="number">
                      <Handover link={link} slotEndsInS={slotEndsInS} />
                    </td>
                  </>
                )}
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
