"""What custodians sign with their device keys: approvals and rejections of requests for certificates.

An approval is good for one request and exactly one grant: whoever has it can use it for nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tramontana.keys import fields as read
from tramontana.keys.certificate import MAX_REASON, Grant, verified_fields
from tramontana.keys.fields import identifier, instant, joined, number, parse_fields, text
from tramontana.keys.identity import SignatureRefused, encode_statement, verify_signature
from tramontana.keys.organisation import OrganisationKey, Root
from tramontana.keys.refused import Refused
from tramontana.precedence import Precedence

APPROVAL_CONTEXT = "tramontana approval 1"
REJECTION_CONTEXT = "tramontana rejection 1"
PREAUTHORISATION_CONTEXT = "tramontana preauthorisation 1"


@dataclass(frozen=True, slots=True)
class Approval:
    """A custodian's device approved a grant."""

    organisation_id: str
    request_id: str
    grant: Grant
    approver: str
    """Device id."""
    at: int

    def statement(self) -> bytes:
        fields = (self.organisation_id.encode(), self.request_id.encode(), *self.grant.fields(), self.approver.encode(), number(self.at))
        return encode_statement(APPROVAL_CONTEXT, fields)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A custodian's device rejected a request."""

    organisation_id: str
    request_id: str
    device_id: str
    reason: str
    custodian: str
    """Device id."""
    at: int

    def statement(self) -> bytes:
        names = (self.organisation_id, self.request_id, self.device_id, self.reason, self.custodian)
        return encode_statement(REJECTION_CONTEXT, (*(name.encode() for name in names), number(self.at)))


@dataclass(frozen=True, slots=True)
class Preauthorisation:
    """The holder of the organisation's key decided in advance what the device that uses an invitation gets.

    It stays with the custodians. Whoever uses it trusts the server not to keep the invitation for itself, so it is for demonstrations and
    for invitations that are used under the custodian's eyes.
    """

    invitation_sha256: bytes
    unit: str
    roles: tuple[str, ...]
    ceiling: Precedence
    not_after: int
    encoded: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnverifiedPreauthorisation:
    """One as it was found."""

    encoded: bytes = field(repr=False)

    def verify(self, root: Root) -> Preauthorisation:
        """Raises `Refused`."""
        given = verified_fields(self.encoded, root, PREAUTHORISATION_CONTEXT, 6)
        if len(given[1]) != 32:
            raise read.malformed("the digest of the invitation is not a SHA-256")
        limits = (read.unit(given[2]), read.roles(given[3]), read.precedence(given[4]))
        return Preauthorisation(given[1], *limits, instant(given[5], "the end"), self.encoded)


def issue_preauthorisation(
    key: OrganisationKey, invitation_sha256: bytes, unit: str, roles: Collection[str], ceiling: Precedence, not_after: int
) -> Preauthorisation:
    """Sign one."""
    what = (unit.encode(), joined(roles), ceiling.label.encode(), number(not_after))
    encoded = key.sign(encode_statement(PREAUTHORISATION_CONTEXT, (key.root.organisation_id.encode(), invitation_sha256, *what)))
    return UnverifiedPreauthorisation(encoded).verify(key.root)


@dataclass(frozen=True, slots=True)
class UnverifiedApproval:
    """An approval as it arrived."""

    statement: bytes
    signature: bytes = field(repr=False)

    def verify(self, organisation_id: str, approver: str, signature_public_key: bytes) -> Approval:
        """Check against the key in the certificate of the custodian's device. Raises `Refused`."""
        given = parse_fields(APPROVAL_CONTEXT, self.statement, 12)
        _check_signature(self.statement, self.signature, signature_public_key)
        _check_parties(given[0], organisation_id, given[10], approver)
        grant = Grant.parse(given[2:9], given[9])
        return Approval(organisation_id, identifier(given[1], "request"), grant, approver, instant(given[11], "at"))


@dataclass(frozen=True, slots=True)
class UnverifiedRejection:
    """A rejection as it arrived."""

    statement: bytes
    signature: bytes = field(repr=False)

    def verify(self, organisation_id: str, custodian: str, signature_public_key: bytes) -> Rejection:
        """Raises `Refused`."""
        given = parse_fields(REJECTION_CONTEXT, self.statement, 6)
        _check_signature(self.statement, self.signature, signature_public_key)
        _check_parties(given[0], organisation_id, given[4], custodian)
        reason = text(given[3], "reason", MAX_REASON)
        request_id, device_id = identifier(given[1], "request"), identifier(given[2], "device")
        return Rejection(organisation_id, request_id, device_id, reason, custodian, instant(given[5], "at"))


def _check_signature(statement: bytes, signature: bytes, signature_public_key: bytes) -> None:
    try:
        verify_signature(signature_public_key, signature, statement)
    except SignatureRefused as error:
        raise Refused("forged", "the custodian's signature does not match; sign with the key of the custodian's own device") from error


def _check_parties(named_organisation: bytes, organisation_id: str, named_custodian: bytes, custodian: str) -> None:
    if named_organisation != organisation_id.encode():
        raise Refused("wrong_organisation", "the statement is of another organisation")
    if named_custodian != custodian.encode():
        raise Refused("forged", "the statement names another custodian than the one who signed it")
