"""The path profile: one end-to-end path over time, as plain arrays.

`space` makes it, `emulation` plays it, `carriers` forecasts with it and the console draws it, so it lives on the ground floor and
knows none of them. Times are POSIX seconds (UTC), delays seconds, rates bits per second, probabilities 0–1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

NO_SATELLITE = -1


class PathProfileError(LocalError):
    """A path profile is malformed; the message names the field. Make the profile anew with `tramontana sky profile`."""


@dataclass(frozen=True, slots=True)
class PathState:
    """The path at one instant, read from a profile."""

    one_way_delay_s: float
    capacity_down_bps: float
    capacity_up_bps: float
    loss: float
    in_outage: bool
    serving: str | None
    gateway: str | None


@dataclass(frozen=True, eq=False)
class PathProfile:
    """One path from a place over a carrier to a point of presence.

    The samples hold from their instant until the next one, except the delay, which is linear between two samples of one serving
    satellite. Without coverage the delay is NaN and the whole span is an outage window.

    Shapes: everything from `time_unix_s` to `gateway` is (N,), N ≥ 1, `time_unix_s` strictly increasing; `outage_start_unix_s` and
    `outage_end_unix_s` are (M,), disjoint and ascending; `handover_unix_s` is (H,), ascending. `serving` indexes `satellite_names`
    and `gateway` indexes `gateway_names`; -1 is none (a terrestrial carrier, or no coverage).
    """

    place: str
    carrier: str
    source: str
    """What the figures rest on, for the label on screen, e.g. ``simulated, Starlink Gen1 as filed``."""
    point_of_presence: str
    satellite_names: tuple[str, ...]
    gateway_names: tuple[str, ...]
    time_unix_s: Floats
    one_way_delay_s: Floats
    capacity_down_bps: Floats
    capacity_up_bps: Floats
    loss: Floats
    elevation_deg: Floats
    serving: Ints
    gateway: Ints
    outage_start_unix_s: Floats
    outage_end_unix_s: Floats
    handover_unix_s: Floats
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        n = self.time_unix_s.shape[0] if self.time_unix_s.ndim == 1 else 0
        if n == 0:
            raise PathProfileError("time_unix_s must be a non-empty one-dimensional array")
        if not bool(np.all(np.diff(self.time_unix_s) > 0)) or not bool(np.all(np.isfinite(self.time_unix_s))):
            raise PathProfileError("time_unix_s must be finite and strictly increasing")
        for name in ("one_way_delay_s", "capacity_down_bps", "capacity_up_bps", "loss", "elevation_deg", "serving", "gateway"):
            if getattr(self, name).shape != (n,):
                raise PathProfileError(f"{name} must have shape ({n},), not {getattr(self, name).shape}")
        if bool(np.any(self.one_way_delay_s < 0)):  # NaN, no coverage, compares false
            raise PathProfileError("one_way_delay_s must not be negative")
        for name in ("capacity_down_bps", "capacity_up_bps"):
            if not bool(np.all(getattr(self, name) >= 0)):
                raise PathProfileError(f"{name} must be finite and not negative")
        if not bool(np.all((self.loss >= 0) & (self.loss <= 1))):
            raise PathProfileError("loss must lie between 0 and 1")
        if bool(np.any(self.serving >= len(self.satellite_names))) or bool(np.any(self.gateway >= len(self.gateway_names))):
            raise PathProfileError("serving or gateway points past the end of its names")
        starts, ends = self.outage_start_unix_s, self.outage_end_unix_s
        if starts.shape != ends.shape or starts.ndim != 1:
            raise PathProfileError("outage_start_unix_s and outage_end_unix_s must have one equal length")
        if not bool(np.all(ends >= starts)) or not bool(np.all(starts[1:] >= ends[:-1])):
            raise PathProfileError("outage windows must be ascending and disjoint")

    @property
    def start_unix_s(self) -> float:
        return float(self.time_unix_s[0])

    @property
    def end_unix_s(self) -> float:
        """The last sample; later instants repeat it."""
        return float(self.time_unix_s[-1])

    def in_outage(self, at_unix_s: float) -> bool:
        """Whether the instant lies in an outage window [start, end)."""
        i = int(np.searchsorted(self.outage_start_unix_s, at_unix_s, side="right")) - 1
        return i >= 0 and at_unix_s < float(self.outage_end_unix_s[i])

    def next_handover_unix_s(self, after_unix_s: float) -> float | None:
        """The first handover strictly after the instant, or None if the profile ends before one."""
        i = int(np.searchsorted(self.handover_unix_s, after_unix_s, side="right"))
        return float(self.handover_unix_s[i]) if i < self.handover_unix_s.shape[0] else None

    def at(self, at_unix_s: float) -> PathState:
        """The path at an instant. Before the first sample the first holds, after the last the last."""
        i = max(0, int(np.searchsorted(self.time_unix_s, at_unix_s, side="right")) - 1)
        delay = float(self.one_way_delay_s[i])
        j = i + 1
        if j < self.time_unix_s.shape[0] and at_unix_s > self.time_unix_s[i] and self.serving[i] == self.serving[j]:
            slope = (float(self.one_way_delay_s[j]) - delay) / float(self.time_unix_s[j] - self.time_unix_s[i])
            if np.isfinite(slope):  # the last sample before coverage ends holds until then
                delay += slope * (at_unix_s - float(self.time_unix_s[i]))
        serving, gateway = int(self.serving[i]), int(self.gateway[i])
        return PathState(
            one_way_delay_s=delay,
            capacity_down_bps=float(self.capacity_down_bps[i]),
            capacity_up_bps=float(self.capacity_up_bps[i]),
            loss=float(self.loss[i]),
            in_outage=not np.isfinite(delay) or self.in_outage(at_unix_s),
            serving=self.satellite_names[serving] if serving >= 0 else None,
            gateway=self.gateway_names[gateway] if gateway >= 0 else None,
        )

    def to_json(self) -> str:
        """The profile as one line of JSON; NaN is written as null. `parse` reads it back."""
        document: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value = [None if v != v else v for v in value.tolist()]
            document[name] = value
        return json.dumps(document, separators=(",", ":"), allow_nan=False)

    @classmethod
    def parse(cls, text: str) -> PathProfile:
        """Read what `to_json` wrote. Raises `PathProfileError` on anything else."""
        try:
            document = json.loads(text)
            fields: dict[str, Any] = {}
            for name, spec in cls.__dataclass_fields__.items():
                value = document[name]
                if spec.type in ("Floats", "Ints"):
                    numbers = [np.nan if v is None else v for v in value]
                    value = np.asarray(numbers, dtype=np.float64 if spec.type == "Floats" else np.int32)
                elif isinstance(value, list):
                    value = tuple(str(v) for v in value)
                else:
                    value = str(value)
                fields[name] = value
        except (ValueError, KeyError, TypeError) as error:
            raise PathProfileError(f"not a path profile: {error!r}") from error
        return cls(**fields)
