"""The studies against slow and simple code: every satellite, every instant, every gateway, one at a time."""

from __future__ import annotations

import h3
import numpy as np
import pytest

from tramontana.space.beams.assignment import BeamRules
from tramontana.space.fleet import Fleet
from tramontana.space.ground import mediterranean
from tramontana.space.links import KA_FEEDER_DOWN, KA_FEEDER_UP, KU_USER_DOWN, KU_USER_UP, RainClimate, link_availability
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.routing.policy import Policy
from tramontana.space.routing.router import Router
from tramontana.space.routing.routes import NoRoute, Route
from tramontana.space.serving import SLOT_S, Scheduler, slot_start_unix_s
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate
from tramontana.space.studies import availability, capacity, coverage, latency, passes, routes
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites, parse_track
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, look_angles

GROUND = mediterranean()
START = FILED_EPOCH_UNIX_S + 5000.0


@pytest.fixture(scope="module")
def thin() -> Fleet:
    """So few satellites that there are gaps."""
    return generate((Shell(550.0, 53.0, 12, 12, 5),), label="thin", source="made for a test", name_prefix="THIN")


@pytest.fixture(scope="module")
def places() -> Sites:
    return Sites.of_places([GROUND.place(name) for name in ("rome", "palermo", "ship-levantine", "kyiv")])


@pytest.fixture(scope="module")
def ship() -> Sites:
    rows = "time,lat,lon\n2026-01-01T01:00Z,36.0,12.0\n2026-01-01T03:00Z,43.0,8.0\n"
    return parse_track(rows, name="ship.csv")


def landed(position_m: np.ndarray) -> np.ndarray:
    rows = [look_angles(g.latitude_deg, g.longitude_deg, 0.0, position_m)[0] >= g.minimum_elevation_deg for g in GROUND.gateways]
    return np.asarray(np.any(rows, axis=0))


def counts(fleet: Fleet, sites: Sites, instants: Instants, mask: float) -> np.ndarray:
    """(2, T, P) by brute force with SGP4's own positions."""
    propagator, answer = Propagator(fleet), []
    for at in instants.times_unix_s.tolist():
        position = propagator.positions_itrs_m(np.array([at]))[0]
        lands = landed(position)
        here = [sites.place(p, at) for p in range(len(sites))]
        seen = [look_angles(p.latitude_deg, p.longitude_deg, p.height_m, position)[0] >= mask for p in here]
        answer.append(([s.sum() for s in seen], [(s & lands).sum() for s in seen]))
    return np.array(answer).transpose(1, 0, 2)


def longest_run(missing: list[bool]) -> int:
    best = run = 0
    for one in missing:
        run = run + 1 if one else 0
        best = max(best, run)
    return best


@pytest.mark.parametrize("moving", [False, True])
def test_coverage_is_that_of_brute_force(thin: Fleet, places: Sites, ship: Sites, moving: bool) -> None:
    sites = ship if moving else places
    instants = Instants.over(START, 3000, 15)
    expected = counts(thin, sites, instants, 25.0)
    count = coverage.CountSatellites(thin, GROUND, sites, 25.0, at_least=2)
    answer = count(instants)
    assert np.array_equal(answer.series, expected)
    assert np.array_equal(answer.in_view.covered, (expected[0] >= 2).sum(axis=0))
    missing = expected[1] == 0
    assert 0 < missing.sum() < missing.size, "the test needs gaps"
    assert np.array_equal(answer.served.longest_gap, [longest_run(column.tolist()) for column in missing.T])
    assert np.array_equal(coverage.gap_s(answer.served), missing.sum(axis=0) * 15.0)
    pieces = coverage.join([count(piece) for piece in instants.pieces(37)])
    assert np.array_equal(pieces.series, answer.series)
    assert np.array_equal(pieces.served.gaps, answer.served.gaps)
    assert np.array_equal(pieces.served.longest_gap, answer.served.longest_gap)


def test_keeping_away_from_the_geostationary_arc_costs_satellites(thin: Fleet, places: Sites) -> None:
    instants = Instants.over(START, 1500, 15)
    free = coverage.CountSatellites(thin, GROUND, places, 25.0)(instants).series
    kept = coverage.CountSatellites(thin, GROUND, places, 25.0, arc_avoidance_deg=30.0)(instants).series
    assert (kept <= free).all()
    assert kept.sum() < free.sum()


def test_latency_is_that_of_the_scheduler_one_slot_at_a_time(thin: Fleet, places: Sites) -> None:
    slots = latency.slots_of(Instants.over(START, 900, 15))
    assert len(slots) == 60
    served = latency.Serve(thin, GROUND, places, seed=3)(slots)
    propagator, parameters = Propagator(thin), PathParameters()
    scheduler = Scheduler(thin, GROUND, propagator, parameters, 3)
    for site in range(len(places)):
        place = places.place(site, START)
        for column, slot in enumerate(slots):
            chosen = scheduler.assignment(place, slot)
            assert (served.satellite[site, column] == -1) == (chosen is None)
            if chosen is None:
                assert np.isnan(served.one_way_delay_s[site, column])
                continue
            assert served.satellite[site, column] == chosen.satellite
            assert served.gateway[site, column] == chosen.gateway
            position = propagator.track_itrs_m(chosen.satellite, np.array([slot_start_unix_s(slot) + SLOT_S / 2]))
            gateway = GROUND.gateways[chosen.gateway]
            elevation, _, up_m = look_angles(place.latitude_deg, place.longitude_deg, 0.0, position)
            _, _, down_m = look_angles(gateway.latitude_deg, gateway.longitude_deg, 0.0, position)
            fixed_s = scheduler.backhaul_s[chosen.gateway] + parameters.access_one_way_s.value
            delay_s = (up_m[0] + down_m[0]) / SPEED_OF_LIGHT_M_PER_S + fixed_s
            assert served.one_way_delay_s[site, column] == pytest.approx(delay_s, rel=1e-6)
            assert served.elevation_deg[site, column] == pytest.approx(elevation[0], abs=1e-4)
    joined = latency.join([latency.Serve(thin, GROUND, places, seed=3)(piece) for piece in latency.cut(slots, 13)])
    assert np.array_equal(joined.satellite, served.satellite)
    assert np.array_equal(joined.one_way_delay_s, served.one_way_delay_s, equal_nan=True)


def test_latency_statistics(thin: Fleet, places: Sites) -> None:
    served = latency.Serve(thin, GROUND, places)(latency.slots_of(Instants.over(START, 1800, 15)))
    answer = latency.summarise(served)
    for site in range(len(places)):
        known = served.one_way_delay_s[site][np.isfinite(served.one_way_delay_s[site])]
        assert answer.served_share[site] == known.size / 120
        if known.size:
            assert answer.one_way_s[50][site] == pytest.approx(np.median(known))
            assert answer.one_way_s[95][site] == pytest.approx(np.quantile(known.astype(float), 0.95))
        changes = sum(
            served.satellite[site, k] != served.satellite[site, k - 1] or served.gateway[site, k] != served.gateway[site, k - 1]
            for k in range(1, 120)
        )
        assert latency.handovers(served)[site] == changes


def test_a_ship_is_served_where_it_is(thin: Fleet, ship: Sites) -> None:
    slots = latency.slots_of(Instants.over(START, 600, 15))
    served = latency.Serve(thin, GROUND, ship)(slots)
    assert 0 < np.isfinite(served.elevation_deg).sum() < len(slots)
    for column in np.flatnonzero(served.satellite[0] >= 0).tolist():
        at = slot_start_unix_s(slots[column]) + SLOT_S / 2
        place = ship.place(0, at)
        position = Propagator(thin).track_itrs_m(int(served.satellite[0, column]), np.array([at]))
        elevation, _, range_m = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, position)
        assert served.elevation_deg[0, column] == pytest.approx(elevation[0], abs=1e-3)
        assert served.range_m[0, column] == pytest.approx(range_m[0], rel=1e-6)


def test_availability_is_the_product_of_its_parts(thin: Fleet, places: Sites) -> None:
    served = latency.Serve(thin, GROUND, places)(latency.slots_of(Instants.over(START, 3600, 15)))
    parameters = PathParameters()
    answer = availability.availability_of(served, places, GROUND, parameters, least_bps=1e6, percent=99.9)
    for site in range(len(places)):
        at = served.satellite[site] != -1
        if not at.any():
            assert answer.all[site] == 0
            continue
        climate = RainClimate.at(places.latitude_deg[site], places.longitude_deg[site])
        elevation, range_m = served.elevation_deg[site, at].astype(float), served.range_m[site, at].astype(float)
        user = np.minimum(*(link_availability(b, climate, elevation, range_m, 1e6) for b in (KU_USER_DOWN, KU_USER_UP))).mean()
        assert answer.user_hop[site] == pytest.approx(user, abs=3e-5)
        feeder = []
        for g, e in zip(served.gateway[site, at], served.gateway_elevation_deg[site, at].astype(float), strict=True):
            there = RainClimate.at(GROUND.gateways[g].latitude_deg, GROUND.gateways[g].longitude_deg)
            reach = 550e3 / np.sin(np.radians(max(e, 25.0)))  # flat Earth: the range hardly matters for rain
            feeder.append(min(float(link_availability(b, there, e, reach, 1e6)) for b in (KA_FEEDER_DOWN, KA_FEEDER_UP)))
        assert answer.feeder_hop[site] == pytest.approx(np.mean(feeder), abs=2e-3)
        lost = latency.handovers(served)[site] * parameters.handover_outage_s.value / (239 * 15)
        assert answer.handover[site] == pytest.approx(1 - lost)
        product = answer.served[site] * answer.user_hop[site] * answer.feeder_hop[site] * answer.handover[site]
        assert answer.all[site] == pytest.approx(product)


def test_a_higher_rate_is_available_less_often(thin: Fleet, places: Sites) -> None:
    served = latency.Serve(thin, GROUND, places)(latency.slots_of(Instants.over(START, 3600, 15)))
    low, high = (
        availability.availability_of(served, places, GROUND, PathParameters(), least_bps=rate, percent=99.9) for rate in (1e6, 150e6)
    )
    known = np.isfinite(low.user_hop)
    assert (high.user_hop[known] < low.user_hop[known]).all()


def test_capacity_gives_a_beam_where_a_landed_satellite_stands(thin: Fleet, places: Sites) -> None:
    instants = Instants.over(START, 900, 60)
    load = capacity.Load.of(places, 1e6, resolution=5, rings=0)
    plan = capacity.PlanBeams(thin, GROUND, load, 25.0, BeamRules())
    answer = plan(instants)
    cells = Sites.of(
        ids=load.cells,
        names=load.cells,
        kind="cell",
        latitude_deg=np.array([h3.cell_to_latlng(c)[0] for c in load.cells]),
        longitude_deg=np.array([h3.cell_to_latlng(c)[1] for c in load.cells]),
    )
    expected = counts(thin, cells, instants, 25.0)[1][:, load.of_site] > 0
    assert np.array_equal(answer.beams > 0, expected)
    assert answer.beams.max() == 1
    assert np.array_equal(capacity.join([plan(piece) for piece in instants.pieces(4)]).beams, answer.beams)


def test_capacity_is_bounded_by_channels_and_beams(thin: Fleet, places: Sites) -> None:
    load = capacity.Load.of(places.take(0), 1e12, resolution=5, rings=3)
    answer = capacity.PlanBeams(thin, GROUND, load, 25.0, BeamRules(beams_per_satellite=5, channels=3))(Instants.over(START, 900, 60))
    assert answer.beams.max() <= 3
    in_view = counts(thin, places.take(0), Instants.over(START, 900, 60), 25.0)[1]
    assert (answer.all_bps <= (in_view.max() + 2) * 5 * 600e6).all()
    assert (answer.bound_share <= 1).all()


def test_routes_are_those_of_the_router(thin: Fleet, places: Sites) -> None:
    instants = Instants.over(START, 300, 60)
    policy = Policy(landing_countries=frozenset({"IT"}))
    found = routes.join([routes.FindRoutes(thin, GROUND, places, policy=policy)(piece) for piece in instants.pieces(2)])
    router = Router(thin, GROUND)
    for row, at in zip(found, instants.times_unix_s.tolist(), strict=True):
        for site, answer in enumerate(row):
            free = router.route(places.place(site, at), None, at)
            if isinstance(answer, NoRoute):
                assert (answer.unconstrained_delay_s is None) == isinstance(free, NoRoute)
                continue
            assert isinstance(free, Route)
            assert set(answer.landed_countries) <= {"IT"}
            assert answer.policy_cost_s == pytest.approx(answer.delay_s - free.delay_s, abs=1e-9)
    summary = routes.summarise(found)
    column = [row[0] for row in found]
    delays = [answer.delay_s for answer in column if isinstance(answer, Route)]
    assert summary.routed_share[0] == len(delays) / 5
    assert (np.isnan(summary.delay_median_s[0]) and not delays) or summary.delay_median_s[0] == pytest.approx(np.median(delays))


@pytest.mark.parametrize("moving", [False, True])
def test_passes_are_those_of_looking_every_second(thin: Fleet, places: Sites, ship: Sites, moving: bool) -> None:
    sites = ship if moving else places.take(0)
    instants = Instants.over(START, 1200, 15)
    found = passes.FindPasses(thin, sites, instants, 25.0)(0)
    assert len(found) > 3
    times = np.arange(START, START + 1200.5, 1.0)
    position = Propagator(thin).positions_itrs_m(times)
    elevation = np.empty(position.shape[:2])
    for row, at in enumerate(times.tolist()):
        place = sites.place(0, at)
        elevation[row] = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, position[row])[0]
    close = passes.TRACK_STEP_S + 1 if moving else 1.0
    number = 0
    for satellite in range(len(thin)):
        up = np.flatnonzero(np.diff(np.concatenate([[0], elevation[:, satellite] >= 25.0, [0]]).astype(int)))
        for first, after in zip(up[::2].tolist(), up[1::2].tolist(), strict=True):
            if moving and after - first <= passes.TRACK_STEP_S:
                continue  # may fall between two looks
            here = np.flatnonzero((found.satellite == satellite) & (np.abs(found.culmination_unix_s - times[first:after].mean()) < 400))
            assert here.shape == (1,)
            row = int(here[0])
            number += 1
            assert np.isnan(found.rise_unix_s[row]) if first == 0 else found.rise_unix_s[row] == pytest.approx(times[first], abs=close)
            assert np.isnan(found.set_unix_s[row]) if after == 1201 else found.set_unix_s[row] == pytest.approx(times[after - 1], abs=close)
            top = elevation[first:after, satellite].max()
            low, high = (-2.0, 0.1) if moving else (-0.01, 0.5)  # near the zenith half a second of looking is 0.4°
            assert low <= found.culmination_elevation_deg[row] - top <= high
    assert number <= len(found) <= number + (3 if moving else 0)
