"""All that a device knows of a group, as one value that is stored before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from tramontana.keys.mls.codec import Reader, optional, parse_whole, uint, vector, vector_of
from tramontana.keys.mls.errors import FramingError
from tramontana.keys.mls.key_schedule import EpochSecrets
from tramontana.keys.mls.messages import GroupContext, Proposal, ReInit, Sender, parse_proposal
from tramontana.keys.mls.nodes import Credential
from tramontana.keys.mls.ratchet_tree import RatchetTree, encode_stored_tree, parse_stored_tree
from tramontana.keys.mls.secret_tree import SecretTree
from tramontana.keys.mls.suites import SUITES, CipherSuite

STATE_VERSION = 1


class Status(IntEnum):
    ACTIVE = 0
    REMOVED = 1
    REINITIALISED = 2


@dataclass(frozen=True)
class Member:
    leaf_index: int
    signature_key: bytes
    credential: Credential

    @classmethod
    def parse(cls, reader: Reader) -> Member:
        return cls(reader.uint(4), reader.vector(), Credential.parse(reader))

    def encode(self) -> bytes:
        return uint(self.leaf_index, 4) + vector(self.signature_key) + self.credential.encode()


@dataclass(frozen=True)
class PastEpoch:
    """What opens application messages that were sealed before the last commits."""

    context: GroupContext
    sender_data: bytes = field(repr=False)
    secret_tree: SecretTree = field(repr=False)
    members: Mapping[int, Member] = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> PastEpoch:
        context, sender_data, secret_tree = GroupContext.parse(reader), reader.vector(), SecretTree.parse(reader)
        return cls(context, sender_data, secret_tree, {member.leaf_index: member for member in reader.list_of(Member.parse)})

    def encode(self) -> bytes:
        return self.context.encode() + vector(self.sender_data) + self.secret_tree.encode() + vector_of(self.members.values())


@dataclass(frozen=True)
class Outstanding:
    """A commit of one's own that awaits the server's word, with the state that follows it."""

    epoch: int
    commit: bytes
    welcome: bytes | None
    tree: bytes | None
    """The ratchet tree for the new members, where it does not stand in the Welcome."""
    next: State = field(repr=False)

    @classmethod
    def parse(cls, reader: Reader) -> Outstanding:
        head = reader.uint(8), reader.vector(), reader.optional(Reader.vector), reader.optional(Reader.vector)
        return cls(*head, State.parse(reader))

    def encode(self) -> bytes:
        extras = [optional(None if part is None else vector(part)) for part in (self.welcome, self.tree)]
        return uint(self.epoch, 8) + vector(self.commit) + b"".join(extras) + self.next.encode()


@dataclass(frozen=True)
class State:
    """One moment of a group. Never changed, only replaced."""

    suite: CipherSuite
    context: GroupContext
    tree: RatchetTree = field(repr=False)
    own_leaf: int
    private_keys: Mapping[int, bytes] = field(repr=False)
    secrets: EpochSecrets = field(repr=False)
    secret_tree: SecretTree = field(repr=False)
    interim_transcript_hash: bytes
    confirmation_tag: bytes
    past: tuple[PastEpoch, ...] = ()
    """Oldest first."""
    resumption: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    """Epoch → resumption key."""
    proposals: Mapping[bytes, tuple[Proposal, Sender]] = field(default_factory=dict)
    """Proposals of this epoch by reference."""
    update_keys: Mapping[bytes, bytes] = field(default_factory=dict, repr=False)
    """Public → private encryption key of own update proposals."""
    outstanding: Outstanding | None = None
    status: Status = Status.ACTIVE
    reinit: ReInit | None = None

    @property
    def members(self) -> dict[int, Member]:
        return {index: Member(index, leaf.signature_key, leaf.credential) for index, leaf in self.tree.leaves()}

    @classmethod
    def parse(cls, reader: Reader) -> State:
        if (suite := SUITES.get(reader.uint(2))) is None:
            raise FramingError("the stored group is of an unknown cipher suite")
        return cls(
            suite,
            GroupContext.parse(reader),
            parse_stored_tree(suite, reader),
            reader.uint(4),
            dict(reader.list_of(lambda inner: (inner.uint(4), inner.vector()))),
            EpochSecrets.parse(reader),
            SecretTree.parse(reader),
            reader.vector(),
            reader.vector(),
            reader.list_of(PastEpoch.parse),
            dict(reader.list_of(lambda inner: (inner.uint(8), inner.vector()))),
            dict(reader.list_of(lambda inner: (inner.vector(), (parse_proposal(inner), Sender.parse(inner))))),
            dict(reader.list_of(lambda inner: (inner.vector(), inner.vector()))),
            reader.optional(Outstanding.parse),
            Status(reader.uint(1)),
            reader.optional(_parse_reinit),
        )

    def encode(self) -> bytes:
        parts = [
            uint(self.suite.number, 2),
            self.context.encode(),
            encode_stored_tree(self.tree),
            uint(self.own_leaf, 4),
            vector(b"".join(uint(node, 4) + vector(key) for node, key in self.private_keys.items())),
            self.secrets.encode(),
            self.secret_tree.encode(),
            vector(self.interim_transcript_hash),
            vector(self.confirmation_tag),
            vector_of(self.past),
            vector(b"".join(uint(epoch, 8) + vector(key) for epoch, key in self.resumption.items())),
            vector(b"".join(vector(ref) + proposal.encode() + sender.encode() for ref, (proposal, sender) in self.proposals.items())),
            vector(b"".join(vector(public) + vector(private) for public, private in self.update_keys.items())),
            optional(None if self.outstanding is None else self.outstanding.encode()),
            uint(self.status, 1),
            optional(None if self.reinit is None else self.reinit.encode()),
        ]
        return b"".join(parts)

    def serialise(self) -> bytes:
        """For storage that is sealed: private keys stand in it."""
        return uint(STATE_VERSION, 2) + self.encode()

    @classmethod
    def restore(cls, stored: bytes) -> State:
        """Raises `FramingError` if the bytes are not what `serialise` wrote."""

        def parse(reader: Reader) -> State:
            if (version := reader.uint(2)) != STATE_VERSION:
                raise FramingError(f"the stored group is of version {version}; this program reads version {STATE_VERSION}")
            return cls.parse(reader)

        return parse_whole(stored, parse)


def _parse_reinit(reader: Reader) -> ReInit:
    proposal = parse_proposal(reader)
    if not isinstance(proposal, ReInit):
        raise FramingError("the stored group's successor is damaged")
    return proposal
