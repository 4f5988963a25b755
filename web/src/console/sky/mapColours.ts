import type { MapColours } from "./baseMap";

export const MAP_COLOURS: Record<"light" | "dark", MapColours> = {
  light: { sea: "#cfdeec", land: "#f5f3ec", border: "#c9c4b6", coast: "#94a8bd", graticule: "#bccfe0" },
  dark: { sea: "#0a1422", land: "#18253a", border: "#2c3d58", coast: "#3d5373", graticule: "#14233a" },
};
