import { useMemo, useRef, useState } from "preact/hooks";
import { ApiError, type Schemas } from "../../api/client";
import { format, t } from "../../i18n";
import { randomId } from "../../keys/bytes";
import { countMessages } from "../../texts/shortMessage";
import { announce } from "../../ui/Announcer";
import { Icon } from "../../ui/icons";
import type { ConsoleApi } from "../api";
import { rankWords } from "./rank";

const LEVELS = ["routine", "priority", "immediate", "flash", "flash-override"] as const;
type Level = Schemas["TextRequest"]["precedence"];

/** A text to a number, counted as it is written. */
export function Compose({ api, sender, onSent }: { api: ConsoleApi; sender: string; onSent: () => void }) {
  const [number, setNumber] = useState("");
  const [body, setBody] = useState("");
  const [level, setLevel] = useState<Level>("routine");
  const [fault, setFault] = useState("");
  const [said, setSaid] = useState("");
  const [busy, setBusy] = useState(false);
  /** The same words to the same number, tried again after an error, are one text. */
  const attempt = useRef({ what: "", id: "" });
  const count = useMemo(() => countMessages(body), [body]);

  const send = async () => {
    const destination = number.replace(/[\s()./-]/g, "");
    const what = JSON.stringify([destination, body, level]);
    if (attempt.current.what !== what) attempt.current = { what, id: randomId() };
    setBusy(true);
    setFault("");
    setSaid("");
    try {
      const { wait_s } = await api.sendText({ destination, body, precedence: level, request_id: attempt.current.id, if_unknown: "hold", beam: "" });
      const words = wait_s !== null && wait_s >= 1 ? t("texts.queuedWait", { seconds: format.integer(Math.round(wait_s)) }) : t("texts.queuedNow");
      attempt.current = { what: "", id: "" };
      setBody("");
      setSaid(words);
      announce(words);
      onSent();
    } catch (reason) {
      setFault(reason instanceof ApiError ? reason.message : t("console.unreachable"));
    } finally {
      setBusy(false);
    }
  };

  return (
    <section class="card" aria-labelledby="texts-compose-title">
      <h2 id="texts-compose-title">{t("texts.compose")}</h2>
      <form
        class="texts-compose"
        aria-busy={busy}
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <div class="field">
          <label for="texts-number">{t("texts.number")}</label>
          <input id="texts-number" class="input" type="tel" inputMode="tel" required pattern="\+?[0-9][\d\s\(\)\.\/\-]{1,30}" value={number} aria-describedby="texts-number-hint" onInput={(event) => setNumber(event.currentTarget.value)} />
          <p id="texts-number-hint" class="field-hint">
            {sender === "" ? t("texts.numberHint") : t("texts.numberHintFrom", { sender })}
          </p>
        </div>
        <div class="field">
          <label for="texts-level">{t("texts.precedence")}</label>
          <select id="texts-level" class="input" value={level} onChange={(event) => setLevel(LEVELS.find((each) => each === event.currentTarget.value) ?? "routine")}>
            {LEVELS.map((each) => (
              <option key={each} value={each}>
                {rankWords(each)}
              </option>
            ))}
          </select>
        </div>
        <div class="field texts-words">
          <label for="texts-body">{t("texts.words")}</label>
          <textarea id="texts-body" class="input" rows={3} required maxLength={1600} value={body} aria-describedby="texts-count" aria-invalid={!count.fits} onInput={(event) => setBody(event.currentTarget.value)} />
          <p id="texts-count" class={count.fits ? "field-hint" : "field-error"} aria-live="polite">
            {t("texts.count", { used: count.used, room: count.room, count: count.messages })}
            {count.lacking !== "" && ` ${t("warnings.ucs2", { characters: [...count.lacking].slice(0, 20).join("") })}`}
            {!count.fits && ` ${t("warnings.tooLong")}`}
          </p>
          <p class="field-hint">{t("texts.clear")}</p>
        </div>
        {fault !== "" && (
          <p class="field-error" role="alert">
            {fault}
          </p>
        )}
        {said !== "" && <p class="texts-said">{said}</p>}
        <button type="submit" class="button button-primary" disabled={busy || !count.fits}>
          <Icon name="send" />
          {t("texts.send")}
        </button>
      </form>
    </section>
  );
}
