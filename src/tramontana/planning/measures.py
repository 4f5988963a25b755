"""What a sky gives to the places of a study: served time, delay, and how much of a year holds in the rain. Simulated, not measured.

It puts `space.studies` to work with one set of satellites and the gateways that the alternative may land at. A mix of skies
serves a place while one of them does: their outages are taken as independent, and the delay is that of the quickest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.designs import design
from tramontana.space.fleet import Fleet
from tramontana.space.ground import Ground, Place, mediterranean
from tramontana.space.parameters import PathParameters
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate
from tramontana.space.studies.availability import availability_of
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.latency import NOBODY, Serve, slots_of
from tramontana.space.studies.sites import Sites

Floats = NDArray[np.float64]
STEP_S = 15.0
LEAST_BPS = 1e6
"""What a carrier must still carry in the rain to count as available."""


@dataclass(frozen=True, slots=True)
class SkyDesign:
    """Satellites by the id of a built-in design, or shells of one's own; and the countries whose gateways may be used (none named: all)."""

    design_id: str | None
    shells: tuple[Shell, ...]
    landing_countries: tuple[str, ...]

    def fleet(self) -> Fleet:
        """Raises `LocalError` for a design that is not known."""
        if self.design_id is not None:
            return design(self.design_id).fleet()
        return generate(self.shells, label="as the study designs it", source="the study", name_prefix="NATIONAL")

    def ground(self) -> Ground:
        """Raises `LocalError` where no gateway is left."""
        known = mediterranean()
        if not self.landing_countries:
            return known
        gateways = tuple(gateway for gateway in known.gateways if gateway.country in self.landing_countries)
        if not gateways:
            countries = ", ".join(sorted({gateway.country for gateway in known.gateways}))
            raise LocalError(f"no gateway stands in {', '.join(self.landing_countries)}; there are gateways in {countries}")
        points = tuple(point for point in known.points_of_presence if point.country in self.landing_countries)
        return Ground(known.places, gateways, points or known.points_of_presence)


@dataclass(frozen=True, slots=True)
class Demand:
    """Where service is needed: P places and what part of the need each is, (P,), together 1."""

    places: tuple[Place, ...]
    shares: Floats


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


@dataclass(frozen=True, slots=True)
class Serving:
    """A sky, and the years of the study in which it serves, both included."""

    sky: SkyDesign
    first: int
    last: int


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
        served = Serve(sky.fleet(), ground, sites, self.seed, parameters)(slots_of(instants))
        share = np.mean(served.satellite != NOBODY, axis=1)
        trips = np.full((2, len(sites)), np.nan)
        for place in np.flatnonzero(share > 0):
            delay = served.one_way_delay_s[place]
            trips[:, place] = 2.0 * np.percentile(delay[np.isfinite(delay)].astype(np.float64), (50, 99))
        available = availability_of(served, sites, ground, parameters, least_bps=LEAST_BPS, percent=99.9).all
        return Measures(share, trips[0], trips[1], np.nan_to_num(available))


def measure(
    servings: Mapping[str, Sequence[Serving]],
    demand: Demand,
    years: int,
    run: Callable[[MeasureSky, Sequence[SkyDesign]], list[Measures]],
) -> dict[str, Service]:
    """By alternative; one without a sky is left out. Each sky is measured once, by `run`, which may do several side by side."""
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
    return Measures(
        1.0 - lost_service, _least([part.round_trip_s for part in parts]), _least([part.slow_round_trip_s for part in parts]), 1.0 - lost
    )


def weighted(values: Floats, shares: Floats) -> float:
    """Mean over the demand; NaN where a place with demand has no value: an average over the served ones alone would hide the others."""
    return float(np.sum(values * shares))


def _least(rows: Sequence[Floats]) -> Floats:
    stacked = np.stack(rows)
    never = np.isnan(stacked).all(axis=0)
    return np.where(never, np.nan, np.min(np.where(np.isnan(stacked), np.inf, stacked), axis=0))
