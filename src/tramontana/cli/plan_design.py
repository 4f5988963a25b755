"""`tramontana plan design`: the constellation that a study asks for, what it costs, and when it is launched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np

from tramontana.cli.output import Column, Report
from tramontana.cli.plan_page import MILLION, service_in_words
from tramontana.cli.plan_study import read_study, study_argument, work_options
from tramontana.cli.sky_options import Work
from tramontana.errors import LocalError
from tramontana.planning.design_search import AddSecond, Candidate, CoverShells, Target, cheapest, front
from tramontana.planning.figure import Draws, evaluate
from tramontana.planning.study import DesignTask, Study
from tramontana.space.shells import Shell


@click.command("design")
@study_argument
@work_options
def design_command(study: Path, work: Work) -> None:
    """Search the constellation that STUDY asks for under [design]: the fewest satellites that meet its target, and what they cost."""
    read = read_study(study)
    task = read.design
    if task is None:
        raise LocalError(f"{study} asks for no design: give it [design] (docs/planning.md)")
    found = [one for orbit in work.run("design", task.search, task.search.grid.orbits()) for one in orbit]
    click.echo(designed(read, task, [*found, *_with_second(task, found, work)]).as_text(most_rows=1000))


def _with_second(task: DesignTask, alone: Sequence[Candidate], work: Work) -> list[Candidate]:
    if task.second is None:
        return []
    firsts, seconds = (work.run("shells", CoverShells(grid, task.search), grid.orbits()) for grid in (task.search.grid, task.second))
    add = AddSecond(task.search, tuple(cover for orbit in seconds for cover in orbit), tuple(alone))
    return [one for orbit in work.run("two shells", add, firsts) for one in orbit]


def designed(study: Study, task: DesignTask, candidates: Sequence[Candidate]) -> Report:
    """The front: satellites against availability, and the likely cost of each."""
    chosen, target = cheapest(candidates), task.search.target
    best = front(candidates)
    if chosen is not None and chosen not in best:  # one that is as available with fewer satellites fails the rest of the target
        best = sorted([*best, chosen], key=lambda one: one.satellites)
    cost = task.alternative.costs.present_value
    likely = Draws.likely([cost])
    worth = [float(evaluate([cost], likely.with_input(task.satellites, one.satellites))[cost].item()) / MILLION for one in best]
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
        Column(f"present_value_M{study.head.currency}", np.array(worth)),
    )
    if chosen is None:
        answer = "no shell of the grid meets the target: widen the grid, or lower the target"
    else:
        answer = f"{chosen.satellites} satellites: {' and '.join(_shell_in_words(shell) for shell in chosen.shells)}"
    screened, pairs = sum(one.is_screened for one in candidates), sum(len(one.shells) > 1 for one in candidates)
    looked = f"{len(candidates) - pairs} shells, {screened} of them for a quarter of an hour only"
    if task.second is not None:
        looked += f"; {pairs} pairs, those of all that could beat what is known for as many satellites"
    return Report(
        f"A constellation for {study.head.title}",
        (
            ("Target", _target_in_words(target, task.seas)),
            ("Landing", ", ".join(task.search.grid.landing_countries) or "any country with a gateway"),
            ("Service", service_in_words(replace(study, demand=task.search.demand))),
            ("Cost", f"present value of {task.alternative.id} with all inputs likely and that many satellites"),
        ),
        columns,
        (
            ("Cheapest", answer),
            ("Looked at", f"{looked}; the table holds those that no other beats in satellites and availability, and the cheapest"),
            *([("A second shell", _second_in_words(candidates))] if task.second is not None else []),
        ),
    )


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
