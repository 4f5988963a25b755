"""Beam plans: no rule is ever broken, the greatest plan equals scipy's maximum flow, more satellites never serve less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from tramontana.errors import LocalError
from tramontana.space.beams.assignment import BeamPlan, BeamRules, greatest_plan, greedy_plan
from tramontana.space.beams.cells import Pairs

Seen = NDArray[np.bool_]


def pairs_of(seen: Seen) -> Pairs:
    """seen: (C, N)."""
    first = np.concatenate([[0], np.cumsum(seen.sum(axis=1))]).astype(np.int64)
    return Pairs(first, np.nonzero(seen)[1].astype(np.int32), seen.shape[1])


def maximum_by_scipy(seen: Seen, wanted: NDArray[np.int32], rules: BeamRules) -> int:
    cells, satellites = seen.shape
    capacity = np.zeros((2 + cells + satellites, 2 + cells + satellites), dtype=np.int32)
    capacity[0, 2 : 2 + satellites] = rules.beams_per_satellite
    capacity[2 : 2 + satellites, 2 + satellites :] = seen.T * rules.channels
    capacity[2 + satellites :, 1] = np.minimum(wanted, rules.channels)
    return int(maximum_flow(csr_array(capacity), 0, 1).flow_value)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Seen, NDArray[np.int32], BeamRules]:
    cells, satellites = draw(st.integers(1, 25)), draw(st.integers(1, 10))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    seen = random.random((cells, satellites)) < draw(st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]))
    wanted = random.integers(0, draw(st.integers(1, 6)) + 1, cells).astype(np.int32)
    return seen, wanted, BeamRules(draw(st.integers(0, 12)), draw(st.integers(0, 4)))


def check_rules(plan: BeamPlan, seen: Seen, wanted: NDArray[np.int32], rules: BeamRules) -> None:
    assert np.all(plan.used >= 0)
    assert np.all(plan.beams_of_satellite <= rules.beams_per_satellite)
    assert np.all(plan.beams_of_cell <= np.minimum(wanted, rules.channels))
    beams = plan.beams()
    assert beams.shape == (plan.total, 3)
    assert np.all(seen[beams[:, 0], beams[:, 1]])
    assert len({(cell, channel) for cell, _, channel in beams.tolist()}) == plan.total, "a channel twice in one cell"
    assert np.all((beams[:, 2] >= 0) & (beams[:, 2] < max(1, rules.channels)))


@given(problems())
@settings(max_examples=200, deadline=None)
def test_rules_are_kept_and_the_bound_is_the_maximum_flow(problem: tuple[Seen, NDArray[np.int32], BeamRules]) -> None:
    seen, wanted, rules = problem
    plan = greedy_plan(pairs_of(seen), wanted, rules)
    best = greatest_plan(plan)
    check_rules(plan, seen, wanted, rules)
    check_rules(best, seen, wanted, rules)
    assert best.total == maximum_by_scipy(seen, wanted, rules)
    assert plan.total <= best.total <= 2 * plan.total, "a greedy plan that stops only where nothing fits has at least half of the best"
    assert np.all(best.beams_of_cell >= plan.beams_of_cell), "no cell loses a beam by the greatest plan"


@given(problems(), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_more_satellites_never_serve_fewer_cells(problem: tuple[Seen, NDArray[np.int32], BeamRules], seed: int) -> None:
    seen, _, rules = problem
    keep = np.random.default_rng(seed).random(seen.shape[1]) < 0.6
    fewer = greatest_plan(greedy_plan(pairs_of(seen & keep), 1, rules))
    all_of_them = greatest_plan(greedy_plan(pairs_of(seen), 1, rules))
    assert fewer.served_cells <= all_of_them.served_cells
    assert not np.any(fewer.beams_of_satellite[~keep])


def test_every_cell_has_one_beam_before_any_has_two() -> None:
    plan = greedy_plan(pairs_of(np.ones((5, 1), dtype=np.bool_)), 8, BeamRules(7, 8))
    assert sorted(plan.beams_of_cell.tolist()) == [1, 1, 1, 2, 2]
    assert plan.total == 7


def test_the_cell_with_the_fewest_satellites_chooses_first() -> None:
    """Cell 0 could take either, cell 1 only satellite 0: both are served."""
    seen = np.array([[True, True], [True, False]])
    plan = greedy_plan(pairs_of(seen), 1, BeamRules(1, 8))
    assert plan.beams_of_cell.tolist() == [1, 1]
    assert plan.beams()[:, :2].tolist() == [[0, 1], [1, 0]]


def test_where_greedy_is_not_enough_the_greatest_plan_reroutes() -> None:
    """Ties send cell 0 to satellite 0 and cell 1 to satellite 1; cell 2, which chooses last, sees only those in use."""
    seen = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]], dtype=np.bool_)
    plan = greedy_plan(pairs_of(seen), 1, BeamRules(1, 8))
    best = greatest_plan(plan)
    assert plan.total == 2
    assert best.total == 3


def test_nothing_in_view_and_no_beams() -> None:
    nothing = pairs_of(np.zeros((4, 3), dtype=np.bool_))
    assert greatest_plan(greedy_plan(nothing, 8)).total == 0
    assert greedy_plan(nothing, 8).beams().shape == (0, 3)
    assert greatest_plan(greedy_plan(pairs_of(np.ones((4, 3), dtype=np.bool_)), 8, BeamRules(0, 8))).total == 0


@pytest.mark.parametrize("wanted", [-1, np.array([1, 2]), np.array([1.5, 2.0, 3.0])])
def test_bad_wishes_are_refused(wanted: int | NDArray[np.integer]) -> None:
    with pytest.raises(LocalError, match="beams wanted"):
        greedy_plan(pairs_of(np.ones((3, 1), dtype=np.bool_)), wanted)


def test_bad_rules_and_pairs_are_refused() -> None:
    with pytest.raises(LocalError, match="negative"):
        BeamRules(-1, 8)
    with pytest.raises(LocalError, match="list bounds"):
        Pairs(np.array([0, 2]), np.array([0], dtype=np.int32), 1)
    with pytest.raises(LocalError, match="below 1"):
        Pairs(np.array([0, 1]), np.array([1], dtype=np.int32), 1)
