/** 32 random bytes in base64url without padding (docs/protocols.md, Administration). */
const TOKEN = /^[A-Za-z0-9_-]{43}$/;

/** The one-time token in what a person pasted: the whole link, or the token alone. Null if there is none. */
export function parseAdminToken(pasted: string): string | null {
  const text = pasted.trim();
  const fragment = text.indexOf("#");
  const candidate = fragment >= 0 ? new URLSearchParams(text.slice(fragment + 1)).get("admin") : text;
  return candidate !== null && TOKEN.test(candidate) ? candidate : null;
}
