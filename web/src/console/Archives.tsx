import { useState } from "preact/hooks";
import { format, t } from "../i18n";
import { announce } from "../ui/Announcer";
import type { Archive, ConsoleApi, ConversationKind } from "./api";
import { ErrorNotice } from "./ErrorNotice";
import { useLoaded } from "./useLoaded";

const KINDS: readonly ConversationKind[] = ["direct", "group", "talk"];

function Kept({ archive, onSave }: { archive: Archive; onSave: (kinds: ConversationKind[]) => void }) {
  const [kinds, setKinds] = useState<readonly ConversationKind[]>(archive.kinds);
  const changed = KINDS.some((kind) => kinds.includes(kind) !== archive.kinds.includes(kind));
  return (
    <form
      class="archive"
      onSubmit={(event) => {
        event.preventDefault();
        onSave(KINDS.filter((kind) => kinds.includes(kind)));
      }}
    >
      <fieldset class="choice roles">
        <legend class="field-label">{archive.display_name}</legend>
        <p class="field-hint archive-scope">
          {archive.unit === "" ? t("archives.everybody") : t("archives.ofUnit", { unit: archive.unit })} {t("archives.until", { until: format.dayAndClock(archive.certified_until * 1000) })}
        </p>
        {KINDS.map((kind) => (
          <label key={kind} class="role">
            <input type="checkbox" checked={kinds.includes(kind)} onChange={(event) => setKinds(event.currentTarget.checked ? [...kinds, kind] : kinds.filter((other) => other !== kind))} />
            <span>{t(`archives.kind.${kind}`)}</span>
          </label>
        ))}
      </fieldset>
      <button type="submit" class="button" disabled={!changed} aria-label={t("archives.saveWhich", { name: archive.display_name })}>
        {t("archives.save")}
      </button>
    </form>
  );
}

/** Which new conversations archives keep. Who may be one, two custodians decide; every member sees it. */
export function Archives({ api }: { api: ConsoleApi }) {
  const { value, error, reload } = useLoaded(() => api.archives());
  const [failure, setFailure] = useState<Error | null>(null);
  const save = async (archive: Archive, kinds: ConversationKind[]) => {
    setFailure(null);
    try {
      await api.setArchive(archive.account_id, kinds);
      announce(t("archives.saved"));
      await reload();
    } catch (reason) {
      setFailure(reason instanceof Error ? reason : new Error(String(reason)));
    }
  };
  return (
    <section class="card section" aria-labelledby="archives-title">
      <h2 id="archives-title">{t("archives.title")}</h2>
      <p class="quiet">{t("archives.lead")}</p>
      {error && <ErrorNotice error={error} />}
      {failure && <ErrorNotice error={failure} />}
      {value?.length === 0 && <p>{t("archives.empty")}</p>}
      {value?.map((archive) => (
        <Kept key={`${archive.account_id} ${archive.kinds.join()}`} archive={archive} onSave={(kinds) => void save(archive, kinds)} />
      ))}
    </section>
  );
}
