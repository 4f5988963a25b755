"""Builds the outside of MLS messages with content that nobody can decrypt, independently of the parser under test (RFC 9420 §6)."""

from __future__ import annotations

import hashlib
import secrets

MLS10 = b"\x00\x01"
PRIVATE, WELCOME, KEY_PACKAGE = b"\x00\x02", b"\x00\x03", b"\x00\x05"
SUITE = 0xF002
APPLICATION, PROPOSAL, COMMIT = 1, 2, 3


def varint(length: int) -> bytes:
    if length < 64:
        return bytes([length])
    if length < 16384:
        return bytes([0x40 | length >> 8, length & 0xFF])
    return (0x80000000 | length).to_bytes(4, "big")


def opaque(value: bytes) -> bytes:
    return varint(len(value)) + value


def private_message(conversation_id: str, epoch: int, content_type: int, size: int = 64) -> bytes:
    body = opaque(bytes.fromhex(conversation_id)) + epoch.to_bytes(8, "big") + bytes([content_type])
    return MLS10 + PRIVATE + body + opaque(b"") + opaque(secrets.token_bytes(24)) + opaque(secrets.token_bytes(size))


def welcome(references: list[bytes], suite: int = SUITE) -> bytes:
    entries = b"".join(opaque(reference) + opaque(b"kem") + opaque(b"sealed") for reference in references)
    return MLS10 + WELCOME + suite.to_bytes(2, "big") + opaque(entries) + opaque(secrets.token_bytes(100))


def key_package(
    identity: str,
    signature_key: bytes,
    *,
    suite: int = SUITE,
    not_before: int = 0,
    not_after: int = 2**40,
    source: int = 1,
) -> bytes:
    capabilities = b"".join(opaque(value) for value in (MLS10, suite.to_bytes(2, "big"), b"", b"", b"\x00\x01"))
    leaf = (
        opaque(secrets.token_bytes(1216))
        + opaque(signature_key)
        + b"\x00\x01"
        + opaque(identity.encode())
        + capabilities
        + bytes([source])
        + not_before.to_bytes(8, "big")
        + not_after.to_bytes(8, "big")
        + opaque(b"")
        + opaque(bytes(64))
    )
    package = MLS10 + suite.to_bytes(2, "big") + opaque(secrets.token_bytes(1216)) + leaf + opaque(b"") + opaque(bytes(64))
    return MLS10 + KEY_PACKAGE + package


def reference(message: bytes) -> bytes:
    """KeyPackageRef, RFC 9420 §5.2, with SHA-384."""
    return hashlib.sha384(opaque(b"MLS 1.0 KeyPackage Reference") + opaque(message[4:])).digest()
