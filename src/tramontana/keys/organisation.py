"""The organisation's root: two key pairs that sign together, their statement, its fingerprint, and the sealed private half.

The private half exists in `OrganisationKey` only, which never reaches a server. `SignedStatement` is how everything that it signs
travels (docs/protocols.md, "Organisation, certificates, log").
"""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import b32encode, b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Never

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA87PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tramontana.errors import LocalError
from tramontana.keys.fields import instant, number, parse_fields, text
from tramontana.keys.identity import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    SignatureRefused,
    encode_statement,
    verify_signature,
)
from tramontana.keys.profiles import Profile, find_profile
from tramontana.keys.refused import Refused

ROOT_CONTEXT = "tramontana organisation 1"
DEVICE_CODE_CONTEXT = "tramontana device code 1"
MAX_NAME = 64

# RFC 9106 §4, the second recommended option: 64 MiB.
ARGON2_PASSES = 3
ARGON2_LANES = 4
ARGON2_MEMORY_KIB = 64 * 1024
SALT_BYTES = 16
NONCE_BYTES = 12


class WrongPassphrase(LocalError):
    """The passphrase does not open this key, or the file was changed. Nothing was done; try again."""


class KeyFileDamaged(LocalError):
    """This is no sealed key of Tramontana, or it was cut off. Restore it from its backup."""


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement with its two signatures, not yet verified."""

    statement: bytes
    ed25519_signature: bytes = field(repr=False)
    ml_dsa_signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, encoded: bytes) -> SignedStatement:
        """Raises `Refused` (`malformed`)."""
        parts, at = [], 0
        for _ in range(3):
            end = at + 2 + int.from_bytes(encoded[at : at + 2], "big")
            if at + 2 > len(encoded) or end > len(encoded):
                raise Refused("malformed", "the signed statement is cut off; send it as its maker encoded it")
            parts.append(encoded[at + 2 : end])
            at = end
        if at != len(encoded):
            raise Refused("malformed", "something follows the signed statement; send it as its maker encoded it")
        return cls(*parts)

    def encode(self) -> bytes:
        parts = (self.statement, self.ed25519_signature, self.ml_dsa_signature)
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)

    @property
    def context(self) -> str:
        """What kind of statement it claims to be."""
        return self.statement.partition(b"\x00")[0].decode("utf-8", "replace")

    def verify(self, profile: Profile, ed25519_public_key: bytes, ml_dsa_public_key: bytes) -> None:
        """Check both signatures. Raises `Refused` (`wrong_algorithm`, `forged`)."""
        if len(self.ed25519_signature) != SIGNATURE_BYTES or len(self.ml_dsa_signature) != profile.signature_bytes:
            raise Refused(
                "wrong_algorithm",
                f"the organisation's profile {profile.name} signs with Ed25519 and {profile.ml_dsa}; this is signed otherwise",
            )
        try:
            verify_signature(ed25519_public_key, self.ed25519_signature, self.statement)
            profile.public_key.from_public_bytes(ml_dsa_public_key).verify(self.ml_dsa_signature, self.statement)
        except (SignatureRefused, InvalidSignature) as error:
            raise Refused(
                "forged", "a signature of the organisation does not match the statement; it was not made by this organisation"
            ) from error


@dataclass(frozen=True, slots=True)
class Root:
    """An organisation's public half, its own signatures verified. Made by `verify_root`."""

    name: str
    ed25519_public_key: bytes
    ml_dsa_public_key: bytes = field(repr=False)
    profile: Profile
    created_at: int
    encoded: bytes = field(repr=False)
    """The signed statement."""
    fingerprint: bytes

    @property
    def organisation_id(self) -> str:
        """The first 16 bytes of the fingerprint in hex."""
        return self.fingerprint[:16].hex()

    @property
    def fingerprint_text(self) -> str:
        """As it stands in links: base64url without padding."""
        return urlsafe_b64encode(self.fingerprint).rstrip(b"=").decode("ascii")

    def verify(self, signed: SignedStatement) -> None:
        """Check that this organisation signed. Raises `Refused`."""
        signed.verify(self.profile, self.ed25519_public_key, self.ml_dsa_public_key)


def parse_fingerprint(spelling: str) -> bytes:
    """A fingerprint as it stands in links. Raises `LocalError`."""
    try:
        value = urlsafe_b64decode(spelling + "=")
    except ValueError:
        value = b""
    if len(value) != hashlib.sha256().digest_size or urlsafe_b64encode(value).rstrip(b"=").decode() != spelling:
        raise LocalError("this is not the fingerprint of an organisation: it has 43 characters and follows `org=` in every invitation")
    return value


def verify_root(encoded: bytes, fingerprint: bytes | None = None) -> Root:
    """Read a root; with a fingerprint, only the root that it pins. Raises `Refused`."""
    signed = SignedStatement.parse(encoded)
    digest = hashlib.sha256(signed.statement).digest()
    if fingerprint is not None and digest != fingerprint:
        raise Refused("wrong_organisation", "this is another organisation than the one whose fingerprint was given")
    fields = parse_fields(ROOT_CONTEXT, signed.statement, 5)
    name, ed25519_public_key, ml_dsa_public_key = text(fields[0], "name", MAX_NAME), fields[1], fields[2]
    profile = find_profile(text(fields[3], "profile", MAX_NAME))
    if len(ed25519_public_key) != PUBLIC_KEY_BYTES or len(ml_dsa_public_key) != profile.public_key_bytes:
        raise Refused("wrong_algorithm", f"the keys of the root are not those of its profile {profile.name}")
    signed.verify(profile, ed25519_public_key, ml_dsa_public_key)
    return Root(name, ed25519_public_key, ml_dsa_public_key, profile, instant(fields[4], "created"), encoded, digest)


def device_code(fingerprint: bytes, signature_public_key: bytes) -> str:
    """What a person reads out so that the custodian knows that this key is his: 80 bits, too many to find a second key for."""
    digest = hashlib.sha256(encode_statement(DEVICE_CODE_CONTEXT, (fingerprint, signature_public_key))).digest()
    characters = b32encode(digest)[:16].decode("ascii")
    return " ".join(characters[at : at + 4] for at in range(0, 16, 4))


class OrganisationKey:
    """The private half of a root. Its repr shows the public one; it is not pickled."""

    __slots__ = ("_ed25519", "_ml_dsa", "root")

    def __init__(self, root: Root, ed25519: Ed25519PrivateKey, ml_dsa: MLDSA65PrivateKey | MLDSA87PrivateKey) -> None:
        self.root = root
        self._ed25519 = ed25519
        self._ml_dsa = ml_dsa

    @classmethod
    def generate(cls, name: str, profile_name: str, *, now: float) -> OrganisationKey:
        """A new organisation. Raises `Refused` for an unknown profile or a name that is not one."""
        profile = find_profile(profile_name)
        text(name.encode(), "name", MAX_NAME)
        ed25519, ml_dsa = Ed25519PrivateKey.generate(), profile.private_key.generate()
        keys = (ed25519.public_key().public_bytes_raw(), ml_dsa.public_key().public_bytes_raw())
        statement = encode_statement(ROOT_CONTEXT, (name.encode(), *keys, profile.name.encode(), number(int(now))))
        signed = SignedStatement(statement, ed25519.sign(statement), ml_dsa.sign(statement))
        return cls(verify_root(signed.encode()), ed25519, ml_dsa)

    def sign(self, statement: bytes) -> bytes:
        """The signed statement. Its signatures are checked before they leave: a fault in computing one could tell the key."""
        signed = SignedStatement(statement, self._ed25519.sign(statement), self._ml_dsa.sign(statement))
        self.root.verify(signed)
        return signed.encode()

    def seal(self, passphrase: str) -> bytes:
        """The key as a file that the passphrase opens: JSON, AES-256-GCM under Argon2id."""
        seeds = self._ed25519.private_bytes_raw() + self._ml_dsa.private_bytes_raw()
        return seal(seeds, passphrase, public=self.root.encoded)

    @classmethod
    def open(cls, sealed: bytes, passphrase: str) -> OrganisationKey:
        """Raises `WrongPassphrase`, `KeyFileDamaged`."""
        seeds, public = unseal(sealed, passphrase)
        try:
            root = verify_root(public)
            key = cls(root, Ed25519PrivateKey.from_private_bytes(seeds[:32]), root.profile.private_key.from_seed_bytes(seeds[32:]))
        except (Refused, ValueError) as error:
            raise KeyFileDamaged("this is no sealed key of an organisation; restore the file from its backup") from error
        key.sign(encode_statement("tramontana key check 1", ()))  # the seeds are those of the root
        return key

    def __repr__(self) -> str:
        return f"OrganisationKey({self.root.name!r}, {self.root.organisation_id})"

    def __reduce__(self) -> Never:
        raise TypeError("an organisation's key is not pickled")


def seal(secret: bytes, passphrase: str, *, public: bytes) -> bytes:
    """Bytes under a passphrase; `public` stays readable and is bound to them."""
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(_passphrase_key(passphrase, salt)).encrypt(nonce, secret, public)
    document = {"format": "tramontana sealed key 1", "public": public, "salt": salt, "nonce": nonce, "sealed": sealed}
    shown = {name: b64encode(value).decode() if isinstance(value, bytes) else value for name, value in document.items()}
    return (json.dumps(shown, indent=1) + "\n").encode()


def unseal(document: bytes, passphrase: str) -> tuple[bytes, bytes]:
    """(secret, public). Raises `WrongPassphrase`, `KeyFileDamaged`."""
    salt, nonce, sealed, public = (sealed_part(document, name) for name in ("salt", "nonce", "sealed", "public"))
    if len(salt) != SALT_BYTES or len(nonce) != NONCE_BYTES:
        raise KeyFileDamaged("the sealed key is damaged; restore the file from its backup")
    try:
        return AESGCM(_passphrase_key(passphrase, salt)).decrypt(nonce, sealed, public), public
    except InvalidTag as error:
        raise WrongPassphrase("the passphrase does not open this key (or the file was changed); try again") from error


def sealed_part(document: bytes, name: str) -> bytes:
    """One part of a sealed file, such as its public half. Raises `KeyFileDamaged`."""
    try:
        read = json.loads(document)
        if read["format"] != "tramontana sealed key 1":
            raise ValueError("another format")
        return b64decode(read[name], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise KeyFileDamaged("this is no sealed key of Tramontana, or it is damaged; restore the file from its backup") from error


def _passphrase_key(passphrase: str, salt: bytes) -> bytes:
    kdf = Argon2id(salt=salt, length=32, iterations=ARGON2_PASSES, lanes=ARGON2_LANES, memory_cost=ARGON2_MEMORY_KIB)
    return kdf.derive(passphrase.encode("utf-8"))
