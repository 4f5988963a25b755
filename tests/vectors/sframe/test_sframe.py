"""The SFrame working group's vectors against the Python implementation beside this file. The browser's runs them under vitest."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    """Test code that lies beside this file, whatever import mode pytest runs in."""
    spec = importlib.util.spec_from_file_location(f"tests_vectors_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


sframe = _load("sframe")
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
    assert sframe.seal(suite, base_key, vector["kid"], vector["ctr"], metadata, plaintext) == frame
    assert sframe.unseal(suite, base_key, metadata, frame) == plaintext


@given(suite=st.sampled_from(sorted(sframe.SUITES)), kid=UINT64, ctr=UINT64, plaintext=st.binary(max_size=64), flip=st.integers(0))
def test_any_changed_bit_is_refused(suite: int, kid: int, ctr: int, plaintext: bytes, flip: int) -> None:
    frame = bytearray(sframe.seal(sframe.SUITES[suite], b"base key", kid, ctr, b"", plaintext))
    assert sframe.unseal(sframe.SUITES[suite], b"base key", b"", bytes(frame)) == plaintext
    if suite == 3:
        return  # a 4-byte tag lets one change in 2³² pass
    bit = flip % (8 * len(frame))
    frame[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(sframe.FrameRefused):
        sframe.unseal(sframe.SUITES[suite], b"base key", b"", bytes(frame))
