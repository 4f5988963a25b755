import { takeFromFragment } from "../../ui/fragment";

/** 32 bytes in base64url without padding, as the token and the organisation's fingerprint are (docs/protocols.md, Identity and enrolment). */
const BYTES_32 = /^[A-Za-z0-9_-]{43}$/;

/** The invitation in what a person pasted: the whole link, or what stands behind its `#`. Null if it lacks the token or the organisation. */
export function parseInvitation(pasted: string): string | null {
  const text = pasted.trim();
  const fields = new URLSearchParams(text.slice(text.indexOf("#") + 1));
  const [invite, org] = [fields.get("invite") ?? "", fields.get("org") ?? ""];
  return BYTES_32.test(invite) && BYTES_32.test(org) ? `invite=${invite}&org=${org}` : null;
}

/** The invitation of the link that opened the page, taken out of the address bar. Null if it had none. */
export function takeInvitation(): string | null {
  const fragment = location.hash;
  return takeFromFragment("invite") === null ? null : fragment;
}
