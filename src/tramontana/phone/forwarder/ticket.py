"""Tickets: the server's word that a device may join a call at a forwarder, with this very offer and for a minute."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tramontana.errors import RemoteError
from tramontana.keys.identity import encode_statement
from tramontana.phone.relay_secret import RelaySecret

CONTEXT: Final = "tramontana forwarder ticket 1"
KEY_CONTEXT: Final = "tramontana forwarder ticket key 1"
TICKET_LIFETIME_S: Final = 60.0
MAX_TICKET_CHARACTERS: Final = 1024
_TAG_BYTES: Final = 32
_FIELDS: Final = 6
_MAX_DEVICE_CHARACTERS: Final = 64


class Kind(Enum):
    """How a call chooses who is heard."""

    CONFERENCE = "conference"
    TALK = "talk"


class TicketRefused(RemoteError):
    """The ticket is forged, expired or for another offer. Ask the server for a new one."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a ticket says. `expires_at`: POSIX seconds."""

    call_id: str
    kind: Kind
    device_id: str
    may_speak: bool
    offer_sha256: str
    expires_at: int


def issue_ticket(
    secret: RelaySecret, *, call_id: str, kind: Kind, device_id: str, may_speak: bool, offer: str, expires_at_unix_s: float
) -> str:
    """A ticket in base64url without padding, for exactly this offer."""
    rights = "speak,listen" if may_speak else "listen"
    fields = (call_id, kind.value, device_id, rights, hashlib.sha256(offer.encode()).hexdigest())
    statement = encode_statement(CONTEXT, (*(field.encode() for field in fields), int(expires_at_unix_s).to_bytes(8, "big")))
    return base64.urlsafe_b64encode(statement + _tag(secret, statement)).decode().rstrip("=")


def verify_ticket(secret: RelaySecret, text: str, *, offer: str, unix_s: float) -> Ticket:
    """Check tag, expiry and offer, the tag first and in constant time. Raises `TicketRefused`."""
    if len(text) > MAX_TICKET_CHARACTERS or not text.isascii():
        raise TicketRefused("not a ticket")
    try:
        octets = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise TicketRefused("not a ticket") from None
    statement, tag = octets[:-_TAG_BYTES], octets[-_TAG_BYTES:]
    if not hmac.compare_digest(_tag(secret, statement), tag):
        raise TicketRefused("the ticket is not of this service: do server and forwarder share one secret?")
    fields = _parse_fields(statement)
    call_id, kind, device_id, rights, offer_sha256 = (field.decode() for field in fields[:5])
    ticket = Ticket(call_id, Kind(kind), device_id, rights == "speak,listen", offer_sha256, int.from_bytes(fields[5], "big"))
    if ticket.expires_at <= unix_s:
        raise TicketRefused("the ticket has expired: ask for a new one")
    if not hmac.compare_digest(ticket.offer_sha256, hashlib.sha256(offer.encode()).hexdigest()):
        raise TicketRefused("the ticket is for another offer")
    if not call_id or not 0 < len(device_id) <= _MAX_DEVICE_CHARACTERS:
        raise TicketRefused("the ticket names no device")
    return ticket


def _tag(secret: RelaySecret, statement: bytes) -> bytes:
    return hmac.digest(secret.derive_key(KEY_CONTEXT), statement, "sha256")


def _parse_fields(statement: bytes) -> Sequence[bytes]:
    """The fields of a statement whose tag was right. Raises `TicketRefused` if it is of another kind."""
    prefix = CONTEXT.encode() + b"\x00"
    if not statement.startswith(prefix):
        raise TicketRefused("signed, but not a ticket of this kind")
    fields, offset = [], len(prefix)
    while offset < len(statement):
        size = int.from_bytes(statement[offset : offset + 2], "big")
        fields.append(statement[offset + 2 : offset + 2 + size])
        offset += 2 + size
    if offset != len(statement) or len(fields) != _FIELDS:
        raise TicketRefused("signed, but not a ticket of this kind")
    return fields
