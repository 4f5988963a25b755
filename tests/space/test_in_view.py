"""Who is in view, against trying every pair with plain numpy; obstructions, the geostationary arc, tracks, odd places."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.space._kernels import GEOSTATIONARY_RADIUS_M
from tramontana.space.elements import parse_elements
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.in_view import InViewLists, in_view, in_view_lists, in_view_of_track
from tramontana.space.observers import Obstruction, Places, Track
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate
from tramontana.space.visibility import great_circle_m, itrs_position_m, look_angles

T0 = FILED_EPOCH_UNIX_S + 777.0
TIMES = T0 + np.arange(0.0, 1200.0, 97.0)


@pytest.fixture(scope="module")
def ephemeris() -> Ephemeris:
    shells = (Shell(550, 53, 18, 12, 5), Shell(560, 97.6, 6, 20, 1), Shell(1200, 87.9, 8, 9, 4), Shell(8062, 0.5, 2, 6, 1))
    return Ephemeris(generate(shells, label="test", source="test", name_prefix="TEST"))


def brute(ephemeris: Ephemeris, lat: Floats, lon: Floats, height: Floats, mask: Floats, times: Floats) -> list[list[list[int]]]:
    """Every pair, by `look_angles`: satellites in view by instant and place."""
    position = ephemeris.positions_itrs_m(times)
    answer = []
    for at in position:
        elevation = [look_angles(a, o, h, at)[0] for a, o, h in zip(lat, lon, height, strict=True)]
        answer.append([np.flatnonzero(e >= m).tolist() for e, m in zip(elevation, mask, strict=True)])
    return answer


def as_sets(lists: InViewLists) -> list[list[list[int]]]:
    return [[lists.at(t, p).tolist() for p in range(lists.places)] for t in range(lists.unix_s.shape[0])]


PLACES = {
    "Italy": (np.array([45.5, 41.9, 38.1, 35.5]), np.array([9.2, 12.5, 13.4, 12.6])),
    "poles and date line": (
        np.array([90.0, -90.0, 89.9, -89.99, 0.0, 0.0, 65.0, 65.0, -17.0]),
        np.array([0.0, 123.0, 180.0, -180.0, 180.0, -180.0, 179.99, -179.99, 180.0]),
    ),
    "one place": (np.array([41.9]), np.array([12.5])),
    "the world": (np.degrees(np.arcsin(np.linspace(-1, 1, 60))), np.mod(np.arange(60) * 137.5, 360) - 180),
}


@pytest.mark.parametrize("mask_deg", [-5.0, 0.0, 10.0, 25.0, 60.0])
@pytest.mark.parametrize("name", PLACES)
def test_equal_to_brute_force(ephemeris: Ephemeris, name: str, mask_deg: float) -> None:
    latitude, longitude = PLACES[name]
    height = np.linspace(0, 12_000, latitude.shape[0])
    mask = np.full(latitude.shape[0], mask_deg)
    expected = brute(ephemeris, latitude, longitude, height, mask, TIMES)
    places = Places(latitude, longitude, height, minimum_elevation_deg=mask_deg)
    lists = in_view_lists(ephemeris, places, TIMES)
    assert as_sets(lists) == expected
    assert lists.satellite.shape[0] > 0
    counted = in_view(ephemeris, places, TIMES)
    np.testing.assert_array_equal(counted.count, [[len(one) for one in row] for row in expected])
    position = ephemeris.positions_itrs_m(TIMES)
    for t, row in enumerate(expected):
        for p, seen in enumerate(row):
            highest = counted.highest_elevation_deg[t, p]
            if seen:
                exact = np.max(look_angles(latitude[p], longitude[p], height[p], position[t, seen])[0])
                assert highest == pytest.approx(exact, abs=1e-4)
            else:
                assert np.isnan(highest)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_equal_to_brute_force_anywhere(ephemeris: Ephemeris, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))

    def numbers(low: float, high: float) -> Floats:
        return np.array(data.draw(st.lists(st.floats(low, high), min_size=count, max_size=count)))

    latitude, longitude, height, mask = numbers(-90, 90), numbers(-180, 180), numbers(-400, 15_000), numbers(-6, 80)
    times = T0 + np.array([data.draw(st.floats(0, 86_400))])
    lists = in_view_lists(ephemeris, Places(latitude, longitude, height, minimum_elevation_deg=mask), times)
    assert as_sets(lists) == brute(ephemeris, latitude, longitude, height, mask, times)


def test_equal_to_brute_force_with_the_real_fleet(shared_data: Path) -> None:
    name = "starlink_2026-05-21.tle.gz"
    ephemeris = Ephemeris(parse_elements((shared_data / name).read_bytes(), name=name).fleet)
    rng = np.random.default_rng(3)
    latitude, longitude = np.degrees(np.arcsin(rng.uniform(-1, 1, 80))), rng.uniform(-180, 180, 80)
    mask = np.full(80, 25.0)
    times = ephemeris.fleet.epochs.median_unix_s + np.array([0.0, 1234.5])
    lists = in_view_lists(ephemeris, Places(latitude, longitude), times)
    assert as_sets(lists) == brute(ephemeris, latitude, longitude, np.zeros(80), mask, times)


def test_a_higher_mask_never_shows_more(ephemeris: Ephemeris) -> None:
    latitude, longitude = PLACES["the world"]
    counts = [in_view(ephemeris, Places(latitude, longitude, minimum_elevation_deg=m), TIMES).count for m in (5, 15, 25, 40, 70)]
    for lower, higher in pairwise(counts):
        assert np.all(lower >= higher)
    assert counts[0].sum() > counts[-1].sum()


def test_obstructions_hide_what_stands_behind_them(ephemeris: Ephemeris) -> None:
    latitude, longitude = PLACES["Italy"]
    wall = np.full(36, 10.0)
    wall[5:14] = 55.0  # from 50° to 140°
    lists = in_view_lists(ephemeris, Places(latitude, longitude, minimum_elevation_deg=10.0, obstructions={2: Obstruction(wall)}), TIMES)
    free = in_view_lists(ephemeris, Places(latitude, longitude, minimum_elevation_deg=10.0), TIMES)
    position = ephemeris.positions_itrs_m(TIMES)
    hidden = 0
    for t in range(TIMES.shape[0]):
        for p in (0, 1, 3):
            np.testing.assert_array_equal(lists.at(t, p), free.at(t, p))
        elevation, azimuth, _ = look_angles(latitude[2], longitude[2], 0.0, position[t])
        clear = elevation >= np.maximum(10.0, wall[np.minimum(35, (azimuth / 10).astype(int))])
        np.testing.assert_array_equal(lists.at(t, 2), np.flatnonzero(clear))
        hidden += free.at(t, 2).shape[0] - lists.at(t, 2).shape[0]
    assert hidden > 0


@pytest.mark.parametrize("latitude", [0.0, 1.0, 41.9, -33.0, 65.0, 80.0, 85.0, 90.0])
@pytest.mark.parametrize("avoidance", [2.0, 18.0, 22.0])
def test_satellites_near_the_geostationary_arc_are_left_out(ephemeris: Ephemeris, latitude: float, avoidance: float) -> None:
    longitude, mask = 12.5, 5.0
    places = Places(latitude, longitude, minimum_elevation_deg=mask, arc_avoidance_deg=avoidance)
    lists = in_view_lists(ephemeris, places, TIMES)
    site = itrs_position_m(latitude, longitude)
    turn = np.radians(np.arange(-180, 180, 0.01))
    arc = GEOSTATIONARY_RADIUS_M * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=-1) - site
    arc = arc[arc @ site > 0]  # above the horizon
    arc /= np.linalg.norm(arc, axis=1)[:, None]
    position = ephemeris.positions_itrs_m(TIMES)
    left_out = 0
    for t in range(TIMES.shape[0]):
        elevation = look_angles(latitude, longitude, 0.0, position[t])[0]
        high = np.flatnonzero(elevation >= mask)
        direction = position[t, high] - site
        direction /= np.linalg.norm(direction, axis=1)[:, None]
        apart = np.degrees(np.arccos(np.clip(np.max(direction @ arc.T, axis=1), -1, 1))) if arc.shape[0] else np.full(high.shape[0], 180.0)
        far = high[apart >= avoidance]
        border = set(high[np.abs(apart - avoidance) < 0.005].tolist())  # the samples of this check stand 0.01° apart
        assert set(lists.at(t, 0).tolist()) - border == set(far.tolist()) - border
        left_out += high.shape[0] - far.shape[0]
    if abs(latitude) < 81 and avoidance > 10:
        assert left_out > 0
    if latitude > 82:
        assert left_out == 0  # no arc above the horizon


def test_tracks_of_ships_and_aircraft(ephemeris: Ephemeris) -> None:
    track = Track([T0, T0 + 600, T0 + 1300], [60.0, 64.0, 61.0], [175.0, -178.0, -170.0], [0.0, 11_000.0, 11_000.0])
    lists = in_view_of_track(ephemeris, track, TIMES, minimum_elevation_deg=10.0)
    latitude, longitude, height = track.at(TIMES)
    for t, at in enumerate(TIMES):
        expected = brute(ephemeris, latitude[t : t + 1], longitude[t : t + 1], height[t : t + 1], np.array([10.0]), np.array([at]))
        assert lists.at(t, 0).tolist() == expected[0][0]
    assert lists.satellite.shape[0] > 0


def test_tracks_keep_away_from_the_arc_like_places(ephemeris: Ephemeris) -> None:
    track = Track([T0, T0 + 1300], [40.0, 30.0], [5.0, 20.0])
    lists = in_view_of_track(ephemeris, track, TIMES, minimum_elevation_deg=10.0, arc_avoidance_deg=18.0)
    latitude, longitude, _ = track.at(TIMES)
    for t, at in enumerate(TIMES):
        place = Places(latitude[t], longitude[t], minimum_elevation_deg=10.0, arc_avoidance_deg=18.0)
        np.testing.assert_array_equal(lists.at(t, 0), in_view_lists(ephemeris, place, [at]).at(0, 0))
    free = in_view_of_track(ephemeris, track, TIMES, minimum_elevation_deg=10.0)
    assert 0 < lists.satellite.shape[0] < free.satellite.shape[0]
    with pytest.raises(LocalError, match="geostationary arc"):
        in_view_of_track(ephemeris, track, TIMES, arc_avoidance_deg=90.0)


@settings(max_examples=60, deadline=None)
@given(
    ends=st.tuples(st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180)),
    share=st.floats(0, 1),
)
def test_a_track_follows_the_great_circle_at_even_speed(ends: tuple[float, float, float, float], share: float) -> None:
    lat_a, lon_a, lat_b, lon_b = ends
    whole = great_circle_m(lat_a, lon_a, lat_b, lon_b)
    if whole > 19_900_000:
        return
    track = Track([0.0, 100.0], [lat_a, lat_b], [lon_a, lon_b])
    latitude, longitude, _ = track.at(100.0 * share)
    assert great_circle_m(lat_a, lon_a, latitude[0], longitude[0]) == pytest.approx(share * whole, rel=1e-6, abs=5.0)
    assert great_circle_m(latitude[0], longitude[0], lat_b, lon_b) == pytest.approx((1 - share) * whole, rel=1e-6, abs=5.0)


def test_decayed_satellites_are_in_nobodys_view() -> None:
    shell = generate((Shell(550, 53, 6, 6, 1),), label="test", source="test", name_prefix="TEST")
    alive = Ephemeris(shell)
    gone = Ephemeris(replace(shell, bstar_per_earth_radius=np.where(np.arange(36) == 7, 9.0, 0.0)))
    latitude, longitude = PLACES["the world"]
    places = Places(latitude, longitude, minimum_elevation_deg=5.0)
    times = FILED_EPOCH_UNIX_S + 200 * 86_400 + np.arange(0.0, 3000.0, 300.0)
    assert np.all(np.isnan(gone.positions_itrs_m(times)[:, 7]))
    with_all, without = in_view_lists(alive, places, times), in_view_lists(gone, places, times)
    assert 7 in with_all.satellite
    assert as_sets(without) == [[[n for n in one if n != 7] for one in row] for row in as_sets(with_all)]


def test_answers_come_in_the_order_of_the_places(ephemeris: Ephemeris) -> None:
    latitude, longitude = PLACES["the world"]
    shuffled = np.random.default_rng(5).permutation(latitude.shape[0])
    one, other = Places(latitude, longitude), Places(latitude[shuffled], longitude[shuffled])
    np.testing.assert_array_equal(in_view(ephemeris, one, TIMES).count[:, shuffled], in_view(ephemeris, other, TIMES).count)
    np.testing.assert_array_equal(other.order[other.rank], np.arange(latitude.shape[0]))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([], []), "at least one place"),
        (([91.0], [0.0]), "latitude must be finite"),
        (([np.nan], [0.0]), "latitude must be finite"),
        (([0.0], [np.inf]), "longitude must be finite"),
        (([0.0, 1.0], [0.0, 1.0, 2.0]), "one for each of the 2 places"),
        (([0.0], [0.0], 30_000.0), "height in metres"),
    ],
)
def test_places_that_are_none(arguments: tuple[object, ...], says: str) -> None:
    with pytest.raises(LocalError, match=says):
        Places(*arguments)  # type: ignore[arg-type]


def test_more_that_cannot_be_asked(ephemeris: Ephemeris) -> None:
    with pytest.raises(LocalError, match="minimum elevation"):
        Places([0.0], [0.0], minimum_elevation_deg=95.0)
    with pytest.raises(LocalError, match="obstruction is given for place 3"):
        Places([0.0], [0.0], obstructions={3: Obstruction(np.zeros(4))})
    with pytest.raises(LocalError, match="finite elevations"):
        Obstruction(np.array([np.nan]))
    places = Places([0.0], [0.0])
    for bad in ([], [np.nan], [5.0, 4.0]):
        with pytest.raises(LocalError, match="instant"):
            in_view(ephemeris, places, bad)
    with pytest.raises(LocalError, match="antipodes"):
        Track([0.0, 1.0], [0.0, 0.0], [0.0, 180.0])
    with pytest.raises(LocalError, match="ascending"):
        Track([0.0, 0.0], [0.0, 0.0], [0.0, 1.0])
    with pytest.raises(LocalError, match="no position at some"):
        Track([0.0, 1.0], [0.0, 0.0], [0.0, 1.0]).at(2.0)


WITHOUT_COMPILER = """
import numpy as np
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.in_view import in_view, in_view_lists, in_view_of_track
from tramontana.space.observers import Obstruction, Places, Track
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate
fleet = generate((Shell(550, 53, 8, 6, 1), Shell(1200, 87.9, 4, 5, 1)), label="t", source="t", name_prefix="T")
ephemeris = Ephemeris(fleet)
times = FILED_EPOCH_UNIX_S + np.arange(0.0, 400.0, 90.0)
latitude, longitude = [41.9, 90.0, -60.0, 0.0], [12.5, 0.0, 180.0, -180.0]
plain = in_view(ephemeris, Places(latitude, longitude, minimum_elevation_deg=5.0), times)
fussy = Places(latitude, longitude, minimum_elevation_deg=5.0, obstructions={0: Obstruction(np.array([5.0, 40.0]))}, arc_avoidance_deg=18.0)
lists = in_view_lists(ephemeris, fussy, times)
moving = Track([times[0], times[-1]], [10.0, 20.0], [0.0, 5.0])
track = in_view_of_track(ephemeris, moving, times, minimum_elevation_deg=0.0, arc_avoidance_deg=10.0)
print(plain.count.tolist(), np.nan_to_num(plain.highest_elevation_deg).round(3).tolist())
print(lists.first.tolist(), lists.satellite.tolist(), track.first.tolist(), track.satellite.tolist())
"""


def test_kernels_are_the_same_without_the_compiler() -> None:
    answers = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", WITHOUT_COMPILER], env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        answers.append(run.stdout)
    assert answers[0] == answers[1]
    assert len(answers[0]) > 200


def test_a_fleet_without_satellites_cannot_be_made(ephemeris: Ephemeris) -> None:
    with pytest.raises(LocalError, match="holds no satellite"):
        ephemeris.fleet.take(np.empty(0, dtype=np.intp))


def test_fleets_are_seen_whole_and_in_part_alike(ephemeris: Ephemeris) -> None:
    """Removing satellites removes them from the lists and changes nothing else."""
    keep = np.arange(0, len(ephemeris.fleet), 3)
    part: Fleet = ephemeris.fleet.take(keep)
    latitude, longitude = PLACES["Italy"]
    places = Places(latitude, longitude, minimum_elevation_deg=10.0)
    whole, some = as_sets(in_view_lists(ephemeris, places, TIMES)), as_sets(in_view_lists(Ephemeris(part), places, TIMES))
    kept = set(keep.tolist())
    assert [[[n for n in one if n in kept] for one in row] for row in whole] == [[keep[one].tolist() for one in row] for row in some]
