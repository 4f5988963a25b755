import { useEffect, useState } from "preact/hooks";
import { t } from "../../i18n";
import { PassphraseForm } from "../../ui/PassphraseForm";
import type { Warner } from "./warner";

type Found = "looking" | "none" | "sealed" | "open";

/** Finds the phone that is enrolled in this browser; asks for its passphrase where it has one. */
export function Unlock({ warner, onOpen }: { warner: Warner | null; onOpen: (warner: Warner) => void }) {
  const [found, setFound] = useState<Found>("looking");
  const [attempt, setAttempt] = useState({ working: false, wrong: false, retryAt: 0 });
  const open = async (given: string | null) => {
    setAttempt((last) => ({ ...last, working: given !== null, wrong: false }));
    try {
      const { Warner: Opener } = await import("./warner");
      const opened = await Opener.open(given);
      if (opened === "sealed" || opened === null) return setFound(opened ?? "none");
      setFound("open");
      onOpen(opened);
    } catch (error) {
      if (given === null) return setFound("none");
      const { WrongPassphrase } = await import("../../phone/engine/vault");
      setAttempt({ working: false, wrong: true, retryAt: error instanceof WrongPassphrase ? error.retryAt : 0 });
    }
  };
  useEffect(() => {
    if (warner === null) void open(null);
  }, []);
  if (warner !== null) return <p>{t("warnings.signingAs", { name: warner.name })}</p>;
  if (found === "looking" || found === "open") return null;
  if (found === "none") return <p class="quiet">{t("warnings.noPhone")}</p>;
  return <PassphraseForm id="warner-passphrase" label={t("warnings.passphrase")} action={t("warnings.unlock")} {...attempt} onPassphrase={(passphrase) => void open(passphrase)} />;
}
