"""One satellite's mean elements as read from a file, not yet known to propagate, and the note on one that was refused."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tramontana.errors import LocalError

SGP4_EPOCH = datetime(1949, 12, 31, tzinfo=UTC)
_FIRST_EPOCH_DAY = (datetime(1957, 10, 4, tzinfo=UTC) - SGP4_EPOCH) / timedelta(days=1)  # Sputnik 1
_LAST_EPOCH_DAY = (datetime(2100, 1, 1, tzinfo=UTC) - SGP4_EPOCH) / timedelta(days=1)
LARGEST_CATALOGUE_NUMBER = 999_999_999  # nine digits: CelesTrak, "A New Way to Obtain GP Data"
LARGEST_MEAN_MOTION_REV_PER_DAY = 17.5  # 17.07 would circle at the Earth's surface
LARGEST_BSTAR = 10.0  # even satellites that re-enter within days stay below 1
NAME_LENGTH = 64
SGP4_XP_EPHEMERIS_TYPE = "4"  # another propagator than SGP4: Space-Track documentation, "SGP4-XP"


class ElementsError(LocalError):
    """An elements file cannot be used; the message says why and what to do. What was loaded before stays in place."""


class Unusable(Exception):
    """Why one element set is refused; becomes a `Rejection`."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """One thing in a file that was not taken over: where it stood, what it was called, and why."""

    where: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ElementSet:
    """Mean elements in the units of a TLE. Construction refuses values that no satellite has (`Unusable`)."""

    where: str
    name: str
    catalogue_number: int
    epoch_days_1949: float
    inclination_deg: float
    raan_deg: float
    eccentricity: float
    argument_of_perigee_deg: float
    mean_anomaly_deg: float
    mean_motion_rev_per_day: float
    bstar_per_earth_radius: float

    def __post_init__(self) -> None:
        bounds = (
            ("catalogue number", float(self.catalogue_number), 1, LARGEST_CATALOGUE_NUMBER),
            ("epoch (days since 1949-12-31)", self.epoch_days_1949, _FIRST_EPOCH_DAY, _LAST_EPOCH_DAY),
            ("inclination", self.inclination_deg, 0.0, 180.0),
            ("right ascension of the node", self.raan_deg, -360.0, 360.0),
            ("eccentricity", self.eccentricity, 0.0, 0.999),
            ("argument of perigee", self.argument_of_perigee_deg, -360.0, 360.0),
            ("mean anomaly", self.mean_anomaly_deg, -360.0, 360.0),
            ("mean motion (rev/day)", self.mean_motion_rev_per_day, 0.01, LARGEST_MEAN_MOTION_REV_PER_DAY),
            ("BSTAR", self.bstar_per_earth_radius, -LARGEST_BSTAR, LARGEST_BSTAR),
        )
        for what, value, low, high in bounds:
            if not math.isfinite(value):
                raise Unusable(f"{what} is not a finite number")
            if not low <= value <= high:
                raise Unusable(f"{what} {value:g} lies outside {low:g} to {high:g}")


def epoch_days_1949(epoch: datetime) -> float:
    """UTC days since 1949-12-31, the count that SGP4 uses; a naive datetime is UTC."""
    aware = epoch.replace(tzinfo=UTC) if epoch.tzinfo is None else epoch
    return (aware - SGP4_EPOCH) / timedelta(days=1)


def clean_name(text: str) -> str:
    """A satellite's or file's name that is safe to show: printable characters only, trimmed, at most 64."""
    return "".join(c for c in text if c.isprintable()).strip()[:NAME_LENGTH]
