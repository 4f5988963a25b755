"""`tramontana exercise`: play a disaster on the product's own cores in virtual time, without satellites and under several fleets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import click
import numpy as np

from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.exercise_watch import Watched
from tramontana.cli.output import Column, Report, write_whole
from tramontana.errors import LocalError
from tramontana.exercise import catalogue, satellites, timeline
from tramontana.exercise.report import page
from tramontana.exercise.results import Results, RunRow, results
from tramontana.exercise.satellites import Overhead
from tramontana.exercise.timeline import Played
from tramontana.exercise.world import World, WorldError, parse_world
from tramontana.space.elements import LARGEST_FILE_BYTES, parse_elements
from tramontana.space.life import direct_to_cell

FLEETS = ("starlink-direct-to-cell", "starlink-direct-to-cell-filed", "starlink-direct-to-cell-filed-2025")
"""Today's and the filed ones."""
_BOUNDS: tuple[Literal["low", "high"], ...] = ("low", "high")
SENSITIVE = ("battery_h", "second_path_share", "satellite_phone_share", "steps_outside", "sky_blocked", "beam_free", "texts_per_phone_h")
AFTER_WARNING_H = 3.0
SIMULATED = "all of it: sites are synthetic, phones and texts are drawn, satellites are propagated and their beams planned; nothing is sent"


@click.group()
def exercise() -> None:
    """Play a disaster: who is warned, who is heard, with and without satellites (docs/exercise.md). Simulated."""


@exercise.command("list")
def list_command() -> None:
    """List the exercises that come with the product."""
    for name in catalogue.names():
        world = catalogue.world(name)
        people = int(world.places.population.sum())
        click.echo(f"{name:<22}{world.head.title}: {len(world.places)} municipalities, {people:,} people, {world.head.hours:g} h")


@exercise.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> None:
    """Check an exercise FILE (TOML) without playing it."""
    world = _read(str(file))
    people = int(world.places.population.sum())
    click.echo(
        f"{file} can be played: {world.head.title}, {len(world.places)} places with {people:,} people, {len(world.blows)} blows, "
        f"{len(world.warnings)} warnings, {world.head.hours:g} h."
    )


@exercise.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a built-in exercise: the start of one's own."""
    click.echo(catalogue.text(name), nl=False)


@exercise.command()
@click.argument("exercise", metavar="NAME|FILE")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Write the report (HTML) and its tables (JSON, CSV) into this folder."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Of all chance; that of the exercise unless given.")
@click.option("--hours", type=click.FloatRange(min=0.1), help="Play only the first hours.")
@click.option(
    "--elements", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Today's fleet by its element sets (TLE or OMM)."
)
@click.option(
    "--fleet", "fleets", multiple=True, metavar="DESIGN", help="A design to play instead of today's and the filed ones; several times."
)
@click.option("--figure", "given", multiple=True, metavar="NAME=VALUE", help="A figure of the world set within its range; several times.")
@click.option("--watch", is_flag=True, help="Show it while it is played in the console of the server of this data directory.")
@data_option
@click.option("--quiet", is_flag=True, help="Show no progress.")
def run(
    exercise: str,
    out: Path | None,
    seed: int | None,
    hours: float | None,
    elements: Path | None,
    fleets: tuple[str, ...],
    given: tuple[str, ...],
    watch: bool,
    data: Path | None,
    quiet: bool,
) -> None:
    """Play NAME (see `list`) or FILE, show what came of it, and write the report."""
    world = _read(exercise)
    if given:
        world = replace(world, figures=world.figures.with_values(dict(map(_figure, given))))
    if hours is not None:
        world = world.first_hours(hours)
    if out is not None:
        _folder(out)
    watched = Watched(data_dir(data), Path(exercise).stem.lower()) if watch else None
    overheads = _overheads(world, elements, fleets)
    chosen = world.head.seed if seed is None else seed
    began = time.monotonic()
    clock = _Clock(world, len(overheads) + 1, quiet)
    played = timeline.play(world, overheads, chosen, clock.tell, watched)
    took_s = time.monotonic() - began
    clock.end()
    found = results(played)
    click.echo(compared(played, found).as_text(most_rows=100))
    times = world.seconds * len(played.runs) / took_s
    click.echo(f"\nPlayed {world.head.hours:g} h {len(played.runs)} times in {took_s:,.0f} s, {times:,.0f} times faster than life.")
    if out is not None:
        for path in written(played, found, out):
            click.echo(f"Wrote {path}")


@exercise.command()
@click.argument("exercise", metavar="NAME|FILE")
@click.option("--figure", "names", multiple=True, metavar="NAME", help="A figure to take at both ends of its range; several times.")
@click.option("--hours", type=click.FloatRange(min=0.1), help="Play only the first hours; unless given, three after the first warning.")
@click.option("--seeds", type=click.IntRange(1, 20), default=3, show_default=True, help="How many seeds with the exercise's own figures.")
def sensitivity(exercise: str, names: tuple[str, ...], hours: float | None, seeds: int) -> None:
    """Play NAME or FILE under today's fleet with other seeds, and with figures at the low and the high end of their ranges."""
    world = _read(exercise)
    world = world.first_hours(world.first_warning_h + AFTER_WARNING_H if hours is None else hours)
    cases = [(f"seed {world.head.seed + more}", world, world.head.seed + more) for more in range(seeds)]
    for name in names or SENSITIVE:
        for bound in _BOUNDS:
            figures = world.figures.at_bound(name, bound)
            value = dict(figures.table())[name].value
            cases.append((f"{name} {value:g}", replace(world, figures=figures), world.head.seed))
    rows: list[tuple[str, RunRow, int]] = []
    for name, case, seed in cases:
        found = results(timeline.play(case, (satellites.of_design(FLEETS[0], case),), seed))
        rows += [(name, run, max(found.ground.cut_off)) for run in found.runs]
        click.echo(f"\r\x1b[K{len(rows) // 2} of {len(cases)}", nl=False, err=True)
    click.echo("\r\x1b[K", nl=False, err=True)
    report = Report(
        f"What decides: {world.head.title}",
        (("Simulated", SIMULATED), ("Exercise", f"the first {world.head.hours:g} h")),
        (
            Column("with", [name for name, _, _ in rows], "text"),
            Column("satellites", [run.label for _, run, _ in rows], "text"),
            Column("phones_that_hear_no_site", np.array([most for _, _, most in rows], dtype=np.int64)),
            Column("warned_percent", np.array([100 * run.warnings[0].warned for _, run, _ in rows]), digits=2),
            Column("sos_heard_percent", np.array([100 * run.help.heard / max(1, run.help.asked) for _, run, _ in rows]), digits=1),
            Column("texts_of_cut_off_delivered_percent", np.array([delivered_percent(run) for _, run, _ in rows]), digits=1),
            Column("busiest_cell_percent", np.array([100 * run.load.fullest_minute for _, run, _ in rows])),
        ),
    )
    click.echo(report.as_text(most_rows=200))


def delivered_percent(row: RunRow) -> float:
    """Of texts of those cut off; NaN for none."""
    delivered, written = row.of_cut_off()
    return 100 * delivered / written if written else float("nan")


def written(played: Played, found: Results, folder: Path) -> tuple[Path, ...]:
    """The files of a report."""
    world = played.ground.world
    about = {
        "simulated": SIMULATED,
        "title": world.head.title,
        "start": world.head.start.isoformat(),
        "hours": world.head.hours,
        "seed": played.ground.seed,
        "figures": {name: asdict(figure) for name, figure in world.figures.table()},
        "sources": {name: source.model_dump() for name, source in world.sources.items()},
    }
    files = {
        "report.html": page(played, found, SIMULATED).encode(),
        "results.json": json.dumps({**about, **found.as_json()}, ensure_ascii=False, allow_nan=False, indent=1).encode(),
        "warned.csv": compared(played, found).as_csv().encode(),
        "texts.csv": texts_table(played, found).as_csv().encode(),
    }
    for name, data in files.items():
        write_whole(folder / name, data)
    return tuple(folder / name for name in files)


def compared(played: Played, found: Results) -> Report:
    """One row a fleet: the first warning, the texts of those cut off, people in need."""

    def column(name: str, of: Callable[[RunRow], float | None], digits: int = 0) -> Column:
        values = [of(row) for row in found.runs]
        return Column(name, np.array([np.nan if value is None else value for value in values], dtype=np.float64), digits=digits)

    def minutes(value: float | None) -> float | None:
        return None if value is None else value / 60

    head = played.ground.world.head
    return Report(
        head.title,
        (
            ("Simulated", SIMULATED),
            ("Exercise", f"{head.start:%Y-%m-%d %H:%M} UTC, {head.hours:g} h, seed {played.ground.seed}"),
            (
                "Ground",
                f"{found.ground.sites:,} synthetic sites, {found.ground.phones:,} phones, {max(found.ground.cut_off):,} at most hear none",
            ),
            ("Warning", f"{found.runs[0].warnings[0].name}: {found.runs[0].warnings[0].inside:,} phones inside; minutes from its approval"),
        ),
        (
            Column("satellites", [row.label for row in found.runs], "text"),
            column("warned_50_min", lambda row: minutes(row.warnings[0].after_s["50"]), 1),
            column("warned_90_min", lambda row: minutes(row.warnings[0].after_s["90"]), 1),
            column("warned_99_min", lambda row: minutes(row.warnings[0].after_s["99"]), 1),
            column("warned_percent", lambda row: 100 * row.warnings[0].warned, 2),
            column("sos_heard_percent", lambda row: 100 * row.help.heard / row.help.asked if row.help.asked else None, 1),
            column("sos_heard_p90_min", lambda row: minutes(row.help.heard_s["90"]), 1),
            column("texts_of_cut_off_delivered_percent", delivered_percent, 1),
            column("busiest_cell_percent", lambda row: 100 * row.load.fullest_minute, 0),
            column("full_at_times", lambda row: row.load.full_at_times, 1),
        ),
        (("Reading", "“–”: never within the exercise. “Cut off”: written where no site was heard."),),
    )


def texts_table(played: Played, found: Results) -> Report:
    """Every kind and precedence under every fleet."""
    rows = [(run, row) for run in found.runs for row in run.texts]

    def delay(share: str) -> Column:
        values = [row.after_s[share] for _, row in rows]
        return Column(f"within_p{share}_s", np.array([np.nan if value is None else value for value in values], dtype=np.float64), digits=0)

    def count(name: str) -> Column:
        return Column(name, np.array([getattr(row, name) for _, row in rows], dtype=np.int64))

    return Report(
        f"Texts: {played.ground.world.head.title}",
        (("Simulated", SIMULATED),),
        (
            Column("satellites", [run.label for run, _ in rows], "text"),
            Column("kind", [row.kind for _, row in rows], "text"),
            Column("precedence", [row.precedence for _, row in rows], "text"),
            Column("of", ["cut off" if row.cut_off else "all" for _, row in rows], "text"),
            *(count(name) for name in ("written", "delivered", "by_satellite", "expired", "refused", "waiting")),
            *(delay(share) for share in ("50", "90", "99")),
        ),
    )


@dataclass
class _Clock:
    """Progress on standard error: what, how far, how long still."""

    world: World
    runs: int
    quiet: bool
    _began: float = field(default_factory=time.monotonic)
    _shown: float = -1.0
    _labels: list[str] = field(default_factory=list)

    def tell(self, what: str, share: float) -> None:
        now = time.monotonic()
        if what not in self._labels:
            self._labels.append(what)
        if self.quiet or now - self._shown < 0.5:
            return
        self._shown = now
        whole = (self._labels.index(what) + share) / (self.runs + 1)
        left = (now - self._began) * (1 - whole) / whole if whole > 0.02 else None
        still = f", about {left:,.0f} s left" if left is not None else ""
        click.echo(f"\r\x1b[K{whole:4.0%}  {what}{still}", nl=False, err=True)

    def end(self) -> None:
        if not self.quiet:
            click.echo("\r\x1b[K", nl=False, err=True)


def _read(name: str) -> World:
    if name in catalogue.names():
        return catalogue.world(name)
    path = Path(name)
    if not path.suffix and not path.exists():
        catalogue.text(name)  # raises, and names those that there are

    def beside(other: str) -> str:
        own = path.parent / other
        if not own.exists() and other in catalogue.tables():  # `show` prints a built-in exercise without its table
            return catalogue.beside(other)
        return _text(own)

    try:
        return parse_world(_text(path), beside)
    except WorldError as error:
        raise WorldError(f"{path}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise LocalError(f"cannot read {path} ({error.strerror}): check its name and its permissions") from error
    except UnicodeDecodeError as error:
        raise LocalError(f"{path} is not a text in UTF-8") from error


def _overheads(world: World, elements: Path | None, fleets: tuple[str, ...]) -> tuple[Overhead, ...]:
    designs = list(fleets or FLEETS)
    made: list[Overhead] = []
    if elements is not None:
        try:
            data = elements.read_bytes()[: LARGEST_FILE_BYTES + 1]
        except OSError as error:
            raise LocalError(f"cannot read {elements} ({error.strerror}): check its name and its permissions") from error
        fleet = parse_elements(data, name=elements.name).fleet
        mine = np.flatnonzero(direct_to_cell(fleet))
        if not mine.size:
            raise LocalError(f"{elements.name} holds no satellite that serves telephones: leave --elements out, or choose a --fleet")
        label = f"{mine.size:,} direct-to-cell satellites of {elements.name}"
        made.append(satellites.of_elements(replace(fleet.take(mine), label=label), world))
        if not fleets:
            designs = designs[1:]  # today's, by its own elements
    return (*made, *(satellites.of_design(each, world) for each in designs))


def _figure(text: str) -> tuple[str, float]:
    name, equals, value = text.partition("=")
    try:
        if equals:
            return name, float(value)
    except ValueError:
        pass
    raise click.BadParameter(f"{text!r} is not NAME=VALUE, for example texts_per_phone_h=4", param_hint="--figure")


def _folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make {out} ({error.strerror}): choose another folder") from error
