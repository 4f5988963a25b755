import { useEffect, useRef, useState } from "preact/hooks";
import { format, t } from "../../i18n";
import { Icon } from "../../ui/icons";
import { isPicture, safeName, safeType } from "../engine/files";
import type { AttachedFile, ThreadEntry, Transfer } from "../model";
import { attempt, usePhone } from "./context";

type FileEntry = Extract<ThreadEntry, { kind: "text" }> & { file: AttachedFile };

/** What a file is called: voice messages have no name of their own. */
export function fileTitle(file: AttachedFile): string {
  return file.voiceS === null ? safeName(file.name) : t("file.voice", { duration: format.duration(file.voiceS) });
}

/** Gives a content to the browser's own saving, under a type that no browser runs. */
function saveAs(url: string, name: string): void {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
}

/** A recording that was streamed does not say how long it is: the browser finds its end by looking for it. */
async function playFromStart(audio: HTMLAudioElement): Promise<void> {
  if (audio.duration === Number.POSITIVE_INFINITY) {
    const found = new Promise((resolve) => audio.addEventListener("durationchange", resolve, { once: true }));
    audio.currentTime = Number.MAX_SAFE_INTEGER;
    await found;
    audio.currentTime = 0;
  }
  await audio.play();
}

function Progress({ transfer, onCancel }: { transfer: Transfer; onCancel: () => void }) {
  const { direction, done, total, fault, waiting } = transfer;
  if (fault !== null) {
    return (
      <p class="file-fault">
        <Icon name="warning" size={16} />
        {t(`file.fault.${fault}`)}
      </p>
    );
  }
  const share = total === 0 ? 0 : done / total;
  const words = waiting ? t("file.waiting", { done: format.percent(share) }) : t(`file.${direction}`, { done: format.percent(share) });
  return (
    <div class="file-progress">
      <progress max={total} value={done} aria-label={words} />
      <span>{words}</span>
      <button type="button" class="button button-small" onClick={onCancel}>
        {t("file.cancel")}
      </button>
    </div>
  );
}

/** A file in a thread. Nothing is fetched before it is asked for, and nothing is drawn but pictures of known kinds. */
export function FileBubble({ conversationId, entry }: { conversationId: string; entry: FileEntry }) {
  const screen = usePhone();
  const { file, id } = entry;
  const transfer = screen.engine.state.value.transfers[id];
  const [url, setUrl] = useState<string | null>(null);
  const shown = useRef(true);
  useEffect(() => {
    shown.current = true;
    return () => {
      shown.current = false;
    };
  }, []);
  useEffect(() => () => (url === null ? undefined : URL.revokeObjectURL(url)), [url]);

  const inPlace = isPicture(file) || file.voiceS !== null;
  const title = fileTitle(file);
  const busy = transfer !== undefined && transfer.fault === null && transfer.direction === "down";

  const load = async (): Promise<string | null> => {
    if (url !== null) return url;
    const content = await screen.engine.fetchFile(conversationId, id);
    if (content === null || !shown.current) return null;
    return URL.createObjectURL(new Blob([content], { type: safeType(file) }));
  };
  const show = async (): Promise<void> => setUrl(url === null ? await load() : null);
  const save = async (): Promise<void> => {
    const at = await load();
    if (at === null) return;
    saveAs(at, file.voiceS === null ? safeName(file.name) : "voice.webm");
    if (url === null) setTimeout(() => URL.revokeObjectURL(at), 60_000); // the browser reads it while it saves
  };

  return (
    <div class="file">
      <p class="file-name" dir="auto">
        <Icon name={file.voiceS === null ? "file" : "microphone"} />
        <span>{title}</span>
        <span class="quiet">{format.octets(file.size)}</span>
      </p>
      {url !== null && isPicture(file) && <img class="file-picture" src={url} alt={title} />}
      {url !== null && file.voiceS !== null && <audio class="file-voice" src={url} controls aria-label={title} onLoadedMetadata={({ currentTarget }) => void playFromStart(currentTarget)} />}
      {transfer !== undefined && <Progress transfer={transfer} onCancel={() => attempt(screen, screen.engine.cancelTransfer(conversationId, id))} />}
      <div class="file-actions">
        {inPlace && (
          <button type="button" class="button button-small" aria-expanded={url !== null} disabled={busy} onClick={() => attempt(screen, show())}>
            {t(file.voiceS !== null ? (url === null ? "file.play" : "file.close") : url === null ? "file.show" : "file.hide")}
            <span class="visually-hidden"> {title}</span>
          </button>
        )}
        <button type="button" class="button button-small" disabled={busy} onClick={() => attempt(screen, save())}>
          {t("file.save")}
          <span class="visually-hidden"> {title}</span>
        </button>
      </div>
    </div>
  );
}
