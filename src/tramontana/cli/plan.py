"""`tramontana plan`: what the alternatives of a study cost, within what range, and where every figure comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path

import click
import numpy as np

from tramontana.cli.output import Column, Report, check_writable, write_whole
from tramontana.cli.plan_page import MILLION, PERCENTILES, number, range_in_words, results_of, service_in_words, study_page
from tramontana.cli.sky_options import Work, work_options
from tramontana.errors import LocalError
from tramontana.planning.design_search import Candidate, cheapest, front
from tramontana.planning.figure import Draws, Figure, Input, ancestry, drivers, evaluate
from tramontana.planning.measures import Demand, Service, measure, weighted
from tramontana.planning.study import Alternative, DesignTask, Study, StudyError, parse_study
from tramontana.planning.units import shown

NAMED_DRIVERS = 3

_study = click.argument("study", type=click.Path(path_type=Path, dir_okay=False))


@click.group()
def plan() -> None:
    """Compare the alternatives of a study: what each costs, within what range, and why."""


@plan.command()
@_study
@work_options
@click.option("--csv", "csv_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the table here as well.")
@click.option("--parquet", "parquet_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the table here as well.")
def run(study: Path, csv_path: Path | None, parquet_path: Path | None, work: Work) -> None:
    """Compute STUDY (TOML) and show its alternatives side by side."""
    for path in (csv_path, parquet_path):
        if path is not None:
            check_writable(path)
    read = _read(study)
    report = compared(read, _measured(read, work))
    click.echo(report.as_text(most_rows=1000))
    if csv_path is not None:
        write_whole(csv_path, report.as_csv().encode())
    if parquet_path is not None:
        write_whole(parquet_path, report.as_parquet())


@plan.command()
@_study
@work_options
@click.argument("page", type=click.Path(path_type=Path, dir_okay=False))
def report(study: Path, page: Path, work: Work) -> None:
    """Write the report of STUDY as one PAGE of HTML: it needs no network, and prints."""
    check_writable(page)
    read = _read(study)
    write_whole(page, study_page(read, _measured(read, work)).encode())
    click.echo(f"Wrote {page}: open it in a browser.")


@plan.command("design")
@_study
@work_options
def design_command(study: Path, work: Work) -> None:
    """Search the constellation that STUDY asks for under [design]: the fewest satellites that meet its target, and what they cost."""
    read = _read(study)
    task = read.design
    if task is None:
        raise LocalError(f"{study} asks for no design: give it [design] (docs/planning.md)")
    found = work.run("design", task.search, task.search.grid.orbits())
    click.echo(designed(read, task, [one for orbit in found for one in orbit]).as_text(most_rows=1000))


def designed(study: Study, task: DesignTask, candidates: Sequence[Candidate]) -> Report:
    """The front: satellites against availability, and the likely cost of each."""
    best, chosen, target = front(candidates), cheapest(candidates), task.search.target
    cost = task.alternative.costs.present_value
    likely = Draws.likely([cost])
    worth = [float(evaluate([cost], likely.with_input(task.satellites, one.shell.satellite_count))[cost].item()) / MILLION for one in best]
    shells = [one.shell for one in best]
    columns = (
        Column("satellites", np.array([shell.satellite_count for shell in shells], np.int64)),
        Column("planes", np.array([shell.planes for shell in shells], np.int64)),
        Column("altitude_km", np.array([shell.altitude_km for shell in shells])),
        Column("inclination_deg", np.array([shell.inclination_deg for shell in shells]), digits=1),
        Column("phasing", np.array([shell.phasing for shell in shells], np.int64)),
        Column("served_percent", np.array([one.served * 100 for one in best]), digits=2),
        Column("available_percent", np.array([one.available * 100 for one in best]), digits=2),
        Column("round_trip_median_ms", np.array([one.round_trip_s * 1e3 for one in best])),
        Column(f"present_value_M{study.head.currency}", np.array(worth)),
    )
    if chosen is None:
        answer = "no shell of the grid meets the target: widen the grid, or lower the target"
    else:
        shell = chosen.shell
        answer = (
            f"{shell.satellite_count} satellites in {shell.planes} planes at {shell.altitude_km:g} km and {shell.inclination_deg:g}° "
            f"(phasing {shell.phasing})"
        )
    screened = sum(one.is_screened for one in candidates)
    return Report(
        f"A constellation for {study.head.title}",
        (
            (
                "Target",
                f"available {target.available:.2%} of a year, round trip {target.round_trip_s * 1e3:g} ms or less, over the study's places",
            ),
            ("Landing", ", ".join(task.search.grid.landing_countries) or "any country with a gateway"),
            ("Service", service_in_words(study)),
            ("Cost", f"present value of {task.alternative.id} with all inputs likely and that many satellites"),
        ),
        columns,
        (
            ("Cheapest", answer),
            (
                "Looked at",
                f"{len(candidates)} shells, {screened} of them for a quarter of an hour only; the table holds those that no other beats",
            ),
        ),
    )


@plan.command()
@_study
@click.argument("alternative")
@click.argument("figure", required=False)
def explain(study: Path, alternative: str, figure: str | None) -> None:
    """Show how FIGURE of ALTERNATIVE in STUDY comes about: its formula, what it is made of, and the source of every input.

    Without FIGURE: the present value of the cost, on which alternatives are compared.
    """
    read = _read(study)
    found = {one.id: one for one in read.alternatives}
    if alternative not in found:
        raise LocalError(f"the study has no alternative {alternative}; it has {', '.join(found)}")
    chosen = found[alternative]
    target = chosen.costs.present_value if figure is None else _named(chosen, figure)
    click.echo("\n".join(explanation(target, Draws.random([target], read.head.draws, read.head.seed))))


def compared(study: Study, measured: Mapping[str, Service]) -> Report:
    """One row for each alternative. Money in millions, its three figures percentiles over the draws; measures are means over the demand."""
    alternatives = study.alternatives
    wanted = [
        figure for one in alternatives for figure in (one.costs.undiscounted, one.costs.present_value, one.per_user) if figure is not None
    ]
    values = evaluate(wanted, Draws.random(wanted, study.head.draws, study.head.seed))
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
        columns += _measure_columns(study, study.demand, measured)
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


def _measure_columns(study: Study, demand: Demand, measured: Mapping[str, Service]) -> Iterator[Column]:
    def column(name: str, of: Callable[[Service], float], digits: int) -> Column:
        return Column(name, np.array([of(measured[one.id]) if one.id in measured else np.nan for one in study.alternatives]), digits=digits)

    shares = demand.shares
    for name, year_of in (("serves_from", attrgetter("first")), ("complete_from", attrgetter("complete_from"))):
        years = [str(study.head.first_year + year_of(measured[one.id]) - 1) if one.id in measured else "–" for one in study.alternatives]
        yield Column(name, years, "text")
    yield column("served_percent", lambda found: weighted(found.complete.served, shares) * 100, 2)
    yield column("available_percent", lambda found: weighted(found.complete.available, shares) * 100, 2)
    yield column("available_over_all_years_percent", lambda found: weighted(found.available_over_years, shares) * 100, 2)
    yield column("round_trip_median_ms", lambda found: weighted(found.complete.round_trip_s, shares) * 1e3, 0)
    yield column("round_trip_p99_ms", lambda found: weighted(found.complete.slow_round_trip_s, shares) * 1e3, 0)


def _measured(study: Study, work: Work) -> dict[str, Service]:
    if study.demand is None:
        return {}
    return measure({one.id: one.skies for one in study.alternatives}, study.demand, study.head.years, partial(work.run, "service"))


def explanation(target: Figure, draws: Draws) -> Iterator[str]:
    """Lines: the figure and all named figures that it is made of, from the whole to the parts, then the inputs with their sources."""
    values = evaluate([target], draws)
    made = [figure for figure in ancestry([target]) if figure.name is not None]
    for figure in reversed(made):
        if not isinstance(figure, Input) and figure.operands:
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


def _named(chosen: Alternative, figure: str) -> Figure:
    known = {one.words: one for one in ancestry(results_of(chosen)) if one.name is not None}
    if figure not in known:
        raise LocalError(f"{chosen.id} has no figure {figure}; it has: {', '.join(sorted(known))}")
    return known[figure]


def _read(path: Path) -> Study:
    try:
        return parse_study(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LocalError(f"cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path} is not a text in UTF-8") from error
