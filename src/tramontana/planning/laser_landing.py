"""Where traffic lands, and what landing at home costs in delay, when satellites pass it on to each other by laser. Simulated, not measured.

The shortest route of every place at every instant (space/routing), once to whatever gateway is best and once to those at home only. A
design is given the lasers of the router's own rules: each satellite to its neighbours in the plane and in the planes beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tramontana.planning.figure import Figure, Simulated
from tramontana.planning.measures import Demand, weighted
from tramontana.planning.sky import SkyDesign
from tramontana.space.routing.policy import Policy
from tramontana.space.routing.router import Router
from tramontana.space.routing.routes import Route
from tramontana.space.shells import FILED_EPOCH_UNIX_S
from tramontana.space.studies.instants import Instants

Floats = NDArray[np.float64]
STEP_S: Final = 300.0
DURATION_S: Final = 3600.0


@dataclass(frozen=True, eq=False, slots=True)
class LaserLanding:
    """By place, (P,); NaN where there is no route at any instant."""

    at_home: Floats
    """Share of the instants with a route at which the shortest one lands at home."""
    round_trip_s: Floats
    """Median of the shortest one."""
    home_routed: Floats
    """Share of all instants with a route that lands at home."""
    home_round_trip_s: Floats
    """Its median."""


@dataclass(frozen=True, eq=False, slots=True)
class RouteByLaser:
    """The work of one sky, picklable. The demand names its home."""

    demand: Demand
    start_unix_s: float = FILED_EPOCH_UNIX_S
    duration_s: float = DURATION_S

    def __call__(self, sky: SkyDesign) -> LaserLanding:
        router, home = Router(sky.fleet(), sky.ground()), self.demand.home
        policy = Policy(landing_countries=frozenset({home}))
        times = Instants.over(self.start_unix_s, self.duration_s, STEP_S).times_unix_s.tolist()
        trip, home_trip, lands = (np.full((len(self.demand.places), len(times)), np.nan) for _ in range(3))
        for column, at in enumerate(times):
            for row, place in enumerate(self.demand.places):
                free, own = router.route(place, None, at), router.route(place, None, at, policy=policy)
                if isinstance(free, Route):
                    trip[row, column] = 2.0 * free.delay_s
                    lands[row, column] = free.landed_countries[0] == home
                if isinstance(own, Route):
                    home_trip[row, column] = 2.0 * own.delay_s
        return LaserLanding(_mean(lands), _median(trip), np.isfinite(home_trip).mean(axis=1), _median(home_trip))


def land_by_laser(
    skies: Mapping[str, Sequence[SkyDesign]], demand: Demand | None, run: Callable[[RouteByLaser, Sequence[SkyDesign]], list[LaserLanding]]
) -> dict[str, LaserLanding]:
    """By alternative; one none of whose skies has lasers is left out. Every sky is looked at once."""
    several = {name: each for name, each in skies.items() if each}
    if demand is None or not demand.home or not several:
        return {}
    distinct = list(dict.fromkeys(sky for each in several.values() for sky in each))
    found = dict(zip(distinct, run(RouteByLaser(demand), distinct), strict=True))
    return {name: together([found[sky] for sky in each]) for name, each in several.items()}


def together(parts: Sequence[LaserLanding]) -> LaserLanding:
    """Traffic goes by the sky that is quickest for each place."""
    quick, home_quick = _quickest([part.round_trip_s for part in parts]), _quickest([part.home_round_trip_s for part in parts])

    def of(chosen: NDArray[np.intp], rows: Sequence[Floats]) -> Floats:
        return np.asarray(np.stack(rows)[chosen, np.arange(chosen.size)], np.float64)

    return LaserLanding(
        of(quick, [part.at_home for part in parts]),
        of(quick, [part.round_trip_s for part in parts]),
        1.0 - np.prod([1.0 - part.home_routed for part in parts], axis=0),
        of(home_quick, [part.home_round_trip_s for part in parts]),
    )


def laser_names(home: str) -> tuple[str, str, str, str, str]:
    """Of the figures, in order: where it lands, the shortest trip, routed at home, the trip at home, what landing at home adds."""
    only = f", landing in {home} only"
    return (
        f"traffic that lands in {home}, with lasers",
        "round trip, median, with lasers",
        f"routed with lasers{only}",
        f"round trip, median, with lasers{only}",
        f"round trip, median, with lasers: what landing in {home} only adds",
    )


def laser_figures(demand: Demand, found: LaserLanding) -> list[Figure]:
    """Means over the places by their shares. What is not known is left out."""
    shares, known = demand.shares, dict[str, Figure]()
    lands, trip, routed, home_trip, added = laser_names(demand.home)
    every = f"mean over the places by their shares, over {DURATION_S / 3600:g} h of sky every {STEP_S / 60:g} min, shortest routes by laser"
    for name, values, scale, of in (
        (lands, found.at_home, 1.0, ""),
        (trip, found.round_trip_s, 1e3, "ms"),
        (routed, found.home_routed, 1.0, ""),
        (home_trip, found.home_round_trip_s, 1e3, "ms"),
    ):
        value = weighted(values, shares) * scale
        if not np.isnan(value):
            known[name] = Simulated(name, value, of, every)
    if trip in known and home_trip in known:
        known[added] = (known[home_trip] - known[trip]).called(added)
    return list(known.values())


def _mean(rows: Floats) -> Floats:
    known = np.isfinite(rows)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, rows, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _median(rows: Floats) -> Floats:
    return np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in rows])


def _quickest(rows: Sequence[Floats]) -> NDArray[np.intp]:
    stacked = np.stack(rows)
    return np.asarray(np.argmin(np.where(np.isnan(stacked), np.inf, stacked), axis=0), np.intp)
