"""What an alternative costs, year by year, and worth today.

Two kinds of costs make up every alternative. A *line* is a product of figures that comes out as money (paid in one year, or
spread evenly over several) or as money a year. A *constellation* is built over some years, replaced as its satellites die,
operated, and worth something in the end. Years are those of the study, counted from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pint

from tramontana.errors import LocalError
from tramontana.planning.figure import Figure, Values, by_year, constant, present_value, sum_of_years, total, whole
from tramontana.planning.units import factor, shown, unit

_YEAR = unit("year")


class CostError(LocalError):
    """Costs that cannot be: a product that is not money, years outside the study. The message names the cost."""


@dataclass(frozen=True, slots=True)
class Line:
    """`product` is money, spread evenly over the years `first` to `last` of the study, or money a year, growing by `growth`."""

    name: str
    product: Figure
    first: int
    last: int
    growth: Figure | None = None
    """A plain number a year, such as 0.02."""


@dataclass(frozen=True, slots=True)
class Constellation:
    """What is built: `satellites` in service when complete and `spares` beside them (a share, such as 0.1).

    Launched evenly from year `first` to `complete`; those that reach their `lifetime` (in whole years, rounded) are replaced in that year.
    """

    name: str
    satellites: Figure
    spares: Figure
    lifetime: Figure
    satellite_price: Figure
    satellites_a_launch: Figure
    launch_price: Figure
    first: int
    complete: int
    development: Figure | None = None
    """Money before the first satellite, spread over the years of building."""
    operation: Figure | None = None
    """Money per satellite in orbit and year."""


@dataclass(frozen=True, slots=True)
class Costs:
    """By year, in the study's money, each term with its formula; `residual` is what is left in the end and is not part of `by_year`."""

    terms: tuple[Figure, ...]
    by_year: Figure
    undiscounted: Figure
    present_value: Figure
    residual: Figure | None


def line(cost: Line, money: pint.Unit, years: int) -> Figure:
    """Paid by year. Raises `CostError` where the product is neither money nor money a year, or the years are not of the study."""
    _check_years(cost.name, cost.first, cost.last, years)
    within = [1.0 if cost.first <= year <= cost.last else 0.0 for year in range(1, years + 1)]
    if cost.product.unit.is_compatible_with(money):
        if cost.growth is not None:
            raise CostError(f"{cost.name}: what is paid once does not grow; leave `growth` out or give a price a year")
        shares = by_year([share / sum(within) for share in within], "", f"share of {cost.name} paid in each year")
        return (cost.product.to(money) * shares).called(cost.name)
    if cost.product.unit.is_compatible_with(money / _YEAR):
        running = cost.product.to(money / _YEAR) * by_year(within, "year", f"years of {cost.name}")
        if cost.growth is not None:
            running = running * _grown(cost.growth, years)
        return running.to(money).called(cost.name)
    raise CostError(
        f"{cost.name} comes out as {shown(cost.product.unit)}; it must be {shown(money)}, or {shown(money)} a year: see what is multiplied"
    )


def built(of: Constellation, years: int) -> tuple[Figure, Figure, Figure]:
    """The satellites to build, spares among them; by year those launched, replacements among them, and the launches. Raises `CostError`."""
    _check_years(of.name, of.first, of.complete, years)
    if not of.lifetime.unit.is_compatible_with(_YEAR):
        raise CostError(f"{of.name}: a lifetime is in years, not {shown(of.lifetime.unit)}")
    fleet = whole(of.satellites * (constant(1.0) + of.spares)).called(f"satellites to build for {of.name}")
    life = of.lifetime.to(_YEAR)
    period = [of.first, of.complete]

    def cohorts(count: Values, years_of_life: Values) -> Values:
        """(draws, years) satellites launched: the first ones and their replacements."""
        building = period[1] - period[0] + 1
        lasts = np.maximum(1, np.round(years_of_life)).astype(np.int64)[:, 0]
        launched = np.zeros((max(len(count), len(lasts)), years))
        for year in range(years):
            fresh = count[:, 0] / building if period[0] <= year + 1 <= period[1] else 0.0
            then = year - lasts
            old = np.where(then >= 0, launched[np.arange(len(launched)), np.maximum(then, 0)], 0.0)
            launched[:, year] = fresh + old
        return launched

    launched = Figure(
        fleet.unit,
        (fleet, life),
        cohorts,
        f"{fleet.words} over years {of.first} to {of.complete}, each again after {life.words} (whole years)",
    ).called(f"satellites launched for {of.name}")
    return fleet, launched, whole(launched / of.satellites_a_launch).called(f"launches for {of.name}")


def constellation(of: Constellation, money: pint.Unit, years: int) -> tuple[list[Figure], Figure]:
    """Its costs by year (satellites, launches, development, operation), and what is left in the end (straight line over the lifetime)."""
    fleet, launched, launches = built(of, years)
    life = of.lifetime.to(_YEAR)
    price = of.satellite_price
    terms = [
        (launched * price).to(money).called(f"{of.name}: satellites"),
        (launches * of.launch_price).to(money).called(f"{of.name}: launches"),
    ]
    if of.development is not None:
        building = of.complete - of.first + 1
        spread = [1.0 / building if of.first <= year <= of.complete else 0.0 for year in range(1, years + 1)]
        terms.append((of.development * by_year(spread, "", f"share of {of.name} in each year")).to(money).called(f"{of.name}: development"))
    if of.operation is not None:
        in_orbit = Figure(
            fleet.unit,
            (launched, fleet),
            lambda new, count: np.minimum(np.cumsum(new, axis=1), count),
            f"{launched.words} so far, at most {fleet.words}",
        ).called(f"satellites of {of.name} in orbit")
        terms.append((in_orbit * of.operation * constant(1.0, "year")).to(money).called(f"{of.name}: operation"))

    def remaining(new: Values, years_of_life: Values) -> Values:
        age = years - np.arange(years)  # those of the last year are one year old at its end
        return np.asarray((new * np.clip(1.0 - age / years_of_life, 0.0, 1.0)).sum(axis=1, keepdims=True))

    unused = Figure(launched.unit, (launched, life), remaining, f"Σ of {launched.words} × (1 − age ÷ {life.words}), none below zero")
    return terms, (unused * price).to(money).called(f"{of.name}: residual value")


def costs(terms: Sequence[Figure], residual: Figure | None, discount_rate: Figure, years: int) -> Costs:
    """Sums over the terms; the present value has the residual value, discounted over all years, taken off."""
    paid = total(terms).called("cost by year")
    worth = present_value(paid, discount_rate)
    if residual is not None:
        scale = factor(discount_rate.unit, unit(""))
        left = Figure(
            residual.unit,
            (residual, discount_rate),
            lambda value, rate: value / (1.0 + scale * rate) ** years,
            f"{residual.words} ÷ (1 + {discount_rate.words})^{years}",
        ).called("residual value today")
        worth = worth - left
    return Costs(tuple(terms), paid, sum_of_years(paid).called("cost"), worth.called("present value of the cost"), residual)


def _grown(growth: Figure, years: int) -> Figure:
    if not growth.unit.dimensionless:
        raise CostError(f"{growth.words} is {shown(growth.unit)}; growth is a plain number a year, such as 0.02")
    scale = factor(growth.unit, unit(""))
    return Figure(unit(""), (growth,), lambda rate: (1.0 + scale * rate) ** np.arange(years), f"(1 + {growth.words})^(n − 1)")


def _check_years(name: str, first: int, last: int, years: int) -> None:
    if not 1 <= first <= last <= years:
        raise CostError(f"{name}: years {first} to {last} are not within the study's 1 to {years}")
