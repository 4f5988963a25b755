"""`tramontana plan figures` and `plan compare`: every figure of every alternative as a table, and two alternatives draw by draw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np

from tramontana.cli.output import Column, Report
from tramontana.cli.plan_draws import Drawn, drawn
from tramontana.cli.plan_page import PERCENTILES, draws_in_words
from tramontana.cli.plan_study import (
    Findings,
    Tables,
    all_results,
    alternative_of,
    measured,
    named_figures,
    read_study,
    study_argument,
    table_options,
    work_options,
)
from tramontana.cli.sky_options import Work
from tramontana.planning.figure import Draws, Input, Values, evaluate
from tramontana.planning.study import Alternative, Study
from tramontana.planning.units import shown


@click.command()
@study_argument
@work_options
@table_options
def figures(study: Path, tables: Tables, work: Work) -> None:
    """Show every figure of STUDY: inputs, formulas, what was simulated; one row for each, and one a year where it has years."""
    read = read_study(study)
    tables.show(all_figures(read, drawn(read, measured(read, work), work)))


@click.command()
@study_argument
@click.argument("one")
@click.argument("other")
@work_options
@table_options
def compare(study: Path, one: str, other: str, tables: Tables, work: Work) -> None:
    """Compare the alternatives ONE and OTHER of STUDY figure by figure, in the same draws: what they share cancels out."""
    read = read_study(study)
    pair = alternative_of(read, one), alternative_of(read, other)
    tables.show(compared_pair(read, *pair, measured(read, work)))


def all_figures(study: Study, drawn: Drawn) -> Report:
    """By alternative, from the whole to the parts; what several alternatives share stands with each."""
    rows = [row for one in study.alternatives for row in _rows(study, one, drawn)]
    words = [[row[0][column] for row in rows] for column in range(6)]
    numbers = np.array([row[1] for row in rows])
    columns = (
        Column("alternative", words[0], "text"),
        Column("figure", words[1], "text"),
        Column("year", words[2], "text"),
        *(Column(f"p{percent}", numbers[:, column], digits=4) for column, percent in enumerate(PERCENTILES)),
        Column("unit", words[3], "text"),
        Column("formula", words[4], "text"),
        Column("sources", words[5], "text"),
    )
    return Report(f"Figures of {study.head.title}", (("Ranges", draws_in_words(study)),), columns)


def compared_pair(study: Study, one: Alternative, other: Alternative, found: Findings) -> Report:
    """Every result that both have; the difference is that of the same draw."""
    mine, theirs = ({figure.words: figure for figure in all_results(study, each, found)} for each in (one, other))
    both = [name for name in mine if name in theirs and mine[name].unit == theirs[name].unit]
    roots = [figures[name] for figures in (mine, theirs) for name in both]
    values = evaluate(roots, Draws.random(roots, study.head.draws, study.head.seed))
    apart = [values[theirs[name]] - values[mine[name]] for name in both]
    middles = [np.array([np.median(values[figures[name]]) for name in both]) for figures in (mine, theirs)]
    percentiles = np.array([np.percentile(each, PERCENTILES) for each in apart])
    more = np.array([(each > 0).mean() * 100 for each in apart])
    return Report(
        f"{other.title} beside {one.title}",
        (
            ("Ranges", draws_in_words(study)),
            ("Difference", f"{other.id} less {one.id}, draw by draw; the last column: in how many of the draws it is more"),
        ),
        (
            Column("figure", both, "text"),
            Column(f"{one.id}_p50", middles[0], digits=4),
            Column(f"{other.id}_p50", middles[1], digits=4),
            *(Column(f"difference_p{percent}", percentiles[:, column], digits=4) for column, percent in enumerate(PERCENTILES)),
            Column("more_percent_of_draws", more, digits=0),
            Column("unit", [shown(mine[name].unit) for name in both], "text"),
        ),
    )


def _rows(study: Study, one: Alternative, drawn: Drawn) -> Iterator[tuple[tuple[str, ...], tuple[float, ...]]]:
    for name, figure in named_figures(drawn.results[one.id]).items():
        words = "given" if isinstance(figure, Input) else figure.formula
        cited = " ".join(source.id for source in figure.estimate.sources) if isinstance(figure, Input) else ""
        for column, year in _years(study, drawn.values[figure]):
            low, middle, high = np.percentile(drawn.values[figure][:, column], PERCENTILES)
            yield (one.id, name, year, shown(figure.unit), words, cited), (low, middle, high)


def _years(study: Study, values: Values) -> Iterator[tuple[int, str]]:
    if values.shape[1] == 1:
        yield 0, ""
    else:
        yield from ((column, str(study.head.first_year + column)) for column in range(values.shape[1]))
