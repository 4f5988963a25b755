"""Many places at once: equal to one at a time, without seams, anywhere on Earth; masks of satellites; antennas of gateways."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.space.elements import parse_elements
from tramontana.space.fleet import Fleet
from tramontana.space.ground import Gateway, Ground, Place, PointOfPresence, mediterranean
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.serving import Scheduler, slot_of, slot_start_unix_s
from tramontana.space.shells import FILED_EPOCH_UNIX_S, starlink_gen1_as_filed
from tramontana.space.visibility import look_angles

FIRST = slot_of(FILED_EPOCH_UNIX_S + 40 * 86400.0)
FLEET = starlink_gen1_as_filed()
PROPAGATOR = Propagator(FLEET)
PLACES = mediterranean().places


def around_the_world() -> Ground:
    """Gateways at the poles and on both sides of the date line, each its own point of presence."""
    spots = {
        "north": (89.0, 10.0),
        "south": (-89.5, -120.0),
        "east": (-17.0, 179.5),
        "west": (-17.5, -179.5),
        "equator": (0.0, 0.0),
        "low": (50.0, 4.0),
    }
    return Ground(
        places=(),
        gateways=tuple(Gateway(n, n, "", la, lo, 5.0 if n == "low" else 25.0, "test", 3) for n, (la, lo) in spots.items()),
        points_of_presence=tuple(PointOfPresence(n, n, "", la, lo, "test") for n, (la, lo) in spots.items()),
    )


def scheduler(
    ground: Ground | None = None,
    seed: int = 7,
    *,
    fleet: Fleet = FLEET,
    may_serve: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None,
    limit_antennas: bool = False,
) -> Scheduler:
    propagator = PROPAGATOR if fleet is FLEET else Propagator(fleet)
    return Scheduler(
        fleet, ground or mediterranean(), propagator, PathParameters(), seed, may_serve=may_serve, limit_antennas=limit_antennas
    )


def one_by_one(single: Scheduler, places: tuple[Place, ...], slots: range) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    answers = [[single.assignment(place, slot) for slot in slots] for place in places]
    return np.array([[(a.satellite, a.gateway) if a else (-1, -1) for a in row] for row in answers])


@pytest.mark.parametrize("limit_antennas", [False, True])
def test_a_batch_equals_one_at_a_time(limit_antennas: bool) -> None:
    slots = range(FIRST + 5, FIRST + 45)
    satellite, gateway = scheduler(limit_antennas=limit_antennas).assignments(PLACES, slots)
    expected = one_by_one(scheduler(limit_antennas=limit_antennas), PLACES, slots)
    np.testing.assert_array_equal(satellite, expected[..., 0])
    np.testing.assert_array_equal(gateway, expected[..., 1])
    assert np.mean(satellite >= 0) > 0.9


def test_a_batch_equals_one_at_a_time_with_real_elements(shared_data: Path) -> None:
    name = "starlink_2026-05-21.tle.gz"
    fleet = parse_elements((shared_data / name).read_bytes(), name=name).fleet
    first = slot_of(fleet.epochs.median_unix_s)
    one = scheduler(fleet=fleet)
    satellite, gateway = one.assignments(PLACES, range(first, first + 24))
    expected = one_by_one(one, PLACES, range(first, first + 24))
    np.testing.assert_array_equal(satellite, expected[..., 0])
    np.testing.assert_array_equal(gateway, expected[..., 1])


@given(
    latitude=st.one_of(st.floats(-90, 90), st.sampled_from([90.0, -90.0, 89.9, -17.0, 0.0])),
    longitude=st.one_of(st.floats(-180, 180), st.sampled_from([180.0, -180.0, 179.9])),
    slot=st.integers(-1000, 20_000),
)
@settings(max_examples=150, deadline=None)
def test_a_batch_equals_one_at_a_time_anywhere_on_earth(latitude: float, longitude: float, slot: int) -> None:
    """The poles and the date line among them; each place also stands right beside a gateway of its own, so that most have coverage."""
    place = Place("here", "Here", "", "city", latitude, longitude)
    world = around_the_world()
    beside = Gateway("beside", "beside", "", max(-90.0, latitude - 1), longitude, 25.0, "test")
    ground = Ground((), (*world.gateways, beside), world.points_of_presence)
    one = scheduler(ground)
    satellite, gateway = one.assignments((place,), range(FIRST + slot, FIRST + slot + 2))
    expected = one_by_one(one, (place,), range(FIRST + slot, FIRST + slot + 2))
    np.testing.assert_array_equal(np.stack([satellite, gateway], axis=-1), expected)


def test_both_sides_of_the_date_line_and_the_poles_are_served() -> None:
    spots = [(90.0, 0.0), (-90.0, 77.0), (-17.0, 180.0), (-17.0, -180.0), (-16.0, -179.9), (-16.0, 179.9)]
    places = tuple(Place(f"p{k}", "p", "", "city", la, lo) for k, (la, lo) in enumerate(spots))
    satellite, _ = scheduler(around_the_world()).assignments(places, range(FIRST, FIRST + 40))
    assert np.all(np.mean(satellite[2:] >= 0, axis=1) > 0.9)
    assert np.all(np.any(satellite[:2] >= 0, axis=1))  # 520 satellites of the as-filed fleet fly over 97.6°


@given(start=st.integers(0, 5_000), length=st.integers(1, 40), cut=st.integers(0, 40))
@settings(max_examples=25, deadline=None)
def test_windows_join_without_seam(start: int, length: int, cut: int) -> None:
    cut = min(cut, length)
    slots = range(FIRST + start, FIRST + start + length)
    whole = scheduler().assignments(PLACES[:6], slots)
    left, right = scheduler().assignments(PLACES[:6], slots[:cut]), scheduler().assignments(PLACES[:6], slots[cut:])
    for kind in (0, 1):
        np.testing.assert_array_equal(whole[kind], np.concatenate([left[kind], right[kind]], axis=1))


def test_order_and_company_of_places_do_not_matter() -> None:
    slots = range(FIRST, FIRST + 30)
    whole, _ = scheduler().assignments(PLACES, slots)
    backwards, _ = scheduler().assignments(PLACES[::-1], slots)
    alone, _ = scheduler().assignments(PLACES[3:4], slots)
    np.testing.assert_array_equal(whole, backwards[::-1])
    np.testing.assert_array_equal(whole[3:4], alone)


def test_seeds_reproduce_and_differ() -> None:
    slots = range(FIRST, FIRST + 30)
    one, again, other = (scheduler(seed=seed).assignments(PLACES, slots)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.mean(one != other) > 0.5


def test_nothing_asked_and_gaps() -> None:
    assert scheduler().assignments((), range(FIRST, FIRST + 3))[0].shape == (0, 3)
    assert scheduler().assignments(PLACES, range(FIRST, FIRST))[1].shape == (len(PLACES), 0)
    with pytest.raises(LocalError, match="step 1"):
        scheduler().assignments(PLACES, range(FIRST, FIRST + 10, 2))


@given(removed=st.lists(st.integers(0, len(FLEET) - 1), min_size=1, max_size=2000, unique=True), start=st.integers(0, 5_000))
@settings(max_examples=15, deadline=None)
def test_a_masked_satellite_never_serves(removed: list[int], start: int) -> None:
    """A mask gives the same answers as a fleet without those satellites, and none of them serves."""
    slots = range(FIRST + start, FIRST + start + 6)
    mask = np.ones(len(FLEET), dtype=np.bool_)
    mask[removed] = False
    masked, gateway = scheduler(may_serve=mask).assignments(PLACES, slots)
    assert not np.isin(masked, removed).any()
    keep = np.flatnonzero(mask)
    without, gateway_without = scheduler(fleet=FLEET.take(keep)).assignments(PLACES, slots)
    np.testing.assert_array_equal(masked, np.where(without >= 0, keep[without], -1))
    np.testing.assert_array_equal(gateway, gateway_without)


def test_a_mask_without_satellites_serves_nobody_and_a_wrong_one_is_refused() -> None:
    satellite, gateway = scheduler(may_serve=np.zeros(len(FLEET), dtype=np.bool_)).assignments(PLACES, range(FIRST, FIRST + 2))
    assert np.all(satellite == -1)
    assert np.all(gateway == -1)
    with pytest.raises(LocalError, match="4408 booleans"):
        scheduler(may_serve=np.ones(3, dtype=np.bool_))


@pytest.mark.parametrize("limit_antennas", [False, True])
def test_gateways_equal_brute_force(limit_antennas: bool) -> None:
    """For every satellite of the fleet: the gateway of least delay, or with few antennas the pairs of least delay first."""
    ground = mediterranean()
    one = scheduler(limit_antennas=limit_antennas)
    slot = FIRST + 11
    landed = one._landed_at(slot // 8)
    ours = np.full(len(FLEET), -1)
    ours[landed.satellites] = landed.gateway[slot % 8]
    position = PROPAGATOR.positions_itrs_m(slot_start_unix_s(slot) + np.arange(31) / 2)
    delay = np.full((len(ground.gateways), len(FLEET)), np.inf)
    for index, gateway in enumerate(ground.gateways):
        elevation, _, distance = look_angles(gateway.latitude_deg, gateway.longitude_deg, 0.0, position)
        lands = (elevation >= gateway.minimum_elevation_deg).all(axis=0)
        delay[index, lands] = distance[15, lands] / 299792458 + one.backhaul_s[index]
    expected = np.full(len(FLEET), -1)
    free = [(limit_antennas and gateway.antenna_count) or len(FLEET) for gateway in ground.gateways]
    pairs = ((g, c) for g, c in np.stack(np.unravel_index(np.argsort(delay, axis=None), delay.shape), axis=1).tolist())
    for gateway_index, satellite in pairs:
        if np.isfinite(delay[gateway_index, satellite]) and free[gateway_index] and expected[satellite] < 0:
            free[gateway_index] -= 1
            expected[satellite] = gateway_index
    np.testing.assert_array_equal(ours, expected)
    milan = [gateway.id for gateway in ground.gateways].index("milano")
    assert ground.gateways[milan].antenna_count == 8
    assert (np.count_nonzero(ours == milan) <= 8) == limit_antennas


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_gateway_tracks_more_satellites_than_it_has_antennas(count: int) -> None:
    full = mediterranean()
    gateways = tuple(
        Gateway(g.id, g.name, g.country, g.latitude_deg, g.longitude_deg, g.minimum_elevation_deg, g.source, count) for g in full.gateways
    )
    satellite, gateway = scheduler(Ground(PLACES, gateways, full.points_of_presence), limit_antennas=True).assignments(
        PLACES, range(FIRST, FIRST + 20)
    )
    for slot in range(20):
        pairs = {(g, c) for g, c in zip(gateway[:, slot].tolist(), satellite[:, slot].tolist(), strict=True) if g >= 0}
        assert max(Counter(g for g, _ in pairs).values(), default=0) <= count
        assert max(Counter(c for _, c in pairs).values(), default=0) <= 1
    assert bool(np.any(satellite >= 0)) == (count > 0)
