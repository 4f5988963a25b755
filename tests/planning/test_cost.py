"""Costs of tiny alternatives that are computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.planning.test_figure import given_figure, likely
from tramontana.planning.cost import Constellation, CostError, Line, constellation, costs, line
from tramontana.planning.figure import Draws, Figure, constant, evaluate
from tramontana.planning.units import unit

EURO = unit("EUR")


def fleet(*, satellites: float = 10, price: float = 3, launch: float = 20, lifetime: float = 3, complete: int = 2) -> Constellation:
    return Constellation(
        "national",
        constant(satellites, "satellite", "satellites"),
        constant(0.1, "", "spares"),
        constant(lifetime, "year", "lifetime"),
        constant(price, "EUR/satellite", "price"),
        constant(4, "satellite/launch", "satellites a launch"),
        constant(launch, "EUR/launch", "launch price"),
        1,
        complete,
        constant(7, "EUR", "development"),
        constant(0.5, "EUR/satellite/year", "operation"),
    )


def test_a_lease_by_hand() -> None:
    assert likely(line(Line("fee", constant(150.0, "EUR"), 1, 5), EURO, 5)) == pytest.approx([30.0] * 5)
    assert likely(line(Line("fee", constant(150.0, "EUR"), 2, 3), EURO, 5)) == pytest.approx([0.0, 75.0, 75.0, 0.0, 0.0])
    monthly = constant(10.0, "EUR/site/month") * constant(3.0, "site")
    assert likely(line(Line("subscriptions", monthly, 2, 3), EURO, 4)) == pytest.approx([0.0, 360.0, 360.0, 0.0])
    grown = line(Line("staff", constant(100.0, "EUR/year"), 1, 3, constant(0.1)), EURO, 3)
    assert likely(grown) == pytest.approx([100.0, 110.0, 121.0])


def test_what_is_not_money_or_outside_the_study_is_refused() -> None:
    with pytest.raises(CostError, match="fee comes out as EUR/user; it must be EUR, or EUR a year"):
        line(Line("fee", constant(1.0, "EUR/user"), 1, 1), EURO, 1)
    with pytest.raises(CostError, match="years 2 to 6 are not within the study's 1 to 5"):
        line(Line("fee", constant(1.0, "EUR"), 2, 6), EURO, 5)
    with pytest.raises(CostError, match="does not grow"):
        line(Line("fee", constant(1.0, "EUR"), 1, 2, constant(0.1)), EURO, 5)


def test_a_constellation_by_hand() -> None:
    """11 satellites in two years (5.5 each), each again after 3 years: 5.5, 5.5, 0, 5.5, 5.5; 4 on a launch: 2 launches each."""
    terms, left = constellation(fleet(), EURO, 5)
    satellites, launches, development, operation = (likely(term) for term in terms)
    assert satellites == pytest.approx([16.5, 16.5, 0.0, 16.5, 16.5])
    assert launches == pytest.approx([40.0, 40.0, 0.0, 40.0, 40.0])
    assert development == pytest.approx([3.5, 3.5, 0.0, 0.0, 0.0])
    assert operation == pytest.approx([2.75, 5.5, 5.5, 5.5, 5.5])
    # At the end of year 5 those of year 4 are 2 years old and those of year 5 one: a third and two thirds of 16.5 are left.
    assert likely(left) == pytest.approx([16.5])
    sums = costs(terms, left, constant(0.0, "", "rate"), 5)
    assert likely(sums.undiscounted) == pytest.approx([66.0 + 160.0 + 7.0 + 24.75])
    assert likely(sums.present_value) == pytest.approx([66.0 + 160.0 + 7.0 + 24.75 - 16.5])


def test_the_residual_value_is_discounted_over_all_years() -> None:
    paid = line(Line("fee", constant(100.0, "EUR"), 1, 1), EURO, 2)
    sums = costs([paid], constant(121.0, "EUR", "left"), constant(0.1, "", "rate"), 2)
    assert likely(sums.present_value) == pytest.approx([0.0])


def test_a_rate_in_percent_is_a_hundredth_of_its_number() -> None:
    """100 in each of two years at 10 %, and 121 left at the end of the second."""
    paid = line(Line("fee", constant(200.0, "EUR"), 1, 2), EURO, 2)
    sums = costs([paid], constant(121.0, "EUR", "left"), constant(10.0, "percent", "rate"), 2)
    assert likely(sums.present_value) == pytest.approx([100.0 + 100.0 / 1.1 - 100.0])


def worth(of: Constellation, years: int) -> float:
    terms, left = constellation(of, EURO, years)
    return likely(costs(terms, left, constant(0.04, "", "rate"), years).undiscounted)[0]


def bought(of: Constellation) -> float:
    terms, _ = constellation(of, EURO, 10)
    return sum(likely(terms[0]))


@settings(max_examples=60)
@given(st.floats(1, 500), st.floats(0.1, 50), st.floats(1, 300), st.floats(1, 15), st.integers(1, 8), st.floats(1.0, 3.0))
def test_dearer_is_never_cheaper(satellites: float, price: float, launch: float, lifetime: float, complete: int, more: float) -> None:
    def cost(**changed: float) -> float:
        return worth(
            fleet(**{"satellites": satellites, "price": price, "launch": launch, "lifetime": lifetime} | changed, complete=complete), 10
        )

    here = cost()
    least = here * (1 - 1e-12)
    assert cost(launch=launch * more) >= least
    assert cost(price=price * more) >= least
    assert cost(satellites=satellites * more) >= least
    # Fewer satellites, not always fewer launches: replacements that no longer fall together fill them less.
    assert bought(fleet(lifetime=lifetime * more, complete=complete)) <= bought(fleet(lifetime=lifetime, complete=complete)) * (1 + 1e-12)


def test_a_range_of_lifetimes_is_followed_draw_by_draw() -> None:
    life: Figure = given_figure("life", 1.0, 3.0, 5.0, "year")
    of = fleet()
    terms, _ = constellation(Constellation(**{name: getattr(of, name) for name in Constellation.__slots__} | {"lifetime": life}), EURO, 5)
    values = evaluate(terms, Draws({"life": np.array([[1.0], [3.0], [5.0]])}))[terms[0]]
    assert values[0] == pytest.approx([16.5, 33.0, 33.0, 33.0, 33.0])
    assert values[1] == pytest.approx([16.5, 16.5, 0.0, 16.5, 16.5])
    assert values[2] == pytest.approx([16.5, 16.5, 0.0, 0.0, 0.0])
