import { useState } from "preact/hooks";
import { format, t } from "../i18n";
import { announce } from "../ui/Announcer";
import { Dialog } from "../ui/Dialog";
import { Icon } from "../ui/icons";
import type { ConsoleApi, Invitation, NewInvitation } from "./api";
import { CardTable } from "./CardTable";
import { ErrorNotice } from "./ErrorNotice";
import { QrCode } from "./QrCode";
import { type Rights, RightsFields } from "./RightsFields";
import { useLoaded } from "./useLoaded";

const NOTE_MAX = 120;
const REFRESH_MS = 10_000;

function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // no clipboard outside a secure context: mark the text, so that the keyboard can copy it
      const link = document.getElementById("new-link");
      if (link) getSelection()?.selectAllChildren(link);
      announce(t("invitations.copyByHand"));
      return;
    }
    setCopied(true);
    announce(t("invitations.copied"));
  };
  return (
    <button type="button" class="button button-primary" onClick={() => void copy()}>
      <Icon name={copied ? "check" : "copy"} />
      {t(copied ? "invitations.copied" : "invitations.copy")}
    </button>
  );
}

/** What a machine that becomes a site or a gateway runs; null for people. */
function commandOf(roles: readonly string[], link: string): string | null {
  const role = ["site", "gateway"].find((each) => roles.includes(each));
  return role === undefined ? null : `tramontana ${role} join '${link}'`;
}

function Fresh({ invitation, roles, onDone }: { invitation: NewInvitation; roles: readonly string[]; onDone: () => void }) {
  const command = commandOf(roles, invitation.link);
  return (
    <section class="card fresh" aria-labelledby="fresh-title">
      <QrCode text={invitation.link} label={t("invitations.qr")} />
      <div class="fresh-words">
        <h2 id="fresh-title">{t("invitations.freshTitle")}</h2>
        <p>{t("invitations.freshLead", { until: format.dayAndClock(invitation.expires_at * 1000) })}</p>
        <p class="notice notice-warn">
          <Icon name="warning" />
          <span>{t("invitations.once")}</span>
        </p>
        <code id="new-link" class="fresh-link">
          {command ?? invitation.link}
        </code>
        {command && <p class="field-hint">{t("invitations.onTheMachine")}</p>}
        <div class="fresh-actions">
          <CopyButton text={command ?? invitation.link} />
          <button type="button" class="button" onClick={onDone}>
            {t("invitations.done")}
          </button>
        </div>
      </div>
    </section>
  );
}

const STATE_BADGES: Record<Invitation["state"], string> = { open: "badge badge-good", used: "badge", withdrawn: "badge badge-warn", expired: "badge badge-warn" };

export function Invitations({ api }: { api: ConsoleApi }) {
  const { value: invitations, error, reload } = useLoaded(() => api.invitations(), REFRESH_MS);
  const { value: accounts } = useLoaded(() => api.accounts());
  const [note, setNote] = useState("");
  const [accountId, setAccountId] = useState("");
  const [rights, setRights] = useState<Rights>({ unit: "", roles: ["member"], ceiling: "routine" });
  const [fresh, setFresh] = useState<{ invitation: NewInvitation; roles: readonly string[] } | null>(null);
  const [toWithdraw, setToWithdraw] = useState<Invitation | null>(null);
  const [failure, setFailure] = useState<Error | null>(null);
  const [busy, setBusy] = useState(false);

  const change = async (ask: () => Promise<void>) => {
    setBusy(true);
    setFailure(null);
    try {
      await ask();
      await reload();
    } catch (reason) {
      setFailure(reason instanceof Error ? reason : new Error(String(reason)));
    } finally {
      setBusy(false);
    }
  };

  return (
    <div class="page">
      <h1>{t("console.view.invitations")}</h1>
      <form
        class="card invite-form"
        onSubmit={(event) => {
          event.preventDefault();
          void change(async () => {
            const further = accounts?.find(({ account_id }) => account_id === accountId);
            const roles = [...rights.roles].sort();
            const invitation = await api.invite({ note: note.trim(), account_id: further?.account_id ?? null, unit: rights.unit.trim(), roles, precedence_ceiling: rights.ceiling });
            setFresh({ invitation, roles });
            setNote("");
          });
        }}
      >
        <div class="field">
          <label for="note">{t("invitations.note")}</label>
          <input
            id="note"
            class="input"
            type="text"
            maxLength={NOTE_MAX}
            autocomplete="off"
            value={note}
            aria-describedby="note-hint"
            onInput={(event) => setNote(event.currentTarget.value)}
          />
          <p id="note-hint" class="field-hint">
            {t("invitations.noteHint")}
          </p>
        </div>
        <div class="field">
          <label for="further">{t("invitations.further")}</label>
          <select id="further" class="input" value={accountId} onChange={(event) => setAccountId(event.currentTarget.value)}>
            <option value="">{t("invitations.newPerson")}</option>
            {accounts?.map((account) => (
              <option key={account.account_id} value={account.account_id}>
                {account.display_name}
              </option>
            ))}
          </select>
        </div>
        <RightsFields id="invite" rights={rights} onChange={setRights} />
        <button type="submit" class="button button-primary" disabled={busy}>
          <Icon name="ticket" />
          {t("invitations.make")}
        </button>
      </form>
      {failure && <ErrorNotice error={failure} />}
      {fresh && <Fresh key={fresh.invitation.invitation_id} {...fresh} onDone={() => setFresh(null)} />}
      {error && <ErrorNotice error={error} />}
      {invitations?.length === 0 && <p class="quiet">{t("invitations.empty")}</p>}
      {invitations && invitations.length > 0 && (
        <CardTable
          label={t("invitations.list")}
          heads={[t("invitations.note"), t("invitations.state"), t("invitations.created"), t("invitations.expires"), <span key="action" class="visually-hidden">{t("invitations.action")}</span>]}
        >
          {invitations.map((invitation) => (
            <tr key={invitation.invitation_id}>
              <th scope="row">{invitation.note || t(`invitations.origin.${invitation.origin}`)}</th>
              <td>
                <span class={STATE_BADGES[invitation.state]}>{t(`invitations.states.${invitation.state}`)}</span>
              </td>
              <td>{format.dayAndClock(invitation.created_at * 1000)}</td>
              <td>{format.dayAndClock(invitation.expires_at * 1000)}</td>
              <td class="cell-action">
                {invitation.state === "open" && (
                  <button
                    type="button"
                    class="button button-small"
                    aria-label={t("invitations.withdrawWhich", { note: invitation.note || t(`invitations.origin.${invitation.origin}`) })}
                    onClick={() => setToWithdraw(invitation)}
                  >
                    {t("invitations.withdraw")}
                  </button>
                )}
              </td>
            </tr>
          ))}
        </CardTable>
      )}
      {toWithdraw && (
        <Dialog labelledBy="withdraw-title" describedBy="withdraw-text" onDismiss={() => setToWithdraw(null)}>
          <h2 id="withdraw-title">{t("invitations.withdrawTitle")}</h2>
          <p id="withdraw-text">{t("invitations.withdrawText")}</p>
          <div class="dialog-actions">
            <button type="button" class="button" onClick={() => setToWithdraw(null)}>
              {t("invitations.keep")}
            </button>
            <button
              type="button"
              class="button button-danger"
              onClick={() => {
                const { invitation_id: id } = toWithdraw;
                setToWithdraw(null);
                void change(() => api.withdraw(id));
              }}
            >
              {t("invitations.withdraw")}
            </button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
