"""Requests and answers about the organisation, certificates and the log. Field names are those of docs/protocols.md."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tramontana.control.shapes import (
    DeviceState,
    DisplayName,
    Id,
    PublicKey,
    Role,
    Roles,
    Sequence,
    Sha256,
    Shape,
    Signature,
    SignedStatement,
    Statement,
    Unit,
    UnixSeconds,
)
from tramontana.precedence import PrecedenceLabel


class Organisation(Shape):
    """Public halves, as the organisation signed them."""

    organisation_id: Id
    fingerprint: Sha256 = Field(description="SHA-256 of the root statement; it stands in every invitation")
    organisation: SignedStatement
    log_key: SignedStatement
    log_id: Sha256


class TreeHead(Shape):
    log_id: Sha256
    tree_size: Sequence
    root_hash: Sha256
    at: Sequence = Field(description="POSIX seconds")
    signature: Signature


class Consistency(Shape):
    first: Sequence
    second: Sequence
    proof: list[Sha256]


class Inclusion(Shape):
    log_index: Sequence
    tree_size: Sequence
    proof: list[Sha256]


class LogEntries(Shape):
    start: Sequence
    entries: list[SignedStatement]
    tree_size: Sequence


class CertificateStatus(Shape):
    """How a device stands. Both proofs are for `head.tree_size`."""

    device_id: Id
    state: DeviceState
    request_id: Id | None = Field(description="of the request that is pending")
    certificate: SignedStatement | None
    log_index: Sequence | None
    inclusion: list[Sha256]
    revocation: SignedStatement | None
    revocation_index: Sequence | None
    revocation_inclusion: list[Sha256]
    head: TreeHead | None


class ApprovalShown(Shape):
    """A custodian's approval with the certificate of the device that signed it, for whoever does not believe the server."""

    device_id: Id
    statement: Statement
    signature: Signature
    certificate: SignedStatement


class CertificateRequest(Shape):
    """What is asked for. `invitation_sha256` and `proof` are those of the enrolment, null for a change."""

    request_id: Id
    kind: Literal["enrolment", "change"]
    state: Literal["pending", "issued", "rejected"]
    account_id: Id
    device_id: Id
    signature_public_key: PublicKey
    display_name: str
    unit: str
    roles: list[Role]
    precedence_ceiling: PrecedenceLabel
    created_at: UnixSeconds
    further_device: bool = Field(description="whether the account has another device already")
    approvals_needed: int
    invitation_sha256: Sha256 | None
    proof: Signature | None
    approvals: list[ApprovalShown]


class ChangeRequest(Shape):
    device_id: Id
    display_name: DisplayName
    unit: Unit
    roles: Roles
    precedence_ceiling: PrecedenceLabel


class RequestMade(Shape):
    request_id: Id


class Decision(Shape):
    """An approval or a rejection as a custodian's device signed it."""

    statement: Statement
    signature: Signature


class IssuedCertificate(Shape):
    request_id: Id
    certificate: SignedStatement


class IssuedRevocation(Shape):
    revocation: SignedStatement


class IssuedFederation(Shape):
    federation: SignedStatement
    organisation: SignedStatement = Field(description="the root of the other organisation")


class Logged(Shape):
    log_index: Sequence


LogKind = Literal["organisation", "log_key", "certificate", "revocation", "federation"]


class LogEntryShown(Shape):
    """An entry of the log in words; null where its kind has no such field."""

    log_index: Sequence
    added_at: UnixSeconds
    kind: LogKind
    serial: Id | None = None
    account_id: Id | None = None
    device_id: Id | None = None
    display_name: str | None = None
    unit: str | None = None
    roles: list[str] | None = None
    precedence_ceiling: str | None = None
    not_before: int | None = None
    not_after: int | None = None
    approvers: list[Id] | None = None
    reason: str | None = None


class LogPage(Shape):
    head: TreeHead
    entries: list[LogEntryShown]
