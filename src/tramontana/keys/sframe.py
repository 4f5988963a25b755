"""SFrame (RFC 9605): header, key derivation, the five registered cipher suites. Calls use suite 5, AES_256_GCM_SHA512_128.

`web/src/keys/sframe.ts` is the browser's; both are held against the vectors of the RFC.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from functools import partial

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tramontana.errors import RemoteError

AES_256_GCM_SHA512_128 = 5
REPLAY_WINDOW = 1024
"""How far behind the newest counter a frame may arrive; WebRTC reorders little, and redundancy is inside the frames."""
EPOCH_BITS = 8
"""RFC 9605 §5.2, E."""


class FrameRefused(RemoteError):
    """A frame that is not ours, was changed on the way or came twice; it was counted and dropped."""


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
    """RFC 9605 §4.3. Raises `OverflowError` beyond 64 bits."""
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
    if len(sealed) < suite.tag:
        raise FrameRefused("frame cut short")
    ciphertext, tag = sealed[: -suite.tag], sealed[-suite.tag :]
    if not hmac.compare_digest(tag, _ctr_tag(suite, key, nonce, aad, ciphertext)):
        raise FrameRefused("authentication failed")
    return _ctr(suite, key, nonce, ciphertext)


def frame_nonce(salt: bytes, ctr: int) -> bytes:
    """RFC 9605 §4.4.3."""
    return (int.from_bytes(salt, "big") ^ ctr).to_bytes(len(salt), "big")


class _Key:
    """Key and salt of one sender's KID."""

    def __init__(self, kid: int, base_key: bytes, suite: Suite) -> None:
        self.kid = kid
        self._suite = suite
        key, self._salt = derive(suite, kid, base_key)
        self._seal = partial(aead_seal, suite, key)
        self._open = partial(aead_open, suite, key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(kid={self.kid})"


class SealingKey(_Key):
    """Seals with a running counter: one object for each base key and KID, ever."""

    def __init__(self, kid: int, base_key: bytes, suite: Suite = SUITES[AES_256_GCM_SHA512_128], *, first_counter: int = 0) -> None:
        super().__init__(kid, base_key, suite)
        self._counter = first_counter

    def seal(self, plaintext: bytes, metadata: bytes = b"") -> bytes:
        """Header ‖ ciphertext ‖ tag."""
        ctr, self._counter = self._counter, self._counter + 1
        header = encode_header(self.kid, ctr)
        return header + self._seal(frame_nonce(self._salt, ctr), header + metadata, plaintext)


class OpeningKey(_Key):
    """Opens what one sender sealed, each frame once."""

    def __init__(self, kid: int, base_key: bytes, suite: Suite = SUITES[AES_256_GCM_SHA512_128]) -> None:
        super().__init__(kid, base_key, suite)
        self._newest = -1
        self._seen: set[int] = set()

    def open(self, frame: bytes, metadata: bytes = b"") -> bytes:
        """The plaintext. Raises `FrameRefused` for a foreign KID, a counter seen before, or a frame that does not authenticate."""
        kid, ctr, length = parse_header(frame)
        if kid != self.kid:
            raise FrameRefused("unknown key id")
        if ctr + REPLAY_WINDOW <= self._newest or ctr in self._seen:
            raise FrameRefused("the counter was used before, or is too old")
        plaintext = self._open(frame_nonce(self._salt, ctr), frame[:length] + metadata, frame[length:])
        self._seen.add(ctr)  # only after the frame has authenticated
        if ctr > self._newest:
            self._newest = ctr
            if len(self._seen) > 2 * REPLAY_WINDOW:
                self._seen = {seen for seen in self._seen if seen + REPLAY_WINDOW > ctr}
        return plaintext


def mls_kid(leaf_index: int, epoch: int) -> int:
    """The KID of a member in a call of two: RFC 9605 §5.2 with E = 8."""
    return (leaf_index << EPOCH_BITS) + (epoch & ((1 << EPOCH_BITS) - 1))


def parse_mls_kid(kid: int) -> tuple[int, int]:
    """Leaf index, and the low bits of the epoch, of a member's KID: RFC 9605 §5.2 with S = 16 and E = 8, whatever its context."""
    return kid >> EPOCH_BITS & 0xFFFF, kid & ((1 << EPOCH_BITS) - 1)
