"""What is said on a link to a TAK server: what others shall see there, told anew before it goes stale and taken back when it is over.

A core without sockets and clocks. What shall be seen is a desired state, not a queue: a link that was away for an hour tells what holds
now, and takes back what it had told before. A link that receives only never has an octet to send.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tramontana.cell.cot import PONG_TYPE, UID_PREFIX, BadCot, Event, EventStream, encode, ended, parse, ping

LIVES_S = 600.0
"""How long what we tell holds at most, unless it is told again: longer than a link is usually away, and it vanishes soon after us."""
AGAIN_S = 240.0
PING_AFTER_S = 30.0
SILENT_AFTER_S = 75.0
"""A server that answered pings and then says nothing for so long is gone."""


@dataclass(frozen=True, slots=True)
class _Told:
    event: Event
    at: float


class TakSession:
    """One TAK server, over all connections to it. `now` is POSIX seconds."""

    def __init__(self, name: str, *, receive_only: bool = False) -> None:
        self.receive_only = receive_only
        self.refused = 0
        """Events that could not be used."""
        self._uid = f"{UID_PREFIX}{name}"
        self._wanted: dict[str, Event] = {}
        self._told: dict[str, _Told] = {}
        self._stream: EventStream | None = None
        self._out = bytearray()
        self._heard_at = self._said_at = 0.0
        self._answers_pings = False

    @property
    def is_connected(self) -> bool:
        return self._stream is not None

    def desire(self, events: Mapping[str, Event], now: float) -> None:
        """What others shall see, by uid; `stale` is when it is over in any case. What is new or changed is to be sent at once."""
        self._wanted = {} if self.receive_only else dict(events)
        if self.is_connected:
            self._tell(now)

    def connected(self, now: float) -> None:
        """A connection is there: whoever is at the other end knows nothing yet."""
        self._stream = EventStream()
        self._out.clear()
        self._heard_at = self._said_at = now
        self._answers_pings = False
        for uid, told in self._told.items():
            self._told[uid] = replace(told, at=-AGAIN_S)
        self._tell(now)

    def disconnected(self) -> None:
        self._stream = None
        self._out.clear()

    def receive(self, octets: bytes, now: float) -> list[Event]:
        """Events of others. Raises `BadStream`: the connection is to be closed."""
        assert self._stream is not None
        self._heard_at = now
        found = []
        for whole in self._stream.receive(octets):
            try:
                event = parse(whole)
            except BadCot:
                self.refused += 1
                continue
            if event.kind == PONG_TYPE:
                self._answers_pings = True
            elif not event.uid.startswith(UID_PREFIX):
                found.append(event)
        return found

    def octets_to_send(self) -> bytes:
        """What goes out now; never anything on a link that receives only."""
        octets = bytes(self._out)
        self._out.clear()
        return octets

    def next_timer(self) -> float | None:
        """When `handle_timer` is due; None where nothing is ever sent, or nobody is there."""
        if not self.is_connected or self.receive_only:
            return None
        return min([self._said_at + PING_AFTER_S, *(told.at + AGAIN_S for told in self._told.values())])

    def handle_timer(self, now: float) -> None:
        """Tell again what would go stale, and ask whether the server is there."""
        if self.is_connected and not self.receive_only:
            self._tell(now)
            if now >= self._said_at + PING_AFTER_S:
                self._send(ping(self._uid, now), now)

    def is_silent(self, now: float) -> bool:
        return self._answers_pings and now - self._heard_at >= SILENT_AFTER_S

    def _tell(self, now: float) -> None:
        live = {uid: event for uid, event in self._wanted.items() if event.stale > now}
        for uid, event in live.items():
            told = self._told.get(uid)
            if told is None or told.event != event or now >= told.at + AGAIN_S:
                self._told[uid] = _Told(event, now)
                self._send(replace(event, at=now, stale=min(event.stale, now + LIVES_S)), now)
        for uid in [uid for uid in self._told if uid not in live]:
            self._send(ended(self._told.pop(uid).event, now), now)

    def _send(self, event: Event, now: float) -> None:
        if not self.receive_only:
            self._said_at = now
            self._out += encode(event)
