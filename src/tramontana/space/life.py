"""Which satellites of a real fleet are on station, which climb, sink or wait, and which serve telephones; filters by band.

The rule, from mean elements at each satellite's own epoch:

- **operational**: the mean altitude lies in one of the constellation's operating bands for its inclination (table below, else bands that
  many satellites share), the orbit is round, and BSTAR is above −0.01. A satellite that crosses a band slowly counts while it does.
- **raising**: not that, and BSTAR is at or below −0.001. Drag cannot be negative: such a fit is thrust that lifts the orbit.
- **decaying**: neither, and BSTAR is at or above +0.003, or the mean altitude lies below 340 km, where no filed shell is.
- **drifting**: anything else: parked until its plane comes round, moving slowly, or between shells.

With an earlier fleet of the same satellites the measured change of altitude takes BSTAR's place: 0.5 km a day is a move, 3 km a day within
a band. Planes are another matter: `routing.planes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.fleet import SECONDS_PER_DAY, Fleet, Floats
from tramontana.space.shells import WGS72_EARTH_RADIUS_KM, WGS72_MU_KM3_PER_S2

# All thresholds are assumptions, read off the elements of 20 and 21 May 2026 (docs/space.md).
RAISING_BSTAR = -0.001
RAISING_BSTAR_IN_BAND = -0.01
DECAYING_BSTAR = 0.003
LOWEST_SHELL_KM = 340.0  # of all that were filed: Starlink Gen2
MOVING_KM_PER_DAY = 0.5
MOVING_IN_BAND_KM_PER_DAY = 3.0
SHORTEST_BASELINE_DAYS = 0.2  # between two sets, to measure a rate from
LARGEST_ECCENTRICITY = 0.01
_BAND_INCLINATION_STEP_DEG = 1.0
_BAND_ALTITUDE_STEP_KM = 5.0
_BAND_SHARE = 0.02  # of the fleet, at least, in one step of altitude
DIRECT_TO_CELL_MARK = "[DTC]"


class Phase(IntEnum):
    """Where a satellite is in its life."""

    OPERATIONAL = 0
    RAISING = 1
    DECAYING = 2
    DRIFTING = 3


@dataclass(frozen=True, slots=True)
class Band:
    """A range of inclination and of mean altitude, ends included."""

    low_inclination_deg: float
    high_inclination_deg: float
    low_altitude_km: float
    high_altitude_km: float

    def __post_init__(self) -> None:
        numbers = (self.low_inclination_deg, self.high_inclination_deg, self.low_altitude_km, self.high_altitude_km)
        if not all(np.isfinite(numbers)) or numbers[0] > numbers[1] or numbers[2] > numbers[3]:
            raise LocalError("a band needs finite ends, the lower one first: inclination in degrees, altitude in kilometres")


# Read off the elements of May (Starlink) and July 2026 (the others): where satellites gather and stay. Starlink satellites at 97.6° and
# 345 km wait there for their plane: 120 in May, next to none in July. Source of the elements: CelesTrak.
OPERATING_BANDS: dict[str, tuple[Band, ...]] = {
    "STARLINK": (
        Band(42.5, 43.5, 475.0, 495.0),
        Band(52.5, 53.5, 460.0, 495.0),
        Band(52.5, 53.5, 530.0, 552.0),
        Band(69.5, 70.5, 560.0, 580.0),
        Band(96.5, 98.5, 455.0, 480.0),
        Band(96.5, 98.5, 535.0, 565.0),
        Band(42.5, 43.5, 355.0, 361.0),
        Band(52.5, 53.5, 355.0, 361.0),
    ),
    "ONEWEB": (Band(87.0, 89.0, 1170.0, 1230.0),),
    "KUIPER": (Band(51.0, 53.0, 620.0, 645.0),),
    "IRIDIUM": (Band(86.0, 87.0, 770.0, 790.0),),
}
_DIRECT_TO_CELL_BANDS = (Band(42.5, 43.5, 355.0, 361.0), Band(52.5, 53.5, 355.0, 361.0))
_LARGEST_KNOWN_SHARE = 0.5  # of the names that must start alike for a table to be taken


def mean_altitude_km(fleet: Fleet) -> Floats:
    """(N,) semi-major axis of the mean motion as it stands in the elements, less the equatorial radius (WGS-72)."""
    axis_km = (WGS72_MU_KM3_PER_S2 / (fleet.mean_motion_rev_per_day * (2 * np.pi / SECONDS_PER_DAY)) ** 2) ** (1 / 3)
    return np.asarray(axis_km - WGS72_EARTH_RADIUS_KM, dtype=np.float64)


def in_band(fleet: Fleet, band: Band) -> NDArray[np.bool_]:
    """(N,) which satellites fly in a band."""
    return _within(fleet.inclination_deg, mean_altitude_km(fleet), band)


def direct_to_cell(fleet: Fleet) -> NDArray[np.bool_]:
    """(N,) which satellites serve telephones.

    Those whose name bears "[DTC]"; in a Starlink fleet whose names bear no mark at all, those at 43° or 53° and 355 to 361 km.
    """
    marked = np.array([DIRECT_TO_CELL_MARK in name for name in fleet.names])
    if marked.any() or _constellation(fleet) != "STARLINK":
        return marked
    return _in_any(fleet.inclination_deg, mean_altitude_km(fleet), _DIRECT_TO_CELL_BANDS)


def phases_of_life(fleet: Fleet, *, bands: tuple[Band, ...] | None = None, earlier: Fleet | None = None) -> NDArray[np.int8]:
    """(N,) of `Phase`. A fleet that was generated is operational as a whole.

    bands: where satellites operate; `operating_bands` where not given. earlier: an older fleet, to measure the change of altitude from.
    """
    if fleet.provenance != "elements":
        return np.full(len(fleet), Phase.OPERATIONAL, dtype=np.int8)
    operating = operating_bands(fleet) if bands is None else bands
    altitude, bstar = mean_altitude_km(fleet), fleet.bstar_per_earth_radius
    raising, decaying = bstar <= RAISING_BSTAR, (bstar >= DECAYING_BSTAR) | (altitude < LOWEST_SHELL_KM)
    leaving = bstar <= RAISING_BSTAR_IN_BAND
    if earlier is not None:
        rate = altitude_rate_km_per_day(fleet, earlier)
        known = np.isfinite(rate)
        raising = np.where(known, rate >= MOVING_KM_PER_DAY, raising)
        decaying = np.where(known, rate <= -MOVING_KM_PER_DAY, decaying)
        leaving = np.where(known, np.abs(rate) >= MOVING_IN_BAND_KM_PER_DAY, leaving)
    phase = np.full(len(fleet), Phase.DRIFTING, dtype=np.int8)
    phase[decaying] = Phase.DECAYING
    phase[raising] = Phase.RAISING
    on_station = _in_any(fleet.inclination_deg, altitude, operating) & (fleet.eccentricity <= LARGEST_ECCENTRICITY) & ~leaving
    phase[on_station] = Phase.OPERATIONAL
    return phase


def carries_traffic(fleet: Fleet) -> NDArray[np.bool_]:
    """(N,) which satellites serve dishes: those that operate, without the ones for telephones.

    All of them where that would leave none: a fleet without recognisable shells, or one of telephone satellites alone.
    """
    serving = (phases_of_life(fleet) == Phase.OPERATIONAL) & ~direct_to_cell(fleet)
    return serving if serving.any() else np.ones(len(fleet), dtype=np.bool_)


def altitude_rate_km_per_day(fleet: Fleet, earlier: Fleet) -> Floats:
    """(N,) change of mean altitude since an older set of the same catalogue number; NaN without one at least 0.2 days older."""
    rate = np.full(len(fleet), np.nan)
    _, here, there = np.intersect1d(fleet.catalogue_number, earlier.catalogue_number, return_indices=True)
    days = fleet.epoch_days_1949[here] - earlier.epoch_days_1949[there]
    apart = days >= SHORTEST_BASELINE_DAYS
    change = mean_altitude_km(fleet)[here] - mean_altitude_km(earlier)[there]
    rate[here[apart]] = change[apart] / days[apart]
    return rate


def operating_bands(fleet: Fleet) -> tuple[Band, ...]:
    """The table of the constellation that most names begin with; for others, bands of altitude that many satellites share.

    Of others, a step of 5 km counts that holds at least 2 % of the fleet; steps side by side join. Parking orbits look the same to it.
    """
    known = _constellation(fleet)
    if known is not None:
        return OPERATING_BANDS[known]
    altitude = mean_altitude_km(fleet)
    fewest = max(1.0, _BAND_SHARE * len(fleet))
    bands: list[Band] = []
    order = np.argsort(fleet.inclination_deg)
    steps = np.flatnonzero(np.diff(fleet.inclination_deg[order]) > _BAND_INCLINATION_STEP_DEG) + 1
    for group in np.split(order, steps):
        inclination = fleet.inclination_deg[group]
        cell = np.floor(altitude[group] / _BAND_ALTITUDE_STEP_KM).astype(np.int64)
        number, count = np.unique(cell, return_counts=True)
        dense = number[count >= fewest]
        for run in np.split(dense, np.flatnonzero(np.diff(dense) > 1) + 1):
            if run.shape[0]:
                low, high = run[0] * _BAND_ALTITUDE_STEP_KM, (run[-1] + 1) * _BAND_ALTITUDE_STEP_KM
                bands.append(Band(float(inclination.min()), float(inclination.max()), float(low), float(high)))
    return tuple(bands)


def _constellation(fleet: Fleet) -> str | None:
    for name in OPERATING_BANDS:
        if sum(satellite.startswith(name) for satellite in fleet.names) > _LARGEST_KNOWN_SHARE * len(fleet):
            return name
    return None


def _within(inclination: Floats, altitude: Floats, band: Band) -> NDArray[np.bool_]:
    tilt = (inclination >= band.low_inclination_deg) & (inclination <= band.high_inclination_deg)
    return np.asarray(tilt & (altitude >= band.low_altitude_km) & (altitude <= band.high_altitude_km), dtype=np.bool_)


def _in_any(inclination: Floats, altitude: Floats, bands: tuple[Band, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(altitude.shape, dtype=np.bool_)
    for band in bands:
        inside |= _within(inclination, altitude, band)
    return inside
