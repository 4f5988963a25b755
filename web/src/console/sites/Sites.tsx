import { useMemo, useState } from "preact/hooks";
import { format, language, t } from "../../i18n";
import { useNow } from "../../ui/useNow";
import type { ConsoleApi, GatewayShown, RoutersShown, SiteDetails, SiteShown, SiteTunnel } from "../api";
import { CardTable } from "../CardTable";
import { ErrorNotice } from "../ErrorNotice";
import { useMapComponent } from "../sky/useMapComponent";
import { useLoaded } from "../useLoaded";
import { type Condition, conditionOf, gatewayIsSilent, inOrder, matches } from "./condition";

const REFRESH_MS = 4_000;
/** A longer list helps nobody: whoever has more sites searches. */
const MOST_ROWS = 200;
const BADGES: Record<Condition, string> = { carrying: "badge badge-good", blocked: "badge badge-danger", silent: "badge badge-warn", expected: "badge" };
const CONDITIONS: readonly Condition[] = ["carrying", "blocked", "silent", "expected"];

interface Names {
  carrier: (id: string | null) => string;
  gateway: (id: string) => string;
}

function namesOf(shown: RoutersShown): Names {
  const carriers = new Map(shown.carriers.map((each) => [each.carrier_id, each.name]));
  const gateways = new Map(shown.gateways.map((each) => [each.device_id, each.display_name]));
  return {
    carrier: (id) => (id === null ? t("sites.nothing") : (carriers.get(id) ?? id)),
    gateway: (id) => gateways.get(id) ?? id.slice(0, 8),
  };
}

function inWords(words: { en: string; it: string }): string {
  return words[language.value];
}

function age(seconds: number | null): string {
  return seconds === null ? "–" : format.duration(seconds);
}

function delay(tunnel: SiteTunnel | null): string {
  return tunnel?.delay_ms == null ? "–" : format.milliseconds(tunnel.delay_ms);
}

function loss(tunnel: SiteTunnel | null): string {
  return tunnel?.loss == null ? "–" : format.percent(tunnel.loss);
}

function Details({ api, site, names, nowS }: { api: ConsoleApi; site: SiteShown; names: Names; nowS: number }) {
  const { value, error } = useLoaded<SiteDetails>(() => api.siteDetails(site.device_id), REFRESH_MS);
  return (
    <section class="card site-details" aria-label={t("sites.detailsOf", { name: site.display_name })}>
      <h2>{site.display_name}</h2>
      <p class="quiet">{t("sites.numberAndNetworks", { number: site.number, networks: site.networks.join(", ") })}</p>
      {site.state?.blocked && conditionOf(site, nowS) === "blocked" && <p class="notice notice-warn">{t("sites.blockedBecause", { reason: inWords(site.state.blocked) })}</p>}
      {error && <ErrorNotice error={error} />}
      {value && (
        <>
          <h3>{t("sites.tunnels")}</h3>
          <CardTable label={t("sites.tunnelsOf", { name: site.display_name })} heads={[t("sites.carrier"), t("sites.gateway"), t("sites.state"), t("sites.delay"), t("sites.loss"), t("sites.keyAge"), t("sites.sessionAge")]}>
            {value.tunnels.map((tunnel) => (
              <tr key={`${tunnel.gateway_id}${tunnel.uplink}`}>
                <th scope="row">{names.carrier(tunnel.carrier_id)}</th>
                <td>{names.gateway(tunnel.gateway_id)}</td>
                <td>
                  <span class={tunnel.up ? "badge badge-good" : "badge badge-warn"}>{t(tunnel.up ? "sites.up" : "sites.down")}</span>
                </td>
                <td class="number">{delay(tunnel)}</td>
                <td class="number">{loss(tunnel)}</td>
                <td class="number">{age(tunnel.key_age_s)}</td>
                <td class="number">{age(tunnel.handshake_age_s)}</td>
              </tr>
            ))}
          </CardTable>
          <h3>{t("sites.history")}</h3>
          {value.switches.length === 0 && <p class="quiet">{t("sites.noHistory")}</p>}
          <ol class="site-history">
            {value.switches.map((each) => (
              <li key={each.at}>
                <time class="figures quiet">{format.clockWithSeconds(each.at * 1000)}</time>{" "}
                {t("sites.fromTo", { before: names.carrier(each.before), after: names.carrier(each.after) })}
                <span class="quiet"> {inWords(each.reason)}</span>
              </li>
            ))}
          </ol>
        </>
      )}
    </section>
  );
}

function Row({ site, names, nowS, isOpen, onToggle }: { site: SiteShown; names: Names; nowS: number; isOpen: boolean; onToggle: () => void }) {
  const condition = conditionOf(site, nowS);
  const state = condition === "expected" ? null : site.state;
  const tunnel = condition === "carrying" ? (state?.tunnel ?? null) : null;
  return (
    <tr class={isOpen ? "row-selected" : undefined}>
      <th scope="row">
        <button type="button" class="row-button" aria-expanded={isOpen} onClick={onToggle}>
          {site.display_name}
        </button>
        {site.unit && <span class="quiet"> {site.unit}</span>}
      </th>
      <td>
        <span class={BADGES[condition]}>{t(`sites.condition.${condition}`)}</span>
      </td>
      <td class="site-carrier">{tunnel ? names.carrier(tunnel.carrier_id) : condition === "blocked" && state?.blocked ? inWords(state.blocked) : "–"}</td>
      <td class="number">{delay(tunnel)}</td>
      <td class="number">{loss(tunnel)}</td>
      <td class="number">{state ? t("sites.ofTunnels", { up: state.tunnels_up, all: state.tunnels }) : "–"}</td>
      <td class="number">{age(tunnel?.key_age_s ?? null)}</td>
      <td class="number">{age(tunnel?.handshake_age_s ?? null)}</td>
      <td>{tunnel ? names.gateway(tunnel.gateway_id) : "–"}</td>
      <td class="number">{state ? t("sites.ago", { time: format.duration(Math.max(0, nowS - state.received_at)) }) : "–"}</td>
    </tr>
  );
}

function Gateway({ gateway, sites, nowS, logSize }: { gateway: GatewayShown; sites: readonly SiteShown[]; nowS: number; logSize: number }) {
  const silent = gatewayIsSilent(gateway, nowS);
  const behind = gateway.state !== null && gateway.state.log_size < logSize;
  return (
    <li class="card gateway-card">
      <div class="sky-card-head">
        <h3>{gateway.display_name}</h3>
        <span class={silent ? "badge badge-warn" : "badge badge-good"}>{t(silent ? "sites.condition.silent" : "sites.gatewayAnswers")}</span>
      </div>
      <p class="quiet">{t("sites.gatewayAt", { number: gateway.number, address: [gateway.address, gateway.address_6].filter(Boolean).join(", ") })}</p>
      {gateway.state && <p>{t("sites.connected", { count: gateway.state.sites })}</p>}
      {gateway.state?.fault && <p class="notice notice-warn">{gateway.state.fault}</p>}
      {behind && <p class="quiet">{t("sites.logBehind", { has: gateway.state?.log_size ?? 0, all: logSize })}</p>}
      {sites.length > 0 && (
        <details>
          <summary>{t("sites.carriesFor", { count: sites.length })}</summary>
          <ul class="gateway-sites">
            {sites.slice(0, MOST_ROWS).map((site) => (
              <li key={site.device_id}>{site.display_name}</li>
            ))}
          </ul>
        </details>
      )}
    </li>
  );
}

/** Sites and gateways: what carries, how well, what is blocked and why. The map adds nothing that the lists do not say. */
export function Sites({ api }: { api: ConsoleApi }) {
  const { value: shown, error } = useLoaded(() => api.routers(), REFRESH_MS);
  const [words, setWords] = useState("");
  const [only, setOnly] = useState<Condition | "">("");
  const [openId, setOpenId] = useState<string | null>(null);
  useNow(1000);
  const nowS = api.nowS();
  const names = useMemo(() => (shown ? namesOf(shown) : null), [shown, language.value]);
  const SitesMap = useMapComponent(shown?.sites.some((site) => site.state?.position) ?? false, () => import("./SitesMap"));
  const found = shown ? inOrder(shown.sites, nowS).filter((site) => matches(site, words) && (only === "" || conditionOf(site, nowS) === only)) : [];
  const open = found.find((site) => site.device_id === openId);
  const counts = CONDITIONS.map((condition) => [condition, shown?.sites.filter((site) => conditionOf(site, nowS) === condition).length ?? 0] as const);
  return (
    <div class="page">
      <h1>{t("console.view.sites")}</h1>
      {error && <ErrorNotice error={error} />}
      {shown && (
        <p role="status">
          {counts
            .filter(([, count]) => count > 0)
            .map(([condition, count]) => t(`sites.count.${condition}`, { count }))
            .join(" · ") || t("sites.empty")}
        </p>
      )}
      {SitesMap && shown && (
        <div class="sites-map">
          <SitesMap shown={shown} nowS={nowS} selectedId={openId} />
        </div>
      )}
      {shown && names && shown.sites.length > 0 && (
        <>
          <div class="site-search">
            <div class="field">
              <label for="site-words">{t("sites.search")}</label>
              <input id="site-words" class="input" type="search" autocomplete="off" value={words} onInput={(event) => setWords(event.currentTarget.value)} />
            </div>
            <div class="field">
              <label for="site-condition">{t("sites.state")}</label>
              <select id="site-condition" class="input" value={only} onChange={(event) => setOnly(CONDITIONS.find((each) => each === event.currentTarget.value) ?? "")}>
                <option value="">{t("sites.all")}</option>
                {CONDITIONS.map((condition) => (
                  <option key={condition} value={condition}>
                    {t(`sites.condition.${condition}`)}
                  </option>
                ))}
              </select>
            </div>
          </div>
          <CardTable
            label={t("sites.list")}
            heads={[t("sites.site"), t("sites.state"), t("sites.carrierOrReason"), t("sites.delay"), t("sites.loss"), t("sites.tunnels"), t("sites.keyAge"), t("sites.sessionAge"), t("sites.gateway"), t("sites.heard")]}
          >
            {found.slice(0, MOST_ROWS).map((site) => (
              <Row key={site.device_id} site={site} names={names} nowS={nowS} isOpen={site.device_id === openId} onToggle={() => setOpenId(site.device_id === openId ? null : site.device_id)} />
            ))}
          </CardTable>
          {found.length > MOST_ROWS && <p class="quiet">{t("sites.more", { count: found.length - MOST_ROWS })}</p>}
          {found.length === 0 && <p class="quiet">{t("sites.noneFound")}</p>}
          {open && <Details key={open.device_id} api={api} site={open} names={names} nowS={nowS} />}
        </>
      )}
      {shown && (
        <>
          <h2>{t("sites.gateways")}</h2>
          {shown.gateways.length === 0 && <p class="quiet">{t("sites.noGateways")}</p>}
          <ul class="gateway-cards">
            {shown.gateways.map((gateway) => (
              <Gateway
                key={gateway.device_id}
                gateway={gateway}
                nowS={nowS}
                logSize={shown.log_size}
                sites={shown.sites.filter((site) => conditionOf(site, nowS) === "carrying" && site.state?.tunnel?.gateway_id === gateway.device_id)}
              />
            ))}
          </ul>
        </>
      )}
    </div>
  );
}
