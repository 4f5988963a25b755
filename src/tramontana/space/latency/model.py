"""Round trips from a user to the internet exchange: geometry of the real fleet, access, and fibre behind the gateway.

    round trip = 2 · (user–satellite + satellite–gateway) / c + access + 2 · detour · (gateway–point of presence) / (speed in fibre)

Which satellite serves follows the choice of `serving`. Where the serving satellite stands over no gateway, traffic goes by lasers along the
orbit sphere to one that does. The geometry is sampled once; parameters then apply to the sample at once, which makes a fit cheap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Gateway, Ground, Place, PointOfPresence
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import Parameter, PathParameters
from tramontana.space.serving import MINIMUM_ELEVATION_DEG, SLOT_S, Scheduler, slot_start_unix_s
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, great_circle_m, itrs_position_m, local_frame

LASER_DETOUR = Parameter(
    1.3, 1.1, 1.7, "× arc on the orbit sphere", "assumption: laser links follow planes and seldom point at the gateway"
)
_LAST_HOP_SINE = np.sin(np.radians(60.0))  # the satellite over the gateway: about the median elevation of serving


@dataclass(frozen=True, slots=True)
class LatencyParameters:
    """Two figures that a fit finds and one that it is given. Nothing in them belongs to one country."""

    access_round_trip_s: float
    """Terminal, framing, scheduling, waiting and processing, both ways."""
    gateway_at_every_exit: bool
    """Whether a gateway is assumed beside each point of presence, besides the listed ones."""
    fibre_detour: float
    """Fibre length over the great circle: given, the published medians do not tell it (docs/latency.md)."""


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """Geometry of P places in S slots over G gateways, of which the last Q are assumed, one beside each of the Q points of presence."""

    up_s: Floats
    """(P, S) user to satellite; NaN where no satellite serves."""
    down_s: Floats
    """(P, S, G) satellite to gateway, infinite where it does not stand over it."""
    laser_s: Floats
    """(P, S, G) satellite to gateway over lasers."""
    to_exit_m: Floats
    """(G,) great circle from gateway to the nearest point of presence."""
    assumed_gateways: int
    """Q"""


def sample_geometry(
    fleet: Fleet,
    places: Sequence[Place],
    gateways: Sequence[Gateway],
    points_of_presence: Sequence[PointOfPresence],
    windows: Sequence[range],
    *,
    gateway_at_every_exit: bool,
    seed: int = 0,
) -> Sample:
    """Who serves the places in all slots of the windows, and how far everything is.

    Satellites are chosen among those that can land on a gateway; where there is none, among all in view.
    """
    if not places or not windows:
        raise LocalError("a latency sample needs at least one place and one window of slots")
    propagator = Propagator(fleet)
    exits = tuple(points_of_presence)
    beside = tuple(
        Gateway(f"beside {p.id}", p.name, p.country, p.latitude_deg, p.longitude_deg, MINIMUM_ELEVATION_DEG, "assumption") for p in exits
    )
    sites = (*gateways, *beside)
    grounds = [
        Ground((), sites if gateway_at_every_exit else tuple(gateways), exits),
        Ground(
            (), tuple(Gateway(p.id, p.name, "", p.latitude_deg, p.longitude_deg, MINIMUM_ELEVATION_DEG, "place") for p in places), exits
        ),
    ]
    satellite = np.full((len(places), sum(len(w) for w in windows)), -1, dtype=np.int32)
    for ground in grounds:
        scheduler = Scheduler(fleet, ground, propagator, PathParameters(), seed)
        chosen = np.concatenate([scheduler.assignments(places, window)[0] for window in windows], axis=1)
        satellite = np.where(satellite >= 0, satellite, chosen)

    place_m = _positions(places)
    site_m, site_up = _positions(sites), np.stack([local_frame(g.latitude_deg, g.longitude_deg)[2] for g in sites])
    site_sine = np.sin(np.radians([g.minimum_elevation_deg for g in sites]))
    up_s = np.full(satellite.shape, np.nan)
    down_s, laser_s = np.full((*satellite.shape, len(sites)), np.inf), np.full((*satellite.shape, len(sites)), np.inf)
    for column, slot in enumerate(slot for window in windows for slot in window):
        served = satellite[:, column] >= 0
        position_m = propagator.positions_itrs_m(
            np.array([slot_start_unix_s(slot) + SLOT_S / 2]), satellite[served, column].astype(np.intp)
        )
        up_s[served, column] = np.linalg.norm(position_m[0] - place_m[served], axis=-1) / SPEED_OF_LIGHT_M_PER_S
        down_s[served, column], laser_s[served, column] = _downlinks(position_m[0], site_m, site_up, site_sine)
    to_exit_m = np.array([min(_distance_m(site, out) for out in exits) for site in sites])
    return Sample(up_s, down_s, laser_s, to_exit_m, len(exits))


def round_trips_s(sample: Sample, parameters: LatencyParameters) -> Floats:
    """(P, S) seconds from user to internet exchange and back, NaN where nothing serves. The gateway is the one of least delay."""
    fibre_s_per_m = parameters.fibre_detour / (SPEED_OF_LIGHT_M_PER_S * PathParameters().fibre_speed_of_light_share.value)
    usable = sample.to_exit_m.shape[0] - (0 if parameters.gateway_at_every_exit else sample.assumed_gateways)
    tail_s = sample.to_exit_m[:usable] * fibre_s_per_m
    bent = np.min(sample.down_s[..., :usable] + tail_s, axis=-1)
    laser = np.min(sample.laser_s[..., :usable] + tail_s, axis=-1)
    return np.asarray(2 * (sample.up_s + np.where(np.isfinite(bent), bent, laser)) + parameters.access_round_trip_s)


def medians_s(round_trip_s: Floats, countries: Sequence[str]) -> dict[str, float]:
    """Median over points and slots of each country; countries: (P,) the country of each place. NaN without any coverage."""
    names = np.array(countries)
    answer = {}
    for country in sorted(set(countries)):
        values = round_trip_s[names == country]
        covered = values[np.isfinite(values)]
        answer[country] = float(np.median(covered)) if covered.size else float("nan")
    return answer


def _downlinks(position_m: Floats, site_m: Floats, site_up: Floats, site_sine: Floats) -> tuple[Floats, Floats]:
    """Seconds (K, G) straight down, infinite where the satellite stands too low over the site, and over lasers."""
    offset = position_m[:, None] - site_m[None]
    distance = np.linalg.norm(offset, axis=-1)
    lands: NDArray[np.bool_] = np.einsum("kgx,gx->kg", offset, site_up) >= site_sine * distance
    radius = np.linalg.norm(position_m, axis=-1)[:, None]
    site_radius = np.linalg.norm(site_m, axis=-1)[None]
    arc = radius * np.arccos(np.clip(position_m @ site_m.T / (radius * site_radius), -1.0, 1.0))
    laser = LASER_DETOUR.value * arc + (radius - site_radius) / _LAST_HOP_SINE
    return np.where(lands, distance, np.inf) / SPEED_OF_LIGHT_M_PER_S, laser / SPEED_OF_LIGHT_M_PER_S


def _positions(rows: Sequence[Place] | Sequence[Gateway]) -> Floats:
    return np.stack([itrs_position_m(r.latitude_deg, r.longitude_deg) for r in rows])


def _distance_m(a: Gateway, b: PointOfPresence) -> float:
    return great_circle_m(a.latitude_deg, a.longitude_deg, b.latitude_deg, b.longitude_deg)
