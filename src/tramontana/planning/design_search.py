"""The search for a constellation: the fewest satellites of one Walker shell, or of two, that meet a target over the places of a study.

What it costs grows with their number alone (the study's prices are by satellite and by launch; design_cost.py), so within one altitude
and inclination the first shell that meets the target, counted upwards, is the cheapest of the grid; what is larger need not be
looked at. A quarter of an hour of sky first tells which shells cannot meet the target in the hour that they are measured by.

Of two shells every pair of two grids could be meant: too many to measure. But a place is served while one of them serves it, so the
served share of a pair follows from which slots each shell serves alone, and availability is never more than that. Pairs are taken by
ascending satellites, and only those are measured that could still beat what is known for as many satellites: nothing of the front
is missed. Both shells have their first node at the same longitude; turning one against the other is not searched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tramontana.planning.busy_hour import CASES, Beams, carried, mean_carried
from tramontana.planning.measures import BUSY_STEP_S, STEP_S, Demand, MeasureSky, weighted
from tramontana.planning.sky import SkyDesign
from tramontana.space.ground import Gateway, PointOfPresence
from tramontana.space.parameters import PathParameters
from tramontana.space.shells import Shell, usual_phasing
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.latency import NOBODY, Serve, slots_of
from tramontana.space.studies.sites import Sites

SCREEN_S = 900.0
_ROUNDING: Final = 1e-9
"""Shares of the time are sums of floats: a bound that is met but for its last bits is met."""


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

    def sky(self, *shells: Shell) -> SkyDesign:
        return SkyDesign(None, shells, self.landing_countries, self.gateways, self.points_of_presence)

    def sizes(self) -> list[tuple[int, int]]:
        """Planes and satellites in each, fewest satellites first; of equal ones the fewer planes, so that there is one order."""
        return sorted(product(self.planes, self.satellites_per_plane), key=lambda size: (size[0] * size[1], size[0]))

    def shells(self, orbit: tuple[float, float]) -> list[Shell]:
        """All of one altitude and inclination, in the order of `sizes`; their phasing is chosen here (space/shells.py)."""
        flat = (Shell(*orbit, planes, each, 0) for planes, each in self.sizes())
        return [replace(shell, phasing=usual_phasing(shell)) for shell in flat]


@dataclass(frozen=True, slots=True)
class Target:
    """Over the demand, weighted: share of a year, the median round trip in seconds, and what is carried of the demand at the busy hour."""

    available: float
    round_trip_s: float
    carried: float | None = None
    """In the likely case; None: not asked."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Shells and what they give over the hour; where `is_screened`, only the served share of the first quarter is known."""

    shells: tuple[Shell, ...]
    served: float
    available: float
    round_trip_s: float
    is_screened: bool
    meets: bool
    carried: float | None = None
    """Share of the demand at the busy hour, likely; known only of those that meet the rest of a target that asks for it."""

    @property
    def satellites(self) -> int:
        return sum(shell.satellite_count for shell in self.shells)


@dataclass(frozen=True, slots=True)
class Search:
    """The work of one altitude and inclination, picklable: all shells up to the first that meets the target."""

    grid: Grid
    demand: Demand
    target: Target
    seed: int = 0
    beams: Beams | None = None
    """Of each satellite; needed where the target says what must be carried."""

    def __call__(self, orbit: tuple[float, float]) -> list[Candidate]:
        found: list[Candidate] = []
        for shell in self.grid.shells(orbit):
            found.append(self.examine(shell))
            if found[-1].meets:
                break
        return found

    def examine(self, shell: Shell) -> Candidate:
        """A quarter of an hour, and the hour where the shell can still meet the target."""
        whole = MeasureSky(self.demand, seed=self.seed)
        served = weighted(replace(whole, duration_s=SCREEN_S)(self.grid.sky(shell)).served, self.demand.shares)
        # No more of the hour may be without service than the target leaves; so no more of its first quarter may be than all of that.
        if served < 1.0 - (whole.duration_s / SCREEN_S) * (1.0 - self.target.available):
            return Candidate((shell,), served, 0.0, math.nan, is_screened=True, meets=False)
        return self.measure(shell)

    def measure(self, *shells: Shell) -> Candidate:
        """Over the hour."""
        full, shares = MeasureSky(self.demand, seed=self.seed)(self.grid.sky(*shells)), self.demand.shares
        available, trip = weighted(full.available, shares), weighted(full.round_trip_s, shares)
        meets = available >= self.target.available and trip <= self.target.round_trip_s  # an unknown delay meets nothing
        share: float | None = None
        if meets and self.target.carried is not None:  # plans of beams are the dearest measure: only for what meets the others
            share = self._carried(self.grid.sky(*shells))
            meets = share >= self.target.carried
        return Candidate(shells, weighted(full.served, shares), available, trip, is_screened=False, meets=meets, carried=share)

    def _carried(self, sky: SkyDesign) -> float:
        demand, hour = self.demand, MeasureSky(self.demand)
        if demand.busy_bps is None or self.beams is None:
            raise ValueError("a share of the demand needs a demand at the busy hour, and beams")
        instants = Instants.over(hour.start_unix_s, hour.duration_s, BUSY_STEP_S)
        shares = carried(sky.fleet(), sky.ground(), Sites.of_places(demand.places), demand.busy_bps, self.beams, instants)
        return mean_carried(shares, demand.busy_bps)[CASES.index("likely")]


@dataclass(frozen=True, eq=False, slots=True)
class Cover:
    """Which of P places a shell serves in which of S slots of the hour, as bits (⌈P × S / 8⌉,)."""

    shell: Shell
    bits: NDArray[np.uint8]
    slots: int


@dataclass(frozen=True, slots=True)
class CoverShells:
    """The work of one altitude and inclination, picklable: every shell of it, for `AddSecond`."""

    grid: Grid
    search: Search

    def __call__(self, orbit: tuple[float, float]) -> list[Cover]:
        demand = self.search.demand
        work = MeasureSky(demand, seed=self.search.seed)
        slots = slots_of(Instants.over(work.start_unix_s, work.duration_s, STEP_S))
        found: list[Cover] = []
        for shell in self.grid.shells(orbit):
            sky = self.grid.sky(shell)
            served = Serve(sky.fleet(), sky.ground(), Sites.of_places(demand.places), self.search.seed, PathParameters())(slots)
            found.append(Cover(shell, np.packbits(served.satellite != NOBODY), len(slots)))
        return found


@dataclass(frozen=True, eq=False, slots=True)
class AddSecond:
    """The work of the first shells of one altitude and inclination, picklable: each with every one of `seconds`.

    alone: what was found of single shells. Answers hold what may be on the front, or meet the target with fewer satellites than one shell.
    """

    search: Search
    seconds: tuple[Cover, ...]
    alone: tuple[Candidate, ...]

    def __call__(self, firsts: Sequence[Cover]) -> list[Candidate]:
        single = cheapest(self.alone)
        enough = math.inf if single is None else single.satellites
        known = [(one.satellites, one.available) for one in front(self.alone)]
        found: list[Candidate] = []
        for satellites, bound, first, second in self._pairs(firsts):
            if satellites >= enough and not (found and found[-1].satellites == satellites):
                break
            best = max((available for count, available in known if count <= satellites), default=0.0)
            # What is as available with fewer satellites may still be too slow, or carry too little: then a pair that could meet the
            # target is looked at as well.
            if bound <= best - _ROUNDING and bound < self.search.target.available - _ROUNDING:
                continue
            found.append(self.search.measure(first, second))
            known.append((satellites, found[-1].available))
            if found[-1].meets:
                enough = min(enough, satellites)
        return found

    def _pairs(self, firsts: Sequence[Cover]) -> list[tuple[int, float, Shell, Shell]]:
        """Satellites, the share that both together serve, and the shells; fewest satellites first, of equal ones those that serve most."""
        shares = self.search.demand.shares
        both = np.stack([one.bits for one in self.seconds])
        pairs: list[tuple[int, float, Shell, Shell]] = []
        for first in firsts:
            bits = np.unpackbits(both | first.bits, axis=1)
            served = bits[:, : first.slots * len(shares)].reshape(len(both), len(shares), first.slots).mean(axis=2) @ shares
            pairs += [
                (first.shell.satellite_count + second.shell.satellite_count, float(share), first.shell, second.shell)
                for second, share in zip(self.seconds, served, strict=True)
            ]
        return sorted(pairs, key=lambda pair: (pair[0], -pair[1]))


def front(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that no other beats in both satellites and availability, fewest satellites first."""
    measured = [one for one in candidates if not one.is_screened]
    best: list[Candidate] = []
    for one in sorted(measured, key=lambda one: (one.satellites, -one.available)):
        if not best or one.available > best[-1].available:
            best.append(one)
    return best


def cheapest(candidates: Sequence[Candidate]) -> Candidate | None:
    """The fewest satellites that meet the target; of equal ones a single shell, then the most available. None: nothing of the grid does."""
    meeting = [one for one in candidates if one.meets]
    return min(meeting, key=lambda one: (one.satellites, len(one.shells), -one.available), default=None)
