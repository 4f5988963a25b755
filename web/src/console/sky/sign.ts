import { type Map as MapLibreMap, Marker } from "maplibre-gl";

export interface Sign {
  /** Kinds as the style sheet names them, for example `gateway` or `sos sos-care`. */
  kinds: readonly string[];
  name: string;
  longitudeDeg: number;
  latitudeDeg: number;
}

/** Puts a dot with its name on the map. What it says must stand beside the map as well: it is not read aloud. */
export function putSign(map: MapLibreMap, { kinds, name, longitudeDeg, latitudeDeg }: Sign): Marker {
  const element = document.createElement("div");
  element.className = ["sign", ...kinds.map((kind) => `sign-${kind}`)].join(" ");
  const [dot, label] = [document.createElement("span"), document.createElement("span")];
  dot.className = "sign-dot";
  label.className = "sign-name";
  label.textContent = name;
  element.append(dot, label);
  const marker = new Marker({ element }).setLngLat([longitudeDeg, latitudeDeg]).addTo(map);
  // MapLibre makes every marker an image with a name and a place in the order of focus
  for (const attribute of ["role", "aria-label", "tabindex"]) element.removeAttribute(attribute);
  element.setAttribute("aria-hidden", "true");
  return marker;
}
