"""The ratchet tree: who is in the group, and whose keys stand above whom (RFC 9420 §4.2, §7.7–§7.9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tramontana.keys.mls import tree_math
from tramontana.keys.mls.codec import Reader, optional, parse_whole, uint, vector, vector_of_uints
from tramontana.keys.mls.errors import TreeRefused
from tramontana.keys.mls.nodes import LeafNode, Node, ParentNode, encode_node, parse_node
from tramontana.keys.mls.suites import CipherSuite

MAX_LEAVES = 1 << 16
"""Our own bound: a tree that claims more is refused before it costs memory."""


class RatchetTree:
    """A tree of public nodes, with remembered hashes. `copy` is cheap; nodes are never changed, only replaced."""

    __slots__ = ("_hashes", "_nodes", "suite")

    def __init__(self, suite: CipherSuite, nodes: list[Node | None], hashes: dict[int, bytes] | None = None) -> None:
        self.suite = suite
        self._nodes = nodes
        self._hashes = {} if hashes is None else hashes

    @classmethod
    def of_one(cls, suite: CipherSuite, leaf: LeafNode) -> RatchetTree:
        return cls(suite, [leaf])

    @classmethod
    def parse(cls, suite: CipherSuite, encoded: bytes) -> RatchetTree:
        """The content of a ratchet_tree extension (RFC 9420 §12.4.3.3). Raises `FramingError` and `TreeRefused`."""
        nodes: list[Node | None] = list(parse_whole(encoded, lambda reader: reader.list_of(lambda inner: inner.optional(parse_node))))
        if not nodes or nodes[-1] is None:
            raise TreeRefused("a ratchet tree is empty or ends in a blank node")
        if len(nodes) > tree_math.node_width(MAX_LEAVES):
            raise TreeRefused(f"a ratchet tree has more than {MAX_LEAVES} leaves")
        for index, node in enumerate(nodes):
            if node is not None and isinstance(node, LeafNode) != (index % 2 == 0):
                raise TreeRefused(f"node {index} is of the wrong kind for its place")
        leaf_count = 1
        while tree_math.node_width(leaf_count) < len(nodes):
            leaf_count *= 2
        nodes += [None] * (tree_math.node_width(leaf_count) - len(nodes))
        return cls(suite, nodes)

    def encode(self) -> bytes:
        last = max(index for index, node in enumerate(self._nodes) if node is not None)
        return vector(b"".join([encode_node(node) for node in self._nodes[: last + 1]]))

    def copy(self) -> RatchetTree:
        return RatchetTree(self.suite, self._nodes.copy(), self._hashes.copy())

    # Reading

    @property
    def leaf_count(self) -> int:
        """Places for leaves, blank ones included: a power of two."""
        return (len(self._nodes) + 1) // 2

    @property
    def root(self) -> int:
        return tree_math.root(self.leaf_count)

    def node(self, index: int) -> Node | None:
        return self._nodes[index]

    def leaf(self, leaf_index: int) -> LeafNode | None:
        """None for a blank place and for one outside the tree."""
        if not 0 <= leaf_index < self.leaf_count:
            return None
        node = self._nodes[2 * leaf_index]
        assert not isinstance(node, ParentNode)
        return node

    def _parent(self, index: int) -> ParentNode | None:
        node = self._nodes[index]
        assert not isinstance(node, LeafNode)
        return node

    def leaves(self) -> Iterator[tuple[int, LeafNode]]:
        for index in range(0, len(self._nodes), 2):
            node = self._nodes[index]
            if isinstance(node, LeafNode):
                yield index // 2, node

    def parents(self) -> Iterator[tuple[int, ParentNode]]:
        for index in range(1, len(self._nodes), 2):
            node = self._nodes[index]
            if isinstance(node, ParentNode):
                yield index, node

    def encryption_key(self, index: int) -> bytes:
        node = self._nodes[index]
        assert node is not None
        return node.encryption_key

    def resolution(self, index: int) -> list[int]:
        """The nodes that together reach everybody below (RFC 9420 §4.1.1)."""
        node = self._nodes[index]
        if isinstance(node, ParentNode):
            return [index, *(2 * leaf for leaf in node.unmerged_leaves)]
        if node is not None:
            return [index]
        if index % 2 == 0:
            return []
        return self.resolution(tree_math.left(index)) + self.resolution(tree_math.right(index))

    def filtered_direct_path(self, leaf_index: int) -> list[tuple[int, int]]:
        """(node, its child on the copath) from the bottom up, without nodes whose other half is empty (RFC 9420 §4.1.2)."""
        path, below = [], 2 * leaf_index
        for node in tree_math.direct_path(below, self.leaf_count):
            other = tree_math.right(node) if below < node else tree_math.left(node)
            if self._reaches_anybody(other):
                path.append((node, other))
            below = node
        return path

    def _reaches_anybody(self, index: int) -> bool:
        if self._nodes[index] is not None:
            return True
        return index % 2 == 1 and (self._reaches_anybody(tree_math.left(index)) or self._reaches_anybody(tree_math.right(index)))

    # Changing (RFC 9420 §7.7, §12.1)

    def _set(self, index: int, node: Node | None) -> None:
        self._nodes[index] = node
        self._hashes.pop(index, None)
        for above in tree_math.direct_path(index, self.leaf_count):
            self._hashes.pop(above, None)

    def _blank_above(self, leaf_index: int) -> None:
        for above in tree_math.direct_path(2 * leaf_index, self.leaf_count):
            self._nodes[above] = None

    def next_free_leaf(self) -> int:
        return next((index for index in range(self.leaf_count) if self._nodes[2 * index] is None), self.leaf_count)

    def add(self, leaf: LeafNode) -> int:
        """Put a leaf in the leftmost free place, and tell its place (RFC 9420 §12.1.1)."""
        leaf_index = self.next_free_leaf()
        if leaf_index == self.leaf_count:
            if leaf_index >= MAX_LEAVES:
                raise TreeRefused(f"a group has at most {MAX_LEAVES} leaves")
            self._nodes += [None] * (len(self._nodes) + 1)
        for above in tree_math.direct_path(2 * leaf_index, self.leaf_count):
            if (node := self._parent(above)) is not None:
                self._nodes[above] = replace(node, unmerged_leaves=tuple(sorted({*node.unmerged_leaves, leaf_index})))
        self._set(2 * leaf_index, leaf)
        return leaf_index

    def update(self, leaf_index: int, leaf: LeafNode) -> None:
        self._blank_above(leaf_index)
        self._set(2 * leaf_index, leaf)

    def remove(self, leaf_index: int) -> None:
        self._blank_above(leaf_index)
        self._set(2 * leaf_index, None)
        while self.leaf_count > 1 and not any(self._nodes[self.root + 1 :]):
            dropped = range(self.root, len(self._nodes))
            del self._nodes[self.root :]
            for index in dropped:
                self._hashes.pop(index, None)

    def set_path(self, leaf_index: int, leaf: LeafNode, public_keys: list[bytes]) -> None:
        """Merge an UpdatePath: one key for each node of the filtered direct path (RFC 9420 §7.5)."""
        path = self.filtered_direct_path(leaf_index)
        self._blank_above(leaf_index)
        self._set(2 * leaf_index, leaf)
        hashes = self.path_parent_hashes(path, public_keys)
        for (node, _), key, parent_hash in zip(path, public_keys, hashes[1:], strict=True):
            self._nodes[node] = ParentNode(key, parent_hash)

    # Hashes (RFC 9420 §7.8, §7.9)

    def hash(self, index: int | None = None) -> bytes:
        """The tree hash of a node, of the whole tree without one."""
        return self._hash_without(self.root if index is None else index, frozenset())

    def _hash_without(self, index: int, excluded: frozenset[int]) -> bytes:
        """The tree hash as if the excluded leaves were not there (RFC 9420 §7.9: original_sibling_tree_hash)."""
        excluded = frozenset(leaf for leaf in excluded if tree_math.covers(index, leaf))
        if not excluded and (known := self._hashes.get(index)) is not None:
            return known
        if index % 2 == 0:
            node = None if excluded else self._nodes[index]
            result = self.suite.hash(b"\x01" + uint(index // 2, 4) + optional(None if node is None else node.encode()))
        else:
            parent = self._parent(index)
            if parent is not None and excluded:
                parent = replace(parent, unmerged_leaves=tuple(leaf for leaf in parent.unmerged_leaves if leaf not in excluded))
            halves = [vector(self._hash_without(child, excluded)) for child in (tree_math.left(index), tree_math.right(index))]
            result = self.suite.hash(b"\x02" + optional(None if parent is None else parent.encode()) + b"".join(halves))
        if not excluded:
            self._hashes[index] = result
        return result

    def _parent_hash(self, encryption_key: bytes, parent_hash: bytes, sibling_hash: bytes) -> bytes:
        return self.suite.hash(vector(encryption_key) + vector(parent_hash) + vector(sibling_hash))

    def path_parent_hashes(self, path: list[tuple[int, int]], public_keys: list[bytes]) -> list[bytes]:
        """The parent hash of the leaf, then of each node of the path from the bottom up; the topmost has none."""
        hashes = [b""]
        for (_, copath), key in zip(reversed(path), reversed(public_keys), strict=True):
            hashes.append(self._parent_hash(key, hashes[-1], self.hash(copath)))
        return list(reversed(hashes))

    def check_parent_hashes(self) -> None:
        """Every parent node was set by somebody below it (RFC 9420 §7.9.2). Raises `TreeRefused`."""
        for index, parent in self.parents():
            halves = tree_math.left(index), tree_math.right(index)
            if not any(self._links(parent, child, other) for child, other in (halves, reversed(halves))):
                raise TreeRefused(f"parent node {index} is not vouched for by a parent hash below it")

    def _links(self, parent: ParentNode, child: int, other: int) -> bool:
        expected = self._parent_hash(
            parent.encryption_key, parent.parent_hash, self._hash_without(other, frozenset(parent.unmerged_leaves))
        )
        resolution = self.resolution(child)
        unmerged = {2 * leaf for leaf in parent.unmerged_leaves if tree_math.covers(child, leaf)}
        for candidate in resolution:
            node = self._nodes[candidate]
            if node is not None and node.parent_hash == expected and set(resolution) - {candidate} == unmerged:
                return True
        return False

    def check_unmerged_leaves(self) -> None:
        """Each unmerged leaf is below its parent, not blank, and listed all the way (RFC 9420 §12.4.3.1). Raises `TreeRefused`."""
        for index, parent in self.parents():
            for leaf in parent.unmerged_leaves:
                if not tree_math.covers(index, leaf) or self.leaf(leaf) is None:
                    raise TreeRefused(f"parent node {index} lists an unmerged leaf that is not below it")
                for between in tree_math.direct_path(2 * leaf, self.leaf_count):
                    if between == index:
                        break
                    if (node := self._parent(between)) is not None and leaf not in node.unmerged_leaves:
                        raise TreeRefused(f"node {between} does not list unmerged leaf {leaf}")

    def check_unique_keys(self) -> None:
        """No signature key and no encryption key stands twice (RFC 9420 §7.3, §12.4.3.1). Raises `TreeRefused`."""
        signature_keys = [leaf.signature_key for _, leaf in self.leaves()]
        if len(set(signature_keys)) != len(signature_keys):
            raise TreeRefused("a signature key stands twice in the tree")
        encryption_keys = [node.encryption_key for node in self._nodes if node is not None]
        if len(set(encryption_keys)) != len(encryption_keys):
            raise TreeRefused("an encryption key stands twice in the tree")


def parse_stored_tree(suite: CipherSuite, reader: Reader) -> RatchetTree:
    """A tree that this device stored, with its hashes (`encode_stored_tree`)."""
    tree = RatchetTree.parse(suite, vector(reader.vector()))
    indexes, hashes = reader.uints(4), reader.vector()
    size = suite.hash_bytes
    tree._hashes = {index: hashes[at * size : (at + 1) * size] for at, index in enumerate(indexes)}
    return tree


def encode_stored_tree(tree: RatchetTree) -> bytes:
    return tree.encode() + vector_of_uints(tree._hashes, 4) + vector(b"".join(tree._hashes.values()))
