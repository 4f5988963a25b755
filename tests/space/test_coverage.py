"""Coverage counted instant by instant: equal to a plain count, joined without seam, the same on every kind of worker."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.space.coverage import Coverage, CoverageCounter, coverage_study
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet
from tramontana.space.in_view import in_view
from tramontana.space.observers import Places
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate

FIELDS = ("covered", "gaps", "longest_gap", "leading_gap", "trailing_gap", "in_view_sum", "fewest")


def counted(series: list[int], at_least: int) -> Coverage:
    counter = CoverageCounter(1, at_least=at_least, step_s=15.0)
    for number in series:
        counter.add(np.array([number]))
    return counter.coverage


def assert_equal(one: Coverage, other: Coverage) -> None:
    assert (one.step_s, one.instants) == (other.step_s, other.instants)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@given(series=st.lists(st.integers(0, 3), min_size=1, max_size=40), at_least=st.integers(1, 3))
def test_equal_to_a_plain_count(series: list[int], at_least: int) -> None:
    runs = [(covered, len(list(run))) for covered, run in groupby(number >= at_least for number in series)]
    gaps = [length for covered, length in runs if not covered]
    coverage = counted(series, at_least)
    assert coverage.fraction[0] == sum(number >= at_least for number in series) / len(series)
    assert coverage.gaps[0] == len(gaps)
    assert coverage.longest_gap_s[0] == 15.0 * max(gaps, default=0)
    if gaps:
        assert coverage.mean_gap_s[0] == pytest.approx(15.0 * sum(gaps) / len(gaps))
    else:
        assert np.isnan(coverage.mean_gap_s[0])
    assert coverage.mean_in_view[0] == pytest.approx(np.mean(series))
    assert coverage.fewest[0] == min(series)


@given(
    series=st.lists(st.integers(0, 2), min_size=2, max_size=40),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    at_least=st.integers(1, 2),
)
def test_pieces_join_without_seam(series: list[int], cuts: tuple[float, float], at_least: int) -> None:
    first, second = sorted(int(share * len(series)) for share in cuts)
    parts = [counted(part, at_least) for part in (series[:first], series[first:second], series[second:]) if part]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.then(part)
    assert_equal(joined, counted(series, at_least))
    if len(parts) == 3:
        assert_equal(parts[0].then(parts[1].then(parts[2])), joined)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return generate((Shell(550, 53, 6, 5, 1),), label="t", source="t", name_prefix="T")


@pytest.fixture(scope="module")
def places() -> Places:
    return Places([41.9, 0.0, 80.0, -30.0], [12.5, 180.0, 0.0, 20.0], minimum_elevation_deg=10.0)


START, DURATION_S = FILED_EPOCH_UNIX_S + 333.0, 4 * 3600.0


def test_a_study_equals_counting_what_is_in_view(fleet: Fleet, places: Places) -> None:
    study = coverage_study(fleet, places, START, DURATION_S, step_s=20.0, at_least=2)
    times = START + np.arange(0.0, DURATION_S, 20.0)
    count = in_view(Ephemeris(fleet), places, times).count
    assert study.instants == times.shape[0]
    np.testing.assert_array_equal(study.covered, np.count_nonzero(count >= 2, axis=0))
    np.testing.assert_array_equal(study.fewest, count.min(axis=0))
    np.testing.assert_array_equal(study.in_view_sum, count.sum(axis=0))
    assert 0 < study.fraction[0] < 1
    assert study.fraction[2] == 0  # from 80° N nothing of a 53° shell at 550 km stands 10° high
    assert study.longest_gap_s[2] == DURATION_S


def test_the_answer_does_not_depend_on_the_workers(fleet: Fleet, places: Places) -> None:
    told: list[tuple[int, int]] = []
    one = coverage_study(fleet, places, START, DURATION_S)
    two = coverage_study(fleet, places, START, DURATION_S, workers=2, progress=lambda done, of: told.append((done, of)))
    assert_equal(one, two)
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    assert len(told) >= 2


def test_what_cannot_be_asked(fleet: Fleet, places: Places) -> None:
    for start, duration, step in ((np.nan, 10.0, 1.0), (START, 0.0, 1.0), (START, np.inf, 1.0), (START, 10.0, 11.0)):
        with pytest.raises(LocalError, match="coverage study needs"):
            coverage_study(fleet, places, start, duration, step_s=step)
    with pytest.raises(LocalError, match="at least one satellite"):
        coverage_study(fleet, places, START, 100.0, at_least=0)
    other = coverage_study(fleet, Places([0.0], [0.0]), START, 100.0)
    with pytest.raises(LocalError, match="same places"):
        coverage_study(fleet, places, START, 100.0).then(other)
