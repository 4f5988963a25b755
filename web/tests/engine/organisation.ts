// An organisation for tests: its keys, its log, and the lies of a server that would like to have another one.

import { ml_dsa65 } from "@noble/post-quantum/ml-dsa.js";

import type { Schemas } from "../../src/api/client";
import { concat, randomId, toBase64, toHex, utf8, type Bytes } from "../../src/keys/bytes";
import { GrowingTree, leafHash } from "../../src/keys/merkle";
import { encodeStatement, numberField } from "../../src/keys/statement";

const YEAR_S = 365 * 86_400;
const now = (): number => Math.floor(Date.now() / 1000);

export interface Grant {
  accountId: string;
  deviceId: string;
  key: Uint8Array;
  displayName: string;
  roles?: string;
  unit?: string;
  approvers?: readonly string[];
  notAfter?: number;
  ceiling?: string;
}

export interface Limits {
  units?: string;
  roles?: string;
  ceiling?: string;
  notAfter?: number;
}

/** One for all tests: making and signing with ML-DSA in JavaScript takes its time. */
export class TestOrganisation {
  readonly serviceId = randomId();
  readonly founding: Bytes[] = [];
  readonly custodians: readonly string[] = [randomId(), randomId()];
  root: Bytes = new Uint8Array();
  logKey: Bytes = new Uint8Array();
  fingerprint: Bytes = new Uint8Array();
  private id = "";
  private readonly mlDsa = ml_dsa65.keygen();
  private ed25519!: CryptoKeyPair;
  private log!: CryptoKeyPair;

  static async make(name = "Ministry of Examples"): Promise<TestOrganisation> {
    const made = new TestOrganisation();
    const pair = async (): Promise<CryptoKeyPair> => (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
    [made.ed25519, made.log] = [await pair(), await pair()];
    const text = utf8;
    const statement = encodeStatement("tramontana organisation 1", [text(name), await raw(made.ed25519), made.mlDsa.publicKey, text("hybrid-1"), numberField(now() - 7_200)]);
    made.fingerprint = await digest(statement);
    made.id = toHex(made.fingerprint.subarray(0, 16));
    made.root = await made.sign(statement);
    made.logKey = await made.sign(encodeStatement("tramontana log key 1", [text(made.id), text(made.serviceId), await raw(made.log), numberField(now() - 7_200)]));
    made.founding.push(made.root, made.logKey);
    for (const deviceId of made.custodians) {
      const key = crypto.getRandomValues(new Uint8Array(32));
      made.founding.push(await made.certificate({ accountId: randomId(), deviceId, key, displayName: "Custodian", roles: "custodian,member", approvers: [] }));
    }
    return made;
  }

  get invitation(): string {
    const random = crypto.getRandomValues(new Uint8Array(32));
    return `https://service.example/phone#invite=${base64Url(random)}&org=${base64Url(this.fingerprint)}`;
  }

  certificate({ accountId, deviceId, key, displayName, roles = "member", unit = "Navy", approvers = this.custodians, ceiling = "routine", notAfter = now() + YEAR_S }: Grant, serial = randomId()): Promise<Bytes> {
    const texts = [this.id, serial, accountId, deviceId].map(utf8);
    const rights = [displayName, unit, roles, ceiling].map(utf8);
    return this.sign(encodeStatement("tramontana device certificate 1", [...texts, key, ...rights, numberField(now() - 60), numberField(notAfter), utf8([...approvers].sort().join(","))]));
  }

  revocation(serial: string, deviceId: string, reason: string): Promise<Bytes> {
    return this.sign(encodeStatement("tramontana revocation 1", [...[this.id, serial, deviceId, reason].map(utf8), numberField(now())]));
  }

  federation(peer: TestOrganisation, { units = "*", roles = "member", ceiling = "priority", notAfter = now() + 2 * YEAR_S }: Limits = {}, serial = randomId()): Promise<Bytes> {
    const limits = ["Allies", units, roles, ceiling].map(utf8);
    return this.sign(encodeStatement("tramontana federation 1", [utf8(this.id), utf8(serial), peer.fingerprint, ...limits, numberField(now() - 3_600), numberField(notAfter)]));
  }

  async head(size: number, rootHash: Uint8Array): Promise<Schemas["TreeHead"]> {
    const [logId, at] = [await digest(await raw(this.log)), now()];
    const statement = encodeStatement("tramontana tree head 1", [logId, numberField(size), rootHash, numberField(at)]);
    const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", this.log.privateKey, statement));
    return { log_id: toBase64(logId), tree_size: size, root_hash: toBase64(rootHash), at, signature: toBase64(signature) };
  }

  private async sign(statement: Bytes): Promise<Bytes> {
    const ed25519 = new Uint8Array(await crypto.subtle.sign("Ed25519", this.ed25519.privateKey, statement));
    const parts = [statement, ed25519, ml_dsa65.sign(statement, this.mlDsa.secretKey)];
    return concat(...parts.flatMap((part) => [Uint8Array.of(part.length >> 8, part.length & 0xff), part]));
  }
}

/** What a log shows. A copy can go another way: that is what a server does that shows different people different logs. */
export class TestLog {
  readonly entries: Bytes[];

  constructor(
    readonly organisation: TestOrganisation,
    entries: readonly Bytes[] = organisation.founding,
  ) {
    this.entries = [...entries];
  }

  copy(): TestLog {
    return new TestLog(this.organisation, this.entries);
  }

  async head(): Promise<Schemas["TreeHead"]> {
    const tree = GrowingTree.empty();
    for (const entry of this.entries) await tree.append(entry);
    return this.organisation.head(this.entries.length, await tree.root());
  }

  page(start: number, count: number): Schemas["LogEntries"] {
    return { start, entries: this.entries.slice(start, start + count).map(toBase64), tree_size: this.entries.length };
  }

  /** RFC 9162 §2.1.4.1. */
  async consistency(first: number, second: number): Promise<Schemas["Consistency"]> {
    const leaves = await Promise.all(this.entries.slice(0, second).map(leafHash));
    return { first, second, proof: (await subproof(first, leaves, true)).map(toBase64) };
  }
}

async function mth(leaves: readonly Bytes[]): Promise<Bytes> {
  if (leaves.length === 1) return leaves[0] as Bytes;
  const k = powerBelow(leaves.length);
  return digest(concat(Uint8Array.of(1), await mth(leaves.slice(0, k)), await mth(leaves.slice(k))));
}

async function subproof(m: number, leaves: readonly Bytes[], whole: boolean): Promise<Bytes[]> {
  if (m === leaves.length) return whole ? [] : [await mth(leaves)];
  const k = powerBelow(leaves.length);
  if (m <= k) return [...(await subproof(m, leaves.slice(0, k), whole)), await mth(leaves.slice(k))];
  return [...(await subproof(m - k, leaves.slice(k), false)), await mth(leaves.slice(0, k))];
}

const powerBelow = (n: number): number => 2 ** (Math.ceil(Math.log2(n)) - 1);

async function digest(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

async function raw(pair: CryptoKeyPair): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
}

function base64Url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export const organisation = await TestOrganisation.make();
