"""One direction of an emulated path: which packets survive, and when each comes out.

Sans-I/O and seeded. The fate of the n-th packet follows from seed, profile and arrival times alone, so a run can be repeated.
`now` is POSIX seconds, as in the profile; the driver derives it from a clock that never jumps.

For each packet, in this order:

1. It is lost with the profile's loss probability. The draw is a hash of seed and packet number, so timing cannot change it.
2. It waits until the link is free: ``start = max(now, end of the packet before)``. A backlog above the queue's limit drops it.
3. In an outage at `start` it is lost, or (`OutageMode.HOLD`) waits for the outage's end; without an end it is lost as well.
4. It is sent, ``departure = start + length / capacity(start)``, and comes out at ``departure + delay(start)``, though never
   before the packet that came before it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import deque
from dataclasses import asdict, dataclass
from enum import Enum
from math import inf, isfinite
from typing import Final, Generic, TypeVar

from tramontana.path_profile import PathProfile

HEADER_BYTES: Final = 28
"""IPv4 and UDP headers, which take capacity as well (RFC 791 §3.1, RFC 768)."""
QUEUE_LIMIT_BYTES: Final = 512 * 1024
"""Assumption: how much waits in front of the radio before packets are dropped; 420 ms at 10 Mbit/s. Sensible range 64 KiB to 4 MiB."""
IN_FLIGHT_LIMIT_BYTES: Final = 32 << 20
"""What one direction may hold in all (waiting or under way), whatever the profile says: the bound on memory."""
_SEED_LIMIT: Final = 1 << 64

Item = TypeVar("Item")


class Direction(Enum):
    """Seen from the phone, or from the site."""

    UP = "up"
    DOWN = "down"


class OutageMode(Enum):
    """What happens to packets that meet an outage."""

    DROP = "drop"
    HOLD = "hold"


class Fate(Enum):
    """What became of a packet on arrival."""

    FORWARDED = "forwarded"
    LOST = "lost"
    LOST_IN_OUTAGE = "lost_in_outage"
    QUEUE_FULL = "queue_full"


@dataclass(slots=True)
class LinkStats:
    """Packets and their octets (UDP payload, or whole IP packets on a wire) of one direction since it was made."""

    received: int = 0
    received_bytes: int = 0
    released: int = 0
    released_bytes: int = 0
    lost: int = 0
    lost_in_outage: int = 0
    queue_full: int = 0
    stale: int = 0
    """Packets that met a profile that had run out; its last state held."""

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def loss_draw(seed: int, direction: Direction, number: int) -> float:
    """The draw of one packet, uniform in [0, 1): BLAKE2b of direction and number, keyed with the seed (0 ≤ seed < 2⁶⁴)."""
    digest = _draws(seed, direction)
    digest.update(number.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little") / _SEED_LIMIT


def _draws(seed: int, direction: Direction) -> hashlib.blake2b:
    return hashlib.blake2b(direction.value.encode().ljust(8), digest_size=8, key=seed.to_bytes(8, "little"))


class Link(Generic[Item]):
    """One direction of a path. An item is whatever the driver wants back when the packet comes out.

    Raises `ValueError` for a seed outside 0 … 2⁶⁴-1.
    """

    def __init__(
        self,
        profile: PathProfile,
        direction: Direction,
        seed: int,
        *,
        outage_mode: OutageMode = OutageMode.DROP,
        queue_limit_bytes: int = QUEUE_LIMIT_BYTES,
        header_bytes: int = HEADER_BYTES,
    ) -> None:
        """header_bytes: what a packet is longer on the path than its payload; 0 for whole IP packets."""
        if not 0 <= seed < _SEED_LIMIT:
            raise ValueError("seed must lie between 0 and 2**64 - 1")
        self.stats = LinkStats()
        self._direction = direction
        self._draws = _draws(seed, direction)
        self._hold = outage_mode is OutageMode.HOLD
        self._queue_limit_bytes = queue_limit_bytes
        self._header_bytes = header_bytes
        self._last_departure = -inf
        self._waiting: deque[tuple[float, int]] = deque()
        """(departure, octets on the wire) of what is still in front of the radio."""
        self._waiting_bytes = 0
        self._under_way: deque[tuple[float, Item, int]] = deque()
        """(release, item, payload octets), first in, first out: a packet on a shorter path waits for the one before."""
        self._held_bytes = 0
        self.set_profile(profile)

    def set_profile(self, profile: PathProfile) -> None:
        """Play another profile from the next packet on; what is queued or under way keeps its release."""
        up = self._direction is Direction.UP
        self._times: list[float] = profile.time_unix_s.tolist()
        self._delays: list[float] = profile.one_way_delay_s.tolist()
        self._rates: list[float] = (profile.capacity_up_bps if up else profile.capacity_down_bps).tolist()
        self._losses: list[float] = profile.loss.tolist()
        self._serving: list[int] = profile.serving.tolist()
        self._outage_starts: list[float] = profile.outage_start_unix_s.tolist()
        self._outage_ends: list[float] = profile.outage_end_unix_s.tolist()
        self._piece_start, self._piece_end = inf, -inf  # no piece yet: the first packet looks it up

    def handle_packet(self, item: Item, payload_bytes: int, now: float) -> Fate:
        """Take one packet at an instant not before the last one."""
        stats = self.stats
        number = stats.received
        stats.received += 1
        stats.received_bytes += payload_bytes
        if now > self._times[-1]:
            stats.stale += 1
        if not self._piece_start <= now < self._piece_end:
            self._find_piece(now)
        if self._loss:
            digest = self._draws.copy()
            digest.update(number.to_bytes(8, "little"))
            if int.from_bytes(digest.digest(), "little") / _SEED_LIMIT < self._loss:
                stats.lost += 1
                return Fate.LOST
        waiting = self._waiting
        while waiting and waiting[0][0] <= now:
            self._waiting_bytes -= waiting.popleft()[1]
        size = payload_bytes + self._header_bytes
        if self._waiting_bytes + size > self._queue_limit_bytes or self._held_bytes + payload_bytes > IN_FLIGHT_LIMIT_BYTES:
            stats.queue_full += 1
            return Fate.QUEUE_FULL
        start = self._last_departure if self._last_departure > now else now
        if not self._piece_start <= start < self._piece_end:
            self._find_piece(start)
        if not self._open and self._hold:
            start = self._next_opening(start)
        if not self._open:
            if self._rate > 0.0 and not self._hold:  # the radio sends on, into the void: what waits behind is not spared
                self._depart(start + size * 8.0 / self._rate, size)
            stats.lost_in_outage += 1
            return Fate.LOST_IN_OUTAGE
        departure = start + size * 8.0 / self._rate
        self._depart(departure, size)
        release = departure + self._delay + self._slope * (start - self._sample_at)
        self._under_way.append((release, item, payload_bytes))
        self._held_bytes += payload_bytes
        return Fate.FORWARDED

    def next_release(self) -> float | None:
        """When the next packet comes out (it may be past), or None if none is under way."""
        return self._under_way[0][0] if self._under_way else None

    def release(self, now: float) -> list[Item]:
        """Take out what is due, in order of arrival."""
        under_way = self._under_way
        due: list[Item] = []
        while under_way and under_way[0][0] <= now:
            _, item, payload_bytes = under_way.popleft()
            self._held_bytes -= payload_bytes
            self.stats.released += 1
            self.stats.released_bytes += payload_bytes
            due.append(item)
        return due

    def _depart(self, departure: float, size: int) -> None:
        self._last_departure = departure
        self._waiting.append((departure, size))
        self._waiting_bytes += size

    def _next_opening(self, start: float) -> float:
        """The end of the outage at `start`, whose piece becomes the current one. For an outage without end the piece stays closed."""
        opening = start
        while not self._open:
            if self._piece_end == inf:
                return start
            opening = self._piece_end
            self._find_piece(opening)
        return opening

    def _find_piece(self, at: float) -> None:
        """Read the span around an instant in which the profile has one outage state and one linear delay."""
        times = self._times
        i = max(0, bisect_right(times, at) - 1)
        last = i + 1 == len(times)
        self._piece_start = times[i] if at >= times[i] else -inf
        self._piece_end = inf if last else times[i] if at < times[i] else times[i + 1]
        self._sample_at, self._delay, self._slope = times[i], self._delays[i], 0.0
        if not last and at >= times[i] and self._serving[i] == self._serving[i + 1] and isfinite(self._delays[i + 1]):
            self._slope = (self._delays[i + 1] - self._delay) / (times[i + 1] - times[i])
        self._rate, self._loss = self._rates[i], self._losses[i]
        self._open = isfinite(self._delay) and self._rate > 0.0
        window = bisect_right(self._outage_starts, at) - 1
        if window >= 0 and at < self._outage_ends[window]:
            self._open = False
            self._piece_start = max(self._piece_start, self._outage_starts[window])
            self._piece_end = min(self._piece_end, self._outage_ends[window])
            return
        if window >= 0:
            self._piece_start = max(self._piece_start, self._outage_ends[window])
        if window + 1 < len(self._outage_starts):
            self._piece_end = min(self._piece_end, self._outage_starts[window + 1])
