"""Routes through a constellation: the one entrance to lasers, landing, policy and failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Gateway, Ground, Place, PointOfPresence
from tramontana.space.orbits import Propagator
from tramontana.space.routing import _kernels
from tramontana.space.routing.exits import NO_GATEWAY, Exit, Share, Way, best_exit, disjoint_ways, traced_way
from tramontana.space.routing.failures import NOTHING, Failures
from tramontana.space.routing.lasers import LaserLinks, LaserNetwork
from tramontana.space.routing.options import RouterOptions
from tramontana.space.routing.planes import Planes
from tramontana.space.routing.policy import ANYTHING, Policy
from tramontana.space.routing.routes import Hop, NoRoute, Route
from tramontana.space.routing.shortest import join, next_hops, shortest_delays_s
from tramontana.space.routing.stations import StationLinks, Stations, give_antennas
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, great_circle_m

Ints = NDArray[np.int32]
Source = Place | Gateway | int
"""A place, a gateway, or a satellite by its index in the fleet."""


@dataclass(frozen=True, eq=False)
class _Snapshot:
    """Everything that one instant fixes, with failures taken out."""

    at_unix_s: float
    position_m: Floats
    """(N, 3) metres ITRS, NaN for a satellite that is gone."""
    user_position_m: Floats
    """The same, NaN as well for one that serves no users."""
    lasers: LaserLinks
    gateways: StationLinks
    """Links that got an antenna."""


class Router:
    """Routes of one fleet over one ground. Answers are pure functions of the arguments; the latest instants are kept.

    All delays are one-way seconds. Instants are POSIX seconds. A place that no satellite passes, or elements too old to propagate, are no
    error but an answer without a route.
    """

    def __init__(self, fleet: Fleet, ground: Ground, options: RouterOptions | None = None) -> None:
        self.fleet = fleet
        self.ground = ground
        self.options = options or RouterOptions()
        unknown = (set(self.options.antennas) | set(self.options.gateway_jurisdictions)) - {g.id for g in ground.gateways}
        if unknown:
            raise LocalError(f"the options name the gateway {sorted(unknown)[0]!r}, which this ground does not have: correct its id")
        if any(not 0 <= satellite < len(fleet) for satellite in self.options.relay_only):
            raise LocalError(f"relay_only must hold indices of the fleet, 0 to {len(fleet) - 1}")
        self._propagator = Propagator(fleet)
        self._network = LaserNetwork(fleet, self.options, self._propagator)
        self._gateway_stations = Stations.gateways(ground.gateways)
        self._antennas = [self.options.antennas.get(g.id, self.options.antennas_per_gateway) for g in ground.gateways]
        self._gateway_jurisdiction = [self.options.gateway_jurisdictions.get(g.id, self.options.jurisdiction) for g in ground.gateways]
        self._fibre_s = self._fibre_delays_s()
        self._snapshot = lru_cache(maxsize=4)(self._make_snapshot)
        self._users = lru_cache(maxsize=64)(lambda places: Stations.users(places, self.options))

    def planes(self, at_unix_s: float) -> Planes:
        """The planes that the lasers of this instant rest on."""
        return self._network.planes(_instant(at_unix_s))

    def lasers(self, at_unix_s: float, failures: Failures = NOTHING) -> LaserLinks:
        """The laser network at an instant as CSR arrays."""
        return self._snapshot(_instant(at_unix_s), failures).lasers

    def positions_itrs_m(self, at_unix_s: float, failures: Failures = NOTHING) -> Floats:
        """(N, 3) metres; NaN for a satellite that has failed or that SGP4 cannot propagate to the instant."""
        return self._snapshot(_instant(at_unix_s), failures).position_m

    def distances(self, at_unix_s: float, sources: Sequence[Source], failures: Failures = NOTHING) -> Floats:
        """Shortest delay in space from each source to each satellite, (S, N); infinite where there is no way.

        Propagation and processing only, without access. A gateway reaches the satellites that its antennas track.
        """
        snapshot = self._snapshot(_instant(at_unix_s), failures)
        return np.ascontiguousarray(shortest_delays_s(snapshot.lasers, self._seeds(snapshot, sources)).T)

    def next_hops(self, at_unix_s: float, sources: Sequence[Source], failures: Failures = NOTHING) -> Ints:
        """Forwarding towards each source, (S, N): the satellite that comes next, `LANDS` for the source itself, or `UNREACHABLE`."""
        snapshot = self._snapshot(_instant(at_unix_s), failures)
        seeds_s = self._seeds(snapshot, sources)
        return next_hops(snapshot.lasers, seeds_s, shortest_delays_s(snapshot.lasers, seeds_s))

    def place_delays(self, at_unix_s: float, places: Sequence[Place], failures: Failures = NOTHING) -> tuple[Floats, Ints]:
        """Shortest delay between the terminals of any two places, (P, P), and the satellite by which the first one enters, (P, P).

        Propagation and processing only; 0 and -1 on the diagonal, infinity and -1 where there is no way.
        """
        snapshot = self._snapshot(_instant(at_unix_s), failures)
        links = self._user_links(snapshot, places)
        return join(links, shortest_delays_s(snapshot.lasers, links.seeds(len(self.fleet))))

    def forwarding(self, at_unix_s: float, places: Sequence[Place], failures: Failures = NOTHING) -> tuple[Floats, Ints, Ints]:
        """A whole forwarding state towards places: `place_delays` and `next_hops` in one pass over the constellation.

        Delays between places (P, P), entry satellites (P, P), next hops of the satellites (P, N).
        """
        snapshot = self._snapshot(_instant(at_unix_s), failures)
        links = self._user_links(snapshot, places)
        seeds_s = links.seeds(len(self.fleet))
        distance_s = shortest_delays_s(snapshot.lasers, seeds_s)
        return *join(links, distance_s), next_hops(snapshot.lasers, seeds_s, distance_s)

    def route(
        self,
        place: Place,
        destination: Place | PointOfPresence | None,
        at_unix_s: float,
        *,
        policy: Policy = ANYTHING,
        failures: Failures = NOTHING,
        serving: int | None = None,
    ) -> Route | NoRoute:
        """The shortest route at an instant.

        destination: a point of presence of the ground; None for the one that the best gateway hands over to; or another place, then from
        terminal to terminal without landing. serving: index of the satellite that the scheduler gave the place, else the best in view.
        """
        routes = self._routes(place, destination, at_unix_s, policy, failures, serving, 1, "satellites")
        return routes if isinstance(routes, NoRoute) else routes[0]

    def disjoint_routes(
        self,
        place: Place,
        destination: Place | PointOfPresence | None,
        at_unix_s: float,
        count: int,
        *,
        share: Share = "nothing",
        policy: Policy = ANYTHING,
        failures: Failures = NOTHING,
    ) -> tuple[Route, ...] | NoRoute:
        """Up to `count` routes, by ascending delay, of least total delay.

        share: with "nothing" no two have a satellite or a gateway in common; with "satellites" they may, but no radio link and no laser.
        All begin at the place; several may end at one point of presence.
        """
        if count < 1:
            raise LocalError(f"ask for at least one route, not {count}")
        return self._routes(place, destination, at_unix_s, policy, failures, None, count, share)

    def _routes(
        self,
        place: Place,
        destination: Place | PointOfPresence | None,
        at_unix_s: float,
        policy: Policy,
        failures: Failures,
        serving: int | None,
        count: int,
        share: Share,
    ) -> tuple[Route, ...] | NoRoute:
        at = _instant(at_unix_s)
        snapshot = self._snapshot(at, failures)
        links = self._user_links(snapshot, [place])
        if serving is not None:
            links = links.keep(links.satellite == serving)
        satellite, up_s = links.of_station(0)
        distance, previous = np.empty(len(self.fleet)), np.empty(len(self.fleet), dtype=np.int32)
        lasers = snapshot.lasers
        _kernels.dijkstra(lasers.indptr, lasers.neighbour, lasers.delay_s, satellite, up_s, distance, previous)
        exits = self._exits(snapshot, destination, failures)
        free = best_exit(exits, distance)
        allowed = [e for e in exits if self._allows(e, policy)] if policy != ANYTHING else exits
        best = best_exit(allowed, distance)
        if free is None or best is None:
            return self._no_route(at, place, destination, snapshot, satellite, free, distance)
        ways = [traced_way(previous, best)] if count == 1 else disjoint_ways(lasers, satellite, up_s, allowed, count, share)
        cost_s = float(distance[best.satellite]) + best.delay_s - (float(distance[free.satellite]) + free.delay_s)
        up = dict(zip(satellite.tolist(), up_s.tolist(), strict=True))
        routes = [self._assemble(snapshot, place, destination, up[way.satellites[0]], way, cost_s) for way in ways]
        return tuple(sorted(routes, key=lambda route: route.delay_s))

    def _allows(self, way_out: Exit, policy: Policy) -> bool:
        if not policy.allows_jurisdiction(self.options.jurisdiction):
            return False
        if way_out.gateway == NO_GATEWAY:
            return True
        gateway = self.ground.gateways[way_out.gateway]
        return policy.allows_gateway(gateway, self._gateway_jurisdiction[way_out.gateway]) and policy.allows_point_of_presence(
            self.ground.points_of_presence[way_out.point_of_presence]
        )

    def _exits(self, snapshot: _Snapshot, destination: Place | PointOfPresence | None, failures: Failures) -> list[Exit]:
        if isinstance(destination, Place):
            satellite, down_s = self._user_links(snapshot, [destination]).of_station(0)
            return [Exit(s, d) for s, d in zip(satellite.tolist(), down_s.tolist(), strict=True)]
        points = self.ground.points_of_presence
        if destination is not None and destination not in points:
            raise LocalError(f"unknown point of presence {destination.id!r}: use one of {', '.join(point.id for point in points)}")
        exits = []
        for gateway, home in enumerate(self.ground.point_of_presence_of_gateway):
            point = home if destination is None else points.index(destination)
            if points[point].id not in failures.points_of_presence:
                satellite, down_s = snapshot.gateways.of_station(gateway)
                fibre_s = float(self._fibre_s[gateway, point])
                exits += [Exit(s, d, gateway, point, fibre_s) for s, d in zip(satellite.tolist(), down_s.tolist(), strict=True)]
        return exits

    def _assemble(
        self,
        snapshot: _Snapshot,
        place: Place,
        destination: Place | PointOfPresence | None,
        up_s: float,
        way: Way,
        policy_cost_s: float,
    ) -> Route:
        names, lasers, way_out = self.fleet.names, snapshot.lasers, way.exit
        first = way.satellites[0]
        hops = [Hop("place", place.id, None, 0.0), Hop("satellite", names[first], first, up_s)]
        for a, b in pairwise(way.satellites):
            span = slice(lasers.indptr[a], lasers.indptr[a + 1])
            delay_s = float(lasers.delay_s[span][lasers.neighbour[span] == b].min())
            hops.append(Hop("satellite", names[b], b, delay_s))
        landed: tuple[str, ...] = ()
        if isinstance(destination, Place):
            hops.append(Hop("place", destination.id, None, way_out.down_s))
        else:
            gateway = self.ground.gateways[way_out.gateway]
            point = self.ground.points_of_presence[way_out.point_of_presence]
            hops += [Hop("gateway", gateway.id, None, way_out.down_s), Hop("point of presence", point.id, None, way_out.fibre_s)]
            landed = tuple(dict.fromkeys((gateway.country, point.country)))
        return Route(
            at_unix_s=snapshot.at_unix_s,
            hops=tuple(hops),
            access_s=self._access_s(destination),
            landed_countries=landed,
            policy_cost_s=policy_cost_s,
        )

    def _access_s(self, destination: Place | PointOfPresence | None) -> float:
        """Once for each terminal on the route."""
        return self.options.path.access_one_way_s.value * (2 if isinstance(destination, Place) else 1)

    def _no_route(
        self,
        at: float,
        place: Place,
        destination: Place | PointOfPresence | None,
        snapshot: _Snapshot,
        satellite: Ints,
        free: Exit | None,
        distance: Floats,
    ) -> NoRoute:
        if free is not None:
            delay_s = float(distance[free.satellite] + free.delay_s) + self._access_s(destination)
            return NoRoute(at, f"the policy forbids every route from {place.id}: allow more landing countries or jurisdictions", delay_s)
        if satellite.shape[0] == 0:
            return NoRoute(at, f"no satellite that may serve {place.id} is in view", None)
        where = "any gateway" if destination is None or isinstance(destination, PointOfPresence) else destination.id
        return NoRoute(at, f"the satellites over {place.id} have no link to {where}", None)

    def _make_snapshot(self, at: float, failures: Failures) -> _Snapshot:
        failures.check(self.ground)
        planes = self._network.planes(at)
        position_m = self._propagator.positions_itrs_m(np.array([at]))[0]
        position_m[failures.failed_satellites(planes)] = np.nan
        lasers = self._network.links(at, position_m)
        if failures.lasers:
            lasers.delay_s[failures.failed_links(lasers.indptr, lasers.neighbour)] = np.inf
        seen = StationLinks.of(self._gateway_stations, position_m)
        standing = np.array([g.id not in failures.gateways for g in self.ground.gateways])
        gateways = give_antennas(seen.keep(standing[seen.station_of_link()]), self._antennas, self.options.feeder_links_per_satellite)
        user_position_m = position_m.copy()
        user_position_m[list(self.options.relay_only)] = np.nan
        for array in (position_m, user_position_m, lasers.delay_s, gateways.delay_s):
            array.flags.writeable = False
        return _Snapshot(at, position_m, user_position_m, lasers, gateways)

    def _user_links(self, snapshot: _Snapshot, places: Sequence[Place]) -> StationLinks:
        return StationLinks.of(self._users(tuple(places)), snapshot.user_position_m)

    def _seeds(self, snapshot: _Snapshot, sources: Sequence[Source]) -> Floats:
        """(N, S) delays from each source straight to each satellite."""
        seeds = np.full((len(self.fleet), len(sources)), np.inf)
        for column, source in enumerate(sources):
            if isinstance(source, Place):
                satellite, delay_s = self._user_links(snapshot, [source]).of_station(0)
            elif isinstance(source, Gateway):
                if source not in self.ground.gateways:
                    raise LocalError(f"unknown gateway {source.id!r}: use one of {', '.join(g.id for g in self.ground.gateways)}")
                satellite, delay_s = snapshot.gateways.of_station(self.ground.gateways.index(source))
            else:
                if not 0 <= source < len(self.fleet):
                    raise LocalError(f"a satellite is given by its index in the fleet, 0 to {len(self.fleet) - 1}, not {source}")
                here = np.isfinite(snapshot.position_m[source, 0])
                satellite, delay_s = np.array([source] if here else [], dtype=np.int32), np.zeros(int(here))
            seeds[satellite, column] = delay_s
        return seeds

    def _fibre_delays_s(self) -> Floats:
        """(G, K) from each gateway to each point of presence: great circle, lengthened by the detour, at the speed of light in glass."""
        path = self.options.path
        speed = SPEED_OF_LIGHT_M_PER_S * path.fibre_speed_of_light_share.value / path.fibre_detour.value
        rows = [
            [great_circle_m(g.latitude_deg, g.longitude_deg, p.latitude_deg, p.longitude_deg) for p in self.ground.points_of_presence]
            for g in self.ground.gateways
        ]
        return np.array(rows) / speed


def _instant(at_unix_s: float) -> float:
    if not np.isfinite(at_unix_s):
        raise LocalError("the instant must be finite POSIX seconds")
    return float(at_unix_s)
