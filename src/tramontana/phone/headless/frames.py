"""Voice in and out of SFrame, as the browser's worker does it: redundancy inside, sealed as a whole. No key, no frame."""

from __future__ import annotations

from dataclasses import dataclass, field

from tramontana.keys.mls.outcomes import EpochKeys
from tramontana.keys.sframe import FrameRefused, OpeningKey, SealingKey, mls_kid
from tramontana.phone.headless.red import MAX_BLOCK_BYTES, Block, MalformedRed, encode_red, parse_red

BASE_KEY_LABEL = "SFrame 1.0 Base Key"  # RFC 9605 §5.2
BASE_KEY_BYTES = 32
TICKS_PER_SECOND = 48_000  # RTP clock of Opus, RFC 7587 §4.1
FRAME_TICKS = 960
FRAME_S = FRAME_TICKS / TICKS_PER_SECOND
COPY_AGE_FRAMES = 4
"""One copy of each frame, 80 ms later: over clustered losses, as web/src/phone/engine/redundancy.ts chooses it (docs/media.md)."""


@dataclass(frozen=True, slots=True)
class PayloadTypes:
    """As negotiated; `red` is None where the other phone has none, and it may be there without being what is sent."""

    opus: int
    red: int | None = None
    sends_red: bool = False


@dataclass
class FrameCounts:
    sealed: int = 0
    opened: int = 0
    refused: int = 0


@dataclass
class FrameGate:
    """One call's frames."""

    types: PayloadTypes
    counts: FrameCounts = field(default_factory=FrameCounts)
    _sealing: SealingKey | None = None
    _opening: OpeningKey | None = None
    _sent: list[bytes] = field(default_factory=list, repr=False)

    def use_keys(self, keys: EpochKeys, call_id: str, peer_leaf: int) -> None:
        """Once a call: a second pair of keys would restart the counter under a key that is in use."""
        if self._sealing is not None:
            raise ValueError("the keys of this call are set already")
        base_key = keys.export(BASE_KEY_LABEL, bytes.fromhex(call_id), BASE_KEY_BYTES)
        self._sealing = SealingKey(mls_kid(keys.own_leaf, keys.epoch), base_key)
        self._opening = OpeningKey(mls_kid(peer_leaf, keys.epoch), base_key)

    @property
    def has_keys(self) -> bool:
        return self._sealing is not None

    def seal(self, opus: bytes) -> bytes | None:
        """The payload of the next packet, frames of 20 ms one after the other; None without a key."""
        if self._sealing is None:
            return None
        payload = opus
        if self.types.sends_red:
            blocks = [Block(self.types.opus, 0, opus)]
            if len(self._sent) == COPY_AGE_FRAMES and len(self._sent[0]) <= MAX_BLOCK_BYTES:
                blocks.insert(0, Block(self.types.opus, COPY_AGE_FRAMES * FRAME_TICKS, self._sent[0]))
            payload = encode_red(blocks)
            self._sent = [*self._sent, opus][-COPY_AGE_FRAMES:]
        self.counts.sealed += 1
        return self._sealing.seal(payload)

    def open(self, payload: bytes, payload_type: int, timestamp: int) -> list[tuple[int, bytes]]:
        """(RTP timestamp, Opus frame) of all that a packet holds; nothing where it does not authenticate."""
        if not payload:
            return []  # a probe of the congestion control
        try:
            if self._opening is None:
                raise FrameRefused("no key for it")
            opened = self._opening.open(payload)
            self.counts.opened += 1
            if payload_type != self.types.red:
                return [(timestamp, opened)]
            return [((timestamp - block.offset) % (1 << 32), block.data) for block in parse_red(opened) if block.data]
        except (FrameRefused, MalformedRed):
            self.counts.refused += 1
            return []
