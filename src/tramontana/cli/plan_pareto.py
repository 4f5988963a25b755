"""The section of the report on which alternatives no other beats: cost against availability, delay and capacity, drawn and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from matplotlib.figure import Figure as Drawing

from tramontana.cli.plan_sections import Links, linked, milliseconds, percent, table
from tramontana.cli.sky_chart import LINES
from tramontana.cli.sky_page import svg_of
from tramontana.planning.figure import Figure, Values
from tramontana.planning.results import CARRIED, MEDIAN, OVER_YEARS
from tramontana.planning.study import Alternative, Study

MARKS: Final = "osD^vPX*"
"""By alternative: told apart without colour, too."""
PERCENTILES: Final = (10, 50, 90)
_MILLION: Final = 1e6


@dataclass(frozen=True, slots=True)
class Quality:
    """A measure that cost is set against. `sign`: 1 where more is better, −1 where less is."""

    figure: str
    axis: str
    sign: int
    scale: float


QUALITIES: Final = (
    Quality(OVER_YEARS, "Available over all years, %", 1, 100.0),
    Quality(MEDIAN, "Median round trip, ms", -1, 1.0),
    Quality(CARRIED, "Carried of the busy hour's demand, %", 1, 100.0),
)


def unbeaten(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Of each (cost, quality; more is better), whether no other is as good in both and better in one. One of NaN is beaten."""

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    return [not math.isnan(mine[1]) and not any(beats(other, mine) for other in points) for mine in points]


def pareto_section(study: Study, values: Mapping[Figure, Values], links: Links) -> str:
    """Nothing where fewer than two alternatives were measured."""
    text, rows = "", []
    for quality in QUALITIES:
        known = [one for one in study.alternatives if (one.id, quality.figure) in links]
        if len(known) < 2:
            continue
        costs = [np.percentile(values[one.costs.present_value], PERCENTILES) / _MILLION for one in known]
        given = [links[one.id, quality.figure][1] for one in known]
        best = unbeaten([(float(cost[1]), quality.sign * value) for cost, value in zip(costs, given, strict=True)])
        words = f"{quality.axis} against present value; no other is cheaper and better than: " + ", ".join(
            one.title for one, is_best in zip(known, best, strict=True) if is_best
        )
        drawing = svg_of(_drawn(study, quality, known, costs, given, best))
        text += f'<figure role="img" aria-label="{escape(words)}">{drawing}</figure>'
        shown = milliseconds if quality.sign < 0 else percent
        cells = [
            f"{escape(one.title)} <small>{linked(links, one.id, quality.figure, shown)}</small>"
            for one, is_best in zip(known, best, strict=True)
            if is_best
        ]
        rows.append((escape(quality.axis.partition(",")[0]), ["; ".join(cells)]))
    if not text:
        return ""
    return (
        "<h2>Cost against what it gives, simulated</h2><p>Filled: no other alternative is as good or better for as much or less (by the "
        "middle of the draws). The bar is the cost from the 10th to the 90th percentile: where bars overlap, the cheaper one is not "
        "certain. An alternative that is not measured is in none of the drawings.</p>"
        f"{text}{table(['Set against the cost', 'Beaten by none'], rows)}"
    )


def _drawn(
    study: Study,
    quality: Quality,
    known: Sequence[Alternative],
    costs: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.float64]]],
    given: Sequence[float],
    best: Sequence[bool],
) -> Drawing:
    drawing = Drawing(figsize=(10, 3.4), layout="constrained", facecolor="white")
    axes = drawing.add_subplot()
    order = [one.id for one in study.alternatives]
    for one, cost, value, is_best in zip(known, costs, given, best, strict=True):
        number = order.index(one.id)
        colour = LINES[number % len(LINES)]
        axes.plot([cost[0], cost[2]], [value * quality.scale] * 2, color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
        axes.plot(
            [cost[1]], [value * quality.scale], marker=MARKS[number % len(MARKS)], markersize=10, markeredgewidth=2, linestyle="none",
            color=colour, markerfacecolor=colour if is_best else "white", label=one.title,
        )  # fmt: skip
    axes.set_xlim(left=0)
    if quality.scale == 100.0:  # a share ends at 100 %
        axes.set_ylim(max(-3.0, 100.0 * min(given) - 8.0), 103.0)
    axes.set_xlabel(f"Present value of the cost, million {study.head.currency}")
    axes.set_ylabel(quality.axis)
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9)
    return drawing
