// The organisation: whose signature makes a device a member (docs/protocols.md, "Organisation and certificates").
//
// A phone knows the organisation by the fingerprint in its invitation link. Every statement of the organisation bears two signatures,
// Ed25519 and ML-DSA-65 (FIPS 204): whoever forges one has to break both.

import { ml_dsa65 } from "@noble/post-quantum/ml-dsa.js";

import { equal, toHex, type Bytes } from "./bytes";
import { parseFields, parseStatement, readNumber, readText, verifyEd25519 } from "./statement";

const ORGANISATION_CONTEXT = "tramontana organisation 1";
const ED25519_PUBLIC_KEY_BYTES = 32;
const ML_DSA_65_PUBLIC_KEY_BYTES = 1952; // FIPS 204, table 2
export const FINGERPRINT_BYTES = 32;

/** A statement that is malformed, or that the organisation did not sign. */
export class StatementRefused extends Error {}

/** A statement with its two signatures as it arrived; nobody has checked it. */
export interface UnverifiedStatement {
  statement: Bytes;
  ed25519Signature: Bytes;
  mlDsaSignature: Bytes;
}

/** `len16 ‖ statement ‖ len16 ‖ Ed25519 signature ‖ len16 ‖ ML-DSA-65 signature`. Throws StatementRefused. */
export function parseSigned(signed: Uint8Array): UnverifiedStatement {
  const [statement, ed25519Signature, mlDsaSignature, ...more] = refuseMalformed(() => parseFields(signed));
  if (statement === undefined || ed25519Signature === undefined || mlDsaSignature === undefined || more.length > 0) {
    throw new StatementRefused("not a statement with two signatures");
  }
  return { statement, ed25519Signature, mlDsaSignature };
}

/** Runs a strict parser; what it does not take is a refused statement. */
export function refuseMalformed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RangeError) throw new StatementRefused(error.message, { cause: error });
    throw error;
  }
}

async function verifyBoth(ed25519PublicKey: Uint8Array, mlDsaPublicKey: Uint8Array, signed: UnverifiedStatement): Promise<void> {
  const { statement, ed25519Signature, mlDsaSignature } = signed;
  if (!(await verifyEd25519(ed25519PublicKey, ed25519Signature, statement))) throw new StatementRefused("the Ed25519 signature does not match");
  let matches = false;
  try {
    matches = ml_dsa65.verify(mlDsaSignature, statement, mlDsaPublicKey);
  } catch {
    // a signature of another length: the library throws where others answer no
  }
  if (!matches) throw new StatementRefused("the ML-DSA-65 signature does not match");
}

/** A root that is the pinned one and is signed by itself. Only `verify` makes one. */
export class Organisation {
  private constructor(
    readonly name: string,
    readonly profile: string,
    /** POSIX seconds. */
    readonly createdUnixS: number,
    readonly fingerprint: Bytes,
    private readonly ed25519PublicKey: Bytes,
    private readonly mlDsaPublicKey: Bytes,
  ) {}

  /** `fingerprint` is the one in the invitation, or the one kept at enrolment. Throws StatementRefused. */
  static async verify(signedRoot: Uint8Array, fingerprint: Uint8Array): Promise<Organisation> {
    const signed = parseSigned(signedRoot);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", signed.statement));
    if (!equal(digest, fingerprint)) throw new StatementRefused("the server shows another organisation than the one this phone was invited to");
    const fields = refuseMalformed(() => parseStatement(ORGANISATION_CONTEXT, 5, signed.statement));
    const [name, ed25519PublicKey, mlDsaPublicKey, profile, created] = fields as [Bytes, Bytes, Bytes, Bytes, Bytes];
    if (ed25519PublicKey.length !== ED25519_PUBLIC_KEY_BYTES || mlDsaPublicKey.length !== ML_DSA_65_PUBLIC_KEY_BYTES) {
      throw new StatementRefused("a key of the organisation has another length");
    }
    await verifyBoth(ed25519PublicKey, mlDsaPublicKey, signed);
    return refuseMalformed(() => new Organisation(readText(name), readText(profile), readNumber(created), digest, ed25519PublicKey, mlDsaPublicKey));
  }

  /** 32 hex digits: the first 16 bytes of the fingerprint. */
  get id(): string {
    return toHex(this.fingerprint.subarray(0, 16));
  }

  /** The fields of a statement that the organisation signed. Throws StatementRefused. */
  async open(context: string, count: number, signed: UnverifiedStatement): Promise<Bytes[]> {
    const fields = refuseMalformed(() => parseStatement(context, count, signed.statement));
    await verifyBoth(this.ed25519PublicKey, this.mlDsaPublicKey, signed);
    return fields;
  }
}
