// How an MLS group must change to agree with the list of its members. Pure: what is there, what should be → what a commit has to do.

import type { Member } from "../../keys/conversation";

export type ConversationKind = "direct" | "group" | "talk";

/** Accounts, as the server lists them. Owners and archives are members too. */
export interface Roster {
  members: readonly string[];
  owners: readonly string[];
  archives: readonly string[];
}

export interface Plan {
  /** Accounts with devices that are not in the group and belong there. */
  admit: string[];
  /** Device ids that are in the group and do not belong there. */
  remove: string[];
}

/** The list with those archives only that two custodians certified for somebody in it. `mayKeep`: an archive, and whose words. */
export function believed({ members, owners, archives }: Roster, mayKeep: (archive: string, people: readonly string[]) => boolean): Roster {
  const people = members.filter((account) => !archives.includes(account));
  const kept = archives.filter((account) => mayKeep(account, people));
  return { members: [...people, ...kept], owners, archives: kept };
}

/**
 * `present` are the devices in the group, `inviting` the accounts that this person asked to add, `devicesOf` the devices of an account
 * that may be let in; whoever `isRevoked` goes, whatever the server lists.
 *
 * The server's list alone admits nobody to a group: only whom a member asked for, a further device of somebody who is in it, and an
 * archive that custodians certified as one, which everybody sees as such. In a talk group owners and administrators keep the list, so it counts as it stands.
 */
export function planChange(
  kind: ConversationKind,
  own: string,
  present: readonly Member[],
  roster: Roster,
  inviting: readonly string[],
  devicesOf: (accountId: string) => readonly string[],
  isRevoked: (deviceId: string) => boolean,
): Plan {
  const listed = new Set(roster.members);
  const devices = new Set(present.map(({ deviceId }) => deviceId));
  const wanted = kind === "group" ? new Set([own, ...present.map(({ accountId }) => accountId), ...roster.archives, ...inviting]) : listed;
  return {
    admit: [...wanted].filter((accountId) => listed.has(accountId) && devicesOf(accountId).some((deviceId) => !devices.has(deviceId))),
    remove: present.filter(({ accountId, deviceId }) => !listed.has(accountId) || isRevoked(deviceId)).map(({ deviceId }) => deviceId),
  };
}
