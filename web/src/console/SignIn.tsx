import { useState } from "preact/hooks";
import { t } from "../i18n";
import { Icon } from "../ui/icons";
import { LanguageSwitch } from "../ui/LanguageSwitch";
import { Mark } from "../ui/Mark";
import { parseAdminToken } from "./adminToken";
import type { ConsoleSession } from "./session";

export function SignIn({ session }: { session: ConsoleSession }) {
  const [pasted, setPasted] = useState("");
  const [wrong, setWrong] = useState(false);
  const working = session.working.value;
  const fault = session.fault.value;
  return (
    <div class="sign-in">
      <header class="sign-in-top">
        <LanguageSwitch />
      </header>
      <main class="sign-in-main">
        <Mark size={56} />
        <h1>{t("signIn.title")}</h1>
        <p class="quiet">{t("signIn.lead")}</p>
        {fault && (
          <div class="notice notice-danger" role="alert">
            <Icon name="warning" />
            <div class="notice-body">
              <p class="notice-title">{t(`signIn.fault.${fault}.title`)}</p>
              <p>{t(`signIn.fault.${fault}.next`)}</p>
            </div>
          </div>
        )}
        <form
          class="card door-form"
          noValidate
          aria-busy={working}
          onSubmit={(event) => {
            event.preventDefault();
            const token = parseAdminToken(pasted);
            setWrong(token === null);
            if (token === null) document.getElementById("admin-link")?.focus();
            else void session.signIn(token);
          }}
        >
          <div class="field">
            <label for="admin-link">{t("signIn.link")}</label>
            <input
              id="admin-link"
              class="input"
              type="password"
              autocomplete="off"
              spellcheck={false}
              disabled={working}
              value={pasted}
              aria-invalid={wrong}
              aria-describedby={wrong ? "admin-link-error" : "admin-link-hint"}
              onInput={(event) => setPasted(event.currentTarget.value)}
            />
            {wrong ? (
              <p id="admin-link-error" class="field-error" role="alert">
                <Icon name="warning" size={18} />
                {t("signIn.wrong")}
              </p>
            ) : (
              <p id="admin-link-hint" class="field-hint">
                {t("signIn.hint")}
              </p>
            )}
          </div>
          <button type="submit" class="button button-primary" disabled={working}>
            {t(working ? "signIn.working" : "signIn.submit")}
          </button>
        </form>
      </main>
    </div>
  );
}
