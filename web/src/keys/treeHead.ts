// The log's key and its signed tree heads (docs/protocols.md, "Transparency").

import { equal, toHex, type Bytes } from "./bytes";
import { HASH_BYTES } from "./merkle";
import { parseSigned, refuseMalformed, StatementRefused, type Organisation } from "./organisation";
import { parseFields, parseStatement, readNumber, readText, verifyEd25519 } from "./statement";

const LOG_KEY_CONTEXT = "tramontana log key 1";
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
  ) {}

  /** Throws StatementRefused. */
  static async verify(signed: Uint8Array, organisation: Organisation): Promise<LogKey> {
    const fields = await organisation.open(LOG_KEY_CONTEXT, 4, parseSigned(signed));
    const [organisationId, serviceId, publicKey, notBefore] = fields as [Bytes, Bytes, Bytes, Bytes];
    if (publicKey.length !== PUBLIC_KEY_BYTES) throw new StatementRefused("the key of the log has another length");
    const logId = new Uint8Array(await crypto.subtle.digest("SHA-256", publicKey));
    return refuseMalformed(() => {
      if (readText(organisationId) !== organisation.id) throw new StatementRefused("the log is of another organisation");
      return new LogKey(readText(serviceId), publicKey, logId, readNumber(notBefore));
    });
  }
}

/** What the log was at a moment, signed by it. Only `verify` makes one. */
export class TreeHead {
  private constructor(
    readonly treeSize: number,
    readonly rootHash: Bytes,
    /** POSIX seconds. */
    readonly at: number,
    /** `len16 ‖ statement ‖ len16 ‖ Ed25519 signature`: what is kept, and shown to others. */
    readonly signed: Bytes,
  ) {}

  /** Throws StatementRefused. */
  static async verify(signed: Uint8Array, key: LogKey): Promise<TreeHead> {
    const [statement, signature, ...more] = refuseMalformed(() => parseFields(signed));
    if (statement === undefined || signature === undefined || more.length > 0) throw new StatementRefused("not a signed tree head");
    const [logId, treeSize, rootHash, at] = refuseMalformed(() => parseStatement(TREE_HEAD_CONTEXT, 4, statement)) as [Bytes, Bytes, Bytes, Bytes];
    if (!equal(logId, key.logId)) throw new StatementRefused(`the head is of another log, ${toHex(logId).slice(0, 16)}`);
    if (rootHash.length !== HASH_BYTES) throw new StatementRefused("the root hash has another length");
    if (!(await verifyEd25519(key.publicKey, signature, statement))) throw new StatementRefused("the signature of the tree head does not match");
    return refuseMalformed(() => new TreeHead(readNumber(treeSize), rootHash, readNumber(at), new Uint8Array(signed)));
  }
}
