"""STUN messages (RFC 8489), strictly parsed: what a media relay reads from strangers.

Only what TURN over UDP needs. A message is either well formed to the last octet or it is `MalformedStun`; nothing is guessed.
"""

from __future__ import annotations

import binascii
import hmac
import ipaddress
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from tramontana.errors import RemoteError

# RFC 8489 §5
MAGIC_COOKIE = 0x2112A442
HEADER_BYTES = 20
_HEADER = struct.Struct("!HHI12s")
_ATTRIBUTE_HEADER = struct.Struct("!HH")
_COOKIE = MAGIC_COOKIE.to_bytes(4, "big")

# RFC 8489 §14.7
_FINGERPRINT_XOR = 0x5354554E
_FINGERPRINT_BYTES = 4
_SHA1_BYTES = 20

MAX_ATTRIBUTES = 32
"""No request of RFC 8656 has half as many; the bound keeps parsing of foreign input cheap."""

Address = tuple[str, int]
"""Host as text and port, as sockets give it."""


class MalformedStun(RemoteError):
    """A datagram is not a well-formed STUN message; it was dropped."""


class Method(IntEnum):
    """RFC 8489 §18.2 and RFC 8656 §17."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009
    SHUT_OUT = 0x2ED
    """Ours: method 0x0FD, which IANA has not assigned, with its bits where §5 puts them (`relay_order`)."""


class Class(IntEnum):
    """The class bits C1 and C0 where they stand in the message type (RFC 8489 §5)."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Attribute(IntEnum):
    """RFC 8489 §18.3 and RFC 8656 §18. Types below 0x8000 must be understood by who receives them."""

    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    SOFTWARE = 0x8022
    FINGERPRINT = 0x8028


_METHODS = {int(method) for method in Method}
_KNOWN_ATTRIBUTES = {int(attribute) for attribute in Attribute}


@dataclass(frozen=True, slots=True)
class StunMessage:
    """One message. `attributes` holds what stood before MESSAGE-INTEGRITY, in order, as (type, value without padding)."""

    method: Method
    message_class: Class
    transaction_id: bytes
    attributes: tuple[tuple[int, bytes], ...]
    integrity: bytes | None = None
    """The value of MESSAGE-INTEGRITY."""
    integrity_input: bytes = b""
    """The octets that MESSAGE-INTEGRITY covers, with the length field already adjusted (RFC 8489 §14.5)."""
    has_fingerprint: bool = False

    def get(self, attribute: Attribute) -> bytes | None:
        """The first value of an attribute; later ones count for nothing (RFC 8489 §14)."""
        for kind, value in self.attributes:
            if kind == attribute:
                return value
        return None

    def get_all(self, attribute: Attribute) -> list[bytes]:
        return [value for kind, value in self.attributes if kind == attribute]

    def unknown_required(self) -> list[int]:
        """Comprehension-required attribute types that this relay does not know (RFC 8489 §6.3.1)."""
        return [kind for kind, _ in self.attributes if kind < 0x8000 and kind not in _KNOWN_ATTRIBUTES]

    def has_integrity(self, key: bytes) -> bool:
        """Whether MESSAGE-INTEGRITY is present and right under `key`; compared in constant time."""
        if self.integrity is None:
            return False
        return hmac.compare_digest(hmac.digest(key, self.integrity_input, "sha1"), self.integrity)


def parse(data: bytes) -> StunMessage:
    """Read one STUN datagram. Raises `MalformedStun`.

    Attributes after MESSAGE-INTEGRITY are ignored except FINGERPRINT (RFC 8489 §14.5), which must be right and last.
    """
    if len(data) < HEADER_BYTES:
        raise MalformedStun("shorter than a STUN header")
    kind, length, cookie, transaction_id = _HEADER.unpack_from(data)
    if kind & 0xC000 or cookie != MAGIC_COOKIE or length % 4 or length + HEADER_BYTES != len(data):
        raise MalformedStun("not a STUN header of this length")
    method = kind & 0x3EEF
    if method not in _METHODS:
        raise MalformedStun("unknown STUN method")
    attributes: list[tuple[int, bytes]] = []
    integrity: bytes | None = None
    integrity_input = b""
    has_fingerprint = False
    offset, count = HEADER_BYTES, 0
    while offset < len(data):
        attribute, size = _ATTRIBUTE_HEADER.unpack_from(data, offset)  # the length is a multiple of 4, so 4 octets are there
        end = offset + 4 + size
        count += 1
        if end > len(data) or has_fingerprint or count > MAX_ATTRIBUTES:
            raise MalformedStun("an attribute runs past the end of the message, or one follows FINGERPRINT, or there are too many")
        value = data[offset + 4 : end]
        if attribute == Attribute.FINGERPRINT:
            if size != _FINGERPRINT_BYTES or int.from_bytes(value, "big") != _fingerprint(data[:offset]):
                raise MalformedStun("FINGERPRINT does not match")
            has_fingerprint = True
        elif integrity is None:
            if attribute == Attribute.MESSAGE_INTEGRITY:
                if size != _SHA1_BYTES:
                    raise MalformedStun("MESSAGE-INTEGRITY is not 20 octets")
                integrity = value
                integrity_input = _with_length(data[:offset], offset - HEADER_BYTES + 4 + _SHA1_BYTES)
            else:
                attributes.append((attribute, value))
        offset = end + (-size % 4)
    return StunMessage(Method(method), Class(kind & 0x0110), transaction_id, tuple(attributes), integrity, integrity_input, has_fingerprint)


def encode(
    method: Method,
    message_class: Class,
    transaction_id: bytes,
    attributes: Sequence[tuple[Attribute, bytes]],
    *,
    key: bytes | None = None,
    fingerprint: bool = False,
) -> bytes:
    """Write one message, with MESSAGE-INTEGRITY if there is a key and FINGERPRINT if it is asked for."""
    body = b"".join(_ATTRIBUTE_HEADER.pack(kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes)
    message = _HEADER.pack(method | message_class, len(body), MAGIC_COOKIE, transaction_id) + body
    if key is not None:
        message = _with_length(message, len(message) - HEADER_BYTES + 4 + _SHA1_BYTES)
        message += _ATTRIBUTE_HEADER.pack(Attribute.MESSAGE_INTEGRITY, _SHA1_BYTES) + hmac.digest(key, message, "sha1")
    if fingerprint:
        message = _with_length(message, len(message) - HEADER_BYTES + 4 + _FINGERPRINT_BYTES)
        message += struct.pack("!HHI", Attribute.FINGERPRINT, _FINGERPRINT_BYTES, _fingerprint(message))
    return message


def pack_xor_address(address: Address, transaction_id: bytes) -> bytes:
    """An XOR-…-ADDRESS value (RFC 8489 §14.2)."""
    packed = ipaddress.ip_address(address[0]).packed
    port = address[1] ^ (MAGIC_COOKIE >> 16)
    return struct.pack("!HH", 1 if len(packed) == 4 else 2, port) + _xor(packed, transaction_id)


def parse_xor_address(value: bytes, transaction_id: bytes) -> Address:
    """Read an XOR-…-ADDRESS value. Raises `MalformedStun`."""
    if len(value) not in (8, 20) or value[1] != (1 if len(value) == 8 else 2):
        raise MalformedStun("an address of wrong length or family")
    host = ipaddress.ip_address(_xor(value[4:], transaction_id))
    return str(host), int.from_bytes(value[2:4], "big") ^ (MAGIC_COOKIE >> 16)


def pack_error_code(code: int, reason: str) -> bytes:
    """An ERROR-CODE value (RFC 8489 §14.8)."""
    return struct.pack("!HBB", 0, code // 100, code % 100) + reason.encode()


def _xor(packed: bytes, transaction_id: bytes) -> bytes:
    mask = (_COOKIE + transaction_id)[: len(packed)]
    return (int.from_bytes(packed, "big") ^ int.from_bytes(mask, "big")).to_bytes(len(packed), "big")


def _with_length(message: bytes, length: int) -> bytes:
    return message[:2] + length.to_bytes(2, "big") + message[4:]


def _fingerprint(before: bytes) -> int:
    """CRC-32 over the message up to FINGERPRINT, whose own size the length field already counts (RFC 8489 §14.7)."""
    return binascii.crc32(_with_length(before, len(before) - HEADER_BYTES + 4 + _FINGERPRINT_BYTES)) ^ _FINGERPRINT_XOR
