import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

export function hasWebGl(): boolean {
  try {
    return document.createElement("canvas").getContext("webgl2") !== null;
  } catch {
    return false;
  }
}

/** MapLibre is a megabyte: a page's map is fetched when there is something to show on it. */
export function useMapComponent<Props>(wanted: boolean, load: () => Promise<{ default: ComponentType<Props> }>): ComponentType<Props> | null {
  const [component, setComponent] = useState<{ map: ComponentType<Props> } | null>(null);
  useEffect(() => {
    if (wanted) void load().then((module) => setComponent({ map: module.default }));
  }, [wanted]);
  return component?.map ?? null;
}
