"""The phones of a world as arrays, one entry a phone: where they are, which sites they hear, when they are on and under the open sky.

What a phone does at an instant is a function of the seed, the phone and the instant alone: two runs that differ in their satellites ask
the same phones.
"""

from __future__ import annotations

from dataclasses import dataclass

import h3
import numpy as np
from numpy.typing import NDArray

from tramontana.cell.area import Floats
from tramontana.exercise.figures import Figures
from tramontana.exercise.terrestrial import TICK_S, GroundState, Network, distance_km, effects_of, scattered
from tramontana.exercise.world import World
from tramontana.space.beams.held import CELL_RESOLUTION

PHONES = 4
SITES_HEARD = 3
NEAREST = 20
"""Sites of other municipalities that are looked at for each municipality's phones."""
BLOCK_S = 600.0
"""Who steps outside does so for ten minutes."""
GOES_OUT_S = 180.0
"""Mean until somebody whom a blow drives outdoors is there (assumption)."""
SWITCHED_ON_S = 4 * 3600.0
"""Mean until a phone that was off is switched on (assumption)."""
_GRID_A_DEGREE = 100
_COLUMNS = 361 * _GRID_A_DEGREE


@dataclass(frozen=True, eq=False)
class Phones:
    """N phones."""

    seed: int
    latitude_deg: Floats
    longitude_deg: Floats
    place: NDArray[np.int32]
    group: NDArray[np.int32]
    """(N,) phones that hear the same sites, nearest first."""
    group_sites: NDArray[np.int32]
    """(G, SITES_HEARD) -1 where there are fewer."""
    cell: NDArray[np.int32]
    """(N,) of the beams that satellites hold on the ground."""
    cells: tuple[str, ...]
    satellite: NDArray[np.bool_]
    """(N,) whether it can use the satellites' band."""
    on_from_s: Floats
    flat_share: Floats
    """(N,) of the longest life without mains, how much was in its battery."""
    outdoors_from_s: Floats
    """(N,) when its people are in the open for good; inf for never."""
    steps_outside: float
    site_range_km: float
    official: NDArray[np.int8]
    """(N,) the precedence of an official's texts; -1 for the public."""

    def __len__(self) -> int:
        return int(self.place.shape[0])

    def outdoors(self, which: NDArray[np.int64], now_s: float) -> NDArray[np.bool_]:
        """Which of some phones are under the open sky."""
        block = int(now_s // BLOCK_S)
        out = self.outdoors_from_s[which] <= now_s
        return np.asarray(out | (chance(self.seed, which, block, 1) < self.steps_outside))

    def house(self, which: NDArray[np.int64]) -> Floats:
        """How much is between some phones and the sky while they are indoors: the share of indoor places that are better off."""
        return chance(self.seed, which, 0, 3)


def chance(seed: int, which: NDArray[np.int64], time: int, purpose: int) -> Floats:
    """(N,) in [0, 1): the same for the same phone, time and purpose. SplitMix64 (Steele, Lea, Flood 2014) over them."""
    with np.errstate(over="ignore"):
        x = which.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x ^= np.uint64((time * 0xD1B54A32D192ED03 + purpose * 0x8CB92BA72F3D8DD7 + seed * 0xAEF17502108EF2D9) % 2**64)
        for _ in range(2):
            x += np.uint64(0x9E3779B97F4A7C15)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def draw(world: World, network: Network, seed: int) -> Phones:
    """All phones of a world."""
    random = np.random.default_rng([seed, PHONES])
    places, figures = world.places, world.figures
    count = np.rint(places.population * figures.phones_per_person.value).astype(np.int64)
    place = np.repeat(np.arange(len(places)), count)
    number = place.shape[0]
    latitude, longitude = scattered(random, places, place)
    reach_km = figures.site_range_km.value
    group, group_sites = _heard(world, network, place, latitude, longitude)
    cell, cells = cells_of(latitude, longitude)
    on_from = np.where(random.random(number) < figures.phone_on_share.value, 0.0, random.exponential(SWITCHED_ON_S, number))
    official = np.full(number, -1, dtype=np.int8)
    level = random.choice(5, number, p=(0.2, 0.4, 0.25, 0.1, 0.05)).astype(np.int8)  # routine … flash-override (assumption)
    chosen = random.random(number) < figures.officials_share.value
    official[chosen] = level[chosen]
    return Phones(
        seed,
        latitude,
        longitude,
        place.astype(np.int32),
        group,
        group_sites,
        cell,
        cells,
        random.random(number) < figures.satellite_phone_share.value,
        on_from,
        random.random(number),
        _outdoors_from(world, place, random),
        figures.steps_outside.value,
        reach_km,
        official,
    )


def cells_of(latitude: Floats, longitude: Floats) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """(N,) index of each phone's cell, and the names of the cells. Looked up for squares of a hundredth of a degree."""
    squares, inverse = np.unique(
        np.rint(latitude * _GRID_A_DEGREE).astype(np.int64) * _COLUMNS
        + np.rint(longitude * _GRID_A_DEGREE).astype(np.int64)
        + _COLUMNS // 2,
        return_inverse=True,
    )
    found = [
        h3.latlng_to_cell(square // _COLUMNS / _GRID_A_DEGREE, (square % _COLUMNS - _COLUMNS // 2) / _GRID_A_DEGREE, CELL_RESOLUTION)
        for square in squares.tolist()
    ]
    names = tuple(sorted(set(found)))
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[name] for name in found], dtype=np.int32)[inverse], names


def _heard(
    world: World, network: Network, place: NDArray[np.int64], latitude: Floats, longitude: Floats
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    places, reach_km = world.places, world.figures.site_range_km.value
    heard = np.full((place.shape[0], SITES_HEARD), -1, dtype=np.int64)
    bounds = np.searchsorted(place, np.arange(len(places) + 1))
    for town in range(len(places)):
        mine = slice(bounds[town], bounds[town + 1])
        away = distance_km(network.latitude_deg, network.longitude_deg, places.latitude_deg[town], places.longitude_deg[town])
        own = np.flatnonzero(network.place == town)
        others = np.argsort(np.where(network.place == town, np.inf, away), kind="stable")[:NEAREST]
        near = np.concatenate([own, others[network.place[others] != town]])
        stretch = np.cos(np.radians(places.latitude_deg[town]))
        north = (latitude[mine, None] - network.latitude_deg[None, near]) * 111.195
        east = (longitude[mine, None] - network.longitude_deg[None, near]) * 111.195 * stretch
        square = north * north + east * east
        keep = min(SITES_HEARD, near.size)
        best = (
            np.argpartition(square, keep - 1, axis=1)[:, :keep] if keep < near.size else np.tile(np.arange(near.size), (square.shape[0], 1))
        )
        distance = np.take_along_axis(square, best, axis=1)
        turn = np.argsort(distance, axis=1, kind="stable")
        best, distance = np.take_along_axis(best, turn, axis=1), np.take_along_axis(distance, turn, axis=1)
        heard[mine, :keep] = np.where(distance <= reach_km**2, near[best], -1)
    sites = len(network) + 1
    key = ((heard[:, 0] + 1) * sites + heard[:, 1] + 1) * sites + heard[:, 2] + 1
    kinds, first, group = np.unique(key, return_index=True, return_inverse=True)
    del kinds
    return group.reshape(-1).astype(np.int32), heard[first].astype(np.int32)


def _outdoors_from(world: World, place: NDArray[np.int64], random: np.random.Generator) -> Floats:
    """One draw a phone decides how shy of buildings its people are; each blow drives those out whose share it reaches."""
    shy, lag = random.random(place.shape), random.exponential(GOES_OUT_S, place.shape)
    from_s: NDArray[np.float64] = np.full(place.shape, np.inf)
    for blow in world.blows:
        share = np.array([effect.outdoors if effect else 0.0 for effect in effects_of(blow, world.places)])
        goes = (shy < share[place]) & np.isinf(from_s)
        from_s[goes] = blow.at_min * 60.0 + lag[goes]
    return from_s


@dataclass(frozen=True, eq=False)
class Reach:
    """When the ground network reaches whom: K ticks."""

    serving: NDArray[np.int32]
    """(K, G) the nearest site that works and that a group hears; -1 for none."""
    dark_since_s: Floats
    """(K, M) since when they have been without; inf with mains."""
    longest_s: float
    """How long a full phone lasts without mains."""

    def on(self, phones: Phones, which: NDArray[np.int64], at_s: float | Floats) -> NDArray[np.bool_]:
        """Which of some phones are switched on and have charge, at one instant or each at its own."""
        dark_s = at_s - self.dark_since_s[self._tick(at_s), phones.place[which]]
        return np.asarray((phones.on_from_s[which] <= at_s) & (dark_s <= phones.flat_share[which] * self.longest_s))

    def hears_ground(self, phones: Phones, which: NDArray[np.int64], at_s: float | Floats) -> NDArray[np.bool_]:
        """Which of some phones have a working site in reach, at one instant or each at its own."""
        return np.asarray(self.serving[self._tick(at_s), phones.group[which]] >= 0)

    def _tick(self, at_s: float | Floats) -> NDArray[np.int64]:
        return np.asarray(np.minimum(np.asarray(at_s // TICK_S, dtype=np.int64), self.serving.shape[0] - 1))


def reach(phones: Phones, state: GroundState, figures: Figures) -> Reach:
    """What the state of the sites means for phones."""
    ticks = state.alive.shape[0]
    padded = np.concatenate([state.alive, np.zeros((ticks, 1), dtype=np.bool_)], axis=1)  # site -1 never works
    serving = np.full((ticks, phones.group_sites.shape[0]), -1, dtype=np.int32)
    for turn in range(SITES_HEARD - 1, -1, -1):
        works = padded[:, phones.group_sites[:, turn]]
        serving = np.where(works, phones.group_sites[None, :, turn], serving)
    dark = np.full(state.mains.shape, np.inf)
    since = np.full(state.mains.shape[1], np.inf)
    for tick in range(ticks):
        out = ~state.mains[tick]
        since = np.where(out, np.minimum(since, tick * TICK_S), np.inf)
        dark[tick] = since
    return Reach(serving, dark, figures.phone_battery_h.value * 3600.0)
