"""Where the nodes of a ratchet tree stand (RFC 9420 §4.1, appendix C): leaf i at 2i, parents between; leaf counts are powers of two."""

from __future__ import annotations


def node_width(leaf_count: int) -> int:
    return 2 * leaf_count - 1


def root(leaf_count: int) -> int:
    return leaf_count - 1


def level(node: int) -> int:
    """0 for a leaf: the number of trailing one bits."""
    return (~node & (node + 1)).bit_length() - 1


def left(node: int) -> int:
    """Raises ValueError for a leaf, as `right` does."""
    if (height := level(node)) == 0:
        raise ValueError("a leaf has no children")
    return node ^ (1 << (height - 1))


def right(node: int) -> int:
    if (height := level(node)) == 0:
        raise ValueError("a leaf has no children")
    return node ^ (3 << (height - 1))


def parent(node: int, leaf_count: int) -> int:
    """Raises ValueError for the root."""
    if node == root(leaf_count):
        raise ValueError("the root has no parent")
    height = level(node)
    return (node | (1 << height)) & ~(1 << (height + 1))


def sibling(node: int, leaf_count: int) -> int:
    above = parent(node, leaf_count)
    return right(above) if node < above else left(above)


def direct_path(node: int, leaf_count: int) -> list[int]:
    """From the node's parent to the root."""
    path = []
    while node != root(leaf_count):
        node = parent(node, leaf_count)
        path.append(node)
    return path


def covers(node: int, leaf: int) -> bool:
    """Whether leaf number `leaf` is the node or below it."""
    return abs(2 * leaf - node) < 1 << level(node)


def common_ancestor(leaf_a: int, leaf_b: int) -> int:
    """The lowest node above two different leaves."""
    height = (leaf_a ^ leaf_b).bit_length()
    return ((leaf_a >> height) << (height + 1)) + (1 << height) - 1
