import { format, t } from "../i18n";
import type { Account, CertificateRequest, ConsoleApi } from "./api";
import { CardTable } from "./CardTable";
import { ErrorNotice } from "./ErrorNotice";
import { Identifiers } from "./Identifiers";
import { precedenceWord } from "./rights";
import { useLoaded } from "./useLoaded";

const REFRESH_MS = 3_000;
const COMMANDS = "tramontana custodian list; tramontana custodian approve REQUEST";

interface Shown {
  requests: CertificateRequest[];
  accounts: Account[];
}

/** Whose device it is: custodians approve with theirs. */
function ownerOf(deviceId: string, accounts: readonly Account[]): string {
  return accounts.find((account) => account.devices.some((device) => device.device_id === deviceId))?.display_name ?? deviceId.slice(0, 8);
}

function Progress({ request, accounts }: { request: CertificateRequest; accounts: Account[] }) {
  const names = request.approvals.map(({ device_id }) => ownerOf(device_id, accounts));
  const missing = Math.max(0, request.approvals_needed - names.length);
  return (
    <ul class="approvals">
      {names.map((name, i) => (
        <li key={request.approvals[i]?.device_id}>
          <span class="badge badge-good">{t("approvals.by", { name })}</span>
        </li>
      ))}
      {missing > 0 && (
        <li>
          <span class="badge badge-warn">{t("approvals.missing", { count: missing })}</span>
        </li>
      )}
    </ul>
  );
}

/** Who waits to be let in. The console shows it; custodians approve with their own devices, whose keys are not here. */
export function Approvals({ api }: { api: ConsoleApi }) {
  const { value, error } = useLoaded(async (): Promise<Shown> => {
    const [requests, accounts] = await Promise.all([api.requests(), api.accounts()]);
    return { requests, accounts };
  }, REFRESH_MS);
  const codeOf = (deviceId: string): string =>
    value?.accounts.flatMap(({ devices }) => devices).find((device) => device.device_id === deviceId)?.device_code ?? "";
  return (
    <div class="page">
      <h1>{t("console.view.approvals")}</h1>
      <p class="quiet">{t("approvals.lead")}</p>
      <p>
        <code>{COMMANDS}</code>
      </p>
      {error && <ErrorNotice error={error} />}
      {value?.requests.length === 0 && <p class="quiet">{t("approvals.empty")}</p>}
      {value && value.requests.length > 0 && (
        <CardTable
          label={t("approvals.list")}
          heads={[t("people.name"), t("rights.unit"), t("rights.roles"), t("rights.ceiling"), t("approvals.code"), t("approvals.since"), t("approvals.progress")]}
        >
          {value.requests.map((request) => (
            <tr key={request.request_id}>
              <th scope="row">
                {request.display_name} <span class="quiet">{t(request.kind === "change" ? "approvals.change" : request.further_device ? "approvals.further" : "approvals.new")}</span>
              </th>
              <td>{request.unit}</td>
              <td>{request.roles.map((role) => t(`rights.role.${role}`)).join(", ")}</td>
              <td>{precedenceWord(request.precedence_ceiling)}</td>
              <td class="device-code-cell">
                <code class="nowrap">{codeOf(request.device_id)}</code>
                <Identifiers text={request.device_id} />
              </td>
              <td class="nowrap">{format.dayAndClock(request.created_at * 1000)}</td>
              <td>
                <Progress request={request} accounts={value.accounts} />
              </td>
            </tr>
          ))}
        </CardTable>
      )}
    </div>
  );
}
