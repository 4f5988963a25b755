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
from tramontana.precedence import Precedence

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
class FloorRequest:
    """A phone in a talk group asks for the floor."""

    call_id: str
    device_id: str
    precedence: Precedence

    def encode(self) -> bytes:
        fields = {"op": "floor_request", "call_id": self.call_id, "device_id": self.device_id, "precedence": self.precedence.label}
        return encode_line(fields)


@dataclass(frozen=True, slots=True)
class FloorRelease:
    """A phone gives the floor back, leaves the queue, or cannot be reached any more. An unknown one is no error."""

    call_id: str
    device_id: str

    def encode(self) -> bytes:
        return encode_line({"op": "floor_release", "call_id": self.call_id, "device_id": self.device_id})


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


@dataclass(frozen=True, slots=True)
class Watch:
    """Send this connection a line for every change of a floor, from now on."""

    def encode(self) -> bytes:
        return encode_line({"op": "watch"})


Request = Connect | FloorRequest | FloorRelease | Disconnect | Drain | Stats | Watch


@dataclass(frozen=True, slots=True)
class FloorEvent:
    """The state of a talk group's floor, for the devices in `tell`. `until`: POSIX seconds; `queue` in the order of granting.

    `told` names what happened to whom with this change.
    """

    call_id: str
    holder: str | None
    precedence: Precedence | None
    until: float | None
    queue: tuple[str, ...]
    told: tuple[tuple[str, str], ...]
    tell: tuple[str, ...]

    def encode(self) -> bytes:
        return encode_line(
            {
                "event": "floor",
                "call_id": self.call_id,
                "holder": self.holder,
                "precedence": self.precedence.label if self.precedence is not None else None,
                "until": self.until,
                "queue": self.queue,
                "told": self.told,
                "tell": self.tell,
            }
        )


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
        case "floor_request":
            request = FloorRequest(*_call_and_device(document), _precedence(document))
        case "floor_release":
            request = FloorRelease(*_call_and_device(document))
        case "disconnect":
            request = Disconnect(_text(document, "call_id", MAX_ID_CHARACTERS), _text_or_none(document, "device_id"))
        case "drain":
            request = Drain()
        case "stats":
            request = Stats()
        case "watch":
            request = Watch()
        case _:
            raise _malformed("op must be connect, floor_request, floor_release, disconnect, drain, stats or watch")
    if document:
        raise _malformed(f"unknown field {next(iter(document))!r}")
    return request


def parse_answer(line: bytes) -> dict[str, Any] | FloorEvent:
    """Read one answer of a forwarder, or an event. Raises `RequestRefused` if it is neither."""
    document = _parse_object(line)
    if document.get("event") == "floor":
        try:
            level = document["precedence"]
            return FloorEvent(
                call_id=str(document["call_id"]),
                holder=document["holder"],
                precedence=Precedence.parse(level) if level is not None else None,
                until=document["until"],
                queue=tuple(map(str, document["queue"])),
                told=tuple((str(device), str(event)) for device, event in document["told"]),
                tell=tuple(map(str, document["tell"])),
            )
        except (KeyError, TypeError, ValueError):
            raise _malformed("not an event of the protocol") from None
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


def _call_and_device(document: dict[str, Any]) -> tuple[str, str]:
    return _text(document, "call_id", MAX_ID_CHARACTERS), _text(document, "device_id", MAX_ID_CHARACTERS)


def _precedence(document: dict[str, Any]) -> Precedence:
    try:
        return Precedence.parse(_text(document, "precedence", MAX_ID_CHARACTERS))
    except ValueError as error:
        raise _malformed(str(error)) from None


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
