import { useState } from "preact/hooks";
import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import type { PassphraseFault } from "../model";
import { attempt, usePhone } from "./context";
import { Door } from "./Door";
import { Faults } from "./Faults";
import { parseInvitation } from "./invitation";

const NAME_MAX = 64;

interface Mistakes {
  invitation: boolean;
  name: boolean;
  passphrase: PassphraseFault;
}

/** First use of the phone: an invitation and a name. `received` is the invitation that came with the link. */
export function Enrolment({ received }: { received: string | null }) {
  const screen = usePhone();
  const { enrolment } = screen.engine.state.value;
  const [fromLink, setFromLink] = useState(received === null ? null : parseInvitation(received));
  const [brokenLink] = useState(received !== null && parseInvitation(received) === null);
  const [pasted, setPasted] = useState("");
  const [name, setName] = useState("");
  const [mistakes, setMistakes] = useState<Mistakes>({ invitation: brokenLink, name: false, passphrase: null });
  const [passphrase, setPassphrase] = useState("");
  const working = enrolment === "working";

  const submit = (event: Event) => {
    event.preventDefault();
    const invitation = fromLink ?? parseInvitation(pasted);
    const found: Mistakes = { invitation: invitation === null, name: name.trim() === "", passphrase: null };
    setMistakes(found);
    if (found.invitation) document.getElementById("invitation")?.focus();
    else if (found.name) document.getElementById("display-name")?.focus();
    else if (invitation !== null) attempt(screen, setUp(invitation));
  };

  /** The passphrase first: then nothing of this phone ever lay open on the disk. */
  const setUp = async (invitation: string): Promise<void> => {
    const refused = passphrase === "" ? null : await screen.engine.setPassphrase(passphrase);
    setMistakes((mistakes) => ({ ...mistakes, passphrase: refused }));
    if (refused === null) await screen.engine.enrol(invitation, name.trim());
    else document.getElementById("new-passphrase")?.focus();
  };

  return (
    <Door title={t("enrolment.title")} lead={t("enrolment.lead")}>
      <Faults />
      <form class="card door-form" onSubmit={submit} noValidate aria-busy={working}>
        {fromLink !== null ? (
          <div class="enrolment-received">
            <span class="badge badge-good">
              <Icon name="check" size={16} />
              {t("enrolment.received")}
            </span>
            <button type="button" class="button button-small" disabled={working} onClick={() => setFromLink(null)}>
              {t("enrolment.useAnother")}
            </button>
          </div>
        ) : (
          <div class="field">
            <label for="invitation">{t("enrolment.invitation")}</label>
            <input
              id="invitation"
              class="input"
              type="text"
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              disabled={working}
              value={pasted}
              aria-invalid={mistakes.invitation}
              aria-describedby={mistakes.invitation ? "invitation-error" : "invitation-hint"}
              onInput={(event) => setPasted(event.currentTarget.value)}
            />
            {mistakes.invitation ? (
              <p id="invitation-error" class="field-error" role="alert">
                <Icon name="warning" size={18} />
                {t(brokenLink && pasted === "" ? "enrolment.linkBroken" : "enrolment.invitationWrong")}
              </p>
            ) : (
              <p id="invitation-hint" class="field-hint">
                {t("enrolment.invitationHint")}
              </p>
            )}
          </div>
        )}
        <div class="field">
          <label for="display-name">{t("enrolment.name")}</label>
          <input
            id="display-name"
            class="input"
            type="text"
            autocomplete="name"
            maxLength={NAME_MAX}
            disabled={working}
            value={name}
            aria-invalid={mistakes.name}
            aria-describedby={mistakes.name ? "name-error" : "name-hint"}
            onInput={(event) => setName(event.currentTarget.value)}
          />
          {mistakes.name ? (
            <p id="name-error" class="field-error" role="alert">
              <Icon name="warning" size={18} />
              {t("enrolment.nameMissing")}
            </p>
          ) : (
            <p id="name-hint" class="field-hint">
              {t("enrolment.nameHint")}
            </p>
          )}
        </div>
        <div class="field">
          <label for="new-passphrase">{t("enrolment.passphrase")}</label>
          <input
            id="new-passphrase"
            class="input"
            type="password"
            autocomplete="new-password"
            disabled={working}
            value={passphrase}
            aria-invalid={mistakes.passphrase !== null}
            aria-describedby={mistakes.passphrase !== null ? "new-passphrase-error" : "new-passphrase-hint"}
            onInput={(event) => setPassphrase(event.currentTarget.value)}
          />
          {mistakes.passphrase !== null ? (
            <p id="new-passphrase-error" class="field-error" role="alert">
              <Icon name="warning" size={18} />
              {t(`protection.fault.${mistakes.passphrase}`)}
            </p>
          ) : (
            <p id="new-passphrase-hint" class="field-hint">
              {t("enrolment.passphraseHint")}
            </p>
          )}
        </div>
        <button type="submit" class="button button-primary" disabled={working}>
          {t(working ? "enrolment.working" : "enrolment.submit")}
        </button>
      </form>
      <p class="enrolment-promise quiet">
        <Icon name="lock" size={18} />
        <span>{t("enrolment.promise")}</span>
      </p>
    </Door>
  );
}
