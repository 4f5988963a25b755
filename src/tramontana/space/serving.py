"""Which satellite serves which place in which 15 s slot: a seeded choice among those that could.

The operator's scheduler is not published. What was measured is: slots begin at :12, :27, :42 and :57 (arXiv 2310.09242); at Louvain in
July 2024 the serving elevation had p5/p50/p95 = 42/59.5/77° and the next slot kept the satellite with probability 0.23. The choice here
draws satellites so that elevations follow a normal law with those quantiles and sometimes keeps the one before. docs/space.md shows how
well it fits.

The answer for a slot depends on seed, place, slot and fleet alone, never on what was asked before, so windows of time join without seam.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground, Place
from tramontana.space.orbits import EARTH_ROTATION_RAD_PER_S, Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.visibility import (
    EARTH_POLAR_RADIUS_M,
    SPEED_OF_LIGHT_M_PER_S,
    coverage_half_angle_rad,
    itrs_position_m,
    look_angles,
)

SLOT_S = 15  # arXiv 2310.09242
SLOT_PHASE_S = 12  # slots begin at :12, :27, :42, :57 of every minute; same source
MINIMUM_ELEVATION_DEG = 25.0  # FCC 21-48: lowest elevation of Gen1 user terminals

ELEVATION_MEAN_DEG = 59.5  # median measured at Louvain, July 2024
ELEVATION_SIGMA_DEG = 17.5 / 1.645  # p5 and p95 lie 17.5° either side of it: the normal law of those quantiles
STAY_PROBABILITY = 0.2  # fitted: with the repeats of a fresh choice it gives the measured 0.23 of the same satellite

_SLOTS_PER_BLOCK = 8  # slots that share one coarse prefilter
_RENEWAL_SLOTS = 16  # a choice is always fresh in slots divisible by this: bounds how far back a chain of stays can reach
_PREFILTER_MARGIN_RAD = math.radians(1.0)  # oblateness of Earth and orbit, deviation from Kepler
_STAY_SALT = np.uint64(0x5354_4159)


def slot_of(unix_s: float) -> int:
    """Number of the slot that holds the instant."""
    return math.floor((unix_s - SLOT_PHASE_S) / SLOT_S)


def slot_start_unix_s(slot: int) -> float:
    """When the slot begins; it ends when the next one begins."""
    return float(slot * SLOT_S + SLOT_PHASE_S)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who serves a place in one slot: a satellite of the fleet and a gateway of the ground, by index."""

    satellite: int
    gateway: int


@dataclass(frozen=True, eq=False, slots=True)
class _Options:
    """What could serve in one slot: satellites (C,), the best gateway of each (C,), and which of them a fresh choice takes (-1: none)."""

    satellites: NDArray[np.intp]
    gateways: NDArray[np.intp]
    fresh: int

    def fresh_choice(self) -> Assignment | None:
        return Assignment(int(self.satellites[self.fresh]), int(self.gateways[self.fresh])) if self.fresh >= 0 else None

    def keep(self, satellite: int) -> Assignment | None:
        at = np.flatnonzero(self.satellites == satellite)
        return Assignment(satellite, int(self.gateways[at[0]])) if at.shape[0] else None


class Scheduler:
    """Serving satellites of one fleet over one ground. Cheap to ask again: blocks of slots are kept for a while."""

    def __init__(self, fleet: Fleet, ground: Ground, propagator: Propagator, parameters: PathParameters, seed: int) -> None:
        self._ground = ground
        self._propagator = propagator
        self._seed = np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF)
        self._identity = fleet.catalogue_number.astype(np.uint64)  # two's complement: negative numbers stay distinct
        fibre_m_per_s = SPEED_OF_LIGHT_M_PER_S * parameters.fibre_speed_of_light_share.value
        self.backhaul_s: Floats = ground.backhaul_m * parameters.fibre_detour.value / fibre_m_per_s
        """(G,) one-way seconds from each gateway to its point of presence."""
        half_block_s = SLOT_S * _SLOTS_PER_BLOCK / 2
        rate = propagator.max_angular_rate_rad_per_s + EARTH_ROTATION_RAD_PER_S
        self._reach_rad = (
            coverage_half_angle_rad(propagator.apogee_radius_m, MINIMUM_ELEVATION_DEG) + rate * half_block_s + _PREFILTER_MARGIN_RAD
        )
        self._directions_at = lru_cache(maxsize=8)(self._directions)
        self._block_at = lru_cache(maxsize=1024)(self._block)

    def assignment(self, place: Place, slot: int) -> Assignment | None:
        """The satellite and gateway that serve the place in the slot, or None without coverage."""
        renewal = slot
        while self._stays(place, renewal):
            renewal -= 1
        current = self._options(place, renewal).fresh_choice()
        for later in range(renewal + 1, slot + 1):
            options = self._options(place, later)
            current = (options.keep(current.satellite) if current else None) or options.fresh_choice()
        return current

    def eligible(self, place: Place, slot: int) -> NDArray[np.intp]:
        """Indices, (C,) ascending, of the satellites that stand ≥ 25° over the place and over a gateway for the whole slot."""
        return self._options(place, slot).satellites

    def _stays(self, place: Place, slot: int) -> bool:
        if slot % _RENEWAL_SLOTS == 0:
            return False
        return bool(_uniform(self._key(place, slot), np.array([_STAY_SALT]))[0] < STAY_PROBABILITY)

    def _key(self, place: Place, slot: int) -> np.uint64:
        digest = hashlib.blake2b(f"{int(self._seed)}\0{place.id}\0{slot}".encode(), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "big"))

    def _options(self, place: Place, slot: int) -> _Options:
        block, within = divmod(slot, _SLOTS_PER_BLOCK)
        return self._block_at(place, block)[within]

    def _directions(self, block: int) -> Floats:
        """Unit vectors (N, 3), ITRS, of all satellites in the middle of a block; NaN where SGP4 gives none."""
        middle = slot_start_unix_s(block * _SLOTS_PER_BLOCK) + SLOT_S * _SLOTS_PER_BLOCK / 2
        position = self._propagator.positions_itrs_m(np.array([middle]))[0]
        return np.asarray(position / np.linalg.norm(position, axis=-1, keepdims=True), dtype=np.float64)

    def _block(self, place: Place, block: int) -> tuple[_Options, ...]:
        """Options of every slot of a block, from exact positions of the satellites that may come into reach in it."""
        first = block * _SLOTS_PER_BLOCK
        up = itrs_position_m(place.latitude_deg, place.longitude_deg, place.height_m)
        cosine = self._directions_at(block) @ (up / np.linalg.norm(up))
        near = np.flatnonzero(np.arccos(np.clip(cosine, -1.0, 1.0)) <= self._reach_rad)  # NaN compares false
        halves: Floats = slot_start_unix_s(first) + np.arange(2 * _SLOTS_PER_BLOCK + 1, dtype=np.float64) * (SLOT_S / 2)
        position = self._propagator.positions_itrs_m(halves, near)
        elevation, _, _ = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, position)
        seen = _whole_slot(elevation >= MINIMUM_ELEVATION_DEG)  # (S, C)
        ever = np.flatnonzero(seen.any(axis=0))
        near, position, elevation, seen = near[ever], position[:, ever], elevation[:, ever], seen[:, ever]

        delay = np.full((len(self._ground.gateways), *seen.shape), np.inf)  # (G, S, C): satellite to point of presence
        for index, gateway in enumerate(self._ground.gateways):
            gateway_elevation, _, gateway_range = look_angles(gateway.latitude_deg, gateway.longitude_deg, 0.0, position)
            lands = _whole_slot(gateway_elevation >= gateway.minimum_elevation_deg)
            one_way = gateway_range[1::2] / SPEED_OF_LIGHT_M_PER_S + self.backhaul_s[index]
            delay[index][lands] = one_way[lands]
        best = np.argmin(delay, axis=0)
        seen &= np.isfinite(np.min(delay, axis=0))

        radius = np.linalg.norm(position[1::2], axis=-1)
        log_weight = _log_weight(elevation[1::2], radius)
        options = []
        for row in range(_SLOTS_PER_BLOCK):
            could = np.flatnonzero(seen[row])
            fresh = -1
            if could.shape[0]:
                # Gumbel-max: the satellite of the greatest log weight plus Gumbel noise is a draw with those weights. The noise belongs to
                # the satellite, so that adding or removing others never re-rolls it.
                noise = -np.log(-np.log(_uniform(self._key(place, first + row), self._identity[near[could]])))
                fresh = int(np.argmax(log_weight[row, could] + noise))
            options.append(_Options(near[could], best[row, could], fresh))
        return tuple(options)


def _whole_slot(above: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(S, C) whether a satellite is above the mask at both ends of each slot, from (2S+1, C) half-slot instants.

    Elevation rises and then falls in a pass, so both ends above the mask mean the whole slot is.
    """
    return above[:-1:2] & above[2::2]


def _log_weight(elevation_deg: Floats, radius_m: Floats) -> Floats:
    """Log of (wanted density of serving elevation) / (density at which an even shell offers satellites at that elevation)."""
    elevation = np.radians(
        np.clip(elevation_deg, 0.0, 88.0)
    )  # the density falls to 0 at the zenith: without a bound the weight is infinite
    ratio = EARTH_POLAR_RADIUS_M / radius_m
    theta = np.arccos(ratio * np.cos(elevation)) - elevation
    slope = 1.0 - ratio * np.sin(elevation) / np.sqrt(1.0 - (ratio * np.cos(elevation)) ** 2)
    wanted = -0.5 * ((elevation_deg - ELEVATION_MEAN_DEG) / ELEVATION_SIGMA_DEG) ** 2
    return np.asarray(wanted - np.log(np.sin(theta) * slope), dtype=np.float64)


def _uniform(key: np.uint64, identity: NDArray[np.uint64]) -> Floats:
    """Numbers in (0, 1), (C,), that depend on key and identity only: the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = key + (identity + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return np.asarray(((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53, dtype=np.float64)
