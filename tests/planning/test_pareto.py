"""Which alternatives no other beats: by hand, and against a plain definition."""

from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tramontana.cli.plan_pareto import unbeaten

POINTS = st.lists(st.tuples(st.integers(0, 6), st.one_of(st.integers(0, 6), st.just(math.nan))), max_size=8)


def test_by_hand() -> None:
    points = [(1.0, 0.5), (2.0, 0.9), (3.0, 0.9), (2.0, 0.4), (9.0, 1.0), (0.5, math.nan)]
    assert unbeaten(points) == [True, True, False, False, True, False]
    assert unbeaten([(1.0, 0.5), (1.0, 0.5)]) == [True, True]  # equal ones beat nobody
    assert unbeaten([]) == []


@given(POINTS)
def test_whoever_is_beaten_is_beaten_by_an_unbeaten_one(points: list[tuple[float, float]]) -> None:
    best = unbeaten(points)
    front = [point for point, is_best in zip(points, best, strict=True) if is_best]
    for (cost, quality), is_best in zip(points, best, strict=True):
        better = [one for one in front if one[0] <= cost and one[1] >= quality and one != (cost, quality)]
        assert is_best == (not math.isnan(quality) and not better)
    # Along the front what costs more gives more.
    steps = sorted(set(front))
    assert all(one[1] < other[1] for one, other in pairwise(steps))
