"""Signed tree heads of the transparency log, and what proves that a server equivocates."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Never

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tramontana.keys.certificate import LogKeyStatement
from tramontana.keys.fields import number
from tramontana.keys.identity import SignatureRefused, encode_statement, verify_signature
from tramontana.keys.merkle import verify_consistency
from tramontana.keys.refused import Refused

TREE_HEAD_CONTEXT = "tramontana tree head 1"


@dataclass(frozen=True, slots=True)
class TreeHead:
    """A verified head: at this time the log had so many entries and this root."""

    log_id: bytes
    tree_size: int
    root_hash: bytes
    at: int
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnverifiedTreeHead:
    """A head as it arrived."""

    log_id: bytes
    tree_size: int
    root_hash: bytes
    at: int
    signature: bytes = field(repr=False)

    def statement(self) -> bytes:
        return encode_statement(TREE_HEAD_CONTEXT, (self.log_id, number(self.tree_size), self.root_hash, number(self.at)))

    def verify(self, log_key: LogKeyStatement) -> TreeHead:
        """Raises `Refused` (`wrong_organisation` for another log, `forged`)."""
        if self.log_id != log_key.log_id:
            raise Refused("wrong_organisation", "the tree head is of another log")
        try:
            verify_signature(log_key.public_key, self.signature, self.statement())
        except SignatureRefused as error:
            raise Refused("forged", "the signature of the tree head does not match the log key") from error
        return TreeHead(self.log_id, self.tree_size, self.root_hash, self.at, self.signature)


class LogKey:
    """The server's key for heads. It signs that entries are in the log, never what they say."""

    __slots__ = ("_private_key",)

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key

    @classmethod
    def generate(cls) -> LogKey:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, secret: bytes) -> LogKey:
        return cls(Ed25519PrivateKey.from_private_bytes(secret))

    def reveal(self) -> bytes:
        """The 32 secret bytes, for its file."""
        return self._private_key.private_bytes_raw()

    @property
    def public_bytes(self) -> bytes:
        return self._private_key.public_key().public_bytes_raw()

    def sign_head(self, tree_size: int, root_hash: bytes, *, now: float) -> TreeHead:
        log_id = hashlib.sha256(self.public_bytes).digest()
        unsigned = UnverifiedTreeHead(log_id, tree_size, root_hash, int(now), b"")
        return TreeHead(log_id, tree_size, root_hash, int(now), self._private_key.sign(unsigned.statement()))

    def __repr__(self) -> str:
        return f"LogKey(public={self.public_bytes.hex()})"

    def __reduce__(self) -> Never:
        raise TypeError("a log key is not pickled")


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two heads, both signed by the log key, that cannot both be of an append-only log. Anybody with the log key's statement can check."""

    one: TreeHead
    other: TreeHead
    sentence: str


def compare_heads(known: TreeHead, seen: TreeHead, proof: Sequence[bytes]) -> Equivocation | None:
    """Whether two verified heads of one log agree, with a consistency proof from the smaller to the larger (empty for equal sizes).

    A missing or wrong proof between different sizes counts against the server: an honest one can always give it.
    """
    older, newer = (known, seen) if known.tree_size <= seen.tree_size else (seen, known)
    if older.tree_size == newer.tree_size:
        if older.root_hash == newer.root_hash:
            return None
        return Equivocation(known, seen, f"the server signed two different logs of {older.tree_size} entries")
    if older.tree_size == 0 or verify_consistency(older.tree_size, newer.tree_size, older.root_hash, newer.root_hash, proof):
        return None
    return Equivocation(
        known, seen, f"the log of {newer.tree_size} entries does not begin with the {older.tree_size} entries that the server signed before"
    )
