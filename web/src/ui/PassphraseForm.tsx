import { useEffect, useState } from "preact/hooks";
import { format, t } from "../i18n";
import { Icon } from "./icons";
import { useNow } from "./useNow";

const SECOND_MS = 1_000;

interface PassphraseFormProps {
  id: string;
  label: string;
  action: string;
  working: boolean;
  /** The last passphrase opened nothing. */
  wrong: boolean;
  /** The next attempt is taken from then on, milliseconds since 1970. */
  retryAt: number;
  onPassphrase: (passphrase: string) => void;
}

/** Asks for the passphrase of the telephone in this browser. */
export function PassphraseForm({ id, label, action, working, wrong, retryAt, onPassphrase }: PassphraseFormProps) {
  const now = useNow(SECOND_MS);
  const [passphrase, setPassphrase] = useState("");
  const waitS = Math.max(0, Math.ceil((retryAt - now) / SECOND_MS));
  useEffect(() => {
    if (wrong) setPassphrase("");
  }, [wrong, retryAt]);
  return (
    <form
      class="card door-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (passphrase !== "" && waitS === 0) onPassphrase(passphrase);
      }}
      noValidate
      aria-busy={working}
    >
      <div class="field">
        <label for={id}>{label}</label>
        <input
          id={id}
          class="input"
          type="password"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          readOnly={working}
          value={passphrase}
          aria-invalid={wrong}
          aria-describedby={wrong ? `${id}-error` : undefined}
          onInput={(event) => setPassphrase(event.currentTarget.value)}
        />
        {wrong && (
          <p id={`${id}-error`} class="field-error" role="alert">
            <Icon name="warning" size={18} />
            {t(waitS > 0 ? "lock.wrongWait" : "lock.wrong", { wait: format.duration(waitS) })}
          </p>
        )}
      </div>
      <button type="submit" class="button button-primary" disabled={working || waitS > 0}>
        {working ? t("lock.working") : action}
      </button>
    </form>
  );
}
