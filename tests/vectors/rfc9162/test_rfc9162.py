"""The Merkle tree against a second implementation written from the definitions, and against the published example tree."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors.rfc9162 import regenerate
from tramontana.keys import merkle
from tramontana.keys.merkle import Edge, Node

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "proofs.json").read_text("utf-8"))
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]

# The example tree of the Certificate Transparency project's code, sizes 1 to 8.
PUBLISHED_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def stored(leaves: list[bytes]) -> dict[Node, bytes]:
    """What a store holds after appending leaf by leaf."""
    nodes: dict[Node, bytes] = {}
    for size, leaf in enumerate(leaves):
        assert set(merkle.left_of(size)) <= nodes.keys()
        nodes.update(merkle.grown(size, merkle.leaf_hash(leaf), nodes.__getitem__))
    return nodes


def root(size: int) -> bytes:
    return bytes.fromhex(VECTORS["roots"][str(size)])


def test_the_vectors_are_those_of_the_generator() -> None:
    assert (Path(__file__).parent / "proofs.json").read_text("utf-8") == regenerate.text()


def test_roots_are_the_published_ones() -> None:
    edge = Edge()
    assert edge.root == root(0) == merkle.EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, start=1):
        edge.append(leaf)
        assert edge.root == root(size)
        if size <= len(PUBLISHED_ROOTS):
            assert edge.root.hex() == PUBLISHED_ROOTS[size - 1]
        again = Edge(edge.size, edge.hashes)
        assert (again.size, again.root) == (size, root(size))


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: f"{case['index']} of {case['size']}")
def test_inclusion(case: dict[str, Any]) -> None:
    index, size, proof = case["index"], case["size"], [bytes.fromhex(step) for step in case["proof"]]
    nodes, ranges = stored(LEAVES[:size]), merkle.inclusion_ranges(index, size)
    assert merkle.prove(ranges, {node: nodes[node] for node in merkle.nodes_of(ranges)}) == proof
    value = merkle.leaf_hash(LEAVES[index])
    assert merkle.verify_inclusion(value, index, size, proof, root(size))
    refused = [
        (merkle.leaf_hash(b"another"), index, size, proof, root(size)),
        (value, index, size, proof, root(size - 1)),
        (value, index, size, [*proof, bytes(32)], root(size)),
        *([(value, index, size, proof[:-1], root(size)), (value, index, size, [bytes(32), *proof[1:]], root(size))] if proof else []),
        *((value, other, size, proof, root(size)) for other in range(-1, size + 2) if other != index),
    ]
    assert not any(merkle.verify_inclusion(*attempt) for attempt in refused)


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: f"{case['first']} to {case['second']}")
def test_consistency(case: dict[str, Any]) -> None:
    first, second, proof = case["first"], case["second"], [bytes.fromhex(step) for step in case["proof"]]
    nodes, ranges = stored(LEAVES[:second]), merkle.consistency_ranges(first, second)
    assert merkle.prove(ranges, nodes) == proof
    assert merkle.verify_consistency(first, second, root(first), root(second), proof)
    refused = [
        (first, second, root(first - 1), root(second), proof),
        (first, second, root(first), root(second - 1), proof),
        (first, second, root(first), root(second), [*proof, bytes(32)]),
        *([(first, second, root(first), root(second), proof[:-1])] if proof else []),
        *([(first, second, root(first), root(second), [*proof[:-1], bytes(32)])] if proof else []),
        (0, second, root(0), root(second), proof),
        (second + 1, second, root(first), root(second), proof),
    ]
    assert not any(merkle.verify_consistency(*attempt) for attempt in refused)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=80), st.data())
@settings(max_examples=60, deadline=None)
def test_any_tree_is_that_of_the_definitions(leaves: list[bytes], data: st.DataObject) -> None:
    nodes = stored(leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    ranges = merkle.inclusion_ranges(index, len(leaves))
    assert merkle.prove(ranges, nodes) == regenerate.path(index, leaves)
    whole = merkle.fold([nodes[node] for node in merkle.subtrees(0, len(leaves))])
    assert whole == regenerate.mth(leaves)
    first = data.draw(st.integers(1, len(leaves)))
    assert merkle.prove(merkle.consistency_ranges(first, len(leaves)), nodes) == regenerate.subproof(first, leaves, True)


def test_a_proof_needs_few_rows() -> None:
    size = 4_000_000
    for index in (0, 1, size // 3, size - 2, size - 1):
        assert len(merkle.nodes_of(merkle.inclusion_ranges(index, size))) <= 2 * size.bit_length()
    assert all(smaller.level > larger.level for smaller, larger in pairwise(merkle.subtrees(0, size)))
