// Cross-certification: people of another organisation as guests, within limits that this one signed (docs/identity.md, "Another organisation").

import { POWERFUL, readCeiling, readId, readList, readRoles, type CertificateClaims, type Role, PRECEDENCE_LABELS, type PrecedenceLabel } from "./certificate";
import type { Bytes } from "./bytes";
import { FINGERPRINT_BYTES, parseSigned, refuseMalformed, StatementRefused, type Organisation } from "./organisation";
import { readNumber, readText } from "./statement";

export const FEDERATION_CONTEXT = "tramontana federation 1";
const ALL_UNITS = "*";

/** What the pinned organisation lets another one's people do here. */
export class Federation {
  private constructor(
    readonly serial: string,
    /** Of the other organisation's root. */
    readonly peerFingerprint: Bytes,
    private readonly units: readonly string[],
    private readonly roles: readonly Role[],
    private readonly ceiling: PrecedenceLabel,
    private readonly notBefore: number,
    private readonly notAfter: number,
  ) {}

  /** Throws StatementRefused. */
  static async verify(signed: Uint8Array, organisation: Organisation): Promise<Federation> {
    const fields = (await organisation.open(FEDERATION_CONTEXT, 9, parseSigned(signed))) as [Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes];
    const [organisationId, serial, peer, , units, roles, ceiling, notBefore, notAfter] = fields;
    return refuseMalformed(() => {
      if (readText(organisationId) !== organisation.id) throw new StatementRefused("wrong_organisation", "the cross-certification is of another organisation");
      if (peer.length !== FINGERPRINT_BYTES) throw new StatementRefused("malformed", "the fingerprint has another length");
      const federation = new Federation(
        readId(serial),
        peer,
        readList(readText(units)),
        readRoles(readText(roles)),
        readCeiling(readText(ceiling)),
        readNumber(notBefore),
        readNumber(notAfter),
      );
      if (federation.roles.some((role) => POWERFUL.includes(role))) throw new StatementRefused("malformed", "a role with power over others is not for guests");
      return federation;
    });
  }

  /** Whether a guest's certificate keeps to the limits, from its beginning to its end. Throws StatementRefused. */
  check({ notBefore, notAfter, unit, roles, precedenceCeiling }: CertificateClaims): void {
    const inUnits = this.units.includes(ALL_UNITS) || this.units.includes(unit);
    const within = PRECEDENCE_LABELS.indexOf(precedenceCeiling) <= PRECEDENCE_LABELS.indexOf(this.ceiling);
    if (notBefore < this.notBefore || notAfter > this.notAfter || !inUnits || !within || !roles.every((role) => this.roles.includes(role))) {
      throw new StatementRefused("outside_federation", "a guest's certificate goes beyond the cross-certification of his organisation");
    }
  }
}
