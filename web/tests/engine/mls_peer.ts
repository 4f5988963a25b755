// ts-mls as a peer of the Python core: JSON lines in, JSON lines out, one answer for each question (tests/keys/mls/peers.py asks).
// Byte strings are hex. Many members live in one process. An error answers {"error": …} and changes nothing.

import { createInterface } from "node:readline";

import * as mls from "ts-mls";

import { fromHex, owned, toHex, utf8 } from "../../src/keys/bytes";
import { DeviceKey } from "../../src/keys/statement";
import { SUITE_ID, SUITE_NAME, suiteFor } from "../../src/keys/suite";

interface Member {
  suite: mls.CiphersuiteImpl;
  signature: { signKey: Uint8Array; publicKey: Uint8Array };
  packages: { keyPackage: mls.KeyPackage; privatePackage: mls.PrivateKeyPackage }[];
  state: mls.ClientState | null;
  pending: mls.ClientState | null;
}

interface Question {
  op: string;
  name: string;
  [field: string]: unknown;
}

const members = new Map<string, Member>();
const psks: Record<string, Uint8Array> = {};
const config: mls.ClientConfig = {
  keyRetentionConfig: { ...mls.defaultKeyRetentionConfig, retainKeysForEpochs: 3 },
  lifetimeConfig: mls.defaultLifetimeConfig,
  keyPackageEqualityConfig: mls.defaultKeyPackageEqualityConfig,
  paddingConfig: mls.defaultPaddingConfig,
  authService: mls.defaultAuthenticationService,
};

const text = (question: Question, field: string): string => String(question[field]);
const hex = (question: Question, field: string): Uint8Array => fromHex(text(question, field));
const list = (question: Question, field: string): unknown[] => (question[field] as unknown[] | undefined) ?? [];

function memberOf(question: Question): Member {
  const member = members.get(question.name);
  if (member === undefined) throw new Error("no such member");
  return member;
}

function stateOf(member: Member): mls.ClientState {
  if (member.state === null) throw new Error("in no group");
  return member.state;
}

function decode(bytes: Uint8Array): mls.MLSMessage {
  const decoded = mls.decodeMlsMessage(owned(bytes), 0);
  if (decoded?.[1] !== bytes.length) throw new Error("not an MLS message");
  return decoded[0];
}

async function newPackage(member: Member, name: string): Promise<mls.KeyPackage> {
  const now = Math.floor(Date.now() / 1000);
  const { publicPackage, privatePackage } = await mls.generateKeyPackageWithKey(
    { credentialType: "basic", identity: utf8(name) },
    { versions: ["mls10"], ciphersuites: [member.suite.name], extensions: [], proposals: [], credentials: ["basic"] },
    { notBefore: BigInt(now - 3600), notAfter: BigInt(now + 86_400) },
    [],
    member.signature,
    member.suite,
  );
  member.packages.push({ keyPackage: publicPackage, privatePackage });
  return publicPackage;
}

function proposalsOf(question: Question): mls.Proposal[] {
  const adds = list(question, "adds").map((message): mls.Proposal => {
    const decoded = decode(fromHex(String(message)));
    if (decoded.wireformat !== "mls_key_package") throw new Error("not a key package");
    return { proposalType: "add", add: { keyPackage: decoded.keyPackage } };
  });
  const removes = list(question, "removes").map((leaf): mls.Proposal => ({ proposalType: "remove", remove: { removed: Number(leaf) } }));
  const keys = list(question, "psks").map((pair): mls.Proposal => {
    const [id, nonce] = pair as [string, string];
    return { proposalType: "psk", psk: { preSharedKeyId: { psktype: "external", pskId: fromHex(id), pskNonce: fromHex(nonce) } } };
  });
  return [...adds, ...removes, ...keys];
}

const answers: Record<string, (question: Question) => Promise<object>> = {
  async client(question) {
    if (Number(question["suite"]) === SUITE_ID) {
      const device = await DeviceKey.generate();
      const suite = suiteFor(device);
      if (suite.name !== SUITE_NAME) throw new Error("another suite");
      members.set(question.name, { suite, signature: await suite.signature.keygen(), packages: [], state: null, pending: null });
    } else {
      const suite = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName("MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519"));
      members.set(question.name, { suite, signature: await suite.signature.keygen(), packages: [], state: null, pending: null });
    }
    return {};
  },
  async psk(question) {
    psks[mls.bytesToBase64(hex(question, "id"))] = hex(question, "value");
    return {};
  },
  async key_package(question) {
    const keyPackage = await newPackage(memberOf(question), question.name);
    return { message: toHex(mls.encodeMlsMessage({ version: "mls10", wireformat: "mls_key_package", keyPackage })) };
  },
  async create(question) {
    const member = memberOf(question);
    await newPackage(member, question.name);
    const own = member.packages.pop();
    if (own === undefined) throw new Error("no key package");
    member.state = await mls.createGroup(hex(question, "group_id"), own.keyPackage, own.privatePackage, [], member.suite, config);
    return {};
  },
  async join(question) {
    const member = memberOf(question);
    const decoded = decode(hex(question, "welcome"));
    const own = member.packages.pop();
    if (decoded.wireformat !== "mls_welcome" || own === undefined) throw new Error("no welcome or no key package");
    const index: mls.PskIndex = {
      findPsk: (id) => (id.psktype === "external" ? psks[mls.bytesToBase64(id.pskId)] : undefined),
    };
    member.state = await mls.joinGroup(decoded.welcome, own.keyPackage, own.privatePackage, index, member.suite, undefined, undefined, config);
    return {};
  },
  async external(question) {
    const member = memberOf(question);
    const decoded = decode(hex(question, "group_info"));
    if (decoded.wireformat !== "mls_group_info") throw new Error("not a GroupInfo");
    await newPackage(member, question.name);
    const own = member.packages.pop();
    if (own === undefined) throw new Error("no key package");
    const resync = question["resync"] === true;
    const joined = await mls.joinGroupExternal(decoded.groupInfo, own.keyPackage, own.privatePackage, resync, member.suite, undefined, config);
    member.state = joined.newState;
    const message: mls.MLSMessage = { version: "mls10", wireformat: "mls_public_message", publicMessage: joined.publicMessage };
    return { commit: toHex(mls.encodeMlsMessage(message)) };
  },
  async group_info(question) {
    const member = memberOf(question);
    const groupInfo = await mls.createGroupInfoWithExternalPubAndRatchetTree(stateOf(member), [], member.suite);
    return { message: toHex(mls.encodeMlsMessage({ version: "mls10", wireformat: "mls_group_info", groupInfo })) };
  },
  async propose(question) {
    const member = memberOf(question);
    const [proposal] = proposalsOf(question);
    if (proposal === undefined) throw new Error("nothing to propose");
    const made = await mls.createProposal(stateOf(member), question["public"] === true, proposal, member.suite);
    member.state = made.newState;
    return { message: toHex(mls.encodeMlsMessage(made.message)) };
  },
  async commit(question) {
    const member = memberOf(question);
    const state = stateOf(member);
    const made = await mls.createCommit(
      { state, cipherSuite: member.suite, pskIndex: mls.makePskIndex(state, psks) },
      { extraProposals: proposalsOf(question), ratchetTreeExtension: true, wireAsPublicMessage: question["public"] === true },
    );
    member.pending = made.newState;
    const welcome = made.welcome && toHex(mls.encodeMlsMessage({ version: "mls10", wireformat: "mls_welcome", welcome: made.welcome }));
    return { commit: toHex(mls.encodeMlsMessage(made.commit)), welcome: welcome ?? null };
  },
  async merge(question) {
    const member = memberOf(question);
    if (member.pending === null) throw new Error("nothing to merge");
    member.state = member.pending;
    member.pending = null;
    return {};
  },
  async seal(question) {
    const member = memberOf(question);
    const { newState, privateMessage } = await mls.createApplicationMessage(stateOf(member), hex(question, "plaintext"), member.suite);
    member.state = newState;
    return { message: toHex(mls.encodeMlsMessage({ version: "mls10", wireformat: "mls_private_message", privateMessage })) };
  },
  async process(question) {
    const member = memberOf(question);
    const state = stateOf(member);
    const decoded = decode(hex(question, "message"));
    const index = mls.makePskIndex(state, psks);
    if (decoded.wireformat === "mls_private_message") {
      const result = await mls.processPrivateMessage(state, decoded.privateMessage, index, member.suite);
      member.state = result.newState;
      return result.kind === "applicationMessage" ? { plaintext: toHex(result.message) } : {};
    }
    if (decoded.wireformat !== "mls_public_message") throw new Error("not for a group");
    member.state = (await mls.processPublicMessage(state, decoded.publicMessage, index, member.suite)).newState;
    return {};
  },
  async restart(question) {
    const member = memberOf(question);
    const restored = mls.decodeGroupState(mls.encodeGroupState(stateOf(member)), 0)?.[0];
    if (restored === undefined) throw new Error("the state is damaged");
    member.state = { ...restored, clientConfig: config };
    return {};
  },
  async view(question) {
    const member = memberOf(question);
    const state = stateOf(member);
    const exported = await mls.mlsExporter(state.keySchedule.exporterSecret, "tests", utf8("context"), 32, member.suite);
    return {
      active: state.groupActiveState.kind === "active",
      epoch: Number(state.groupContext.epoch),
      authenticator: toHex(state.keySchedule.epochAuthenticator),
      exported: toHex(exported),
      leaf: state.privatePath.leafIndex,
    };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer: object;
  try {
    const question = JSON.parse(line) as Question;
    const work = answers[question.op];
    if (work === undefined) throw new Error("unknown question");
    answer = await work(question);
  } catch (error) {
    answer = { error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
