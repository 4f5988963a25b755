import { useMemo, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { MOST_PLAINTEXT_BYTES } from "../../keys/sealedText";
import { encodeText } from "../../texts/smallText";
import { announce } from "../../ui/Announcer";
import { Dialog } from "../../ui/Dialog";
import { Icon } from "../../ui/icons";
import type { Contact, Precedence, SealedReach } from "../model";
import { attempt, usePhone } from "./context";
import { PrecedenceMenu } from "./Precedence";

/** A text of one SMS for a person, sealed on this device: sent by the server, or carried by whatever carries 140 octets. */
export function SealedDialog({ contact }: { contact: Contact }) {
  const screen = usePhone();
  const { engine } = screen;
  const { conversationId, displayName: name } = contact;
  const [reach, setReach] = useState<SealedReach>(() => engine.sealedReach(conversationId));
  const [body, setBody] = useState("");
  const [hex, setHex] = useState("");
  const [came, setCame] = useState("");
  const [said, setSaid] = useState("");
  const [fault, setFault] = useState("");
  const [busy, setBusy] = useState(false);
  const [level, setLevel] = useState<Precedence>("routine");
  const octets = useMemo(() => encodeText(body).length, [body]);
  const fits = octets <= MOST_PLAINTEXT_BYTES;
  const close = () => (screen.dialog.value = null);

  const work = (doing: () => Promise<void>) => {
    setBusy(true);
    setFault("");
    setSaid("");
    attempt(
      screen,
      doing().finally(() => {
        setBusy(false);
        setReach(engine.sealedReach(conversationId));
      }),
    );
  };
  const tell = (words: string) => {
    setSaid(words);
    announce(words);
  };
  const seal = (byHand: boolean) =>
    work(async () => {
      setHex("");
      const done = await engine.sealText(conversationId, body.trim(), byHand ? "by hand" : level);
      if (done.state === "refused") return setFault(t(`sealed.refused.${done.reason}`));
      setBody("");
      if (!byHand) setLevel("routine"); // more than routine is asked for each time anew
      if (done.state === "sealed") {
        setHex(done.hex);
        tell(t("sealed.made"));
      } else if (done.state === "later") tell(t("sealed.later"));
      else tell(done.waitS !== null && done.waitS >= 1 ? t("sealed.sentWait", { seconds: format.integer(Math.round(done.waitS)) }) : t("sealed.sent"));
    });
  const open = () =>
    work(async () => {
      const done = await engine.openSealed(came);
      if (done.state !== "opened") return setFault(t(`sealed.notOpened.${done.state}`));
      setCame("");
      const from = engine.state.value.contacts.find(({ accountId }) => accountId === done.accountId)?.displayName ?? done.accountId.slice(0, 8);
      tell(t("sealed.opened", { name: from, text: done.body }));
    });

  return (
    <Dialog labelledBy="sealed-title" class="group-dialog" onDismiss={close}>
      <h2 id="sealed-title">{t("sealed.title", { name })}</h2>
      <p class="quiet">{t("sealed.lead")}</p>
      {reach.ready ? (
        <form class="sealed-form" aria-busy={busy} onSubmit={(event) => (event.preventDefault(), seal(reach.number === null || reach.ownNumber === null))}>
          <div class="field">
            <label for="sealed-body">{t("sealed.body")}</label>
            <textarea id="sealed-body" class="input" rows={3} required value={body} aria-describedby="sealed-count" aria-invalid={!fits} onInput={(event) => setBody(event.currentTarget.value)} />
            <p id="sealed-count" class={fits ? "quiet" : "field-fault"} aria-live="polite">
              {t("sealed.count", { used: body === "" ? 0 : octets, most: MOST_PLAINTEXT_BYTES })}
              {!fits && ` ${t("warnings.tooLong")}`}
            </p>
          </div>
          <div class="sealed-actions">
            {reach.number !== null && reach.ownNumber !== null && (
              <>
                <PrecedenceMenu label={t("sealed.level")} chosen={level} onChoose={setLevel} />
                <button type="submit" class="button button-primary" disabled={busy || !fits || body.trim() === ""}>
                  <Icon name="send" />
                  {t("sealed.send", { number: reach.number })}
                </button>
              </>
            )}
            <button type="button" class="button" disabled={busy || !fits || body.trim() === ""} onClick={() => seal(true)}>
              {t("sealed.byHand")}
            </button>
          </div>
          {reach.number === null && <p class="quiet">{t("sealed.noNumber", { name })}</p>}
          {reach.ownNumber !== null && <p class="quiet">{t("sealed.ownNumber", { number: reach.ownNumber })}</p>}
          {reach.ownNumber === null && (
            <button
              type="button"
              class="button button-small"
              disabled={busy}
              onClick={() => work(async () => ((await engine.takeSealedTexts(conversationId)) === null ? setFault(t("sealed.noneGiven")) : tell(t("sealed.told", { name }))))}
            >
              {t("sealed.take")}
            </button>
          )}
        </form>
      ) : (
        <p>{t("sealed.notReady", { name })}</p>
      )}
      {hex !== "" && (
        <div class="field">
          <label for="sealed-hex">{t("sealed.octets")}</label>
          <textarea id="sealed-hex" class="input sealed-hex" rows={4} readOnly value={hex.replace(/(.{8})(?=.)/g, "$1 ")} onFocus={(event) => event.currentTarget.select()} />
          <p class="quiet">{t("sealed.octetsHint")}</p>
        </div>
      )}
      <form class="sealed-form" aria-busy={busy} onSubmit={(event) => (event.preventDefault(), open())}>
        <div class="field">
          <label for="sealed-came">{t("sealed.came")}</label>
          <textarea id="sealed-came" class="input sealed-hex" rows={3} required value={came} autocomplete="off" spellcheck={false} aria-describedby="sealed-came-hint" onInput={(event) => setCame(event.currentTarget.value)} />
          <p id="sealed-came-hint" class="quiet">
            {t("sealed.cameHint")}
          </p>
        </div>
        <button type="submit" class="button" disabled={busy}>
          {t("sealed.open")}
        </button>
      </form>
      {fault !== "" && (
        <p class="field-fault" role="alert">
          <Icon name="warning" size={18} />
          {fault}
        </p>
      )}
      {said !== "" && <p class="sealed-said">{said}</p>}
      <button type="button" class="button" onClick={close}>
        {t("sealed.close")}
      </button>
    </Dialog>
  );
}
