"""The same link written for the eye: no cache, no index, every packet looks at the whole profile and at every packet before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tramontana.emulation.link import HEADER_BYTES, Direction, Fate, OutageMode, loss_draw
from tramontana.path_profile import PathProfile


@dataclass
class ReferenceLink:
    """What `Link` must do. `fates` and `releases` grow by one entry a packet."""

    profile: PathProfile
    direction: Direction
    seed: int
    outage_mode: OutageMode
    queue_limit_bytes: int
    fates: list[Fate] = field(default_factory=list)
    releases: list[float | None] = field(default_factory=list)
    sent: list[tuple[float, int]] = field(default_factory=list)
    """(departure, octets) of every packet that took the radio's time."""

    def handle_packet(self, payload_bytes: int, now: float) -> Fate:
        fate, release = self._judge(len(self.fates), payload_bytes + HEADER_BYTES, now)
        self.fates.append(fate)
        self.releases.append(release)
        return fate

    def _judge(self, number: int, size: int, now: float) -> tuple[Fate, float | None]:
        if loss_draw(self.seed, self.direction, number) < self._sample(now, self.profile.loss):
            return Fate.LOST, None
        if sum(octets for departure, octets in self.sent if departure > now) + size > self.queue_limit_bytes:
            return Fate.QUEUE_FULL, None
        start = max([now, *(departure for departure, _ in self.sent)])
        if not self._is_open(start) and self.outage_mode is OutageMode.HOLD:
            later = sorted(t for t in self._instants() if t > start)
            start = next((t for t in later if self._is_open(t)), start)
        rate = self._rate(start)
        if not self._is_open(start):
            if rate > 0 and self.outage_mode is OutageMode.DROP:
                self.sent.append((start + size * 8.0 / rate, size))
            return Fate.LOST_IN_OUTAGE, None
        departure = start + size * 8.0 / rate
        self.sent.append((departure, size))
        delay, slope, sample_at = self._delay_line(start)
        release = departure + delay + slope * (start - sample_at)
        return Fate.FORWARDED, max([release, *(r for r in self.releases if r is not None)])

    def _index(self, at: float) -> int:
        return max([0, *(i for i, t in enumerate(self.profile.time_unix_s) if t <= at)])

    def _sample(self, at: float, values: object) -> float:
        return float(values[self._index(at)])  # type: ignore[index]

    def _rate(self, at: float) -> float:
        return self._sample(at, self.profile.capacity_up_bps if self.direction is Direction.UP else self.profile.capacity_down_bps)

    def _is_open(self, at: float) -> bool:
        windows = zip(self.profile.outage_start_unix_s, self.profile.outage_end_unix_s, strict=True)
        if any(start <= at < end for start, end in windows):
            return False
        return math.isfinite(self._sample(at, self.profile.one_way_delay_s)) and self._rate(at) > 0

    def _delay_line(self, at: float) -> tuple[float, float, float]:
        """(delay at the sample, seconds per second, instant of the sample)."""
        p, i = self.profile, self._index(at)
        t, delay = float(p.time_unix_s[i]), float(p.one_way_delay_s[i])
        if at < t or i + 1 == len(p.time_unix_s) or p.serving[i] != p.serving[i + 1] or not math.isfinite(p.one_way_delay_s[i + 1]):
            return delay, 0.0, t
        return delay, (float(p.one_way_delay_s[i + 1]) - delay) / (float(p.time_unix_s[i + 1]) - t), t

    def _instants(self) -> list[float]:
        p = self.profile
        return [float(t) for array in (p.time_unix_s, p.outage_start_unix_s, p.outage_end_unix_s) for t in array]
