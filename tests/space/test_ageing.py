"""What is said of old elements, and that the stated error is what the real files show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.space.ageing import AgeError, element_age, expected_error_m
from tramontana.space.elements import parse_elements
from tramontana.space.fleet import SECONDS_PER_DAY, SGP4_EPOCH_UNIX_S, Fleet
from tramontana.space.orbits import Propagator
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate

DAY = SECONDS_PER_DAY


@pytest.fixture
def fleet() -> Fleet:
    filed = generate((Shell(550, 53, 2, 5, 0),), label="t", source="t", name_prefix="T")
    return replace(filed, provenance="elements")


@pytest.mark.parametrize(
    ("days", "freshness", "says"),
    [
        (0.3, "current", "Elements are 0.3 days old"),
        (-0.3, "current", "Elements are 0.3 days old"),
        (2.0, "ageing", "uncertain"),
        (10.0, "stale", "statistics of coverage only"),
        (30.5, "expired", "Too old to be used"),
    ],
)
def test_what_is_said_of_age(fleet: Fleet, days: float, freshness: str, says: str) -> None:
    age = element_age(fleet, FILED_EPOCH_UNIX_S + days * DAY)
    assert age.freshness == freshness
    assert says in age.sentence
    assert age.median_error_m < age.p95_error_m
    if freshness == "expired":
        with pytest.raises(AgeError, match=r"sky fetch"):
            age.require_usable()
    else:
        age.require_usable()


def test_mixed_epochs_are_counted(fleet: Fleet) -> None:
    epochs = fleet.epoch_days_1949 - np.array([0, 0, 0, 0, 0, 0, 0, 5, 20, 60])
    age = element_age(replace(fleet, epoch_days_1949=epochs), FILED_EPOCH_UNIX_S)
    assert age.freshness == "current"
    assert age.older_than_ageing == 3
    assert age.oldest_days == pytest.approx(60)
    assert "oldest 60.0" in age.sentence


def test_designs_do_not_age(fleet: Fleet) -> None:
    age = element_age(replace(fleet, provenance="filed"), FILED_EPOCH_UNIX_S + 1e9)
    assert age.freshness == "ideal"
    assert age.median_error_m == 0
    assert "no age" in age.sentence
    with pytest.raises(LocalError, match="finite"):
        element_age(fleet, float("nan"))


@given(st.floats(0, 400), st.floats(0, 400))
def test_older_is_never_better(one: float, other: float) -> None:
    young, old = sorted((one, other))
    for younger, older in zip(expected_error_m(young * DAY), expected_error_m(old * DAY), strict=True):
        assert 0 < younger <= older <= 13e6


@pytest.mark.parametrize(("older", "newer"), [(20, 21), (20, 30)])
def test_the_stated_error_is_that_of_the_real_files(shared_data: Path, older: int, newer: int) -> None:
    """The whole distribution of one pair of files, each satellite at its own age: the median error over the stated one is near 1."""
    old, new = (
        parse_elements((shared_data / f"starlink_2026-05-{day}.tle.gz").read_bytes(), name=str(day)).fleet for day in (older, newer)
    )
    _, first, second = np.intersect1d(old.catalogue_number, new.catalogue_number, return_indices=True)
    age_days = new.epoch_days_1949[second] - old.epoch_days_1949[first]
    some = np.flatnonzero(age_days > 0.3)[::7]
    at = new.epoch_days_1949[second] * DAY + SGP4_EPOCH_UNIX_S
    before, after = Propagator(old), Propagator(new)
    apart = np.array(
        [
            np.linalg.norm(before.track_itrs_m(int(first[i]), at[i : i + 1]) - after.track_itrs_m(int(second[i]), at[i : i + 1]))
            for i in some
        ]
    )
    p50, p95 = expected_error_m(age_days[some] * DAY)
    known = np.isfinite(apart)
    assert np.median((apart / p50)[known]) == pytest.approx(1.0, abs=0.25)
    assert np.mean(apart[known] > p95[known]) == pytest.approx(0.05, abs=0.02)
