"""How far element sets can be trusted at their age, and what to say with every answer that rests on them.

Measured with `bench/ageing.py` on the Starlink files of 20, 21 and 30 May 2026: where an older set puts a satellite at the epoch of its
newer one. The 95th percentile is that of satellites that manoeuvred in between. Between the rows logarithms are interpolated; beyond ten
days the slope from one day to ten goes on, which is an assumption.

The rule, by the median age: up to a day **current**; up to three days **ageing** (which satellite serves which slot is uncertain); up to 30
days **stale** (good for statistics of coverage, not for where one satellite is); beyond that **expired**: `require_usable` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tramontana.errors import LocalError
from tramontana.space.fleet import SECONDS_PER_DAY, SGP4_EPOCH_UNIX_S, Fleet, Floats

Freshness = Literal["ideal", "current", "ageing", "stale", "expired"]

CURRENT_DAYS, AGEING_DAYS, STALE_DAYS = 1.0, 3.0, 30.0

# Age in days, median and 95th percentile of the error in kilometres; all satellites, also those that move. The first row is an assumption
# (range 0.5 to 2): no newer set is younger than the error it should show.
_TABLE = np.array(
    [
        (0.01, 1.0, 5.0),
        (0.39, 2.4, 18.6),
        (0.67, 5.1, 40.6),
        (0.98, 6.9, 45.8),
        (1.34, 12.6, 203.7),
        (8.97, 96.7, 3608.3),
        (9.61, 194.1, 6290.0),
        (10.20, 249.4, 8297.1),
    ]
)
_SLOPE_ROWS = (3, 7)  # the power law beyond the table joins these rows: one day to ten
_FARTHEST_KM = 13_000.0  # the other side of a low orbit


class AgeError(LocalError):
    """The element sets are too old to say where satellites are; the message gives their age. Load newer ones: `tramontana sky fetch`."""


@dataclass(frozen=True, slots=True)
class ElementAge:
    """How old a fleet's elements are at an instant, and what that does to positions."""

    freshness: Freshness
    median_days: float
    oldest_days: float
    older_than_ageing: int
    """Satellites whose own set is more than three days from the instant."""
    satellites: int
    median_error_m: float
    """Expected for the median age; 0 for a fleet as filed."""
    p95_error_m: float

    @property
    def sentence(self) -> str:
        """One line for people."""
        if self.freshness == "ideal":
            return "The orbits are ideal, as designed: they have no age."
        text = (
            f"Elements are {self.median_days:.1f} days old (median; oldest {self.oldest_days:.1f}): positions are off by about "
            f"{_distance(self.median_error_m)}, one satellite in twenty by more than {_distance(self.p95_error_m)}."
        )
        if self.freshness == "ageing":
            return text + " Which satellite serves in which slot is uncertain: load today's elements for live use."
        if self.freshness == "stale":
            return text + " Good for statistics of coverage only: load today's elements to say where a satellite is."
        if self.freshness == "expired":
            return text + " Too old to be used: load newer elements with `tramontana sky fetch`."
        return text

    def require_usable(self) -> None:
        """Raise `AgeError` if the elements are expired."""
        if self.freshness == "expired":
            raise AgeError(self.sentence)


def expected_error_m(age_s: Floats | float) -> tuple[Floats, Floats]:
    """Median and 95th percentile of the position error, metres, for elements this many seconds from their epoch, before or after."""
    days = np.maximum(np.abs(np.asarray(age_s, dtype=np.float64)) / SECONDS_PER_DAY, _TABLE[0, 0])
    return _error_km(days, 1) * 1e3, _error_km(days, 2) * 1e3


def element_age(fleet: Fleet, at_unix_s: float) -> ElementAge:
    """The age of a fleet's elements at an instant; sets of the future count like those of the past."""
    if not np.isfinite(at_unix_s):
        raise LocalError("the instant must be finite POSIX seconds")
    n = len(fleet)
    if fleet.provenance != "elements":
        return ElementAge("ideal", 0.0, 0.0, 0, n, 0.0, 0.0)
    days = np.abs(at_unix_s - (fleet.epoch_days_1949 * SECONDS_PER_DAY + SGP4_EPOCH_UNIX_S)) / SECONDS_PER_DAY
    median = float(np.median(days))
    p50, p95 = expected_error_m(median * SECONDS_PER_DAY)
    return ElementAge(_freshness(median), median, float(np.max(days)), int(np.count_nonzero(days > AGEING_DAYS)), n, float(p50), float(p95))


def _freshness(days: float) -> Freshness:
    if days <= CURRENT_DAYS:
        return "current"
    if days <= AGEING_DAYS:
        return "ageing"
    return "stale" if days <= STALE_DAYS else "expired"


def _error_km(days: Floats, column: int) -> Floats:
    age, error = np.log(_TABLE[:, 0]), np.log(_TABLE[:, column])
    a, b = _SLOPE_ROWS
    slope = (error[b] - error[a]) / (age[b] - age[a])
    within = np.interp(np.log(days), age, error)
    beyond = slope * np.maximum(0.0, np.log(days) - age[-1])
    return np.asarray(np.minimum(_FARTHEST_KM, np.exp(within + beyond)), dtype=np.float64)


def _distance(metres: float) -> str:
    return f"{metres / 1e3:,.1f} km" if metres < 1e4 else f"{metres / 1e3:,.0f} km"
