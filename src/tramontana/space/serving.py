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
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space import _serving_kernels
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground, Place
from tramontana.space.orbits import EARTH_ROTATION_RAD_PER_S
from tramontana.space.parameters import PathParameters
from tramontana.space.visibility import (
    EARTH_POLAR_RADIUS_M,
    SPEED_OF_LIGHT_M_PER_S,
    coverage_half_angle_rad,
    itrs_positions_m,
    local_frames,
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
_ZENITH_DEG = 88.0  # the density of satellites falls to 0 at the zenith: without a bound the weight is infinite
_MARGIN_RAD = math.radians(1.0)  # oblateness of Earth and orbit, deviation from Kepler
_STAY_SALT = np.uint64(0x5354_4159)


def slot_of(unix_s: float) -> int:
    """Number of the slot that holds the instant."""
    return math.floor((unix_s - SLOT_PHASE_S) / SLOT_S)


def slot_start_unix_s(slot: int) -> float:
    """When the slot begins; it ends when the next one begins."""
    return float(slot * SLOT_S + SLOT_PHASE_S)


class Positions(Protocol):
    """Where the satellites of a fleet are; `orbits.Propagator` is one."""

    apogee_radius_m: Floats
    max_angular_rate_rad_per_s: Floats

    def positions_itrs_m(self, unix_s: Floats, indices: NDArray[np.intp] | None = None) -> Floats: ...


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who serves a place in one slot: a satellite of the fleet and a gateway of the ground, by index."""

    satellite: int
    gateway: int


@dataclass(frozen=True, eq=False, slots=True)
class _Landed:
    """The satellites that come into reach of a gateway in one block of slots."""

    satellites: NDArray[np.intp]
    """(C,) ascending."""
    position_m: Floats
    """(2S+1, C, 3) ITRS at half slots."""
    gateway: NDArray[np.int32]
    """(S, C) the gateway of each satellite, −1 where it has none for the whole slot."""


@dataclass(frozen=True, eq=False, slots=True)
class _Options:
    """What could serve in one slot: satellites (C,), the gateway of each (C,), and which of them a fresh choice takes (-1: none)."""

    satellites: NDArray[np.intp]
    gateways: NDArray[np.intp]
    fresh: int

    def fresh_choice(self) -> Assignment | None:
        return Assignment(int(self.satellites[self.fresh]), int(self.gateways[self.fresh])) if self.fresh >= 0 else None

    def keep(self, satellite: int) -> Assignment | None:
        at = np.flatnonzero(self.satellites == satellite)
        return Assignment(satellite, int(self.gateways[at[0]])) if at.shape[0] else None


class Scheduler:
    """Serving satellites of one fleet over one ground. Cheap to ask again: blocks of slots are kept for a while.

    may_serve: (N,) which satellites carry traffic, all unless told; the others also take no antenna.
    limit_antennas: each antenna of a gateway tracks one satellite and a satellite lands on one gateway; antennas go to the pairs of least
    delay first, whoever asks. A gateway of unknown antenna count is not limited.
    """

    def __init__(
        self,
        fleet: Fleet,
        ground: Ground,
        propagator: Positions,
        parameters: PathParameters,
        seed: int,
        *,
        may_serve: NDArray[np.bool_] | None = None,
        limit_antennas: bool = False,
    ) -> None:
        if may_serve is not None and (may_serve.shape != (len(fleet),) or may_serve.dtype != np.bool_):
            raise LocalError(f"may_serve must be {len(fleet)} booleans, one a satellite of the fleet")
        self._ground = ground
        self._propagator = propagator
        self._seed = seed & 0xFFFF_FFFF_FFFF_FFFF
        self._identity = fleet.catalogue_number.astype(np.uint64)  # two's complement: negative numbers stay distinct
        self.may_serve = np.ones(len(fleet), dtype=np.bool_) if may_serve is None else may_serve.copy()
        """(N,) which satellites carry traffic."""
        self.may_serve.flags.writeable = False
        self._antennas: NDArray[np.int64] | None = None
        if limit_antennas:
            counts = [len(fleet) if g.antenna_count is None else g.antenna_count for g in ground.gateways]
            self._antennas = np.array(counts, dtype=np.int64)
        fibre_m_per_s = SPEED_OF_LIGHT_M_PER_S * parameters.fibre_speed_of_light_share.value
        self.backhaul_s: Floats = ground.backhaul_m * parameters.fibre_detour.value / fibre_m_per_s
        """(G,) one-way seconds from each gateway to its point of presence."""
        lowest_deg = np.array([g.minimum_elevation_deg for g in ground.gateways])
        latitude, longitude = np.array([(g.latitude_deg, g.longitude_deg) for g in ground.gateways]).T
        self._gateway_up: Floats = np.ascontiguousarray(local_frames(latitude, longitude)[:, 2])
        self._gateway_sine = np.sin(np.radians(lowest_deg))
        self._reach_rad = float(np.max(coverage_half_angle_rad(propagator.apogee_radius_m, MINIMUM_ELEVATION_DEG))) + _MARGIN_RAD
        half_block_s = SLOT_S * _SLOTS_PER_BLOCK / 2
        rate = propagator.max_angular_rate_rad_per_s + EARTH_ROTATION_RAD_PER_S
        over_gateways = coverage_half_angle_rad(propagator.apogee_radius_m, float(np.min(lowest_deg)))
        self._block_reach_rad = over_gateways + rate * half_block_s + _MARGIN_RAD
        self._landed_at = lru_cache(maxsize=16)(self._landed)
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

    def assignments(self, places: Sequence[Place], slots: range) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Satellites and gateways, each (P, S) by index, −1 without coverage: what `assignment` answers, for many places at once.

        Time grows with places × slots; memory holds the answer and one block of positions. Raises `LocalError` for slots that are not
        consecutive.
        """
        if slots.step != 1:
            raise LocalError("assignments are computed for consecutive slots: give a range with step 1")
        satellite = np.full((len(places), len(slots)), _serving_kernels.NONE, dtype=np.int32)
        gateway = satellite.copy()
        if not satellite.size:
            return satellite, gateway
        latitude, longitude, height = np.array([(p.latitude_deg, p.longitude_deg, p.height_m) for p in places]).T
        place_m = itrs_positions_m(latitude, longitude, height)
        up: Floats = np.ascontiguousarray(local_frames(latitude, longitude)[:, 2])
        place_key = np.array([self._place_key(place) for place in places], dtype=np.uint64)

        earliest = slots.start - slots.start % _RENEWAL_SLOTS
        before = np.arange(earliest, slots.start + 1)
        fresh = ~np.stack([_stays(_mix(place_key, _unsigned(slot)), int(slot)) for slot in before], axis=1)
        renewal = slots.start - np.argmax(fresh[:, ::-1], axis=1)  # of each place, the last fresh choice that the first slot rests on
        current = np.full(len(places), _serving_kernels.NONE, dtype=np.int32)
        for slot in range(int(np.min(renewal)), slots.stop):
            block, within = divmod(slot, _SLOTS_PER_BLOCK)
            landed = self._landed_at(block)
            position_m, lands = landed.position_m[2 * within : 2 * within + 3], landed.gateway[within]
            local = np.full(self._identity.shape[0] + 1, _serving_kernels.NONE, dtype=np.int32)  # the last entry stands for none
            local[landed.satellites] = np.arange(landed.satellites.shape[0])
            key, serving = _mix(place_key, _unsigned(slot)), local[current]
            with np.errstate(over="ignore"):
                _serving_kernels.choose(
                    place_m,
                    up,
                    key,
                    renewal <= slot,
                    _stays(key, slot) & (renewal < slot),
                    position_m,
                    self._identity[landed.satellites],
                    *_serving_kernels.sort_into_cells(position_m[1], lands != _serving_kernels.NONE),
                    self._reach_rad,
                    math.sin(math.radians(MINIMUM_ELEVATION_DEG)),
                    math.sin(math.radians(_ZENITH_DEG)),
                    ELEVATION_MEAN_DEG,
                    ELEVATION_SIGMA_DEG,
                    EARTH_POLAR_RADIUS_M,
                    serving,
                )
            served = serving != _serving_kernels.NONE
            current = np.full(len(places), _serving_kernels.NONE, dtype=np.int32)
            current[served] = landed.satellites[serving[served]]
            if slot in slots:
                satellite[:, slot - slots.start] = current
                gateway[served, slot - slots.start] = lands[serving[served]]
        return satellite, gateway

    def eligible(self, place: Place, slot: int) -> NDArray[np.intp]:
        """Indices, (C,) ascending, of the satellites that stand ≥ 25° over the place and over a gateway for the whole slot."""
        return self._options(place, slot).satellites

    def _stays(self, place: Place, slot: int) -> bool:
        return bool(_stays(_mix(np.array([self._place_key(place)]), _unsigned(slot)), slot)[0])

    def _place_key(self, place: Place) -> np.uint64:
        digest = hashlib.blake2b(f"{self._seed}\0{place.id}".encode(), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "big"))

    def _options(self, place: Place, slot: int) -> _Options:
        block, within = divmod(slot, _SLOTS_PER_BLOCK)
        return self._block_at(place, block)[within]

    def _landed(self, block: int) -> _Landed:
        """Exact positions through a block of the satellites that may come into reach of a gateway in it, and where each lands."""
        start = slot_start_unix_s(block * _SLOTS_PER_BLOCK)
        middle = self._propagator.positions_itrs_m(np.array([start + SLOT_S * _SLOTS_PER_BLOCK / 2]))[0]
        site_m = self._ground.gateway_itrs_m
        cosine = (middle / np.linalg.norm(middle, axis=-1, keepdims=True)) @ (site_m / np.linalg.norm(site_m, axis=-1, keepdims=True)).T
        # NaN, where SGP4 gives no position, compares false.
        near = np.flatnonzero((np.max(cosine, axis=1) >= np.cos(np.minimum(self._block_reach_rad, np.pi))) & self.may_serve)
        halves: Floats = start + np.arange(2 * _SLOTS_PER_BLOCK + 1, dtype=np.float64) * (SLOT_S / 2)
        position_m = self._propagator.positions_itrs_m(halves, near)
        delay_s = np.empty((_SLOTS_PER_BLOCK, site_m.shape[0], near.shape[0]))
        _serving_kernels.landing_delays(
            position_m, site_m, self._gateway_up, self._gateway_sine, self.backhaul_s, SPEED_OF_LIGHT_M_PER_S, delay_s
        )
        if self._antennas is None:
            best = np.argmin(delay_s, axis=1)
            gateway = np.where(np.isfinite(np.min(delay_s, axis=1)), best, _serving_kernels.NONE).astype(np.int32)
        else:
            gateway = np.empty((_SLOTS_PER_BLOCK, near.shape[0]), dtype=np.int32)
            for slot in range(_SLOTS_PER_BLOCK):
                order = np.argsort(delay_s[slot], axis=None, kind="stable")
                _serving_kernels.give_antennas(delay_s[slot], self._antennas, order, gateway[slot])
        return _Landed(near, position_m, gateway)

    def _block(self, place: Place, block: int) -> tuple[_Options, ...]:
        """Options of every slot of a block."""
        landed = self._landed_at(block)
        elevation, _, _ = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, landed.position_m)
        seen = _whole_slot(elevation >= MINIMUM_ELEVATION_DEG) & (landed.gateway != _serving_kernels.NONE)  # (S, C)
        options = []
        for row in range(_SLOTS_PER_BLOCK):
            could = np.flatnonzero(seen[row])
            satellites = landed.satellites[could]
            fresh = -1
            if could.shape[0]:
                # Gumbel-max: the satellite of the greatest log weight plus Gumbel noise is a draw with those weights. The noise belongs to
                # the satellite, so that adding or removing others never re-rolls it.
                slot = block * _SLOTS_PER_BLOCK + row
                noise = -np.log(-np.log(_uniform(_mix(self._place_key(place), _unsigned(slot)), self._identity[satellites])))
                radius_m = np.linalg.norm(landed.position_m[2 * row + 1, could], axis=-1)
                fresh = int(np.argmax(log_weight(elevation[2 * row + 1, could], radius_m) + noise))
            options.append(_Options(satellites, landed.gateway[row, could].astype(np.intp), fresh))
        return tuple(options)


def _whole_slot(above: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(S, C) whether a satellite is above the mask at both ends of each slot, from (2S+1, C) half-slot instants.

    Elevation rises and then falls in a pass, so both ends above the mask mean the whole slot is.
    """
    return above[:-1:2] & above[2::2]


def log_weight(elevation_deg: Floats, radius_m: Floats) -> Floats:
    """Log of (wanted density of serving elevation) / (density at which an even shell offers satellites at that elevation)."""
    elevation = np.radians(np.clip(elevation_deg, 0.0, _ZENITH_DEG))
    ratio = EARTH_POLAR_RADIUS_M / radius_m
    theta = np.arccos(ratio * np.cos(elevation)) - elevation
    slope = 1.0 - ratio * np.sin(elevation) / np.sqrt(1.0 - (ratio * np.cos(elevation)) ** 2)
    wanted = -0.5 * ((elevation_deg - ELEVATION_MEAN_DEG) / ELEVATION_SIGMA_DEG) ** 2
    return np.asarray(wanted - np.log(np.sin(theta) * slope), dtype=np.float64)


def _unsigned(slot: int | np.signedinteger) -> np.uint64:
    return np.uint64(int(slot) & 0xFFFF_FFFF_FFFF_FFFF)


def _stays(key: NDArray[np.uint64], slot: int) -> NDArray[np.bool_]:
    """(P,) whether the slot keeps the satellite of the slot before, by the keys of places and slot."""
    if slot % _RENEWAL_SLOTS == 0:
        return np.zeros(key.shape, dtype=np.bool_)
    return np.asarray(_uniform(key, _STAY_SALT) < STAY_PROBABILITY)


def _mix(key: NDArray[np.uint64] | np.uint64, identity: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """64 bits that depend on key and identity only: the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = key + (identity + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))


def _uniform(key: NDArray[np.uint64] | np.uint64, identity: NDArray[np.uint64] | np.uint64) -> Floats:
    """Numbers in (0, 1) that depend on key and identity only."""
    return np.asarray(((_mix(key, identity) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53, dtype=np.float64)
