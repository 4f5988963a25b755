import { useState } from "preact/hooks";
import { t } from "../../i18n";
import { Dialog } from "../../ui/Dialog";
import type { AccessOption, PhoneState } from "../model";
import { attempt, usePhone } from "./context";

type Access = NonNullable<PhoneState["access"]>;

/** Many places: a list of the platform, which every keyboard and screen reader knows. */
function PlaceChoice({ places, chosen, onChoose }: { places: AccessOption[]; chosen: string; onChoose: (id: string) => void }) {
  return (
    <div class="field">
      <label for="place">{t("access.place")}</label>
      <select id="place" class="input" value={chosen} onChange={(event) => onChoose(event.currentTarget.value)}>
        {places.map((place) => (
          <option key={place.id} value={place.id}>
            {place.detail ? `${place.name} · ${place.detail}` : place.name}
          </option>
        ))}
      </select>
    </div>
  );
}

/** Few carriers: each with its description in sight. */
function CarrierChoice({ carriers, chosen, onChoose }: { carriers: AccessOption[]; chosen: string; onChoose: (id: string) => void }) {
  return (
    <fieldset class="choice">
      <legend class="field-label">{t("access.carrier")}</legend>
      {carriers.map((carrier) => (
        <label key={carrier.id} class="choice-option">
          <input type="radio" name="carrier" value={carrier.id} checked={carrier.id === chosen} onChange={() => onChoose(carrier.id)} />
          <span>
            <span class="choice-name">{carrier.name}</span>
            {carrier.detail && <span class="quiet choice-detail">{carrier.detail}</span>}
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
          <PlaceChoice places={access.places} chosen={placeId} onChoose={setPlaceId} />
          <CarrierChoice carriers={access.carriers} chosen={carrierId} onChoose={setCarrierId} />
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
