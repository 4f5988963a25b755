"""What an organisation says of a device: certificate, revocation; of its server: the log key (docs/protocols.md).

What arrives is an `Unverified…`; only its `verify` against the pinned root yields the type that somebody may rely on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field

from tramontana.keys import fields as read
from tramontana.keys.fields import identifier, identifiers, instant, joined, number, parse_fields, text
from tramontana.keys.identity import encode_statement
from tramontana.keys.organisation import OrganisationKey, Root, SignedStatement
from tramontana.keys.refused import Refused
from tramontana.precedence import Precedence

CERTIFICATE_CONTEXT = "tramontana device certificate 1"
REVOCATION_CONTEXT = "tramontana revocation 1"
ZEROISE = "zeroise"
"""A revocation whose reason begins so orders the device to destroy itself."""
LOG_KEY_CONTEXT = "tramontana log key 1"
CLOCK_SKEW_S = 3600
"""How far the clock of whoever signed may run ahead of ours."""
MAX_REASON = 120
FOUNDING_LEAVES = frozenset({2, 3})
"""Log indices of the two founding custodians: the only certificates that nobody approved, because there was nobody."""
POWERFUL_ROLES = frozenset({"custodian", "approver", "archive"})


@dataclass(frozen=True, slots=True)
class Grant:
    """What a certificate gives to a device, and what custodians approve."""

    account_id: str
    device_id: str
    signature_public_key: bytes
    display_name: str
    unit: str
    roles: tuple[str, ...]
    ceiling: Precedence
    not_after: int

    def _whose(self) -> tuple[bytes, ...]:
        return (
            self.account_id.encode(),
            self.device_id.encode(),
            self.signature_public_key,
            self.display_name.encode(),
            self.unit.encode(),
        )

    def fields(self) -> tuple[bytes, ...]:
        """As they stand in an approval."""
        return (*self._whose(), joined(self.roles), self.ceiling.label.encode(), number(self.not_after))

    @classmethod
    def parse(cls, given: list[bytes], not_after: bytes) -> Grant:
        """From account to ceiling, and the end. Raises `Refused`."""
        account_id, device_id, key, name, unit, roles, ceiling = given
        return cls(
            identifier(account_id, "account"),
            identifier(device_id, "device"),
            read.public_key(key),
            text(name, "display name"),
            read.unit(unit),
            read.roles(roles),
            read.precedence(ceiling),
            instant(not_after, "the end of validity"),
        )

    def approvals_needed(self, *, is_recovery: bool = False) -> int:
        """One custodian, or two for what matters. is_recovery: all earlier devices of the account are revoked."""
        return 2 if is_recovery or self.ceiling >= Precedence.IMMEDIATE or POWERFUL_ROLES & set(self.roles) else 1


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate whose signatures were verified; whether it counts now is another question: `check_at`, and the log."""

    organisation_id: str
    serial: str
    grant: Grant
    not_before: int
    approvers: tuple[str, ...]
    """Device ids."""
    encoded: bytes = field(repr=False)

    def check_at(self, now: float) -> None:
        """Raises `Refused` (`not_yet_valid`, `expired`)."""
        if now < self.not_before - CLOCK_SKEW_S:
            raise Refused("not_yet_valid", f"the certificate of {self.grant.display_name} is not valid yet; check the clock")
        if now >= self.grant.not_after:
            raise Refused("expired", f"the certificate of {self.grant.display_name} has expired; a custodian has to renew it")

    def check_approvers(self, log_index: int, *, is_recovery: bool = False) -> None:
        """Whether enough people approved, for its place in the log. Raises `Refused` (`missing_approver`, `founding_incomplete`)."""
        if log_index in FOUNDING_LEAVES:
            if self.approvers or "custodian" not in self.grant.roles:
                raise Refused(
                    "founding_incomplete", "an organisation begins with two custodians; found them before anybody else is certified"
                )
            return
        needed = self.grant.approvals_needed(is_recovery=is_recovery)
        others = [approver for approver in self.approvers if approver != self.grant.device_id]
        if len(others) < needed:
            raise Refused(
                "missing_approver",
                f"{len(others)} of {needed} custodians approved the certificate of {self.grant.display_name}; ask another custodian",
            )


@dataclass(frozen=True, slots=True)
class UnverifiedCertificate:
    """A certificate as it arrived."""

    encoded: bytes = field(repr=False)

    def verify(self, root: Root) -> Certificate:
        """Check form, signatures and organisation. Raises `Refused`."""
        given = verified_fields(self.encoded, root, CERTIFICATE_CONTEXT, 12)
        not_before = instant(given[9], "the beginning of validity")
        grant = Grant.parse(given[2:9], given[10])
        if grant.not_after <= not_before:
            raise read.malformed("the certificate ends before it begins")
        serial, approvers = identifier(given[1], "serial"), identifiers(given[11], "approvers")
        return Certificate(root.organisation_id, serial, grant, not_before, approvers, self.encoded)


def claimed_organisation(encoded: bytes) -> str:
    """Which organisation a certificate says that it is of: whose root to verify it against. Raises `Refused`."""
    return text(parse_fields(CERTIFICATE_CONTEXT, SignedStatement.parse(encoded).statement, 12)[0], "organisation")


def issue_certificate(key: OrganisationKey, serial: str, grant: Grant, approvers: Collection[str], *, now: float) -> Certificate:
    """Sign a certificate that is valid from now on."""
    head = (key.root.organisation_id.encode(), serial.encode(), *grant.fields()[:-1])
    tail = (number(int(now)), number(grant.not_after), joined(approvers))
    encoded = key.sign(encode_statement(CERTIFICATE_CONTEXT, (*head, *tail)))
    return UnverifiedCertificate(encoded).verify(key.root)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A verified revocation of a certificate, or of a federation (`device_id` is then empty)."""

    organisation_id: str
    serial: str
    device_id: str
    reason: str
    revoked_at: int
    encoded: bytes = field(repr=False)

    @property
    def orders_zeroise(self) -> bool:
        """Whether the device is to destroy its keys and all that it has stored (docs/security.md, "Zeroise")."""
        return self.reason.startswith(ZEROISE)


@dataclass(frozen=True, slots=True)
class UnverifiedRevocation:
    """A revocation as it arrived."""

    encoded: bytes = field(repr=False)

    def verify(self, root: Root) -> Revocation:
        """Raises `Refused`."""
        given = verified_fields(self.encoded, root, REVOCATION_CONTEXT, 5)
        device_id = identifier(given[2], "device") if given[2] else ""
        reason = text(given[3], "reason", MAX_REASON)
        return Revocation(
            root.organisation_id, identifier(given[1], "serial"), device_id, reason, instant(given[4], "revoked_at"), self.encoded
        )


def issue_revocation(key: OrganisationKey, serial: str, device_id: str, reason: str, *, now: float) -> Revocation:
    """Sign a revocation."""
    fields = (key.root.organisation_id.encode(), serial.encode(), device_id.encode(), reason.encode(), number(int(now)))
    return UnverifiedRevocation(key.sign(encode_statement(REVOCATION_CONTEXT, fields))).verify(key.root)


@dataclass(frozen=True, slots=True)
class LogKeyStatement:
    """Which key signs the heads of the log of a service."""

    organisation_id: str
    service_id: str
    public_key: bytes
    not_before: int
    encoded: bytes = field(repr=False)

    @property
    def log_id(self) -> bytes:
        return hashlib.sha256(self.public_key).digest()


@dataclass(frozen=True, slots=True)
class UnverifiedLogKey:
    """A log key statement as it arrived."""

    encoded: bytes = field(repr=False)

    def verify(self, root: Root) -> LogKeyStatement:
        """Raises `Refused`."""
        given = verified_fields(self.encoded, root, LOG_KEY_CONTEXT, 4)
        service_id, key = identifier(given[1], "service"), read.public_key(given[2])
        return LogKeyStatement(root.organisation_id, service_id, key, instant(given[3], "not_before"), self.encoded)


def issue_log_key(key: OrganisationKey, service_id: str, public_key: bytes, *, now: float) -> LogKeyStatement:
    """Sign the public half of a server's log key."""
    fields = (key.root.organisation_id.encode(), service_id.encode(), public_key, number(int(now)))
    return UnverifiedLogKey(key.sign(encode_statement(LOG_KEY_CONTEXT, fields))).verify(key.root)


def verified_fields(encoded: bytes, root: Root, context: str, count: int) -> list[bytes]:
    """Signatures first: nothing of what an outsider wrote is read, except for telling which organisation he claims to be."""
    signed = SignedStatement.parse(encoded)
    given = parse_fields(context, signed.statement, count)
    try:
        root.verify(signed)
    except Refused as refused:
        if refused.reason == "forged" and given[0] != root.organisation_id.encode():
            raise Refused("wrong_organisation", "the statement is of another organisation") from refused
        raise
    if given[0] != root.organisation_id.encode():
        raise Refused("wrong_organisation", "the statement is of another organisation")
    return given
