"""What site and gateway say to each other outside the tunnels: frames on a TCP connection, and the messages sealed in them.

A frame is `length (4) ‖ kind (1) ‖ body`; the length counts kind and body. An observer sees the gateway's certificate and key
package, which any site may ask for that knows the organisation's fingerprint, and otherwise only MLS messages (docs/protocols.md).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from tramontana.errors import RemoteError
from tramontana.internet.addresses import parse_address, parse_network
from tramontana.internet.key_renewal import KEY_ID_BYTES, Message, Word
from tramontana.internet.overlay import MAX_GATEWAY_NUMBER, MAX_UPLINK_INDEX, OUTER

MAX_FRAME_BYTES = 64 * 1024
WIREGUARD_KEY_BYTES = 32
LEAST_LENGTH, MOST_LENGTH = 1280, 9000
"""Octets of a packet in a tunnel: what IPv6 needs, and the longest Ethernet frames that are usual."""
DEVICE_ID_BYTES = 16
LOG_PART_BYTES = 24 * 1024
"""Entries of the log in one message are at most so large together, unless it is one alone: it grows by a third twice on its way."""
Network = IPv4Network | IPv6Network


class ChannelRefused(RemoteError):
    """The other end of a control channel sent what it may not; the connection was closed and nothing changed."""


class FrameKind(IntEnum):
    HELLO = 1
    """Site: random (32) ‖ proof that it knows the organisation (32)."""
    OFFER = 2
    """Gateway: certificate with a 2-byte length ‖ MLS key package."""
    WELCOME = 3
    """Site: an MLS Welcome."""
    MESSAGE = 4
    """Either: an MLS message with a sealed message."""
    COMMIT = 5
    """Site: an MLS message with a commit."""


@dataclass(frozen=True, slots=True)
class Frame:
    kind: FrameKind
    body: bytes

    def encode(self) -> bytes:
        return (1 + len(self.body)).to_bytes(4, "big") + bytes((self.kind,)) + self.body


class FrameReader:
    """Octets in, whole frames out."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Raises `ChannelRefused`."""
        self._unread += data
        frames = []
        while len(self._unread) >= 4:
            length = int.from_bytes(self._unread[:4], "big")
            if not 1 <= length <= MAX_FRAME_BYTES:
                raise ChannelRefused(f"a frame of {length} octets; 1 to {MAX_FRAME_BYTES} are allowed")
            if len(self._unread) < 4 + length:
                break
            kind, body = self._unread[4], bytes(self._unread[5 : 4 + length])
            del self._unread[: 4 + length]
            try:
                frames.append(Frame(FrameKind(kind), body))
            except ValueError:
                raise ChannelRefused(f"a frame of unknown kind {kind}; the other end may be newer") from None
        return frames


@dataclass(frozen=True, slots=True)
class Introduction:
    """The first sealed message of a site: who it is, and its ends of the tunnels."""

    certificate: bytes
    number: int
    networks: tuple[Network, ...]
    public_keys: Mapping[int, bytes]
    """WireGuard's, by uplink; of outer tunnels by uplink and `OUTER`."""
    key_ids: Mapping[int, frozenset[bytes]]
    """Of the preshared keys that it holds, by uplink."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The gateway's answer: its ends."""

    public_keys: Mapping[int, bytes]
    key_ids: Mapping[int, frozenset[bytes]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gateway's other answer, or its last word."""

    reason: str
    sentence: str
    revocation: bytes = b""
    """The organisation's own statement, where that is the reason: a gateway's word alone destroys no site."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """About a preshared key of the tunnel over this uplink."""

    uplink: int
    message: Message


@dataclass(frozen=True, slots=True)
class Alive:
    """Nothing but that the sender is there; it is answered by nothing."""


@dataclass(frozen=True, slots=True)
class Length:
    """Site: packets of the tunnel over this uplink may have so many octets on their way."""

    uplink: int
    octets: int


@dataclass(frozen=True, slots=True)
class LogWanted:
    """Site: it has so many entries of the organisation's log, and wants the next ones."""

    start: int


@dataclass(frozen=True, slots=True)
class LogPart:
    """Gateway: the log has so many entries now; these begin at `start`. None of them: the site may ask."""

    size: int
    start: int = 0
    entries: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class GatewayAt:
    """Where the server says that a gateway is."""

    id: str
    number: int
    address: IPv4Address | IPv6Address
    address_6: IPv6Address | None = None
    """For uplinks with IPv6 alone, if `address` is of IPv4."""

    def fields(self) -> dict[str, Any]:
        """As it is sent: the second address only where there is one."""
        more = {} if self.address_6 is None else {"address_6": str(self.address_6)}
        return {"id": self.id, "number": self.number, "address": str(self.address), **more}


@dataclass(frozen=True, slots=True)
class Gateways:
    """Gateway: all gateways that there are now."""

    gateways: tuple[GatewayAt, ...]


@dataclass(frozen=True, slots=True)
class Reported:
    """Site: its signed report, for the server (`report.py`)."""

    report: bytes
    signature: bytes


Sealed = Introduction | Acceptance | Refusal | Renewal | Alive | Length | LogWanted | LogPart | Gateways | Reported


def encode_sealed(message: Sealed) -> bytes:
    """The plaintext of a sealed message: JSON."""
    match message:
        case Introduction():
            fields: dict[str, Any] = {
                "say": "introduction",
                "certificate": b64encode(message.certificate).decode(),
                "number": message.number,
                "networks": [str(network) for network in message.networks],
                "tunnels": _ends(message.public_keys, message.key_ids),
            }
        case Acceptance():
            fields = {"say": "acceptance", "tunnels": _ends(message.public_keys, message.key_ids)}
        case Refusal():
            fields = {"say": "refusal", "reason": message.reason, "sentence": message.sentence}
            if message.revocation:
                fields["revocation"] = b64encode(message.revocation).decode()
        case Renewal():
            key = message.message
            fields = {"say": "renewal", "uplink": message.uplink, "word": key.word, "number": key.number, "key": key.key_id.hex()}
        case Alive():
            fields = {"say": "alive"}
        case Length():
            fields = {"say": "length", "uplink": message.uplink, "octets": message.octets}
        case LogWanted():
            fields = {"say": "log_wanted", "start": message.start}
        case LogPart():
            entries = [b64encode(entry).decode() for entry in message.entries]
            fields = {"say": "log_part", "size": message.size, "start": message.start, "entries": entries}
        case Gateways():
            fields = {"say": "gateways", "gateways": [each.fields() for each in message.gateways]}
        case Reported():
            fields = {
                "say": "report",
                "report": b64encode(message.report).decode(),
                "signature": b64encode(message.signature).decode(),
            }
    return json.dumps(fields, separators=(",", ":")).encode()


def parse_sealed(plaintext: bytes) -> Sealed:
    """Raises `ChannelRefused`."""
    try:
        fields = json.loads(plaintext)
        match fields["say"]:
            case "introduction":
                certificate = b64decode(fields["certificate"], validate=True)
                networks = tuple(parse_network(each) for each in fields["networks"])
                return Introduction(certificate, _number(fields["number"]), networks, *_parse_ends(fields["tunnels"]))
            case "acceptance":
                return Acceptance(*_parse_ends(fields["tunnels"]))
            case "refusal":
                revocation = b64decode(fields.get("revocation", ""), validate=True)
                return Refusal(str(fields["reason"]), str(fields["sentence"]), revocation)
            case "renewal":
                message = Message(Word(fields["word"]), _number(fields["number"]), _octets(fields["key"], KEY_ID_BYTES))
                return Renewal(_tunnel(fields["uplink"]), message)
            case "alive":
                return Alive()
            case "length":
                return Length(_uplink(fields["uplink"]), _length(fields["octets"]))
            case "log_wanted":
                return LogWanted(_number(fields["start"]))
            case "log_part":
                entries = tuple(b64decode(each, validate=True) for each in fields["entries"])
                return LogPart(_number(fields["size"]), _number(fields["start"]), entries)
            case "report":
                return Reported(b64decode(fields["report"], validate=True), b64decode(fields["signature"], validate=True))
            case "gateways":
                return Gateways(tuple(_gateway(each) for each in fields["gateways"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ChannelRefused(f"a sealed message that is not one ({type(error).__name__}); the other end may be newer") from error
    raise ChannelRefused("a sealed message of an unknown kind; the other end may be newer")


def _ends(public_keys: Mapping[int, bytes], key_ids: Mapping[int, frozenset[bytes]]) -> list[dict[str, Any]]:
    return [
        {"uplink": uplink, "public_key": key.hex(), "keys": sorted(each.hex() for each in key_ids.get(uplink, ()))}
        for uplink, key in public_keys.items()
    ]


def _parse_ends(tunnels: list[dict[str, Any]]) -> tuple[dict[int, bytes], dict[int, frozenset[bytes]]]:
    ends = {_tunnel(each["uplink"]): each for each in tunnels}
    if len(ends) != len(tunnels):
        raise ValueError("an uplink stands there twice")
    public_keys = {uplink: _octets(each["public_key"], WIREGUARD_KEY_BYTES) for uplink, each in ends.items()}
    return public_keys, {uplink: frozenset(_octets(key, KEY_ID_BYTES) for key in each["keys"]) for uplink, each in ends.items()}


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("not a number")
    return value


def _length(value: object) -> int:
    number = _number(value)
    if not LEAST_LENGTH <= number <= MOST_LENGTH:
        raise ValueError("not the length of a packet")
    return number


def _uplink(value: object) -> int:
    number = _number(value)
    if not 1 <= number <= MAX_UPLINK_INDEX:
        raise ValueError("not an uplink")
    return number


def _tunnel(value: object) -> int:
    """An uplink, or the outer tunnel over it."""
    number = _number(value)
    if number >= 2 * OUTER or not number % OUTER:
        raise ValueError("not a tunnel")
    return number


def _gateway(fields: dict[str, Any]) -> GatewayAt:
    number = _number(fields["number"])
    if number > MAX_GATEWAY_NUMBER:
        raise ValueError("not a gateway's number")
    address_6 = parse_address(fields["address_6"]) if "address_6" in fields else None
    if isinstance(address_6, IPv4Address):
        raise ValueError("not an address of IPv6")
    return GatewayAt(_octets(fields["id"], DEVICE_ID_BYTES).hex(), number, parse_address(fields["address"]), address_6)


def _octets(value: str, length: int) -> bytes:
    octets = bytes.fromhex(value)
    if len(octets) != length:
        raise ValueError("another length")
    return octets
