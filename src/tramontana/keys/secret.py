"""Secrets as types: printing, formatting, logging or pickling one never shows it.

Only `reveal` and `raw` yield the value, so every place that handles it can be found by these words.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Never

TOKEN_BYTES = 32
TOKEN_CHARACTERS = 43  # base64url of 32 bytes without padding


class Token:
    """A random 32-byte token, as it stands in links and in the Authorization header: base64url without padding.

    Compared in constant time; neither hashable nor picklable.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        if len(value) != TOKEN_BYTES:
            raise ValueError(f"a token has {TOKEN_BYTES} bytes")
        self._value = value

    @classmethod
    def generate(cls) -> Token:
        """A new one, from the operating system's generator."""
        return cls(secrets.token_bytes(TOKEN_BYTES))

    @classmethod
    def parse(cls, text: str) -> Token | None:
        """Read a token's one canonical spelling, or None where the text is anything else."""
        if len(text) != TOKEN_CHARACTERS or not text.isascii():
            return None
        try:
            value = urlsafe_b64decode(text + "=")
        except ValueError:
            return None
        if len(value) != TOKEN_BYTES:
            return None
        token = cls(value)
        return token if token.reveal() == text else None  # no foreign characters, no spare bits

    def reveal(self) -> str:
        return urlsafe_b64encode(self._value).rstrip(b"=").decode("ascii")

    def raw(self) -> bytes:
        """The bytes, for a cipher."""
        return self._value

    def sha256(self) -> bytes:
        """What may be stored in place of the token."""
        return hashlib.sha256(self._value).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Token(…)"

    def __reduce__(self) -> Never:
        raise TypeError("a token is not pickled: hand over what it protects instead")
