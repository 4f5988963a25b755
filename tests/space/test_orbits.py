"""Positions and directions against skyfield, an independent implementation with precession, nutation and UT1."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from skyfield.api import EarthSatellite, load, wgs84
from skyfield.framelib import itrs

from tramontana.space.elements import parse_elements
from tramontana.space.orbits import Propagator, gmst_rad, julian_date
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.visibility import great_circle_m, itrs_position_m, look_angles

# Two of the official verification satellites: a near-Earth one and a 12-hour Molniya orbit.
LINES = {
    "near": (
        "1 06251U 62025E   06176.82412014  .00008885  00000-0  12808-3 0  3985",
        "2 06251  58.0579  54.0425 0030035 139.1568 221.1854 15.56387291  6774",
    ),
    "deep": (
        "1 21897U 92011A   06176.02341244 -.00001273  00000-0 -13525-3 0  3044",
        "2 21897  62.1749 198.0096 7421690 253.0462  20.1561  2.01269994104880",
    ),
}
EPOCH_UNIX_S = datetime(2006, 6, 26, tzinfo=UTC).timestamp()
TIMES = EPOCH_UNIX_S + np.linspace(0, 86400, 97)
PLACES = [(41.90, 12.50, 20.0), (-33.9, 151.2, 0.0), (78.2, 15.6, 400.0), (0.0, 179.99, 0.0), (89.99, 0.0, 0.0)]


@pytest.mark.parametrize("kind", LINES)
def test_positions_and_elevations_agree_with_skyfield(kind: str) -> None:
    first, second = LINES[kind]
    propagator = Propagator(parse_elements(f"{first}\n{second}".encode(), name="skyfield").fleet)
    ours = propagator.positions_itrs_m(TIMES)[:, 0]
    timescale = load.timescale(builtin=True)
    instants = timescale.from_datetimes([datetime.fromtimestamp(t, UTC) for t in TIMES])
    satellite = EarthSatellite(first, second, ts=timescale)
    theirs = satellite.at(instants).frame_xyz(itrs).m.T
    # GMST with UTC for UT1 turns the Earth by at most 0.0004° here, which grows with distance.
    angle_deg = np.degrees(np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1))
    assert np.max(angle_deg) < 0.005
    seen = 0
    for latitude, longitude, height in PLACES:
        elevation, azimuth, slant_range = look_angles(latitude, longitude, height, ours)
        there = wgs84.latlon(latitude, longitude, elevation_m=height)
        alt, az, distance = (satellite - there).at(instants).altaz()
        assert np.max(np.abs(elevation - alt.degrees)) <= 0.01
        off_zenith = np.cos(np.radians(elevation))  # azimuth means nothing at the zenith
        turn = (azimuth - az.degrees + 180) % 360 - 180
        away_from_pole = 1.0 if abs(latitude) < 89 else 0.0  # skyfield's polar motion turns north itself there
        assert np.max(np.abs(turn * off_zenith)) * away_from_pole <= 0.01
        assert np.max(np.abs(slant_range - distance.m)) < 3000
        seen += int(np.count_nonzero(elevation > 0))
    assert seen > 5


def test_track_and_fleet_positions_are_the_same() -> None:
    fleet = starlink_gen1_as_filed().take(np.array([0, 2000, 4407]))
    propagator = Propagator(fleet)
    times = 1767225600.0 + np.arange(0, 5000, 500.0)
    everything = propagator.positions_itrs_m(times)
    assert everything.shape == (10, 3, 3)
    np.testing.assert_array_equal(propagator.positions_itrs_m(times, np.array([2, 0])), everything[:, [2, 0]])
    for index in range(3):
        np.testing.assert_allclose(propagator.track_itrs_m(index, times), everything[:, index], rtol=0, atol=1e-6)


def test_bounds_for_prefilters_hold() -> None:
    for first, second in LINES.values():
        fleet = parse_elements(f"{first}\n{second}".encode(), name="bounds").fleet
        propagator = Propagator(fleet)
        position = propagator.positions_itrs_m(EPOCH_UNIX_S + np.arange(0, 43200, 10.0))[:, 0]
        radius = np.linalg.norm(position, axis=1)
        assert np.max(radius) <= propagator.apogee_radius_m[0] * 1.005
        direction = position / radius[:, None]
        step_rad = np.linalg.norm(np.diff(direction, axis=0), axis=1)
        assert np.max(step_rad) / 10 <= (propagator.max_angular_rate_rad_per_s[0] + 7.3e-5) * 1.01


def test_a_decayed_satellite_has_no_position_and_the_others_keep_theirs() -> None:
    # Last stage of decay: lost within 420 minutes of its epoch (comment in SGP4-VER.TLE).
    doomed = (
        "1 29141U 85108AA  06170.26783845  .99999999  00000-0  13519-0 0   718",
        "2 29141  82.4288 273.4882 0015848 277.2124  83.9133 15.93343074  6828",
    )
    fleet = parse_elements("\n".join([*doomed, *LINES["near"]]).encode(), name="decay").fleet
    late = np.array([EPOCH_UNIX_S + 30 * 86400.0])
    position = Propagator(fleet).positions_itrs_m(late)
    assert np.all(np.isnan(position[0, 0]))
    assert np.all(np.isfinite(position[0, 1]))
    assert np.all(np.isnan(Propagator(fleet).track_itrs_m(0, late)))


def test_sidereal_time_of_the_standard_example() -> None:
    # Vallado, Fundamentals of Astrodynamics and Applications, example 3-5: 20 August 1992, 12:14 UT1, 152.578787810°.
    instant = np.array([datetime(1992, 8, 20, 12, 14, tzinfo=UTC).timestamp()])
    assert np.degrees(gmst_rad(instant))[0] == pytest.approx(152.578787810, abs=1e-6)


def test_julian_dates_keep_microseconds_and_negative_times() -> None:
    jd, fraction = julian_date(np.array([0.0, 86399.999999, -1.0]))
    assert jd.tolist() == [2440587.5, 2440587.5, 2440586.5]
    assert fraction[1] * 86400 == pytest.approx(86399.999999, abs=1e-9)
    assert fraction[2] * 86400 == pytest.approx(86399.0, abs=1e-9)


def test_places_on_the_ellipsoid() -> None:
    np.testing.assert_allclose(itrs_position_m(0, 0), [6378137.0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(itrs_position_m(90, 0), [0, 0, 6356752.314245], atol=1e-6)
    np.testing.assert_allclose(itrs_position_m(0, 180, 1000), [-6379137.0, 0, 0], atol=1e-6)
    for latitude, longitude, height in PLACES:
        theirs = wgs84.latlon(latitude, longitude, elevation_m=height).itrs_xyz.m
        np.testing.assert_allclose(itrs_position_m(latitude, longitude, height), theirs, atol=0.01)


def test_great_circle() -> None:
    quarter = np.pi / 2 * 6371008.8
    assert great_circle_m(0, 0, 0, 90) == pytest.approx(quarter)
    assert great_circle_m(90, 0, 0, 45) == pytest.approx(quarter)
    assert great_circle_m(10, 179, 10, -179) == pytest.approx(great_circle_m(10, -1, 10, 1))
    assert great_circle_m(0, 0, 0, 180) == pytest.approx(2 * quarter)
    assert great_circle_m(41.9, 12.5, 41.9, 12.5) == 0.0
