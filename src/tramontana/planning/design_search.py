"""The search for a constellation: the fewest satellites of one Walker shell that meet a target over the places of a study.

What it costs grows with the number of satellites alone (the study's prices are by satellite and by launch), so within one altitude
and inclination the first shell that meets the target, counted upwards, is the cheapest of the grid; what is larger need not be
looked at. A quarter of an hour of sky first tells which shells cannot meet the target in the hour that they are measured by.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from tramontana.planning.measures import Demand, MeasureSky, weighted
from tramontana.planning.sky import SkyDesign
from tramontana.space.ground import Gateway, PointOfPresence
from tramontana.space.shells import Shell, usual_phasing

SCREEN_S = 900.0


@dataclass(frozen=True, slots=True)
class Grid:
    """What is tried: every combination. Countries of landing as in `SkyDesign`."""

    altitudes_km: tuple[float, ...]
    inclinations_deg: tuple[float, ...]
    planes: tuple[int, ...]
    satellites_per_plane: tuple[int, ...]
    landing_countries: tuple[str, ...]
    gateways: tuple[Gateway, ...] = ()
    points_of_presence: tuple[PointOfPresence, ...] = ()

    def orbits(self) -> list[tuple[float, float]]:
        """Altitude and inclination: each is a piece of work of its own."""
        return list(product(self.altitudes_km, self.inclinations_deg))

    def sky(self, shell: Shell) -> SkyDesign:
        return SkyDesign(None, (shell,), self.landing_countries, self.gateways, self.points_of_presence)

    def sizes(self) -> list[tuple[int, int]]:
        """Planes and satellites in each, fewest satellites first; of equal ones the fewer planes, so that there is one order."""
        return sorted(product(self.planes, self.satellites_per_plane), key=lambda size: (size[0] * size[1], size[0]))


@dataclass(frozen=True, slots=True)
class Target:
    """Over the demand, weighted: share of a year, and the median round trip in seconds."""

    available: float
    round_trip_s: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A shell and what it gives over the hour; where `is_screened`, only the served share of the first quarter is known."""

    shell: Shell
    served: float
    available: float
    round_trip_s: float
    is_screened: bool
    meets: bool


@dataclass(frozen=True, slots=True)
class Search:
    """The work of one altitude and inclination, picklable: all shells up to the first that meets the target."""

    grid: Grid
    demand: Demand
    target: Target
    seed: int = 0

    def __call__(self, orbit: tuple[float, float]) -> list[Candidate]:
        found: list[Candidate] = []
        for planes, each in self.grid.sizes():
            found.append(self.examine(Shell(*orbit, planes, each, 0)))
            if found[-1].meets:
                break
        return found

    def examine(self, shell: Shell) -> Candidate:
        """Its phasing is chosen here (space/shells.py)."""
        phased = replace(shell, phasing=usual_phasing(shell))
        sky, shares = self.grid.sky(phased), self.demand.shares
        whole = MeasureSky(self.demand, seed=self.seed)
        served = weighted(replace(whole, duration_s=SCREEN_S)(sky).served, shares)
        # No more of the hour may be without service than the target leaves; so no more of its first quarter may be than all of that.
        if served < 1.0 - (whole.duration_s / SCREEN_S) * (1.0 - self.target.available):
            return Candidate(phased, served, 0.0, math.nan, is_screened=True, meets=False)
        full = whole(sky)
        available, trip = weighted(full.available, shares), weighted(full.round_trip_s, shares)
        meets = available >= self.target.available and trip <= self.target.round_trip_s  # an unknown delay meets nothing
        return Candidate(phased, weighted(full.served, shares), available, trip, is_screened=False, meets=meets)


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats in both satellites and availability, fewest satellites first."""
    measured = [one for one in candidates if not one.is_screened]
    best: list[Candidate] = []
    for one in sorted(measured, key=lambda one: (one.shell.satellite_count, -one.available)):
        if not best or one.available > best[-1].available:
            best.append(one)
    return best


def cheapest(candidates: Sequence[Candidate]) -> Candidate | None:
    """The fewest satellites that meet the target; of equal ones the most available. None: no shell of the grid does."""
    meeting = [one for one in candidates if one.meets]
    return min(meeting, key=lambda one: (one.shell.satellite_count, -one.available), default=None)
