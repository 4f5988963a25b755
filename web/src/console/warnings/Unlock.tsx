import { useEffect, useState } from "preact/hooks";
import { t } from "../../i18n";
import type { Warner } from "./warner";

type Found = "looking" | "none" | "sealed" | "wrong" | "open";

/** Finds the phone that is enrolled in this browser; asks for its passphrase where it has one. */
export function Unlock({ warner, onOpen }: { warner: Warner | null; onOpen: (warner: Warner) => void }) {
  const [found, setFound] = useState<Found>("looking");
  const [passphrase, setPassphrase] = useState("");
  const open = async (given: string | null) => {
    try {
      const { Warner: Opener } = await import("./warner");
      const opened = await Opener.open(given);
      if (opened === "sealed" || opened === null) return setFound(opened ?? "none");
      setFound("open");
      onOpen(opened);
    } catch {
      setFound(given === null ? "none" : "wrong");
    }
  };
  useEffect(() => {
    if (warner === null) void open(null);
  }, []);
  if (warner !== null) return <p>{t("warnings.signingAs", { name: warner.name })}</p>;
  if (found === "looking" || found === "open") return null;
  if (found === "none") return <p class="quiet">{t("warnings.noPhone")}</p>;
  return (
    <form
      class="card warning-unlock"
      onSubmit={(event) => {
        event.preventDefault();
        void open(passphrase);
      }}
    >
      <div class="field">
        <label for="warner-passphrase">{t("warnings.passphrase")}</label>
        <input
          id="warner-passphrase"
          class="input"
          type="password"
          autocomplete="off"
          value={passphrase}
          aria-invalid={found === "wrong"}
          aria-describedby={found === "wrong" ? "warner-wrong" : undefined}
          onInput={(event) => setPassphrase(event.currentTarget.value)}
        />
        {found === "wrong" && (
          <p id="warner-wrong" class="field-error" role="alert">
            {t("warnings.wrongPassphrase")}
          </p>
        )}
      </div>
      <button type="submit" class="button">
        {t("warnings.unlock")}
      </button>
    </form>
  );
}
