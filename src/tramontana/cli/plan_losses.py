"""`tramontana plan losses`: on whom each alternative depends, and what is left of it when one of them is lost."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import numpy as np

from tramontana.cli.output import Column, Report
from tramontana.cli.plan_study import Tables, read_study, study_argument, table_options, work_options
from tramontana.cli.sky_options import Work
from tramontana.errors import LocalError
from tramontana.planning.busy_hour import CASES
from tramontana.planning.losses import Dependence
from tramontana.planning.measures import Service, weighted
from tramontana.planning.results import Found, carried_shares, measure_all
from tramontana.planning.study import Study

_LIKELY = CASES.index("likely")


@click.command()
@study_argument
@work_options
@table_options
def losses(study: Path, tables: Tables, work: Work) -> None:
    """Show what each alternative of STUDY still gives after each of its losses, and on whom it depends."""
    read = read_study(study)
    if not read.losses:
        raise LocalError(f"{study} names no losses: give it [[losses]] (docs/planning.md)")
    tables.show(lost(read, measure_all(read, partial(work.run, "service"))))


def lost(study: Study, found: dict[str, Found]) -> Report:
    """One row for each alternative and loss; the first of each alternative is what it gives whole."""
    rows = [
        (name, title, service)
        for name, one in found.items()
        for title, service in (("–", one.whole), *((loss.title, one.after[loss.id]) for loss in study.losses))
    ]
    figures = np.array([_figures(study, service) for _, _, service in rows]).reshape(-1, 4)
    columns = [
        Column("alternative", [name for name, _, _ in rows], "text"),
        Column("lost", [title for _, title, _ in rows], "text"),
        Column("available_percent", figures[:, 0] * 100, digits=2),
        Column("available_over_all_years_percent", figures[:, 1] * 100, digits=2),
        Column("round_trip_median_ms", figures[:, 2] * 1e3, digits=0),
        Column("demand_carried_percent", figures[:, 3] * 100, digits=0),
    ]
    if any(one.with_lasers is not None for one in found.values()):
        lit = np.array([row for one in found.values() for row in _with_lasers(study, one)])
        columns += [
            Column("with_lasers_available_percent", lit[:, 0] * 100, digits=2),
            Column("with_lasers_available_over_all_years_percent", lit[:, 1] * 100, digits=2),
            Column("with_lasers_round_trip_median_ms", lit[:, 2] * 1e3, digits=0),
        ]
    return Report(
        f"What is lost: {study.head.title}",
        (
            ("Simulated", "the same simulation with that part taken away; means over the study's places; the busy hour in its likely case"),
            ("Lasers", "where a source says that satellites have them: a slot without a direct link goes over several satellites"),
            ("Launches", "with nothing launched, satellites in service die by their lifetime, and what is not in service yet comes later"),
        ),
        tuple(columns),
        tuple((title, dependence_in_words(one)) for title, one in dependences(study).items()),
    )


def dependences(study: Study) -> dict[str, Dependence]:
    """Of every part of the alternatives, by its title."""
    return {title: one for alternative in study.alternatives for title, one in alternative.dependences}


def dependence_in_words(one: Dependence) -> str:
    """`operator SpaceX (US), factory …`."""
    return ", ".join(f"{role} {party.name} ({' '.join(party.countries)})" for role, party in one.roles())


def _with_lasers(study: Study, one: Found) -> list[tuple[float, ...]]:
    """A row for what is whole and one for each loss; not known where it has none."""
    if one.with_lasers is None:
        return [(np.nan,) * 3] * (1 + len(study.losses))
    return [_figures(study, service)[:3] for service in (one.with_lasers, *(one.after_with_lasers[loss.id] for loss in study.losses))]


def _figures(study: Study, service: Service | None) -> tuple[float, float, float, float]:
    assert study.demand is not None
    if service is None:
        return 0.0, 0.0, np.nan, 0.0 if study.demand.busy_bps is not None else np.nan
    shares, complete = study.demand.shares, service.complete
    return (
        weighted(complete.available, shares),
        weighted(service.available_over_years, shares),
        weighted(complete.round_trip_s, shares),
        carried_shares(service, study.demand.busy_bps)[_LIKELY],
    )
