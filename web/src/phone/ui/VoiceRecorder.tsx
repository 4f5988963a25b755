import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { useNow } from "../../ui/useNow";
import { canRecord, MOST_VOICE_MS, VoiceRecording } from "../engine/voice";
import type { OutgoingFile } from "../model";
import { attempt, usePhone } from "./context";

const TICK_MS = 250;

/** The recorder in place of the field to write: it ends by itself after two minutes, and nothing is sent before that is asked for. */
function Recorder({ recording, onEnd }: { recording: VoiceRecording; onEnd: (file: OutgoingFile | null) => void }) {
  const now = useNow(TICK_MS);
  const [file, setFile] = useState<OutgoingFile | null>(null);
  const first = useRef<HTMLButtonElement>(null);
  const over = now - recording.since >= MOST_VOICE_MS;

  useLayoutEffect(() => first.current?.focus(), []);
  useEffect(() => () => recording.discard(), [recording]);
  useEffect(() => {
    if (over && file === null) void recording.finish().then(setFile);
  }, [over]);

  const lasted = file?.voiceS ?? Math.min(MOST_VOICE_MS, now - recording.since) / 1000;
  const send = async (): Promise<void> => onEnd(file ?? (await recording.finish()));
  return (
    <div class="recorder" role="group" aria-label={t("voice.recorder")}>
      <button type="button" class="button button-small" onClick={() => onEnd(null)}>
        {t("voice.discard")}
      </button>
      <p class="recorder-state">
        <Icon name="microphone" size={18} />
        <span>{t(file === null ? "voice.recording" : "voice.full")}</span>
        <span class="figures" role="timer">
          {format.duration(lasted)}
        </span>
      </p>
      <button type="button" class="button button-primary button-small" ref={first} onClick={() => void send()}>
        <Icon name="send" size={18} />
        {t("voice.send")}
      </button>
    </div>
  );
}

export interface Voice {
  /** The recorder while it runs. */
  recorder: preact.JSX.Element | null;
  /** The button that starts it; null where the browser cannot record. */
  button: preact.JSX.Element | null;
}

/** Voice messages for the composer of a conversation. */
export function useVoice(conversationId: string): Voice {
  const screen = usePhone();
  const { call, conference } = screen.engine.state.value;
  const [recording, setRecording] = useState<VoiceRecording | null>(null);
  const [refused, setRefused] = useState(false);
  const talking = (call !== null && call.phase !== "ended") || conference !== null;

  const begin = (): void => {
    setRefused(false);
    VoiceRecording.begin().then(setRecording, () => setRefused(true));
  };
  // Somebody could not be reached and is to find a message instead.
  useEffect(() => {
    if (screen.voiceFor.value !== conversationId) return;
    screen.voiceFor.value = null;
    if (canRecord()) begin();
  }, [screen.voiceFor.value, conversationId]);
  // A call needs the microphone.
  useEffect(() => {
    if (talking) setRecording(null);
  }, [talking]);

  const end = (file: OutgoingFile | null): void => {
    setRecording(null);
    if (file !== null && file.content.length > 0) attempt(screen, screen.engine.sendFile(conversationId, file));
  };
  const button = (
    <>
      {refused && (
        <p class="composer-fault" role="alert">
          <Icon name="warning" size={16} />
          {t("voice.refused")}
        </p>
      )}
      <button type="button" class="button button-icon" aria-label={t("voice.record")} disabled={talking} onClick={begin}>
        <Icon name="microphone" />
      </button>
    </>
  );
  return { recorder: recording === null ? null : <Recorder recording={recording} onEnd={end} />, button: canRecord() ? button : null };
}
