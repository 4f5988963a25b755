import type { GatewayShown, SiteShown } from "../api";

/** A site reports every 30 s: after three that did not come it is silent. */
const SILENT_AFTER_S = 95;

export type Condition = "carrying" | "blocked" | "silent" | "expected";

export function conditionOf(site: SiteShown, nowS: number): Condition {
  if (site.state === null) return "expected";
  if (nowS - site.state.received_at > SILENT_AFTER_S) return "silent";
  return site.state.tunnel === null ? "blocked" : "carrying";
}

export function gatewayIsSilent(gateway: GatewayShown, nowS: number): boolean {
  return gateway.state === null || nowS - gateway.state.received_at > SILENT_AFTER_S;
}

const WORST_FIRST: readonly Condition[] = ["blocked", "silent", "expected", "carrying"];

/** Those that somebody has to look at come first; then by name. */
export function inOrder(sites: readonly SiteShown[], nowS: number): SiteShown[] {
  const rank = new Map(sites.map((site) => [site.device_id, WORST_FIRST.indexOf(conditionOf(site, nowS))]));
  return [...sites].sort((a, b) => (rank.get(a.device_id) ?? 0) - (rank.get(b.device_id) ?? 0) || a.display_name.localeCompare(b.display_name));
}

/** Whether the name, unit, number or a network contains the words. */
export function matches(site: SiteShown, words: string): boolean {
  const text = [site.display_name, site.unit, String(site.number), ...site.networks].join(" ").toLowerCase();
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}
