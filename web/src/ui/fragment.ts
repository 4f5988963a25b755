/**
 * Takes a secret such as `#invite=TOKEN` out of the address bar: it must not stay in the history, in a bookmark or on a shared screen.
 * Returns null if the fragment holds no such name; any other fragment is left alone.
 */
export function takeFromFragment(name: string): string | null {
  const fields = new URLSearchParams(location.hash.replace(/^#/, ""));
  const value = fields.get(name);
  if (value === null) return null;
  history.replaceState(history.state, "", location.pathname + location.search);
  return value;
}
