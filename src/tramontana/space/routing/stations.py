"""Stations on the ground and the satellites that each of them can use at an instant; antennas of gateways given to satellites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.space.fleet import Floats
from tramontana.space.ground import Gateway, Place
from tramontana.space.routing import _kernels
from tramontana.space.routing.options import GroundRule, RouterOptions
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, itrs_position_m, local_frame

Ints = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Stations:
    """S stations as arrays."""

    position_m: Floats
    """(S, 3) ITRS."""
    up: Floats
    """(S, 3) zenith of the ellipsoid."""
    sine_minimum: Floats
    """(S,) sine of the least elevation."""
    longest_m: Floats
    """(S,) limit of the slant range, infinite for none."""

    @classmethod
    def of(cls, sites: Sequence[Place | Gateway], rules: Sequence[GroundRule]) -> Stations:
        height = [site.height_m if isinstance(site, Place) else 0.0 for site in sites]
        where = [itrs_position_m(site.latitude_deg, site.longitude_deg, h) for site, h in zip(sites, height, strict=True)]
        return cls(
            np.array(where).reshape(-1, 3),
            np.array([local_frame(site.latitude_deg, site.longitude_deg)[2] for site in sites]).reshape(-1, 3),
            np.sin(np.radians([rule.minimum_elevation_deg for rule in rules])),
            np.array([np.inf if rule.longest_range_m is None else rule.longest_range_m for rule in rules]),
        )

    @classmethod
    def users(cls, places: Sequence[Place], options: RouterOptions) -> Stations:
        return cls.of(places, [options.user] * len(places))

    @classmethod
    def gateways(cls, gateways: Sequence[Gateway]) -> Stations:
        return cls.of(gateways, [GroundRule(gateway.minimum_elevation_deg) for gateway in gateways])


@dataclass(frozen=True, eq=False)
class StationLinks:
    """What S stations can use at an instant: station s has the links `first[s]:first[s + 1]`, by ascending satellite."""

    first: NDArray[np.int64]
    """(S + 1,)"""
    satellite: Ints
    """(L,)"""
    delay_s: Floats
    """(L,) one-way"""

    @classmethod
    def of(cls, stations: Stations, position_m: Floats) -> StationLinks:
        """position_m: (N, 3) ITRS; NaN for a satellite that nobody can use."""
        count = np.zeros(stations.position_m.shape[0], dtype=np.int64)
        rule = (stations.position_m, stations.up, stations.sine_minimum, stations.longest_m, position_m)
        _kernels.count_in_view(*rule, count)
        first = np.concatenate([[0], np.cumsum(count)])
        satellite, range_m = np.empty(first[-1], dtype=np.int32), np.empty(first[-1])
        _kernels.fill_in_view(*rule, first, satellite, range_m)
        return cls(first, satellite, range_m / SPEED_OF_LIGHT_M_PER_S)

    def of_station(self, station: int) -> tuple[Ints, Floats]:
        """Satellites and delays of one station."""
        span = slice(self.first[station], self.first[station + 1])
        return self.satellite[span], self.delay_s[span]

    def station_of_link(self) -> NDArray[np.intp]:
        """(L,)"""
        return np.repeat(np.arange(self.first.shape[0] - 1), np.diff(self.first))

    def keep(self, kept: NDArray[np.bool_]) -> StationLinks:
        """Without the links that are not kept, (L,)."""
        count = np.bincount(self.station_of_link()[kept], minlength=self.first.shape[0] - 1)
        return StationLinks(np.concatenate([[0], np.cumsum(count)]), self.satellite[kept], self.delay_s[kept])

    def seeds(self, satellite_count: int) -> Floats:
        """(N, S) delay from each station straight to each satellite, infinite where there is no link."""
        seeds = np.full((satellite_count, self.first.shape[0] - 1), np.inf)
        seeds[self.satellite, self.station_of_link()] = self.delay_s
        return seeds


def give_antennas(links: StationLinks, antennas: Sequence[int | None], feeders: int | None) -> StationLinks:
    """The gateway links that get an antenna: one antenna tracks one satellite.

    Shortest link first, over all gateways together, until a gateway is out of antennas or a satellite out of feeder links. How the operator
    does it is not published; this rule depends on the instant alone, and a satellite that passes high stays for minutes.
    """
    if feeders is None and all(limit is None for limit in antennas):
        return links
    station = links.station_of_link()
    free_antennas = [links.satellite.shape[0] if limit is None else limit for limit in antennas]
    free_feeders: dict[int, int] = {}
    kept = np.zeros(links.satellite.shape[0], dtype=np.bool_)
    for at in np.lexsort((links.satellite, station, links.delay_s)).tolist():
        gateway, satellite = int(station[at]), int(links.satellite[at])
        feeder = free_feeders.get(satellite, len(antennas) if feeders is None else feeders)
        if free_antennas[gateway] > 0 and feeder > 0:
            free_antennas[gateway] -= 1
            free_feeders[satellite] = feeder - 1
            kept[at] = True
    return links.keep(kept)
