// What the screens show of people, groups, calls and conferences: names beside ids, in the order in which one reads them.

import type { CallView, ConferencePerson, Contact, Group, GroupMember, PhoneState, RingingConference } from "../model";
import type { Calls } from "./calls";
import type { Conferences } from "./conferences";
import type { Directory } from "./directory";
import type { GroupInfo } from "./groupinfo";
import type { Groups } from "./groups";
import { OPEN_LOCK } from "./lock";
import type { Texts } from "./texts";

/** The parts of the phone that are shown. */
export interface Shown {
  identity: { accountId: string; displayName: string };
  directory: Directory;
  groups: Groups;
  texts: Texts;
  calls: Calls;
  conferences: Conferences;
}

/** A phone of which nothing is known yet. */
export const NOTHING: PhoneState = {
  enrolment: "unknown",
  lock: OPEN_LOCK,
  organisation: null,
  ownDevices: [],
  me: null,
  server: "connecting",
  fault: null,
  contacts: [],
  groups: [],
  threads: {},
  transfers: {},
  unseenCalls: [],
  quiet: false,
  call: null,
  conference: null,
  ringingConference: null,
  access: null,
  path: null,
};

/** Whom the directory names, from the moment on in which the conversation with him is known. */
export function contactsView({ directory, groups, texts, identity }: Shown): Contact[] {
  return directory
    .people()
    .filter(({ accountId }) => groups.hasMet(accountId))
    .map(({ accountId, displayName, online, keyChanged }): Contact => {
      const conversationId = groups.directId(accountId);
      const archives = (groups.info(conversationId)?.archives ?? []).map((account) => nameOf({ directory, identity }, account));
      return { accountId, displayName, online, keyChanged, conversationId, archives, unread: texts.unreadOf(conversationId) };
    })
    .sort((a, b) => a.displayName.localeCompare(b.displayName));
}

export function groupsView(parts: Shown): Group[] {
  return parts.groups
    .list()
    .flatMap((info): Group[] => (info.peer !== null ? [] : [{ ...groupView(parts, info), kind: info.kind === "talk" ? "talk" : "group" }]))
    .sort((a, b) => a.title.localeCompare(b.title));
}

function groupView({ directory, identity, texts }: Shown, info: GroupInfo): Omit<Group, "kind"> {
  const own = identity.accountId;
  // An archive in the MLS group is shown even where the server does not list it.
  const members = [...new Set([...info.roster.members, ...info.archives])].map((accountId): GroupMember => {
    const role = info.archives.includes(accountId) ? "archive" : info.roster.owners.includes(accountId) ? "owner" : "member";
    const joined = info.members.some((member) => member.accountId === accountId);
    const displayName = nameOf({ directory, identity }, accountId);
    return { accountId, displayName, online: accountId === own || directory.online(accountId), me: accountId === own, role, joined };
  });
  members.sort((a, b) => Number(b.me) - Number(a.me) || a.displayName.localeCompare(b.displayName));
  const mayChange = info.standing === "open" && !info.archives.includes(own) && (info.kind === "group" || info.roster.owners.includes(own));
  // What an archive keeps of two people is called by their names.
  const title = info.kind === "direct" ? members.filter(({ role }) => role !== "archive").map(({ displayName }) => displayName).join(", ") : info.title;
  return { conversationId: info.id, title, members, unread: texts.unreadOf(info.id), standing: info.standing, mayChange };
}

export function callView({ calls }: Shown, contacts: readonly Contact[]): CallView | null {
  const { state, details } = calls;
  if (state === null) return null;
  const { callId, peerAccountId, outgoing, precedence, phase, outcome, preemptedBy, activeSince } = state;
  const contact = (id: string): Contact =>
    contacts.find(({ accountId }) => accountId === id) ?? { accountId: id, displayName: id.slice(0, 8), online: false, conversationId: "", archives: [], unread: 0, keyChanged: false };
  const peer = contact(peerAccountId);
  const next = state.next === null ? null : { peer: contact(state.next.peerAccountId), precedence: state.next.invite.precedence, endsAt: state.next.endsAt };
  const { rttMs: measuredRttMs, loss: measuredLoss, ...view } = details;
  return { callId, peer, outgoing, precedence, phase, outcome, preemptedBy, next, activeSince, measuredRttMs, measuredLoss, ...view };
}

export function conferenceView(parts: Shown): PhoneState["conference"] {
  const { state } = parts.conferences;
  if (state === null) return null;
  const { callId: _, present, speaking, ...view } = state;
  const people = [...new Set(present.map(({ accountId }) => accountId))].map((accountId): ConferencePerson => {
    const me = accountId === parts.identity.accountId;
    return { accountId, displayName: nameOf(parts, accountId), me, speaking: speaking.includes(accountId) };
  });
  people.sort((a, b) => Number(b.me) - Number(a.me) || a.displayName.localeCompare(b.displayName));
  const holder = view.floor?.holder ?? null;
  return { ...view, title: titleOf(parts, view.conversationId), people, holderName: holder === null ? null : nameOf(parts, holder) };
}

export function ringingView(parts: Shown): RingingConference | null {
  const { ringing } = parts.conferences;
  return ringing === null ? null : { conversationId: ringing.conversationId, title: titleOf(parts, ringing.conversationId), from: nameOf(parts, ringing.from), precedence: ringing.precedence };
}

function titleOf({ groups }: Shown, conversationId: string): string {
  return groups.info(conversationId)?.title ?? "";
}

/** What a person is called; the beginning of the id for somebody who is not known. */
export function nameOf({ directory, identity }: Pick<Shown, "directory" | "identity">, accountId: string): string {
  if (accountId === identity.accountId) return identity.displayName;
  return directory.people().find((person) => person.accountId === accountId)?.displayName ?? accountId.slice(0, 8);
}
