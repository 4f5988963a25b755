"""Cipher suites and the labelled primitives of MLS (RFC 9420 §5).

Everything that the core draws itself comes from the caller's `rng`; the ephemeral keys inside HPKE sealing are drawn by the library.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey, Suite

from tramontana.keys.identity import is_usable_public_key
from tramontana.keys.mls.codec import uint, vector
from tramontana.keys.mls.errors import DecryptionFailed, MessageRefused, SignatureInvalid

Rng = Callable[[int], bytes]
"""`rng(n)` gives n random bytes: `os.urandom`, or a seeded one in tests."""

MLKEM768_PUBLIC_BYTES = 1184  # FIPS 203 §8
MLKEM768_CIPHERTEXT_BYTES = 1088
X25519_BYTES = 32
XWING_LABEL = b"\\.//^\\"  # draft-connolly-cfrg-xwing-kem §5.3


class Signer(Protocol):
    """Who holds a device's Ed25519 key (`keys.identity.DeviceKey`, or a token)."""

    @property
    def public_bytes(self) -> bytes: ...

    def sign(self, statement: bytes) -> bytes: ...


class Kem(Protocol):
    """A KEM of HPKE (RFC 9180 §4) whose keys are bytes."""

    def check_public_key(self, public_key: bytes) -> None:
        """Raises ValueError."""
        ...

    def derive_key_pair(self, ikm: bytes) -> tuple[bytes, bytes]:
        """(private, public)."""
        ...

    def encapsulate(self, public_key: bytes, rng: Rng) -> tuple[bytes, bytes]:
        """(shared secret, encapsulation)."""
        ...

    def decapsulate(self, private_key: bytes, encapsulation: bytes) -> bytes: ...

    def seal(self, suite: Suite, public_key: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]: ...

    def open(self, suite: Suite, private_key: bytes, kem_output: bytes, ciphertext: bytes, info: bytes) -> bytes: ...


class X25519Kem:
    """DHKEM(X25519, HKDF-SHA256), RFC 9180 §4.1."""

    kem_id = 0x0020
    _suite_id = b"KEM" + uint(kem_id, 2)

    def check_public_key(self, public_key: bytes) -> None:
        X25519PublicKey.from_public_bytes(public_key)

    def derive_key_pair(self, ikm: bytes) -> tuple[bytes, bytes]:
        prk = _labelled_extract("sha256", self._suite_id, b"", b"dkp_prk", ikm)
        private = _labelled_expand("sha256", self._suite_id, prk, b"sk", b"", X25519_BYTES)
        return private, X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()

    def encapsulate(self, public_key: bytes, rng: Rng) -> tuple[bytes, bytes]:
        ephemeral = X25519PrivateKey.from_private_bytes(rng(X25519_BYTES))
        encapsulation = ephemeral.public_key().public_bytes_raw()
        return self._shared(_x25519(ephemeral, public_key), encapsulation, public_key), encapsulation

    def decapsulate(self, private_key: bytes, encapsulation: bytes) -> bytes:
        private = X25519PrivateKey.from_private_bytes(private_key)
        return self._shared(_x25519(private, encapsulation), encapsulation, private.public_key().public_bytes_raw())

    def _shared(self, dh: bytes, encapsulation: bytes, public_key: bytes) -> bytes:
        prk = _labelled_extract("sha256", self._suite_id, b"", b"eae_prk", dh)
        return _labelled_expand("sha256", self._suite_id, prk, b"shared_secret", encapsulation + public_key, 32)

    def seal(self, suite: Suite, public_key: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        sealed = suite.encrypt(plaintext, X25519PublicKey.from_public_bytes(public_key), info)
        return sealed[:X25519_BYTES], sealed[X25519_BYTES:]

    def open(self, suite: Suite, private_key: bytes, kem_output: bytes, ciphertext: bytes, info: bytes) -> bytes:
        return suite.decrypt(kem_output + ciphertext, X25519PrivateKey.from_private_bytes(private_key), info)


class XWingKem:
    """X-Wing (draft-connolly-cfrg-xwing-kem): ML-KEM-768 and X25519. A private key is its 32-byte seed."""

    def check_public_key(self, public_key: bytes) -> None:
        self._public(public_key)

    def derive_key_pair(self, ikm: bytes) -> tuple[bytes, bytes]:
        # As the browser's library does it (@hpke/hybridkem-x-wing). The HPKE-PQ draft hashes more: with that, commits would break.
        seed = hashlib.shake_256(ikm).digest(32)
        mlkem, x25519 = self._expand(seed)
        return seed, mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @staticmethod
    def _expand(seed: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        expanded = hashlib.shake_256(seed).digest(96)
        return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])

    @staticmethod
    def _public(public_key: bytes) -> tuple[MLKEM768PublicKey, X25519PublicKey]:
        if len(public_key) != MLKEM768_PUBLIC_BYTES + X25519_BYTES:
            raise ValueError("not an X-Wing public key")
        return (
            MLKEM768PublicKey.from_public_bytes(public_key[:MLKEM768_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public_key[MLKEM768_PUBLIC_BYTES:]),
        )

    @staticmethod
    def _combine(ss_m: bytes, ss_x: bytes, ct_x: bytes, pk_x: bytes) -> bytes:
        return hashlib.sha3_256(ss_m + ss_x + ct_x + pk_x + XWING_LABEL).digest()

    def encapsulate(self, public_key: bytes, rng: Rng) -> tuple[bytes, bytes]:
        mlkem, x25519 = self._public(public_key)
        ss_m, ct_m = mlkem.encapsulate()
        ephemeral = X25519PrivateKey.from_private_bytes(rng(X25519_BYTES))
        pk_x, ct_x = x25519.public_bytes_raw(), ephemeral.public_key().public_bytes_raw()
        return self._combine(ss_m, _x25519(ephemeral, pk_x), ct_x, pk_x), ct_m + ct_x

    def decapsulate(self, private_key: bytes, encapsulation: bytes) -> bytes:
        mlkem, x25519 = self._expand(private_key)
        ct_m, ct_x = encapsulation[:MLKEM768_CIPHERTEXT_BYTES], encapsulation[MLKEM768_CIPHERTEXT_BYTES:]
        return self._combine(mlkem.decapsulate(ct_m), _x25519(x25519, ct_x), ct_x, x25519.public_key().public_bytes_raw())

    def seal(self, suite: Suite, public_key: bytes, info: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        sealed = suite.encrypt(plaintext, MLKEM768X25519PublicKey(*self._public(public_key)), info)
        length = MLKEM768_CIPHERTEXT_BYTES + X25519_BYTES
        return sealed[:length], sealed[length:]

    def open(self, suite: Suite, private_key: bytes, kem_output: bytes, ciphertext: bytes, info: bytes) -> bytes:
        return suite.decrypt(kem_output + ciphertext, MLKEM768X25519PrivateKey(*self._expand(private_key)), info)


@dataclass(frozen=True, eq=False)
class CipherSuite:
    """One cipher suite (RFC 9420 §5.1) with Ed25519 signatures."""

    number: int
    name: str
    hash_name: str
    hash_bytes: int
    """Nh = KDF.Nh."""
    key_bytes: int
    """Nk."""
    kem: Kem
    kem_output_bytes: int
    hpke: Suite
    hpke_suite_id: bytes
    aead: type[AESGCM] | type[ChaCha20Poly1305]
    nonce_bytes: int = 12
    """Nn."""

    def __repr__(self) -> str:
        return f"CipherSuite({self.name})"

    def hash(self, data: bytes) -> bytes:
        return hashlib.new(self.hash_name, data).digest()

    def mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.digest(key, data, self.hash_name)

    def extract(self, salt: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt, ikm, self.hash_name)

    def expand_with_label(self, secret: bytes, label: str, context: bytes, length: int) -> bytes:
        """RFC 9420 §8."""
        return _expand(self.hash_name, secret, uint(length, 2) + vector(b"MLS 1.0 " + label.encode()) + vector(context), length)

    def derive_secret(self, secret: bytes, label: str) -> bytes:
        return self.expand_with_label(secret, label, b"", self.hash_bytes)

    def ref_hash(self, label: str, value: bytes) -> bytes:
        """RFC 9420 §5.2."""
        return self.hash(vector(b"MLS 1.0 " + label.encode()) + vector(value))

    def sign_with_label(self, signer: Signer, label: str, content: bytes) -> bytes:
        """RFC 9420 §5.1.2."""
        return signer.sign(vector(b"MLS 1.0 " + label.encode()) + vector(content))

    def verify_with_label(self, public_key: bytes, label: str, content: bytes, signature: bytes) -> None:
        """Raises `SignatureInvalid`, also for keys of small order."""
        if not is_usable_public_key(public_key):
            raise SignatureInvalid("the signature key is not a usable Ed25519 key")
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, vector(b"MLS 1.0 " + label.encode()) + vector(content))
        except (InvalidSignature, ValueError) as error:
            raise SignatureInvalid(f"the signature over {label} does not verify") from error

    def generate_key_pair(self, rng: Rng) -> tuple[bytes, bytes]:
        """An HPKE key pair: (private, public)."""
        return self.kem.derive_key_pair(rng(self.hash_bytes))

    def encrypt_with_label(self, public_key: bytes, label: str, context: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
        """RFC 9420 §5.1.3: (kem_output, ciphertext). Raises `MessageRefused` for a public key that is none."""
        try:
            return self.kem.seal(self.hpke, public_key, vector(b"MLS 1.0 " + label.encode()) + vector(context), plaintext)
        except ValueError as error:
            raise MessageRefused("an HPKE public key is malformed") from error

    def decrypt_with_label(self, private_key: bytes, label: str, context: bytes, kem_output: bytes, ciphertext: bytes) -> bytes:
        """Raises `DecryptionFailed`."""
        if len(kem_output) != self.kem_output_bytes:
            raise DecryptionFailed("an HPKE encapsulation has the wrong length")
        try:
            return self.kem.open(self.hpke, private_key, kem_output, ciphertext, vector(b"MLS 1.0 " + label.encode()) + vector(context))
        except (ValueError, InvalidTag) as error:
            raise DecryptionFailed(f"an HPKE ciphertext for {label} cannot be opened") from error

    def check_public_key(self, public_key: bytes) -> None:
        """Raises `MessageRefused` for bytes that no HPKE public key has."""
        try:
            self.kem.check_public_key(public_key)
        except ValueError as error:
            raise MessageRefused("an HPKE public key is malformed") from error

    def seal(self, key: bytes, nonce: bytes, aad: bytes, plaintext: bytes) -> bytes:
        return self.aead(key).encrypt(nonce, plaintext, aad)

    def open(self, key: bytes, nonce: bytes, aad: bytes, ciphertext: bytes) -> bytes:
        """Raises `DecryptionFailed`."""
        try:
            return self.aead(key).decrypt(nonce, ciphertext, aad)
        except (InvalidTag, ValueError) as error:
            raise DecryptionFailed("the ciphertext is not authentic") from error

    # The single-shot HPKE of the library has no export; external joins need it (RFC 9420 §8.3, RFC 9180 §5).

    def export_to(self, public_key: bytes, label: bytes, length: int, rng: Rng) -> tuple[bytes, bytes]:
        """SetupBaseS with empty info, then Export: (kem_output, secret)."""
        try:
            shared, kem_output = self.kem.encapsulate(public_key, rng)
        except ValueError as error:
            raise MessageRefused("an HPKE public key is malformed") from error
        return kem_output, self._export(shared, label, length)

    def export_from(self, private_key: bytes, kem_output: bytes, label: bytes, length: int) -> bytes:
        """SetupBaseR with empty info, then Export. Raises `DecryptionFailed`."""
        if len(kem_output) != self.kem_output_bytes:
            raise DecryptionFailed("an HPKE encapsulation has the wrong length")
        try:
            shared = self.kem.decapsulate(private_key, kem_output)
        except ValueError as error:
            raise DecryptionFailed("an HPKE encapsulation is malformed") from error
        return self._export(shared, label, length)

    def _export(self, shared: bytes, context: bytes, length: int) -> bytes:
        def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
            return _labelled_extract(self.hash_name, self.hpke_suite_id, salt, label, ikm)

        schedule_context = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", b"")
        secret = extract(shared, b"secret", b"")
        exporter = _labelled_expand(self.hash_name, self.hpke_suite_id, secret, b"exp", schedule_context, self.hash_bytes)
        return _labelled_expand(self.hash_name, self.hpke_suite_id, exporter, b"sec", context, length)


def _x25519(private: X25519PrivateKey, public_key: bytes) -> bytes:
    """Raises ValueError for points of small order, as RFC 9180 §7.1.4 demands (the library refuses an all-zero result)."""
    return private.exchange(X25519PublicKey.from_public_bytes(public_key))


def _expand(hash_name: str, prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand (RFC 5869 §2.3)."""
    output, block, counter = b"", b"", 1
    while len(output) < length:
        block = hmac.digest(prk, block + info + bytes([counter]), hash_name)
        output, counter = output + block, counter + 1
    return output[:length]


def _labelled_extract(hash_name: str, suite_id: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """RFC 9180 §4."""
    return hmac.digest(salt, b"HPKE-v1" + suite_id + label + ikm, hash_name)


def _labelled_expand(hash_name: str, suite_id: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return _expand(hash_name, prk, uint(length, 2) + b"HPKE-v1" + suite_id + label + info, length)


def _hpke_suite_id(kem: int, kdf: int, aead: int) -> bytes:
    return b"HPKE" + uint(kem, 2) + uint(kdf, 2) + uint(aead, 2)


X25519_AES128GCM_SHA256 = CipherSuite(
    1, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", "sha256", 32, 16, X25519Kem(), X25519_BYTES,
    Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_128_GCM), _hpke_suite_id(0x0020, 1, 1), AESGCM,
)  # fmt: skip
X25519_CHACHA20POLY1305_SHA256 = CipherSuite(
    3, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519", "sha256", 32, 32, X25519Kem(), X25519_BYTES,
    Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305), _hpke_suite_id(0x0020, 1, 3), ChaCha20Poly1305,
)  # fmt: skip
XWING_AES256GCM_SHA384 = CipherSuite(
    0xF002, "X-Wing_AES256GCM_SHA384_Ed25519", "sha384", 48, 32, XWingKem(), MLKEM768_CIPHERTEXT_BYTES + X25519_BYTES,
    Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA384, AEAD.AES_256_GCM), _hpke_suite_id(0x647A, 2, 2), AESGCM,
)  # fmt: skip
"""The suite of every conversation of ours (docs/protocols.md): confidentiality is post-quantum, signatures are classical."""

SUITES = {suite.number: suite for suite in (X25519_AES128GCM_SHA256, X25519_CHACHA20POLY1305_SHA256, XWING_AES256GCM_SHA384)}
