"""What a listener of a conference or talk group opens: one key a sender, new ones with every epoch of the conversation.

The rules are those of the browser's gate (web/src/phone/engine/conferenceframes.ts). No key of the present epoch, or of the one before
for a moment, no frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tramontana.keys.mls.outcomes import EpochKeys
from tramontana.keys.sframe import EPOCH_BITS, FrameRefused, OpeningKey, parse_header, parse_mls_kid
from tramontana.phone.headless.frames import BASE_KEY_BYTES, BASE_KEY_LABEL
from tramontana.phone.headless.red import MalformedRed, parse_red

OLD_EPOCH_S = 5.0
"""How long frames of the epoch before are played: others' commits and frames are under way at the same time."""
MOST_KEYS = 2_048
"""Senders' keys in one epoch; to forget one would forget which frames of it were played."""
RINGS = 3


@dataclass(slots=True)
class Sender:
    """What came of one sender under one key: his frames are numbered, so what is missing shows, whoever lost it."""

    leaf: int
    first: int
    last: int
    opened: int = 0

    @property
    def lost(self) -> int:
        """Of those between the first and the last that came."""
        return self.last - self.first + 1 - self.opened


@dataclass
class _Ring:
    """One epoch. `until`: after this nothing of it is played; None for the present one."""

    epoch: int
    base_key: bytes = field(repr=False)
    leaves: frozenset[int]
    until: float | None = None
    keys: dict[int, OpeningKey] = field(default_factory=dict, repr=False)
    """By KID, those under which a frame was authenticated: nobody outside can make this grow."""


class ConferenceGate:
    """The frames of one call. Times in seconds, of any one clock."""

    def __init__(self, call_id: str) -> None:
        self._context = bytes.fromhex(call_id)
        self._rings: list[_Ring] = []
        self.senders: dict[int, Sender] = {}
        """By KID."""
        self.refused = 0

    @property
    def epoch(self) -> int | None:
        """Whose keys are the present ones."""
        return self._rings[0].epoch if self._rings else None

    def use_keys(self, keys: EpochKeys, now: float) -> None:
        """The conversation has moved. An epoch that is not newer than the present one changes nothing."""
        if self._rings and keys.epoch <= self._rings[0].epoch:
            return
        leaves = frozenset(member.leaf_index for member in keys.members) - {keys.own_leaf}
        for ring in self._rings:
            ring.until = now + OLD_EPOCH_S if ring.until is None else ring.until
            ring.leaves &= leaves  # who has left is not heard any more
        base_key = keys.export(BASE_KEY_LABEL, self._context, BASE_KEY_BYTES)
        self._rings = [_Ring(keys.epoch, base_key, leaves), *self._rings][:RINGS]

    def open(self, payload: bytes, red: int, payload_type: int, timestamp: int, now: float) -> list[tuple[int, bytes]]:
        """(RTP timestamp, Opus frame) of all that a packet holds; nothing where it does not authenticate. `red`: payload type of RED."""
        if not payload:
            return []  # a probe of the congestion control
        try:
            kid, counter, _ = parse_header(payload)
            ring = self._ring_of(kid, now)
            key = ring.keys.get(kid)
            if key is None and len(ring.keys) >= MOST_KEYS:
                raise FrameRefused("too many senders in one epoch")
            key = OpeningKey(kid, ring.base_key) if key is None else key
            opened = key.open(payload)
            ring.keys[kid] = key
            self._count(kid, counter)
            if payload_type != red:
                return [(timestamp, opened)]
            return [((timestamp - block.offset) % (1 << 32), block.data) for block in parse_red(opened) if block.data]
        except (FrameRefused, MalformedRed):
            self.refused += 1
            return []

    def _ring_of(self, kid: int, now: float) -> _Ring:
        leaf, epoch_bits = parse_mls_kid(kid)
        for ring in self._rings:
            if ring.epoch % (1 << EPOCH_BITS) == epoch_bits and (ring.until is None or now < ring.until):
                if leaf not in ring.leaves:
                    break
                return ring
        raise FrameRefused("no key for it")

    def _count(self, kid: int, counter: int) -> None:
        sender = self.senders.setdefault(kid, Sender(parse_mls_kid(kid)[0], counter, counter))
        sender.first, sender.last = min(sender.first, counter), max(sender.last, counter)
        sender.opened += 1
