"""What the commands of `tramontana plan` share: a study read, its skies measured, and its figures by name."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from tramontana.cli.kept_work import KeptAnswers
from tramontana.cli.output import Report, check_writable, write_whole
from tramontana.cli.sky_options import Command, Work
from tramontana.cli.sky_options import work_options as shared_work_options
from tramontana.errors import LocalError
from tramontana.planning.figure import Figure, ancestry
from tramontana.planning.laser_landing import LaserLanding, land_by_laser, laser_figures
from tramontana.planning.results import Found, measure_all, measured_figures
from tramontana.planning.study import Alternative, Study, named_files, parse_study
from tramontana.planning.warning_time import Warned, warn_all, warned_figures

_MOST_ROWS = 10_000

study_argument = click.argument("study", type=click.Path(path_type=Path, dir_okay=False))


@dataclass(frozen=True, slots=True)
class Tables:
    """Where a table goes beside the screen."""

    csv: Path | None
    parquet: Path | None

    def show(self, report: Report) -> None:
        click.echo(report.as_text(most_rows=_MOST_ROWS))
        if self.csv is not None:
            write_whole(self.csv, report.as_csv().encode())
        if self.parquet is not None:
            write_whole(self.parquet, report.as_parquet())


def table_options(command: Command) -> Command:
    """Adds the options of `Tables` and passes it as `tables`; a file that could not be written is refused before any work."""

    @click.option("--csv", "csv_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the table here as well.")
    @click.option("--parquet", "parquet_path", type=click.Path(path_type=Path, dir_okay=False), help="Write the table here as well.")
    @functools.wraps(command)
    def run(*arguments: Any, csv_path: Path | None, parquet_path: Path | None, **others: Any) -> None:
        for path in (csv_path, parquet_path):
            if path is not None:
                check_writable(path)
        command(*arguments, tables=Tables(csv_path, parquet_path), **others)

    return run


def work_options(command: Command) -> Command:
    """Adds the options of `Work`, and where its answers are kept, and passes it as `work`."""

    @shared_work_options
    @click.option(
        "--resume",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Keep every piece of the work here as it is done: the same command goes on from there after it was stopped.",
    )
    @functools.wraps(command)
    def run(*arguments: Any, work: Work, resume: Path | None, **others: Any) -> None:
        command(*arguments, work=work if resume is None else replace(work, kept=KeptAnswers(resume)), **others)

    return run


def read_study(path: Path) -> Study:
    """Raises `StudyError`, and `LocalError` for a file that cannot be read."""
    text = text_of(path)
    return parse_study(text, {name: text_of(path.parent / name) for name in named_files(text)})


def text_of(path: Path) -> str:
    """Raises `LocalError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LocalError(f"cannot read {path} ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LocalError(f"{path} is not UTF-8 text: save it as UTF-8") from error


@dataclass(frozen=True, slots=True)
class Findings:
    """What was simulated, by alternative; those without a sky, or that reach no phone, are left out."""

    service: dict[str, Found]
    by_laser: dict[str, LaserLanding]
    warned: dict[str, Warned]


def measured(study: Study, work: Work) -> Findings:
    """All that is simulated of a study's alternatives."""
    lasers = {one.id: one.lasers for one in study.alternatives}
    by_laser = land_by_laser(lasers, study.demand, partial(work.run, "lasers"))
    return Findings(measure_all(study, partial(work.run, "service")), by_laser, warned(study, work))


def warned(study: Study, work: Work) -> dict[str, Warned]:
    """How long a warning takes, by alternative."""
    phones = {one.id: one.phones for one in study.alternatives}
    return warn_all(phones, study.losses, study.warned, study.head.years, partial(work.run, "warnings"))


def results_of(one: Alternative) -> list[Figure]:
    """What alternatives are compared by: present value, what is paid, and by user where the study counts users."""
    return [one.costs.present_value, one.costs.undiscounted, *([one.per_user] if one.per_user is not None else [])]


def all_results(study: Study, one: Alternative, found: Findings) -> list[Figure]:
    """Those, and what was measured of it."""
    service = measured_figures(study, one, found.service[one.id]) if one.id in found.service else []
    reached = warned_figures(study.warned, study.losses, found.warned[one.id]) if one.id in found.warned else []
    lasers = laser_figures(study.demand, found.by_laser[one.id]) if study.demand is not None and one.id in found.by_laser else []
    return [*results_of(one), *service, *lasers, *reached]


def named_figures(figures: list[Figure]) -> dict[str, Figure]:
    """All that have a name, from the whole to the parts."""
    return {one.words: one for one in reversed(list(ancestry(figures))) if one.name is not None}


def alternative_of(study: Study, name: str) -> Alternative:
    """Raises `LocalError` that lists those of the study."""
    for one in study.alternatives:
        if one.id == name:
            return one
    raise LocalError(f"the study has no alternative {name}; it has {', '.join(one.id for one in study.alternatives)}")
