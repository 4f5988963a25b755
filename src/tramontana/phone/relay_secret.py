"""The secret that server and media relay share, and the time-limited TURN credentials made from it.

The scheme is that of coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00 §2.2): `username = expiry:name`,
`credential = base64(HMAC-SHA1(secret, username))`. So either relay can stand in for the other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path

from tramontana.errors import LocalError

_SECRET_BYTES = 32
_MAX_FILE_BYTES = 4096
_MIN_SECRET_CHARACTERS = 16
_MAX_EXPIRY_DIGITS = 12


class RelaySecretError(LocalError):
    """The file with the media relay's secret cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RelayCredential:
    """What a phone presents to the relay."""

    username: str
    credential: str = field(repr=False)


class RelaySecret:
    """The shared secret. Its `repr` shows the type, never the octets."""

    __slots__ = ("_octets",)

    def __init__(self, text: str) -> None:
        """`text`: printable ASCII, as it would stand behind coturn's `static-auth-secret=`."""
        if len(text) < _MIN_SECRET_CHARACTERS or not text.isascii() or not text.isprintable():
            raise RelaySecretError(f"The relay secret must be at least {_MIN_SECRET_CHARACTERS} printable ASCII characters on one line.")
        self._octets = text.encode()

    def __repr__(self) -> str:
        return "RelaySecret(…)"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a relay secret is not to be pickled")

    def issue(self, device_id: str, expires_at_unix_s: float) -> RelayCredential:
        """The credential of one device up to an instant."""
        username = f"{int(expires_at_unix_s)}:{device_id}"
        return RelayCredential(username, self._credential(username))

    def long_term_key(self, username: str, realm: str) -> bytes:
        """The MESSAGE-INTEGRITY key of a username (RFC 8489 §9.2.2, MD5)."""
        text = f"{username}:{realm}:{self._credential(username)}"
        return hashlib.md5(text.encode(), usedforsecurity=False).digest()

    def derive_key(self, context: str) -> bytes:
        """A key of 32 octets for another purpose, told apart by `context`: HMAC-SHA256(secret, context)."""
        return hmac.digest(self._octets, context.encode(), "sha256")

    def _credential(self, username: str) -> str:
        return base64.b64encode(hmac.digest(self._octets, username.encode(), "sha1")).decode()


def parse_username(username: str) -> tuple[int, str] | None:
    """`(expiry in POSIX seconds, device_id)` of a time-limited username, or None if it is not one."""
    expiry, colon, device_id = username.partition(":")
    if not colon or not device_id or not expiry.isascii() or not expiry.isdigit() or len(expiry) > _MAX_EXPIRY_DIGITS:
        return None
    return int(expiry), device_id


def load_relay_secret(path: Path) -> RelaySecret:
    """Read the secret file. Raises `RelaySecretError` if it is missing, of another user, or readable by anyone but its owner."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise RelaySecretError(
            f"Cannot read the relay secret {path}: {error.strerror}. Start the server once: it makes the file."
        ) from None
    try:
        found = os.fstat(descriptor)
        mode = found.st_mode
        if not stat.S_ISREG(mode):
            raise RelaySecretError(f"The relay secret {path} is not a file: choose another path.")
        if mode & 0o077:
            raise RelaySecretError(f"Others may use the relay secret {path}: make it private with `chmod 600 {path}`, or delete it.")
        if found.st_uid not in (os.geteuid(), 0):
            raise RelaySecretError(f"The relay secret {path} belongs to another user, who knows it: delete it, or choose another path.")
        text = os.read(descriptor, _MAX_FILE_BYTES)
    finally:
        os.close(descriptor)
    try:
        return RelaySecret(text.decode("ascii").strip())
    except UnicodeDecodeError:
        raise RelaySecretError(f"{path} does not hold a relay secret: delete it and start the server, which makes a new one.") from None


def load_or_make_relay_secret(path: Path) -> RelaySecret:
    """Read the secret file, or make it (mode 0600) if there is none. Two processes that start together end with the same secret."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_urlsafe(_SECRET_BYTES) + "\n")
                    file.flush()
                    os.fsync(descriptor)
                os.link(draft, path)  # fails if another process was first: then its secret is the one
            finally:
                os.unlink(draft)
        except FileExistsError:
            pass
        except OSError as error:
            raise RelaySecretError(
                f"Cannot make the relay secret {path}: {error.strerror}. Choose a directory that can be written."
            ) from None
    return load_relay_secret(path)
