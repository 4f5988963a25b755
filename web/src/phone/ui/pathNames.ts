import type { PathView, PhoneState } from "../model";

/** The path names place and carrier by their ids; people know them by the names of the access options. */
export function pathNames(path: PathView, access: PhoneState["access"]): { place: string; carrier: string } {
  return {
    place: access?.places.find(({ id }) => id === path.place)?.name ?? path.place,
    carrier: access?.carriers.find(({ id }) => id === path.carrier)?.name ?? path.carrier,
  };
}
