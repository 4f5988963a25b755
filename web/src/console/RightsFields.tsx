import { t } from "../i18n";
import { CEILINGS, type Ceiling, precedenceWord, ROLES, type Role } from "./rights";

const UNIT_MAX = 64;

/** What custodians are asked to certify. */
export interface Rights {
  unit: string;
  roles: readonly Role[];
  ceiling: Ceiling;
}

/** Unit, precedence and roles, as fields of a form. `id` tells two forms of one page apart. */
export function RightsFields({ id, rights, onChange }: { id: string; rights: Rights; onChange: (rights: Rights) => void }) {
  const { unit, roles, ceiling } = rights;
  return (
    <>
      <div class="field">
        <label for={`${id}-unit`}>{t("rights.unit")}</label>
        <input id={`${id}-unit`} class="input" type="text" maxLength={UNIT_MAX} autocomplete="off" value={unit} onInput={(event) => onChange({ ...rights, unit: event.currentTarget.value })} />
      </div>
      <div class="field">
        <label for={`${id}-ceiling`}>{t("rights.ceiling")}</label>
        <select id={`${id}-ceiling`} class="input" value={ceiling} onChange={(event) => onChange({ ...rights, ceiling: CEILINGS.find((known) => known === event.currentTarget.value) ?? "routine" })}>
          {CEILINGS.map((label) => (
            <option key={label} value={label}>
              {precedenceWord(label)}
            </option>
          ))}
        </select>
      </div>
      <fieldset class="choice roles">
        <legend class="field-label">{t("rights.roles")}</legend>
        {ROLES.map((role) => (
          <label key={role} class="role">
            <input
              type="checkbox"
              checked={roles.includes(role)}
              disabled={roles.length === 1 && roles.includes(role)}
              onChange={(event) => onChange({ ...rights, roles: event.currentTarget.checked ? [...roles, role] : roles.filter((other) => other !== role) })}
            />
            <span>{t(`rights.role.${role}`)}</span>
          </label>
        ))}
      </fieldset>
      <p class="field-hint">{t("invitations.rightsHint")}</p>
    </>
  );
}
