// What a thread is about, whatever kind of conversation it is: a person or a group.

import { t } from "../../i18n";
import type { Contact, Group, PhoneState, ThreadEntry } from "../model";

export interface Subject {
  conversationId: string;
  name: string;
  unread: number;
  contact: Contact | null;
  group: Group | null;
}

export function ofContact(contact: Contact): Subject {
  return { conversationId: contact.conversationId, name: contact.displayName, unread: contact.unread, contact, group: null };
}

export function ofGroup(group: Group): Subject {
  return { conversationId: group.conversationId, name: group.title || t("group.untitled"), unread: group.unread, contact: null, group };
}

export function subjects({ contacts, groups }: PhoneState): Subject[] {
  return [...contacts.map(ofContact), ...groups.map(ofGroup)];
}

export function subjectOf(state: PhoneState, conversationId: string | null): Subject | undefined {
  return subjects(state).find((subject) => subject.conversationId === conversationId);
}

/** A person's name, in a conversation or outside it. */
export function personName({ contacts, me }: PhoneState, group: Group | null, accountId: string): string {
  const member = group?.members.find((one) => one.accountId === accountId);
  if (member !== undefined) return member.displayName;
  if (accountId === me?.accountId) return me.displayName;
  return contacts.find((contact) => contact.accountId === accountId)?.displayName ?? accountId.slice(0, 8);
}

/** What happened to a group or to a person's devices, in one sentence. */
export function eventSentence(state: PhoneState, group: Group | null, entry: Extract<ThreadEntry, { kind: "title" | "roster" | "device" }>): string {
  const name = personName(state, group, entry.actor);
  if (entry.kind === "device") return t(entry.revoked ? "thread.deviceRevoked" : "thread.deviceAdded", { name });
  if (entry.kind === "title") return entry.outgoing ? t("group.event.titledYou", { title: entry.title }) : t("group.event.titled", { name, title: entry.title });
  if (entry.joined) return t("group.event.joined", { name });
  const names = (accounts: readonly string[]): string => accounts.map((account) => personName(state, group, account)).join(", ");
  const parts: string[] = [];
  if (entry.added.length > 0) parts.push(entry.outgoing ? t("group.event.addedYou", { names: names(entry.added) }) : t("group.event.added", { name, names: names(entry.added) }));
  if (entry.removed.length > 0) {
    const gone = { name, names: names(entry.removed) };
    const mine = state.me !== null && entry.removed.includes(state.me.accountId);
    parts.push(mine ? t("group.event.wasRemoved", gone) : entry.outgoing ? t("group.event.removedYou", gone) : t("group.event.removed", gone));
  }
  return parts.join(". ");
}
