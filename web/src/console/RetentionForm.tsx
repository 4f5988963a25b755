import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { announce } from "../ui/Announcer";
import type { ConsoleApi } from "./api";
import { ErrorNotice } from "./ErrorNotice";
import { useLoaded } from "./useLoaded";

const MOST_DAYS = 3650;

/** How long the server keeps what is not yet delivered, attachments, who called whom, texts and cases of people in need. */
export function RetentionForm({ api }: { api: ConsoleApi }) {
  const { value, error, reload } = useLoaded(() => api.retention());
  const [undelivered, setUndelivered] = useState("");
  const [records, setRecords] = useState("");
  const [attachments, setAttachments] = useState("");
  const [texts, setTexts] = useState("");
  const [cases, setCases] = useState("");
  const [failure, setFailure] = useState<Error | null>(null);
  useEffect(() => {
    if (value === null) return;
    setUndelivered(value.undelivered_days === null ? "" : String(value.undelivered_days));
    setRecords(String(value.call_records_days));
    setAttachments(String(value.attachments_days));
    setTexts(String(value.texts_days));
    setCases(String(value.sos_days));
  }, [value]);

  const save = async () => {
    setFailure(null);
    try {
      await api.retain({
        undelivered_days: undelivered === "" ? null : Number(undelivered),
        call_records_days: Number(records),
        attachments_days: Number(attachments),
        texts_days: Number(texts),
        sos_days: Number(cases),
      });
      announce(t("retention.saved"));
      await reload();
    } catch (reason) {
      setFailure(reason instanceof Error ? reason : new Error(String(reason)));
    }
  };
  const days = (id: string, label: string, hint: string, entered: string, set: (value: string) => void, required: boolean) => (
    <div class="field">
      <label for={id}>{label}</label>
      <input id={id} class="input" type="number" min={1} max={MOST_DAYS} required={required} value={entered} aria-describedby={`${id}-hint`} onInput={(event) => set(event.currentTarget.value)} />
      <p id={`${id}-hint`} class="field-hint">
        {hint}
      </p>
    </div>
  );
  return (
    <section class="card" aria-labelledby="retention-title">
      <h2 id="retention-title">{t("retention.title")}</h2>
      {error && <ErrorNotice error={error} />}
      {failure && <ErrorNotice error={failure} />}
      <form
        class="retention"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        {days("undelivered", t("retention.undelivered"), t("retention.undeliveredHint"), undelivered, setUndelivered, false)}
        {days("attachments", t("retention.attachments"), t("retention.attachmentsHint"), attachments, setAttachments, true)}
        {days("records", t("retention.records"), t("retention.recordsHint"), records, setRecords, true)}
        {days("texts", t("retention.texts"), t("retention.textsHint"), texts, setTexts, true)}
        {days("cases", t("retention.cases"), t("retention.casesHint"), cases, setCases, true)}
        <button type="submit" class="button" disabled={value === null}>
          {t("retention.save")}
        </button>
      </form>
    </section>
  );
}
