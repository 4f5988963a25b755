import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../../i18n";
import { PassphraseForm } from "../../ui/PassphraseForm";
import type { Person } from "./person";

type Found = "looking" | "none" | "sealed" | "open";

interface UnlockProps {
  person: Person | null;
  onOpen: (person: Person) => void;
  /** What is said when the phone is open. */
  opened: string;
  /** What the button of the passphrase does. */
  action: string;
  /** Where this browser is nobody's phone. */
  children: ComponentChildren;
  onNobody?: () => void;
}

/** Finds the phone that is enrolled in this browser; asks for its passphrase where it has one. */
export function Unlock({ person, onOpen, opened: words, action, children, onNobody }: UnlockProps) {
  const [found, setFound] = useState<Found>("looking");
  const [attempt, setAttempt] = useState({ working: false, wrong: false, retryAt: 0 });
  const nobody = () => {
    setFound("none");
    onNobody?.();
  };
  const open = async (given: string | null) => {
    setAttempt((last) => ({ ...last, working: given !== null, wrong: false }));
    try {
      const { Person: Opener } = await import("./person");
      const opened = await Opener.open(given);
      if (opened === "sealed") return setFound("sealed");
      if (opened === null) return nobody();
      setFound("open");
      onOpen(opened);
    } catch (error) {
      if (given === null) return nobody();
      const { WrongPassphrase } = await import("../../phone/engine/vault");
      setAttempt({ working: false, wrong: true, retryAt: error instanceof WrongPassphrase ? error.retryAt : 0 });
    }
  };
  useEffect(() => {
    if (person === null) void open(null);
  }, []);
  if (person !== null) return <p>{words}</p>;
  if (found === "looking" || found === "open") return null;
  if (found === "none") return <>{children}</>;
  return <PassphraseForm id="person-passphrase" label={t("warnings.passphrase")} action={action} {...attempt} onPassphrase={(passphrase) => void open(passphrase)} />;
}
