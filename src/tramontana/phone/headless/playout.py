"""What a listener hears: frames in the order of their timestamps, each at its time, and a gap where none has come by then."""

from __future__ import annotations

from collections import deque

from tramontana.phone.headless.frames import FRAME_TICKS, TICKS_PER_SECOND

DELAY_S = 0.4
"""Behind the quickest packet. As long as the browser's phone waits at most (docs/media.md): over gaps of handovers copies come in time."""
WINDOW_S = 30.0
"""The quickest packet is looked for in so long a time: clocks of two machines drift apart."""
_WRAP = 1 << 32


class Playout:
    """Times are of any one clock, in seconds."""

    def __init__(self, delay_s: float = DELAY_S) -> None:
        self.delay_s = delay_s
        self._frames: dict[int, bytes] = {}
        self._next: int | None = None
        self._last: int | None = None
        self._transits: deque[tuple[float, float]] = deque()
        """(arrival, arrival less time of sending), rising from the least on: the first one counts."""

    def push(self, timestamp: int, frame: bytes, now: float) -> None:
        """A frame that has come, with its RTP timestamp of 32 bits. Late ones and repeats are left out."""
        at = self._unwrapped(timestamp)
        if self._next is None:
            self._next = at
        if at < self._next:
            return
        self._frames.setdefault(at, frame)
        transit = now - at / TICKS_PER_SECOND
        while self._transits and self._transits[-1][1] >= transit:
            self._transits.pop()
        self._transits.append((now, transit))
        while self._transits[0][0] < now - WINDOW_S:
            self._transits.popleft()

    def pull(self, now: float) -> list[bytes | None]:
        """What is to be played since the last time: frames of 20 ms, None for a gap of one."""
        played: list[bytes | None] = []
        while self._next is not None and self._transits and self._next / TICKS_PER_SECOND + self._transits[0][1] + self.delay_s <= now:
            here = next((at for at in range(self._next, self._next + FRAME_TICKS) if at in self._frames), None)
            played.append(None if here is None else self._frames.pop(here))
            self._next = (self._next if here is None else here) + FRAME_TICKS
        return played

    def _unwrapped(self, timestamp: int) -> int:
        if self._last is None:
            self._last = timestamp
            return timestamp
        step = (timestamp - self._last + _WRAP // 2) % _WRAP - _WRAP // 2
        if step > 0:
            self._last += step
            return self._last
        return self._last + step
