"""The sky over a ground: one face for everybody who asks what is up there, who serves whom, and what the path is like.

All answers are simulated: they rest on a fleet (as filed or from elements) and on the figures of `PathParameters`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from tramontana.errors import LocalError
from tramontana.forecast import Forecast
from tramontana.path_profile import PathProfile
from tramontana.space.fleet import Fleet, Floats, Provenance
from tramontana.space.forecast import Measurements, forecast_path
from tramontana.space.ground import Ground, Place, mediterranean
from tramontana.space.life import carries_traffic
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.path_options import LIVE, PathOptions
from tramontana.space.profiles import PathModel, check_span
from tramontana.space.routing.failures import Failures
from tramontana.space.routing.options import RouterOptions
from tramontana.space.routing.policy import Policy
from tramontana.space.routing.router import Router
from tramontana.space.serving import MINIMUM_ELEVATION_DEG, Assignment, Scheduler, slot_of, slot_start_unix_s
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, look_angles
from tramontana.space.ways import Reach, Way, Whole, geometry
from tramontana.space.weather import Weather

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
    lasers: int = 0
    """How many lasers lie between satellite and gateway; 0 for a bent pipe."""


class Sky:
    """One fleet over one ground, with a seed that fixes every choice.

    Safe to share between threads: answers are pure functions of the arguments, and caches guard themselves.
    """

    def __init__(self, fleet: Fleet, ground: Ground | None = None, *, seed: int = 0, parameters: PathParameters | None = None) -> None:
        self.fleet = fleet
        self.ground = ground or mediterranean()
        self.parameters = parameters or PathParameters()
        self.seed = seed
        self.weather = Weather(self.ground, seed)
        self._propagator = Propagator(fleet)
        self._scheduler = Scheduler(fleet, self.ground, self._propagator, self.parameters, seed, may_serve=carries_traffic(fleet))
        self._reach = lru_cache(maxsize=8)(self._make_reach)
        self._router = lru_cache(maxsize=2)(self._make_router)

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

    def way(self, place: Place, slot: int, options: PathOptions = LIVE) -> Way | None:
        """Satellites and gateway, by index, that carry the place in the slot (see `serving.slot_of`); None without coverage."""
        return self._reach_of(options).way(place, slot)

    def assignment(self, place: Place, slot: int) -> Assignment | None:
        """The two ends of `way` under the live options: the satellite that serves the place, and the gateway."""
        way = self.way(place, slot)
        return Assignment(*way.ends) if way else None

    def serving(self, place: Place, at_unix_s: float) -> Serving | None:
        """Who serves the place at the instant under the live options, or None without coverage."""
        if not np.isfinite(at_unix_s):
            raise LocalError("the instant must be finite POSIX seconds")
        slot = slot_of(at_unix_s)
        now = self.way(place, slot)
        if now is None:
            return None
        handover_at: float | None = None
        following: Assignment | None = None
        for later in range(slot + 1, slot + 1 + LOOKAHEAD_SLOTS):
            following = self.assignment(place, later)
            if following != Assignment(*now.ends):
                handover_at = slot_start_unix_s(later)
                break
        gateway = self.ground.gateways[now.gateway]
        seen = geometry(now, place, gateway, np.array([at_unix_s]), self._propagator.track_itrs_m, self._hop_s)
        pop = self.ground.points_of_presence[self.ground.point_of_presence_of_gateway[now.gateway]]
        return Serving(
            satellite_index=now.entry,
            satellite=self.fleet.names[now.entry],
            elevation_deg=float(seen.elevation_deg[0]),
            azimuth_deg=float(seen.azimuth_deg[0]),
            slant_range_m=float(seen.range_m[0]),
            gateway_id=gateway.id,
            gateway=gateway.name,
            point_of_presence_id=pop.id,
            point_of_presence=pop.name,
            one_way_delay_s=float(seen.air_s[0] + self.fixed_delay_s[now.gateway]),
            slot_start_unix_s=slot_start_unix_s(slot),
            next_slot_unix_s=slot_start_unix_s(slot + 1),
            next_handover_unix_s=handover_at,
            next_satellite_index=following.satellite if handover_at is not None and following is not None else None,
            lasers=len(now.satellites) - 1,
        )

    @cached_property
    def fixed_delay_s(self) -> Floats:
        """(G,) one-way seconds of a path over each gateway that do not depend on the satellite: access and backhaul."""
        figures = self.parameters
        fibre_m_per_s = SPEED_OF_LIGHT_M_PER_S * figures.fibre_speed_of_light_share.value
        return self.ground.backhaul_m * figures.fibre_detour.value / fibre_m_per_s + figures.access_one_way_s.value

    def path_model(self, place: Place, *, carrier: str = "starlink", options: PathOptions = LIVE) -> PathModel:
        """The path of a place as a model that can be asked for any span, under one set of options."""
        reach = self._reach_of(options)
        return PathModel(
            fleet=self.fleet,
            ground=self.ground,
            place=place,
            carrier=carrier,
            parameters=self.parameters,
            options=options,
            fixed_delay_s=self.fixed_delay_s,
            hop_s=self._hop_s,
            reach=reach,
            propagator=self._propagator,
            weather=self.weather,
        )

    def path_profile(
        self, place: Place, start_unix_s: float, duration_s: float, *, carrier: str = "starlink", options: PathOptions = LIVE
    ) -> PathProfile:
        """The path from a place to the point of presence over [start, start + duration), a sample a second and one at every slot boundary.

        carrier: id for the profile. Raises `LocalError` for a span that is not finite, not positive or longer than
        `profiles.LONGEST_PROFILE_S`, and for failures of what does not exist.
        """
        return self.path_model(place, carrier=carrier, options=options).profile(start_unix_s, duration_s)

    def forecast(
        self,
        place: Place,
        now_unix_s: float,
        horizon_s: float = 300.0,
        *,
        carrier: str = "starlink",
        options: PathOptions = LIVE,
        measured: Measurements | None = None,
    ) -> Forecast:
        """What the path of a place may do from now on, over all satellites that the operator could choose; see `forecast_path`.

        Raises `LocalError` for a span that is not finite, not positive or longer than an hour.
        """
        model = self.path_model(place, carrier=carrier, options=options)
        return forecast_path(model, now_unix_s, horizon_s, measured=measured, age_s=self.age_s(now_unix_s))

    def path_profiles(
        self,
        place: Place,
        start_unix_s: float,
        duration_s: float,
        *,
        piece_s: float = 3600.0,
        carrier: str = "starlink",
        options: PathOptions = LIVE,
    ) -> Iterator[PathProfile]:
        """`path_profile` for any length, in pieces that join without seam and that need the memory of one of them.

        piece_s: whole seconds. A window of outage that runs across a joint is cut in two there.
        """
        check_span(start_unix_s, duration_s, longest_s=np.inf)
        check_span(start_unix_s, piece_s)
        if piece_s != int(piece_s):
            raise LocalError(f"pieces of a path profile must be of whole seconds, not {piece_s}")
        model = self.path_model(place, carrier=carrier, options=options)
        for number in range(int(np.ceil(duration_s / piece_s))):
            yield model.profile(start_unix_s + number * piece_s, min(piece_s, duration_s - number * piece_s))

    @property
    def _hop_s(self) -> float:
        return RouterOptions().laser.hop_processing_s.value

    def _reach_of(self, options: PathOptions) -> Reach:
        return self._reach(options.policy, options.failures, options.jurisdiction, options.lasers)

    def _make_reach(self, policy: Policy, failures: Failures, jurisdiction: str, lasers: bool) -> Reach:
        options = PathOptions(policy=policy, failures=failures, jurisdiction=jurisdiction, lasers=lasers)
        whole = Whole(self.fleet, self.ground, self._propagator, self._scheduler, self.parameters, self.seed)
        return Reach(whole, options, lambda: self._router(jurisdiction))

    def _make_router(self, jurisdiction: str) -> Router:
        relays = frozenset(np.flatnonzero(~self._scheduler.may_serve).tolist())
        return Router(self.fleet, self.ground, RouterOptions(path=self.parameters, jurisdiction=jurisdiction, relay_only=relays))
