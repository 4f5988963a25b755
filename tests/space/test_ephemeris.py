"""Interpolated positions against SGP4 itself, seams between chunks, what happens at decay."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.space.elements import parse_elements
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet
from tramontana.space.orbits import Propagator
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate

T0 = FILED_EPOCH_UNIX_S + 12_345.6


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    shells = (Shell(550, 53, 6, 5, 1), Shell(340, 97.6, 3, 4, 1), Shell(1200, 87.9, 4, 3, 1), Shell(8000, 10, 2, 3, 1))
    return generate(shells, label="test", source="test", name_prefix="TEST")


@pytest.fixture(scope="module")
def decaying() -> Fleet:
    """Two low satellites, of which the second falls within hours."""
    fleet = generate((Shell(250, 53, 1, 2, 0),), label="test", source="test", name_prefix="LOW")
    return replace(fleet, bstar_per_earth_radius=np.array([0.0, 0.5]))


@pytest.mark.parametrize("step_s", [60.0, 120.0])
def test_interpolation_stays_within_its_stated_error(fleet: Fleet, step_s: float) -> None:
    propagator = Propagator(fleet)
    ephemeris = Ephemeris(fleet, step_s=step_s, propagator=propagator)
    times = T0 + np.arange(0.0, 12_000.0, 7.0)
    apart = np.linalg.norm(ephemeris.positions_itrs_m(times) - propagator.positions_itrs_m(times), axis=-1)
    assert np.all(np.max(apart, axis=0) < 1.1 * ephemeris.interpolation_error_m + 0.3)  # 0.3 m: short-period terms of SGP4's velocity
    assert np.max(apart) > 0.3 * float(np.max(ephemeris.interpolation_error_m))  # the stated error is no empty promise
    assert np.max(apart) < {60.0: 1.0, 120.0: 9.5}[step_s]


@pytest.mark.parametrize(("step_s", "usual_m", "worst_m"), [(60.0, 1.0, 6.0), (120.0, 7.0, 25.0)])
def test_interpolation_of_the_real_fleet(shared_data: Path, step_s: float, usual_m: float, worst_m: float) -> None:
    name = "starlink_2026-05-21.tle.gz"
    fleet = parse_elements((shared_data / name).read_bytes(), name=name).fleet
    ephemeris = Ephemeris(fleet, step_s=step_s)
    times = fleet.epochs.median_unix_s + 40_000 + np.arange(0.0, 1800.0, step_s / 4)
    apart = np.linalg.norm(ephemeris.positions_itrs_m(times) - ephemeris.propagator.positions_itrs_m(times), axis=-1)
    worst = np.nanmax(apart, axis=0)
    assert np.nanpercentile(worst, 99.5) < usual_m
    assert np.nanmax(worst) < worst_m


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.floats(0, 4000), min_size=1, max_size=4), step_s=st.sampled_from([60.0, 90.0, 120.0]))
def test_chunks_join_without_seam(cuts: list[float], step_s: float) -> None:
    fleet = generate((Shell(550, 53, 2, 2, 1),), label="test", source="test", name_prefix="TEST")
    ephemeris = Ephemeris(fleet, step_s=step_s)
    times = np.unique(np.concatenate([T0 + np.arange(0.0, 4000.0, 37.0), T0 + np.array(cuts)]))
    whole = ephemeris.positions_itrs_m(times)
    edges = [0, *sorted(np.searchsorted(times, T0 + np.array(cuts)).tolist()), times.shape[0]]
    parts = [ephemeris.positions_itrs_m(times[a:b]) for a, b in pairwise(edges) if b > a]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_one_satellite_at_its_own_instant_is_the_same(fleet: Fleet) -> None:
    ephemeris = Ephemeris(fleet)
    nodes = ephemeris.nodes(T0, T0 + 900)
    which, times = np.array([3, 17, 3]), np.array([T0 + 1.5, T0 + 400.0, T0 + 899.9])
    expected = nodes.positions_itrs_m(times)[np.arange(3), which]
    np.testing.assert_allclose(nodes.position_of(which, times), expected, rtol=0, atol=1e-6)
    some = ephemeris.nodes(T0, T0 + 900, np.array([3, 17]))
    np.testing.assert_array_equal(some.position_itrs_m, nodes.position_itrs_m[:, [3, 17]])


def test_memory_is_that_of_the_chunk(fleet: Fleet) -> None:
    ephemeris = Ephemeris(fleet)
    times = T0 + np.arange(0.0, 86_400.0, 600.0)
    sizes = [nodes.position_itrs_m.shape[0] for _, nodes in ephemeris.chunks(times, 6)]
    assert len(sizes) == 24
    assert max(sizes) <= 3000 / 120 + 2


def test_a_decayed_satellite_is_nan_and_the_others_are_not(decaying: Fleet) -> None:
    """SGP4 itself takes a falling satellite back and forth: it is gone wherever one of the two nodes around the instant has none."""
    first = np.floor(FILED_EPOCH_UNIX_S / 120.0) * 120.0
    nodes = first + np.arange(0.0, 86_400.0, 120.0)
    exact = Propagator(decaying).positions_itrs_m(nodes)
    position = Ephemeris(decaying).positions_itrs_m(nodes[:-1] + 60.0)
    assert np.all(np.isfinite(position[:, 0]))
    gone = np.isnan(exact[:, 1, 0])
    assert gone.any()
    assert not gone[0]
    np.testing.assert_array_equal(np.isnan(position[:, 1, 0]), gone[:-1] | gone[1:])


def test_what_cannot_be_asked(fleet: Fleet) -> None:
    ephemeris = Ephemeris(fleet)
    nodes = ephemeris.nodes(T0, T0 + 60)
    for bad in (np.array([T0 - 3600]), np.array([np.nan]), np.array([T0 + 3600])):
        with pytest.raises(LocalError, match="within the nodes"):
            nodes.positions_itrs_m(bad)
    with pytest.raises(LocalError, match="span of time"):
        ephemeris.nodes(np.nan, T0)
    with pytest.raises(LocalError, match="span of time"):
        ephemeris.nodes(T0, T0 - 1)
    with pytest.raises(LocalError, match="step between nodes"):
        Ephemeris(fleet, step_s=0.0)
    assert ephemeris.positions_itrs_m(np.empty(0)).shape == (0, len(fleet), 3)
