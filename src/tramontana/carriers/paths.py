"""A path profile for every kind of carrier. All are simulated, and their `source` says so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tramontana.carriers.carrier import Carrier, CarrierKind
from tramontana.errors import LocalError
from tramontana.path_profile import NO_SATELLITE, PathProfile
from tramontana.space.fleet import Floats
from tramontana.space.ground import Place
from tramontana.space.parameters import Parameter, PathParameters
from tramontana.space.profiles import check_span, sample_times_unix_s
from tramontana.space.sky import Sky
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, great_circle_m, itrs_position_m, look_angles

GEOSTATIONARY_RADIUS_M = 42_164_172.0  # from the WGS 84 gravitational constant and one sidereal day
STEADY_STEP_S = 15.0  # nothing moves on these paths; samples only carry the state on


@dataclass(frozen=True, slots=True)
class Geostationary:
    """A geostationary satellite and the hub its traffic lands at, with the figures of its path."""

    satellite: str
    longitude_deg: float
    minimum_elevation_deg: float
    hub: str
    hub_latitude_deg: float
    hub_longitude_deg: float
    access_one_way_s: Parameter
    capacity_down_bps: Parameter
    capacity_up_bps: Parameter
    random_loss: Parameter
    source: str


@dataclass(frozen=True, slots=True)
class FibreParameters:
    """The figures of a terrestrial fibre path."""

    access_one_way_s: Parameter
    capacity_bps: Parameter
    random_loss: Parameter


FIBRE_PARAMETERS = FibreParameters(
    access_one_way_s=Parameter(0.002, 0.0005, 0.008, "s", "assumption: access and aggregation network of a fibre line"),
    capacity_bps=Parameter(1e9, 1e8, 1e10, "bit/s", "assumption: a symmetric business line"),
    random_loss=Parameter(1e-5, 0.0, 1e-3, "of packets", "assumption: an unloaded line"),
)

_NO_FIGURE = "assumption: the operator publishes no figure"
GEOSTATIONARY_OF_CARRIER = {
    "sicral-2": Geostationary(
        satellite="SICRAL 2 (37° E)",
        longitude_deg=37.0,
        minimum_elevation_deg=10.0,
        hub="Fucino",
        hub_latitude_deg=41.98,
        hub_longitude_deg=13.60,
        access_one_way_s=Parameter(0.030, 0.010, 0.150, "s", f"{_NO_FIGURE}; framing and demand assignment of the terminal"),
        capacity_down_bps=Parameter(4e6, 64e3, 20e6, "bit/s", f"{_NO_FIGURE}; share of one terminal"),
        capacity_up_bps=Parameter(1e6, 64e3, 10e6, "bit/s", f"{_NO_FIGURE}; share of one terminal"),
        random_loss=Parameter(1e-4, 0.0, 0.01, "of packets", f"{_NO_FIGURE}; clear sky with coding"),
        source="37° E: Aeronautica & Difesa on the launch of April 2015; hub at Fucino, Telespazio's space centre, to 0.01°: an assumption",
    )
}


def path_profile(
    carrier: Carrier, place: Place, sky: Sky, start_unix_s: float, duration_s: float, *, fibre: FibreParameters = FIBRE_PARAMETERS
) -> PathProfile:
    """The path from a place over a carrier to a point of presence, over [start, start + duration).

    A place that the carrier does not reach gets a profile that is one outage. Raises `LocalError` for a bad span and for a carrier kind
    without a path model (MEO, mobile and direct-to-cell have none).
    """
    if carrier.kind is CarrierKind.LEO:
        return sky.path_profile(place, start_unix_s, duration_s, carrier=carrier.id)
    check_span(start_unix_s, duration_s)
    if carrier.kind is CarrierKind.GEO and carrier.id in GEOSTATIONARY_OF_CARRIER:
        return _geostationary(carrier, GEOSTATIONARY_OF_CARRIER[carrier.id], place, sky, start_unix_s, duration_s)
    if carrier.kind is CarrierKind.FIBRE:
        return _fibre(carrier, fibre, place, sky, start_unix_s, duration_s)
    raise LocalError(f"there is no path model for the carrier {carrier.id!r} ({carrier.kind}): choose a LEO, GEO or fibre carrier")


def _geostationary(carrier: Carrier, geo: Geostationary, place: Place, sky: Sky, start_unix_s: float, duration_s: float) -> PathProfile:
    longitude = np.radians(geo.longitude_deg)
    satellite = GEOSTATIONARY_RADIUS_M * np.array([np.cos(longitude), np.sin(longitude), 0.0])
    elevation, _, user_range_m = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, satellite)
    hub = itrs_position_m(geo.hub_latitude_deg, geo.hub_longitude_deg)
    pops = sky.ground.points_of_presence
    to_pop_m = [great_circle_m(geo.hub_latitude_deg, geo.hub_longitude_deg, p.latitude_deg, p.longitude_deg) for p in pops]
    nearest = int(np.argmin(to_pop_m))
    air_m = float(user_range_m) + float(np.linalg.norm(satellite - hub))
    return _steady(
        place=place,
        carrier=carrier,
        source=f"simulated, {geo.satellite} from geometry",
        point_of_presence=pops[nearest].name,
        satellite=geo.satellite,
        hub=geo.hub,
        times=sample_times_unix_s(start_unix_s, duration_s, STEADY_STEP_S),
        end_unix_s=start_unix_s + duration_s,
        reached=float(elevation) >= geo.minimum_elevation_deg,
        delay_s=air_m / SPEED_OF_LIGHT_M_PER_S + _fibre_delay_s(to_pop_m[nearest], sky.parameters) + geo.access_one_way_s.value,
        down_bps=geo.capacity_down_bps.value,
        up_bps=geo.capacity_up_bps.value,
        loss=geo.random_loss.value,
        elevation_deg=float(elevation),
        notes=(geo.source, *_notes(geo.access_one_way_s, geo.capacity_down_bps, geo.capacity_up_bps, geo.random_loss)),
    )


def _fibre(carrier: Carrier, fibre: FibreParameters, place: Place, sky: Sky, start_unix_s: float, duration_s: float) -> PathProfile:
    pop, distance_m = sky.ground.nearest_point_of_presence(place)
    return _steady(
        place=place,
        carrier=carrier,
        source="simulated, fibre by distance",
        point_of_presence=pop.name,
        satellite=None,
        hub=None,
        times=sample_times_unix_s(start_unix_s, duration_s, STEADY_STEP_S),
        end_unix_s=start_unix_s + duration_s,
        reached=place.kind != "ship",
        delay_s=_fibre_delay_s(distance_m, sky.parameters) + fibre.access_one_way_s.value,
        down_bps=fibre.capacity_bps.value,
        up_bps=fibre.capacity_bps.value,
        loss=fibre.random_loss.value,
        elevation_deg=np.nan,
        notes=_notes(fibre.access_one_way_s, fibre.capacity_bps, fibre.random_loss),
    )


def _fibre_delay_s(distance_m: float, parameters: PathParameters) -> float:
    return distance_m * parameters.fibre_detour.value / (SPEED_OF_LIGHT_M_PER_S * parameters.fibre_speed_of_light_share.value)


def _notes(*figures: Parameter) -> tuple[str, ...]:
    return tuple(f"{p.value:g} {p.unit} ({p.low:g} to {p.high:g}): {p.source}" for p in figures if p.is_assumption)


def _steady(
    *,
    place: Place,
    carrier: Carrier,
    source: str,
    point_of_presence: str,
    satellite: str | None,
    hub: str | None,
    times: Floats,
    end_unix_s: float,
    reached: bool,
    delay_s: float,
    down_bps: float,
    up_bps: float,
    loss: float,
    elevation_deg: float,
    notes: tuple[str, ...],
) -> PathProfile:
    """A path that does not change: one state from the first sample on, or one outage where the carrier does not reach the place."""
    n = times.shape[0]

    def through(value: float, otherwise: float) -> Floats:
        return np.full(n, value if reached else otherwise, dtype=np.float64)

    none = np.full(n, NO_SATELLITE, dtype=np.int32)
    window = np.array([] if reached else [[times[0], end_unix_s]], dtype=np.float64).reshape(-1, 2)
    return PathProfile(
        place=place.id,
        carrier=carrier.id,
        source=source,
        point_of_presence=point_of_presence if reached else "",
        satellite_names=(satellite,) if satellite else (),
        gateway_names=(hub,) if hub else (),
        time_unix_s=times,
        one_way_delay_s=through(delay_s, np.nan),
        capacity_down_bps=through(down_bps, 0.0),
        capacity_up_bps=through(up_bps, 0.0),
        loss=through(loss, 1.0),
        elevation_deg=through(elevation_deg, np.nan),
        serving=np.zeros(n, dtype=np.int32) if reached and satellite else none,
        gateway=np.zeros(n, dtype=np.int32) if reached and hub else none,
        outage_start_unix_s=window[:, 0],
        outage_end_unix_s=window[:, 1],
        handover_unix_s=np.array([], dtype=np.float64),
        notes=notes,
    )
