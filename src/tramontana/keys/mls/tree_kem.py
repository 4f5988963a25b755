"""Update paths: a fresh secret for every node above a committer, sealed to everybody else (RFC 9420 §7.4–§7.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tramontana.keys.mls import tree_math
from tramontana.keys.mls.codec import Reader, vector, vector_of
from tramontana.keys.mls.errors import CommitRefused
from tramontana.keys.mls.nodes import SOURCE_COMMIT, LeafNode
from tramontana.keys.mls.ratchet_tree import RatchetTree
from tramontana.keys.mls.suites import CipherSuite, Rng, Signer

PrivateKeys = Mapping[int, bytes]
"""Node index → HPKE private key, for one's own leaf and the nodes above it that one has learned."""


@dataclass(frozen=True)
class HpkeCiphertext:
    """RFC 9420 §7.6."""

    kem_output: bytes
    ciphertext: bytes

    @classmethod
    def parse(cls, reader: Reader) -> HpkeCiphertext:
        return cls(reader.vector(), reader.vector())

    def encode(self) -> bytes:
        return vector(self.kem_output) + vector(self.ciphertext)


@dataclass(frozen=True)
class UpdatePathNode:
    encryption_key: bytes
    encrypted_path_secret: tuple[HpkeCiphertext, ...]

    @classmethod
    def parse(cls, reader: Reader) -> UpdatePathNode:
        return cls(reader.vector(), reader.list_of(HpkeCiphertext.parse))

    def encode(self) -> bytes:
        return vector(self.encryption_key) + vector_of(self.encrypted_path_secret)


@dataclass(frozen=True)
class UpdatePath:
    """RFC 9420 §7.6."""

    leaf_node: LeafNode
    nodes: tuple[UpdatePathNode, ...]

    @classmethod
    def parse(cls, reader: Reader) -> UpdatePath:
        return cls(LeafNode.parse(reader), reader.list_of(UpdatePathNode.parse))

    def encode(self) -> bytes:
        return self.leaf_node.encode() + vector_of(self.nodes)


@dataclass(frozen=True)
class NewPath:
    """What the committer knows of his own path, before it is sealed."""

    leaf_node: LeafNode
    public_keys: list[bytes]
    commit_secret: bytes = field(repr=False)
    path_secrets: dict[int, bytes] = field(repr=False)
    """Node index → path secret."""
    private_keys: dict[int, bytes] = field(repr=False)


def path_keys(
    suite: CipherSuite, path_secret: bytes, nodes: list[int]
) -> tuple[dict[int, bytes], dict[int, bytes], dict[int, bytes], bytes]:
    """From the path secret of the first node upwards: path secrets, private keys, public keys, commit secret (RFC 9420 §7.4)."""
    secrets: dict[int, bytes] = {}
    private_keys: dict[int, bytes] = {}
    public_keys: dict[int, bytes] = {}
    for node in nodes:
        secrets[node] = path_secret
        private_keys[node], public_keys[node] = suite.kem.derive_key_pair(suite.derive_secret(path_secret, "node"))
        path_secret = suite.derive_secret(path_secret, "path")
    return secrets, private_keys, public_keys, path_secret


def new_path(tree: RatchetTree, leaf_index: int, leaf: LeafNode, group_id: bytes, signer: Signer, rng: Rng) -> NewPath:
    """Renew the leaf and every node above it, in the tree itself. `leaf` gives the leaf's unchanging part."""
    suite = tree.suite
    path = tree.filtered_direct_path(leaf_index)
    secrets, private_keys, public_keys, commit_secret = path_keys(suite, rng(suite.hash_bytes), [node for node, _ in path])
    private_keys[2 * leaf_index], encryption_key = suite.generate_key_pair(rng)
    keys = [public_keys[node] for node, _ in path]
    parent_hash = tree.path_parent_hashes(path, keys)[0]
    leaf = replace(leaf, encryption_key=encryption_key, source=SOURCE_COMMIT, lifetime=None, parent_hash=parent_hash)
    leaf = leaf.sign(suite, signer, group_id, leaf_index)
    tree.set_path(leaf_index, leaf, keys)
    return NewPath(leaf, keys, commit_secret, secrets, private_keys)


def seal_path(tree: RatchetTree, leaf_index: int, path: NewPath, group_context: bytes, added: frozenset[int]) -> UpdatePath:
    """Seal each path secret to the other half below its node, except to leaves that the same commit adds (RFC 9420 §7.5)."""
    suite, nodes = tree.suite, []
    for (node, copath), key in zip(tree.filtered_direct_path(leaf_index), path.public_keys, strict=True):
        sealed = [
            HpkeCiphertext(
                *suite.encrypt_with_label(tree.encryption_key(receiver), "UpdatePathNode", group_context, path.path_secrets[node])
            )
            for receiver in _receivers(tree, copath, added)
        ]
        nodes.append(UpdatePathNode(key, tuple(sealed)))
    return UpdatePath(path.leaf_node, tuple(nodes))


def check_path(tree: RatchetTree, leaf_index: int, path: UpdatePath, *, joining: bool) -> None:
    """Shape, freshness and parent hash of a received path against the tree before it (RFC 9420 §7.5, §7.9.2, §12.4.2).

    Who joins by the path stands in the tree with its leaf already. Raises `CommitRefused`.
    """
    expected = tree.filtered_direct_path(leaf_index)
    if len(path.nodes) != len(expected):
        raise CommitRefused("an update path has the wrong number of nodes")
    own = 2 * leaf_index if joining else None
    in_use = {node.encryption_key for index in range(2 * tree.leaf_count - 1) if index != own and (node := tree.node(index)) is not None}
    fresh = [path.leaf_node.encryption_key, *(node.encryption_key for node in path.nodes)]
    if in_use.intersection(fresh) or len(set(fresh)) != len(fresh):
        raise CommitRefused("an update path brings a key that is already in use")
    for key in fresh:
        tree.suite.check_public_key(key)
    if path.leaf_node.parent_hash != tree.path_parent_hashes(expected, fresh[1:])[0]:
        raise CommitRefused("the parent hash of an update path's leaf is wrong")


def open_path(
    tree: RatchetTree,
    sender: int,
    receiver: int,
    path: UpdatePath,
    group_context: bytes,
    added: frozenset[int],
    private_keys: PrivateKeys,
) -> tuple[dict[int, bytes], bytes]:
    """The private keys that this path teaches the receiver, and the commit secret. The tree already has the path.

    Raises `CommitRefused` and `DecryptionFailed`.
    """
    suite = tree.suite
    filtered = tree.filtered_direct_path(sender)
    meeting = tree_math.common_ancestor(sender, receiver)
    position = next(at for at, (node, _) in enumerate(filtered) if node == meeting)
    for node, (_, copath) in zip(path.nodes, filtered, strict=True):
        if len(node.encrypted_path_secret) != len(_receivers(tree, copath, added)):
            raise CommitRefused("an update path is sealed to the wrong number of receivers")
    receivers, sealed = _receivers(tree, filtered[position][1], added), path.nodes[position].encrypted_path_secret
    mine = next((at for at, index in enumerate(receivers) if index in private_keys), None)
    if mine is None:
        raise CommitRefused("an update path is not sealed to this device")
    path_secret = suite.decrypt_with_label(
        private_keys[receivers[mine]], "UpdatePathNode", group_context, sealed[mine].kem_output, sealed[mine].ciphertext
    )
    _, learned, public_keys, commit_secret = path_keys(suite, path_secret, [node for node, _ in filtered[position:]])
    if any(tree.encryption_key(node) != key for node, key in public_keys.items()):
        raise CommitRefused("an update path's secret does not yield its public keys")
    return learned, commit_secret


def _receivers(tree: RatchetTree, copath: int, added: frozenset[int]) -> list[int]:
    return [index for index in tree.resolution(copath) if index % 2 or index // 2 not in added]
