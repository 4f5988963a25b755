// The base map: countries of Natural Earth (public domain, by way of the world-atlas package), fetched from our own server.

import type { FeatureCollection } from "geojson";
import type { LayerSpecification, StyleSpecification } from "maplibre-gl";
import { feature, mesh } from "topojson-client";
import type { GeometryCollection, Topology } from "topojson-specification";
import countriesUrl from "world-atlas/countries-50m.json?url";

interface MapColours {
  sea: string;
  land: string;
  border: string;
  coast: string;
  graticule: string;
}

export type Scheme = "light" | "dark";

const COLOURS: Record<Scheme, MapColours> = {
  light: { sea: "#cfdeec", land: "#f5f3ec", border: "#c9c4b6", coast: "#94a8bd", graticule: "#bccfe0" },
  dark: { sea: "#0a1422", land: "#18253a", border: "#2c3d58", coast: "#3d5373", graticule: "#14233a" },
};

const GRATICULE_STEP_DEG = 10;
const MERCATOR_LIMIT_DEG = 85;

export interface BaseMap {
  land: FeatureCollection;
  borders: FeatureCollection;
  coasts: FeatureCollection;
  graticule: FeatureCollection;
}

function lines(coordinates: GeoJSON.Position[][]): FeatureCollection {
  return {
    type: "FeatureCollection",
    features: [{ type: "Feature", properties: {}, geometry: { type: "MultiLineString", coordinates } }],
  };
}

function graticule(): FeatureCollection {
  const drawn: GeoJSON.Position[][] = [];
  for (let longitude = -180; longitude <= 180; longitude += GRATICULE_STEP_DEG) {
    drawn.push([
      [longitude, -MERCATOR_LIMIT_DEG],
      [longitude, MERCATOR_LIMIT_DEG],
    ]);
  }
  for (let latitude = -80; latitude <= 80; latitude += GRATICULE_STEP_DEG) {
    drawn.push([
      [-180, latitude],
      [180, latitude],
    ]);
  }
  return lines(drawn);
}

/** A polygon that was cut at the date line has an edge there which is no coast. */
function isCut([a, b]: [GeoJSON.Position | undefined, GeoJSON.Position | undefined]): boolean {
  const atLimit = (p: GeoJSON.Position | undefined): boolean => Math.abs(p?.[0] ?? 0) > 179.99 || (p?.[1] ?? 0) < -84.99;
  return atLimit(a) && atLimit(b);
}

function withoutCuts(coordinates: GeoJSON.Position[][]): GeoJSON.Position[][] {
  return coordinates.flatMap((line) => {
    const pieces: GeoJSON.Position[][] = [[]];
    line.forEach((point, i) => {
      if (i > 0 && isCut([line[i - 1], point])) pieces.push([]);
      pieces.at(-1)?.push(point);
    });
    return pieces.filter((piece) => piece.length > 1);
  });
}

export async function loadBaseMap(): Promise<BaseMap> {
  const response = await fetch(countriesUrl);
  if (!response.ok) throw new Error(`base map: ${response.status}`);
  const topology = (await response.json()) as Topology<{ countries: GeometryCollection }>;
  const { countries } = topology.objects;
  return {
    // country by country: one polygon of a whole continent is more than the triangulation of a tile takes
    land: feature(topology, countries),
    borders: lines(mesh(topology, countries, (a, b) => a !== b).coordinates),
    coasts: lines(withoutCuts(mesh(topology, countries, (a, b) => a === b).coordinates)),
    graticule: graticule(),
  };
}

/** The layers below the satellites. No text: names are HTML, so that no font has to be fetched and they can be read aloud. */
function baseLayers(colours: MapColours): LayerSpecification[] {
  return [
    { id: "sea", type: "background", paint: { "background-color": colours.sea } },
    { id: "graticule", type: "line", source: "graticule", paint: { "line-color": colours.graticule, "line-width": 0.6 } },
    { id: "land", type: "fill", source: "land", paint: { "fill-color": colours.land, "fill-antialias": false } },
    { id: "borders", type: "line", source: "borders", paint: { "line-color": colours.border, "line-width": 0.8 } },
    { id: "coasts", type: "line", source: "coasts", paint: { "line-color": colours.coast, "line-width": 1 } },
  ];
}

export function baseStyle(map: BaseMap, scheme: Scheme): StyleSpecification {
  const source = (data: FeatureCollection) => ({ type: "geojson", data, maxzoom: 6, tolerance: 0.3 }) as const;
  return {
    version: 8,
    sources: {
      land: source(map.land),
      borders: source(map.borders),
      coasts: source(map.coasts),
      graticule: source(map.graticule),
    },
    layers: baseLayers(COLOURS[scheme]),
  };
}
