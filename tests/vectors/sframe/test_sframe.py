"""The SFrame working group's vectors against `keys/sframe.py`. The browser's implementation runs them under vitest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.keys import sframe
from tramontana.keys.sframe import FrameRefused, OpeningKey, SealingKey

HERE = Path(__file__).parent


VECTORS: dict[str, list[dict[str, Any]]] = json.loads((HERE / "test-vectors.json").read_text())
UINT64 = st.integers(0, 2**64 - 1)


def _bytes(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector[name])


def test_headers() -> None:
    assert len(VECTORS["header"]) == 289
    for vector in VECTORS["header"]:
        encoded = _bytes(vector, "encoded")
        assert sframe.encode_header(vector["kid"], vector["ctr"]) == encoded
        assert sframe.parse_header(encoded) == (vector["kid"], vector["ctr"], len(encoded))


@pytest.mark.parametrize("vector", VECTORS["aes_ctr_hmac"], ids=lambda v: f"suite{v['cipher_suite']}")
def test_aes_ctr_hmac(vector: dict[str, Any]) -> None:
    suite = sframe.SUITES[vector["cipher_suite"]]
    key, nonce, aad = (_bytes(vector, name) for name in ("key", "nonce", "aad"))
    assert key == _bytes(vector, "enc_key") + _bytes(vector, "auth_key")
    assert sframe.aead_seal(suite, key, nonce, aad, _bytes(vector, "pt")) == _bytes(vector, "ct")
    assert sframe.aead_open(suite, key, nonce, aad, _bytes(vector, "ct")) == _bytes(vector, "pt")


@pytest.mark.parametrize("vector", VECTORS["sframe"], ids=lambda v: f"suite{v['cipher_suite']}")
def test_sframe(vector: dict[str, Any]) -> None:
    suite = sframe.SUITES[vector["cipher_suite"]]
    base_key, metadata, plaintext, frame = (_bytes(vector, name) for name in ("base_key", "metadata", "pt", "ct"))
    key, salt = sframe.derive(suite, vector["kid"], base_key)
    assert (key, salt) == (_bytes(vector, "sframe_key"), _bytes(vector, "sframe_salt"))
    assert sframe.frame_nonce(salt, vector["ctr"]) == _bytes(vector, "nonce")
    assert sframe.encode_header(vector["kid"], vector["ctr"]) + metadata == _bytes(vector, "aad")
    assert SealingKey(vector["kid"], base_key, suite, first_counter=vector["ctr"]).seal(plaintext, metadata) == frame
    assert OpeningKey(vector["kid"], base_key, suite).open(frame, metadata) == plaintext


@given(
    suite=st.sampled_from(sorted(sframe.SUITES)),
    kid=UINT64,
    ctr=st.integers(0, 2**64 - 2),
    plaintext=st.binary(max_size=64),
    flip=st.integers(0),
)
def test_any_changed_bit_is_refused(suite: int, kid: int, ctr: int, plaintext: bytes, flip: int) -> None:
    chosen = sframe.SUITES[suite]
    frame = bytearray(SealingKey(kid, b"base key", chosen, first_counter=ctr).seal(plaintext))
    assert OpeningKey(kid, b"base key", chosen).open(bytes(frame)) == plaintext
    if suite == 3:
        return  # a 4-byte tag lets one change in 2³² pass
    bit = flip % (8 * len(frame))
    frame[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(FrameRefused):
        OpeningKey(kid, b"base key", chosen).open(bytes(frame))


@given(data=st.binary(max_size=40))
def test_no_bytes_make_anything_but_a_refusal(data: bytes) -> None:
    with pytest.raises(FrameRefused):
        OpeningKey(3, b"base key").open(data)


def test_a_frame_opens_once_in_any_order_within_the_window() -> None:
    sealing, opening = SealingKey(5, b"base key"), OpeningKey(5, b"base key")
    frames = [sealing.seal(bytes([at % 256])) for at in range(4 * sframe.REPLAY_WINDOW)]
    for at in (1, 0, 2):
        assert opening.open(frames[at]) == bytes([at])
    for at in range(3, len(frames)):
        if at != len(frames) - 2:
            opening.open(frames[at])
    assert opening.open(frames[-2])
    for frame in (frames[-1], frames[-2], frames[0]):
        with pytest.raises(FrameRefused, match="counter"):
            opening.open(frame)
    with pytest.raises(FrameRefused, match="key id"):
        OpeningKey(6, b"base key").open(frames[0])


def test_keys_do_not_show_themselves() -> None:
    assert repr(SealingKey(5, b"base key")) == "SealingKey(kid=5)"


def test_the_key_id_of_a_member() -> None:
    assert sframe.mls_kid(2, 0x1FE) == 0x2FE
