import type { Person } from "../person/person";

/** Under which name this console acts on cases: an operator's, proved by the phone in this browser, else that of the workplace. */
export interface Acting {
  /** As cases and entries say it; empty where nobody can act yet. */
  name: string;
  /** What names a workplace in a request; a person's session names nobody. */
  desk: { desk: string } | Record<string, never>;
  /** bearer: the person's; null for the console's session. */
  as<T>(work: (bearer: string | null) => Promise<T>): Promise<T>;
}

export function asPerson(person: Person, label: string): Acting {
  return { name: label, desk: {}, as: (work) => person.authorised(work) };
}

export function asDesk(name: string): Acting {
  return { name, desk: { desk: name }, as: (work) => work(null) };
}
