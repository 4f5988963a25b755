/** 32 random bytes in base64url without padding (docs/protocols.md, Identity and enrolment). */
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

/** The invitation in what a person pasted: the whole link, or the code alone. Null if there is none. */
export function parseInvitation(pasted: string): string | null {
  const text = pasted.trim();
  const fragment = text.indexOf("#");
  const candidate = fragment >= 0 ? new URLSearchParams(text.slice(fragment + 1)).get("invite") : text;
  return candidate !== null && TOKEN.test(candidate) ? candidate : null;
}
