"""SFrame (RFC 9605) a second time, on `cryptography`: test code that checks the vectors and what the browser's implementation says."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class FrameRefused(Exception):
    """The frame is malformed or does not authenticate."""


@dataclass(frozen=True)
class Suite:
    """RFC 9605 §4.5, table 1; lengths in bytes."""

    number: int
    digest: type[HashAlgorithm]
    encryption_key: int
    authentication_key: int
    tag: int
    nonce: int = 12


SUITES = {
    suite.number: suite
    for suite in (
        Suite(1, SHA256, 16, 32, 10),
        Suite(2, SHA256, 16, 32, 8),
        Suite(3, SHA256, 16, 32, 4),
        Suite(4, SHA256, 16, 0, 16),
        Suite(5, SHA512, 32, 0, 16),
    )
}


def _field(value: int) -> tuple[int, bytes]:
    if value < 8:
        return value, b""
    octets = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return 8 | (len(octets) - 1), octets


def encode_header(kid: int, ctr: int) -> bytes:
    """RFC 9605 §4.3."""
    (k, kid_octets), (c, ctr_octets) = _field(kid), _field(ctr)
    return bytes([k << 4 | c]) + kid_octets + ctr_octets


def parse_header(frame: bytes) -> tuple[int, int, int]:
    """KID, CTR and the length of the header. Raises `FrameRefused` unless it is whole and in its shortest form."""
    if not frame:
        raise FrameRefused("empty")
    values, at = [], 1
    for bits in (frame[0] >> 4, frame[0] & 15):
        octets = frame[at : at + (bits & 7) + 1] if bits & 8 else b""
        at += len(octets)
        values.append(int.from_bytes(octets, "big") if bits & 8 else bits)
    if frame[:at] != encode_header(values[0], values[1]):
        raise FrameRefused("cut short or not in its shortest form")
    return values[0], values[1], at


def derive(suite: Suite, kid: int, base_key: bytes) -> tuple[bytes, bytes]:
    """Key and salt, RFC 9605 §4.4.2."""
    tail = kid.to_bytes(8, "big") + suite.number.to_bytes(2, "big")

    def expand(label: bytes, length: int) -> bytes:
        return HKDF(suite.digest(), length, salt=b"", info=label + tail).derive(base_key)

    key = expand(b"SFrame 1.0 Secret key ", suite.encryption_key + suite.authentication_key)
    return key, expand(b"SFrame 1.0 Secret salt ", suite.nonce)


def _ctr_tag(suite: Suite, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
    lengths = b"".join(n.to_bytes(8, "big") for n in (len(aad), len(ciphertext), suite.tag))
    return hmac.digest(key[suite.encryption_key :], lengths + nonce + aad + ciphertext, suite.digest().name)[: suite.tag]


def _ctr(suite: Suite, key: bytes, nonce: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key[: suite.encryption_key]), modes.CTR(nonce + bytes(4))).encryptor().update(data)


def aead_seal(suite: Suite, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
    """RFC 9605 §4.5.1 for suites 1 to 3, AES-GCM for 4 and 5."""
    if not suite.authentication_key:
        return AESGCM(key).encrypt(nonce, plaintext, aad)
    ciphertext = _ctr(suite, key, nonce, plaintext)
    return ciphertext + _ctr_tag(suite, key, nonce, aad, ciphertext)


def aead_open(suite: Suite, key: bytes, nonce: bytes, aad: bytes, sealed: bytes) -> bytes:
    """The plaintext. Raises `FrameRefused`."""
    if not suite.authentication_key:
        try:
            return AESGCM(key).decrypt(nonce, sealed, aad)
        except InvalidTag as error:
            raise FrameRefused("authentication failed") from error
    ciphertext, tag = sealed[: -suite.tag], sealed[-suite.tag :]
    if not hmac.compare_digest(tag, _ctr_tag(suite, key, nonce, aad, ciphertext)):
        raise FrameRefused("authentication failed")
    return _ctr(suite, key, nonce, ciphertext)


def frame_nonce(salt: bytes, ctr: int) -> bytes:
    """RFC 9605 §4.4.3."""
    return (int.from_bytes(salt, "big") ^ ctr).to_bytes(len(salt), "big")


def seal(suite: Suite, base_key: bytes, kid: int, ctr: int, metadata: bytes, plaintext: bytes) -> bytes:
    """An SFrame ciphertext."""
    key, salt = derive(suite, kid, base_key)
    header = encode_header(kid, ctr)
    return header + aead_seal(suite, key, frame_nonce(salt, ctr), header + metadata, plaintext)


def unseal(suite: Suite, base_key: bytes, metadata: bytes, frame: bytes) -> bytes:
    """The plaintext. Raises `FrameRefused`."""
    kid, ctr, length = parse_header(frame)
    key, salt = derive(suite, kid, base_key)
    return aead_open(suite, key, frame_nonce(salt, ctr), frame[:length] + metadata, frame[length:])
