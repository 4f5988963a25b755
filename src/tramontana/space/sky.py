"""The sky over a ground: one face for everybody who asks what is up there, who serves whom, and what the path is like.

All answers are simulated: they rest on a fleet (as filed or from elements) and on the figures of `PathParameters`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.fleet import Fleet, Floats, Provenance
from tramontana.space.ground import Ground, Place, mediterranean
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.profiles import bent_pipe_profile
from tramontana.space.serving import MINIMUM_ELEVATION_DEG, Assignment, Scheduler, slot_of, slot_start_unix_s
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, look_angles

LOOKAHEAD_SLOTS = 24  # 6 minutes: longer than any pass of a low orbit above 25°


@dataclass(frozen=True, slots=True)
class Serving:
    """Who serves a place at an instant."""

    satellite_index: int
    satellite: str
    elevation_deg: float
    azimuth_deg: float
    slant_range_m: float
    gateway_id: str
    gateway: str
    point_of_presence_id: str
    point_of_presence: str
    one_way_delay_s: float
    slot_start_unix_s: float
    next_slot_unix_s: float
    next_handover_unix_s: float | None
    """The next slot boundary at which satellite or gateway changes or coverage ends; None when none comes within six minutes."""
    next_satellite_index: int | None
    """The satellite from `next_handover_unix_s` on; None without one or without coverage then."""


class Sky:
    """One fleet over one ground, with a seed that fixes every choice.

    Safe to share between threads: answers are pure functions of the arguments, and caches guard themselves.
    """

    def __init__(self, fleet: Fleet, ground: Ground | None = None, *, seed: int = 0, parameters: PathParameters | None = None) -> None:
        self.fleet = fleet
        self.ground = ground or mediterranean()
        self.parameters = parameters or PathParameters()
        self._propagator = Propagator(fleet)
        self._scheduler = Scheduler(fleet, self.ground, self._propagator, self.parameters, seed)

    @property
    def label(self) -> str:
        """The constellation for people, e.g. ``Starlink Gen1 as filed``."""
        return self.fleet.label

    @property
    def provenance(self) -> Provenance:
        return self.fleet.provenance

    @property
    def elements_epoch_unix_s(self) -> float:
        """Median epoch of the elements."""
        return self.fleet.epochs.median_unix_s

    @property
    def satellite_count(self) -> int:
        return len(self.fleet)

    def age_s(self, now_unix_s: float) -> float | None:
        """Seconds since the median epoch of real elements; None for a constellation as filed, which does not age."""
        return self.fleet.age_s(now_unix_s)

    def positions_itrs_m(self, times_unix_s: Floats) -> Floats:
        """(T, N, 3) metres ITRS in fleet order; NaN for a satellite that SGP4 cannot propagate to the instant (decayed)."""
        times = np.atleast_1d(np.asarray(times_unix_s, dtype=np.float64))
        if not bool(np.all(np.isfinite(times))):
            raise LocalError("times must be finite POSIX seconds")
        return self._propagator.positions_itrs_m(times)

    def in_view(self, place: Place, at_unix_s: float, *, minimum_elevation_deg: float = MINIMUM_ELEVATION_DEG) -> int:
        """How many satellites stand at least that high over the place (25° unless told)."""
        elevation, _, _ = look_angles(
            place.latitude_deg, place.longitude_deg, place.height_m, self.positions_itrs_m(np.array([at_unix_s]))[0]
        )
        return int(np.count_nonzero(elevation >= minimum_elevation_deg))

    def assignment(self, place: Place, slot: int) -> Assignment | None:
        """Satellite and gateway, by index, that serve the place in the slot (see `serving.slot_of`); None without coverage."""
        return self._scheduler.assignment(place, slot)

    def serving(self, place: Place, at_unix_s: float) -> Serving | None:
        """Who serves the place at the instant, or None without coverage (no satellite in view sees a gateway)."""
        if not np.isfinite(at_unix_s):
            raise LocalError("the instant must be finite POSIX seconds")
        slot = slot_of(at_unix_s)
        now = self.assignment(place, slot)
        if now is None:
            return None
        handover_at: float | None = None
        following: Assignment | None = None
        for later in range(slot + 1, slot + 1 + LOOKAHEAD_SLOTS):
            following = self.assignment(place, later)
            if following != now:
                handover_at = slot_start_unix_s(later)
                break
        position = self._propagator.track_itrs_m(now.satellite, np.array([at_unix_s]))
        elevation, azimuth, user_range = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, position)
        gateway = self.ground.gateways[now.gateway]
        _, _, gateway_range = look_angles(gateway.latitude_deg, gateway.longitude_deg, 0.0, position)
        delay = (user_range[0] + gateway_range[0]) / SPEED_OF_LIGHT_M_PER_S + self.fixed_delay_s[now.gateway]
        pop = self.ground.points_of_presence[self.ground.point_of_presence_of_gateway[now.gateway]]
        return Serving(
            satellite_index=now.satellite,
            satellite=self.fleet.names[now.satellite],
            elevation_deg=float(elevation[0]),
            azimuth_deg=float(azimuth[0]),
            slant_range_m=float(user_range[0]),
            gateway_id=gateway.id,
            gateway=gateway.name,
            point_of_presence_id=pop.id,
            point_of_presence=pop.name,
            one_way_delay_s=float(delay),
            slot_start_unix_s=slot_start_unix_s(slot),
            next_slot_unix_s=slot_start_unix_s(slot + 1),
            next_handover_unix_s=handover_at,
            next_satellite_index=following.satellite if handover_at is not None and following is not None else None,
        )

    @property
    def fixed_delay_s(self) -> Floats:
        """(G,) one-way seconds of a path over each gateway that do not depend on the satellite: access and backhaul."""
        return self._scheduler.backhaul_s + self.parameters.access_one_way_s.value

    def path_profile(self, place: Place, start_unix_s: float, duration_s: float, *, carrier: str = "starlink") -> PathProfile:
        """The path from a place to the point of presence over [start, start + duration), a sample a second and one at every slot boundary.

        Raises `LocalError` for a span that is not finite, not positive or longer than `profiles.LONGEST_PROFILE_S`.
        """
        return bent_pipe_profile(
            fleet=self.fleet,
            ground=self.ground,
            place=place,
            carrier=carrier,
            start_unix_s=start_unix_s,
            duration_s=duration_s,
            parameters=self.parameters,
            fixed_delay_s=self.fixed_delay_s,
            assign=lambda slot: self.assignment(place, slot),
            track_itrs_m=self._propagator.track_itrs_m,
        )
