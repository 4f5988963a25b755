// A conversation: one MLS group (RFC 9420), seen through a strict and narrow door.
//
// Every method that moves the ratchet first computes the next state, then lets the caller persist it, and only then returns bytes or
// makes the state its own: a crash at any point repeats work, it never reuses a key. What does not verify changes nothing.

import {
  createApplicationMessage,
  createCommit,
  createGroup,
  decodeGroupState,
  decodeMlsMessage,
  defaultKeyPackageEqualityConfig,
  emptyPskIndex,
  encodeGroupState,
  encodeMlsMessage,
  generateKeyPackageWithKey,
  joinGroup,
  mlsExporter,
  processPrivateMessage,
  type CiphersuiteImpl,
  type ClientConfig,
  type ClientState,
  type Credential,
  type KeyPackage,
  type MLSMessage,
  type PrivateKeyPackage,
  type RatchetTree,
  type SecretTree,
  type Welcome,
} from "ts-mls";

import { concat, equal, fromHex, fromUtf8, owned, toHex, utf8, type Bytes } from "./bytes";
import { decodeRatchetTree, encodeRatchetTree, filteredDirectPath } from "ts-mls/ratchetTree.js";
import { toLeafIndex } from "ts-mls/treemath.js";
import { decryptGroupInfo, decryptGroupSecrets } from "ts-mls/welcome.js";

import type { Exporter } from "./shortcode";
import type { DeviceKey } from "./statement";
import { CAPABILITIES, SUITE_NAME, suiteFor } from "./suite";

/** Key packages are valid for 12 weeks, with an hour of grace for clocks that run late. */
const KEY_PACKAGE_LIFETIME_S = 84 * 86_400;
const CLOCK_GRACE_S = 3_600;
/** The server takes messages of the current epoch and of the two before (docs/protocols.md). */
const PAST_EPOCHS = 3;
/** A ratchet tree above this travels apart from the welcome: it is stored once, however many join, and a welcome has its limit. */
const TREE_IN_WELCOME_BYTES = 64 * 1024;

/** What a peer or the server sent is not acceptable: it was dropped and the conversation is as it was. */
export class MessageRefused extends Error {}

/** It would admit an account that does not belong to the conversation. */
export class AccountOutside extends MessageRefused {}

/** Who signs with which key, as directory and pins say. Asked for every leaf that enters a tree. */
export interface Authority {
  /** The device bears this key by a certificate; it may be out again meanwhile, and is removed then. */
  accepts(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean;
  /** The device may be let in now. */
  admits(accountId: string, deviceId: string, signaturePublicKey: Uint8Array): boolean;
}

export interface Identity {
  accountId: string;
  deviceId: string;
}

export interface Member extends Identity {
  leafIndex: number;
}

export interface StoredKeyPackage {
  /** MLSMessage with the KeyPackage, as the server hands it out. */
  message: Uint8Array;
  initPrivateKey: Uint8Array;
  hpkePrivateKey: Uint8Array;
  /** POSIX seconds. */
  notAfter: number;
}

/** A commit that the server has not yet accepted. `state` is the group after it. */
export interface PendingCommit {
  epoch: number;
  commit: Uint8Array;
  welcome: Uint8Array | null;
  /** The ratchet tree for whom the welcome admits, when it is too large to stand in it. */
  tree: Uint8Array | null;
  /** Ids of the devices that it takes out. */
  removed: string[];
  state: Uint8Array;
}

/** What a commit is to do. With neither it renews this device's keys alone. */
export interface Change {
  /** Each key package as the MLSMessage that the server handed out. */
  added?: readonly { identity: Identity; keyPackage: Uint8Array }[];
  /** Device ids; those that are not in the group are passed over. */
  removed?: readonly string[];
}

export interface Sealed {
  message: Bytes;
  epoch: bigint;
}

export type Received =
  | { kind: "application"; sender: Member; plaintext: Uint8Array; epoch: bigint }
  | { kind: "commit"; sender: Member; epoch: bigint; added: readonly Member[]; removed: readonly Member[] }
  /** The last thing that this device can read here. */
  | { kind: "removed"; sender: Member };

/** Keys of one epoch, usable for the length of a call even when the conversation moves on. */
export interface EpochKeys {
  epoch: bigint;
  ownLeaf: number;
  members: readonly Member[];
  export: Exporter;
}

/** Accounts that may be members; null: whoever a member admits. */
export type Accounts = ReadonlySet<string> | null;

/** Fetches the ratchet tree of an epoch. */
export type FetchTree = (epoch: number) => Promise<Uint8Array>;

/** A device's hold on MLS: its key, its name and whom it believes. */
export class MlsDevice {
  readonly suite: CiphersuiteImpl;
  readonly config: ClientConfig;

  constructor(
    readonly key: DeviceKey,
    readonly identity: Identity,
    private readonly authority: Authority,
  ) {
    this.suite = suiteFor(key);
    this.config = {
      keyRetentionConfig: { retainKeysForGenerations: 10, retainKeysForEpochs: PAST_EPOCHS, maximumForwardRatchetSteps: 1_000 },
      lifetimeConfig: { maximumTotalLifetime: BigInt(KEY_PACKAGE_LIFETIME_S + CLOCK_GRACE_S), validateLifetimeOnReceive: false },
      keyPackageEqualityConfig: defaultKeyPackageEqualityConfig,
      paddingConfig: { kind: "padUntilLength", padUntilLength: 256 },
      authService: {
        async validateCredential(credential, signaturePublicKey) {
          const named = identityOf(credential);
          return named !== null && authority.accepts(named.accountId, named.deviceId, signaturePublicKey);
        },
      },
    };
  }

  /** Whether a key package is of the device that it is said to be of, as the authority knows it. */
  admits({ identity, keyPackage }: { identity: Identity; keyPackage: Uint8Array }): boolean {
    const decoded = decodeMlsMessage(owned(keyPackage), 0)?.[0];
    if (decoded?.wireformat !== "mls_key_package") return false;
    const { credential, signaturePublicKey } = decoded.keyPackage.leafNode;
    const named = identityOf(credential);
    if (named?.accountId !== identity.accountId || named.deviceId !== identity.deviceId) return false;
    return this.authority.admits(named.accountId, named.deviceId, signaturePublicKey);
  }

  /** A fresh key package; `nowUnixS` is the present. */
  async newKeyPackage(nowUnixS: number): Promise<StoredKeyPackage> {
    const notAfter = Math.floor(nowUnixS) + KEY_PACKAGE_LIFETIME_S;
    const { publicPackage, privatePackage } = await generateKeyPackageWithKey(
      { credentialType: "basic", identity: utf8(`${this.identity.accountId}/${this.identity.deviceId}`) },
      CAPABILITIES,
      { notBefore: BigInt(Math.floor(nowUnixS) - CLOCK_GRACE_S), notAfter: BigInt(notAfter) },
      [],
      { signKey: this.key.publicKey, publicKey: this.key.publicKey },
      this.suite,
    );
    return {
      message: encodeMlsMessage({ version: "mls10", wireformat: "mls_key_package", keyPackage: publicPackage }),
      initPrivateKey: privatePackage.initPrivateKey,
      hpkePrivateKey: privatePackage.hpkePrivateKey,
      notAfter,
    };
  }
}

export class Conversation {
  private constructor(
    readonly id: string,
    private readonly device: MlsDevice,
    private readonly accounts: Accounts,
    private state: ClientState,
  ) {}

  /**
   * A new group with this device alone, in epoch 0. It exists for nobody else until its first commit was accepted.
   * `accounts` are all that may be members (the set is asked, not copied); a commit that admits another one is refused.
   */
  static async create(id: string, device: MlsDevice, accounts: Accounts, nowUnixS: number): Promise<Conversation> {
    const own = await device.newKeyPackage(nowUnixS);
    const { keyPackage, privatePackage } = openOwn(own, device);
    const state = await createGroup(fromHex(id), keyPackage, privatePackage, [], device.suite, device.config);
    return new Conversation(id, device, accounts, state);
  }

  /**
   * Join by a welcome with whichever of the own key packages it was made for; the caller deletes that one, unless it is the
   * last-resort one. Throws MessageRefused; nothing is used up then. What `fetchTree` throws passes through.
   */
  static async join(
    id: string,
    device: MlsDevice,
    accounts: Accounts,
    welcomeMessage: Uint8Array,
    keyPackages: readonly StoredKeyPackage[],
    fetchTree: FetchTree = () => Promise.reject(new MessageRefused("the welcome lacks its tree")),
  ): Promise<{ conversation: Conversation; used: StoredKeyPackage }> {
    const decoded = decode(welcomeMessage);
    if (decoded.wireformat !== "mls_welcome") throw new MessageRefused("not a welcome");
    for (const own of keyPackages) {
      const { keyPackage, privatePackage } = openOwn(own, device);
      const reference = await keyPackageReference(own.message, device.suite);
      if (!decoded.welcome.secrets.some((secret) => equal(secret.newMember, reference))) continue;
      const apart = await refuseOnError("welcome", () => epochOfTreeApart(decoded.welcome, reference, own.initPrivateKey, device.suite));
      const tree = apart === null ? undefined : parseTree(await fetchTree(apart));
      const state = await refuseOnError("welcome", () =>
        joinGroup(decoded.welcome, keyPackage, privatePackage, emptyPskIndex, device.suite, tree, undefined, device.config),
      );
      const conversation = new Conversation(id, device, accounts, state);
      if (toHex(state.groupContext.groupId) !== id) throw new MessageRefused("the welcome is for another conversation");
      if (state.groupContext.extensions.length > 0) throw new MessageRefused("the group demands extensions");
      conversation.checkMembers(state.ratchetTree);
      return { conversation, used: own };
    }
    throw new MessageRefused("the welcome was made for a key package that this device no longer has");
  }

  /** Throws RangeError if the bytes are not what `serialise` wrote for this conversation. */
  static restore(id: string, device: MlsDevice, accounts: Accounts, serialised: Uint8Array): Conversation {
    const state = decodeGroupState(owned(serialised), 0)?.[0];
    if (state === undefined || toHex(state.groupContext.groupId) !== id) throw new RangeError("the stored state is not of this conversation");
    return new Conversation(id, device, accounts, { ...state, clientConfig: device.config });
  }

  serialise(): Uint8Array {
    return encodeGroupState(this.state);
  }

  get epoch(): bigint {
    return this.state.groupContext.epoch;
  }

  get members(): Member[] {
    return membersOf(this.state.ratchetTree);
  }

  /** Seal application data. The message is returned only after `persist` has kept the advanced state. */
  async encrypt(plaintext: Uint8Array, persist: (state: Uint8Array, sealed: Sealed) => Promise<void>): Promise<Sealed> {
    const { newState, privateMessage } = await createApplicationMessage(this.state, owned(plaintext), this.device.suite);
    const message = owned(encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage }));
    const sealed = { message, epoch: this.epoch };
    await persist(encodeGroupState(newState), sealed);
    this.state = newState;
    return sealed;
  }

  /** This device was removed: nothing can be sent or read any more. */
  get closed(): boolean {
    return this.state.groupActiveState.kind !== "active";
  }

  /**
   * Whether the tree above this device has nodes that it shares with nobody yet: then the commits of all members are large, and an
   * own commit would make them small (RFC 9420 §7.7, "filtered direct path").
   */
  get cold(): boolean {
    const { ratchetTree, privatePath } = this.state;
    const leaf = privatePath.leafIndex;
    const path = filteredDirectPath(toLeafIndex(leaf), ratchetTree);
    return path.some((index) => {
      const node = ratchetTree[index];
      return node === undefined || (node.nodeType === "parent" && node.parent.unmergedLeaves.includes(leaf));
    });
  }

  /**
   * A commit. Changes nothing here: persist it, send it, and `merge` it when the server accepted it. Throws MessageRefused for a key
   * package whose name, key or lifetime is not acceptable.
   */
  async prepareCommit({ added = [], removed = [] }: Change, nowUnixS: number): Promise<PendingCommit> {
    const leaving = this.members.filter((member) => removed.includes(member.deviceId));
    const removals = leaving.map(({ leafIndex }) => ({ proposalType: "remove", remove: { removed: leafIndex } }) as const);
    const additions = added.map(({ identity, keyPackage }) => {
      const decoded = decode(keyPackage);
      if (decoded.wireformat !== "mls_key_package") throw new MessageRefused("not a key package");
      this.checkKeyPackage(decoded.keyPackage, identity, nowUnixS);
      return { proposalType: "add", add: { keyPackage: decoded.keyPackage } } as const;
    });
    const context = { state: this.state, cipherSuite: this.device.suite, pskIndex: emptyPskIndex };
    const extraProposals = [...removals, ...additions];
    // What is added makes the tree larger by about its key packages.
    const large = additions.length > 0 && encodeRatchetTree(this.state.ratchetTree).length + added.reduce((n, { keyPackage }) => n + keyPackage.length, 0) > TREE_IN_WELCOME_BYTES;
    const { newState, commit, welcome } = await refuseOnError("key package", () => createCommit(context, { extraProposals, ratchetTreeExtension: !large }));
    return {
      epoch: Number(this.epoch),
      commit: encodeMlsMessage(commit),
      welcome: welcome === undefined ? null : encodeMlsMessage({ version: "mls10", wireformat: "mls_welcome", welcome }),
      tree: large ? encodeRatchetTree(newState.ratchetTree) : null,
      removed: leaving.map(({ deviceId }) => deviceId),
      state: encodeGroupState(newState),
    };
  }

  /** Take over the state after an own commit that the server accepted. `persist` keeps it, and is told who is a member then. */
  async merge(pending: PendingCommit, persist: (state: Uint8Array, members: readonly Member[]) => Promise<void>): Promise<void> {
    if (BigInt(pending.epoch) !== this.epoch) throw new RangeError("the pending commit is of another epoch");
    const next = Conversation.restore(this.id, this.device, this.accounts, pending.state);
    await persist(pending.state, next.members);
    this.state = next.state;
  }

  /**
   * Open what the server delivered. `persist` keeps the advanced state together with whatever the caller makes of the result, in one
   * transaction; the ratchet moves here only when it succeeded. Throws MessageRefused, and then nothing has changed.
   */
  async receive(message: Uint8Array, persist: (state: Uint8Array, received: Received) => Promise<void>): Promise<Received> {
    const decoded = decode(message);
    if (decoded.wireformat !== "mls_private_message") throw new MessageRefused("not a private message");
    const { privateMessage } = decoded;
    if (toHex(privateMessage.groupId) !== this.id) throw new MessageRefused("the message is of another conversation");
    if (privateMessage.epoch > this.epoch) throw new MessageRefused("the message is of an epoch that this device has not reached");
    let committer: number | undefined;
    const result = await refuseOnError("message", () =>
      processPrivateMessage(this.state, privateMessage, emptyPskIndex, this.device.suite, (incoming) => {
        if (incoming.kind !== "commit") return "reject";
        committer = incoming.senderLeafIndex;
        return incoming.proposals.every(({ proposal }) => proposal.proposalType === "add" || proposal.proposalType === "remove") ? "accept" : "reject";
      }),
    );
    let received: Received;
    if (result.kind === "applicationMessage") {
      const [before, after] = [epochView(this.state, privateMessage.epoch), epochView(result.newState, privateMessage.epoch)];
      const sender = memberAt(before.ratchetTree, changedLeaf(before.secretTree, after.secretTree));
      received = { kind: "application", sender, plaintext: result.message, epoch: privateMessage.epoch };
    } else {
      if (result.actionTaken !== "accept" || committer === undefined) throw new MessageRefused("a proposal or commit that is not allowed here");
      const sender = memberAt(this.state.ratchetTree, committer);
      if (result.newState.groupActiveState.kind === "active") {
        this.checkMembers(result.newState.ratchetTree);
        const [before, after] = [membersOf(this.state.ratchetTree), membersOf(result.newState.ratchetTree)];
        received = { kind: "commit", sender, epoch: result.newState.groupContext.epoch, added: without(after, before), removed: without(before, after) };
      } else {
        received = { kind: "removed", sender };
      }
    }
    await persist(encodeGroupState(result.newState), received);
    this.state = result.newState;
    return received;
  }

  /** The keys of the present epoch, held independently of what the conversation does next. */
  keys(): EpochKeys {
    const { exporterSecret } = this.state.keySchedule;
    const secret = owned(exporterSecret);
    return {
      epoch: this.epoch,
      ownLeaf: this.state.privatePath.leafIndex,
      members: this.members,
      export: (label, context, length) => mlsExporter(secret, label, owned(context), length, this.device.suite),
    };
  }

  private checkKeyPackage(keyPackage: KeyPackage, expected: Identity, nowUnixS: number): void {
    const named = identityOf(keyPackage.leafNode.credential);
    if (named?.accountId !== expected.accountId || named.deviceId !== expected.deviceId) throw new MessageRefused("the key package bears another name");
    if (this.accounts?.has(named.accountId) === false) throw new MessageRefused("the key package is of an account outside the conversation");
    if (keyPackage.cipherSuite !== SUITE_NAME) throw new MessageRefused("the key package is of another cipher suite");
    const { notBefore, notAfter } = keyPackage.leafNode.lifetime;
    const now = BigInt(Math.floor(nowUnixS));
    if (now < notBefore || now > notAfter || notAfter - notBefore > this.device.config.lifetimeConfig.maximumTotalLifetime) {
      throw new MessageRefused("the key package is expired, not yet valid or valid for too long");
    }
  }

  private checkMembers(tree: RatchetTree): void {
    const seen = new Set<string>();
    for (const { accountId, deviceId } of membersOf(tree)) {
      if (this.accounts?.has(accountId) === false) throw new AccountOutside("an account outside the conversation was admitted");
      if (seen.has(deviceId)) throw new MessageRefused("a device is in the group twice");
      seen.add(deviceId);
    }
  }
}

function identityOf(credential: Credential): Identity | null {
  if (credential.credentialType !== "basic") return null;
  const match = /^([0-9a-f]{32})\/([0-9a-f]{32})$/.exec(asText(credential.identity));
  return match?.[1] !== undefined && match[2] !== undefined ? { accountId: match[1], deviceId: match[2] } : null;
}

function asText(bytes: Uint8Array): string {
  try {
    return fromUtf8(bytes);
  } catch {
    return "";
  }
}

function membersOf(tree: RatchetTree): Member[] {
  const members: Member[] = [];
  tree.forEach((node, nodeIndex) => {
    if (node?.nodeType === "leaf") members.push(memberAt(tree, nodeIndex / 2));
  });
  return members;
}

/** Those of the first list whose device is not in the second. */
function without(members: readonly Member[], others: readonly Member[]): Member[] {
  const known = new Set(others.map(({ deviceId }) => deviceId));
  return members.filter(({ deviceId }) => !known.has(deviceId));
}

function parseTree(bytes: Uint8Array): RatchetTree {
  const decoded = decodeRatchetTree(owned(bytes), 0);
  if (decoded === undefined || decoded[1] !== bytes.length) throw new MessageRefused("not a ratchet tree");
  return decoded[0];
}

/** The epoch whose tree must be fetched; null if the welcome brings it. */
async function epochOfTreeApart(welcome: Welcome, reference: Uint8Array, initPrivateKey: Uint8Array, suite: CiphersuiteImpl): Promise<number | null> {
  const key = await suite.hpke.importPrivateKey(owned(initPrivateKey));
  const secrets = await decryptGroupSecrets(key, reference, welcome, suite.hpke);
  if (secrets === undefined) throw new MessageRefused("the welcome cannot be opened");
  // No PSK is ever injected here: the PSK secret is the all-zero string (RFC 9420 §8.4).
  const info = await decryptGroupInfo(welcome, secrets.joinerSecret, new Uint8Array(suite.kdf.size), suite);
  if (info === undefined) throw new MessageRefused("the welcome cannot be opened");
  return info.extensions.some(({ extensionType }) => extensionType === "ratchet_tree") ? null : Number(info.groupContext.epoch);
}

function memberAt(tree: RatchetTree, leafIndex: number): Member {
  const node = tree[2 * leafIndex];
  const identity = node?.nodeType === "leaf" ? identityOf(node.leaf.credential) : null;
  if (identity === null) throw new MessageRefused("a leaf without a usable name");
  return { ...identity, leafIndex };
}

/** Secret tree and ratchet tree of the present epoch or a remembered one. */
function epochView(state: ClientState, epoch: bigint): { secretTree: SecretTree; ratchetTree: RatchetTree } {
  if (epoch === state.groupContext.epoch) return state;
  const past = state.historicalReceiverData.get(epoch);
  if (past === undefined) throw new MessageRefused("the message is of an epoch that is forgotten");
  return past;
}

/** ts-mls verifies an application message without saying who sent it: the one leaf whose ratchet moved did. */
function changedLeaf(before: SecretTree, after: SecretTree): number {
  const changed = after.findIndex((node, index) => node !== before[index]);
  if (changed < 0 || changed % 2 !== 0) throw new MessageRefused("no sender");
  return changed / 2;
}

/** Strict: the whole input is one MLSMessage. */
function decode(bytes: Uint8Array): MLSMessage {
  let decoded: [MLSMessage, number] | undefined;
  try {
    decoded = decodeMlsMessage(owned(bytes), 0);
  } catch {
    decoded = undefined;
  }
  if (decoded === undefined || decoded[1] !== bytes.length) throw new MessageRefused("not an MLS message");
  return decoded[0];
}

function openOwn(own: StoredKeyPackage, device: MlsDevice): { keyPackage: KeyPackage; privatePackage: PrivateKeyPackage } {
  const decoded = decode(own.message);
  if (decoded.wireformat !== "mls_key_package") throw new RangeError("the stored key package is not one");
  return {
    keyPackage: decoded.keyPackage,
    privatePackage: {
      initPrivateKey: owned(own.initPrivateKey),
      hpkePrivateKey: owned(own.hpkePrivateKey),
      signaturePrivateKey: device.key.publicKey,
    },
  };
}

/** KeyPackageRef (RFC 9420 §5.2) of an MLSMessage with a KeyPackage. */
export async function keyPackageReference(message: Uint8Array, suite: { hash: Pick<CiphersuiteImpl["hash"], "digest"> }): Promise<Uint8Array> {
  const label = utf8("MLS 1.0 KeyPackage Reference");
  const body = message.subarray(4); // behind ProtocolVersion and WireFormat
  return suite.hash.digest(concat(variableLength(label.length), label, variableLength(body.length), body));
}

/** The length of an opaque<V> (RFC 9420 §2.1.2), for at most 2³⁰-1. */
function variableLength(length: number): Bytes {
  if (length < 1 << 6) return Uint8Array.of(length);
  if (length < 1 << 14) return Uint8Array.of(0x40 | (length >> 8), length & 0xff);
  return Uint8Array.of(0x80 | (length >> 24), (length >> 16) & 0xff, (length >> 8) & 0xff, length & 0xff);
}

/** Whatever the library throws over a peer's bytes is that peer's fault and nothing more. */
async function refuseOnError<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof MessageRefused) throw error;
    throw new MessageRefused(`${what} refused: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
