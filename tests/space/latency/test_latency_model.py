"""The latency model on geometry that can be checked by hand, and a fit that finds what was put in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.space.ground import Gateway, Place, PointOfPresence
from tramontana.space.latency.countries import COUNTRIES, country_points
from tramontana.space.latency.fit import fit, halves
from tramontana.space.latency.model import LASER_DETOUR, LatencyParameters, Sample, medians_s, round_trips_s, sample_geometry
from tramontana.space.orbits import Propagator
from tramontana.space.serving import slot_of, slot_start_unix_s
from tramontana.space.shells import FILED_EPOCH_UNIX_S, starlink_gen1_as_filed
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, itrs_position_m, look_angles

FLEET = starlink_gen1_as_filed()
FIRST = slot_of(FILED_EPOCH_UNIX_S + 9000.0)
ROME = Place("rome", "Rome", "ITA", "city", 41.9, 12.5)
AZORES = Place("azores", "Azores", "PRT", "city", 38.5, -28.5)
FUCINO = Gateway("fucino", "Fucino", "IT", 41.98, 13.60, 25.0, "test")
MILAN = PointOfPresence("milan", "Milan", "IT", 45.48, 9.10, "test")
FIBRE_M_PER_S = SPEED_OF_LIGHT_M_PER_S * 2 / 3


@pytest.fixture(scope="module")
def geometry() -> Sample:
    return sample_geometry(FLEET, [ROME, AZORES], [FUCINO], [MILAN], [range(FIRST, FIRST + 6)], gateway_at_every_exit=False, seed=3)


def by_hand(random: np.random.Generator, places: int) -> Sample:
    """Two listed gateways and two assumed ones, which the listed fleet of satellites reaches half of the time."""
    shape = (places, 20, 4)
    down = np.where(random.random(shape) < 0.5, random.uniform(0.002, 0.004, shape), np.inf)
    return Sample(random.uniform(0.002, 0.004, shape[:2]), down, random.uniform(0.005, 0.02, shape), np.array([3e5, 9e5, 0.0, 0.0]), 2)


def test_a_bent_pipe_by_hand(geometry: Sample) -> None:
    assert geometry.up_s.shape == (2, 6)
    assert geometry.down_s.shape == (2, 6, 2)  # Fucino, and the assumed gateway beside Milan
    assert np.all(np.isfinite(geometry.down_s[0, :, 0])), "Rome is served over Fucino"
    got = round_trips_s(geometry, LatencyParameters(0.02, False, 1.5))
    expected = 2 * (geometry.up_s[0] + geometry.down_s[0, :, 0] + geometry.to_exit_m[0] * 1.5 / FIBRE_M_PER_S) + 0.02
    np.testing.assert_allclose(got[0], expected, rtol=1e-12)
    assert geometry.to_exit_m[1] == pytest.approx(0.0, abs=1e-6)


def test_distances_are_those_of_a_satellite_in_view(geometry: Sample) -> None:
    propagator = Propagator(FLEET)
    for column in range(6):
        position = propagator.positions_itrs_m(np.array([slot_start_unix_s(FIRST + column) + 7.5]))[0]
        for row, place in enumerate((ROME, AZORES)):
            elevation, _, distance = look_angles(place.latitude_deg, place.longitude_deg, 0.0, position)
            seen = np.flatnonzero(elevation >= 25)
            match = seen[np.isclose(distance[seen] / SPEED_OF_LIGHT_M_PER_S, geometry.up_s[row, column], rtol=1e-9)]
            assert match.shape == (1,)
            to_gateway = np.linalg.norm(position[match[0]] - itrs_position_m(FUCINO.latitude_deg, FUCINO.longitude_deg))
            if row == 0:
                assert geometry.down_s[row, column, 0] == pytest.approx(to_gateway / SPEED_OF_LIGHT_M_PER_S, rel=1e-9)
            else:
                assert np.isinf(geometry.down_s[row, column, 0]), "no satellite stands 25° over the Azores and over Fucino"
                straight = to_gateway / SPEED_OF_LIGHT_M_PER_S
                assert straight < geometry.laser_s[row, column, 0] < 1.2 * LASER_DETOUR.value * straight


@given(seed=st.integers(0, 2**32 - 1), detour=st.floats(1.0, 2.0), more=st.floats(0.0, 1.0), access=st.floats(0.0, 0.05))
@settings(max_examples=50, deadline=None)
def test_more_fibre_is_never_quicker_and_access_adds(seed: int, detour: float, more: float, access: float) -> None:
    sample = by_hand(np.random.default_rng(seed), 3)
    short, long = (round_trips_s(sample, LatencyParameters(0.0, True, value)) for value in (detour, detour + more))
    assert np.all(long >= short)
    np.testing.assert_allclose(round_trips_s(sample, LatencyParameters(access, True, detour)), short + access)


def test_assumed_gateways_are_used_only_where_the_rule_says_so() -> None:
    sample = by_hand(np.random.default_rng(1), 3)
    listed = replace(
        sample, down_s=sample.down_s[..., :2], laser_s=sample.laser_s[..., :2], to_exit_m=sample.to_exit_m[:2], assumed_gateways=0
    )
    np.testing.assert_array_equal(
        round_trips_s(sample, LatencyParameters(0.0, False, 1.6)), round_trips_s(listed, LatencyParameters(0.0, True, 1.6))
    )


def test_places_out_of_everything_have_no_delay() -> None:
    empty = sample_geometry(
        FLEET.take(np.array([0])), [ROME], [FUCINO], [MILAN], [range(FIRST, FIRST + 2)], gateway_at_every_exit=True, seed=3
    )
    round_trip = round_trips_s(empty, LatencyParameters(0.02, True, 1.6))
    assert np.all(np.isnan(round_trip))
    assert np.isnan(medians_s(round_trip, ["ITA"])["ITA"])


@given(seed=st.integers(0, 2**32 - 1), access=st.floats(0.001, 0.05), dense=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_fit_finds_what_was_put_in(seed: int, access: float, dense: bool) -> None:
    random = np.random.default_rng(seed)
    names = ["AAA", "BBB", "CCC", "DDD", "EEE"]
    countries = [name for name in names for _ in range(3)]
    samples = {rule: by_hand(random, len(countries)) for rule in (False, True)}
    truth = medians_s(round_trips_s(samples[dense], LatencyParameters(access, dense, 1.6)), countries)
    found = fit(samples, countries, truth)
    assert found.fitted == ("AAA", "CCC", "EEE")
    assert found.predicted == ("BBB", "DDD")
    assert found.parameters.gateway_at_every_exit == dense
    assert found.parameters.access_round_trip_s == pytest.approx(access, abs=1e-9)
    assert found.mean_absolute_error_s(found.predicted) < 1e-9


def test_the_predicted_half_plays_no_part_in_the_fit() -> None:
    names = ["AAA", "BBB", "CCC", "DDD"]
    sample = by_hand(np.random.default_rng(2), 4)
    published = dict.fromkeys(names, 0.03)
    one = fit({True: sample}, names, published)
    other = fit({True: sample}, names, published | dict.fromkeys(halves(names)[1], 0.5))
    assert one.parameters == other.parameters
    assert one.medians_s == other.medians_s
    assert one.error_s != other.error_s


def test_what_cannot_be_fitted_is_refused() -> None:
    sample = by_hand(np.random.default_rng(2), 2)
    with pytest.raises(LocalError, match="without one: BBB"):
        fit({True: sample}, ["AAA", "BBB"], {"AAA": 0.03})
    with pytest.raises(LocalError, match="without one: all"):
        fit({True: sample}, [], {})
    nowhere = replace(sample, up_s=np.full_like(sample.up_s, np.nan))
    with pytest.raises(LocalError, match="no coverage at all"):
        fit({True: nowhere}, ["AAA", "BBB"], {"AAA": 0.03, "BBB": 0.03})
    with pytest.raises(LocalError, match="at least one place"):
        sample_geometry(FLEET, [], [FUCINO], [MILAN], [range(FIRST, FIRST + 1)], gateway_at_every_exit=True)


def test_points_of_countries() -> None:
    assert len(COUNTRIES) == 18
    ids = [place.id for country in COUNTRIES for place in country_points(country)]
    assert len(set(ids)) == len(ids) == 90
    for country in COUNTRIES:
        capital, north, south, east, west = country_points(country)
        assert capital.country == country
        assert south.latitude_deg - 0.5 <= capital.latitude_deg <= north.latitude_deg + 0.5
        assert west.longitude_deg - 0.5 <= capital.longitude_deg <= east.longitude_deg + 0.5
    with pytest.raises(LocalError, match="no points are known"):
        country_points("ITA")
