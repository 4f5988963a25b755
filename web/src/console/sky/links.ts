import type { Link, SkySummary } from "../api";
import { groundVector } from "./positions";
import type { DrawnLink } from "./satelliteCanvas";

/** What the map draws for the links of one slot. Places without coverage have nothing to draw. */
export function drawnLinks(sky: SkySummary, links: readonly Link[], selectedPlaceId: string | null): DrawnLink[] {
  const gateways = new Map(sky.gateways.map((site) => [site.site_id, groundVector(site.latitude_deg, site.longitude_deg)]));
  const places = new Map(sky.places.map((place) => [place.place_id, groundVector(place.latitude_deg, place.longitude_deg)]));
  return links.flatMap((link) => {
    const place = places.get(link.place_id);
    if (link.satellite_index === null || !place) return [];
    const gateway = (link.gateway_id !== null && gateways.get(link.gateway_id)) || null;
    return [{ satellite: link.satellite_index, place, gateway, selected: link.place_id === selectedPlaceId }];
  });
}

/** Satellites that serve a place now which another served in the slot before. */
export function takenOver(before: readonly Link[], now: readonly Link[]): number[] {
  const earlier = new Map(before.map((link) => [link.place_id, link.satellite_index]));
  return now.flatMap((link) => {
    const was = earlier.get(link.place_id);
    return link.satellite_index !== null && was !== undefined && was !== link.satellite_index ? [link.satellite_index] : [];
  });
}
