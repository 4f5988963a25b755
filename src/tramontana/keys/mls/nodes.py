"""What stands in a ratchet tree and in key packages (RFC 9420 §5.3, §7.1, §7.2, §10, §13)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

from tramontana.keys.mls.codec import Reader, optional, parse_whole, uint, vector, vector_of, vector_of_uints
from tramontana.keys.mls.errors import FramingError
from tramontana.keys.mls.framing import BASIC_CREDENTIAL, MLS10
from tramontana.keys.mls.suites import CipherSuite, Signer

X509_CREDENTIAL = 2

RATCHET_TREE = 2  # RFC 9420 §17.3, extension types
REQUIRED_CAPABILITIES = 3
EXTERNAL_PUB = 4
EXTERNAL_SENDERS = 5
DEFAULT_EXTENSIONS = frozenset({1, RATCHET_TREE, REQUIRED_CAPABILITIES, EXTERNAL_PUB, EXTERNAL_SENDERS})
DEFAULT_PROPOSALS = frozenset(range(1, 8))  # RFC 9420 §17.4

SOURCE_KEY_PACKAGE = 1  # RFC 9420 §7.2, LeafNodeSource
SOURCE_UPDATE = 2
SOURCE_COMMIT = 3


@dataclass(frozen=True)
class Extension:
    """RFC 9420 §13."""

    type: int
    data: bytes

    def encode(self) -> bytes:
        return uint(self.type, 2) + vector(self.data)


Extensions = tuple[Extension, ...]


def parse_extensions(reader: Reader) -> Extensions:
    """A list of extensions, each type once at most (RFC 9420 §13)."""
    found = reader.list_of(lambda inner: Extension(inner.uint(2), inner.vector()))
    if len({extension.type for extension in found}) != len(found):
        raise FramingError("an extension stands twice in one list")
    return found


def find_extension(extensions: Extensions, type_: int) -> bytes | None:
    return next((extension.data for extension in extensions if extension.type == type_), None)


@dataclass(frozen=True)
class Credential:
    """RFC 9420 §5.3. `content` is the identity of a basic credential, or the encoded chain of an X.509 one."""

    type: int
    content: bytes

    @classmethod
    def basic(cls, identity: bytes) -> Credential:
        return cls(BASIC_CREDENTIAL, identity)

    @classmethod
    def parse(cls, reader: Reader) -> Credential:
        credential = cls(reader.uint(2), reader.vector())
        if credential.type == X509_CREDENTIAL:
            chain = Reader(credential.content)
            while not chain.at_end:
                chain.vector()
        elif credential.type != BASIC_CREDENTIAL:
            raise FramingError(f"credential type {credential.type} is neither basic (1) nor x509 (2)")
        return credential

    def encode(self) -> bytes:
        return uint(self.type, 2) + vector(self.content)


@dataclass(frozen=True)
class Capabilities:
    """RFC 9420 §7.2."""

    versions: tuple[int, ...] = (MLS10,)
    cipher_suites: tuple[int, ...] = ()
    extensions: tuple[int, ...] = ()
    proposals: tuple[int, ...] = ()
    credentials: tuple[int, ...] = (BASIC_CREDENTIAL,)

    @classmethod
    def parse(cls, reader: Reader) -> Capabilities:
        return cls(reader.uints(2), reader.uints(2), reader.uints(2), reader.uints(2), reader.uints(2))

    def encode(self) -> bytes:
        lists = (self.versions, self.cipher_suites, self.extensions, self.proposals, self.credentials)
        return b"".join(vector_of_uints(values, 2) for values in lists)

    def supports_extensions(self, types: Iterable[int]) -> bool:
        return all(type_ in DEFAULT_EXTENSIONS or type_ in self.extensions for type_ in types)

    def satisfies(self, required: RequiredCapabilities) -> bool:
        return (
            self.supports_extensions(required.extensions)
            and all(type_ in DEFAULT_PROPOSALS or type_ in self.proposals for type_ in required.proposals)
            and all(type_ in self.credentials for type_ in required.credentials)
        )


@dataclass(frozen=True)
class RequiredCapabilities:
    """RFC 9420 §11.1."""

    extensions: tuple[int, ...] = ()
    proposals: tuple[int, ...] = ()
    credentials: tuple[int, ...] = ()

    @classmethod
    def of(cls, extensions: Extensions) -> RequiredCapabilities:
        """What a GroupContext requires; nothing where it has no such extension."""
        data = find_extension(extensions, REQUIRED_CAPABILITIES)
        if data is None:
            return cls()
        return parse_whole(data, lambda reader: cls(reader.uints(2), reader.uints(2), reader.uints(2)))

    def encode(self) -> bytes:
        return b"".join(vector_of_uints(values, 2) for values in (self.extensions, self.proposals, self.credentials))


@dataclass(frozen=True)
class ExternalSender:
    """Somebody outside the group who may propose (RFC 9420 §12.1.8.1)."""

    signature_key: bytes
    credential: Credential

    @classmethod
    def all_of(cls, extensions: Extensions) -> tuple[ExternalSender, ...]:
        data = find_extension(extensions, EXTERNAL_SENDERS)
        if data is None:
            return ()
        return parse_whole(data, lambda reader: reader.list_of(lambda inner: cls(inner.vector(), Credential.parse(inner))))

    def encode(self) -> bytes:
        return vector(self.signature_key) + self.credential.encode()


@dataclass(frozen=True)
class Lifetime:
    """RFC 9420 §7.2, POSIX seconds."""

    not_before: int
    not_after: int

    def includes(self, now_unix_s: float) -> bool:
        return self.not_before <= now_unix_s <= self.not_after


@dataclass(frozen=True)
class LeafNode:
    """RFC 9420 §7.2. Not verified by being one: `validation.check_leaf` does that."""

    encryption_key: bytes
    signature_key: bytes
    credential: Credential
    capabilities: Capabilities
    source: int
    lifetime: Lifetime | None = None
    """Of a leaf from a key package."""
    parent_hash: bytes | None = None
    """Of a leaf from a commit."""
    extensions: Extensions = ()
    signature: bytes = b""

    @classmethod
    def parse(cls, reader: Reader) -> LeafNode:
        encryption_key, signature_key = reader.vector(), reader.vector()
        credential, capabilities = Credential.parse(reader), Capabilities.parse(reader)
        lifetime, parent_hash = None, None
        if (source := reader.uint(1)) == SOURCE_KEY_PACKAGE:
            lifetime = Lifetime(reader.uint(8), reader.uint(8))
        elif source == SOURCE_COMMIT:
            parent_hash = reader.vector()
        elif source != SOURCE_UPDATE:
            raise FramingError(f"unknown leaf node source {source}")
        extensions, signature = parse_extensions(reader), reader.vector()
        return cls(encryption_key, signature_key, credential, capabilities, source, lifetime, parent_hash, extensions, signature)

    @cached_property
    def _core(self) -> bytes:
        parts = [vector(self.encryption_key), vector(self.signature_key), self.credential.encode(), self.capabilities.encode()]
        parts.append(uint(self.source, 1))
        if self.lifetime is not None:
            parts += [uint(self.lifetime.not_before, 8), uint(self.lifetime.not_after, 8)]
        if self.parent_hash is not None:
            parts.append(vector(self.parent_hash))
        return b"".join([*parts, vector_of(self.extensions)])

    @cached_property
    def _encoded(self) -> bytes:
        return self._core + vector(self.signature)

    def encode(self) -> bytes:
        return self._encoded

    def _to_be_signed(self, group_id: bytes, leaf_index: int) -> bytes:
        place = b"" if self.source == SOURCE_KEY_PACKAGE else vector(group_id) + uint(leaf_index, 4)
        return self._core + place

    def sign(self, suite: CipherSuite, signer: Signer, group_id: bytes = b"", leaf_index: int = 0) -> LeafNode:
        return replace(self, signature=suite.sign_with_label(signer, "LeafNodeTBS", self._to_be_signed(group_id, leaf_index)))

    def verify_signature(self, suite: CipherSuite, group_id: bytes, leaf_index: int) -> None:
        """Raises `SignatureInvalid`."""
        suite.verify_with_label(self.signature_key, "LeafNodeTBS", self._to_be_signed(group_id, leaf_index), self.signature)


@dataclass(frozen=True)
class ParentNode:
    """RFC 9420 §7.1."""

    encryption_key: bytes
    parent_hash: bytes = b""
    unmerged_leaves: tuple[int, ...] = ()

    @classmethod
    def parse(cls, reader: Reader) -> ParentNode:
        node = cls(reader.vector(), reader.vector(), reader.uints(4))
        if any(a >= b for a, b in zip(node.unmerged_leaves, node.unmerged_leaves[1:], strict=False)):
            raise FramingError("unmerged leaves are not in ascending order")
        return node

    def encode(self) -> bytes:
        return vector(self.encryption_key) + vector(self.parent_hash) + vector_of_uints(self.unmerged_leaves, 4)


@dataclass(frozen=True)
class KeyPackage:
    """RFC 9420 §10. Not verified by being one: `validation.check_key_package` does that."""

    cipher_suite: int
    init_key: bytes
    leaf_node: LeafNode
    extensions: Extensions = ()
    signature: bytes = b""
    version: int = field(default=MLS10)

    @classmethod
    def parse(cls, reader: Reader) -> KeyPackage:
        version, cipher_suite = reader.uint(2), reader.uint(2)
        return cls(cipher_suite, reader.vector(), LeafNode.parse(reader), parse_extensions(reader), reader.vector(), version)

    @cached_property
    def _core(self) -> bytes:
        head = uint(self.version, 2) + uint(self.cipher_suite, 2) + vector(self.init_key)
        return head + self.leaf_node.encode() + vector_of(self.extensions)

    def encode(self) -> bytes:
        return self._core + vector(self.signature)

    def sign(self, suite: CipherSuite, signer: Signer) -> KeyPackage:
        return replace(self, signature=suite.sign_with_label(signer, "KeyPackageTBS", self._core))

    def verify_signature(self, suite: CipherSuite) -> None:
        """Raises `SignatureInvalid`."""
        suite.verify_with_label(self.leaf_node.signature_key, "KeyPackageTBS", self._core, self.signature)

    def reference(self, suite: CipherSuite) -> bytes:
        return suite.ref_hash("KeyPackage Reference", self.encode())


Node = LeafNode | ParentNode


def parse_node(reader: Reader) -> Node:
    """RFC 9420 §12.4.3.3."""
    if (kind := reader.uint(1)) == 1:
        return LeafNode.parse(reader)
    if kind == 2:
        return ParentNode.parse(reader)
    raise FramingError(f"unknown node type {kind}")


def encode_node(node: Node | None) -> bytes:
    if node is None:
        return optional(None)
    return optional((b"\x01" if isinstance(node, LeafNode) else b"\x02") + node.encode())
