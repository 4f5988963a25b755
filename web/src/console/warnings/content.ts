// What a warning says, as it is written and read here. The octets that are signed are the JSON of it.

import type { Schemas } from "../../api/client";
import { fromBase64, fromUtf8 } from "../../keys/bytes";

export type Content = Schemas["Content"];
export type Level = Content["level"];
export type Point = [number, number];

export const LEVELS: readonly Level[] = ["always-on", "level-1", "level-2", "level-3"];

export function readContent(warning: { content: string }): Content {
  return JSON.parse(fromUtf8(fromBase64(warning.content))) as Content;
}

/** Points written one a line, latitude first; null if a line is none. */
export function parsePoints(text: string): Point[] | null {
  const points: Point[] = [];
  for (const line of text.split("\n").map((each) => each.trim())) {
    if (line === "") continue;
    const parts = line.split(/[\s,;]+/).map(Number);
    const [latitude, longitude] = parts;
    if (parts.length !== 2 || latitude === undefined || longitude === undefined || !(Math.abs(latitude) <= 90) || !(Math.abs(longitude) <= 180)) return null;
    points.push([latitude, longitude]);
  }
  return points;
}

export function writePoints(points: readonly Point[]): string {
  return points.map(([latitude, longitude]) => `${latitude.toFixed(4)}, ${longitude.toFixed(4)}`).join("\n");
}
