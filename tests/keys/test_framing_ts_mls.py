"""The parser on real messages of the browser's MLS engine (regenerate_ts_mls_messages.mjs)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tramontana.keys.mls.framing import ContentType, PrivateMessage, parse_key_package, parse_private_message, parse_welcome

MESSAGES = {name: bytes.fromhex(text) for name, text in json.loads((Path(__file__).parent / "ts_mls_messages.json").read_text()).items()}
GROUP_ID = b"\x07" * 16


def test_a_key_package() -> None:
    package = parse_key_package(MESSAGES["key_package"])
    assert (package.cipher_suite, package.signature_key, package.identity) == (1, MESSAGES["signature_key"], b"bea/2")
    assert (package.not_before_unix_s, package.not_after_unix_s) == (100, 2**40)


def test_a_commit_and_an_application_message() -> None:
    assert parse_private_message(MESSAGES["commit"]) == PrivateMessage(GROUP_ID, 0, ContentType.COMMIT)
    assert parse_private_message(MESSAGES["application"]) == PrivateMessage(GROUP_ID, 1, ContentType.APPLICATION)


def test_a_welcome_names_the_key_package_by_its_reference() -> None:
    welcome = parse_welcome(MESSAGES["welcome"])
    assert welcome.new_members == (MESSAGES["reference"],)
    # The vectors are of suite 1, whose hash is SHA-256; ours is SHA-384 over the same input (RFC 9420 §5.2).
    body, label = MESSAGES["key_package"][4:], b"MLS 1.0 KeyPackage Reference"
    hashed = bytes([len(label)]) + label + (0x4000 | len(body)).to_bytes(2, "big") + body
    assert hashlib.sha256(hashed).digest() == MESSAGES["reference"]
    assert parse_key_package(MESSAGES["key_package"]).reference == hashlib.sha384(hashed).digest()
