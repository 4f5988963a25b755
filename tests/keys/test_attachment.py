"""Sealed attachments against the shared vectors, and whatever a server could do to one."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tramontana.keys import attachment
from tramontana.keys.attachment import CHUNK_BYTES, AttachmentKey, AttachmentRefused
from tramontana.keys.secret import Token

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "attachment" / "vectors.json").read_text("utf-8"))
ID = "00112233445566778899aabbccddeeff"

Sealed = tuple[AttachmentKey, bytes, list[bytes]]


def content(size: int) -> bytes:
    return bytes((i * 7 + (i >> 8)) & 0xFF for i in range(size))


def sha256(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


@pytest.mark.parametrize("vector", VECTORS["attachments"], ids=lambda vector: str(vector["size"]))
def test_vectors(vector: dict[str, Any]) -> None:
    key, size = AttachmentKey(Token(b64decode(vector["key"]))), vector["size"]
    chunks = attachment.seal(key, vector["attachment_id"], content(size))
    assert [(len(chunk), sha256(chunk)) for chunk in chunks] == [(each["octets"], b64decode(each["sha256"])) for each in vector["chunks"]]
    assert sum(map(len, chunks)) == attachment.sealed_bytes(size)
    assert attachment.open_sealed(key, vector["attachment_id"], size, b64decode(vector["sha256"]), chunks) == content(size)


def test_size_classes() -> None:
    assert [[size, attachment.padded_bytes(size)] for size, _ in VECTORS["padded"]] == VECTORS["padded"]


@given(st.integers(0, 1 << 40))
@example(1024)
@settings(max_examples=200)
def test_padding_never_cuts_and_adds_little(size: int) -> None:
    padded = attachment.padded_bytes(size)
    assert max(size, 1024) <= padded <= max(size, 1024) * 1.12
    assert attachment.padded_bytes(padded) == padded


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    key, plain = AttachmentKey.generate(), secrets.token_bytes(2 * CHUNK_BYTES + 5)
    return key, plain, attachment.seal(key, ID, plain)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("wrong_length", lambda chunks: chunks[:-1]),
        ("wrong_length", lambda chunks: [*chunks[:-1], chunks[-1][:-1]]),
        ("wrong_length", lambda chunks: [*chunks, chunks[-1]]),
        ("forged", lambda chunks: [chunks[1], chunks[0], chunks[2]]),
        ("forged", lambda chunks: [chunks[0], chunks[0], chunks[2]]),
        ("forged", lambda chunks: [bytes([chunks[0][0] ^ 1]) + chunks[0][1:], *chunks[1:]]),
    ],
)
def test_what_was_cut_moved_or_altered_is_refused(sealed: Sealed, reason: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    key, plain, chunks = sealed
    with pytest.raises(AttachmentRefused) as refused:
        attachment.open_sealed(key, ID, len(plain), sha256(plain), change(chunks))
    assert refused.value.reason == reason


def test_a_chunk_of_another_attachment_key_or_length_is_refused(sealed: Sealed) -> None:
    key, plain, chunks = sealed
    other = attachment.seal(key, "ff" * 16, plain)
    longer = attachment.seal(key, ID, plain + bytes(CHUNK_BYTES))
    strange = attachment.seal(AttachmentKey.generate(), ID, plain)
    for mixed in (other, longer, strange):
        with pytest.raises(AttachmentRefused, match="forged: chunk 2 of 3"):
            attachment.open_sealed(key, ID, len(plain), sha256(plain), [chunks[0], mixed[1], chunks[2]])
    with pytest.raises(AttachmentRefused, match="wrong_digest"):
        attachment.open_sealed(key, ID, len(plain) - 1, sha256(plain), chunks)


def test_a_key_does_not_show_itself() -> None:
    key = AttachmentKey.generate()
    assert key.secret.reveal() not in repr(key)
