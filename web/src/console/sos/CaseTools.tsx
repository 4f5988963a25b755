import { useState } from "preact/hooks";
import { ApiError } from "../../api/client";
import { t } from "../../i18n";
import { announce } from "../../ui/Announcer";
import type { ConsoleApi, SosAction, SosCase, SosForm } from "../api";
import type { Acting } from "./acting";

const FORMS: readonly { form: SosForm; suffix: string; label: "sos.exportCot" | "sos.exportCap" }[] = [
  { form: "cot", suffix: "cot.xml", label: "sos.exportCot" },
  { form: "cap", suffix: "cap.xml", label: "sos.exportCap" },
];

interface ToolsProps {
  shown: SosCase;
  mine: boolean;
  busy: boolean;
  api: ConsoleApi;
  acting: Acting;
  act: (action: SosAction, more: object, said: string) => Promise<boolean>;
}

/** Two numbers as people copy them: "42.6281, 13.2924". */
function parsed(text: string): { latitude: number; longitude: number } | null {
  const found = /^\s*(-?\d{1,2}(?:\.\d+)?)\s*[,;\s]\s*(-?\d{1,3}(?:\.\d+)?)\s*$/.exec(text);
  if (!found) return null;
  const [latitude, longitude] = [Number(found[1]), Number(found[2])];
  return Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180 ? { latitude, longitude } : null;
}

/** What an operator does beside the dialogue: set the position by hand, take the case to another system. */
export function CaseTools({ shown, mine, busy, api, acting, act }: ToolsProps) {
  const [at, setAt] = useState("");
  const [metres, setMetres] = useState("50");
  const [wrong, setWrong] = useState(false);
  const [withPhone, setWithPhone] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);

  const download = async (form: SosForm, suffix: string) => {
    setFailure(null);
    try {
      const address = URL.createObjectURL(await acting.as((bearer) => api.sosExport(shown.case_id, form, withPhone, bearer)));
      const link = document.createElement("a");
      link.href = address;
      link.download = `sos-${shown.number}.${suffix}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
      announce(t("sos.exported"));
    } catch (reason) {
      setFailure(reason instanceof ApiError ? reason.message : t("console.unreachable"));
    }
  };

  return (
    <>
      {mine && (
        <form
          class="sos-offer"
          onSubmit={(event) => {
            event.preventDefault();
            const there = parsed(at);
            setWrong(there === null);
            if (there === null) return;
            void act("position", { ...there, accuracy_m: Number(metres) }, t("sos.positionSet")).then((done) => done && setAt(""));
          }}
        >
          <label for="sos-at">{t("sos.position")}</label>
          <input id="sos-at" class="input" required value={at} aria-invalid={wrong} aria-describedby="sos-at-hint" onInput={(event) => setAt(event.currentTarget.value)} />
          <label for="sos-metres">{t("sos.accuracy")}</label>
          <input id="sos-metres" class="input" type="number" min={1} max={100_000} required value={metres} onInput={(event) => setMetres(event.currentTarget.value)} />
          <button type="submit" class="button" disabled={busy}>
            {t("sos.setPosition")}
          </button>
          <p id="sos-at-hint" class="field-hint" role={wrong ? "alert" : undefined}>
            {t("sos.positionHint")}
          </p>
        </form>
      )}
      {shown.position !== null && (
        <fieldset class="sos-offer">
          <legend class="field-label">{t("sos.export")}</legend>
          <label class="role">
            <input type="checkbox" checked={withPhone} onChange={(event) => setWithPhone(event.currentTarget.checked)} />
            <span>{t("sos.withPhone")}</span>
          </label>
          <div class="sos-actions">
            {FORMS.map(({ form, suffix, label }) => (
              <button key={form} type="button" class="button button-small" onClick={() => void download(form, suffix)}>
                {t(label)}
              </button>
            ))}
          </div>
          {failure && <p role="alert">{failure}</p>}
        </fieldset>
      )}
    </>
  );
}
