"""Writes proofs.json: roots and proofs of trees up to 13 leaves, by the definitions of RFC 9162 §2.1 word for word, recursively over lists.

It shares no line with `tramontana.keys.merkle`. The first eight leaves are those of the tree that the Certificate Transparency project
publishes with its code; their roots are in `PUBLISHED_ROOTS` of the test.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

PUBLISHED_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
LEAVES = [bytes.fromhex(leaf) for leaf in PUBLISHED_LEAVES] + [f"leaf {number}".encode() for number in range(8, 13)]


def sha256(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def split(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    """RFC 9162 §2.1.1."""
    if not d:
        return sha256(b"")
    if len(d) == 1:
        return sha256(b"\x00" + d[0])
    k = split(len(d))
    return sha256(b"\x01" + mth(d[:k]) + mth(d[k:]))


def path(m: int, d: list[bytes]) -> list[bytes]:
    """RFC 9162 §2.1.3.1."""
    if len(d) == 1:
        return []
    k = split(len(d))
    return [*path(m, d[:k]), mth(d[k:])] if m < k else [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], b: bool) -> list[bytes]:
    """RFC 9162 §2.1.4.1."""
    if m == len(d):
        return [] if b else [mth(d)]
    k = split(len(d))
    return [*subproof(m, d[:k], b), mth(d[k:])] if m <= k else [*subproof(m - k, d[k:], False), mth(d[:k])]


def vectors() -> dict[str, object]:
    def hexes(proof: list[bytes]) -> list[str]:
        return [value.hex() for value in proof]

    sizes = range(1, len(LEAVES) + 1)
    return {
        "leaves": [leaf.hex() for leaf in LEAVES],
        "roots": {str(n): mth(LEAVES[:n]).hex() for n in (0, *sizes)},
        "inclusion": [{"index": m, "size": n, "proof": hexes(path(m, LEAVES[:n]))} for n in sizes for m in range(n)],
        "consistency": [{"first": m, "second": n, "proof": hexes(subproof(m, LEAVES[:n], True))} for n in sizes for m in range(1, n + 1)],
    }


def text() -> str:
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "proofs.json").write_text(text(), "utf-8")
