import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

interface DialogProps {
  /** Id of the heading inside that names the dialog. */
  labelledBy: string;
  describedBy?: string;
  class?: string;
  /** Called when the person presses Escape. Without it Escape does nothing: the question must be answered. */
  onDismiss?: () => void;
  /** An urgent question, such as an incoming call. */
  urgent?: boolean;
  children: ComponentChildren;
}

/** A modal dialog. The browser itself keeps the focus inside and gives it back afterwards. */
export function Dialog({ labelledBy, describedBy, class: className, onDismiss, urgent, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);

  // Before the browser paints: whoever is quick would otherwise be given back another place than the one that he opened it from
  useLayoutEffect(() => {
    const dialog = element.current;
    if (!dialog) return;
    const opener = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);

  return (
    <dialog
      ref={element}
      class={`dialog ${className ?? ""}`}
      role={urgent ? "alertdialog" : "dialog"}
      aria-modal="true"
      aria-labelledby={labelledBy}
      aria-describedby={describedBy}
      onCancel={(event) => {
        event.preventDefault();
        onDismiss?.();
      }}
      onKeyDown={(event) => {
        // Chromium closes a dialog on a second Escape even if `cancel` was refused
        if (event.key === "Escape") {
          event.preventDefault();
          onDismiss?.();
        }
      }}
    >
      {children}
    </dialog>
  );
}
