"""The network on the ground: synthetic sites with mains, batteries, generators and backhaul that fail and return in cascade.

No list of real sites may be shipped, so sites are drawn around municipalities in proportion to their people. Each municipality has a hub;
its other sites hang on the hub, hubs on a larger town nearby, towns with an exchange on the core. A site works while it has power, is not
lost, and has a way to the core over nodes that do.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tramontana.cell.area import EARTH_RADIUS_M, Floats
from tramontana.exercise.figures import Figures
from tramontana.exercise.world import Blow, Effect, Places, World

TICK_S = 60.0
SITES, FAILURES, REPAIRS = 1, 2, 3
"""Streams of chance: what is drawn in one does not depend on how much was drawn in another."""
SPREAD = 0.35
"""Standard deviation of people and sites around their municipality's point, in units of the square root of its area (assumption)."""


class Cause(IntEnum):
    """Why a site is out at an instant; the first that holds."""

    WORKS = 0
    LOST = 1
    POWER = 2
    BACKHAUL = 3


@dataclass(frozen=True, eq=False)
class Network:
    """S synthetic sites."""

    latitude_deg: Floats
    longitude_deg: Floats
    place: NDArray[np.int64]
    """(S,) its municipality."""
    parent: NDArray[np.int64]
    """(S,) the site its backhaul goes to; -1 for the core."""
    second: NDArray[np.int64]
    """(S,) a second one; -1 for none."""
    order: NDArray[np.int64]
    """(S,) every site after those it hangs on."""
    battery_s: Floats
    generator_s: Floats
    people: Floats
    """(S,) who live around it."""

    def __len__(self) -> int:
        return int(self.place.shape[0])

    def hanging_on(self, site: int) -> int:
        """How many sites have no way to the core without this one."""
        cut = np.zeros(len(self), dtype=np.bool_)
        for number in self.order.tolist():
            above = [each for each in (self.parent[number], self.second[number]) if each >= 0]
            cut[number] = number == site or (bool(above) and all(cut[each] for each in above))
        return int(np.count_nonzero(cut)) - 1


@dataclass(frozen=True, eq=False)
class GroundState:
    """What works when: K ticks of a minute."""

    alive: NDArray[np.bool_]
    """(K, S)"""
    cause: NDArray[np.int8]
    """(K, S) of `Cause`."""
    mains: NDArray[np.bool_]
    """(K, M) municipalities with mains power."""
    repairs: tuple[tuple[float, int, str], ...]
    """Seconds, site, and what a crew did."""


def distance_km(latitude_deg: Floats, longitude_deg: Floats, latitude: float, longitude: float) -> Floats:
    """On a plane at the point: within a percent at 100 km."""
    north = np.radians(latitude_deg - latitude)
    east = np.radians(longitude_deg - longitude) * np.cos(np.radians(latitude))
    return np.asarray(np.hypot(north, east) * EARTH_RADIUS_M / 1000.0)


def scattered(random: np.random.Generator, places: Places, place: NDArray[np.int64], spread: float = SPREAD) -> tuple[Floats, Floats]:
    """(N,) latitude and longitude of what lies somewhere in its municipality."""
    deviation_km = spread * np.sqrt(places.area_km2[place])
    north, east = random.standard_normal((2, place.shape[0])) * deviation_km
    latitude = places.latitude_deg[place]
    a_degree = np.radians(1.0) * EARTH_RADIUS_M / 1000.0
    return latitude + north / a_degree, places.longitude_deg[place] + east / (a_degree * np.cos(np.radians(latitude)))


def effects_of(blow: Blow, places: Places) -> tuple[Effect | None, ...]:
    """(M,) what a blow does to each place; None for nothing."""
    if blow.effect is not None:
        named = set(blow.municipalities)
        return tuple(blow.effect if name in named else None for name in places.names)
    assert blow.latitude is not None
    assert blow.longitude is not None
    away = distance_km(places.latitude_deg, places.longitude_deg, blow.latitude, blow.longitude)
    return tuple(next((ring for ring in blow.rings if km <= ring.within_km), None) for km in away.tolist())


def build(world: World, seed: int) -> Network:
    """The sites of a world: the same for the same seed, whatever happens to them."""
    random = np.random.default_rng([seed, SITES])
    places, figures = world.places, world.figures
    count = np.maximum(1, np.rint(places.population / figures.people_per_site.value)).astype(np.int64)
    place = np.repeat(np.arange(len(places)), count)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    latitude, longitude = scattered(random, places, place)
    latitude[first], longitude[first] = places.latitude_deg, places.longitude_deg  # the hub stands in the town
    hub_parent, hub_second = _towns(places, figures, random)
    parent = first[place].copy()
    second = np.full(place.shape, -1, dtype=np.int64)
    parent[first] = np.where(hub_parent >= 0, first[hub_parent], -1)
    second[first] = np.where(hub_second >= 0, first[hub_second], -1)
    # Larger towns come first, and a hub before the sites of its town: what a site hangs on is always worked out before it.
    by_size = {int(town): rank for rank, town in enumerate(np.lexsort((np.arange(len(places)), -places.population)).tolist())}
    rank = np.array([by_size[int(town)] for town in place])
    order = np.lexsort((np.arange(place.shape[0]), rank))
    is_hub = np.zeros(place.shape, dtype=np.bool_)
    is_hub[first] = True
    has_battery = random.random(place.shape) < figures.battery_share.value
    battery = np.where(has_battery, figures.battery_h.value * 3600.0 * random.uniform(0.5, 1.5, place.shape), 0.0)
    # Hubs of towns with an exchange have generators before anybody else has.
    has_generator = (random.random(place.shape) < figures.generator_share.value) | (is_hub & (parent < 0))
    generator = np.where(has_generator, figures.generator_h.value * 3600.0, 0.0)
    return Network(latitude, longitude, place, parent, second, order, battery, generator, (places.population / count)[place])


def _towns(places: Places, figures: Figures, random: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(M,) for each municipality the larger one that its hub hangs on, and a second one; -1 for the core and for none."""
    number = len(places)
    size = places.population.astype(np.float64) + np.arange(number)[::-1] * 1e-6  # no two are as large
    parent, second = np.full(number, -1, dtype=np.int64), np.full(number, -1, dtype=np.int64)
    twice = random.random(number) < figures.second_path_share.value
    for town in range(number):
        larger = np.flatnonzero(size > size[town])
        if places.population[town] >= figures.exchange_population.value or not larger.size:
            continue
        away = distance_km(places.latitude_deg[larger], places.longitude_deg[larger], places.latitude_deg[town], places.longitude_deg[town])
        near = larger[np.argsort(away, kind="stable")]
        parent[town] = near[0]
        if twice[town] and near.size > 1:
            second[town] = near[1]
    return parent, second


def play(world: World, network: Network, seed: int) -> GroundState:
    """What works at each minute."""
    ticks = int(np.ceil(world.seconds / TICK_S))
    random = np.random.default_rng([seed, FAILURES])
    mains = np.ones((ticks, len(world.places)), dtype=np.bool_)
    lost_at = np.full(len(network), np.inf)
    cut_at = np.full(len(network), np.inf)
    for blow in world.blows:
        at = blow.at_min * 60.0
        effects = effects_of(blow, world.places)
        # Drawn for everybody, so that one share more or less changes nothing for the others.
        out, length = random.random(len(world.places)), np.exp(random.standard_normal(len(world.places)) * np.log(2.0))
        lost, cut = random.random(len(network)), random.random(len(network))
        for place, effect in enumerate(effects):
            if effect is not None and out[place] < effect.mains_out:
                begin = int(at // TICK_S)
                mains[begin : begin + max(1, int(np.ceil(effect.outage_h * 3600 * length[place] / TICK_S))), place] = False
        lost_share = np.array([effect.sites_lost if effect else 0.0 for effect in effects])[network.place]
        cut_share = np.array([effect.links_cut if effect else 0.0 for effect in effects])[network.place]
        lost_at = np.where((lost < lost_share) & np.isinf(lost_at), at, lost_at)
        cut_at = np.where((cut < cut_share) & np.isinf(cut_at), at, cut_at)
    lost_until, cut_until, repairs = _repair(world, network, lost_at, cut_at, seed)
    return _cascade(network, mains, (lost_at, lost_until), (cut_at, cut_until), repairs)


def _repair(
    world: World, network: Network, lost_at: Floats, cut_at: Floats, seed: int
) -> tuple[Floats, Floats, tuple[tuple[float, int, str], ...]]:
    """When crews have mended each site and link: those on which most people hang first."""
    random = np.random.default_rng([seed, REPAIRS])
    figures = world.figures
    people = network.people.copy()
    for site in network.order[::-1].tolist():  # who hangs on it counts too
        if network.parent[site] >= 0:
            people[network.parent[site]] += people[site]
    takes = random.exponential(figures.repair_h.value * 3600.0, (2, len(network)))
    until = (np.full(len(network), np.inf), np.full(len(network), np.inf))
    work = sorted(
        (at + figures.repair_starts_h.value * 3600.0, -float(people[site]), site, kind)
        for kind, begun in enumerate((lost_at, cut_at))
        for site, at in enumerate(begun.tolist())
        if np.isfinite(at)
    )
    crews = [0.0] * max(1, round(figures.crews.value))
    waiting: list[tuple[float, int, int, float]] = []
    done: list[tuple[float, int, str]] = []
    number = 0
    while number < len(work) or waiting:
        free = heapq.heappop(crews)
        if not waiting and number < len(work):
            free = max(free, work[number][0])
        while number < len(work) and work[number][0] <= free:
            known, weight, site, kind = work[number]
            heapq.heappush(waiting, (weight, site, kind, known))
            number += 1
        _, site, kind, known = heapq.heappop(waiting)
        ends = max(free, known) + float(takes[kind, site])
        until[kind][site] = ends
        done.append((ends, site, ("site", "link")[kind]))
        heapq.heappush(crews, ends)
    return until[0], until[1], tuple(sorted(done))


def _cascade(
    network: Network,
    mains: NDArray[np.bool_],
    lost: tuple[Floats, Floats],
    cut: tuple[Floats, Floats],
    repairs: tuple[tuple[float, int, str], ...],
) -> GroundState:
    ticks, number = mains.shape[0], len(network)
    at = (np.arange(ticks) + 0.5)[:, None] * TICK_S
    is_lost = (at >= lost[0]) & (at < lost[1])
    is_cut = (at >= cut[0]) & (at < cut[1])
    power = np.ones((ticks, number), dtype=np.bool_)
    charge, fuel = network.battery_s.copy(), network.generator_s.copy()
    for tick in range(ticks):
        fed = mains[tick, network.place]
        runs = ~fed & (fuel > 0)  # a generator takes over and keeps the battery full
        fuel[runs] -= TICK_S
        on_battery = ~fed & ~runs
        power[tick] = fed | runs | (charge > 0)
        charge[on_battery] -= TICK_S
        # Recharges as slowly as it empties.
        charge[fed] = np.minimum(network.battery_s[fed], np.maximum(charge[fed], 0.0) + TICK_S)
    alive = power & ~is_lost
    for site in network.order.tolist():  # parents first
        parent, second = int(network.parent[site]), int(network.second[site])
        way = ~is_cut[:, site] if parent < 0 else ~is_cut[:, site] & alive[:, parent]
        if second >= 0:
            way = way | alive[:, second]  # a link of its own
        alive[:, site] &= way
    cause = np.where(alive, Cause.WORKS, np.where(is_lost, Cause.LOST, np.where(~power, Cause.POWER, Cause.BACKHAUL)))
    return GroundState(alive, cause.astype(np.int8), mains, repairs)
