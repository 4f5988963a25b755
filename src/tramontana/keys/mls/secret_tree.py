"""The keys of messages: a secret tree for each epoch, and two ratchets for each sender (RFC 9420 §9).

Nothing here changes in place: whoever takes a key gets the tree as it is afterwards, and keeps it only when the message verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tramontana.keys.mls import tree_math
from tramontana.keys.mls.codec import Reader, uint, vector
from tramontana.keys.mls.errors import KeyAlreadyUsed, TooFarAhead, UnknownSender
from tramontana.keys.mls.suites import CipherSuite

MAX_FORWARD_STEPS = 1_000
"""Our own bound on the predecessors that one message may skip."""
MAX_SKIPPED_KEYS = 128
"""Keys of skipped messages that one ratchet keeps; the oldest are erased first."""

HANDSHAKE, APPLICATION = 0, 1


@dataclass(frozen=True)
class MessageKey:
    key: bytes = field(repr=False)
    nonce: bytes = field(repr=False)


@dataclass(frozen=True)
class Ratchet:
    """RFC 9420 §9.1. `generation` is the next one to come; `skipped` are keys of earlier ones that did not arrive yet."""

    secret: bytes = field(repr=False)
    generation: int = 0
    skipped: Mapping[int, MessageKey] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Ratchet:
        secret, generation = reader.vector(), reader.uint(4)
        skipped = reader.list_of(lambda inner: (inner.uint(4), MessageKey(inner.vector(), inner.vector())))
        return cls(secret, generation, dict(skipped))

    def encode(self) -> bytes:
        skipped = b"".join(uint(generation, 4) + vector(kept.key) + vector(kept.nonce) for generation, kept in self.skipped.items())
        return vector(self.secret) + uint(self.generation, 4) + vector(skipped)

    def _step(self, suite: CipherSuite) -> tuple[MessageKey, bytes]:
        def derive(label: str, length: int) -> bytes:
            return suite.expand_with_label(self.secret, label, uint(self.generation, 4), length)

        return MessageKey(derive("key", suite.key_bytes), derive("nonce", suite.nonce_bytes)), derive("secret", suite.hash_bytes)

    def take(self, suite: CipherSuite, generation: int) -> tuple[MessageKey, Ratchet]:
        """The key of one generation, and the ratchet that no longer has it. Raises `KeyAlreadyUsed` and `TooFarAhead`."""
        if generation < self.generation:
            if (kept := self.skipped.get(generation)) is None:
                raise KeyAlreadyUsed(f"the key of generation {generation} was used or erased")
            return kept, Ratchet(self.secret, self.generation, {at: key for at, key in self.skipped.items() if at != generation})
        if generation - self.generation > MAX_FORWARD_STEPS:
            raise TooFarAhead(f"a message skips {generation - self.generation} others; at most {MAX_FORWARD_STEPS} are followed")
        ratchet, skipped = self, dict(self.skipped)
        while True:
            key, secret = ratchet._step(suite)
            if ratchet.generation == generation:
                kept_ones = dict(sorted(skipped.items())[-MAX_SKIPPED_KEYS:])
                return key, Ratchet(secret, generation + 1, kept_ones)
            skipped[ratchet.generation] = key
            ratchet = Ratchet(secret, ratchet.generation + 1)


@dataclass(frozen=True)
class SecretTree:
    """RFC 9420 §9. `nodes` holds only secrets whose parents' are erased and whose children's are not yet derived."""

    leaf_count: int
    nodes: Mapping[int, bytes] = field(repr=False)
    ratchets: Mapping[int, tuple[Ratchet, Ratchet]] = field(default_factory=dict, repr=False)
    """Leaf index → (handshake, application)."""

    @classmethod
    def of(cls, leaf_count: int, encryption_secret: bytes) -> SecretTree:
        return cls(leaf_count, {tree_math.root(leaf_count): encryption_secret})

    @classmethod
    def parse(cls, reader: Reader) -> SecretTree:
        leaf_count = reader.uint(4)
        nodes = reader.list_of(lambda inner: (inner.uint(4), inner.vector()))
        ratchets = reader.list_of(lambda inner: (inner.uint(4), (Ratchet.parse(inner), Ratchet.parse(inner))))
        return cls(leaf_count, dict(nodes), dict(ratchets))

    def encode(self) -> bytes:
        nodes = b"".join(uint(index, 4) + vector(secret) for index, secret in self.nodes.items())
        ratchets = b"".join(uint(leaf, 4) + pair[0].encode() + pair[1].encode() for leaf, pair in self.ratchets.items())
        return uint(self.leaf_count, 4) + vector(nodes) + vector(ratchets)

    def next_generation(self, leaf: int, kind: int) -> int:
        """The generation that a sender's next message has."""
        return self.ratchets[leaf][kind].generation if leaf in self.ratchets else 0

    def take(self, suite: CipherSuite, leaf: int, kind: int, generation: int) -> tuple[MessageKey, SecretTree]:
        """The key of one message, and the tree without it. Raises `UnknownSender`, `KeyAlreadyUsed`, `TooFarAhead`."""
        if not 0 <= leaf < self.leaf_count:
            raise UnknownSender(f"leaf {leaf} is outside the tree")
        tree = self if leaf in self.ratchets else self._with_ratchets(suite, leaf)
        pair = tree.ratchets[leaf]
        key, moved = pair[kind].take(suite, generation)
        ratchets = {**tree.ratchets, leaf: (moved, pair[1]) if kind == HANDSHAKE else (pair[0], moved)}
        return key, SecretTree(tree.leaf_count, tree.nodes, ratchets)

    def _with_ratchets(self, suite: CipherSuite, leaf: int) -> SecretTree:
        path = [2 * leaf, *tree_math.direct_path(2 * leaf, self.leaf_count)]
        start = next(at for at, node in enumerate(path) if node in self.nodes)
        nodes = dict(self.nodes)
        for node in reversed(path[1 : start + 1]):
            secret = nodes.pop(node)
            nodes[tree_math.left(node)] = suite.expand_with_label(secret, "tree", b"left", suite.hash_bytes)
            nodes[tree_math.right(node)] = suite.expand_with_label(secret, "tree", b"right", suite.hash_bytes)
        secret = nodes.pop(2 * leaf)
        first = Ratchet(suite.expand_with_label(secret, "handshake", b"", suite.hash_bytes))
        second = Ratchet(suite.expand_with_label(secret, "application", b"", suite.hash_bytes))
        return SecretTree(self.leaf_count, nodes, {**self.ratchets, leaf: (first, second)})
