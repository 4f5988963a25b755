"""`tramontana plan`: what the alternatives of a study cost, within what range, and where every figure comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path

import click
import numpy as np

from tramontana.cli.output import Column, Report, check_writable, write_whole
from tramontana.cli.plan_areas import areas, covered
from tramontana.cli.plan_contract import contract
from tramontana.cli.plan_design import design_command
from tramontana.cli.plan_draws import drawn
from tramontana.cli.plan_figures import compare, figures
from tramontana.cli.plan_losses import losses
from tramontana.cli.plan_page import MILLION, PERCENTILES, number, range_in_words, service_in_words, study_page
from tramontana.cli.plan_publish import publish
from tramontana.cli.plan_study import (
    Findings,
    Tables,
    all_results,
    alternative_of,
    measured,
    named_figures,
    read_study,
    results_of,
    study_argument,
    table_options,
    work_options,
)
from tramontana.cli.plan_warning import warning, warning_columns
from tramontana.cli.sky_options import Work
from tramontana.errors import LocalError
from tramontana.planning.busy_hour import CASES
from tramontana.planning.figure import Draws, Figure, Input, Simulated, Values, ancestry, drivers, evaluate
from tramontana.planning.measures import Demand, Floats, Measures, weighted
from tramontana.planning.results import Found, carried_shares
from tramontana.planning.study import Alternative, Study
from tramontana.planning.units import shown

NAMED_DRIVERS = 3


@click.group()
def plan() -> None:
    """Compare the alternatives of a study: what each costs and gives, within what range, and why."""


for command in (losses, areas, warning, figures, compare, contract, publish, design_command):
    plan.add_command(command)


@plan.command()
@study_argument
@work_options
@table_options
def run(study: Path, tables: Tables, work: Work) -> None:
    """Compute STUDY (TOML) and show its alternatives side by side."""
    read = read_study(study)
    findings = measured(read, work)
    tables.show(compared(read, findings, drawn(read, None, work).values))


@plan.command()
@study_argument
@work_options
@click.argument("page", type=click.Path(path_type=Path, dir_okay=False))
def report(study: Path, page: Path, work: Work) -> None:
    """Write the report of STUDY as one PAGE of HTML: it needs no network, and prints."""
    check_writable(page)
    read = read_study(study)
    findings, seas = measured(read, work), covered(read, work) if read.areas else None
    write_whole(page, study_page(read, findings, seas, drawn(read, findings, work)).encode())
    click.echo(f"Wrote {page}: open it in a browser.")


@plan.command()
@study_argument
@click.argument("alternative")
@click.argument("figure", required=False)
@work_options
def explain(study: Path, alternative: str, figure: str | None, work: Work) -> None:
    """Show how FIGURE of ALTERNATIVE in STUDY comes about: its formula, what it is made of, and the source of every input.

    Without FIGURE: the present value of the cost, on which alternatives are compared.
    """
    read = read_study(study)
    chosen = alternative_of(read, alternative)
    known = named_figures(results_of(chosen))
    if figure is not None and figure not in known:
        known = named_figures(all_results(read, chosen, measured(read, work)))  # costs are known without looking at the sky
    if figure is not None and figure not in known:
        raise LocalError(f"{chosen.id} has no figure {figure}; it has: {', '.join(sorted(known))}")
    target = chosen.costs.present_value if figure is None else known[figure]
    click.echo("\n".join(explanation(target, Draws.random([target], read.head.draws, read.head.seed))))


def compared(study: Study, findings: Findings, values: Mapping[Figure, Values]) -> Report:
    """One row for each alternative. Money in millions, its three figures percentiles over the draws; measures are means over the demand."""
    alternatives, found = study.alternatives, findings.service
    money = f"M{study.head.currency}"  # millions

    def percentiles(figures: list[Figure], name: str, scale: float, digits: int) -> Iterator[Column]:
        rows = np.array([np.percentile(values[figure], PERCENTILES) / scale for figure in figures])
        for column, percent in enumerate(PERCENTILES):
            yield Column(name.format(percent), rows[:, column], digits=digits)

    columns = [
        Column("alternative", [one.id for one in alternatives], "text"),
        *percentiles([one.costs.undiscounted for one in alternatives], f"cost_p{{}}_{money}", MILLION, 0),
        *percentiles([one.costs.present_value for one in alternatives], f"present_value_p{{}}_{money}", MILLION, 0),
    ]
    per_user = [one.per_user for one in alternatives if one.per_user is not None]
    if per_user:
        columns += percentiles(per_user, f"by_user_and_year_p{{}}_{study.head.currency}", 1.0, 0)
    if study.demand is not None:
        columns += _measure_columns(study, study.demand, found)
    columns += warning_columns(study, findings.warned)
    last = study.head.first_year + study.head.years - 1
    return Report(
        study.head.title,
        (
            ("Years", f"{study.head.first_year} to {last}, in {study.head.currency} of {study.head.price_year}"),
            (
                "Ranges",
                f"10th, 50th and 90th percentile of {study.head.draws:,} draws; every input between the bounds that the study gives it",
            ),
            ("Service", service_in_words(study)),
        ),
        tuple(columns),
        tuple((one.id, f"{one.title}. Driven by {_drivers(one)}.") for one in alternatives),
    )


def _measure_columns(study: Study, demand: Demand, found: Mapping[str, Found]) -> Iterator[Column]:
    def column(name: str, of: Callable[[Found], float], digits: int) -> Column:
        return Column(name, np.array([of(found[one.id]) if one.id in found else np.nan for one in study.alternatives]), digits=digits)

    shares = demand.shares
    for name, year_of in (("serves_from", attrgetter("whole.first")), ("complete_from", attrgetter("whole.complete_from"))):
        years = [str(study.head.first_year + year_of(found[one.id]) - 1) if one.id in found else "–" for one in study.alternatives]
        yield Column(name, years, "text")
    yield column("served_percent", lambda one: weighted(one.whole.complete.served, shares) * 100, 2)
    yield column("available_percent", lambda one: weighted(one.whole.complete.available, shares) * 100, 2)
    yield column("available_over_all_years_percent", lambda one: weighted(one.whole.available_over_years, shares) * 100, 2)
    yield column("round_trip_median_ms", lambda one: weighted(one.whole.complete.round_trip_s, shares) * 1e3, 0)
    yield column("round_trip_p99_ms", lambda one: weighted(one.whole.complete.slow_round_trip_s, shares) * 1e3, 0)
    if demand.home:
        home = f"landing_in_{demand.home}"
        yield column(f"{home}_percent", lambda one: weighted(one.whole.complete.at_home, shares) * 100, 0)
        for name, trip in (("median", attrgetter("round_trip_s")), ("p99", attrgetter("slow_round_trip_s"))):
            yield column(f"{home}_only_{name}_ms", partial(_home_trip, shares, trip), 0)
    if demand.busy_bps is not None:
        for case, word in enumerate(CASES):
            yield column(f"carried_{word}_percent", partial(_carried_percent, demand, case), 0)


def _carried_percent(demand: Demand, case: int, one: Found) -> float:
    return carried_shares(one.whole, demand.busy_bps)[case] * 100


def _home_trip(shares: Floats, trip: Callable[[Measures], Floats], one: Found) -> float:
    return np.nan if one.at_home is None else weighted(trip(one.at_home.complete), shares) * 1e3


def explanation(target: Figure, draws: Draws) -> Iterator[str]:
    """Lines: the figure and all named figures that it is made of, from the whole to the parts, then the inputs with their sources."""
    values = evaluate([target], draws)
    made = [figure for figure in ancestry([target]) if figure.name is not None]
    for figure in reversed(made):
        if isinstance(figure, Simulated) or (not isinstance(figure, Input) and figure.operands):
            yield f"{figure.words} = {figure.formula}"
            yield f"    {range_in_words(values[figure])}{_unit(figure)}"
    yield ""
    yield "Inputs"
    for figure in made:
        if isinstance(figure, Input):
            given = figure.estimate
            certain = given.low == given.high
            bounds = "" if certain else f", from {number(given.low)} to {number(given.high)}"
            yield f"{figure.words} = {number(given.likely)}{_unit(figure)}{bounds}"
            for source in given.sources:
                yield f"    {source.title}, {source.date}"
                yield f"    {source.url}"
            if given.note:
                yield f"    {given.note}"


def _unit(figure: Figure) -> str:
    words = shown(figure.unit)
    return "" if words == "1" else f" {words}"


def _drivers(one: Alternative) -> str:
    found = [driver for driver in drivers(one.costs.present_value) if driver.swing > 0][:NAMED_DRIVERS]
    if not found:
        return "nothing uncertain"
    return ", ".join(f"{driver.input.words} ({driver.swing / MILLION:,.0f} million)" for driver in found)
