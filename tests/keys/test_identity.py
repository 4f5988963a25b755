"""Signed statements, usable keys and secrets."""

from __future__ import annotations

import copy
import logging
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.keys.identity import (
    SMALL_ORDER_Y,
    DeviceKey,
    SignatureRefused,
    StatementTooLong,
    UnverifiedEnrolment,
    UnverifiedLogin,
    encode_statement,
    is_usable_public_key,
)
from tramontana.keys.secret import Token

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def test_a_statement_is_laid_out_as_the_protocol_says() -> None:
    assert encode_statement("tramontana test 1", [b"ab", b""]) == b"tramontana test 1\x00\x00\x02ab\x00\x00"
    with pytest.raises(StatementTooLong):
        encode_statement("x", [bytes(65536)])


@given(st.lists(st.binary(max_size=20), max_size=4), st.lists(st.binary(max_size=20), max_size=4))
def test_different_fields_are_different_statements(a: list[bytes], b: list[bytes]) -> None:
    assert (encode_statement("c", a) == encode_statement("c", b)) == (a == b)


def enrolment(key: DeviceKey) -> UnverifiedEnrolment:
    unsigned = UnverifiedEnrolment("service", bytes(32), key.public_bytes, "Ada", b"")
    return replace(unsigned, proof=key.sign(unsigned.statement()))


def test_only_the_signed_enrolment_verifies() -> None:
    key = DeviceKey.generate()
    good = enrolment(key)
    verified = good.verify()
    assert (verified.display_name, verified.signature_public_key, verified.invitation_sha256) == ("Ada", key.public_bytes, bytes(32))
    for bad in (
        replace(good, service_id="other"),
        replace(good, invitation_sha256=b"\x01" * 32),
        replace(good, display_name="Eve"),
        replace(good, signature_public_key=DeviceKey.generate().public_bytes),
        replace(good, signature_public_key=b"short"),
        replace(good, proof=bytes(64)),
        replace(good, proof=b""),
    ):
        with pytest.raises(SignatureRefused):
            bad.verify()


def test_a_login_is_bound_to_service_device_and_challenge() -> None:
    key = DeviceKey.generate()
    unsigned = UnverifiedLogin("service", "device", b"challenge", b"")
    good = replace(unsigned, signature=key.sign(unsigned.statement()))
    assert good.verify(key.public_bytes).device_id == "device"
    for bad in (replace(good, service_id="x"), replace(good, device_id="x"), replace(good, challenge=b"x")):
        with pytest.raises(SignatureRefused):
            bad.verify(key.public_bytes)
    # An enrolment's signature is none over a login, though the fields could be made alike.
    with pytest.raises(SignatureRefused):
        replace(good, signature=enrolment(key).proof).verify(key.public_bytes)


def add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """Ed25519's addition law (RFC 8032 §5.1), affine and slow."""
    (x1, y1), (x2, y2) = a, b
    k = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def x_of(y: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    for root in (x, x * pow(2, (P - 1) // 4, P) % P):
        if root * root % P == square:
            return root
    return None


def test_the_refused_keys_are_exactly_the_points_of_small_order() -> None:
    found = set()
    for y in SMALL_ORDER_Y:
        x = x_of(y)
        assert x is not None
        point = (x, y)
        for _ in range(3):  # times 8
            point = add(point, point)
        assert point == (0, 1)
        found |= {(x, y), (-x % P, y)}
    assert len(found) == 8  # the whole torsion subgroup


@pytest.mark.parametrize("y", sorted(SMALL_ORDER_Y))
@pytest.mark.parametrize("sign", [0, 1])
def test_keys_under_which_anything_verifies_are_refused(y: int, sign: int) -> None:
    assert not is_usable_public_key((y | sign << 255).to_bytes(32, "little"))
    if y < 19:
        assert not is_usable_public_key((y + P | sign << 255).to_bytes(32, "little"))  # the same point, not canonical


def test_ordinary_keys_are_usable() -> None:
    assert all(is_usable_public_key(DeviceKey.generate().public_bytes) for _ in range(20))
    assert not is_usable_public_key(bytes(31))


def test_a_token_is_seen_only_where_it_is_revealed(caplog: pytest.LogCaptureFixture) -> None:
    token = Token.generate()
    logging.getLogger("test").warning("%s %r %s", token, token, [token])
    assert token.reveal() not in caplog.text + f"{token} {token!r}" + repr({"token": token})
    for leak in (pickle.dumps, copy.copy, hash):
        with pytest.raises(TypeError):
            leak(token)


def test_a_token_has_one_spelling() -> None:
    token = Token.generate()
    text = token.reveal()
    parsed = Token.parse(text)
    assert parsed == token
    assert parsed != Token.generate()
    assert len(token.sha256()) == 32
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare_bits = text[:-1] + last[last.index(text[-1]) | 1]
    for wrong in ("", text[:-1], text + "=", text + "A", " " + text[1:], "ü" * 43, spare_bits):
        assert Token.parse(wrong) is None
    with pytest.raises(ValueError, match="32 bytes"):
        Token(b"short")


def test_a_device_key_shows_its_public_half_only() -> None:
    key = DeviceKey.generate()
    assert key.public_bytes.hex() in repr(key)
