"""A trial of an uplink: what is written down while it is measured, and the probing core. Sans-I/O.

The record is a file of JSON lines that is only ever appended to: a trial that was interrupted, even by a power cut, goes on in it.

- ``{"run": …}`` once a run: what is measured, towards what target;
- ``{"at", "interval_s", "round_trips_ms": […, null], "loaded"}`` once a second: its probes, null for a lost one;
- ``{"at", "direction", "bytes", "seconds"}`` once a throughput test.

Times are POSIX seconds. The seconds that no run measured are nobody's: they count neither as up nor as down.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from tramontana.errors import LocalError

TIMEOUT_S: Final = 2.0
"""A probe that takes longer is lost: an interactive user has given up, and no path here is that long."""
MAC_BYTES: Final = 16
_MAGIC: Final = b"TRT1"
_PROBE: Final = struct.Struct("!4sBQ")
PROBE_BYTES: Final = _PROBE.size + MAC_BYTES
_ASK, _ECHO = 0, 1


class TrialError(LocalError):
    """A trial's record cannot be used; the message names the line. Give another directory, or move the damaged file away."""


class Way(StrEnum):
    """Of a throughput test, seen from the site."""

    DOWN = "down"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Target:
    """What the line was promised to be."""

    down_bps: float = 100e6
    up_bps: float = 20e6
    round_trip_s: float = 0.050
    availability: float = 0.999


@dataclass(frozen=True, slots=True)
class Run:
    """One run: from its start until the record has the next one or ends."""

    at_unix_s: float
    endpoint: str
    line: str
    """The interface or address measured, as the person named it."""
    place: str
    """Id of the place or ``LAT,LON``; empty: not told, and nothing is forecast."""
    carrier: str
    target: Target

    def encode(self) -> str:
        return json.dumps({"run": asdict(self)}, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Second:
    """The probes that were sent within one second; `interval_s` apart. None is a lost one."""

    at_unix_s: float
    interval_s: float
    round_trips_s: tuple[float | None, ...]
    loaded: bool
    """A throughput test ran: the line's queue was full with our own packets."""

    def encode(self) -> str:
        trips = [None if trip is None else round(trip * 1e3, 2) for trip in self.round_trips_s]
        document = {"at": self.at_unix_s, "interval_s": self.interval_s, "round_trips_ms": trips, "loaded": self.loaded}
        return json.dumps(document, separators=(",", ":")) + "\n"


@dataclass(frozen=True, slots=True)
class Throughput:
    """One test of one direction: what arrived, and in what time."""

    at_unix_s: float
    way: Way
    octets: int
    seconds: float

    @property
    def bps(self) -> float:
        return self.octets * 8 / self.seconds if self.seconds > 0 else 0.0

    def encode(self) -> str:
        document = {"at": self.at_unix_s, "direction": self.way.value, "bytes": self.octets, "seconds": self.seconds}
        return json.dumps(document, separators=(",", ":")) + "\n"


@dataclass(frozen=True, slots=True)
class Record:
    """All that was written down, each kind by time."""

    runs: tuple[Run, ...]
    seconds: tuple[Second, ...]
    throughputs: tuple[Throughput, ...]

    @property
    def tested_octets(self) -> int:
        """What the throughput tests have cost so far."""
        return sum(test.octets for test in self.throughputs)


def parse_record(lines: Iterable[str]) -> Record:
    """Read a record. A last line that was cut off by a crash is left out; raises `TrialError` for any other that is none."""
    runs: list[Run] = []
    seconds: list[Second] = []
    throughputs: list[Throughput] = []
    broken: str | None = None
    for number, line in enumerate(lines, start=1):
        if broken is not None:
            raise TrialError(broken)
        try:
            document: dict[str, Any] = json.loads(line)
            if "run" in document:
                run = dict(document["run"])
                runs.append(Run(**{**run, "target": Target(**run["target"])}))
            elif "direction" in document:
                at, octets, took = document["at"], document["bytes"], document["seconds"]
                throughputs.append(Throughput(float(at), Way(document["direction"]), int(octets), float(took)))
            else:
                trips = tuple(None if trip is None else float(trip) / 1e3 for trip in document["round_trips_ms"])
                seconds.append(Second(float(document["at"]), float(document["interval_s"]), trips, bool(document["loaded"])))
        except (ValueError, KeyError, TypeError) as error:
            broken = f"line {number} of the trial's record is damaged ({error!r}): move the file away, or cut it there"
    seconds.sort(key=lambda each: each.at_unix_s)
    return Record(tuple(runs), tuple(seconds), tuple(sorted(throughputs, key=lambda each: each.at_unix_s)))


class Probing:
    """Which probe goes when, and what came back. `now` is POSIX seconds from a clock that never goes back."""

    def __init__(self, interval_s: float, start: float) -> None:
        if not 0.001 <= interval_s <= 1.0:
            raise LocalError("probes go every 0.001 to 1 s")
        self._interval_s = interval_s
        self._next_at = start
        self._number = 0
        self._sent: dict[int, tuple[float, float | None]] = {}
        """Instant and round trip of the probes whose second is not settled yet, in order."""
        self._loaded: list[tuple[float, float]] = []

    @property
    def next_at(self) -> float:
        """When the next probe is due."""
        return self._next_at

    def send(self, now: float) -> int | None:
        """The number of the probe to send, or None if none is due. Probes that were missed while the machine slept are not made up for."""
        if now < self._next_at:
            return None
        self._next_at = max(self._next_at + self._interval_s, now)
        self._number += 1
        self._sent[self._number] = (now, None)
        return self._number

    def heard(self, number: int, now: float) -> None:
        """An echo came. One that is unknown, late or a second one is ignored."""
        sent = self._sent.get(number)
        if sent is not None and sent[1] is None and now - sent[0] <= TIMEOUT_S:
            self._sent[number] = (sent[0], now - sent[0])

    def loaded(self, start: float, end: float) -> None:
        """A throughput test ran in between."""
        self._loaded.append((start, end))

    def settled(self, now: float, *, everything: bool = False) -> list[Second]:
        """The seconds whose probes are decided; with `everything`, at the end, also the last ones without their open probes."""
        ready: list[Second] = []
        while self._sent:
            first = next(iter(self._sent.values()))[0]
            begin = float(int(first))
            mine = [(number, sent) for number, sent in self._sent.items() if sent[0] < begin + 1.0]
            is_over = begin + 1.0 + TIMEOUT_S < now
            if not is_over and not everything:
                break
            for number, _ in mine:
                del self._sent[number]
            trips = tuple(trip for _, (at, trip) in mine if trip is not None or now - at > TIMEOUT_S)
            if trips:
                loaded = any(start - 0.5 < begin + 1.0 and begin < end + 0.5 for start, end in self._loaded)
                ready.append(Second(begin, self._interval_s, trips, loaded))
        self._loaded = [span for span in self._loaded if span[1] > now - 10 * TIMEOUT_S]
        return ready


def encode_probe(secret: bytes, number: int, *, echo: bool = False) -> bytes:
    """A probe, or the echo of one: as long as each other, so that nothing is gained by asking in somebody else's name."""
    body = _PROBE.pack(_MAGIC, _ECHO if echo else _ASK, number)
    return body + hmac.new(secret, body, hashlib.sha256).digest()[:MAC_BYTES]


def parse_probe(secret: bytes, packet: bytes, *, echo: bool = False) -> int | None:
    """The number of an authentic probe (or echo), None for anything else."""
    if len(packet) != PROBE_BYTES:
        return None
    body, mac = packet[: _PROBE.size], packet[_PROBE.size :]
    if not hmac.compare_digest(mac, hmac.new(secret, body, hashlib.sha256).digest()[:MAC_BYTES]):
        return None
    magic, kind, number = _PROBE.unpack(body)
    return int(number) if magic == _MAGIC and kind == (_ECHO if echo else _ASK) else None
