// The conversations of this phone, one MLS group for each peer: made, joined, kept in step with the server.
//
// All work on one group runs in its lane, one writer at a time. A commit holds the lane until the server has answered, so what others
// send in the new epoch waits until this device has reached it.

import { ApiError, Unreachable, type Schemas } from "../../api/client";
import { fromBase64, toBase64 } from "../../keys/bytes";
import { Conversation, MessageRefused, type EpochKeys, type MlsDevice, type PendingCommit, type Received, type Sealed } from "../../keys/conversation";
import type { Directory } from "./directory";
import type { KeyPackages } from "./keypackages";
import { Lane } from "./lane";
import type { MailboxItem, Session } from "./session";
import type { Change, PhoneStore } from "./store";

/** The peer cannot be reached yet. `soon`: his welcome is on its way; otherwise his phone has to be opened first. */
export class NotReady extends Error {
  constructor(
    detail: string,
    readonly soon: boolean,
  ) {
    super(detail);
  }
}

/** This device and the others no longer share a state, or a key is not the pinned one. Trying again does not help. */
export class Broken extends Error {
  constructor(
    readonly code: "conversation_broken" | "peer_key_changed",
    detail: string,
  ) {
    super(detail);
  }
}

interface Row {
  id: string;
  state: Uint8Array | null;
  pending: PendingCommit | null;
}

interface Group {
  id: string;
  conversation: Conversation | null;
  pending: PendingCommit | null;
}

/** What an inbound application message leads to; its changes are persisted with the ratchet. */
export type Interpret = (peer: string, received: Extract<Received, { kind: "application" }>, keys: EpochKeys) => Change[];

const RENEWAL_ATTEMPTS = 3;

export class Groups {
  private readonly groups = new Map<string, Group>();
  private readonly lanes = new Map<string, Lane>();

  constructor(
    private readonly device: MlsDevice,
    private readonly store: PhoneStore,
    private readonly session: Session,
    private readonly directory: Directory,
    private readonly keyPackages: KeyPackages,
  ) {}

  async load(): Promise<void> {
    for (const [peer, value] of (await this.store.readAll("conversations")) as Map<string, Row>) {
      const conversation = value.state === null ? null : Conversation.restore(value.id, this.device, this.accounts(peer), value.state);
      this.groups.set(peer, { id: value.id, conversation, pending: value.pending });
    }
  }

  /** The conversation's id at the server; null before this phone has heard of it. */
  conversationId(peer: string): string | null {
    return this.groups.get(peer)?.id ?? null;
  }

  /**
   * Seal a message for a peer, making the conversation first if there is none. `changes` are persisted together with the ratchet,
   * before this resolves. Rejects with NotReady, Broken, ApiError or Unreachable.
   */
  seal(peer: string, plaintext: Uint8Array, changes: (sealed: Sealed) => Change[]): Promise<{ sealed: Sealed; keys: EpochKeys }> {
    return this.lane(peer).run(async () => {
      const conversation = await this.ready(peer);
      const sealed = await conversation.encrypt(plaintext, (state, message) => this.store.write([this.row(peer, state), ...changes(message)]));
      return { sealed, keys: conversation.keys() };
    });
  }

  /** The conversation's id at the server, making it if there is none. Rejects like `seal`. */
  ensure(peer: string): Promise<string> {
    return this.lane(peer).run(async () => (await this.ready(peer)).id);
  }

  /** New secrets for the conversation, so that what a thief learnt of the old ones is worth nothing. Best effort. */
  async renewKeys(peer: string, pause: (attempt: number) => Promise<void>): Promise<void> {
    for (let attempt = 1; attempt <= RENEWAL_ATTEMPTS; attempt++) {
      const done = await this.lane(peer).run(async () => {
        const group = this.groups.get(peer);
        if (group?.conversation == null) return true;
        await this.settle(peer, group);
        const pending = await group.conversation.prepareCommit([], this.session.serverUnixS());
        return this.commit(peer, group, pending);
      });
      if (done) return;
      await pause(attempt);
    }
  }

  /**
   * Process one mailbox item; `done` (that it was processed) is persisted together with what it led to. Throws MessageRefused after
   * persisting `done` alone, and whatever the store throws, with nothing persisted.
   */
  async process(item: MailboxItem, done: Change, interpret: Interpret): Promise<void> {
    const peer = await this.peerOf(item.conversation_id);
    if (peer === null) {
      await this.store.write([done]);
      throw new MessageRefused("a conversation that this account is not in");
    }
    await this.lane(peer).run(async () => {
      try {
        if (item.kind === "welcome") await this.join(peer, item, done);
        else await this.receive(peer, item, done, interpret);
      } catch (error) {
        if (error instanceof MessageRefused) await this.store.write([done]);
        throw error;
      }
    });
  }

  private async join(peer: string, item: MailboxItem, done: Change): Promise<void> {
    const known = this.groups.get(peer);
    if (known?.conversation != null && known.pending?.epoch !== 0) throw new MessageRefused("a welcome into a conversation that is joined already");
    const welcome = fromBase64(item.payload);
    const { conversation, used } = await Conversation.join(item.conversation_id, this.device, this.accounts(peer), welcome, this.keyPackages.held);
    const spent = await this.keyPackages.spend(used);
    const group: Group = { id: item.conversation_id, conversation, pending: null };
    await this.store.write([this.row(peer, conversation.serialise(), group), ...spent, done]);
    this.keyPackages.forget(spent);
    this.groups.set(peer, group);
  }

  private async receive(peer: string, item: MailboxItem, done: Change, interpret: Interpret): Promise<void> {
    const group = this.groups.get(peer);
    if (group === undefined) throw new MessageRefused("no state for this conversation on this device");
    await this.settle(peer, group);
    const { conversation } = group;
    if (conversation === null) throw new MessageRefused("no state for this conversation on this device");
    await conversation.receive(fromBase64(item.payload), (state, received) => {
      const changes = received.kind === "application" ? interpret(peer, received, conversation.keys()) : [];
      return this.store.write([this.row(peer, state), ...changes, done]);
    });
  }

  /** In the lane: a conversation that can seal. */
  private async ready(peer: string): Promise<Conversation> {
    if (this.directory.keyChanged(peer)) throw new Broken("peer_key_changed", peer);
    const known = this.groups.get(peer);
    if (known !== undefined) await this.settle(peer, known);
    if (known?.conversation != null) return known.conversation;
    const request: Schemas["ConversationRequest"] = { kind: "direct", members: [peer] };
    const listed = await this.session.call<Schemas["Conversation"]>("POST", "/api/v1/conversations", request);
    if (listed.epoch !== null) {
      if (listed.creator_device_id !== this.device.identity.deviceId) throw new NotReady("the welcome is on its way", true);
      throw new Broken("conversation_broken", "this device made the conversation and has lost its state");
    }
    return this.found(peer, listed.conversation_id);
  }

  /** Make the group and admit the peer's devices. */
  private async found(peer: string, id: string): Promise<Conversation> {
    const claimed = await this.session.call<Schemas["ClaimedKeyPackage"][]>("POST", `/api/v1/accounts/${peer}/key-packages/claim`);
    if (claimed.length === 0) throw new NotReady("the peer's phone has not been opened yet", false);
    const now = this.session.serverUnixS();
    const conversation = await Conversation.create(id, this.device, this.accounts(peer), now);
    const added = claimed.map((one) => ({
      identity: { accountId: peer, deviceId: one.device_id },
      keyPackage: fromBase64(one.key_package),
    }));
    let pending: PendingCommit;
    try {
      pending = await conversation.prepareCommit(added, now);
    } catch (error) {
      if (error instanceof MessageRefused) throw new Broken("peer_key_changed", error.message);
      throw error;
    }
    const group: Group = { id, conversation, pending: null };
    this.groups.set(peer, group);
    if (await this.commit(peer, group, pending)) return conversation;
    throw new NotReady("the peer made the conversation first; his welcome is on its way", true);
  }

  /** Persist a commit, send it, merge it. False if another one was accepted first; then nothing of it remains. */
  private async commit(peer: string, group: Group, pending: PendingCommit): Promise<boolean> {
    if (group.conversation === null) return false;
    group.pending = pending;
    await this.store.write([this.row(peer, group.conversation.serialise(), group)]);
    return this.settle(peer, group);
  }

  /** Bring a pending commit to its end: the server takes the same bytes twice without harm. */
  private async settle(peer: string, group: Group): Promise<boolean> {
    const { pending, conversation } = group;
    if (pending === null || conversation === null) return true;
    const request: Schemas["CommitRequest"] = {
      epoch: pending.epoch,
      commit: toBase64(pending.commit),
      welcome: pending.welcome === null ? null : toBase64(pending.welcome),
      removed: [],
    };
    try {
      await this.session.call<Schemas["CommitAccepted"]>("POST", `/api/v1/conversations/${group.id}/commits`, request);
    } catch (error) {
      if (error instanceof Unreachable || (error instanceof ApiError && error.passing)) throw error;
      if (!(error instanceof ApiError)) throw error;
      const lost: Group = { id: group.id, conversation: pending.epoch === 0 ? null : conversation, pending: null };
      await this.store.write([this.row(peer, lost.conversation?.serialise() ?? null, lost)]);
      Object.assign(group, lost);
      if (error.code === "epoch_taken" || error.code === "not_joined") return false;
      throw error;
    }
    await conversation.merge(pending, (state) => this.store.write([this.row(peer, state, { ...group, pending: null })]));
    group.pending = null;
    return true;
  }

  private row(peer: string, state: Uint8Array | null, group: Group | undefined = this.groups.get(peer)): Change {
    if (group === undefined) throw new RangeError("no such group");
    const value: Row = { id: group.id, state, pending: group.pending };
    return { table: "conversations", key: peer, value };
  }

  private async peerOf(conversationId: string): Promise<string | null> {
    for (const [peer, group] of this.groups) if (group.id === conversationId) return peer;
    const listed = await this.session.call<Schemas["Conversation"][]>("GET", "/api/v1/conversations");
    const members = listed.find((one) => one.conversation_id === conversationId)?.members ?? [];
    const peers = members.filter((member) => member !== this.device.identity.accountId);
    return peers.length === 1 && members.length === 2 ? (peers[0] ?? null) : null;
  }

  private accounts(peer: string): string[] {
    return [this.device.identity.accountId, peer];
  }

  private lane(peer: string): Lane {
    const lane = this.lanes.get(peer) ?? new Lane();
    this.lanes.set(peer, lane);
    return lane;
  }
}
