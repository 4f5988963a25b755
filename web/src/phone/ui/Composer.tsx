import { useRef, useState } from "preact/hooks";
import { t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { attempt, usePhone } from "./context";
import type { Subject } from "./subject";

const TEXT_MAX = 4000;
const TALLEST_PX = 160;

/** Enter sends, Shift+Enter breaks the line; on a touch keyboard Enter breaks the line and the button sends. */
export function Composer({ subject }: { subject: Subject }) {
  const screen = usePhone();
  const [body, setBody] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const empty = body.trim() === "";

  const fit = () => {
    const area = field.current;
    if (!area) return;
    area.style.height = "auto";
    area.style.height = `${Math.min(area.scrollHeight + 2, TALLEST_PX)}px`;
  };

  const send = () => {
    if (empty) return;
    attempt(screen, screen.engine.sendText(subject.conversationId, body.trim()));
    setBody("");
    if (field.current) {
      field.current.value = "";
      fit();
      field.current.focus();
    }
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <label class="visually-hidden" for="composer">
        {t("composer.label", { name: subject.name })}
      </label>
      <textarea
        id="composer"
        ref={field}
        class="input"
        rows={1}
        maxLength={TEXT_MAX}
        placeholder={t("composer.placeholder")}
        value={body}
        onInput={(event) => {
          setBody(event.currentTarget.value);
          fit();
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          if (matchMedia("(pointer: coarse)").matches) return;
          event.preventDefault();
          send();
        }}
      />
      <button type="submit" class="button button-primary button-icon" aria-label={t("composer.send")} disabled={empty}>
        <Icon name="send" />
      </button>
    </form>
  );
}
