import { useRef, useState } from "preact/hooks";
import { t } from "../../i18n";
import { MOST_ATTACHMENT_BYTES } from "../../keys/attachment";
import { Icon } from "../../ui/icons";
import { attempt, usePhone } from "./context";
import type { Subject } from "./subject";
import { useVoice } from "./VoiceRecorder";

const TEXT_MAX = 4000;
const TALLEST_PX = 160;

/** Enter sends, Shift+Enter breaks the line; on a touch keyboard Enter breaks the line and the button sends. */
export function Composer({ subject }: { subject: Subject }) {
  const screen = usePhone();
  const [body, setBody] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  const voice = useVoice(subject.conversationId);
  const picker = useRef<HTMLInputElement>(null);
  const [tooLarge, setTooLarge] = useState(false);
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

  const sendFile = async (file: File): Promise<void> => {
    setTooLarge(false);
    if (file.size > MOST_ATTACHMENT_BYTES) return setTooLarge(true);
    await screen.engine.sendFile(subject.conversationId, { name: file.name, mediaType: file.type, content: new Uint8Array(await file.arrayBuffer()), voiceS: null });
  };

  if (voice.recorder !== null) return <div class="composer">{voice.recorder}</div>;
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {tooLarge && (
        <p class="composer-fault" role="alert">
          <Icon name="warning" size={16} />
          {t("file.fault.too_large")}
        </p>
      )}
      <input
        ref={picker}
        type="file"
        hidden
        aria-hidden="true"
        tabIndex={-1}
        onChange={({ currentTarget }) => {
          const [file] = currentTarget.files ?? [];
          if (file !== undefined) attempt(screen, sendFile(file));
          currentTarget.value = ""; // the same file may be chosen again
        }}
      />
      <button type="button" class="button button-icon" aria-label={t("file.attach")} onClick={() => picker.current?.click()}>
        <Icon name="attach" />
      </button>
      {voice.button}
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
