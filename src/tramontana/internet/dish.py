"""What a Starlink terminal says of itself. Firmware adds and removes fields unannounced: each may be missing, and it is said which are.

Sans-I/O: the answers come from `starlink_grpc` (package starlink-grpc-core) as plain dictionaries and rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_FIELDS = {
    # our name: (theirs, factor)
    "uptime_s": ("uptime", 1.0),
    "round_trip_s": ("pop_ping_latency_ms", 1e-3),
    "loss": ("pop_ping_drop_rate", 1.0),
    "down_bps": ("downlink_throughput_bps", 1.0),
    "up_bps": ("uplink_throughput_bps", 1.0),
    "obstructed_share": ("fraction_obstructed", 1.0),
    "boresight_azimuth_deg": ("direction_azimuth", 1.0),
    "boresight_elevation_deg": ("direction_elevation", 1.0),
}
PORT: Final = 9200
ASK_EVERY_S: Final = 1.0
LAPSE_S: Final = 5.0
"""What a terminal said counts for so long: one that answers no more says nothing."""
CONFIRMED_S: Final = 0.1
"""A probe that is sent after the terminal's word, and this much and a round trip later has no answer, bears it out."""
DOUBTFUL_ALERTS: Final = ("thermal_shutdown", "moving_while_not_mobile", "moving_too_fast_for_policy")
"""Those of today's firmware after which it stops soon. Heat that only slows it down is not among them: probes measure that."""
LONGEST_WORD: Final = 64
"""Characters of a state or a version: causes have the names that the terminal itself gives them."""
CLEAR_FROM = 0.5
"""Of the map's values, 0 to 1: an assumption, the operator does not publish what they mean."""


@dataclass(frozen=True, slots=True)
class ObstructionMap:
    """Directions over the terminal as it has seen them: `rows` of values, 0 blocked to 1 clear, None not seen yet."""

    rows: tuple[tuple[float | None, ...], ...]

    @property
    def seen_share(self) -> float:
        """Of all directions of the map, 0–1."""
        values = [value for row in self.rows for value in row]
        return sum(value is not None for value in values) / len(values) if values else 0.0

    @property
    def blocked_share(self) -> float | None:
        """Of the directions seen; None if none was."""
        seen = [value for row in self.rows for value in row if value is not None]
        return sum(value < CLEAR_FROM for value in seen) / len(seen) if seen else None


@dataclass(frozen=True, slots=True)
class DishOutage:
    """One outage of the terminal's own record."""

    cause: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DishState:
    """A terminal at one instant. None: the firmware did not say."""

    state: str | None
    """``CONNECTED``, else the cause of the outage in the operator's words."""
    hardware: str | None
    software: str | None
    uptime_s: float | None
    round_trip_s: float | None
    loss: float | None
    down_bps: float | None
    up_bps: float | None
    obstructed_share: float | None
    boresight_azimuth_deg: float | None
    boresight_elevation_deg: float | None
    is_obstructed: bool | None
    alerts: tuple[str, ...]
    """Those that are raised, in the operator's words."""
    outages: tuple[DishOutage, ...] | None
    obstruction_map: ObstructionMap | None

    @property
    def is_connected(self) -> bool:
        return self.state == "CONNECTED"

    @property
    def outage(self) -> str | None:
        """Why its link is out, in the operator's words; None if it is not, or the firmware did not say."""
        return None if self.state is None or self.is_connected else self.state

    @property
    def missing(self) -> tuple[str, ...]:
        """Fields that the firmware did not fill."""
        return tuple(name for name in self.__dataclass_fields__ if getattr(self, name) is None)


class DishWord:
    """What a terminal's word is worth for the choice of uplinks. It is asked once a second, so what it says may be over: an answered probe
    knows better. What firmware does not say, nobody concludes from.
    """

    def __init__(self) -> None:
        self.state: DishState | None = None
        """What it said last; None if it has not answered."""
        self.heard_at = -math.inf

    def handle(self, state: DishState | None, now: float) -> bool:
        """It answered, or (None) did not. True if it says that an outage is over: its tunnels are worth a look."""
        was_out = self._says_out(now)
        self.state, self.heard_at = state, now
        return was_out and state is not None and state.is_connected

    def _says_out(self, now: float) -> bool:
        return self.state is not None and self.state.outage is not None and now - self.heard_at < LAPSE_S

    def fault(self, now: float, answered_at: float | None, round_trip_s: float | None) -> str | None:
        """Why it says that its link is out, if no probe says otherwise. answered_at: when the newest that was answered was sent."""
        is_refuted = answered_at is not None and answered_at >= self.heard_at
        if self.state is None or not self._says_out(now) or is_refuted or now < self._confirmed_at(round_trip_s):
            return None
        return self.state.outage

    def is_doubtful(self, now: float) -> bool:
        """Whether it says that its link is about to go, or barely holds."""
        if self.state is None or now - self.heard_at >= LAPSE_S:
            return False
        return self._says_out(now) or self.state.is_obstructed is True or any(each in DOUBTFUL_ALERTS for each in self.state.alerts)

    def next_change_at(self, now: float, round_trip_s: float | None) -> float:
        """When that may change though nothing else happens."""
        instants = (self._confirmed_at(round_trip_s), self.heard_at + LAPSE_S)
        return min((t for t in instants if t > now and self.state is not None), default=math.inf)

    def _confirmed_at(self, round_trip_s: float | None) -> float:
        return self.heard_at + CONFIRMED_S + (round_trip_s or 0.0)


def encode_answer(status: Mapping[str, Any], alerts: Mapping[str, Any]) -> bytes:
    """One line, from the process that asks to the agent."""
    return json.dumps({"status": status, "alerts": alerts}, default=str).encode() + b"\n"


def parse_answer(line: bytes) -> DishState:
    """Raises `ValueError`."""
    told = json.loads(line)
    if not isinstance(told, dict) or not isinstance(told.get("status"), dict) or not isinstance(told.get("alerts"), dict):
        raise ValueError("no answer of a terminal")
    return read_dish(told["status"], told["alerts"], None, None)


def read_dish(
    status: Mapping[str, Any],
    alerts: Mapping[str, Any],
    outages: Sequence[tuple[str, int]] | None,
    obstruction_rows: Sequence[Sequence[float]] | None,
) -> DishState:
    """From what `starlink_grpc.status_data` and `obstruction_map` give; outages are (cause, nanoseconds). Whatever is none becomes None."""
    numbers = {name: _number(status.get(theirs), factor) for name, (theirs, factor) in _FIELDS.items()}
    obstructed = status.get("currently_obstructed")
    state = _text(status.get("state"))
    return DishState(
        state=None if state == "UNKNOWN" else state,
        hardware=_text(status.get("hardware_version")),
        software=_text(status.get("software_version")),
        is_obstructed=obstructed if isinstance(obstructed, bool) else None,
        alerts=tuple(name.removeprefix("alert_")[:LONGEST_WORD] for name, raised in alerts.items() if raised is True),
        outages=None if outages is None else tuple(DishOutage(cause, length / 1e9) for cause, length in outages),
        obstruction_map=None if obstruction_rows is None else _map(obstruction_rows),
        **numbers,
    )


def _map(rows: Sequence[Sequence[float]]) -> ObstructionMap:
    return ObstructionMap(tuple(tuple(float(v) if 0 <= v <= 1 else None for v in row) for row in rows))


def _number(value: object, factor: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value * factor


def _text(value: object) -> str | None:
    return value[:LONGEST_WORD] if isinstance(value, str) and value else None
