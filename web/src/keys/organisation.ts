// The organisation: whose signature makes a device a member (docs/protocols.md, "Organisation and certificates").
//
// A phone knows the organisation by the fingerprint in its invitation link. Every statement of the organisation bears two signatures,
// Ed25519 and ML-DSA-65 (FIPS 204): whoever forges one has to break both.

import { ml_dsa65, ml_dsa87 } from "@noble/post-quantum/ml-dsa.js";

import { concat, equal, toHex, type Bytes } from "./bytes";
import { encodeStatement, parseFields, parseStatement, readNumber, readText, verifyEd25519 } from "./statement";

export const ORGANISATION_CONTEXT = "tramontana organisation 1";
const DEVICE_CODE_CONTEXT = "tramontana device code 1";
const ED25519_PUBLIC_KEY_BYTES = 32;
const ED25519_SIGNATURE_BYTES = 64;
export const FINGERPRINT_BYTES = 32;

interface Profile {
  publicKeyBytes: number;
  signatureBytes: number;
  verify: (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;
}

// FIPS 204, table 2
const ML_DSA_65: Profile = { publicKeyBytes: 1952, signatureBytes: 3309, verify: (...given) => ml_dsa65.verify(...given) };
const ML_DSA_87: Profile = { publicKeyBytes: 2592, signatureBytes: 4627, verify: (...given) => ml_dsa87.verify(...given) };

/** Named sets of algorithms. The root names one and its fingerprint pins it, so nobody can talk a client down. */
const PROFILES: ReadonlyMap<string, Profile> = new Map([
  ["hybrid-1", ML_DSA_65],
  ["cnsa-2.0-like-1", ML_DSA_87],
  ["bsi-anssi-like-1", ML_DSA_87],
]);

/** The names of docs/protocols.md, "Organisation, certificates, log". */
export type RefusalReason =
  | "malformed"
  | "wrong_algorithm"
  | "forged"
  | "wrong_organisation"
  | "unknown_profile"
  | "missing_approver"
  | "approver_not_custodian"
  | "founding_incomplete"
  | "replayed"
  | "unknown_serial"
  | "outside_federation";

/** A statement that is malformed, that the organisation did not sign, or that may not stand where it stands. */
export class StatementRefused extends Error {
  constructor(
    readonly reason: RefusalReason,
    detail: string,
    options?: ErrorOptions,
  ) {
    super(detail, options);
  }
}

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
    throw new StatementRefused("malformed", "not a statement with two signatures");
  }
  return { statement, ed25519Signature, mlDsaSignature };
}

/** Runs a strict parser; what it does not take is a refused statement. */
export function refuseMalformed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RangeError) throw new StatementRefused("malformed", error.message, { cause: error });
    throw error;
  }
}

/** Of what kind an unverified statement claims to be. */
export function contextOf({ statement }: UnverifiedStatement): string {
  const end = statement.indexOf(0);
  return refuseMalformed(() => readText(statement.subarray(0, Math.max(end, 0))));
}

async function verifyBoth(profile: Profile, ed25519PublicKey: Uint8Array, mlDsaPublicKey: Uint8Array, signed: UnverifiedStatement): Promise<void> {
  const { statement, ed25519Signature, mlDsaSignature } = signed;
  if (ed25519Signature.length !== ED25519_SIGNATURE_BYTES || mlDsaSignature.length !== profile.signatureBytes) {
    throw new StatementRefused("wrong_algorithm", "the organisation signs with other algorithms");
  }
  if (!(await verifyEd25519(ed25519PublicKey, ed25519Signature, statement))) throw new StatementRefused("forged", "the Ed25519 signature does not match");
  if (!profile.verify(mlDsaSignature, statement, mlDsaPublicKey)) throw new StatementRefused("forged", "the ML-DSA signature does not match");
}

/** A root that is the pinned one and is signed by itself. Only `verify` makes one. */
export class Organisation {
  private constructor(
    readonly name: string,
    readonly profileName: string,
    private readonly profile: Profile,
    /** POSIX seconds. */
    readonly createdUnixS: number,
    readonly fingerprint: Bytes,
    /** The signed statement: leaf 0 of the log. */
    readonly signed: Bytes,
    private readonly ed25519PublicKey: Bytes,
    private readonly mlDsaPublicKey: Bytes,
  ) {}

  /** `fingerprint` is the one in the invitation, or the one kept at enrolment. Throws StatementRefused. */
  static async verify(signedRoot: Uint8Array, fingerprint: Uint8Array): Promise<Organisation> {
    const signed = parseSigned(signedRoot);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", signed.statement));
    if (!equal(digest, fingerprint)) throw new StatementRefused("wrong_organisation", "this is another organisation than the one that this phone was invited to");
    const fields = refuseMalformed(() => parseStatement(ORGANISATION_CONTEXT, 5, signed.statement));
    const [name, ed25519PublicKey, mlDsaPublicKey, profileField, created] = fields as [Bytes, Bytes, Bytes, Bytes, Bytes];
    const profileName = refuseMalformed(() => readText(profileField));
    const profile = PROFILES.get(profileName);
    if (profile === undefined) throw new StatementRefused("unknown_profile", `the organisation's profile "${profileName}" is not known here`);
    if (ed25519PublicKey.length !== ED25519_PUBLIC_KEY_BYTES || mlDsaPublicKey.length !== profile.publicKeyBytes) {
      throw new StatementRefused("wrong_algorithm", "the keys of the organisation are not those of its profile");
    }
    await verifyBoth(profile, ed25519PublicKey, mlDsaPublicKey, signed);
    return refuseMalformed(
      () => new Organisation(readText(name), profileName, profile, readNumber(created), digest, new Uint8Array(signedRoot), ed25519PublicKey, mlDsaPublicKey),
    );
  }

  /** 32 hex digits: the first 16 bytes of the fingerprint. */
  get id(): string {
    return toHex(this.fingerprint.subarray(0, 16));
  }

  /** The fields of a statement that the organisation signed. Throws StatementRefused. */
  async open(context: string, count: number, signed: UnverifiedStatement): Promise<Bytes[]> {
    const fields = refuseMalformed(() => parseStatement(context, count, signed.statement));
    await verifyBoth(this.profile, this.ed25519PublicKey, this.mlDsaPublicKey, signed);
    return fields;
  }
}

const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"; // RFC 4648 §6
const DEVICE_CODE_CHARACTERS = 16;

/** What a person reads out so that the custodian knows that this key is his: 80 bits, too many to find a second key for. */
export async function deviceCode(fingerprint: Uint8Array, signaturePublicKey: Uint8Array): Promise<string> {
  const statement = encodeStatement(DEVICE_CODE_CONTEXT, [fingerprint, signaturePublicKey]);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", concat(statement)));
  const bits = Array.from(digest, (byte) => byte.toString(2).padStart(8, "0")).join("");
  const characters = Array.from({ length: DEVICE_CODE_CHARACTERS }, (_, i) => BASE32[Number.parseInt(bits.slice(5 * i, 5 * i + 5), 2)]).join("");
  return (characters.match(/.{4}/g) ?? []).join(" ");
}
