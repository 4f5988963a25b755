"""The way from a place to the ground in one slot: up to one satellite and down, or on through lasers where that is not possible.

Who carries a place is a pure function of seed, place, slot, fleet, ground, policy and failures; nothing asked before matters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Gateway, Ground, Place
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.path_options import PathOptions
from tramontana.space.routing.router import Router
from tramontana.space.routing.routes import Route
from tramontana.space.serving import MINIMUM_ELEVATION_DEG, SLOT_S, Scheduler, slot_start_unix_s
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, look_angles

Ints = NDArray[np.intp]
Track = Callable[[int, Floats], Floats]
"""Satellite index and (T,) instants → (T, 3) metres ITRS."""


@dataclass(frozen=True, slots=True)
class Way:
    """The satellites in order, by index in the fleet, and the gateway at their end, by index on the ground."""

    satellites: tuple[int, ...]
    gateway: int

    @property
    def entry(self) -> int:
        """The satellite that the terminal sees."""
        return self.satellites[0]

    @property
    def ends(self) -> tuple[int, int]:
        """Serving satellite and gateway: a change of either is a handover, one of the satellites between them is not."""
        return self.entry, self.gateway


@dataclass(frozen=True, eq=False, slots=True)
class Geometry:
    """A way at T instants, everything (T,): what the terminal and the gateway see, and the one-way delay in the air."""

    elevation_deg: Floats
    azimuth_deg: Floats
    range_m: Floats
    gateway_elevation_deg: Floats
    gateway_range_m: Floats
    air_s: Floats


def geometry(way: Way, place: Place, gateway: Gateway, times_unix_s: Floats, track: Track, hop_s: float) -> Geometry:
    """Where a way leads at instants. hop_s: processing in a satellite for each laser."""
    positions = [track(satellite, times_unix_s) for satellite in way.satellites]
    elevation, azimuth, user_m = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, positions[0])
    gateway_elevation, _, gateway_m = look_angles(gateway.latitude_deg, gateway.longitude_deg, 0.0, positions[-1])
    between_m = sum((np.linalg.norm(b - a, axis=-1) for a, b in pairwise(positions)), np.zeros(times_unix_s.shape))
    air_s = (user_m + between_m + gateway_m) / SPEED_OF_LIGHT_M_PER_S + hop_s * (len(way.satellites) - 1)
    return Geometry(elevation, azimuth, user_m, gateway_elevation, gateway_m, np.asarray(air_s, dtype=np.float64))


@dataclass(frozen=True, eq=False, slots=True)
class Whole:
    """Everything there is, before a policy or a failure takes something away."""

    fleet: Fleet
    ground: Ground
    propagator: Propagator
    scheduler: Scheduler
    parameters: PathParameters
    seed: int


class Reach:
    """Ways under one policy and one set of failures. Safe to share between threads: caches guard themselves."""

    def __init__(self, whole: Whole, options: PathOptions, router: Callable[[], Router]) -> None:
        """router: gives the router over the same fleet and ground, when first a laser is needed."""
        count = len(whole.fleet)
        options.failures.check(whole.ground)
        if any(not 0 <= satellite < count for satellite in options.failures.satellites):
            raise LocalError(f"a failed satellite must be given by its index in the fleet, 0 to {count - 1}")
        self._whole, self._options, self._router = whole, options, router
        self._ground = whole.ground
        self._may_serve = self._whole.scheduler.may_serve.copy()
        self._may_serve[list(options.failures.satellites)] = False
        self.gateways = tuple(index for index, gateway in enumerate(self._ground.gateways) if self._permits(gateway, index))
        """Indices of the gateways that stand and that the policy permits, ascending."""
        self._bent_pipe = self._scheduler(tuple(self._ground.gateways[index] for index in self.gateways))
        self._in_view_of = lru_cache(maxsize=64)(self._make_in_view_of)
        self._by_laser_at = lru_cache(maxsize=8192)(self._by_laser)

    def way(self, place: Place, slot: int) -> Way | None:
        """The way in a slot (`serving.slot_of`), or None without one that the policy permits."""
        chosen = self._bent_pipe.assignment(place, slot) if self._bent_pipe else None
        if chosen is not None:
            return Way((chosen.satellite,), self.gateways[chosen.gateway])
        return self._by_laser_at(place, slot) if self._options.lasers and self.gateways else None

    def eligible(self, place: Place, slot: int) -> Ints:
        """Satellites, ascending, that could carry the place by bent pipe in the slot."""
        return self._bent_pipe.eligible(place, slot) if self._bent_pipe else np.empty(0, dtype=np.intp)

    def eligible_by_laser(self, place: Place, slot: int) -> tuple[Ints, Floats, Ints]:
        """Satellites that could carry the place over lasers in the slot, the one-way seconds from each of them to behind its best gateway
        as the slot begins (backhaul included), and that gateway.
        """
        scheduler = self._in_view_of(place) if self._options.lasers and self.gateways else None
        seen = scheduler.eligible(place, slot) if scheduler else np.empty(0, dtype=np.intp)
        if not seen.shape[0]:
            return seen, np.empty(0), seen
        gateways = [self._ground.gateways[index] for index in self.gateways]
        onward_s = self._router().distances(slot_start_unix_s(slot), gateways, self._options.failures)[:, seen]
        onward_s += self._whole.scheduler.backhaul_s[list(self.gateways)][:, None]
        best = np.argmin(onward_s, axis=0)
        rest_s = onward_s[best, np.arange(seen.shape[0])]
        reaches = np.isfinite(rest_s)
        return seen[reaches], rest_s[reaches], np.array(self.gateways)[best][reaches]

    def landing_s(self, satellites: Ints, slot: int) -> Floats:
        """(G, C) one-way seconds from satellites to behind each gateway in the middle of the slot, backhaul included.

        Infinite for a gateway that the satellite does not see for the whole slot, or that may not be used.
        """
        halves = slot_start_unix_s(slot) + np.array([0.0, SLOT_S / 2, SLOT_S])
        position = self._whole.propagator.positions_itrs_m(halves, satellites)
        delay_s = np.full((len(self._ground.gateways), satellites.shape[0]), np.inf)
        for index in self.gateways:
            gateway = self._ground.gateways[index]
            elevation, _, range_m = look_angles(gateway.latitude_deg, gateway.longitude_deg, 0.0, position)
            lands = (elevation[0] >= gateway.minimum_elevation_deg) & (elevation[2] >= gateway.minimum_elevation_deg)
            one_way_s = range_m[1] / SPEED_OF_LIGHT_M_PER_S + self._whole.scheduler.backhaul_s[index]
            delay_s[index] = np.where(lands, one_way_s, np.inf)
        return delay_s

    def landings(self, satellite: int, slot: int) -> list[int]:
        """Permitted gateways that a satellite sees for the whole slot, the one of least delay to its point of presence first."""
        delay_s = self.landing_s(np.array([satellite]), slot)[:, 0]
        return [index for index in np.argsort(delay_s, kind="stable").tolist() if np.isfinite(delay_s[index])]

    def _permits(self, gateway: Gateway, index: int) -> bool:
        policy, failures = self._options.policy, self._options.failures
        home = self._ground.points_of_presence[self._ground.point_of_presence_of_gateway[index]]
        stands = gateway.id not in failures.gateways and home.id not in failures.points_of_presence
        return stands and policy.allows_gateway(gateway, self._options.jurisdiction) and policy.allows_point_of_presence(home)

    def _scheduler(self, gateways: tuple[Gateway, ...]) -> Scheduler | None:
        whole = self._whole
        if not gateways or not self._may_serve.any():
            return None
        if gateways == self._ground.gateways and np.array_equal(self._may_serve, whole.scheduler.may_serve):
            return whole.scheduler
        ground = Ground(self._ground.places, gateways, self._ground.points_of_presence)
        return Scheduler(whole.fleet, ground, whole.propagator, whole.parameters, whole.seed, may_serve=self._may_serve)

    def _make_in_view_of(self, place: Place) -> Scheduler | None:
        # A satellite with lasers need not see a gateway: to the scheduler the gateway then stands where the user is.
        here = Gateway("here", place.name, place.country, place.latitude_deg, place.longitude_deg, MINIMUM_ELEVATION_DEG, "the user")
        return self._scheduler((here,))

    def _by_laser(self, place: Place, slot: int) -> Way | None:
        scheduler = self._in_view_of(place)
        entry = scheduler.assignment(place, slot) if scheduler else None
        if entry is None:
            return None
        # The scheduler's satellite first; one without a way to a permitted gateway gives way to the best that has one.
        start, end = slot_start_unix_s(slot), slot_start_unix_s(slot + 1)
        for serving in (entry.satellite, None):
            for at in (start, end):
                route = self._router().route(place, None, at, policy=self._options.policy, failures=self._options.failures, serving=serving)
                if isinstance(route, Route) and self._holds(route, place, np.array([start, end])):
                    return Way(route.satellites, self._gateway_index(route))
        return None

    def _gateway_index(self, route: Route) -> int:
        return next(i for i, gateway in enumerate(self._ground.gateways) if gateway.id == route.gateway_id)

    def _holds(self, route: Route, place: Place, times: Floats) -> bool:
        gateway = self._ground.gateways[self._gateway_index(route)]
        first, last = (self._whole.propagator.track_itrs_m(route.satellites[i], times) for i in (0, -1))
        user, _, _ = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, first)
        landing, _, _ = look_angles(gateway.latitude_deg, gateway.longitude_deg, 0.0, last)
        return bool(np.all(user >= MINIMUM_ELEVATION_DEG) and np.all(landing >= gateway.minimum_elevation_deg))
