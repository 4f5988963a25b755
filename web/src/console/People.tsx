import { useState } from "preact/hooks";
import { format, t } from "../i18n";
import { Avatar } from "../ui/Avatar";
import type { Account, ConsoleApi } from "./api";
import { CardTable } from "./CardTable";
import { ChangeRights } from "./ChangeRights";
import { ErrorNotice } from "./ErrorNotice";
import { Identifiers } from "./Identifiers";
import { precedenceWord } from "./rights";
import { useLoaded } from "./useLoaded";

const REFRESH_MS = 5_000;
const REVOKE = "tramontana custodian revoke --reason REASON";
const UNFEDERATE = "tramontana custodian unfederate --reason REASON";

/** Whose guest somebody is, until when, and what a custodian types to end it for all guests of that organisation. */
function GuestNote({ guest }: { guest: NonNullable<Account["guest"]> }) {
  const { organisation, until, revoked, federation } = guest;
  return (
    <span class="guest">
      <span class={revoked ? "badge badge-warn" : "badge"}>{t("people.guest", { organisation })}</span>
      <span class="quiet">{revoked ? t("people.guestEnded") : t("people.until", { until: format.dayAndClock(until * 1000) })}</span>
      {!revoked && (
        <details>
          <summary>{t("people.guestCommand")}</summary>
          <p class="quiet">{t("people.guestAll", { organisation })}</p>
          <code class="fresh-link">{`${UNFEDERATE} ${federation}`}</code>
        </details>
      )}
    </span>
  );
}

export function People({ api }: { api: ConsoleApi }) {
  const { value: accounts, error } = useLoaded(() => api.accounts(), REFRESH_MS);
  const [toChange, setToChange] = useState<Account | null>(null);
  return (
    <div class="page">
      <h1>{t("console.view.people")}</h1>
      <p class="quiet">{t("people.revoke")}</p>
      {error && <ErrorNotice error={error} />}
      {accounts?.length === 0 && <p class="quiet">{t("people.empty")}</p>}
      {accounts && accounts.length > 0 && (
        <CardTable
          label={t("people.list")}
          heads={[t("people.name"), t("rights.unit"), t("rights.roles"), t("rights.ceiling"), t("people.presence"), t("people.since"), t("people.devices"), t("people.pending")]}
        >
          {accounts.map((account) => {
            const online = account.devices.some((device) => device.online);
            return (
              <tr key={account.account_id}>
                <th scope="row">
                  <span class="person">
                    <Avatar name={account.display_name} />
                    {account.display_name}
                  </span>
                  {account.guest && <GuestNote guest={account.guest} />}
                </th>
                <td>{account.unit}</td>
                <td>{account.roles.map((role) => t(`rights.role.${role}`)).join(", ")}</td>
                <td>
                  {precedenceWord(account.precedence_ceiling)}
                  {account.devices.some(({ state }) => state === "certified" || state === "expired") && (
                    <button type="button" class="button button-small" aria-label={t("people.changeWhich", { name: account.display_name })} onClick={() => setToChange(account)}>
                      {t("people.change")}
                    </button>
                  )}
                </td>
                <td>
                  <span class={online ? "badge badge-good" : "badge"}>{t(online ? "presence.online" : "presence.offline")}</span>
                </td>
                <td>{format.dayAndClock(account.created_at * 1000)}</td>
                <td>
                  {account.devices.map((device) => (
                    <div key={device.device_id} class="device">
                      <Identifiers text={device.device_id} />
                      <span class={device.state === "certified" ? "badge badge-good" : "badge badge-warn"}>{t(`people.state.${device.state}`)}</span>
                      {device.state === "pending" && <code class="nowrap">{device.device_code}</code>}
                      {device.state === "certified" && device.not_after !== null && (
                        <span class="quiet">{t("people.until", { until: format.dayAndClock(device.not_after * 1000) })}</span>
                      )}
                      {(device.state === "certified" || device.state === "expired") && (
                        <details>
                          <summary>{t("people.command")}</summary>
                          <code class="fresh-link">{`${REVOKE} ${device.device_id}`}</code>
                        </details>
                      )}
                    </div>
                  ))}
                </td>
                <td class="number">{format.integer(account.devices.reduce((sum, device) => sum + device.pending, 0))}</td>
              </tr>
            );
          })}
        </CardTable>
      )}
      {toChange && <ChangeRights api={api} account={toChange} onDone={() => setToChange(null)} />}
    </div>
  );
}
