import { useEffect, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import { attempt, usePhone } from "./context";
import { Door } from "./Door";
import { Faults } from "./Faults";

const SECOND_MS = 1_000;

/** A phone that is locked, and says nothing of whose it is. */
export function LockScreen() {
  const screen = usePhone();
  const { lock } = screen.engine.state.value;
  const now = useNow(SECOND_MS);
  const [passphrase, setPassphrase] = useState("");
  const waitS = Math.max(0, Math.ceil((lock.retryAt - now) / SECOND_MS));

  useEffect(() => {
    document.getElementById("passphrase")?.focus();
  }, []);
  useEffect(() => {
    if (lock.wrong) setPassphrase("");
  }, [lock]);

  const submit = (event: Event) => {
    event.preventDefault();
    if (passphrase !== "" && waitS === 0) attempt(screen, screen.engine.unlock(passphrase));
  };

  return (
    <Door title={t("lock.title")} lead={t("lock.lead")}>
      <Faults />
      <form class="card enrolment-form" onSubmit={submit} noValidate aria-busy={lock.working}>
        <div class="field">
          <label for="passphrase">{t("lock.passphrase")}</label>
          <input
            id="passphrase"
            class="input"
            type="password"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            readOnly={lock.working}
            value={passphrase}
            aria-invalid={lock.wrong}
            aria-describedby={lock.wrong ? "passphrase-error" : undefined}
            onInput={(event) => setPassphrase(event.currentTarget.value)}
          />
          {lock.wrong && (
            <p id="passphrase-error" class="field-error" role="alert">
              <Icon name="warning" size={18} />
              {t(waitS > 0 ? "lock.wrongWait" : "lock.wrong", { wait: format.duration(waitS) })}
            </p>
          )}
        </div>
        <button type="submit" class="button button-primary" disabled={lock.working || waitS > 0}>
          {t(lock.working ? "lock.working" : "lock.open")}
        </button>
      </form>
      <p class="enrolment-promise quiet">
        <Icon name="lock" size={18} />
        <span>{t("lock.promise")}</span>
      </p>
    </Door>
  );
}
