import { useState } from "preact/hooks";
import { t } from "../i18n";
import { announce } from "../ui/Announcer";
import { Dialog } from "../ui/Dialog";
import type { Account, ConsoleApi } from "./api";
import { ErrorNotice } from "./ErrorNotice";
import { CEILINGS, ROLES } from "./rights";
import { type Rights, RightsFields } from "./RightsFields";

/** Asks custodians for new certificates of a person's devices: another precedence, unit or roles, or a renewal. They decide, not this form. */
export function ChangeRights({ api, account, onDone }: { api: ConsoleApi; account: Account; onDone: () => void }) {
  const devices = account.devices.filter(({ state }) => state === "certified" || state === "expired");
  const [rights, setRights] = useState<Rights>({
    unit: account.unit,
    roles: ROLES.filter((role) => account.roles.includes(role)),
    ceiling: CEILINGS.find((label) => label === account.precedence_ceiling) ?? "routine",
  });
  const [failure, setFailure] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);
  const needsTwo = CEILINGS.indexOf(rights.ceiling) >= CEILINGS.indexOf("immediate") || rights.roles.some((role) => role === "custodian" || role === "approver" || role === "archive");

  const ask = async () => {
    setBusy(true);
    setFailure(null);
    try {
      for (const { device_id } of devices) {
        await api.proposeChange({ device_id, display_name: account.display_name, unit: rights.unit.trim(), roles: [...rights.roles].sort(), precedence_ceiling: rights.ceiling });
      }
      announce(t("people.changeAsked", { name: account.display_name }));
      onDone();
    } catch (reason) {
      setFailure(reason instanceof Error ? reason : new Error(String(reason)));
      setBusy(false);
    }
  };
  return (
    <Dialog labelledBy="change-title" describedBy="change-text" onDismiss={onDone}>
      <h2 id="change-title">{t("people.changeTitle", { name: account.display_name })}</h2>
      <p id="change-text" class="quiet">
        {t("people.changeLead", { count: devices.length })}
      </p>
      <form
        class="change-rights"
        onSubmit={(event) => {
          event.preventDefault();
          void ask();
        }}
      >
        <RightsFields id="change" rights={rights} onChange={setRights} />
        <p role="status">{t(needsTwo ? "people.changeTwo" : "people.changeOne")}</p>
        {failure && <ErrorNotice error={failure} />}
        <div class="dialog-actions">
          <button type="button" class="button" onClick={onDone}>
            {t("people.changeCancel")}
          </button>
          <button type="submit" class="button button-primary" disabled={busy}>
            {t("people.changeAsk")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
