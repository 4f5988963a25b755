"""The MLS parser: what it reads, and that no bytes crash it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.keys.mls.framing import (
    SUITE,
    ContentType,
    FramingError,
    key_package_reference,
    parse_key_package,
    parse_private_message,
    parse_welcome,
)

PARSERS: list[Callable[[bytes], object]] = [parse_private_message, parse_welcome, parse_key_package]


def varint(length: int, width: int | None = None) -> bytes:
    """RFC 9420 §2.1.2; `width` forces a longer form than needed."""
    width = width or (1 if length < 64 else 2 if length < 16384 else 4)
    return (length | {1: 0, 2: 0x4000, 4: 0x80000000}[width]).to_bytes(width, "big")


def opaque(value: bytes, width: int | None = None) -> bytes:
    return varint(len(value), width) + value


def private_message(group_id: bytes = b"g" * 16, epoch: int = 7, content_type: int = 3, *, width: int | None = None) -> bytes:
    head = b"\x00\x01\x00\x02" + opaque(group_id, width) + epoch.to_bytes(8, "big") + bytes([content_type])
    return head + opaque(b"aad") + opaque(b"sender data") + opaque(b"c" * 300)


def welcome(references: list[bytes]) -> bytes:
    entries = b"".join(opaque(reference) + opaque(b"kem") + opaque(b"sealed") for reference in references)
    return b"\x00\x01\x00\x03" + SUITE.to_bytes(2, "big") + opaque(entries) + opaque(b"group info")


def key_package(*, version: int = 1, credential: int = 1, source: int = 1, versions: bytes = b"\x00\x01") -> bytes:
    leaf = opaque(b"e" * 1216) + opaque(b"s" * 32) + credential.to_bytes(2, "big") + opaque(b"account/device")
    leaf += opaque(versions) + opaque(b"\xf0\x02") + opaque(b"") * 2 + opaque(b"\x00\x01")
    leaf += bytes([source]) + (100).to_bytes(8, "big") + (200).to_bytes(8, "big") + opaque(b"") + opaque(bytes(64))
    return b"\x00\x01\x00\x05" + version.to_bytes(2, "big") + b"\xf0\x02" + opaque(b"i" * 1216) + leaf + opaque(b"") + opaque(bytes(64))


MESSAGES = [private_message(), welcome([b"r" * 48, b"q" * 48]), key_package()]


def test_a_private_message_shows_group_epoch_and_content_type() -> None:
    message = parse_private_message(private_message(b"\x01\x02", 2**53, 1))
    assert (message.group_id, message.epoch, message.content_type) == (b"\x01\x02", 2**53, ContentType.APPLICATION)


def test_a_welcome_shows_suite_and_new_members() -> None:
    message = parse_welcome(welcome([b"r" * 48, b"q" * 48]))
    assert (message.cipher_suite, message.new_members) == (SUITE, (b"r" * 48, b"q" * 48))


def test_a_key_package_shows_whose_it_is() -> None:
    package = parse_key_package(key_package())
    assert (package.cipher_suite, package.signature_key, package.identity) == (SUITE, b"s" * 32, b"account/device")
    assert (package.not_before_unix_s, package.not_after_unix_s) == (100, 200)
    body = key_package()[4:]
    expected = hashlib.sha384(opaque(b"MLS 1.0 KeyPackage Reference") + opaque(body)).digest()
    assert package.reference == key_package_reference(body) == expected


@pytest.mark.parametrize("length", [0, 63, 64, 16383, 16384, 70000])
def test_references_of_every_length_form(length: int) -> None:
    body = b"x" * length
    assert key_package_reference(body) == hashlib.sha384(opaque(b"MLS 1.0 KeyPackage Reference") + opaque(body)).digest()


@pytest.mark.parametrize(
    ("parse", "message"),
    [
        (parse_private_message, private_message(content_type=0)),
        (parse_private_message, private_message(content_type=4)),
        (parse_private_message, private_message(width=2)),  # 16 in two bytes
        (parse_private_message, private_message(width=4)),
        (parse_private_message, private_message(b"g" * 100, width=4)),  # 100 in four
        (parse_private_message, b"\x00\x02" + private_message()[2:]),
        (parse_private_message, b"\x00\x01\x00\x02\xc0" + bytes(20)),  # the reserved length prefix
        (parse_private_message, private_message() + b"\x00"),
        (parse_private_message, welcome([b"r" * 48])),
        (parse_welcome, welcome([])),
        (parse_welcome, welcome([b"r" * 48, b"r" * 48])),
        (parse_welcome, welcome([b"%048d" % number for number in range(5000)])),
        (parse_key_package, key_package(version=2)),
        (parse_key_package, key_package(credential=2)),
        (parse_key_package, key_package(source=3)),
        (parse_key_package, key_package(versions=b"\x00")),
    ],
)
def test_what_is_not_exact_is_refused(parse: Callable[[bytes], object], message: bytes) -> None:
    with pytest.raises(FramingError):
        parse(message)


@pytest.mark.parametrize("parse", PARSERS)
@given(data=st.binary(max_size=400))
def test_no_bytes_crash_it(parse: Callable[[bytes], object], data: bytes) -> None:
    for prefix in (b"", b"\x00\x01\x00\x02", b"\x00\x01\x00\x03\xf0\x02", b"\x00\x01\x00\x05\x00\x01\xf0\x02"):
        with contextlib.suppress(FramingError):
            parse(prefix + data)


@given(data=st.data())
def test_no_damage_crashes_it_and_every_cut_is_refused(data: st.DataObject) -> None:
    index = data.draw(st.integers(0, 2))
    message, parse = MESSAGES[index], PARSERS[index]
    cut = data.draw(st.integers(0, len(message) - 1))
    with pytest.raises(FramingError):
        parse(message[:cut])
    damaged = bytearray(message)
    damaged[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FramingError):
        parse(bytes(damaged))
