import { useLayoutEffect } from "preact/hooks";
import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { PassphraseForm } from "../../ui/PassphraseForm";
import { attempt, usePhone } from "./context";
import { Door } from "./Door";
import { Faults } from "./Faults";

/** A phone that is locked, and says nothing of whose it is. */
export function LockScreen() {
  const screen = usePhone();
  const { lock } = screen.engine.state.value;

  useLayoutEffect(() => {
    document.getElementById("passphrase")?.focus();
  }, []);

  return (
    <Door title={t("lock.title")} lead={t("lock.lead")}>
      <Faults />
      <PassphraseForm
        id="passphrase"
        label={t("lock.passphrase")}
        action={t("lock.open")}
        working={lock.working}
        wrong={lock.wrong}
        retryAt={lock.retryAt}
        onPassphrase={(passphrase) => attempt(screen, screen.engine.unlock(passphrase))}
      />
      <p class="enrolment-promise quiet">
        <Icon name="lock" size={18} />
        <span>{t("lock.promise")}</span>
      </p>
    </Door>
  );
}
