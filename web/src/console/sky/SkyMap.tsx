import { type Map as MapLibreMap, MercatorCoordinate } from "maplibre-gl";
import { useEffect, useState } from "preact/hooks";
import { t } from "../../i18n";
import type { SkySummary } from "../api";
import type { Scheme } from "./baseMap";
import type { PositionTrack } from "./positions";
import { type Colour, type DrawnLink, SatelliteCanvas, type SatelliteColours } from "./satelliteCanvas";
import { putSign } from "./sign";
import { type Bounds, MapFigure, scheme, useBaseMap } from "./useBaseMap";

/** The central Mediterranean, from Gibraltar to the Levant. */
const MEDITERRANEAN: Bounds = [
  [-6, 30],
  [32, 48],
];
/** Width of the world at zoom 0, as MapLibre counts. */
const TILE_PX = 512;
const ZOOM = { min: 0.6, max: 7.5, place: 5 };
const MOTION = matchMedia("(prefers-reduced-motion: reduce)");

const SATELLITE_COLOURS: Record<Scheme, SatelliteColours> = {
  light: {
    satellite: [0.13, 0.23, 0.38, 0.85],
    serving: [0.04, 0.35, 0.68, 1],
    userLink: [0.04, 0.35, 0.68, 0.85],
    feederLink: [0.54, 0.32, 0, 0.8],
  },
  dark: {
    satellite: [0.78, 0.86, 0.96, 0.85],
    serving: [0.49, 0.75, 1, 1],
    userLink: [0.49, 0.75, 1, 0.85],
    feederLink: [0.95, 0.75, 0.38, 0.75],
  },
};

interface Placed {
  element: HTMLElement;
  at: [number, number];
}

const LABEL = { characterPx: 7.2, leftPx: 9, heightPx: 18 };

/** Names that would cover another stay hidden; their dots stay, and zooming in brings them back. Earlier signs win. */
function declutter(map: MapLibreMap, signs: readonly Placed[]): void {
  const taken: { left: number; right: number; top: number; bottom: number }[] = [];
  const inOrder = [...signs].sort((a, b) => Number(b.element.matches(".sign-selected")) - Number(a.element.matches(".sign-selected")));
  for (const { element, at } of inOrder) {
    const { x, y } = map.project(at);
    const width = LABEL.leftPx + (element.textContent?.length ?? 0) * LABEL.characterPx;
    const box = { left: x - LABEL.leftPx, right: x + width, top: y - LABEL.heightPx / 2, bottom: y + LABEL.heightPx / 2 };
    const free = taken.every((other) => box.right < other.left || box.left > other.right || box.bottom < other.top || box.top > other.bottom);
    element.classList.toggle("sign-crowded", !free);
    if (free) taken.push(box);
  }
}

interface Scene {
  map: MapLibreMap;
  satellites: SatelliteCanvas;
  /** By place id. */
  signs: Map<string, HTMLElement>;
  tidy: () => void;
}

/** Satellites above the map, and its places, gateways and points of presence. */
function build(map: MapLibreMap, sky: SkySummary, nowUnixS: () => number, onLost: () => void): Scene {
  const camera = () => ({ ...MercatorCoordinate.fromLngLat(map.getCenter()), worldPx: TILE_PX * 2 ** map.getZoom() });
  const satellites = new SatelliteCanvas(camera, nowUnixS, () => MOTION.matches, SATELLITE_COLOURS[scheme()]);
  satellites.element.className = "map-satellites";
  satellites.element.setAttribute("aria-hidden", "true");
  satellites.element.addEventListener("webglcontextlost", onLost);
  map.getCanvas().after(satellites.element); // above the map, below the names
  satellites.resize();
  map.on("resize", () => satellites.resize());
  map.on("move", () => satellites.draw());
  const all: Placed[] = [];
  const signs = new Map<string, HTMLElement>();
  const put = (kind: "place" | "gateway" | "pop", { name, longitude_deg: longitudeDeg, latitude_deg: latitudeDeg }: { name: string; longitude_deg: number; latitude_deg: number }): HTMLElement => {
    const element = putSign(map, { kinds: [kind], name, longitudeDeg, latitudeDeg }).getElement();
    all.push({ element, at: [longitudeDeg, latitudeDeg] });
    return element;
  };
  for (const place of sky.places) signs.set(place.place_id, put("place", place));
  for (const site of sky.gateways) put("gateway", site);
  for (const site of sky.points_of_presence) put("pop", site);
  const tidy = () => declutter(map, all);
  map.on("moveend", tidy);
  map.on("resize", tidy);
  tidy();
  return { map, satellites, signs, tidy };
}

function toCss([r, g, b]: Colour): string {
  return `rgb(${r * 255} ${g * 255} ${b * 255})`;
}

/** Key to the drawing, in words and in the colours that the canvas uses. */
function Legend({ colours }: { colours: SatelliteColours }) {
  const swatch = (colour: Colour, dashes: string | undefined) => (
    <svg width="28" height="10" viewBox="0 0 28 10" aria-hidden="true">
      <line x1="1" y1="5" x2="27" y2="5" stroke={toCss(colour)} stroke-width="2.5" stroke-dasharray={dashes} />
    </svg>
  );
  const dot = (colour: Colour, ring: boolean) => (
    <svg width="20" height="20" viewBox="0 0 20 20" aria-hidden="true">
      <circle cx="10" cy="10" r={ring ? 4 : 3} fill={toCss(colour)} />
      {ring && <circle cx="10" cy="10" r="8" fill="none" stroke={toCss(colour)} stroke-width="1.75" />}
    </svg>
  );
  return (
    <ul class="legend">
      <li>
        {dot(colours.satellite, false)} {t("sky.legend.satellite")}
      </li>
      <li>
        {dot(colours.serving, true)} {t("sky.legend.serving")}
      </li>
      <li>
        {swatch(colours.userLink, undefined)} {t("sky.legend.userLink")}
      </li>
      <li>
        {swatch(colours.feederLink, "5 3")} {t("sky.legend.feederLink")}
      </li>
    </ul>
  );
}

interface SkyMapProps {
  sky: SkySummary;
  track: PositionTrack | null;
  links: readonly DrawnLink[];
  /** Satellites that took over a place just now; a new array for each slot. */
  tookOver: readonly number[];
  selectedPlaceId: string | null;
  /** Places with somebody in a call. */
  talkingPlaceIds: ReadonlySet<string>;
  nowUnixS: () => number;
}

/** The map. It adds to the table and says nothing that the table does not say. */
export default function SkyMap({ sky, track, links, tookOver, selectedPlaceId, talkingPlaceIds, nowUnixS }: SkyMapProps) {
  const [scene, setScene] = useState<Scene | null>(null);
  const subject = sky.places.map((place) => place.place_id).join();
  const built = useBaseMap({ label: t("sky.mapLabel"), bounds: MEDITERRANEAN, minZoom: ZOOM.min, maxZoom: ZOOM.max, subject });
  const { map, lost } = built;

  useEffect(() => {
    if (!map) return;
    const made = build(map, sky, nowUnixS, lost);
    setScene(made);
    return () => {
      made.satellites.remove();
      setScene(null);
    };
  }, [map]);

  useEffect(() => {
    if (track) scene?.satellites.setTrack(track);
  }, [scene, track]);
  useEffect(() => scene?.satellites.setLinks(links), [scene, links]);
  useEffect(() => {
    for (const satellite of tookOver) scene?.satellites.flash(satellite);
  }, [scene, tookOver]);
  useEffect(() => {
    for (const [placeId, element] of scene?.signs ?? []) element.classList.toggle("sign-talking", talkingPlaceIds.has(placeId));
  }, [scene, talkingPlaceIds]);
  useEffect(() => {
    if (!scene) return;
    for (const [placeId, element] of scene.signs) element.classList.toggle("sign-selected", placeId === selectedPlaceId);
    scene.tidy();
    const place = sky.places.find((each) => each.place_id === selectedPlaceId);
    if (!place) return;
    scene.map.easeTo({
      center: [place.longitude_deg, place.latitude_deg],
      zoom: Math.max(scene.map.getZoom(), ZOOM.place),
      duration: MOTION.matches ? 0 : 700,
    });
  }, [scene, selectedPlaceId]);

  return (
    <MapFigure built={built}>
      <Legend colours={SATELLITE_COLOURS[scheme()]} />
      <span class="quiet">{t("sky.attribution")}</span>
    </MapFigure>
  );
}
