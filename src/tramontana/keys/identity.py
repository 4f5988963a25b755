"""Device identity: signed statements and their verification (docs/protocols.md, "Identity and enrolment").

A statement is `UTF-8(context) ‖ 0x00 ‖ fields`, each field with a 2-byte big-endian length in front. Text fields are UTF-8, keys,
digests and challenges are their bytes. What arrives is an `Unverified…`; only its `verify` yields the type that the server acts on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tramontana.errors import LocalError, RemoteError

ENROLMENT_CONTEXT = "tramontana enrolment 1"
ZEROISED_CONTEXT = "tramontana zeroised 1"
SESSION_CONTEXT = "tramontana session 1"
DIRECT_CONTEXT = "tramontana direct conversation 1"
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64

_FIELD_PRIME = 2**255 - 19
_ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER_Y = frozenset({0, 1, _FIELD_PRIME - 1, _ORDER_8_Y, _FIELD_PRIME - _ORDER_8_Y})
"""y coordinates of the eight points whose order divides 8 (RFC 8032 §5.1; the tests derive them from the curve equation).

Under such a "public key" a signature over one message passes for others, so nobody could be held to it.
"""


class SignatureRefused(RemoteError):
    """The signature does not match the key and the statement; the request was dropped. Sign exactly the fields that the protocol lists."""


class StatementTooLong(LocalError):
    """A field of a signed statement is longer than 65535 bytes; shorten it."""


def encode_statement(context: str, fields: Iterable[bytes]) -> bytes:
    """The bytes that are signed. Raises `StatementTooLong` for a field above 65535 bytes."""
    parts = [context.encode("utf-8"), b"\x00"]
    for value in fields:
        if len(value) > 0xFFFF:
            raise StatementTooLong(f"a field of {context!r} has {len(value)} bytes; at most 65535 are allowed")
        parts += [len(value).to_bytes(2, "big"), value]
    return b"".join(parts)


def parse_statement(context: str, statement: bytes) -> list[bytes]:
    """The fields of a statement of this context. Raises `ValueError` for any other bytes."""
    head = context.encode("utf-8") + b"\x00"
    if not statement.startswith(head):
        raise ValueError(f"this is not a statement of context {context!r}")
    fields, at = [], len(head)
    while at < len(statement):
        end = at + 2 + int.from_bytes(statement[at : at + 2], "big")
        if at + 2 > len(statement) or end > len(statement):
            raise ValueError("a field of the statement is cut off")
        fields.append(statement[at + 2 : end])
        at = end
    return fields


def direct_conversation_id(account_id: str, peer_id: str) -> str:
    """The id of a pair's conversation: both phones know it without asking, so a thread has its name before the server is reached."""
    pair = [account.encode() for account in sorted((account_id, peer_id))]
    return hashlib.sha256(encode_statement(DIRECT_CONTEXT, pair)).hexdigest()[:32]


def is_usable_public_key(signature_public_key: bytes) -> bool:
    """Whether the bytes can stand for a device: 32 of them, and not one of the small-order points."""
    if len(signature_public_key) != PUBLIC_KEY_BYTES:
        return False
    y = int.from_bytes(signature_public_key, "little") & (2**255 - 1)  # RFC 8032 §5.1.2: the top bit is the sign of x
    return y < _FIELD_PRIME and y not in SMALL_ORDER_Y


def verify_signature(signature_public_key: bytes, signature: bytes, statement: bytes) -> None:
    """Check an Ed25519 signature (RFC 8032). Raises `SignatureRefused`."""
    if not is_usable_public_key(signature_public_key):
        raise SignatureRefused("the signature key is not a usable Ed25519 key; make a new key pair")
    try:
        Ed25519PublicKey.from_public_bytes(signature_public_key).verify(signature, statement)
    except (InvalidSignature, ValueError) as error:
        raise SignatureRefused("the signature does not match; sign exactly the fields that the protocol lists") from error


@dataclass(frozen=True, slots=True)
class VerifiedEnrolment:
    """Somebody holds the invitation and the private key, and chose this name. Made by `UnverifiedEnrolment.verify`."""

    invitation_sha256: bytes
    signature_public_key: bytes
    display_name: str


@dataclass(frozen=True, slots=True)
class UnverifiedEnrolment:
    """An enrolment as it arrived."""

    service_id: str
    invitation_sha256: bytes
    signature_public_key: bytes
    display_name: str
    proof: bytes = field(repr=False)

    def statement(self) -> bytes:
        return encode_statement(
            ENROLMENT_CONTEXT,
            (self.service_id.encode(), self.invitation_sha256, self.signature_public_key, self.display_name.encode()),
        )

    def verify(self) -> VerifiedEnrolment:
        """Raises `SignatureRefused`."""
        verify_signature(self.signature_public_key, self.proof, self.statement())
        return VerifiedEnrolment(self.invitation_sha256, self.signature_public_key, self.display_name)


@dataclass(frozen=True, slots=True)
class VerifiedLogin:
    """The device holds its private key at this moment. Made by `UnverifiedLogin.verify`."""

    device_id: str
    challenge: bytes


@dataclass(frozen=True, slots=True)
class UnverifiedLogin:
    """A login as it arrived."""

    service_id: str
    device_id: str
    challenge: bytes
    signature: bytes = field(repr=False)

    def statement(self) -> bytes:
        return encode_statement(SESSION_CONTEXT, (self.service_id.encode(), self.device_id.encode(), self.challenge))

    def verify(self, signature_public_key: bytes) -> VerifiedLogin:
        """Check against the key that the directory holds for the device. Raises `SignatureRefused`."""
        verify_signature(signature_public_key, self.signature, self.statement())
        return VerifiedLogin(self.device_id, self.challenge)


class DeviceKey:
    """A device's signing key, for phones without a browser. Its repr shows the public half."""

    __slots__ = ("_private_key",)

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key

    @classmethod
    def generate(cls) -> DeviceKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, secret: bytes) -> DeviceKey:
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    def reveal(self) -> bytes:
        """The 32 secret bytes, for a sealed file."""
        return self._private_key.private_bytes_raw()

    @property
    def public_bytes(self) -> bytes:
        return self._private_key.public_key().public_bytes_raw()

    def sign(self, statement: bytes) -> bytes:
        """A 64-byte Ed25519 signature (RFC 8032) over the statement."""
        return self._private_key.sign(statement)

    def __repr__(self) -> str:
        return f"DeviceKey(public={self.public_bytes.hex()})"
