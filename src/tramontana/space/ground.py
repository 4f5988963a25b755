"""The ground: places that use the service, gateways that satellites land on, points of presence where traffic leaves the operator.

Every row has its source. Coordinates are WGS 84 degrees. Places are plain geography (city centres to 0.01°, ship positions are points of
open sea chosen here, no ship is meant).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from tramontana.errors import LocalError
from tramontana.space.fleet import Floats
from tramontana.space.visibility import great_circle_m, itrs_position_m

PlaceKind = Literal["city", "embassy", "ship"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a user is. `country` is ISO 3166-1 alpha-2, empty on the high seas."""

    id: str
    name: str
    country: str
    kind: PlaceKind
    latitude_deg: float
    longitude_deg: float
    height_m: float = 0.0

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude_deg <= 90 and -180 <= self.longitude_deg <= 180 and -500 <= self.height_m <= 20_000):
            raise LocalError(
                f"place {self.id!r}: latitude must lie in -90..90, longitude in -180..180 (degrees), height in -500..20000 (metres)"
            )


@dataclass(frozen=True, slots=True)
class Gateway:
    """An earth station that joins satellites to the terrestrial network."""

    id: str
    name: str
    country: str
    latitude_deg: float
    longitude_deg: float
    minimum_elevation_deg: float
    source: str
    antenna_count: int | None = None
    """Each tracks one satellite. None: not known."""

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude_deg <= 90 and -180 <= self.longitude_deg <= 180 and -90 <= self.minimum_elevation_deg <= 90):
            raise LocalError(f"gateway {self.id!r}: latitude and minimum elevation must lie in -90..90, longitude in -180..180 (degrees)")
        if self.antenna_count is not None and self.antenna_count < 0:
            raise LocalError(f"gateway {self.id!r}: the number of antennas must not be negative")


@dataclass(frozen=True, slots=True)
class PointOfPresence:
    """Where the operator hands traffic to other networks."""

    id: str
    name: str
    country: str
    latitude_deg: float
    longitude_deg: float
    source: str


@dataclass(frozen=True)
class Ground:
    """Places, gateways and points of presence of one carrier.

    A gateway hands its traffic to the nearest point of presence of its own country, else to the nearest of all: an assumption, the
    operator's routing is not published.
    """

    places: tuple[Place, ...]
    gateways: tuple[Gateway, ...]
    points_of_presence: tuple[PointOfPresence, ...]

    def __post_init__(self) -> None:
        if not self.gateways or not self.points_of_presence:
            raise LocalError("a ground needs at least one gateway and one point of presence")
        for rows in (self.places, self.gateways, self.points_of_presence):
            ids = [row.id for row in rows]
            if len(set(ids)) != len(ids):
                raise LocalError(f"ids on the ground must be unique: {', '.join(sorted({i for i in ids if ids.count(i) > 1}))}")

    def place(self, place_id: str) -> Place:
        """The place with this id; raises `LocalError` that lists the known ones."""
        for place in self.places:
            if place.id == place_id:
                return place
        raise LocalError(f"unknown place {place_id!r}: use one of {', '.join(place.id for place in self.places)}")

    @cached_property
    def gateway_itrs_m(self) -> Floats:
        """(G, 3) metres."""
        return np.stack([itrs_position_m(g.latitude_deg, g.longitude_deg) for g in self.gateways])

    @cached_property
    def point_of_presence_of_gateway(self) -> tuple[int, ...]:
        """For each gateway the index of its point of presence."""
        indices = []
        for gateway in self.gateways:
            at_home = [i for i, p in enumerate(self.points_of_presence) if p.country == gateway.country]
            indices.append(
                min(at_home or range(len(self.points_of_presence)), key=lambda i: _distance_m(gateway, self.points_of_presence[i]))
            )
        return tuple(indices)

    @cached_property
    def backhaul_m(self) -> Floats:
        """(G,) great-circle metres from each gateway to its point of presence."""
        pairs = zip(self.gateways, self.point_of_presence_of_gateway, strict=True)
        return np.array([_distance_m(gateway, self.points_of_presence[index]) for gateway, index in pairs])

    def nearest_point_of_presence(self, place: Place) -> tuple[PointOfPresence, float]:
        """The point of presence nearest to a place, and the great-circle distance in metres."""
        nearest = min(self.points_of_presence, key=lambda p: _distance_m(place, p))
        return nearest, _distance_m(place, nearest)


def _distance_m(a: Place | Gateway, b: PointOfPresence) -> float:
    return great_circle_m(a.latitude_deg, a.longitude_deg, b.latitude_deg, b.longitude_deg)


_PLACES = (
    Place("rome", "Rome", "IT", "city", 41.90, 12.50),
    Place("milan", "Milan", "IT", "city", 45.46, 9.19),
    Place("turin", "Turin", "IT", "city", 45.07, 7.69),
    Place("genoa", "Genoa", "IT", "city", 44.41, 8.93),
    Place("venice", "Venice", "IT", "city", 45.44, 12.33),
    Place("trieste", "Trieste", "IT", "city", 45.65, 13.77),
    Place("bologna", "Bologna", "IT", "city", 44.49, 11.34),
    Place("florence", "Florence", "IT", "city", 43.77, 11.26),
    Place("laquila", "L'Aquila", "IT", "city", 42.35, 13.40),
    Place("naples", "Naples", "IT", "city", 40.85, 14.27),
    Place("bari", "Bari", "IT", "city", 41.13, 16.87),
    Place("taranto", "Taranto", "IT", "city", 40.47, 17.24),
    Place("reggio-calabria", "Reggio Calabria", "IT", "city", 38.11, 15.65),
    Place("palermo", "Palermo", "IT", "city", 38.12, 13.36),
    Place("catania", "Catania", "IT", "city", 37.50, 15.09),
    Place("cagliari", "Cagliari", "IT", "city", 39.22, 9.12),
    Place("lampedusa", "Lampedusa", "IT", "city", 35.50, 12.61),
    Place("marseille", "Marseille", "FR", "city", 43.30, 5.37),
    Place("valletta", "Embassy in Valletta", "MT", "embassy", 35.90, 14.51),
    Place("athens", "Embassy in Athens", "GR", "embassy", 37.98, 23.73),
    Place("tunis", "Embassy in Tunis", "TN", "embassy", 36.81, 10.18),
    Place("tripoli", "Embassy in Tripoli", "LY", "embassy", 32.89, 13.19),
    Place("algiers", "Embassy in Algiers", "DZ", "embassy", 36.75, 3.06),
    Place("tirana", "Embassy in Tirana", "AL", "embassy", 41.33, 19.82),
    Place("belgrade", "Embassy in Belgrade", "RS", "embassy", 44.79, 20.45),
    Place("ankara", "Embassy in Ankara", "TR", "embassy", 39.93, 32.86),
    Place("madrid", "Embassy in Madrid", "ES", "embassy", 40.42, -3.70),
    Place("paris", "Embassy in Paris", "FR", "embassy", 48.86, 2.35),
    Place("brussels", "Embassy in Brussels", "BE", "embassy", 50.85, 4.35),
    Place("berlin", "Embassy in Berlin", "DE", "embassy", 52.52, 13.40),
    Place("kyiv", "Embassy in Kyiv", "UA", "embassy", 50.45, 30.52),
    Place("ship-sicily-channel", "Ship, Strait of Sicily", "", "ship", 36.40, 12.00),
    Place("ship-ionian", "Ship, Ionian Sea", "", "ship", 37.30, 18.30),
    Place("ship-tyrrhenian", "Ship, Tyrrhenian Sea", "", "ship", 40.00, 12.00),
    Place("ship-levantine", "Ship, south of Crete", "", "ship", 33.80, 25.00),
)

# Site, coordinates, minimum elevation (25°), antennas (8 of 1.47 m, Ka) and state: community list of Starlink gateways, compiled by
# enthusiasts from national filings and sightings, as of October 2023. The coordinates are the list's, of the site; none was surveyed. All
# rows were "presumed live" there unless the row says otherwise.
_LIST = "community gateway list, October 2023; site coordinate"
_PRESS = "named as in service by Italian press after Reuters (opiquad.b-cdn.net/redazione/52278)"
_STOLNIK = (
    "antennas on Neterra's station at Stolnik near Sofia, opening announced by Bulgarian press (zapernik.com/izvan-pernik/175853); "
    "coordinate of the village to 0.05°; assumption: in service, 25°"
)
_GATEWAYS = (
    Gateway("milano", "Milano", "IT", 45.3185, 9.1873, 25.0, f"{_LIST}; {_PRESS}", 8),
    Gateway("marsala", "Marsala", "IT", 37.7943, 12.4931, 25.0, f"{_LIST}; {_PRESS}", 8),
    Gateway("foggia", "Foggia", "IT", 41.5082, 15.5865, 25.0, f"{_LIST}, then not yet built; {_PRESS}", 8),
    Gateway("villenave", "Villenave d'Ornon", "FR", 44.7810, -0.5374, 25.0, f"{_LIST}, built, not said to be live", 8),
    Gateway("ibi", "Ibi", "ES", 38.6084, -0.6007, 25.0, _LIST, 8),
    Gateway("villarejo", "Villarejo de Salvanés", "ES", 40.1676, -3.2869, 25.0, _LIST, 8),
    Gateway("frankfurt", "Frankfurt", "DE", 50.3298, 8.4708, 25.0, _LIST, 8),
    Gateway("aerzen", "Aerzen", "DE", 52.0610, 9.3282, 25.0, _LIST, 8),
    Gateway("wola-krobowska", "Wola Krobowska", "PL", 51.8642, 20.9211, 25.0, _LIST, 8),
    Gateway("muallim", "Muallim", "TR", 40.7888, 29.5094, 25.0, _LIST, 8),
    Gateway("stolnik", "Stolnik", "BG", 42.72, 23.63, 25.0, _STOLNIK),
)

# Community list of points of presence, April 2026, each with its PeeringDB facility: the coordinate is that of the building.
_POINTS_OF_PRESENCE = (
    PointOfPresence("mlnnita1", "Milan", "IT", 45.4780, 9.1018, "peeringdb.com/fac/1974 (Retelit Avalon 1)"),
    PointOfPresence("frntdeu1", "Frankfurt", "DE", 50.1197, 8.7346, "peeringdb.com/fac/58 (Digital Realty FRA1-16)"),
    PointOfPresence("mdrdesp1", "Madrid", "ES", 40.4339, -3.6241, "peeringdb.com/fac/7414 (Digital Realty MAD3)"),
    PointOfPresence("sfiabgr1", "Sofia", "BG", 42.7027, 23.3063, "peeringdb.com/fac/663 (Telepoint Sofia Centre)"),
    PointOfPresence("wrswpol1", "Warsaw", "PL", 52.2274, 21.0034, "peeringdb.com/fac/509 (Equinix WA1)"),
)


def mediterranean() -> Ground:
    """The built-in ground: Italian and neighbouring Starlink gateways and points of presence, and places in and around Italy."""
    return Ground(places=_PLACES, gateways=_GATEWAYS, points_of_presence=_POINTS_OF_PRESENCE)
