"""What a group's steps hand out: data, proposals and commits that were verified, and the bytes of an own commit."""

from __future__ import annotations

from dataclasses import dataclass, field

from tramontana.keys.mls import key_schedule
from tramontana.keys.mls.messages import Proposal
from tramontana.keys.mls.state import Member, Status
from tramontana.keys.mls.suites import CipherSuite


@dataclass(frozen=True)
class Application:
    """Opened application data."""

    sender: Member
    plaintext: bytes = field(repr=False)
    authenticated_data: bytes
    epoch: int


@dataclass(frozen=True)
class Proposed:
    """A proposal that now waits for a commit. `sender` is None for somebody outside the group."""

    sender: Member | None
    proposal: Proposal
    reference: bytes


@dataclass(frozen=True)
class Committed:
    """An accepted commit. The group is in `epoch` now, unless `status` says that it ended for this device."""

    sender: Member
    epoch: int
    added: tuple[Member, ...]
    removed: tuple[Member, ...]
    status: Status


Received = Application | Proposed | Committed


@dataclass(frozen=True)
class CommitBytes:
    """What goes to the server: the commit for the members, the welcome (and the tree, if apart) for who was added."""

    epoch: int
    """In which the commit was made."""
    commit: bytes
    welcome: bytes | None
    tree: bytes | None


@dataclass(frozen=True)
class EpochKeys:
    """What one epoch exports, for as long as a call that began in it."""

    epoch: int
    own_leaf: int
    members: tuple[Member, ...]
    _suite: CipherSuite = field(repr=False)
    _exporter: bytes = field(repr=False)

    def export(self, label: str, context: bytes, length: int) -> bytes:
        """MLS-Exporter (RFC 9420 §8.5)."""
        return key_schedule.export(self._suite, self._exporter, label, context, length)
