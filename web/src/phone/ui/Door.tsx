import type { ComponentChildren } from "preact";
import { LanguageSwitch } from "../../ui/LanguageSwitch";
import { Mark } from "../../ui/Mark";

/** The page of a phone that is not open: what it is, and what can be done. */
export function Door({ title, lead, children }: { title: string; lead?: string; children: ComponentChildren }) {
  return (
    <div class="enrolment">
      <header class="enrolment-top">
        <LanguageSwitch />
      </header>
      <main class="enrolment-main">
        <div class="enrolment-head">
          <Mark size={56} />
          <h1>{title}</h1>
          {lead !== undefined && <p class="quiet">{lead}</p>}
        </div>
        {children}
      </main>
    </div>
  );
}
