// The log's key and its signed tree heads (docs/protocols.md, "Transparency").

import { equal, type Bytes } from "./bytes";
import { HASH_BYTES } from "./merkle";
import { parseSigned, refuseMalformed, StatementRefused, type Organisation } from "./organisation";
import { encodeStatement, numberField, readNumber, readText, verifyEd25519 } from "./statement";

export const LOG_KEY_CONTEXT = "tramontana log key 1";
const TREE_HEAD_CONTEXT = "tramontana tree head 1";
const PUBLIC_KEY_BYTES = 32;

/** The key with which the service signs the heads of its log; the organisation says whose it is. */
export class LogKey {
  private constructor(
    readonly serviceId: string,
    readonly publicKey: Bytes,
    /** SHA-256 of the public key. */
    readonly logId: Bytes,
    /** POSIX seconds. */
    readonly notBefore: number,
    /** The signed statement: leaf 1 of the log. */
    readonly signed: Bytes,
  ) {}

  /** Throws StatementRefused. */
  static async verify(signed: Uint8Array, organisation: Organisation): Promise<LogKey> {
    const fields = await organisation.open(LOG_KEY_CONTEXT, 4, parseSigned(signed));
    const [organisationId, serviceId, publicKey, notBefore] = fields as [Bytes, Bytes, Bytes, Bytes];
    if (publicKey.length !== PUBLIC_KEY_BYTES) throw new StatementRefused("malformed", "the key of the log has another length");
    const logId = new Uint8Array(await crypto.subtle.digest("SHA-256", publicKey));
    return refuseMalformed(() => {
      if (readText(organisationId) !== organisation.id) throw new StatementRefused("wrong_organisation", "the log is of another organisation");
      return new LogKey(readText(serviceId), publicKey, logId, readNumber(notBefore), new Uint8Array(signed));
    });
  }
}

/** A head as it travels and is kept; nobody has checked it. */
export interface UnverifiedTreeHead {
  logId: Bytes;
  treeSize: number;
  rootHash: Bytes;
  /** POSIX seconds. */
  at: number;
  signature: Bytes;
}

/** What the log was at a moment, signed by it. Only `verify` makes one. */
export class TreeHead {
  private constructor(readonly shown: Readonly<UnverifiedTreeHead>) {}

  /** Throws StatementRefused. */
  static async verify(head: UnverifiedTreeHead, key: LogKey): Promise<TreeHead> {
    const { logId, treeSize, rootHash, at, signature } = head;
    if (!equal(logId, key.logId)) throw new StatementRefused("wrong_organisation", "the tree head is of another log");
    if (rootHash.length !== HASH_BYTES) throw new StatementRefused("malformed", "the root hash has another length");
    const statement = refuseMalformed(() => encodeStatement(TREE_HEAD_CONTEXT, [logId, numberField(treeSize), rootHash, numberField(at)]));
    if (!(await verifyEd25519(key.publicKey, signature, statement))) throw new StatementRefused("forged", "the signature of the tree head does not match");
    return new TreeHead(head);
  }

  get treeSize(): number {
    return this.shown.treeSize;
  }

  get rootHash(): Bytes {
    return this.shown.rootHash;
  }
}
