"""Routes: what is removed never appears, no policy is ever violated, disjoint routes share nothing and are the shortest such set."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, pairwise
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet
from tramontana.space.ground import Ground, Place, PointOfPresence
from tramontana.space.routing.disjoint import FlowNetwork, disjoint_paths
from tramontana.space.routing.failures import Failures
from tramontana.space.routing.options import GroundRule, RouterOptions
from tramontana.space.routing.policy import Policy
from tramontana.space.routing.router import Router
from tramontana.space.routing.routes import NoRoute, Route
from tramontana.space.routing.shortest import LANDS
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, great_circle_m, itrs_position_m, look_angles

AT = FILED_EPOCH_UNIX_S + 3000.0
COUNTRIES = ["IT", "DE", "KE", "AU", "CL"]


@pytest.fixture(scope="module")
def router(ragged_fleet: Fleet, ground: Ground) -> Router:
    """With a low mask, because 470 satellites are thin coverage."""
    return Router(ragged_fleet, ground, RouterOptions(user=GroundRule(10.0), gateway_jurisdictions={"g-it2": "IT"}))


def found(route: Route | NoRoute) -> Route:
    assert isinstance(route, Route), route
    return route


countries = st.frozensets(st.sampled_from(COUNTRIES), max_size=4)
policies = st.builds(
    Policy,
    landing_countries=st.none() | countries,
    avoided_countries=countries,
    jurisdictions=st.none() | st.frozensets(st.sampled_from(["US", "IT", "FR"]), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(
    policy=policies,
    origin=st.integers(0, 5),
    target=st.sampled_from([None, 0, 1, 2]),
    minutes=st.integers(0, 90),
    count=st.integers(1, 3),
)
def test_a_policy_is_never_violated_and_never_shortens(
    router: Router, policy: Policy, origin: int, target: int | None, minutes: int, count: int
) -> None:
    place = router.ground.places[origin]
    destination = None if target is None else router.ground.points_of_presence[target]
    at = AT + 60.0 * minutes
    free = router.route(place, destination, at)
    bound = router.disjoint_routes(place, destination, at, count, policy=policy)
    if isinstance(bound, NoRoute):
        if isinstance(free, NoRoute):
            assert bound == free
        else:
            assert "policy" in bound.reason
            assert bound.unconstrained_delay_s == pytest.approx(free.delay_s, abs=1e-12)
        return
    for route in bound:
        gateway = next(g for g in router.ground.gateways if g.id == route.gateway_id)
        point = next(p for p in router.ground.points_of_presence if p.id == route.hops[-1].id)
        assert set(route.landed_countries) == {gateway.country, point.country}
        for country in route.landed_countries:
            assert policy.landing_countries is None or country in policy.landing_countries
            assert country not in policy.avoided_countries
        assert policy.jurisdictions is None or {"US", "IT" if gateway.id == "g-it2" else "US"} <= policy.jurisdictions
        assert route.policy_cost_s >= 0
        assert destination is None or point is destination
    shortest = found(router.route(place, destination, at, policy=policy))
    assert shortest.policy_cost_s == pytest.approx(shortest.delay_s - found(free).delay_s, abs=1e-12)
    assert bound[0].delay_s >= shortest.delay_s - 1e-12


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    gateways=st.frozensets(st.sampled_from(["g-it", "g-it2", "g-de", "g-ke", "g-au", "g-cl"]), max_size=4),
    points=st.frozensets(st.sampled_from(["p-it", "p-de", "p-ke"]), max_size=2),
    planes=st.frozensets(st.integers(0, 29), max_size=3),
)
def test_what_is_removed_never_appears(
    router: Router, seed: int, gateways: frozenset[str], points: frozenset[str], planes: frozenset[int]
) -> None:
    rng = np.random.default_rng(seed)
    place = router.ground.places[int(rng.integers(0, 6))]
    whole = router.disjoint_routes(place, None, AT, 3)
    assert not isinstance(whole, NoRoute)
    # Exactly those satellites and lasers that routes take when nothing is broken, so that the test is not idle.
    used = [s for route in whole for s in route.satellites]
    failures = Failures(
        satellites=frozenset(rng.choice(used, min(2, len(used)), replace=False).tolist()),
        planes=planes,
        gateways=gateways,
        points_of_presence=points,
        lasers=frozenset(pair[::-1] for route in whole for pair in route.lasers),
    )
    gone = failures.failed_satellites(router.planes(AT))
    answers = [router.route(place, None, AT, failures=failures), router.route(place, router.ground.places[2], AT, failures=failures)]
    several = router.disjoint_routes(place, None, AT, 3, failures=failures)
    for route in [*answers, *(() if isinstance(several, NoRoute) else several)]:
        if isinstance(route, Route):
            assert not gone[list(route.satellites)].any()
            assert not {tuple(sorted(pair)) for pair in route.lasers} & {tuple(sorted(pair)) for pair in failures.lasers}
            assert route.gateway_id not in gateways
            assert route.hops[-1].id not in points
    if isinstance(answers[0], Route):
        assert answers[0].delay_s >= whole[0].delay_s - 1e-12
    distance = router.distances(AT, [place], failures)
    assert not np.isfinite(distance[0, gone]).any()
    hops = router.next_hops(AT, [place], failures)[0]
    assert not gone[hops[hops >= 0]].any()


@pytest.mark.parametrize("minutes", [0, 17, 45])
def test_distance_is_symmetric(router: Router, minutes: int) -> None:
    at = AT + 60 * minutes
    places = router.ground.places[:6]
    delay_s, entry = router.place_delays(at, places)
    np.testing.assert_allclose(delay_s, delay_s.T, rtol=1e-12)
    assert np.isfinite(delay_s).all()
    satellites = [0, 57, 200, 333]
    between = router.distances(at, satellites)[:, satellites]
    np.testing.assert_allclose(between, between.T, rtol=1e-12)
    for a, b in combinations(range(6), 2):
        route = found(router.route(places[a], places[b], at))
        assert route.delay_s - route.access_s == pytest.approx(delay_s[a, b], abs=1e-12)
        assert route.satellites[0] == entry[a, b]


def test_forwarding_is_delays_and_next_hops(router: Router) -> None:
    places = router.ground.places
    delay_s, entry, hops = router.forwarding(AT, places)
    assert np.array_equal(delay_s, router.place_delays(AT, places)[0])
    assert np.array_equal(entry, router.place_delays(AT, places)[1])
    assert np.array_equal(hops, router.next_hops(AT, places))
    reached = np.count_nonzero(np.isfinite(router.distances(AT, places)), axis=1)
    straight = [int(np.count_nonzero(row == LANDS)) for row in hops]
    seen = router._user_links(router._snapshot(AT, Failures()), places)
    assert np.all(straight <= np.diff(seen.first))
    assert np.all(np.array(straight)[:6] > 0)
    assert np.all(reached[:6] > 100)


def test_route_is_the_best_of_all_gateways_by_hand(router: Router) -> None:
    """The sweeps' table of delays, searched by hand, gives what `route` finds by heap search."""
    ground, path = router.ground, router.options.path
    speed = SPEED_OF_LIGHT_M_PER_S * path.fibre_speed_of_light_share.value / path.fibre_detour.value
    for place in ground.places[:6]:
        from_place = router.distances(AT, [place])[0]
        best = np.inf
        for gateway, home in zip(ground.gateways, ground.point_of_presence_of_gateway, strict=True):
            point = ground.points_of_presence[home]
            seeds = router._snapshot(AT, Failures()).gateways
            satellite, down_s = seeds.of_station(ground.gateways.index(gateway))
            fibre_m = great_circle_m(gateway.latitude_deg, gateway.longitude_deg, point.latitude_deg, point.longitude_deg)
            best = min(best, float((from_place[satellite] + down_s).min(initial=np.inf)) + fibre_m / speed)
        route = found(router.route(place, None, AT))
        assert route.delay_s == pytest.approx(best + path.access_one_way_s.value, abs=1e-12)


def test_hops_add_up_and_lie_above_the_mask(router: Router) -> None:
    place = router.ground.place("rome")
    route = found(router.route(place, router.ground.points_of_presence[1], AT))
    assert [route.hops[0].kind, route.hops[-2].kind, route.hops[-1].kind] == ["place", "gateway", "point of presence"]
    assert route.delay_s == route.access_s + sum(hop.delay_s for hop in route.hops)
    position_m = router._propagator.positions_itrs_m(np.array([AT]))[0]
    elevation, _, _ = look_angles(place.latitude_deg, place.longitude_deg, 0.0, position_m[route.satellites[0]])
    assert elevation >= 10.0
    straight_m = np.linalg.norm(itrs_position_m(41.9, 12.5) - position_m[route.satellites[0]])
    assert route.hops[1].delay_s == pytest.approx(straight_m / SPEED_OF_LIGHT_M_PER_S, rel=1e-12)
    assert "rome → " in str(route)


def test_the_scheduler_may_name_the_serving_satellite(router: Router) -> None:
    place = router.ground.place("rome")
    seen = np.flatnonzero(np.isfinite(router.distances(AT, [place])[0]))
    direct = [s for s in seen if router.next_hops(AT, [place])[0, s] == -2]
    assert len(direct) > 1
    best = found(router.route(place, None, AT))
    for satellite in direct:
        route = router.route(place, None, AT, serving=int(satellite))
        if isinstance(route, Route):
            assert route.satellites[0] == satellite
            assert route.delay_s >= best.delay_s - 1e-12
    hidden = next(s for s in range(len(router.fleet)) if s not in direct)
    assert "no satellite" in str(router.route(place, None, AT, serving=hidden))


def test_from_terminal_to_terminal_nothing_lands_but_jurisdiction_counts(router: Router) -> None:
    rome, oslo = router.ground.place("rome"), router.ground.place("oslo")
    route = found(router.route(rome, oslo, AT, policy=Policy(landing_countries=frozenset())))
    assert route.landed_countries == ()
    assert route.gateway_id is None
    assert route.policy_cost_s == 0
    assert route.access_s == 2 * router.options.path.access_one_way_s.value
    refused = router.route(rome, oslo, AT, policy=Policy(jurisdictions=frozenset({"IT"})))
    assert isinstance(refused, NoRoute)
    assert refused.unconstrained_delay_s == pytest.approx(route.delay_s, abs=1e-12)


def test_a_site_of_unknown_country_is_allowed_only_where_every_country_is() -> None:
    assert Policy().allows_country("")
    assert not Policy(landing_countries=frozenset({"IT"})).allows_country("")
    assert not Policy(avoided_countries=frozenset({"IT"})).allows_country("")


def test_bent_pipe_only_and_relay_only(ragged_fleet: Fleet, ground: Ground) -> None:
    bent = Router(ragged_fleet, ground, RouterOptions(lasers=False))
    assert found(bent.route(ground.place("rome"), None, AT)).is_bent_pipe
    assert "no link to any gateway" in str(bent.route(ground.place("ship"), None, AT))
    low = RouterOptions(user=GroundRule(10.0))
    laser = found(Router(ragged_fleet, ground, low).route(ground.place("ship"), None, AT))
    assert not laser.is_bent_pipe
    relay = Router(ragged_fleet, ground, replace(low, relay_only=frozenset({laser.satellites[0]})))
    assert found(relay.route(ground.place("ship"), None, AT)).satellites[0] != laser.satellites[0]


def test_antennas_and_feeders_are_limits(ragged_fleet: Fleet, ground: Ground) -> None:
    options = RouterOptions(antennas_per_gateway=3, antennas={"g-it": 1}, feeder_links_per_satellite=1)
    few = Router(ragged_fleet, ground, options)
    many = Router(ragged_fleet, ground, RouterOptions(antennas_per_gateway=None, feeder_links_per_satellite=None))
    for minutes in range(0, 90, 7):
        links, every = (r._snapshot(AT + 60 * minutes, Failures()).gateways for r in (few, many))
        assert np.all(np.diff(links.first) <= [1, 3, 3, 3, 3, 3])
        assert np.all(np.bincount(links.satellite) <= 1)
        pairs = set(zip(links.station_of_link().tolist(), links.satellite.tolist(), strict=True))
        every_pair = set(zip(every.station_of_link().tolist(), every.satellite.tolist(), strict=True))
        assert pairs <= every_pair
        # Nothing lies idle: a free antenna that sees a satellite with a free feeder would have taken it.
        for gateway, satellite in every_pair - pairs:
            full = np.diff(links.first)[gateway] == ([1, 3, 3, 3, 3, 3][gateway])
            assert full or satellite in links.satellite
    none = Router(ragged_fleet, ground, RouterOptions(antennas_per_gateway=0))
    assert isinstance(none.route(ground.place("rome"), None, AT), NoRoute)


def test_places_at_the_pole_and_the_date_line(router: Router, ground: Ground, grid_fleet: Fleet) -> None:
    assert isinstance(router.route(ground.place("fiji"), None, AT), Route)
    answer = Router(grid_fleet, ground).route(ground.place("pole"), None, AT)
    assert str(answer) == "no satellite that may serve pole is in view"


def test_decayed_satellites_take_no_part(ragged_fleet: Fleet, ground: Ground, router: Router) -> None:
    at = AT + 40 * 86400
    drag = np.zeros(len(ragged_fleet))
    used = found(router.route(ground.place("ship"), None, at)).satellites[0]
    drag[used] = 9.0
    decayed = Router(replace(ragged_fleet, bstar_per_earth_radius=drag), ground, router.options)
    assert used not in found(decayed.route(ground.place("ship"), None, at)).satellites
    assert not np.isfinite(decayed.distances(at, [int(used)])).any()
    assert isinstance(decayed.route(ground.place("rome"), None, AT + 3000 * 365 * 86400.0), Route | NoRoute)


def test_answers_are_the_same_every_time(ragged_fleet: Fleet, ground: Ground, router: Router) -> None:
    for minutes in (0, 20):
        first = router.disjoint_routes(ground.place("ship"), None, AT + 60 * minutes, 3)
        fresh = Router(ragged_fleet, ground, router.options)
        assert fresh.disjoint_routes(ground.place("ship"), None, AT + 60 * minutes, 3) == first


@pytest.mark.parametrize("share", ["nothing", "satellites"])
def test_disjoint_routes_share_nothing(router: Router, share: Literal["nothing", "satellites"]) -> None:
    ground = router.ground
    targets: list[Place | PointOfPresence | None] = [None, ground.points_of_presence[0], ground.place("santiago")]
    for target in targets:
        routes = router.disjoint_routes(ground.place("nairobi"), target, AT, 4, share=share)
        assert not isinstance(routes, NoRoute)
        assert len(routes) > 1
        assert [r.delay_s for r in routes] == sorted(r.delay_s for r in routes)
        assert routes[0].delay_s <= routes[-1].delay_s
        for a, b in combinations(routes, 2):
            links = [set(map(frozenset, zip([h.id for h in r.hops[:-1]], [h.id for h in r.hops[1:]], strict=True))) for r in (a, b)]
            shared = {link for link in links[0] & links[1] if not any(i.startswith("p-") for i in link)}
            assert not shared
            if share == "nothing":
                assert not set(a.satellites) & set(b.satellites)
                assert target is ground.place("santiago") or a.gateway_id != b.gateway_id


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), nodes=st.integers(2, 9), wanted=st.integers(1, 4))
def test_disjoint_paths_cost_as_little_as_linear_programming_says(seed: int, nodes: int, wanted: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for a in range(nodes) for b in range(nodes) if a != b and rng.random() < 0.5]
    if not pairs:
        return
    tail, head = np.array(pairs, dtype=np.int32).T
    network = FlowNetwork(nodes, tail, head, rng.uniform(0.1, 1.0, len(pairs)), rng.integers(1, 3, len(pairs)).astype(np.int32))
    paths = disjoint_paths(network, 0, nodes - 1, wanted)
    cost = {pair: c for pair, c in zip(pairs, network.cost, strict=True)}
    used: dict[tuple[int, int], int] = {}
    for path in paths:
        assert path[0] == 0
        assert path[-1] == nodes - 1
        for step in pairwise(path):
            used[step] = used.get(step, 0) + 1
    assert all(used.get(pair, 0) <= room for pair, room in zip(pairs, network.room, strict=True))
    incidence = np.zeros((nodes, len(pairs)))
    incidence[tail, np.arange(len(pairs))] += 1
    incidence[head, np.arange(len(pairs))] -= 1
    supply = np.zeros(nodes)
    bounds = [(0, int(room)) for room in network.room]
    largest = linprog(-incidence[0], A_eq=incidence[1:-1] if nodes > 2 else None, b_eq=supply[1:-1] if nodes > 2 else None, bounds=bounds)
    assert len(paths) == min(wanted, round(-largest.fun))
    supply[0], supply[-1] = len(paths), -len(paths)
    least = linprog(network.cost, A_eq=incidence, b_eq=supply, bounds=bounds)
    assert sum(cost[step] * times for step, times in used.items()) == pytest.approx(least.fun, abs=1e-9)


def test_bad_input_says_what_to_do(router: Router, ground: Ground, ragged_fleet: Fleet) -> None:
    rome = ground.place("rome")
    stranger = PointOfPresence("p-xx", "X", "XX", 0.0, 0.0, "test")
    with pytest.raises(LocalError, match="use one of p-it, p-de, p-ke"):
        router.route(rome, stranger, AT)
    with pytest.raises(LocalError, match="finite POSIX seconds"):
        router.route(rome, None, float("nan"))
    with pytest.raises(LocalError, match="unknown gateway 'g-xx'"):
        router.route(rome, None, AT, failures=Failures(gateways=frozenset({"g-xx"})))
    with pytest.raises(LocalError, match="unknown point of presence"):
        router.route(rome, None, AT, failures=Failures(points_of_presence=frozenset({"p-xx"})))
    with pytest.raises(LocalError, match="index in the fleet"):
        router.route(rome, None, AT, failures=Failures(satellites=frozenset({99999})))
    with pytest.raises(LocalError, match="there is no plane 999"):
        router.route(rome, None, AT, failures=Failures(planes=frozenset({999})))
    with pytest.raises(LocalError, match="at least one route"):
        router.disjoint_routes(rome, None, AT, 0)
    with pytest.raises(LocalError, match="index in the fleet"):
        router.distances(AT, [-1])
    with pytest.raises(LocalError, match="country code"):
        Policy(landing_countries=frozenset({"Italy"}))
    with pytest.raises(LocalError, match="does not have"):
        Router(ragged_fleet, ground, RouterOptions(antennas={"g-xx": 3}))
    with pytest.raises(LocalError, match="relay_only"):
        Router(ragged_fleet, ground, RouterOptions(relay_only=frozenset({10**6})))
    with pytest.raises(LocalError, match="negative"):
        RouterOptions(antennas_per_gateway=-1)
    with pytest.raises(LocalError, match="elevation"):
        GroundRule(minimum_elevation_deg=91.0)
    with pytest.raises(LocalError, match="range"):
        GroundRule(longest_range_m=0.0)


def test_one_lonely_satellite(ground: Ground) -> None:
    fleet = generate((Shell(550.0, 53.0, 1, 1, 0),), label="one", source="test", name_prefix="ONE")
    router = Router(fleet, ground)
    assert router.lasers(AT).standing == 0
    answers = [router.route(place, None, AT + 60.0 * m) for place in ground.places for m in range(0, 90, 10)]
    assert any(isinstance(a, NoRoute) for a in answers)
    assert router.distances(AT, ground.gateways).shape == (6, 1)
