"""The forwarder's control protocol: one JSON object a line over a Unix stream socket (docs/protocols.md, "Forwarder control").

Sans-I/O. A request that is not exactly right is `RequestRefused` and changes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from tramontana.errors import RemoteError
from tramontana.phone.forwarder.sdp import MAX_OFFER_CHARACTERS
from tramontana.phone.forwarder.ticket import MAX_TICKET_CHARACTERS
from tramontana.phone.stun import Address

MAX_LINE_BYTES: Final = 64 * 1024
MAX_ID_CHARACTERS: Final = 64


class RequestRefused(RemoteError):
    """A control request was refused and nothing was changed; `code` is a word of the protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Connect:
    """Admit a phone with its offer. `candidate`: where phones reach the forwarder, if not at its own address."""

    ticket: str
    offer: str
    candidate: Address | None

    def encode(self) -> bytes:
        candidate = list(self.candidate) if self.candidate else None
        return encode_line({"op": "connect", "ticket": self.ticket, "offer": self.offer, "candidate": candidate})


@dataclass(frozen=True, slots=True)
class Floor:
    """Who is heard in a talk group from now on."""

    call_id: str
    holder: str | None

    def encode(self) -> bytes:
        return encode_line({"op": "floor", "call_id": self.call_id, "holder": self.holder})


@dataclass(frozen=True, slots=True)
class Disconnect:
    """End the connections of a device, or of a whole call. Unknown ones are no error."""

    call_id: str
    device_id: str | None

    def encode(self) -> bytes:
        return encode_line({"op": "disconnect", "call_id": self.call_id, "device_id": self.device_id})


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no new call; the process ends with its last one."""

    def encode(self) -> bytes:
        return encode_line({"op": "drain"})


@dataclass(frozen=True, slots=True)
class Stats:
    """Ask what goes on."""

    def encode(self) -> bytes:
        return encode_line({"op": "stats"})


Request = Connect | Floor | Disconnect | Drain | Stats


def encode_line(document: dict[str, Any]) -> bytes:
    """One line of the protocol."""
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def encode_refusal(code: str, message: str) -> bytes:
    return encode_line({"ok": False, "code": code, "error": message})


def parse_request(line: bytes) -> Request:
    """Read one request. Raises `RequestRefused`."""
    document = _parse_object(line)
    match document.pop("op", None):
        case "connect":
            request: Request = Connect(
                _text(document, "ticket", MAX_TICKET_CHARACTERS), _text(document, "offer", MAX_OFFER_CHARACTERS), _candidate(document)
            )
        case "floor":
            request = Floor(_text(document, "call_id", MAX_ID_CHARACTERS), _text_or_none(document, "holder"))
        case "disconnect":
            request = Disconnect(_text(document, "call_id", MAX_ID_CHARACTERS), _text_or_none(document, "device_id"))
        case "drain":
            request = Drain()
        case "stats":
            request = Stats()
        case _:
            raise _malformed("op must be connect, floor, disconnect, drain or stats")
    if document:
        raise _malformed(f"unknown field {next(iter(document))!r}")
    return request


def parse_answer(line: bytes) -> dict[str, Any]:
    """Read one answer of a forwarder. Raises `RequestRefused` if it is none."""
    document = _parse_object(line)
    if not isinstance(document.get("ok"), bool):
        raise _malformed("an answer must say whether it is ok")
    return document


def _malformed(message: str) -> RequestRefused:
    return RequestRefused("malformed", message)


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise _malformed("not one JSON object in UTF-8") from None
    if not isinstance(document, dict):
        raise _malformed("not one JSON object in UTF-8")
    return document


def _text(document: dict[str, Any], name: str, most: int) -> str:
    value = document.pop(name, None)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise _malformed(f"{name} must be a text of 1 to {most} characters")
    return value


def _text_or_none(document: dict[str, Any], name: str) -> str | None:
    if document.get(name, "") is None:
        return document.pop(name)  # type: ignore[no-any-return]  # None, as just seen
    return _text(document, name, MAX_ID_CHARACTERS)


def _candidate(document: dict[str, Any]) -> Address | None:
    value = document.pop("candidate", None)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], str) or type(value[1]) is not int:
        raise _malformed("candidate must be null or [IP address, port]")
    try:
        host = str(ip_address(value[0]))
    except ValueError:
        raise _malformed("candidate must be null or [IP address, port]") from None
    if not 0 < value[1] <= 65535:
        raise _malformed("candidate must be null or [IP address, port]")
    return host, value[1]
