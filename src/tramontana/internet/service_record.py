"""What each carrier of this site was worth, hour by hour: the measured side of a contract. The site looks once a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from tramontana.carrier_hours import HOUR_S, CarrierHour, Full, bin_of
from tramontana.errors import LocalError

LONGEST_STEP_S: Final = 5.0
"""Between two looks; of more nobody knows what happened, and it is not counted."""
LEAST_FULL_S: Final = 1.0
KEPT_HOURS: Final = 72
"""At the site, for a server that was away."""


class RecordDamaged(LocalError):
    """What was stored of the hours before cannot be read."""


@dataclass(frozen=True, slots=True)
class Look:
    """One tunnel, now. Without a key there are no probes: it says nothing of its carrier."""

    is_keyed: bool
    is_alive: bool
    round_trip_s: float | None
    loss: float
    full_down_bps: float | None
    """What the direction carries, if it is full."""
    full_up_bps: float | None


class _Open(BaseModel):
    """An hour that is not over."""

    model_config = ConfigDict(extra="forbid")

    hour: int
    observed_s: float = 0.0
    down_s: float = 0.0
    alone_s: float = 0.0
    outages: int = 0
    longest_outage_s: float = 0.0
    down_at_start_s: float = 0.0
    outage_s: float = 0.0
    """Of the one that lasts."""
    lost_s: float = 0.0
    """Loss times the seconds it was seen for."""
    delays: dict[int, int] = {}
    full_down_s: float = 0.0
    full_down_bits: float = 0.0
    full_up_s: float = 0.0
    full_up_bits: float = 0.0
    octets: int = 0

    def closed(self, carrier: str) -> CarrierHour:
        observed = min(float(HOUR_S), self.observed_s)
        down = min(observed, self.down_s)
        longest = min(down, self.longest_outage_s)
        up = self.observed_s - self.down_s
        return CarrierHour(
            carrier=carrier,
            hour=self.hour,
            observed_s=round(observed, 1),
            down_s=round(down, 1),
            alone_s=round(min(down, self.alone_s), 1),
            outages=self.outages,
            longest_outage_s=round(longest, 1),
            down_at_start_s=round(min(longest, self.down_at_start_s), 1),
            down_at_end_s=round(min(longest, self.outage_s), 1),
            loss=round(min(1.0, self.lost_s / up), 4) if up > 0 else None,
            delays=tuple(sorted(self.delays.items())),
            full_down=_full(self.full_down_s, self.full_down_bits),
            full_up=_full(self.full_up_s, self.full_up_bits),
            octets=self.octets,
        )


def _full(seconds: float, bits: float) -> Full | None:
    return Full(seconds=round(min(seconds, HOUR_S), 1), bps=round(bits / seconds)) if seconds >= LEAST_FULL_S else None


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    open: dict[str, _Open]
    closed: list[CarrierHour]


@dataclass
class ServiceRecord:
    """Of all carriers of a site. Times are POSIX seconds: hours are those of the contract."""

    closed: list[CarrierHour] = field(default_factory=list)
    """Hours that are over, the oldest first."""
    _open: dict[str, _Open] = field(default_factory=dict)
    _is_up: dict[str, bool | None] = field(default_factory=dict)
    _looked_at: float | None = None
    _told: int = 0
    """How many of the closed hours were reported."""
    _again: int = 0
    """Which of them is reported again next."""

    def look(self, carriers: Mapping[str, Sequence[Look]], now: float) -> None:
        """carriers: the tunnels over each. A clock that jumped, or an agent that stood still, loses the time between."""
        step = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        self._close(int(now // HOUR_S))
        if not 0 < step <= LONGEST_STEP_S:
            self._is_up.clear()
            step = 0.0
        before, self._is_up = self._is_up, {carrier: _is_up(looks, self._is_up.get(carrier)) for carrier, looks in carriers.items()}
        another_is_up = any(self._is_up.values())  # for one that is down
        for carrier, is_up in self._is_up.items():
            hour = self._hour(carrier, now)
            if is_up is None:
                hour.outage_s = 0.0
                continue
            hour.observed_s += step
            if is_up:
                hour.outage_s = 0.0
                _count_up(hour, carriers[carrier], step)
                continue
            hour.down_s += step
            hour.alone_s += step if another_is_up else 0.0
            if before.get(carrier) is not False:
                hour.outages += 1
                hour.outage_s = 0.0
            hour.outage_s += step
            if not hour.outages:  # it is the one that the hour before ended with
                hour.down_at_start_s = hour.outage_s
            hour.longest_outage_s = max(hour.longest_outage_s, hour.outage_s)

    def add_octets(self, octets: Mapping[str, float], now: float) -> None:
        """By carrier, since they were last added."""
        for carrier, more in octets.items():
            self._hour(carrier, now).octets += round(more)

    def to_report(self, most: int) -> tuple[CarrierHour, ...]:
        """What the next report tells: hours that were not told yet, then those before in turn, for a report may be lost."""
        if not self.closed:
            return ()
        fresh = self.closed[self._told : self._told + most]
        if fresh:
            self._told += len(fresh)
            return tuple(fresh)
        self._again = (self._again + 1) % len(self.closed)
        return (self.closed[self._again],)

    def serialise(self) -> bytes:
        return _Stored(open=self._open, closed=self.closed).model_dump_json().encode()

    @classmethod
    def parse(cls, stored: bytes) -> ServiceRecord:
        """Raises `RecordDamaged`."""
        try:
            found = _Stored.model_validate_json(stored)
        except ValidationError as error:
            raise RecordDamaged("the record of the carriers' hours is damaged; remove the file: it then begins anew") from error
        return cls(closed=found.closed, _open=found.open)

    def _hour(self, carrier: str, now: float) -> _Open:
        hour = int(now // HOUR_S)
        found = self._open.get(carrier)
        if found is None or found.hour != hour:
            self._close(hour)
            found = self._open[carrier] = _Open(hour=hour)
        return found

    def _close(self, hour: int) -> None:
        over = [carrier for carrier, each in self._open.items() if each.hour != hour]
        for carrier in over:
            closed = self._open.pop(carrier).closed(carrier)
            if closed.observed_s or closed.octets:
                self.closed.append(closed)
        forgotten = max(0, len(self.closed) - KEPT_HOURS * max(1, len({each.carrier for each in self.closed})))
        del self.closed[:forgotten]
        self._told = max(0, self._told - forgotten)


def _is_up(looks: Sequence[Look], before: bool | None) -> bool | None:
    """None: not known. One that was down stays so when its key runs out, or the longest outages would not count."""
    if any(look.is_keyed and look.is_alive for look in looks):
        return True
    return False if any(look.is_keyed for look in looks) or before is False else None


def _count_up(hour: _Open, looks: Sequence[Look], step: float) -> None:
    """Delay and loss by the quickest of its tunnels: the carrier is not to blame for a far gateway."""
    alive = [look for look in looks if look.is_keyed and look.is_alive]
    best = min(alive, key=lambda look: float("inf") if look.round_trip_s is None else look.round_trip_s)
    hour.lost_s += best.loss * step
    if best.round_trip_s is not None and step > 0:
        bin = bin_of(best.round_trip_s)
        hour.delays[bin] = hour.delays.get(bin, 0) + 1
    down = max((look.full_down_bps for look in alive if look.full_down_bps is not None), default=None)
    up = max((look.full_up_bps for look in alive if look.full_up_bps is not None), default=None)
    if down is not None:
        hour.full_down_s, hour.full_down_bits = hour.full_down_s + step, hour.full_down_bits + down * step
    if up is not None:
        hour.full_up_s, hour.full_up_bits = hour.full_up_s + step, hour.full_up_bits + up * step
