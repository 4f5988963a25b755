"""What the next minutes of a path may bring, and how sure that is: plain arrays and a list of events.

Floors above make forecasts (space, carriers) and use them to leave a path before it breaks (sites, console), so the type lives on the
ground floor and knows none of them. Times are POSIX seconds (UTC), delays seconds, rates bits per second, probabilities 0–1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError

Floats = NDArray[np.float64]


class ForecastError(LocalError):
    """A forecast is malformed; the message names the field. Make the forecast anew."""


class EventKind(StrEnum):
    """What may happen to a path."""

    HANDOVER = "handover"
    """Another satellite serves."""
    ROUTE_CHANGE = "route change"
    """Another gateway: traffic lands elsewhere."""
    OBSTRUCTION = "obstruction"
    """The satellite passes behind an obstacle."""
    RAIN = "rain"
    """Rain at the place breaks the user link."""
    GATEWAY_IN_RAIN = "gateway in rain"
    COVERAGE_GAP = "coverage gap"
    """No satellite that could carry."""
    OLD_ELEMENTS = "elements too old"
    """Orbits are known too badly to say which satellite stands where."""


@dataclass(frozen=True, slots=True)
class ForecastEvent:
    """Something that may happen between two instants."""

    kind: EventKind
    at_unix_s: float
    until_unix_s: float
    confidence: float
    """Probability that it happens, 0–1."""
    outage_s: float
    """How long the path is out if it happens; 0 if it is not."""
    effect: str
    """What it means, for people."""


@dataclass(frozen=True, eq=False, slots=True)
class Quantiles:
    """A figure over time that is below `p10` with probability 0.1, and so on; each (N,)."""

    p10: Floats
    p50: Floats
    p90: Floats


@dataclass(frozen=True, eq=False)
class Forecast:
    """One path from `made_unix_s` on, N samples at equal distances; sample i stands for the second, or step, that begins at its instant.

    Delay is one-way and holds if the path is up: NaN where it cannot be. Capacity is 0 where the path is more likely out than the
    quantile says. `outage_probability` is that of any outage within the step, however short.
    """

    place: str
    carrier: str
    source: str
    made_unix_s: float
    known_until_unix_s: float
    """Until then the serving satellite is known; later ones are drawn by the operator, and the spread shows all that could be."""
    time_unix_s: Floats
    delay_s: Quantiles
    capacity_down_bps: Quantiles
    capacity_up_bps: Quantiles
    outage_probability: Floats
    events: tuple[ForecastEvent, ...]
    """By time."""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = self.time_unix_s.shape[0] if self.time_unix_s.ndim == 1 else 0
        if n == 0 or not bool(np.all(np.isfinite(self.time_unix_s))) or not bool(np.all(np.diff(self.time_unix_s) > 0)):
            raise ForecastError("time_unix_s must be a non-empty, finite, strictly increasing array")
        for name in ("delay_s", "capacity_down_bps", "capacity_up_bps"):
            bands: Quantiles = getattr(self, name)
            if any(band.shape != (n,) for band in (bands.p10, bands.p50, bands.p90)):
                raise ForecastError(f"{name} must have shape ({n},)")
            if bool(np.any(bands.p10 > bands.p50)) or bool(np.any(bands.p50 > bands.p90)):  # NaN compares false
                raise ForecastError(f"the quantiles of {name} must not cross")
        if self.outage_probability.shape != (n,) or not bool(np.all((self.outage_probability >= 0) & (self.outage_probability <= 1))):
            raise ForecastError(f"outage_probability must have shape ({n},) and lie between 0 and 1")
        if any(not 0 <= event.confidence <= 1 for event in self.events):
            raise ForecastError("the confidence of an event must lie between 0 and 1")

    def outage_within(self, start_unix_s: float, end_unix_s: float) -> float:
        """The greatest probability of an outage in any one step that touches [start, end): a lower bound of that of the whole span.

        Steps are not independent (a satellite that stays keeps all of them), so their probabilities cannot be multiplied. Outside the
        forecast nothing is known: 0 steps give 0.
        """
        step = float(self.time_unix_s[1] - self.time_unix_s[0]) if self.time_unix_s.shape[0] > 1 else 1.0
        touched = (self.time_unix_s < end_unix_s) & (self.time_unix_s + step > start_unix_s)
        return float(np.max(self.outage_probability[touched], initial=0.0))

    def next_event(self, after_unix_s: float, kinds: frozenset[EventKind], least_confidence: float = 0.5) -> ForecastEvent | None:
        """The first event of these kinds that begins after the instant with at least this confidence."""
        return next((e for e in self.events if e.at_unix_s > after_unix_s and e.kind in kinds and e.confidence >= least_confidence), None)
