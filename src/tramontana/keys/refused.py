"""Why a statement of an organisation is refused: one exception with a stable name, the same on server, phone and auditor."""

from __future__ import annotations

from typing import Literal, get_args

from tramontana.errors import RemoteError

Reason = Literal[
    "malformed",
    "unknown_profile",
    "wrong_algorithm",
    "forged",
    "wrong_organisation",
    "not_yet_valid",
    "expired",
    "missing_approver",
    "approver_not_custodian",
    "replayed",
    "revoked",
    "superseded",
    "unknown_serial",
    "not_approved",
    "not_logged",
    "founding_incomplete",
    "outside_federation",
]
"""The names of docs/protocols.md, "Organisation, certificates, log"."""

REASONS: frozenset[str] = frozenset(get_args(Reason))


class Refused(RemoteError):
    """A statement was refused and dropped; `reason` is its stable name, the message says what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason: Reason = reason
        super().__init__(message)
