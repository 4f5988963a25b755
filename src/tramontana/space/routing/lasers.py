"""The laser network of a fleet over time: which links stand at an instant and how long they are, as CSR arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.orbits import Propagator
from tramontana.space.routing import _kernels
from tramontana.space.routing.options import RouterOptions
from tramontana.space.routing.planes import Planes, infer_planes
from tramontana.space.routing.wiring import Wiring, given, plus_grid
from tramontana.space.visibility import EARTH_POLAR_RADIUS_M, SPEED_OF_LIGHT_M_PER_S, WGS84_SEMI_MAJOR_AXIS_M

Ints = NDArray[np.int32]

_FASTEST_CLOSING_M_PER_S = 16_000.0  # two satellites in low orbit head-on; links nearer to a limit than this allows are looked at again
_SHORTEST_M = 1.0  # two filed satellites may coincide; every hop takes some time, so forwarding cannot go in circles
_OBLATENESS_M = 25_000.0  # margin for the flattening of Earth and orbit, which makes a circular orbit's radius vary by less


@dataclass(frozen=True, eq=False)
class Topology:
    """The links of one wiring, in both directions, in CSR form; M = 2·E. The lengths change with time, this does not."""

    wiring: Wiring
    indptr: Ints
    """(N + 1,)"""
    neighbour: Ints
    """(M,)"""
    link: Ints
    """(M,) index into the E links of the wiring."""
    orders: Ints
    """(4, N) the corners from which the grid is swept."""

    @classmethod
    def of(cls, wiring: Wiring, planes: Planes) -> Topology:
        count = planes.plane.shape[0]
        tail, head = np.concatenate([wiring.pairs, wiring.pairs[:, ::-1]]).T
        link = np.tile(np.arange(wiring.pairs.shape[0]), 2)
        order = np.lexsort((head, tail))
        indptr = np.zeros(count + 1, dtype=np.int32)
        np.cumsum(np.bincount(tail, minlength=count), out=indptr[1:])
        return cls(wiring, indptr, head[order].astype(np.int32), link[order].astype(np.int32), _sweep_orders(planes))


def _sweep_orders(planes: Planes) -> Ints:
    """Plane by plane east and west, each up and down the phase: information runs across the whole grid in few sweeps."""
    plane, slot, index = planes.plane, planes.slot, np.arange(planes.plane.shape[0])
    eastward = np.lexsort((index, slot, plane))
    zigzag = np.lexsort((index, -slot, plane))
    return np.stack([eastward, eastward[::-1], zigzag, zigzag[::-1]]).astype(np.int32)


@dataclass(frozen=True, eq=False)
class LaserLinks:
    """The laser network at one instant: N satellites, M directed links."""

    at_unix_s: float
    indptr: Ints
    """(N + 1,)"""
    neighbour: Ints
    """(M,)"""
    delay_s: Floats
    """(M,) one-way, with processing; infinite for a link that is down."""
    orders: Ints
    """(4, N) orders in which `sweep` visits the satellites."""

    @property
    def standing(self) -> int:
        """How many links are up, each counted once."""
        return int(np.count_nonzero(np.isfinite(self.delay_s))) // 2


class LaserNetwork:
    """Lasers of one fleet. Answers are pure functions of the instant; the wirings of a few periods are kept."""

    def __init__(self, fleet: Fleet, options: RouterOptions, propagator: Propagator) -> None:
        if any(max(pair) >= len(fleet) for pair in options.laser_pairs or ()):
            raise LocalError(f"laser_pairs names a satellite past the end of the fleet, which has {len(fleet)}")
        self._fleet = fleet
        self._options = options
        self._laser = options.laser
        self._eccentricity = fleet.eccentricity
        self._propagator = propagator
        self._planes = lru_cache(maxsize=4)(self._infer_planes)
        self._topology = lru_cache(maxsize=4)(self._make_topology)

    def planes(self, at_unix_s: float) -> Planes:
        """The planes of the wiring period that holds the instant, as they were at its beginning."""
        return self._planes(self._period(at_unix_s))

    def topology(self, at_unix_s: float) -> Topology:
        """Who is linked with whom in the wiring period that holds the instant, up or down."""
        return self._topology(self._period(at_unix_s))

    def links(self, at_unix_s: float, position_m: Floats) -> LaserLinks:
        """The network at an instant. position_m: (N, 3) ITRS at that instant, NaN where there is no satellite."""
        topology = self.topology(at_unix_s)
        if not self._options.lasers:
            return LaserLinks(at_unix_s, np.zeros_like(topology.indptr), _no_ints(), np.empty(0), topology.orders)
        length_m = self._lengths_m(position_m, topology.wiring.pairs)
        length_m[self._acquiring(at_unix_s, topology.wiring, length_m, position_m)] = np.inf
        delay_s = np.maximum(length_m, _SHORTEST_M) / SPEED_OF_LIGHT_M_PER_S + self._laser.hop_processing_s.value
        return LaserLinks(at_unix_s, topology.indptr, topology.neighbour, delay_s[topology.link], topology.orders)

    def _period(self, at_unix_s: float) -> int:
        return math.floor(at_unix_s / self._laser.rewiring_period_s.value)

    def _infer_planes(self, period: int) -> Planes:
        return infer_planes(self._fleet, period * self._laser.rewiring_period_s.value)

    def _make_topology(self, period: int) -> Topology:
        planes = self._planes(period)
        pairs = self._options.laser_pairs
        return Topology.of(plus_grid(planes, self._laser) if pairs is None else given(pairs), planes)

    def _lengths_m(self, position_m: Floats, pairs: Ints) -> Floats:
        length_m = np.empty(pairs.shape[0])
        height = self._laser.grazing_altitude_m.value
        _kernels.laser_lengths(
            position_m,
            pairs,
            self._laser.longest_range_m.value,
            WGS84_SEMI_MAJOR_AXIS_M + height,
            EARTH_POLAR_RADIUS_M + height,
            length_m,
        )
        return length_m

    def _acquiring(self, at_unix_s: float, wiring: Wiring, length_m: Floats, position_m: Floats) -> NDArray[np.bool_]:
        """(E,) links that stand geometrically but whose terminals still search each other.

        That is so for the acquisition time after a link across planes got a new partner, and after any link came back into reach.
        """
        acquisition_s = self._laser.acquisition_s.value
        searching = np.zeros(wiring.pairs.shape[0], dtype=np.bool_)
        if self._options.laser_pairs is None:
            period = self._period(at_unix_s)
            began_s = period * self._laser.rewiring_period_s.value
            if at_unix_s - began_s < acquisition_s:
                searching |= ~_contains(self._topology(period - 1).wiring.pairs, wiring.pairs)
        doubtful = np.flatnonzero(np.isfinite(length_m) & ~searching & self._near_a_limit(wiring, length_m, position_m, acquisition_s))
        if doubtful.shape[0]:
            satellites, inverse = np.unique(wiring.pairs[doubtful], return_inverse=True)
            earlier_m = self._propagator.positions_itrs_m(np.array([at_unix_s - acquisition_s]), satellites.astype(np.intp))[0]
            before = self._lengths_m(earlier_m, inverse.reshape(-1, 2).astype(np.int32))
            searching[doubtful[~np.isfinite(before)]] = True
        return searching

    def _near_a_limit(self, wiring: Wiring, length_m: Floats, position_m: Floats, seconds: float) -> NDArray[np.bool_]:
        """Links that may have been out of reach so many seconds ago, by upper bounds of how fast they can have changed."""
        longer_m = length_m + _FASTEST_CLOSING_M_PER_S * seconds
        far = longer_m > self._laser.longest_range_m.value
        lowest_m = np.linalg.norm(position_m, axis=1)[wiring.pairs].min(axis=1)
        climbed_m = self._eccentricity[wiring.pairs].max(axis=1) * _FASTEST_CLOSING_M_PER_S / 2 * seconds + _OBLATENESS_M
        # The middle of a link lies below its lower end by no more than the sagitta of half its length.
        nearest_m = np.sqrt(np.maximum(lowest_m**2 - (longer_m / 2) ** 2, 0.0)) - climbed_m
        return np.asarray(far | (nearest_m < WGS84_SEMI_MAJOR_AXIS_M + self._laser.grazing_altitude_m.value), dtype=np.bool_)


def _contains(pairs: Ints, wanted: Ints) -> NDArray[np.bool_]:
    """Which of the wanted pairs are among the pairs."""
    key = pairs[:, 0].astype(np.int64) << 32 | pairs[:, 1]
    return np.asarray(np.isin(wanted[:, 0].astype(np.int64) << 32 | wanted[:, 1], key), dtype=np.bool_)


def _no_ints() -> Ints:
    return np.empty(0, dtype=np.int32)
