"""Figures that know where they come from.

An *input* is an estimate with a source. Everything else is computed from other figures, and remembers how:
`cost = price * satellites` is a figure with a formula, a unit (checked as the formula is written, not when it is run) and a way
back to every source. Values are computed for many draws at once, as arrays of (draws, years); what does not change over the
years has one column.

    price = Input("price of a satellite", estimate)
    cost = (price * satellites).called("satellites", "what the satellites cost")
    evaluate([cost], Draws.random([cost], 10_000, seed=1))[cost]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import numpy as np
import pint
from numpy.typing import NDArray

from tramontana.planning.estimate import Estimate
from tramontana.planning.units import UnitError, factor, shown, unit

Values: TypeAlias = NDArray[np.float64]
"""(draws or 1, years or 1)."""


class Figure:
    """One figure. Compared by identity: two inputs of the same value are two figures."""

    __slots__ = ("compute", "formula", "name", "operands", "unit")

    def __init__(
        self,
        unit: pint.Unit,
        operands: tuple[Figure, ...],
        compute: Callable[..., Values],
        formula: str,
        name: str | None = None,
    ) -> None:
        self.unit = unit
        self.operands = operands
        self.compute = compute
        self.formula = formula
        self.name = name

    def called(self, name: str) -> Figure:
        """The same figure under a name, by which reports and other formulas speak of it."""
        return Figure(self.unit, self.operands, self.compute, self.formula, name)

    @property
    def words(self) -> str:
        """What stands for it in a formula that uses it."""
        return self.name or (f"({self.formula})" if self.operands else self.formula)

    def __repr__(self) -> str:
        return f"<{self.words} [{shown(self.unit)}]>"

    def __add__(self, other: Figure) -> Figure:
        scale = _same(self, other, "+")
        return Figure(self.unit, (self, other), lambda a, b: a + scale * b, f"{self.words} + {other.words}")

    def __sub__(self, other: Figure) -> Figure:
        scale = _same(self, other, "−")
        return Figure(self.unit, (self, other), lambda a, b: a - scale * b, f"{self.words} − {other.words}")

    def __mul__(self, other: Figure) -> Figure:
        return Figure(self.unit * other.unit, (self, other), np.multiply, f"{self.words} × {other.words}")

    def __truediv__(self, other: Figure) -> Figure:
        return Figure(self.unit / other.unit, (self, other), np.divide, f"{self.words} ÷ {other.words}")

    def to(self, wanted: pint.Unit) -> Figure:
        """The same in another unit. Raises `UnitError`."""
        scale = factor(self.unit, wanted)
        if self.unit == wanted:
            return self
        return Figure(wanted, (self,), lambda a: scale * a, f"{self.words} in {shown(wanted)}")


class Input(Figure):
    """A figure that is given: an estimate with its source."""

    __slots__ = ("estimate",)

    def __init__(self, name: str, estimate: Estimate) -> None:
        super().__init__(estimate.unit, (), _given, "", name)
        self.estimate = estimate


class Simulated(Figure):
    """A figure that a simulation gave, outside the tree: it says by what."""

    __slots__ = ()

    def __init__(self, name: str, value: float, of: str, method: str) -> None:
        super().__init__(unit(of), (), lambda: np.full((1, 1), value), f"simulated: {method}", name)


def constant(value: float, of: str = "", name: str | None = None) -> Figure:
    """A number by definition or design, such as a count of planes; what the world decides is an `Input`."""
    return Figure(unit(of), (), lambda: np.full((1, 1), value), f"{value:g}", name)


def by_year(values: Sequence[float], of: str, name: str) -> Figure:
    """A plan over the years, such as satellites in service."""
    row = np.asarray(values, np.float64)[None, :]
    return Figure(unit(of), (), lambda: row, "a plan by year", name)


def total(figures: Iterable[Figure]) -> Figure:
    """Their sum. Raises `UnitError`, and `ValueError` for none."""
    terms = tuple(figures)
    if not terms:
        raise ValueError("the sum of no figures has no unit")
    scales = [1.0, *(_same(terms[0], other, "+") for other in terms[1:])]
    return Figure(
        terms[0].unit,
        terms,
        lambda *each: reduce(np.add, (scale * one for scale, one in zip(scales, each, strict=True))),
        " + ".join(term.words for term in terms),
    )


def whole(count: Figure) -> Figure:
    """Rounded up: half a launch is a launch."""
    # A count that is whole but for the last bits of its computation stays what it is.
    return Figure(count.unit, (count,), lambda a: np.ceil(np.round(a, 9)), f"{count.words}, rounded up")


def sum_of_years(a_year: Figure) -> Figure:
    """Over the years of the study. A figure without years of its own does not have them yet: give them with `by_year`."""
    return Figure(a_year.unit, (a_year,), lambda a: a.sum(axis=1, keepdims=True), f"sum over the years of {a_year.words}")


def present_value(paid: Figure, discount_rate: Figure) -> Figure:
    """What is paid in each year, worth at the beginning of the first: year 1 is paid at once, year n is divided by (1 + rate)^(n−1)."""
    if not discount_rate.unit.dimensionless:
        raise UnitError(f"a discount rate is a plain number a year, not {shown(discount_rate.unit)}: write 0.04 with the unit 1")
    scale = factor(discount_rate.unit, unit(""))  # 4 percent are 0.04
    return Figure(
        paid.unit,
        (paid, discount_rate),
        lambda a, rate: (a / (1.0 + scale * rate) ** np.arange(a.shape[1])).sum(axis=1, keepdims=True),
        f"Σ over years n of {paid.words} ÷ (1 + {discount_rate.words})^(n − 1)",
    )


@dataclass(frozen=True, slots=True)
class Draws:
    """What the inputs are worth: by name, because an input that two alternatives share is one and the same."""

    values: Mapping[str, Values]

    @staticmethod
    def random(figures: Iterable[Figure], count: int, seed: int, first: int = 0) -> Draws:
        """So many draws, those from number `first` on."""
        return Draws({one.words: one.estimate.draws(one.words, count, seed, first)[:, None] for one in inputs(figures)})

    @staticmethod
    def likely(figures: Iterable[Figure]) -> Draws:
        return Draws({one.words: np.full((1, 1), one.estimate.likely) for one in inputs(figures)})

    def with_input(self, name: str, value: float) -> Draws:
        return Draws({**self.values, name: np.full((1, 1), value)})


def evaluate(figures: Iterable[Figure], draws: Draws) -> dict[Figure, Values]:
    """Values of the figures and of all that they are made of: arrays of (draws or 1, years or 1) in each one's unit."""
    known: dict[Figure, Values] = {}
    for figure in ancestry(figures):
        if isinstance(figure, Input):
            known[figure] = draws.values[figure.words]
        else:
            known[figure] = np.atleast_2d(figure.compute(*(known[operand] for operand in figure.operands)))
    return known


def ancestry(figures: Iterable[Figure]) -> Iterator[Figure]:
    """Everything that the figures are made of and they themselves, operands first, each once."""
    seen: set[Figure] = set()
    waiting = [(figure, False) for figure in reversed(tuple(figures))]
    while waiting:
        figure, ready = waiting.pop()
        if ready:
            yield figure
        elif figure not in seen:
            seen.add(figure)
            waiting.append((figure, True))
            waiting.extend((operand, False) for operand in reversed(figure.operands))


def inputs(figures: Iterable[Figure]) -> list[Input]:
    """Each once. Raises `ValueError` where two of them have one name: their draws would be mixed up."""
    found = [figure for figure in ancestry(figures) if isinstance(figure, Input)]
    if len({one.words for one in found}) < len(found):
        raise ValueError("two inputs have the same name")
    return found


@dataclass(frozen=True, slots=True)
class Driver:
    """How far one input alone moves a figure from its likely value."""

    input: Input
    at_low: float
    at_high: float

    @property
    def swing(self) -> float:
        return abs(self.at_high - self.at_low)


def drivers(figure: Figure) -> list[Driver]:
    """All inputs of a figure without years, the one that moves it most first (what is drawn as a tornado)."""
    likely = Draws.likely([figure])

    def at(one: Input, value: float) -> float:
        return float(evaluate([figure], likely.with_input(one.words, value))[figure].item())

    found = [Driver(one, at(one, one.estimate.low), at(one, one.estimate.high)) for one in inputs([figure])]
    return sorted(found, key=lambda driver: driver.swing, reverse=True)


def _same(one: Figure, other: Figure, sign: str) -> float:
    try:
        return factor(other.unit, one.unit)
    except UnitError as error:
        raise UnitError(f"{one.words} {sign} {other.words}: {error}") from error


def _given() -> Values:
    raise AssertionError("an input's values are given, not computed")
