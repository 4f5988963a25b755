import { useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { announce } from "../../ui/Announcer";
import { Dialog } from "../../ui/Dialog";
import { Icon } from "../../ui/icons";
import type { PassphraseFault } from "../model";
import { attempt, usePhone } from "./context";
import { QuietSwitch } from "./MissedCalls";

const IDLE_MINUTES = [1, 5, 15, 60, 0] as const;

interface NewPassphraseProps {
  /** Prefix of ids and of words in the catalogue. */
  name: "own" | "duress";
  save: (passphrase: string) => Promise<PassphraseFault>;
}

/** A passphrase, typed twice. */
function NewPassphrase({ name, save }: NewPassphraseProps) {
  const screen = usePhone();
  const [first, setFirst] = useState("");
  const [second, setSecond] = useState("");
  const [fault, setFault] = useState<PassphraseFault | "different" | "saved">(null);
  const [working, setWorking] = useState(false);
  const wrong = fault !== null && fault !== "saved";

  const submit = (event: Event) => {
    event.preventDefault();
    if (first !== second) {
      setFault("different");
      return;
    }
    setWorking(true);
    attempt(
      screen,
      save(first)
        .then((refused) => {
          setFault(refused ?? "saved");
          if (refused !== null) return;
          announce(t("protection.saved"));
          setFirst("");
          setSecond("");
        })
        .finally(() => setWorking(false)),
    );
  };

  const field = (id: string, label: string, value: string, set: (value: string) => void) => (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        class="input"
        type="password"
        autocomplete="new-password"
        readOnly={working}
        value={value}
        aria-invalid={wrong}
        aria-describedby={wrong ? `${name}-fault` : undefined}
        onInput={(event) => set(event.currentTarget.value)}
      />
    </div>
  );

  return (
    <form class="protection-passphrase" onSubmit={submit} noValidate aria-busy={working}>
      {field(`${name}-first`, t(`protection.${name}.first`), first, setFirst)}
      {field(`${name}-second`, t("protection.again"), second, setSecond)}
      {wrong && (
        <p id={`${name}-fault`} class="field-error" role="alert">
          <Icon name="warning" size={18} />
          {t(`protection.fault.${fault}`)}
        </p>
      )}
      {fault === "saved" && (
        <p class="badge badge-good">
          <Icon name="check" size={16} />
          {t("protection.saved")}
        </p>
      )}
      <button type="submit" class="button" disabled={working || first === ""}>
        {t(working ? "protection.working" : `protection.${name}.save`)}
      </button>
    </form>
  );
}

/** How this phone is protected when it is lost, stolen or opened under threat. */
export function ProtectionDialog() {
  const screen = usePhone();
  const { engine } = screen;
  const { lock, ownDevices, organisation } = engine.state.value;
  const [sure, setSure] = useState(false);
  const close = () => {
    screen.protectionOpen.value = false;
  };
  return (
    <Dialog labelledBy="protection-title" class="protection" onDismiss={close}>
      <div class="protection-head">
        <h2 id="protection-title">{t("protection.title")}</h2>
        <button type="button" class="button button-icon" aria-label={t("protection.close")} onClick={close}>
          <Icon name="close" />
        </button>
      </div>
      <QuietSwitch />
      <section aria-labelledby="protection-own">
        <h3 id="protection-own">{t("protection.own.title")}</h3>
        <p class="quiet">{t(lock.sealed ? "protection.own.sealed" : "protection.own.unsealed")}</p>
        {lock.sealed && (
          <>
            <button type="button" class="button button-primary" onClick={() => attempt(screen, engine.lock())}>
              <Icon name="lock" size={20} />
              {t("protection.lockNow")}
            </button>
            <div class="field">
              <label for="idle">{t("protection.idle")}</label>
              <select
                id="idle"
                class="input"
                value={String(lock.idleMinutes)}
                aria-describedby="idle-hint"
                onChange={(event) => attempt(screen, engine.setIdleMinutes(Number(event.currentTarget.value)))}
              >
                {IDLE_MINUTES.map((minutes) => (
                  <option key={minutes} value={String(minutes)}>
                    {minutes === 0 ? t("protection.never") : t("protection.minutes", { count: minutes })}
                  </option>
                ))}
              </select>
              <p id="idle-hint" class="field-hint">
                {t("protection.idleHint")}
              </p>
            </div>
          </>
        )}
        <details open={!lock.sealed}>
          <summary>{t(lock.sealed ? "protection.own.change" : "protection.own.set")}</summary>
          <NewPassphrase name="own" save={(passphrase) => engine.setPassphrase(passphrase)} />
        </details>
      </section>
      {lock.sealed && (
        <section aria-labelledby="protection-duress">
          <h3 id="protection-duress">{t("protection.duress.title")}</h3>
          <p class="quiet">{t("protection.duress.lead")}</p>
          <details>
            <summary>{t("protection.duress.set")}</summary>
            <NewPassphrase name="duress" save={(passphrase) => engine.setDuressPassphrase(passphrase)} />
          </details>
        </section>
      )}
      {ownDevices.length > 0 && organisation !== null && (
        <section aria-labelledby="protection-devices">
          <h3 id="protection-devices">{t("protection.devices.title", { organisation: organisation.name })}</h3>
          <ul class="own-devices">
            {ownDevices.map((device) => (
              <li key={device.deviceId}>
                <Icon name={device.revoked ? "warning" : "handset"} size={18} />
                <span>
                  {t(device.revoked ? "protection.devices.revoked" : device.me ? "protection.devices.me" : "protection.devices.other", {
                    device: device.deviceId.slice(0, 8),
                    since: format.recent(device.since, Date.now()),
                  })}
                </span>
              </li>
            ))}
          </ul>
          <p class="field-hint">{t("protection.devices.hint")}</p>
          <p class="quiet">
            {t("protection.devices.log")} <code>{organisation.logHead}</code>
          </p>
        </section>
      )}
      <section aria-labelledby="protection-zeroise">
        <h3 id="protection-zeroise">{t("protection.zeroise.title")}</h3>
        <p class="quiet">{t("protection.zeroise.lead")}</p>
        {sure ? (
          <div class="dialog-actions">
            <button type="button" class="button" onClick={() => setSure(false)}>
              {t("protection.zeroise.keep")}
            </button>
            <button type="button" class="button button-danger" onClick={() => attempt(screen, engine.zeroise())}>
              {t("protection.zeroise.sure")}
            </button>
          </div>
        ) : (
          <button type="button" class="button" onClick={() => setSure(true)}>
            {t("protection.zeroise.ask")}
          </button>
        )}
      </section>
    </Dialog>
  );
}
