"""Figures: formulas, units, draws, and what drives them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.planning.estimate import Estimate, EstimateError, Source
from tramontana.planning.figure import (
    Draws,
    Figure,
    Input,
    by_year,
    constant,
    drivers,
    evaluate,
    inputs,
    present_value,
    sum_of_years,
    total,
    whole,
)
from tramontana.planning.units import UnitError, shown, unit

SOURCE = Source("offer", "An offer", "https://example.org/offer", "2025-01-06")


def given_figure(name: str, low: float, likely: float, high: float, of: str = "EUR") -> Input:
    return Input(name, Estimate(low, likely, high, unit(of), (SOURCE,)))


def likely(figure: Figure) -> list[float]:
    return [float(value) for value in evaluate([figure], Draws.likely([figure]))[figure][0]]


def test_a_formula_remembers_itself_its_unit_and_its_inputs() -> None:
    price, count = given_figure("price", 1, 2, 3, "EUR/satellite"), given_figure("satellites", 10, 10, 10, "satellite")
    cost = (price * count).called("fleet")
    share = cost / given_figure("users", 4, 4, 4, "user")
    assert cost.formula == "price × satellites"
    assert share.formula == "fleet ÷ users"
    assert (shown(cost.unit), shown(share.unit)) == ("EUR", "EUR/user")
    assert [one.words for one in inputs([share])] == ["price", "satellites", "users"]
    assert likely(share) == [5.0]


def test_what_cannot_be_added_is_refused_as_it_is_written() -> None:
    with pytest.raises(UnitError, match="fee \\+ length: km is not EUR"):
        given_figure("fee", 1, 1, 1) + given_figure("length", 1, 1, 1, "km")
    with pytest.raises(UnitError, match="measure different things"):
        given_figure("euros", 1, 1, 1) - given_figure("dollars", 1, 1, 1, "USD")
    with pytest.raises(UnitError, match='"furlongish" is not a unit'):
        unit("furlongish")


def test_units_of_one_thing_are_changed() -> None:
    both = given_figure("month", 1, 1, 1, "EUR/month") + given_figure("year", 12, 12, 12, "EUR/year")
    assert likely(both) == pytest.approx([2.0])


def test_present_value_and_sums_by_hand() -> None:
    paid = by_year([100.0, 110.0, 121.0], "EUR", "paid")
    rate = given_figure("rate", 0.1, 0.1, 0.1, "1")
    assert likely(present_value(paid, rate)) == pytest.approx([300.0])  # 100 + 110/1.1 + 121/1.21
    assert likely(sum_of_years(paid)) == [331.0]
    assert likely(total([paid, paid])) == [200.0, 220.0, 242.0]
    with pytest.raises(UnitError, match="a discount rate is a plain number"):
        present_value(paid, given_figure("fee", 1, 1, 1))


@pytest.mark.parametrize(("count", "rounded"), [(2.0, 2.0), (2.000001, 3.0), (0.1 * 3 / 0.1, 3.0), (0.2, 1.0), (0.0, 0.0)])
def test_half_a_launch_is_a_launch(count: float, rounded: float) -> None:
    assert likely(whole(constant(count, "launch"))) == [rounded]


def test_draws_keep_to_the_bounds_and_to_the_mean_of_pert() -> None:
    estimate = Estimate(10.0, 20.0, 60.0, unit("EUR"), (SOURCE,))
    values = estimate.draws("fee", 200_000, seed=3)
    assert values.min() >= 10.0
    assert values.max() <= 60.0
    assert values.mean() == pytest.approx((10 + 4 * 20 + 60) / 6, rel=0.01)
    assert np.array_equal(values, estimate.draws("fee", 200_000, seed=3))
    assert not np.array_equal(values[:50], estimate.draws("other fee", 50, seed=3))


@pytest.mark.parametrize("bounds", [(2.0, 1.0, 3.0), (1.0, 3.0, 2.0), (float("nan"), 1.0, 2.0), (1.0, 2.0, float("inf"))])
def test_bounds_out_of_order_are_refused(bounds: tuple[float, float, float]) -> None:
    with pytest.raises(EstimateError, match="from offer"):
        Estimate(*bounds, unit("EUR"), (SOURCE,))


def test_an_input_that_two_figures_share_is_drawn_once() -> None:
    shared = given_figure("fee", 1, 2, 9)
    nothing = (shared * constant(2.0)) - shared - shared
    assert np.all(evaluate([nothing], Draws.random([nothing], 500, seed=1))[nothing] == 0.0)
    with pytest.raises(ValueError, match="two inputs have the same name"):
        inputs([shared + given_figure("fee", 1, 2, 9)])


def test_the_input_that_moves_most_comes_first() -> None:
    small, large = given_figure("small", 9, 10, 11), given_figure("large", 50, 100, 300)
    certain = given_figure("certain", 5, 5, 5)
    found = drivers(small + large + certain)
    assert [(one.input.words, one.at_low, one.at_high) for one in found] == [
        ("large", 65.0, 315.0),
        ("small", 114.0, 116.0),
        ("certain", 115.0, 115.0),
    ]


@given(st.lists(st.tuples(st.sampled_from("+-*"), st.floats(0.1, 100.0)), min_size=1, max_size=12))
def test_a_figure_is_worth_what_python_makes_of_the_same_sum(steps: list[tuple[str, float]]) -> None:
    figure: Figure = constant(1.0)
    number = 1.0
    for sign, value in steps:
        other = constant(value)
        figure, number = {
            "+": (figure + other, number + value),
            "-": (figure - other, number - value),
            "*": (figure * other, number * value),
        }[sign]
    assert likely(figure) == pytest.approx([number], rel=1e-12)
