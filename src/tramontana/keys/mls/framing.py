"""The outside of MLS messages: what a delivery service has to read, and nothing that needs a key (RFC 9420 §6, §10, §12.4.3.1).

Strict: every length is minimal and inside the message, nothing may follow the end, and unknown versions, wire formats and content
types are refused. Any bytes whatsoever give either a message or `FramingError`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum

from tramontana.keys.mls.codec import Reader, vector
from tramontana.keys.mls.errors import FramingError

MLS10 = 1  # RFC 9420 §6, ProtocolVersion
SUITE = 0xF002
"""X-Wing, HKDF-SHA384, AES-256-GCM, SHA-384, Ed25519: private-use number, as no IANA number exists yet."""
BASIC_CREDENTIAL = 1  # RFC 9420 §5.3
KEY_PACKAGE_SOURCE = 1  # RFC 9420 §7.2, LeafNodeSource
MAX_WELCOMED = 4096
"""Our own bound on the new members of one Welcome."""

__all__ = [
    "SUITE",
    "ContentType",
    "FramingError",
    "KeyPackage",
    "PrivateMessage",
    "Welcome",
    "WireFormat",
    "key_package_reference",
    "parse_key_package",
    "parse_private_message",
    "parse_welcome",
]


class WireFormat(IntEnum):
    """RFC 9420 §6."""

    PUBLIC_MESSAGE = 1
    PRIVATE_MESSAGE = 2
    WELCOME = 3
    GROUP_INFO = 4
    KEY_PACKAGE = 5


class ContentType(IntEnum):
    """RFC 9420 §6."""

    APPLICATION = 1
    PROPOSAL = 2
    COMMIT = 3


@dataclass(frozen=True, slots=True)
class PrivateMessage:
    """The readable head of a PrivateMessage (RFC 9420 §6.3)."""

    group_id: bytes
    epoch: int
    content_type: ContentType


@dataclass(frozen=True, slots=True)
class Welcome:
    """Whom a Welcome admits (RFC 9420 §12.4.3.1)."""

    cipher_suite: int
    new_members: tuple[bytes, ...]
    """KeyPackageRefs."""


@dataclass(frozen=True, slots=True)
class KeyPackage:
    """A KeyPackage whose signatures have not been checked (RFC 9420 §10): the members of a group do that."""

    cipher_suite: int
    signature_key: bytes
    identity: bytes
    not_before_unix_s: int
    not_after_unix_s: int
    reference: bytes
    """KeyPackageRef under SHA-384, the hash of our suite (RFC 9420 §5.2)."""


def _open(message: bytes, expected: WireFormat) -> Reader:
    reader = Reader(message)
    if (version := reader.uint(2)) != MLS10:
        raise FramingError(f"protocol version {version} is not mls10")
    if (wire_format := reader.uint(2)) != expected:
        raise FramingError(f"wire format {wire_format} where {expected.name.lower()} ({expected}) must stand")
    return reader


def parse_private_message(message: bytes) -> PrivateMessage:
    """Read the head of an MLSMessage that carries a PrivateMessage. Raises `FramingError`."""
    reader = _open(message, WireFormat.PRIVATE_MESSAGE)
    group_id = reader.vector()
    epoch = reader.uint(8)
    try:
        content_type = ContentType(reader.uint(1))
    except ValueError as error:
        raise FramingError(f"unknown content type: {error}") from error
    for _ in ("authenticated_data", "encrypted_sender_data", "ciphertext"):
        reader.vector()
    reader.end()
    return PrivateMessage(group_id, epoch, content_type)


def parse_welcome(message: bytes) -> Welcome:
    """Read whom an MLSMessage with a Welcome admits. Raises `FramingError`, also for none, a repeated or too many new members."""
    reader = _open(message, WireFormat.WELCOME)
    cipher_suite = reader.uint(2)
    entries = Reader(reader.vector())
    new_members: list[bytes] = []
    while not entries.at_end:
        new_members.append(entries.vector())
        entries.vector()  # HPKECiphertext.kem_output
        entries.vector()  # HPKECiphertext.ciphertext
        if len(new_members) > MAX_WELCOMED:
            raise FramingError(f"a Welcome for more than {MAX_WELCOMED} new members")
    reader.vector()  # encrypted_group_info
    reader.end()
    if not new_members or len(set(new_members)) != len(new_members):
        raise FramingError("a Welcome must name each new member once, and at least one")
    return Welcome(cipher_suite, tuple(new_members))


def parse_key_package(message: bytes) -> KeyPackage:
    """Read an MLSMessage with a KeyPackage that has a basic credential. Raises `FramingError`."""
    body = message[4:]
    reader = _open(message, WireFormat.KEY_PACKAGE)
    if (version := reader.uint(2)) != MLS10:
        raise FramingError(f"the KeyPackage is of protocol version {version}, not mls10")
    cipher_suite = reader.uint(2)
    reader.vector()  # init_key
    reader.vector()  # leaf_node.encryption_key
    signature_key = reader.vector()
    if (credential_type := reader.uint(2)) != BASIC_CREDENTIAL:
        raise FramingError(f"credential type {credential_type} is not basic (1)")
    identity = reader.vector()
    for _ in ("versions", "cipher_suites", "extensions", "proposals", "credentials"):  # RFC 9420 §7.2, Capabilities
        if len(reader.vector()) % 2:
            raise FramingError("a list of capabilities has an odd number of bytes")
    if (source := reader.uint(1)) != KEY_PACKAGE_SOURCE:
        raise FramingError(f"leaf node source {source} where key_package (1) must stand")
    not_before, not_after = reader.uint(8), reader.uint(8)
    for _ in ("leaf_node.extensions", "leaf_node.signature", "extensions", "signature"):
        reader.vector()
    reader.end()
    return KeyPackage(cipher_suite, signature_key, identity, not_before, not_after, key_package_reference(body))


def key_package_reference(key_package: bytes) -> bytes:
    """KeyPackageRef (RFC 9420 §5.2) of an encoded KeyPackage, without the MLSMessage around it, under SHA-384: 48 bytes."""
    label = b"MLS 1.0 KeyPackage Reference"
    return hashlib.sha384(vector(label) + vector(key_package)).digest()
