// tests/vectors/identity/vectors.json: what Python's `cryptography` signed and what RFC 9162's definitions give.

import { readFileSync } from "node:fs";

/** Byte strings in base64. */
interface IdentityVectors {
  organisation: { id: string; name: string; profile: string; created_unix_s: number; fingerprint: string; signed_root: string; foreign_root: string; unknown_profile_root: string; device_code: string };
  certificate: {
    claims: {
      serial: string;
      account_id: string;
      device_id: string;
      signature_public_key: string;
      display_name: string;
      unit: string;
      roles: string[];
      precedence_ceiling: string;
      not_before: number;
      not_after: number;
      approvers: string[];
    };
    signed: string;
    founding: string;
    signed_by_a_foreign_key: string;
    refused: Record<string, string>;
  };
  revocation: { serial: string; device_id: string; reason: string; revoked_at: number; signed: string };
  log: {
    service_id: string;
    signed_key: string;
    log_id: string;
    entries: string[];
    /** By tree size, from 0. */
    roots: string[];
    heads: { log_id: string; tree_size: number; root_hash: string; at: number; signature: string }[];
    /** [second size][first size - 1] → path. */
    consistency: string[][][];
  };
}

export const vectors = JSON.parse(readFileSync(new URL("../../../tests/vectors/identity/vectors.json", import.meta.url), "utf8")) as IdentityVectors;
