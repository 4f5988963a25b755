"""The Merkle tree of RFC 9162 §2.1 over SHA-256: roots, inclusion and consistency proofs, and their verification.

Complete subtrees never change once they are full, so a store that keeps their hashes gives every proof from O(log n) rows: `Node`
names one, and the functions here say which are needed. Proofs are lists of ranges of leaves, each folded from complete subtrees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

EMPTY_ROOT = hashlib.sha256(b"").digest()  # RFC 9162 §2.1.1
HASH_BYTES = 32


class Node(NamedTuple):
    """The complete subtree over leaves `place * 2**level` up to, not including, `(place + 1) * 2**level`."""

    level: int
    place: int


Range = tuple[int, int]
"""Leaves from the first up to, not including, the second."""


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()  # RFC 9162 §2.1.1


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()  # RFC 9162 §2.1.1


def subtrees(start: int, end: int) -> list[Node]:
    """The complete subtrees whose fold is the hash of leaves `start` to `end`, left to right; `start` is where a tree was split."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append(Node(level, start >> level))
        start += 1 << level
    return found


def fold(hashes: Sequence[bytes]) -> bytes:
    """The hash over a run of complete subtrees, each smaller than the one before: MTH of RFC 9162 §2.1.1."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def _split(size: int) -> int:
    """The largest power of two smaller than `size` (RFC 9162 §2.1.1)."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove that a leaf is in the tree, in the order of the proof (RFC 9162 §2.1.3.1). Raises `ValueError`."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path: list[Range] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return path[::-1]


def consistency_ranges(first: int, second: int) -> list[Range]:
    """The ranges whose hashes prove that a tree is the beginning of another (RFC 9162 §2.1.4.1). Raises `ValueError`."""
    if not 0 < first <= second:
        raise ValueError(f"a tree of {first} is not the beginning of one of {second}")
    path: list[Range] = []
    start, end, is_whole = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start, is_whole = middle, False
    if not is_whole:
        path.append((start, end))
    return path[::-1]


def nodes_of(ranges: Sequence[Range]) -> list[Node]:
    """Every complete subtree that these ranges are folded from."""
    return [node for start, end in ranges for node in subtrees(start, end)]


def prove(ranges: Sequence[Range], hashes: Mapping[Node, bytes]) -> list[bytes]:
    """The proof made of ranges, from the hashes of `nodes_of(ranges)`."""
    return [fold([hashes[node] for node in subtrees(start, end)]) for start, end in ranges]


def grown(size: int, entry_hash: bytes, hash_of: Callable[[Node], bytes]) -> list[tuple[Node, bytes]]:
    """The complete subtrees that a leaf appended to a tree of `size` completes, from the leaf up; needs the older ones to its left."""
    made = [(Node(0, size), entry_hash)]
    level, index, value = 0, size, entry_hash
    while index & 1:
        value = node_hash(hash_of(Node(level, index - 1)), value)
        level, index = level + 1, index >> 1
        made.append((Node(level, index), value))
    return made


def left_of(size: int) -> list[Node]:
    """The older subtrees that `grown` asks for."""
    needed, level, index = [], 0, size
    while index & 1:
        needed.append(Node(level, index - 1))
        level, index = level + 1, index >> 1
    return needed


def verify_inclusion(entry_hash: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162 §2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, value = index, size - 1, entry_hash
    for step in proof:
        if last == 0 or len(step) != HASH_BYTES:
            return False
        if at & 1 or at == last:
            value = node_hash(step, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = node_hash(value, step)
        at, last = at >> 1, last >> 1
    return last == 0 and value == root


def verify_consistency(first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]) -> bool:
    """RFC 9162 §2.1.4.2; a tree is consistent with itself by the empty proof."""
    if not 0 < first <= second or any(len(step) != HASH_BYTES for step in proof):
        return False
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            older, newer = node_hash(step, older), node_hash(step, newer)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            newer = node_hash(newer, step)
        at, last = at >> 1, last >> 1
    return last == 0 and older == first_root and newer == second_root


class Edge:
    """The right edge of a growing tree: enough to append and to know the root, in O(log n) memory, for whoever follows a log."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Raises `ValueError` where the hashes are not those of a tree of that size."""
        if len(hashes) != size.bit_count() or any(len(value) != HASH_BYTES for value in hashes):
            raise ValueError(f"the right edge of a tree of {size} has {size.bit_count()} hashes")
        self.size = size
        self._hashes = list(hashes)

    def append(self, entry: bytes) -> None:
        value = leaf_hash(entry)
        for _ in range((~self.size & (self.size + 1)).bit_length() - 1):  # as many as the size has ones at its end
            value = node_hash(self._hashes.pop(), value)
        self._hashes.append(value)
        self.size += 1

    @property
    def hashes(self) -> tuple[bytes, ...]:
        return tuple(self._hashes)

    @property
    def root(self) -> bytes:
        return fold(self._hashes)
