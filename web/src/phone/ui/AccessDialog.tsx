import { useState } from "preact/hooks";
import { t } from "../../i18n";
import { Dialog } from "../../ui/Dialog";
import type { AccessOption, PhoneState } from "../model";
import { attempt, usePhone } from "./context";

type Access = NonNullable<PhoneState["access"]>;

function Choice(props: { name: string; legend: string; options: AccessOption[]; chosen: string; onChoose: (id: string) => void }) {
  return (
    <fieldset class="choice">
      <legend class="field-label">{props.legend}</legend>
      {props.options.map((option) => (
        <label key={option.id} class="choice-option">
          <input
            type="radio"
            name={props.name}
            value={option.id}
            checked={option.id === props.chosen}
            onChange={() => props.onChoose(option.id)}
          />
          <span>
            <span class="choice-name">{option.name}</span>
            {option.detail && <span class="quiet choice-detail">{option.detail}</span>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}

/** Where this phone is taken to be, and over which carrier it talks. Both are inputs of the simulation. */
export function AccessDialog({ access }: { access: Access }) {
  const screen = usePhone();
  const [placeId, setPlaceId] = useState(access.placeId);
  const [carrierId, setCarrierId] = useState(access.carrierId);
  const close = () => {
    screen.accessOpen.value = false;
  };
  return (
    <Dialog labelledBy="access-title" describedBy="access-lead" class="access" onDismiss={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          attempt(screen, screen.engine.chooseAccess(placeId, carrierId));
          close();
        }}
      >
        <h2 id="access-title">{t("access.title")}</h2>
        <p id="access-lead" class="quiet">
          {t("access.lead")}
        </p>
        <div class="access-choices">
          <Choice name="place" legend={t("access.place")} options={access.places} chosen={placeId} onChoose={setPlaceId} />
          <Choice name="carrier" legend={t("access.carrier")} options={access.carriers} chosen={carrierId} onChoose={setCarrierId} />
        </div>
        <div class="dialog-actions">
          <button type="button" class="button" onClick={close}>
            {t("access.cancel")}
          </button>
          <button type="submit" class="button button-primary">
            {t("access.apply")}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
