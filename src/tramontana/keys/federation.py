"""Cross-certification: one organisation accepts devices of another as guests, within limits that it signs and logs.

A guest's certificate is signed by the other organisation and approved by custodians of this one: neither lets anybody in alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tramontana.keys import fields as read
from tramontana.keys.certificate import POWERFUL_ROLES, Certificate, verified_fields
from tramontana.keys.fields import identifier, instant, joined, number, text
from tramontana.keys.identity import encode_statement
from tramontana.keys.organisation import OrganisationKey, Root
from tramontana.keys.refused import Refused
from tramontana.precedence import Precedence

FEDERATION_CONTEXT = "tramontana federation 1"
ALL_UNITS = "*"
MAX_UNITS_TEXT = 4096
FINGERPRINT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Federation:
    """A verified statement of ours about another organisation."""

    organisation_id: str
    serial: str
    peer_fingerprint: bytes
    peer_name: str
    units: tuple[str, ...]
    """Those of the other organisation that are accepted; `ALL_UNITS` alone for all."""
    roles: tuple[str, ...]
    ceiling: Precedence
    not_before: int
    not_after: int
    encoded: bytes = field(repr=False)

    def check(self, certificate: Certificate) -> None:
        """Whether a certificate of the other organisation keeps to the limits, from its beginning to its end. Raises `Refused`."""
        grant = certificate.grant
        if certificate.not_before < self.not_before or grant.not_after > self.not_after:
            raise Refused("outside_federation", f"a guest's certificate cannot outlast the cross-certification of {self.peer_name}")
        if self.units != (ALL_UNITS,) and grant.unit not in self.units:
            raise Refused("outside_federation", f"the unit {grant.unit!r} of {self.peer_name} was not cross-certified")
        if not set(grant.roles) <= set(self.roles):
            raise Refused("outside_federation", f"a role of this device was not cross-certified for {self.peer_name}")
        if grant.ceiling > self.ceiling:
            raise Refused("outside_federation", f"{self.peer_name} was cross-certified up to {self.ceiling.label} only")


@dataclass(frozen=True, slots=True)
class UnverifiedFederation:
    """A cross-certification as it arrived."""

    encoded: bytes = field(repr=False)

    def verify(self, root: Root) -> Federation:
        """Raises `Refused`."""
        given = verified_fields(self.encoded, root, FEDERATION_CONTEXT, 9)
        if len(given[2]) != FINGERPRINT_BYTES or given[2] == root.fingerprint:
            raise read.malformed("the fingerprint is not that of another organisation")
        units = tuple(text(given[4], "units", MAX_UNITS_TEXT).split(","))
        if list(units) != sorted(set(units)) or (ALL_UNITS in units and len(units) > 1):
            raise read.malformed("the units are not sorted, or one stands there twice")
        if POWERFUL_ROLES & set(read.roles(given[5])):
            raise read.malformed("a role with power over others is not for guests")
        not_before, not_after = instant(given[7], "the beginning"), instant(given[8], "the end")
        if not_after <= not_before:
            raise read.malformed("the cross-certification ends before it begins")
        return Federation(
            root.organisation_id,
            identifier(given[1], "serial"),
            given[2],
            text(given[3], "name"),
            units,
            read.roles(given[5]),
            read.precedence(given[6]),
            not_before,
            not_after,
            self.encoded,
        )


def issue_federation(
    key: OrganisationKey,
    serial: str,
    peer: Root,
    *,
    units: Collection[str],
    roles: Collection[str],
    ceiling: Precedence,
    not_after: int,
    now: float,
) -> Federation:
    """Sign a cross-certification of another organisation, whose fingerprint was compared over another way."""
    whose = (key.root.organisation_id.encode(), serial.encode(), peer.fingerprint, peer.name.encode())
    limits = (joined(units), joined(roles), ceiling.label.encode(), number(int(now)), number(not_after))
    return UnverifiedFederation(key.sign(encode_statement(FEDERATION_CONTEXT, (*whose, *limits)))).verify(key.root)
