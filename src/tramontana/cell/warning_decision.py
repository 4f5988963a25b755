"""What persons sign with their device keys about a warning: that they submit it, approve it, reject it, or take it back.

A statement names one warning and the digest of its content, so it is good for nothing else: not for another text, not for another area.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tramontana.cell.warning_content import digest
from tramontana.keys.fields import identifier, instant, number, parse_fields
from tramontana.keys.identity import SignatureRefused, encode_statement, verify_signature
from tramontana.keys.refused import Refused

CONTEXT = "tramontana warning 1"
MAX_SKEW_S = 600.0
"""A statement is made for now: an old one found somewhere must not be used later."""

Decision = Literal["submit", "approve", "reject", "withdraw"]


@dataclass(frozen=True, slots=True)
class Verified:
    """A person's device decided this about exactly this content. Made by `Unverified.verify`."""

    warning_id: str
    decision: Decision
    device_id: str
    at: int


def statement(organisation_id: str, warning_id: str, decision: Decision, content: bytes, device_id: str, at: int) -> bytes:
    """The octets to sign. at: POSIX seconds."""
    fields = (organisation_id.encode(), warning_id.encode(), decision.encode(), digest(content), device_id.encode(), number(at))
    return encode_statement(CONTEXT, fields)


@dataclass(frozen=True, slots=True)
class Unverified:
    """A decision as it arrived."""

    statement: bytes
    signature: bytes = field(repr=False)

    def verify(
        self,
        organisation_id: str,
        warning_id: str,
        decision: Decision,
        content: bytes,
        device_id: str,
        signature_public_key: bytes,
        now: float,
    ) -> Verified:
        """Check it against the session's device, its certified key and what it is about. Raises `Refused`."""
        given = parse_fields(CONTEXT, self.statement, 6)
        try:
            verify_signature(signature_public_key, self.signature, self.statement)
        except SignatureRefused as error:
            raise Refused("forged", "the signature does not match; sign with the key of your own device") from error
        if given[0] != organisation_id.encode():
            raise Refused("wrong_organisation", "the statement is of another organisation")
        if identifier(given[1], "warning") != warning_id or given[2] != decision.encode():
            raise Refused("replayed", "the statement is about another warning or says something else; sign this one")
        if len(given[3]) != 32 or given[3] != digest(content):
            raise Refused("not_approved", "the statement is about another content; read the warning again and sign what it says")
        if identifier(given[4], "device") != device_id:
            raise Refused("forged", "the statement names another device than the one that sends it")
        at = instant(given[5], "at")
        if abs(at - now) > MAX_SKEW_S:
            raise Refused("expired", "the statement was not made just now; set this device's clock and sign again")
        return Verified(warning_id, decision, device_id, at)
