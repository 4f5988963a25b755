"""The satellite broadcast plan: what it says is covered is in a beam of a satellite that stands high enough, in both kinds of pointing."""

from __future__ import annotations

import h3
import numpy as np
import pytest

from tramontana.cell import area as areas
from tramontana.cell.broadcast_plan import POINT_RESOLUTION, BroadcastPlan, PlanRules, Pointing, Points, plan
from tramontana.errors import LocalError
from tramontana.space.designs import design
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.visibility import look_angles

RINGS = areas.checked([[(42.2, 12.8), (42.2, 13.9), (43.3, 13.9), (43.3, 12.8)]])
START = 1_790_000_000.0


@pytest.fixture(scope="module")
def ephemeris() -> Ephemeris:
    return Ephemeris(design("starlink-direct-to-cell").fleet())


@pytest.fixture(scope="module", params=list(Pointing))
def made(request: pytest.FixtureRequest, ephemeris: Ephemeris) -> BroadcastPlan:
    points = Points.of(RINGS, np.array([42.63, 43.0, 50.0]), np.array([13.29, 13.0, 13.0]), np.array([2000.0, 500.0, 9999.0]))
    return plan(ephemeris, RINGS, points, START, PlanRules(pointing=request.param, horizon_s=1800.0))


def test_people_outside_the_area_do_not_count(made: BroadcastPlan) -> None:
    assert float(np.sum(made.points.phones)) == 2500.0


def test_many_phones_are_counted_where_they_are() -> None:
    random = np.random.default_rng(7)
    latitude, longitude = random.uniform(42.0, 43.5, 2000), random.uniform(12.6, 14.0, 2000)
    points = Points.of(RINGS, latitude, longitude)
    inside = areas.contains(RINGS, latitude, longitude)
    assert float(np.sum(points.phones)) == pytest.approx(float(np.sum(inside)), rel=0.01)
    middle = float(np.average(points.latitude_deg, weights=points.phones))
    assert middle == pytest.approx(float(np.mean(latitude[inside])), abs=0.02)


def test_every_beam_belongs_to_a_satellite_that_stands_high_enough(made: BroadcastPlan, ephemeris: Ephemeris) -> None:
    assert made.dwell.size
    reach = made.rules.minimum_elevation_deg - np.degrees(made.rules.beam_radius_m / 300_000.0)
    for dwell, satellite, latitude, longitude in zip(made.dwell, made.satellite, made.latitude_deg, made.longitude_deg, strict=True):
        position = ephemeris.positions_itrs_m(np.array([made.unix_s[dwell] + made.rules.dwell_s / 2]))[0, satellite]
        elevation, _, _ = look_angles(float(latitude), float(longitude), 0.0, position[None])
        assert elevation[0] >= reach


def test_coverage_is_what_the_beams_light(made: BroadcastPlan) -> None:
    """Counted again, dwell by dwell, from the circles alone: at least as much as the plan claims, and no more beams than there are."""
    points = made.points
    lit = np.zeros(points.phones.shape[0], dtype=np.int64)
    for dwell in range(made.unix_s.shape[0]):
        beams = np.flatnonzero(made.dwell == dwell)
        inside = np.zeros(lit.shape, dtype=np.bool_)
        for beam in beams:
            north = np.radians(points.latitude_deg - made.latitude_deg[beam])
            east = np.radians(points.longitude_deg - made.longitude_deg[beam]) * np.cos(np.radians(points.latitude_deg))
            inside |= np.hypot(north, east) * areas.EARTH_RADIUS_M <= made.rules.beam_radius_m * 1.01
        lit += inside
        counts = np.bincount(made.satellite[beams]) if beams.size else np.zeros(1, dtype=np.int64)
        assert counts.max() <= made.rules.beams_at_once
    assert bool(np.all(lit >= made.covered))
    assert made.reached_share[-1, 0] == pytest.approx(np.sum(points.phones[made.covered >= 1]) / np.sum(points.phones))


def test_the_area_is_served_several_times_and_shares_only_grow(made: BroadcastPlan) -> None:
    assert made.is_complete
    assert bool(np.all(np.diff(made.reached_share, axis=0) >= 0))
    assert bool(np.all(np.diff(made.reached_share, axis=1) <= 0))
    first, third = made.reached_after_s(0.99), made.reached_after_s(0.99, 3)
    assert first is not None
    assert third is not None
    assert 10.0 <= first < third <= 1800.0


def test_overspill_lies_outside_and_within_the_beams(made: BroadcastPlan) -> None:
    assert made.overspill_km2 > 5_000
    assert not areas.contains(RINGS, made.overspill[:, 0], made.overspill[:, 1]).any()


def test_nothing_is_reached_where_no_satellite_passes(ephemeris: Ephemeris) -> None:
    rings = areas.checked([[(84.0, 0.0), (84.0, 10.0), (84.5, 5.0)]])
    none = plan(ephemeris, rings, Points.of(rings), START, PlanRules(horizon_s=60.0))
    assert (none.dwell.size, none.reached_after_s(0.01), none.is_complete) == (0, None, False)
    with pytest.raises(LocalError):
        PlanRules(repetitions=0)


def test_an_area_of_half_the_earth_is_refused_before_it_is_cut_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cut, made = h3.h3shape_to_cells_experimental, []

    def counted(shape: h3.LatLngPoly, resolution: int, contain: str) -> list[str]:
        made.append(resolution)
        assert resolution < POINT_RESOLUTION, "small cells of an area that is too large"
        return list(cut(shape, resolution, contain=contain))

    monkeypatch.setattr(h3, "h3shape_to_cells_experimental", counted)
    with pytest.raises(LocalError, match="plan it in parts"):
        Points.of(areas.checked([[(-80.0, -170.0), (-80.0, 5.0), (80.0, 5.0), (80.0, -170.0)]]))
    assert made
