"""What a constellation of so many satellites costs, and when it is launched and replaced, by the prices of the alternative designed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.planning.cost import built, constellation
from tramontana.planning.figure import Draws, Values, evaluate, sum_of_years, total
from tramontana.planning.study import DesignTask, Study
from tramontana.planning.units import unit

Floats = NDArray[np.float64]


def likely_costs(task: DesignTask, counts: Sequence[int]) -> Floats:
    """(n,) present value of the alternative with each number of satellites and all else likely, in the study's money."""
    worth = task.alternative.costs.present_value
    values = {**Draws.likely([worth]).values, task.satellites: np.array(counts, np.float64)[:, None]}
    return np.broadcast_to(evaluate([worth], Draws(values))[worth][:, 0], len(counts)).astype(np.float64)


def drawn_costs(study: Study, task: DesignTask, satellites: int) -> Values:
    """(draws, 1) present value with that many satellites, over the draws of everything else."""
    worth = task.alternative.costs.present_value
    draws = Draws.random([worth], study.head.draws, study.head.seed).with_input(task.satellites, satellites)
    return evaluate([worth], draws)[worth]


def check_that_more_cost_more(task: DesignTask) -> None:
    """Raise `LocalError` where more satellites come out cheaper: the search takes the fewest for the cheapest."""
    alone = {planes * each for planes, each in task.search.grid.sizes()}
    beside = set() if task.second is None else {planes * each for planes, each in task.second.sizes()}
    counts = sorted(alone | {one + other for one in alone for other in beside})
    cheaper = np.flatnonzero(np.diff(likely_costs(task, counts)) < 0)
    if cheaper.size:
        few, more = counts[cheaper[0]], counts[cheaper[0] + 1]
        raise LocalError(
            f"design: {more} satellites of {task.alternative.id} come out cheaper than {few}, so that the fewest are not the cheapest; "
            f"look at what its costs make of {task.satellites}"
        )


@dataclass(frozen=True, eq=False, slots=True)
class Schedule:
    """By year, (Y,), from the study's first one; as the cost counts them: parts of a satellite are means over the years of building."""

    years: NDArray[np.int64]
    first: Floats
    """Satellites launched to build the constellation, spares among them."""
    replacements: Floats
    """Satellites launched for those that have reached their lifetime."""
    launches: NDArray[np.int64]
    in_orbit: Floats
    paid: Floats
    """In the study's money: satellites, launches, and the constellation's development and operation; not discounted."""


def schedule(study: Study, task: DesignTask, satellites: int) -> Schedule:
    """Everything else likely. Years beyond the study's are launched and paid alike, and are no part of its costs."""
    of, years = task.constellation, task.schedule_years
    fleet, launched, launches = built(of, years)
    terms, _ = constellation(of, unit(study.head.currency), years)
    paid = total(terms)
    wanted = [fleet, launched, launches, paid]
    values = evaluate(wanted, Draws.likely(wanted).with_input(task.satellites, satellites))
    year = np.arange(1, years + 1)
    within = (year >= of.first) & (year <= of.complete)
    first = np.where(within, values[fleet].item() / (of.complete - of.first + 1), 0.0)
    return Schedule(
        study.head.first_year + year - 1,
        first,
        np.clip(values[launched][0] - first, 0.0, None),
        np.round(values[launches][0]).astype(np.int64),
        np.cumsum(first),
        np.broadcast_to(values[paid][0], years).astype(np.float64),
    )


def parts_of_cost(task: DesignTask, satellites: int) -> tuple[list[tuple[str, float]], float]:
    """Each part of the alternative's cost over the study's years with that many satellites, dearest first, and what is left in the end.

    In the study's money, all else likely, not discounted.
    """
    costs = task.alternative.costs
    sums = [sum_of_years(term) for term in costs.terms]
    wanted = [*sums, *([] if costs.residual is None else [costs.residual])]
    values = evaluate(wanted, Draws.likely(wanted).with_input(task.satellites, satellites))
    parts = [(term.words, float(values[each].item())) for term, each in zip(costs.terms, sums, strict=True)]
    left = 0.0 if costs.residual is None else float(values[costs.residual].item())
    return sorted(parts, key=lambda part: -part[1]), left
