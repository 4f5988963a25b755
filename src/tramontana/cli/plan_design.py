"""`tramontana plan design`: the constellation that a study asks for, what it costs, and when it is launched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from tramontana.cli.output import Column, Report, check_writable, write_whole
from tramontana.cli.plan_page import MILLION, PERCENTILES, service_in_words
from tramontana.cli.plan_study import Tables, read_study, study_argument, table_options, work_options
from tramontana.cli.sky_options import Work
from tramontana.errors import LocalError
from tramontana.planning.design_cost import check_that_more_cost_more, drawn_costs, likely_costs, parts_of_cost, schedule
from tramontana.planning.design_search import AddSecond, Candidate, CoverShells, Target, cheapest, front
from tramontana.planning.study import DesignTask, Study
from tramontana.planning.study_file import MOST_YEARS
from tramontana.space.shells import Shell


@click.command("design")
@study_argument
@work_options
@table_options
@click.option(
    "--schedule",
    "schedule_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.csv",
    help="Write the launches and replacements here.",
)
def design_command(study: Path, schedule_path: Path | None, tables: Tables, work: Work) -> None:
    """Search the constellation that STUDY asks for under [design]: the cheapest that meets its target, and when it is launched."""
    if schedule_path is not None:
        check_writable(schedule_path)
    read = read_study(study)
    task = read.design
    if task is None:
        raise LocalError(f"{study} asks for no design: give it [design] (docs/planning.md)")
    check_that_more_cost_more(task)
    found = [one for orbit in work.run("design", task.search, task.search.grid.orbits()) for one in orbit]
    candidates = [*found, *_with_second(task, found, work)]
    tables.show(designed(read, task, candidates))
    chosen = cheapest(candidates)
    if chosen is None:
        if schedule_path is not None:
            raise LocalError(f"nothing meets the target, so nothing is launched: {schedule_path} was not written")
        return
    launched = scheduled(read, task, chosen)
    click.echo("\n" + launched.as_text(most_rows=MOST_YEARS))
    if schedule_path is not None:
        write_whole(schedule_path, launched.as_csv().encode())


def _with_second(task: DesignTask, alone: Sequence[Candidate], work: Work) -> list[Candidate]:
    if task.second is None:
        return []
    firsts, seconds = (work.run("shells", CoverShells(grid, task.search), grid.orbits()) for grid in (task.search.grid, task.second))
    add = AddSecond(task.search, tuple(cover for orbit in seconds for cover in orbit), tuple(alone))
    return [one for orbit in work.run("two shells", add, firsts) for one in orbit]


def designed(study: Study, task: DesignTask, candidates: Sequence[Candidate]) -> Report:
    """The front: satellites against availability, and what each costs; the cheapest that meets the target is among them."""
    chosen, target = cheapest(candidates), task.search.target
    best = front(candidates)
    if chosen is not None and chosen not in best:  # one that is as available with fewer satellites fails the rest of the target
        best = sorted([*best, chosen], key=lambda one: one.satellites)
    money = f"M{study.head.currency}"
    counts = [one.satellites for one in best]
    ranges = np.array([np.percentile(drawn_costs(study, task, count), PERCENTILES) for count in counts]).reshape(-1, len(PERCENTILES))
    columns = (
        Column("satellites", np.array([one.satellites for one in best], np.int64)),
        Column("shells", [" and ".join(_shell_in_words(shell) for shell in one.shells) for one in best], "text"),
        Column("served_percent", np.array([one.served * 100 for one in best]), digits=2),
        Column("available_percent", np.array([one.available * 100 for one in best]), digits=2),
        Column("round_trip_median_ms", np.array([one.round_trip_s * 1e3 for one in best])),
        *(
            [Column("carried_percent", np.array([math.nan if one.carried is None else one.carried * 100 for one in best]), digits=1)]
            if target.carried is not None
            else []
        ),
        Column(f"present_value_likely_{money}", likely_costs(task, counts) / MILLION),
        *(Column(f"present_value_p{percent}_{money}", ranges[:, one] / MILLION) for one, percent in enumerate(PERCENTILES)),
    )
    if chosen is None:
        answer = "no shell of the grid meets the target: widen the grid, or lower the target"
    else:
        shells = " and ".join(_shell_in_words(shell) for shell in chosen.shells)
        worth = float(likely_costs(task, [chosen.satellites])[0]) / MILLION
        answer = f"{worth:,.0f} {money}, {chosen.satellites} satellites: {shells}"
    screened, pairs = sum(one.is_screened for one in candidates), sum(len(one.shells) > 1 for one in candidates)
    looked = f"{len(candidates) - pairs} shells, {screened} of them for a quarter of an hour only"
    if task.second is not None:
        looked += f"; {pairs} pairs, those of all that could beat what is known for as many satellites"
    return Report(
        f"A constellation for {study.head.title}",
        (
            ("Target", _target_in_words(target, task.seas)),
            ("Landing", ", ".join(task.search.grid.landing_countries) or "any country with a gateway"),
            ("Simulated", service_in_words(replace(study, demand=task.search.demand))),
            (
                "Ranges",
                f"present value of {task.alternative.id} with that many satellites: all other inputs likely, and the 10th, 50th and 90th "
                f"percentile of {study.head.draws:,} draws of them",
            ),
        ),
        columns,
        (
            ("Cheapest", answer),
            *([] if chosen is None else [("Made up of", _parts_in_words(task, chosen.satellites, money))]),
            ("Looked at", f"{looked}; the table holds those that no other beats in satellites and availability, and the cheapest"),
            *([("A second shell", _second_in_words(candidates))] if task.second is not None else []),
        ),
    )


def scheduled(study: Study, task: DesignTask, chosen: Candidate) -> Report:
    """One row a year: what is launched to build the cheapest constellation, and what for those that have reached their lifetime."""
    of = schedule(study, task, chosen.satellites)
    last = study.head.first_year + study.head.years - 1
    beyond = f"; years after {last} are no part of the study's costs" if of.years[-1] > last else ""
    return Report(
        f"Launches and replacements of {chosen.satellites} satellites",
        (
            ("Years", f"{of.years[0]} to {of.years[-1]}, in {study.head.currency} of {study.head.price_year}{beyond}"),
            (
                "Satellites",
                "all inputs likely; with the spares; launched evenly over the years of building, so that parts of one are means; "
                "launches are whole in every year",
            ),
        ),
        (
            Column("year", [str(year) for year in of.years], "text"),
            Column("first_satellites", of.first, digits=1),
            Column("replacements", of.replacements, digits=1),
            Column("launches", of.launches),
            Column("in_orbit", of.in_orbit, digits=1),
            Column(f"paid_M{study.head.currency}", of.paid / MILLION, digits=1),
        ),
        (
            (
                "Together",
                f"{of.first.sum() + of.replacements.sum():,.0f} satellites, {of.launches.sum():,} launches; paid is what satellites and "
                "launches cost, and development and operation where the constellation names them",
            ),
        ),
    )


def _parts_in_words(task: DesignTask, satellites: int, money: str) -> str:
    parts, left = parts_of_cost(task, satellites)
    own = f"{task.alternative.id}: "
    words = ", ".join(f"{name.removeprefix(own)} {paid / MILLION:,.0f}" for name, paid in parts)
    return f"{words}; left in the end {left / MILLION:,.0f} ({money}, not discounted)"


def _target_in_words(target: Target, seas: Sequence[str]) -> str:
    words = f"available {target.available:.2%} of a year, round trip {target.round_trip_s * 1e3:g} ms or less, over the study's places"
    if seas:
        words += f" and {', '.join(seas)} (each a place of share 1)"
    if target.carried is not None:
        words += f"; {target.carried:.0%} of the demand at the busy hour carried, likely case: looked at only where the rest is met"
    return words


def _shell_in_words(shell: Shell) -> str:
    return f"{shell.planes} × {shell.satellites_per_plane} at {shell.altitude_km:g} km, {shell.inclination_deg:g}°, phasing {shell.phasing}"


def _second_in_words(candidates: Sequence[Candidate]) -> str:
    """Whether it pays, in satellites."""
    alone, pair = (cheapest([one for one in candidates if (len(one.shells) > 1) == two]) for two in (False, True))
    if pair is None:
        return "does not pay: no two shells of the grids meet the target with fewer satellites than one"
    if alone is None:
        return "is needed: no shell of the grid meets the target alone"
    return f"saves {alone.satellites - pair.satellites} of {alone.satellites} satellites"
