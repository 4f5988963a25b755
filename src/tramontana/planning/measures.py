"""What a sky gives to the places of a study: served time, delay, and how much of a year holds in the rain. Simulated, not measured.

It puts `space.studies` to work with one set of satellites and the gateways that the alternative may land at. A mix of skies
serves a place while one of them does: their outages are taken as independent, and the delay is that of the quickest.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tramontana.planning.busy_hour import CASES, carried
from tramontana.planning.laser_service import filled_by_laser
from tramontana.planning.losses import Serving
from tramontana.planning.sky import SkyDesign
from tramontana.space.ground import Place
from tramontana.space.parameters import PathParameters
from tramontana.space.shells import FILED_EPOCH_UNIX_S
from tramontana.space.studies.availability import availability_of
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.latency import NOBODY, Serve, Served, slots_of
from tramontana.space.studies.sites import Sites

Key = TypeVar("Key", bound=Hashable)
Floats = NDArray[np.float64]
STEP_S = 15.0
LEAST_BPS = 1e6
"""What a carrier must still carry in the rain to count as available."""
BUSY_STEP_S = 120.0
"""Between two plans of the beams."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Where service is needed: P places and what part of the need each is, (P,), together 1."""

    places: tuple[Place, ...]
    shares: Floats
    busy_bps: Floats | None = None
    """(3, P) asked for at the busy hour: lowest, likely, highest. None: not known."""
    home: str = ""
    """The country on whose soil traffic should land, ISO 3166-1 alpha-2; empty: none."""


@dataclass(frozen=True, eq=False, slots=True)
class Measures:
    """By place, (P,). NaN where a place is never served."""

    served: Floats
    """Share of the time with a satellite and a gateway, 0 to 1."""
    round_trip_s: Floats
    """Median, to the point of presence and back."""
    slow_round_trip_s: Floats
    """99th percentile."""
    available: Floats
    """Share of an average year, with rain and handovers, at `LEAST_BPS` or more; 0 where never served."""
    at_home: Floats
    """Share of the served time in which it lands at a gateway of the demand's own country."""
    carried: Floats
    """(3, T, P) share of the demand at the busy hour, by case and instant (busy_hour.py); NaN where demand or beams are not known."""


@dataclass(frozen=True, eq=False, slots=True)
class Service:
    """What an alternative gives: in the first year in which most of its skies serve, and over the whole study."""

    complete: Measures
    complete_from: int
    """That year of the study, from 1."""
    available_over_years: Floats
    """(P,) mean over the years; a year without a sky counts as none."""
    first: int
    """The first year of the study with any service."""


@dataclass(frozen=True, slots=True)
class MeasureSky:
    """The work of one sky, picklable: `map_chunks` runs several side by side."""

    demand: Demand
    start_unix_s: float = FILED_EPOCH_UNIX_S
    duration_s: float = 3600.0
    seed: int = 0

    def __call__(self, sky: SkyDesign) -> Measures:
        sites, ground, parameters = Sites.of_places(self.demand.places), sky.ground(), PathParameters()
        instants = Instants.over(self.start_unix_s, self.duration_s, STEP_S)
        slots, fleet, left = slots_of(instants), sky.fleet(), sky.left()
        served = Serve(fleet, ground, sites, self.seed, parameters)(slots)
        if sky.without.planes:
            kept = np.flatnonzero(~np.isin(sky.planes(), self._busiest(sky, served)))
            fleet, left = fleet.take(kept), left[kept]
            served = Serve(fleet, ground, sites, self.seed, parameters)(slots)
        available = availability_of(served, sites, ground, parameters, least_bps=LEAST_BPS, percent=99.9).all
        if sky.lasers:
            served = filled_by_laser(served, sky, left, self.demand.places, slots)
            filled = availability_of(served, sites, ground, parameters, least_bps=LEAST_BPS, percent=99.9).all
            # Where rain at a far gateway would cost more than its slots bring, a place does without them.
            available = np.maximum(np.nan_to_num(available), np.nan_to_num(filled))
        covered = served.satellite != NOBODY
        share = np.mean(covered, axis=1)
        trips = np.full((2, len(sites)), np.nan)
        for place in np.flatnonzero(share > 0):
            delay = served.one_way_delay_s[place]
            trips[:, place] = 2.0 * np.percentile(delay[np.isfinite(delay)].astype(np.float64), (50, 99))
        own = np.array([gateway.country == self.demand.home for gateway in ground.gateways])
        at_home = np.count_nonzero(covered & own[served.gateway], axis=1) / np.where(share > 0, np.count_nonzero(covered, axis=1), np.nan)
        busy = Instants.over(self.start_unix_s, self.duration_s, BUSY_STEP_S)
        if self.demand.busy_bps is None or sky.beams is None:
            load = np.full((len(CASES), busy.count, len(sites)), np.nan)
        else:
            load = carried(fleet, ground, sites, self.demand.busy_bps, sky.beams, busy)
        return Measures(share, trips[0], trips[1], np.nan_to_num(available), at_home, load)

    def _busiest(self, sky: SkyDesign, served: Served) -> NDArray[np.int64]:
        """The planes that served most of the demand: the worst that could fail, as far as one hour shows."""
        planes = sky.planes()
        weight = np.broadcast_to(self.demand.shares[:, None], served.satellite.shape)
        at = served.satellite != NOBODY
        busy = np.bincount(planes[served.satellite[at]], weights=weight[at], minlength=int(planes.max()) + 1)
        count = min(sky.without.planes, busy.size - 1)  # the last plane stays: without any there is no sky to measure
        return np.argsort(-busy, kind="stable")[:count]


def measure(
    servings: Mapping[Key, Sequence[Serving]],
    demand: Demand,
    years: int,
    run: Callable[[MeasureSky, Sequence[SkyDesign]], list[Measures]],
) -> dict[Key, Service]:
    """By alternative, or whatever the keys name; one without a sky is left out.

    Each sky is measured once, by `run`, which may do several side by side.
    """
    distinct = list(dict.fromkeys(one.sky for several in servings.values() for one in several))
    found = dict(zip(distinct, run(MeasureSky(demand), distinct), strict=True))
    return {name: _service(several, found, years) for name, several in servings.items() if several}


def _service(several: Sequence[Serving], found: Mapping[SkyDesign, Measures], years: int) -> Service:
    by_year = [[found[one.sky] for one in several if one.first <= year <= one.last] for year in range(1, years + 1)]
    nothing = np.zeros_like(found[several[0].sky].available)
    available = np.mean([together(parts).available if parts else nothing for parts in by_year], axis=0)
    most = max(by_year, key=len)  # the first of them
    return Service(together(most), by_year.index(most) + 1, available, min(one.first for one in several))


def together(parts: Sequence[Measures]) -> Measures:
    """Several skies at once. Raises `ValueError` for none."""
    if not parts:
        raise ValueError("no sky, no measures")
    lost_service = np.prod([1.0 - part.served for part in parts], axis=0)
    lost = np.prod([1.0 - part.available for part in parts], axis=0)
    trips = np.stack([part.round_trip_s for part in parts])
    quickest = np.argmin(np.where(np.isnan(trips), np.inf, trips), axis=0)
    at_home = np.stack([part.at_home for part in parts])[quickest, np.arange(trips.shape[1])]
    known = [part.carried for part in parts if not np.isnan(part.carried).any()]
    return Measures(
        1.0 - lost_service,
        _least([part.round_trip_s for part in parts]),
        _least([part.slow_round_trip_s for part in parts]),
        1.0 - lost,
        at_home,  # traffic goes by the quickest, whose delay counts as well
        np.minimum(1.0, np.sum(known, axis=0)) if known else parts[0].carried,
    )


def weighted(values: Floats, shares: Floats) -> float:
    """Mean over the demand; NaN where a place with demand has no value: an average over the served ones alone would hide the others."""
    return float(np.sum(values * shares))


def _least(rows: Sequence[Floats]) -> Floats:
    stacked = np.stack(rows)
    never = np.isnan(stacked).all(axis=0)
    return np.where(never, np.nan, np.min(np.where(np.isnan(stacked), np.inf, stacked), axis=0))
