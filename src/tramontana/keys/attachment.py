"""Attachments sealed in chunks (docs/protocols.md, "Attachments"): AES-256-GCM under a key of the attachment's own.

The nonce of a chunk is its number, so a key seals one content once and never another. Its additional data bind attachment, number and
count, so that a chunk of another attachment, in another place, or of a shorter or longer one does not open. The content is padded with
zeros to a size class before it is cut: sizes tell little.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tramontana.errors import RemoteError
from tramontana.keys.fields import number
from tramontana.keys.identity import encode_statement
from tramontana.keys.secret import Token

CONTEXT = "tramontana attachment chunk 1"
KEY_BYTES = 32
TAG_BYTES = 16
CHUNK_BYTES = 128 * 1024
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
LEAST_PADDED_BYTES = 1024

Reason = Literal["forged", "wrong_length", "wrong_digest"]


class AttachmentRefused(RemoteError):
    """What was fetched is not the attachment that its sender told of; nothing of it is used. Fetch it again, or ask the sender.

    reason: `forged` (a chunk does not open: altered, out of place, of another attachment, or under another key), `wrong_length`
    (something is missing or too much), `wrong_digest`.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason: Reason = reason
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, slots=True)
class AttachmentKey:
    """What opens one attachment. It travels inside MLS only."""

    secret: Token

    @classmethod
    def generate(cls) -> AttachmentKey:
        return cls(Token(secrets.token_bytes(KEY_BYTES)))


def padded_bytes(size: int) -> int:
    """The size class of a content: Padmé (Nikitin et al., PoPETs 2019, §4.3), at least 1 KiB; at most 12 % are added above that."""
    size = max(size, LEAST_PADDED_BYTES)
    exponent = size.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << low_bits) - 1
    return (size + mask) & ~mask


def chunk_count(size: int) -> int:
    return -(-padded_bytes(size) // CHUNK_BYTES)


def sealed_bytes(size: int) -> int:
    """Of all sealed chunks together."""
    return padded_bytes(size) + chunk_count(size) * TAG_BYTES


def _nonce(index: int) -> bytes:
    return index.to_bytes(12, "big")


def _additional_data(attachment_id: str, index: int, count: int) -> bytes:
    return encode_statement(CONTEXT, [bytes.fromhex(attachment_id), number(index), number(count)])


def seal(key: AttachmentKey, attachment_id: str, content: bytes) -> list[bytes]:
    """The sealed chunks of a content. A key seals one content only."""
    gcm, count = AESGCM(key.secret.raw()), chunk_count(len(content))
    padded = content.ljust(padded_bytes(len(content)), b"\0")
    return [
        gcm.encrypt(_nonce(index), padded[index * CHUNK_BYTES : (index + 1) * CHUNK_BYTES], _additional_data(attachment_id, index, count))
        for index in range(count)
    ]


def open_sealed(key: AttachmentKey, attachment_id: str, size: int, digest: bytes, chunks: Sequence[bytes]) -> bytes:
    """The content, if all of it is what its sender sealed; size and SHA-256 are what he told. Raises `AttachmentRefused`."""
    count = chunk_count(size)
    if len(chunks) != count or sum(map(len, chunks)) != sealed_bytes(size):
        raise AttachmentRefused(
            "wrong_length", f"{sum(map(len, chunks))} octets in {len(chunks)} chunks, not {sealed_bytes(size)} in {count}"
        )
    gcm, parts = AESGCM(key.secret.raw()), []
    for index, chunk in enumerate(chunks):
        try:
            parts.append(gcm.decrypt(_nonce(index), chunk, _additional_data(attachment_id, index, count)))
        except InvalidTag as error:
            raise AttachmentRefused("forged", f"chunk {index + 1} of {count} does not belong there") from error
    content = b"".join(parts)[:size]
    if not hmac.compare_digest(hashlib.sha256(content).digest(), digest):
        raise AttachmentRefused("wrong_digest", "the content has another SHA-256 than its sender told")
    return content
