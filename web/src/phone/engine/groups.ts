// The conversations of this phone, each an MLS group: made, joined, changed, kept in step with the server.
//
// All work on one group runs in its lane, one writer at a time. A commit holds the lane until the server has answered, so what others
// send in the new epoch waits until this device has reached it. Whoever loses a race lets go of the lane, so that the commit that won can
// be processed, waits a little longer each time, and looks again at what is still to be done.

import { ApiError, type Schemas } from "../../api/client";
import { fromBase64, randomId, toBase64 } from "../../keys/bytes";
import {
  AccountOutside,
  Conversation,
  MessageRefused,
  type Change as GroupChange,
  type EpochKeys,
  type Member,
  type MlsDevice,
  type PendingCommit,
  type Received,
  type Sealed,
} from "../../keys/conversation";
import { directConversationId } from "../../keys/statement";
import type { Directory } from "./directory";
import { Broken, NotReady, type GroupInfo, type Standing } from "./groupinfo";
import type { KeyPackages } from "./keypackages";
import { Lane } from "./lane";
import { believed, planChange, type ConversationKind, type Roster } from "./reconcile";
import type { MailboxItem, Session } from "./session";
import type { Change, PhoneStore } from "./store";

interface Row {
  id: string;
  kind: ConversationKind;
  peer: string | null;
  title: string;
  standing: Standing;
  roster: Roster;
  inviting: string[];
  state: Uint8Array | null;
  pending: PendingCommit | null;
}

interface Group extends Omit<Row, "state"> {
  /** Who may be in it; null for groups. */
  accounts: Set<string> | null;
  conversation: Conversation | null;
}

/** Something verified that came in, or a commit of one's own. */
export type Incident = Received | { kind: "joined"; sender: string };

/** What an incident leads to; its changes are persisted with the ratchet. */
export type Interpret = (id: string, incident: Incident, keys: EpochKeys) => Change[];

export interface GroupEvents {
  /** A conversation appeared or changed. */
  changed(): void;
  /** An own commit was accepted: its changes are persisted with it. */
  committed(id: string, added: readonly Member[], removed: readonly Member[]): Change[];
}

const ATTEMPTS = 6;
const BACKOFF_MS = 400;
/** Key packages in one commit: an addition takes about 2.7 kB of its 380 KiB. */
const ADDED_AT_ONCE = 100;
/** Whoever did not ask for a change waits for who did, and for members before him. */
const ONLOOKER_PAUSE_MS = 1_500;
const RANK_PAUSE_MS = 600;
const LAST_RANK = 20;
/** A new member renews its keys after 1 to 3 s, and later in larger groups, so that not all do at once. */
const WARMING_MS = 1_000;
const WARMING_PER_MEMBER_MS = 150;

export class Groups {
  private readonly groups = new Map<string, Group>();
  private readonly directIds = new Map<string, string>();
  private readonly lanes = new Map<string, Lane>();
  private readonly underWay = new Set<string>();

  constructor(
    private readonly device: MlsDevice,
    private readonly store: PhoneStore,
    private readonly session: Session,
    private readonly directory: Directory,
    private readonly keyPackages: KeyPackages,
    private readonly environment: { pause: (ms: number) => Promise<void>; random: () => number },
    private readonly events: GroupEvents,
  ) {}

  async load(): Promise<void> {
    for (const [id, row] of (await this.store.readAll("conversations")) as Map<string, Row>) {
      const { state, ...rest } = row;
      const accounts = this.accountsOf(row.kind, row.peer, row.roster);
      const conversation = state === null ? null : Conversation.restore(id, this.device, accounts, state);
      this.groups.set(id, { ...rest, accounts, conversation });
      if (row.peer !== null) this.directIds.set(row.peer, id);
    }
  }

  /** Knows the direct conversations with these accounts by their ids; nobody is asked for that. */
  async meet(accountIds: Iterable<string>): Promise<void> {
    const own = this.device.identity.accountId;
    for (const peer of accountIds) {
      if (this.directIds.has(peer) || peer === own) continue;
      const id = await directConversationId(own, peer);
      this.directIds.set(peer, id);
      if (!this.groups.has(id)) this.groups.set(id, this.fresh(id, "direct", peer, { members: [own, peer].sort(), owners: [], archives: [] }));
    }
  }

  hasMet(peer: string): boolean {
    return this.directIds.has(peer);
  }

  /** The direct conversation with an account that was met. */
  directId(peer: string): string {
    const id = this.directIds.get(peer);
    if (id === undefined) throw new Broken("not_a_member", "an account that is not in the directory");
    return id;
  }

  info(id: string): GroupInfo | null {
    const group = this.groups.get(id);
    return group === undefined ? null : this.shown(group);
  }

  /** All conversations, direct ones before their first message too. */
  list(): GroupInfo[] {
    return [...this.groups.values()].map((group) => this.shown(group));
  }

  private shown(group: Group): GroupInfo {
    const members = group.conversation?.members ?? [];
    const accounts = new Set([...group.roster.members, ...members.map(({ accountId }) => accountId)]);
    return { ...group, members, archives: [...accounts].filter((accountId) => this.directory.isArchive(accountId)) };
  }

  /** The keys of a conversation's present epoch; null before this device is in it and after it was removed. */
  keys(id: string): EpochKeys | null {
    const conversation = this.groups.get(id)?.conversation ?? null;
    return conversation === null || conversation.closed ? null : conversation.keys();
  }

  /**
   * Seal a message for a conversation, founding it first where it does not exist yet. `changes` are persisted together with the ratchet,
   * before this resolves. Rejects with NotReady, Broken, ApiError or Unreachable.
   */
  seal(id: string, plaintext: Uint8Array, changes: (sealed: Sealed) => Change[]): Promise<{ sealed: Sealed; keys: EpochKeys }> {
    return this.lane(id).run(async () => {
      const conversation = await this.ready(this.group(id));
      const sealed = await conversation.encrypt(plaintext, (state, message) => this.store.write([this.row(this.group(id), state), ...changes(message)]));
      return { sealed, keys: conversation.keys() };
    });
  }

  /** Makes sure that the conversation exists and that this device is in it. Rejects like `seal`. */
  async ensure(id: string): Promise<void> {
    await this.lane(id).run(() => this.ready(this.group(id)));
  }

  /** A new group or talk group with these accounts and oneself: its id. It is founded before this resolves. Rejects like `seal`. */
  async create(kind: "group" | "talk", title: string, accountIds: readonly string[]): Promise<string> {
    const id = randomId();
    const own = this.device.identity.accountId;
    const roster: Roster = { members: [own, ...accountIds], owners: [own], archives: [] };
    const group: Group = { ...this.fresh(id, kind, null, roster), title, inviting: [...accountIds] };
    await this.store.write([this.row(group, null)]);
    this.groups.set(id, group);
    this.events.changed();
    await this.ensure(id);
    await this.reconcile(id);
    return id;
  }

  /** Add accounts to a group: to the list, and their devices to the MLS group. */
  async add(id: string, accountIds: readonly string[]): Promise<void> {
    const group = this.group(id);
    const request: Schemas["MembersRequest"] = { members: [...accountIds] };
    const listed = await this.session.call<Schemas["Conversation"]>("POST", `/api/v1/conversations/${id}/members`, request);
    await this.lane(id).run(async () => {
      group.inviting = [...new Set([...group.inviting, ...accountIds])];
      await this.keepRoster(group, listed);
    });
    await this.reconcile(id);
  }

  /** Remove an account from a group: off the list, and its devices out of the MLS group. */
  async remove(id: string, accountId: string): Promise<void> {
    await this.session.call("DELETE", `/api/v1/conversations/${id}/members/${accountId}`);
    await this.reconcile(id);
  }

  /** Leave a group. Its other members' phones take this account's devices out. */
  async leave(id: string): Promise<void> {
    await this.lane(id).run(async () => {
      await this.session.call("DELETE", `/api/v1/conversations/${id}/members/${this.device.identity.accountId}`);
      await this.close(this.group(id), "left");
    });
  }

  /** The change that keeps a title; it holds from when it is persisted. */
  retitle(id: string, title: string): Change {
    const group = this.group(id);
    group.title = title;
    return this.row(group, group.conversation?.serialise() ?? null);
  }

  /** New secrets for the conversation, so that what a thief learnt of the old ones is worth nothing. Best effort. */
  async renewKeys(id: string, onlyIf: (conversation: Conversation) => boolean = () => true): Promise<void> {
    await this.insist(id, async (group) => {
      if (group.conversation === null || group.standing !== "open" || !onlyIf(group.conversation)) return true;
      return this.change(group, {});
    });
  }

  /**
   * Bring the MLS group in line with the list of members. An onlooker, who did not ask for the change, waits first: most often there is
   * nothing left to do then.
   */
  async reconcile(id: string, onlooker = false): Promise<void> {
    if (onlooker) {
      if (this.underWay.has(id)) return;
      this.underWay.add(id);
      try {
        await this.environment.pause(ONLOOKER_PAUSE_MS + RANK_PAUSE_MS * (this.rank(id) + this.environment.random()));
      } finally {
        this.underWay.delete(id);
      }
    }
    await this.insist(id, async (group) => {
      await this.refresh(group);
      return this.approach(group);
    });
  }

  /** The server says that the members of a conversation changed. */
  async heed(id: string): Promise<void> {
    const group = this.groups.get(id) ?? (await this.discover(id));
    if (group === null) return;
    await this.lane(id).run(() => this.refresh(group));
    this.foundForOthers(group);
    const { admit, remove } = this.plan(group);
    if (admit.length + remove.length > 0) await this.reconcile(id, true);
  }

  /** A talk group that an administrator made for this person: his phone founds it. */
  private foundForOthers({ id, kind, conversation, standing, roster }: Group): void {
    if (kind !== "talk" || conversation !== null || standing !== "open" || !roster.owners.includes(this.device.identity.accountId)) return;
    void this.ensure(id).then(() => this.reconcile(id), () => undefined); // another device of his was first, or the next survey finds it again
  }

  /** Fetch the list of all conversations: notice those that are new or over, and change what others left to be changed. */
  async survey(): Promise<void> {
    const listed = await this.session.call<Schemas["Conversation"][]>("GET", "/api/v1/conversations");
    const present = new Set(listed.map(({ conversation_id }) => conversation_id));
    for (const one of listed) {
      const group = this.notice(one);
      await this.lane(group.id).run(() => this.keepRoster(group, one));
      this.foundForOthers(group);
      const { admit, remove } = this.plan(group);
      if (admit.length + remove.length > 0) void this.reconcile(group.id, true).catch(() => undefined); // the next survey finds it again
    }
    for (const group of this.groups.values()) {
      const known = group.conversation !== null && group.standing === "open";
      if (known && !present.has(group.id) && group.pending === null) await this.lane(group.id).run(() => this.close(group, "removed"));
    }
    this.events.changed();
  }

  /**
   * Process one mailbox item; `done` (that it was processed) is persisted together with what it led to. Throws MessageRefused after
   * persisting `done` alone, and whatever the store throws, with nothing persisted.
   */
  async process(item: MailboxItem, done: Change, interpret: Interpret): Promise<void> {
    const group = this.groups.get(item.conversation_id) ?? (await this.discover(item.conversation_id));
    if (group === null) {
      await this.store.write([done]);
      throw new MessageRefused("a conversation that this account is not in");
    }
    await this.lane(group.id).run(async () => {
      try {
        if (item.kind === "welcome") await this.join(group, item, done, interpret);
        else await this.receive(group, item, done, interpret);
      } catch (error) {
        if (error instanceof MessageRefused) await this.store.write([done]);
        throw error;
      }
    });
  }

  private async join(group: Group, item: MailboxItem, done: Change, interpret: Interpret): Promise<void> {
    const { conversation: known, pending } = group;
    if (known !== null && !known.closed && pending?.epoch !== 0) throw new MessageRefused("a welcome into a conversation that is joined already");
    if (group.kind !== "direct" || known !== null) await this.refresh(group);
    const tree = (epoch: number): Promise<Uint8Array> => this.session.fetchOctets(`/api/v1/conversations/${group.id}/trees/${epoch}`);
    const open = (): ReturnType<typeof Conversation.join> => Conversation.join(group.id, this.device, group.accounts, fromBase64(item.payload), this.keyPackages.held, tree);
    const { conversation, used } = await this.withArchives(group, open);
    const spent = await this.keyPackages.spend(used);
    const joined: Group = { ...group, conversation, pending: null, standing: "open" };
    const sender = conversation.members.find(({ deviceId }) => deviceId === item.sender_device_id)?.accountId ?? "";
    const shown = group.kind === "direct" ? [] : interpret(group.id, { kind: "joined", sender }, conversation.keys());
    await this.store.write([this.row(joined, conversation.serialise()), ...shown, ...spent, done]);
    this.keyPackages.forget(spent);
    Object.assign(group, joined);
    if (conversation.members.length > 2) void this.warm(group.id);
  }

  private async receive(group: Group, item: MailboxItem, done: Change, interpret: Interpret): Promise<void> {
    if (group.conversation !== null) await this.settle(group);
    const { conversation } = group;
    if (conversation === null) throw new MessageRefused("no state for this conversation on this device");
    if (conversation.closed) throw new MessageRefused("this device is no longer in the conversation");
    const open = (): Promise<Received> => conversation.receive(fromBase64(item.payload), (state, received) => {
      if (received.kind === "removed") group.standing = group.standing === "left" ? "left" : "removed";
      return this.store.write([this.row(group, state), ...interpret(group.id, received, conversation.keys()), done]);
    });
    await this.withArchives(group, open);
  }

  /** In the lane: what admits an account that this phone has not heard of may admit an archive. */
  private async withArchives<T>(group: Group, open: () => Promise<T>): Promise<T> {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof AccountOutside)) throw error;
      await this.refresh(group);
      return await open();
    }
  }

  /** Soon after joining: a commit of one's own, where the tree above this device is cold (findings: 200 members, 248 kB → 21 kB). */
  private async warm(id: string): Promise<void> {
    const members = this.info(id)?.members.length ?? 0;
    await this.environment.pause(WARMING_MS + (2 * WARMING_MS + WARMING_PER_MEMBER_MS * members) * this.environment.random());
    await this.renewKeys(id, (conversation) => conversation.cold).catch(() => undefined); // only larger commits are the consequence
  }

  /** In the lane: a conversation that can seal. */
  private async ready(group: Group): Promise<Conversation> {
    if (group.peer !== null && this.directory.keyChanged(group.peer)) throw new Broken("peer_key_changed", group.peer);
    if (group.standing !== "open") throw new Broken("not_a_member", group.standing);
    await this.settle(group);
    if (group.conversation !== null) {
      await this.expelRevoked(group);
      const alone = group.peer !== null && !group.conversation.members.some(({ accountId }) => accountId === group.peer);
      if (alone && !((await this.approach(group)) && group.conversation.members.some(({ accountId }) => accountId === group.peer))) {
        throw new NotReady("no device of this person is certified and can be reached", false);
      }
      return group.conversation;
    }
    const request: Schemas["ConversationRequest"] =
      group.peer !== null
        ? { kind: "direct", members: [group.peer] }
        : { kind: group.kind, conversation_id: group.id, members: group.roster.members.filter((one) => one !== this.device.identity.accountId) };
    const listed = await this.session.call<Schemas["Conversation"]>("POST", "/api/v1/conversations", request);
    if (listed.conversation_id !== group.id) throw new Broken("conversation_broken", "the server names another conversation");
    await this.keepRoster(group, listed);
    if (listed.epoch !== null) {
      if (listed.creator_device_id !== this.device.identity.deviceId) throw new NotReady("the welcome is on its way", true);
      throw new Broken("conversation_broken", "this device made the conversation and has lost its state");
    }
    return this.found(group);
  }

  /** Make the MLS group and admit the devices of its members. */
  private async found(group: Group): Promise<Conversation> {
    const { members, archives } = this.believed(group.roster);
    const asked = new Set([this.device.identity.accountId, ...archives, ...group.inviting]);
    // As in `planChange`: the server's list alone lets nobody into a group.
    const { added, refused } = await this.claim(group, group.kind === "group" ? members.filter((account) => asked.has(account)) : members);
    if (group.peer !== null && !added.some(({ identity }) => identity.accountId === group.peer)) {
      if (refused.includes(group.peer)) throw new Broken("peer_key_changed", group.peer);
      throw new NotReady("the peer's phone has not been opened yet", false);
    }
    const now = this.session.serverUnixS();
    const conversation = await Conversation.create(group.id, this.device, group.accounts, now);
    const pending = await conversation.prepareCommit({ added }, now);
    group.conversation = conversation;
    if (await this.submit(group, pending)) return conversation;
    throw new NotReady("another device made the conversation first; its welcome is on its way", true);
  }

  /** Key packages of members' devices that are not in the group, as far as they are those that the directory shows. */
  private async claim(group: Group, accounts: readonly string[]): Promise<{ added: NonNullable<GroupChange["added"]>; refused: string[] }> {
    if (accounts.length === 0) return { added: [], refused: [] };
    const request: Schemas["ClaimRequest"] = { accounts: accounts.slice(0, ADDED_AT_ONCE) };
    const claimed = await this.session.call<Schemas["ClaimedOfMember"][]>("POST", `/api/v1/conversations/${group.id}/key-packages/claim`, request);
    const offers = claimed.map(({ account_id, device_id, key_package }) => ({
      identity: { accountId: account_id, deviceId: device_id },
      keyPackage: fromBase64(key_package),
    }));
    const [added, refused] = [offers.filter((offer) => this.device.admits(offer)), offers.filter((offer) => !this.device.admits(offer))];
    return { added: added.slice(0, ADDED_AT_ONCE), refused: refused.map(({ identity }) => identity.accountId) };
  }

  /** In the lane: one step towards the list of members. True when there is nothing more to do. */
  private async approach(group: Group): Promise<boolean> {
    if (group.standing !== "open") return true;
    await this.settle(group);
    if (group.conversation === null) return true;
    const { admit, remove } = this.plan(group);
    const { added } = await this.claim(group, admit);
    if (added.length + remove.length === 0) {
      if (group.inviting.length > 0) await this.store.write([this.row({ ...group, inviting: (group.inviting = []) }, group.conversation.serialise())]);
      return true;
    }
    return (await this.change(group, { added, removed: remove })) && admit.length <= ADDED_AT_ONCE;
  }

  private plan(group: Group): { admit: string[]; remove: string[] } {
    if (group.conversation === null || group.conversation.closed) return { admit: [], remove: [] };
    const { accountId } = this.device.identity;
    return planChange(group.kind, accountId, group.conversation.members, this.believed(group.roster), group.inviting, (of) => this.directory.devicesOf(of), (deviceId) => this.directory.isRevoked(deviceId));
  }

  /** What the log or the directory says has changed: whoever was revoked goes, further devices come in. */
  tidy(): void {
    for (const group of this.groups.values()) {
      const { admit, remove } = this.plan(group);
      if (admit.length + remove.length > 0) void this.reconcile(group.id, true).catch(() => undefined); // the next survey finds it again
    }
  }

  /** In the lane: nothing is sealed for a device that was revoked. */
  private async expelRevoked(group: Group): Promise<void> {
    const revoked = group.conversation?.members.filter(({ deviceId }) => this.directory.isRevoked(deviceId)) ?? [];
    if (revoked.length === 0) return;
    if (!(await this.change(group, { removed: revoked.map(({ deviceId }) => deviceId) }))) throw new NotReady("a revoked device is still in the conversation", true);
  }

  /** Does a step until it is done, outside the lane in between; gives up quietly after a while. */
  private async insist(id: string, step: (group: Group) => Promise<boolean>): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      if (await this.lane(id).run(() => step(this.group(id)))) return;
      await this.environment.pause(BACKOFF_MS * 2 ** Math.min(attempt, 5) * (0.5 + this.environment.random()));
    }
  }

  /** In the lane: one commit. False if another one was accepted first. */
  private async change(group: Group, change: GroupChange): Promise<boolean> {
    await this.settle(group);
    if (group.conversation === null) return true;
    return this.submit(group, await group.conversation.prepareCommit(change, this.session.serverUnixS()));
  }

  /** Persist a commit, send it, merge it. False if another one was accepted first; then nothing of it remains. */
  private async submit(group: Group, pending: PendingCommit): Promise<boolean> {
    if (group.conversation === null) return false;
    group.pending = pending;
    await this.store.write([this.row(group, group.conversation.serialise())]);
    return this.settle(group);
  }

  /** Bring a pending commit to its end: the server takes the same bytes twice without harm. */
  private async settle(group: Group): Promise<boolean> {
    const { pending, conversation } = group;
    if (pending === null || conversation === null) return true;
    const request: Schemas["CommitRequest"] = {
      epoch: pending.epoch,
      commit: toBase64(pending.commit),
      welcome: pending.welcome === null ? null : toBase64(pending.welcome),
      removed: pending.removed,
    };
    try {
      if (pending.tree !== null) await this.offerTree(group, pending.epoch + 1, pending.tree);
      await this.session.call<Schemas["CommitAccepted"]>("POST", `/api/v1/conversations/${group.id}/commits`, request);
    } catch (error) {
      if (!(error instanceof ApiError) || error.passing) throw error;
      const lost: Group = { ...group, conversation: pending.epoch === 0 ? null : conversation, pending: null };
      await this.store.write([this.row(lost, lost.conversation?.serialise() ?? null)]);
      Object.assign(group, lost);
      if (error.code === "epoch_taken" || error.code === "not_joined") return false;
      throw error;
    }
    const before = conversation.members;
    await conversation.merge(pending, (state, after) => {
      const [added, removed] = [difference(after, before), difference(before, after)];
      group.inviting = group.inviting.filter((account) => !added.some(({ accountId }) => accountId === account));
      const shown = group.kind === "direct" ? [] : this.events.committed(group.id, pending.epoch === 0 ? [] : added, removed);
      return this.store.write([this.row({ ...group, pending: null }, state), ...shown]);
    });
    group.pending = null;
    this.events.changed();
    return true;
  }

  private async offerTree(group: Group, epoch: number, tree: Uint8Array): Promise<void> {
    try {
      await this.session.putOctets(`/api/v1/conversations/${group.id}/trees/${epoch}`, tree);
    } catch (error) {
      // The epoch is over: the commit itself will be told so, or it was accepted before and this was done then.
      if (!(error instanceof ApiError && error.code === "epoch_out_of_range")) throw error;
    }
  }

  /** In the lane: what the server lists now. */
  private async refresh(group: Group): Promise<void> {
    try {
      await this.keepRoster(group, await this.session.call<Schemas["Conversation"]>("GET", `/api/v1/conversations/${group.id}`));
    } catch (error) {
      if (!(error instanceof ApiError && error.code === "not_found")) throw error;
      if (group.conversation !== null) await this.close(group, "removed");
    }
  }

  private async keepRoster(group: Group, listed: Schemas["Conversation"]): Promise<void> {
    const { members, owners, archives } = listed;
    const roster: Roster = { members, owners, archives };
    for (const account of this.believed(roster).archives) group.accounts?.add(account);
    if (JSON.stringify(roster) === JSON.stringify(group.roster)) return;
    group.roster = roster;
    // A direct conversation that was never used is nothing to keep.
    if (group.conversation !== null || group.peer === null) await this.store.write([this.row(group, group.conversation?.serialise() ?? null)]);
    this.events.changed();
  }

  private async close(group: Group, standing: "left" | "removed"): Promise<void> {
    if (group.standing !== "open") return;
    group.standing = standing;
    await this.store.write([this.row(group, group.conversation?.serialise() ?? null)]);
    this.events.changed();
  }

  private notice(listed: Schemas["Conversation"]): Group {
    const { conversation_id: id, kind, members, owners, archives } = listed;
    const known = this.groups.get(id);
    if (known !== undefined) return known;
    const own = this.device.identity.accountId;
    // An archive is party to nobody's conversation: it has no peer there.
    const peer = kind === "direct" && !archives.includes(own) ? (members.find((member) => member !== own && !archives.includes(member)) ?? null) : null;
    const group = this.fresh(id, kind, peer, { members, owners, archives });
    this.groups.set(id, group);
    if (peer !== null) this.directIds.set(peer, id);
    return group;
  }

  private async discover(id: string): Promise<Group | null> {
    try {
      return this.notice(await this.session.call<Schemas["Conversation"]>("GET", `/api/v1/conversations/${id}`));
    } catch (error) {
      if (error instanceof ApiError && error.code === "not_found") return null;
      throw error;
    }
  }

  /** How many members that are online stand before this device in the tree. */
  private rank(id: string): number {
    const { accountId, deviceId } = this.device.identity;
    const members = this.info(id)?.members ?? [];
    const before = members.slice(0, members.findIndex((member) => member.deviceId === deviceId) + 1);
    return Math.min(LAST_RANK, before.filter((member) => member.accountId !== accountId && this.directory.online(member.accountId)).length);
  }

  private fresh(id: string, kind: ConversationKind, peer: string | null, roster: Roster): Group {
    const accounts = this.accountsOf(kind, peer, roster);
    return { id, kind, peer, title: "", standing: "open", roster, inviting: [], accounts, conversation: null, pending: null };
  }

  private accountsOf(kind: ConversationKind, peer: string | null, roster: Roster): Set<string> | null {
    if (kind !== "direct") return null;
    return new Set(peer === null ? roster.members : [this.device.identity.accountId, peer, ...this.believed(roster).archives]);
  }

  private believed(roster: Roster): Roster {
    return believed(roster, (archive, people) => this.directory.mayKeep(archive, people));
  }

  private row(group: Group, state: Uint8Array | null): Change {
    const { id, kind, peer, title, standing, roster, inviting, pending } = group;
    const value: Row = { id, kind, peer, title, standing, roster, inviting, state, pending };
    return { table: "conversations", key: id, value };
  }

  private group(id: string): Group {
    const group = this.groups.get(id);
    if (group === undefined) throw new Broken("not_a_member", "no such conversation");
    return group;
  }

  private lane(id: string): Lane {
    const lane = this.lanes.get(id) ?? new Lane();
    this.lanes.set(id, lane);
    return lane;
  }
}

function difference(members: readonly Member[], others: readonly Member[]): Member[] {
  return members.filter(({ deviceId }) => !others.some((other) => other.deviceId === deviceId));
}
