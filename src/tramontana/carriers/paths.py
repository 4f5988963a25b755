"""A path for every kind of carrier: its profile, its state now, its forecast. All are simulated, and their `source` says so.

Which low-orbit carrier flies is a matter of the fleet that the sky holds: asked for any of them, the answer is that of the fleet, under the
name of its own carrier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tramontana.carriers.carrier import Carrier, CarrierKind
from tramontana.carriers.catalogue import IRIDIUM, IRIS2, KUIPER, ONEWEB, STARLINK, carrier_of
from tramontana.carriers.ring import Ring, RingPath, RingRain
from tramontana.carriers.steady import SteadyPath, SteadyRain
from tramontana.errors import LocalError
from tramontana.forecast import Forecast
from tramontana.path_profile import PathProfile, PathState
from tramontana.space.forecast import Measurements
from tramontana.space.ground import Place
from tramontana.space.links import RainLink
from tramontana.space.parameters import Parameter, PathParameters
from tramontana.space.path_options import LIVE, PathOptions
from tramontana.space.radio import Radio
from tramontana.space.sky import Sky
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, great_circle_m, itrs_position_m, look_angles

GEOSTATIONARY_RADIUS_M = 42_164_172.0  # from the WGS 84 gravitational constant and one sidereal day


@dataclass(frozen=True, slots=True)
class Geostationary:
    """A geostationary satellite and the hub its traffic lands at, with the figures of its path."""

    satellite: str
    longitude_deg: float
    minimum_elevation_deg: float
    hub: str
    hub_country: str
    hub_latitude_deg: float
    hub_longitude_deg: float
    access_one_way_s: Parameter
    capacity_down_bps: Parameter
    capacity_up_bps: Parameter
    random_loss: Parameter
    link: RainLink
    """The higher of its frequencies, for both directions at both ends: cautious."""
    clear_es_n0_db: Parameter
    source: str


@dataclass(frozen=True, slots=True)
class MediumOrbit:
    """A ring of satellites in medium orbit and the gateway its traffic lands at, with the figures of its path."""

    ring: Ring
    minimum_elevation_deg: float
    gateway: Place
    access_one_way_s: Parameter
    capacity_down_bps: Parameter
    capacity_up_bps: Parameter
    random_loss: Parameter
    link: RainLink
    """The higher of its frequencies, for both directions at both ends: cautious."""
    clear_es_n0_db: Parameter
    source: str


@dataclass(frozen=True, slots=True)
class MobileParameters:
    """The figures of a path over a mobile network."""

    access_one_way_s: Parameter
    capacity_down_bps: Parameter
    capacity_up_bps: Parameter
    random_loss: Parameter


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
        hub_country="IT",
        hub_latitude_deg=41.98,
        hub_longitude_deg=13.60,
        access_one_way_s=Parameter(0.030, 0.010, 0.150, "s", f"{_NO_FIGURE}; framing and demand assignment of the terminal"),
        capacity_down_bps=Parameter(4e6, 64e3, 20e6, "bit/s", f"{_NO_FIGURE}; share of one terminal"),
        capacity_up_bps=Parameter(1e6, 64e3, 10e6, "bit/s", f"{_NO_FIGURE}; share of one terminal"),
        random_loss=Parameter(1e-4, 0.0, 0.01, "of packets", f"{_NO_FIGURE}; clear sky with coding"),
        link=RainLink(8.15e9, antenna_diameter_m=1.2),  # the middle of the military uplink band, 7.9 to 8.4 GHz
        clear_es_n0_db=Parameter(10.0, 5.0, 15.0, "dB", f"{_NO_FIGURE}; both directions, clear sky"),
        source="37° E: Aeronautica & Difesa on the launch of April 2015; hub at Fucino, Telespazio's space centre, to 0.01°: an assumption",
    )
}

RING_OF_CARRIER = {
    "o3b-mpower": MediumOrbit(
        ring=Ring("O3b mPOWER", 13, 8_062e3),
        minimum_elevation_deg=10.0,
        gateway=Place("thermopylae", "Thermopylae", "GR", "city", 38.80, 22.53),
        access_one_way_s=Parameter(0.003, 0.0, 0.015, "s", "assumption: little beyond the air; the operator names a round trip of 140 ms"),
        capacity_down_bps=Parameter(
            150e6, 50e6, 10e9, "bit/s", "assumption: contracts are sold by rate, 50 Mbit/s to 10 Gbit/s by the operator"
        ),
        capacity_up_bps=Parameter(50e6, 10e6, 10e9, "bit/s", "assumption: contracts are sold by rate"),
        random_loss=Parameter(1e-4, 0.0, 0.01, "of packets", f"{_NO_FIGURE}; clear sky with coding"),
        link=RainLink(29.0e9, antenna_diameter_m=1.8),  # Ka band up, 27.6 to 30 GHz
        clear_es_n0_db=Parameter(14.0, 8.0, 20.0, "dB", f"{_NO_FIGURE}; both directions, clear sky"),
        source=(
            "8,062 km above the equator, a round trip of 140 ms: simbacom.net; 13 satellites by 2026: en.wikipedia.org, spacenews.com; "
            "even spacing assumed; gateway at Thermopylae: paperjam.lu, its place to 0.01° is that of the town"
        ),
    )
}
MOBILE_PARAMETERS = MobileParameters(
    access_one_way_s=Parameter(0.022, 0.010, 0.060, "s", "assumption: radio and core of an LTE network, lightly loaded"),
    capacity_down_bps=Parameter(31e6, 19e6, 42e6, "bit/s", "mean of 4G in 40 Italian cities, 19 to 42 by city: AGCOM 2018 (dday.it)"),
    capacity_up_bps=Parameter(20e6, 15e6, 27e6, "bit/s", "mean of 4G in 40 Italian cities, 15 to 27 by city: AGCOM 2018 (dday.it)"),
    random_loss=Parameter(1e-4, 0.0, 0.01, "of packets", "assumption: the radio repeats what it loses"),
)

_STAND_IN = "assumption: gateways, scheduling, radio and published rates are those of Starlink, which stand in for those of"
_NARROW = Parameter(352e3, 22e3, 704e3, "bit/s", "assumption: a broadband terminal in L band, some hundred kbit/s, both directions alike")
_UNKNOWN_SYSTEM = tuple(
    Parameter(value, low, high, "bit/s", "assumption: as much as Starlink's published median; this system's rates are not known")
    for value, low, high in ((250e6, 10e6, 350e6), (37e6, 1e6, 51e6))
)
_FIXED = Radio(fixed_bps=(_UNKNOWN_SYSTEM[0], _UNKNOWN_SYSTEM[1]))
_RADIO_OF_CARRIER = {KUIPER.id: Radio(), ONEWEB.id: Radio(), IRIDIUM.id: Radio(fixed_bps=(_NARROW, _NARROW)), IRIS2.id: _FIXED}
# Who passes traffic on from satellite to satellite. OneWeb's first generation does not; of an unknown fleet it is not assumed.
_WITH_LINKS_BETWEEN_SATELLITES = frozenset({STARLINK.id, KUIPER.id, IRIDIUM.id, IRIS2.id})


@dataclass(frozen=True, slots=True)
class CarrierState:
    """A carrier at a place at an instant."""

    carrier: Carrier
    place: Place
    at_unix_s: float
    path: PathState
    source: str

    @property
    def is_up(self) -> bool:
        return not self.path.in_outage


def path_profile(
    carrier: Carrier,
    place: Place,
    sky: Sky,
    start_unix_s: float,
    duration_s: float,
    *,
    options: PathOptions = LIVE,
    fibre: FibreParameters = FIBRE_PARAMETERS,
) -> PathProfile:
    """The path from a place over a carrier to a point of presence, over [start, start + duration).

    A place that the carrier does not reach, or to which the policy forbids it, gets a profile that is one outage. Raises `LocalError` for
    a bad span and for a carrier without a path model (direct-to-cell has none).
    """
    if carrier.kind is CarrierKind.LEO:
        flown = carrier_of(sky.fleet)
        return sky.path_profile(place, start_unix_s, duration_s, carrier=flown.id, options=_flown_options(flown, options))
    if carrier.id in RING_OF_CARRIER:
        return _ring(carrier, RING_OF_CARRIER[carrier.id], place, sky, options).profile(start_unix_s, duration_s)
    return _steady(carrier, place, sky, options, fibre).profile(start_unix_s, duration_s)


def state_now(
    carrier: Carrier, place: Place, sky: Sky, now_unix_s: float, *, options: PathOptions = LIVE, fibre: FibreParameters = FIBRE_PARAMETERS
) -> CarrierState:
    """How a carrier is at a place now; raises what `path_profile` raises."""
    profile = path_profile(carrier, place, sky, now_unix_s, 1.0, options=options, fibre=fibre)
    shown = carrier_of(sky.fleet) if carrier.kind is CarrierKind.LEO else carrier
    return CarrierState(shown, place, now_unix_s, profile.at(now_unix_s), profile.source)


def forecast(
    carrier: Carrier,
    place: Place,
    sky: Sky,
    now_unix_s: float,
    horizon_s: float = 300.0,
    *,
    options: PathOptions = LIVE,
    measured: Measurements | None = None,
    fibre: FibreParameters = FIBRE_PARAMETERS,
) -> Forecast:
    """What a carrier may do at a place from now on, up to an hour. Raises `LocalError` as `path_profile` does.

    measured: round trips that the site measured on this very path.
    """
    if carrier.kind is CarrierKind.LEO:
        flown = carrier_of(sky.fleet)
        own = _flown_options(flown, options)
        return sky.forecast(place, now_unix_s, horizon_s, carrier=flown.id, options=own, measured=measured)
    if carrier.id in RING_OF_CARRIER:
        return _ring(carrier, RING_OF_CARRIER[carrier.id], place, sky, options).forecast(now_unix_s, horizon_s)
    return _steady(carrier, place, sky, options, fibre).forecast(now_unix_s, horizon_s, measured)


def radio_of(carrier: Carrier) -> Radio:
    """The links of a low-orbit carrier."""
    return Radio() if carrier == STARLINK else _RADIO_OF_CARRIER.get(carrier.id, _FIXED)


def _flown_options(flown: Carrier, options: PathOptions) -> PathOptions:
    """The options with the operator's own law, radio and links between satellites."""
    if flown == STARLINK:
        return replace(options, jurisdiction=flown.jurisdiction) if options.jurisdiction != flown.jurisdiction else options
    return replace(
        options,
        jurisdiction=flown.jurisdiction,
        radio=radio_of(flown),
        lasers=options.lasers and flown.id in _WITH_LINKS_BETWEEN_SATELLITES,
        notes=(*options.notes, f"{_STAND_IN} {flown.name}"),
    )


def _steady(carrier: Carrier, place: Place, sky: Sky, options: PathOptions, fibre: FibreParameters) -> SteadyPath:
    if carrier.kind is CarrierKind.GEO and carrier.id in GEOSTATIONARY_OF_CARRIER:
        return _geostationary(carrier, GEOSTATIONARY_OF_CARRIER[carrier.id], place, sky, options)
    if carrier.kind is CarrierKind.FIBRE:
        return _fibre(carrier, fibre, place, sky, options)
    if carrier.kind is CarrierKind.MOBILE:
        return _mobile(carrier, place, sky, options)
    raise LocalError(f"there is no path model for the carrier {carrier.id!r} ({carrier.kind}): choose a known one")


def _geostationary(carrier: Carrier, geo: Geostationary, place: Place, sky: Sky, options: PathOptions) -> SteadyPath:
    longitude = np.radians(geo.longitude_deg)
    satellite = GEOSTATIONARY_RADIUS_M * np.array([np.cos(longitude), np.sin(longitude), 0.0])
    elevation, _, user_range_m = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, satellite)
    hub_elevation, _, _ = look_angles(geo.hub_latitude_deg, geo.hub_longitude_deg, 0.0, satellite)
    hub = itrs_position_m(geo.hub_latitude_deg, geo.hub_longitude_deg)
    pops = sky.ground.points_of_presence
    to_pop_m = [great_circle_m(geo.hub_latitude_deg, geo.hub_longitude_deg, p.latitude_deg, p.longitude_deg) for p in pops]
    nearest = int(np.argmin(to_pop_m))
    air_m = float(user_range_m) + float(np.linalg.norm(satellite - hub))
    policy = options.policy
    permitted = policy.allows_jurisdiction(carrier.jurisdiction) and policy.allows_country(geo.hub_country)
    reached = float(elevation) >= geo.minimum_elevation_deg and permitted and policy.allows_point_of_presence(pops[nearest])
    rain: SteadyRain | None = None
    if options.rain and reached:
        hub_place = Place(f"hub-{geo.hub}", geo.hub, geo.hub_country, "city", geo.hub_latitude_deg, geo.hub_longitude_deg)
        rain = SteadyRain(
            sky.weather.at_place(place, geo.link, options.climate),
            sky.weather.at_place(hub_place, geo.link),
            float(elevation),
            float(hub_elevation),
            geo.clear_es_n0_db.value,
        )
    return SteadyPath(
        place=place.id,
        carrier=carrier.id,
        source=f"simulated, {geo.satellite} from geometry" + (", seeded rain of the climate" if options.rain else ""),
        point_of_presence=pops[nearest].name,
        satellite=geo.satellite,
        hub=geo.hub,
        reached=reached,
        delay_s=air_m / SPEED_OF_LIGHT_M_PER_S + _fibre_delay_s(to_pop_m[nearest], sky.parameters) + geo.access_one_way_s.value,
        down_bps=geo.capacity_down_bps.value / options.load.value,
        up_bps=geo.capacity_up_bps.value / options.load.value,
        loss=geo.random_loss.value,
        elevation_deg=float(elevation),
        notes=(
            geo.source,
            *_notes(geo.access_one_way_s, geo.capacity_down_bps, geo.capacity_up_bps, geo.random_loss),
            *(_notes(geo.clear_es_n0_db) if options.rain else ()),
        ),
        rain=rain,
    )


def _ring(carrier: Carrier, orbit: MediumOrbit, place: Place, sky: Sky, options: PathOptions) -> RingPath:
    pop, tail_m = sky.ground.nearest_point_of_presence(orbit.gateway)
    policy = options.policy
    rain: RingRain | None = None
    if options.rain:
        terminal = sky.weather.at_place(place, orbit.link, options.climate)
        rain = RingRain(terminal, sky.weather.at_place(orbit.gateway, orbit.link), orbit.clear_es_n0_db.value)
    return RingPath(
        ring=orbit.ring,
        place=place,
        carrier=carrier.id,
        source=f"simulated, {carrier.name} as {orbit.ring.count} evenly spaced satellites"
        + (", seeded rain of the climate" if rain else ""),
        point_of_presence=pop.name,
        gateway=orbit.gateway,
        minimum_elevation_deg=orbit.minimum_elevation_deg,
        permitted=(
            policy.allows_jurisdiction(carrier.jurisdiction)
            and policy.allows_country(orbit.gateway.country)
            and policy.allows_point_of_presence(pop)
        ),
        ground_delay_s=_fibre_delay_s(tail_m, sky.parameters) + orbit.access_one_way_s.value,
        down_bps=orbit.capacity_down_bps.value / options.load.value,
        up_bps=orbit.capacity_up_bps.value / options.load.value,
        loss=orbit.random_loss.value,
        notes=(orbit.source, *_notes(orbit.access_one_way_s, orbit.capacity_down_bps, orbit.capacity_up_bps, orbit.random_loss)),
        rain=rain,
    )


def _mobile(carrier: Carrier, place: Place, sky: Sky, options: PathOptions) -> SteadyPath:
    pop, distance_m = sky.ground.nearest_point_of_presence(place)
    figures = MOBILE_PARAMETERS
    permitted = options.policy.allows_jurisdiction(carrier.jurisdiction) and options.policy.allows_point_of_presence(pop)
    return SteadyPath(
        place=place.id,
        carrier=carrier.id,
        source="simulated, a 4G network by distance",
        point_of_presence=pop.name,
        satellite=None,
        hub=None,
        reached=place.kind != "ship" and permitted,
        delay_s=_fibre_delay_s(distance_m, sky.parameters) + figures.access_one_way_s.value,
        down_bps=figures.capacity_down_bps.value / options.load.value,
        up_bps=figures.capacity_up_bps.value / options.load.value,
        loss=figures.random_loss.value,
        elevation_deg=np.nan,
        notes=_notes(figures.access_one_way_s, figures.random_loss),
    )


def _fibre(carrier: Carrier, fibre: FibreParameters, place: Place, sky: Sky, options: PathOptions) -> SteadyPath:
    pop, distance_m = sky.ground.nearest_point_of_presence(place)
    permitted = options.policy.allows_jurisdiction(carrier.jurisdiction) and options.policy.allows_point_of_presence(pop)
    return SteadyPath(
        place=place.id,
        carrier=carrier.id,
        source="simulated, fibre by distance",
        point_of_presence=pop.name,
        satellite=None,
        hub=None,
        reached=place.kind != "ship" and permitted,
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
