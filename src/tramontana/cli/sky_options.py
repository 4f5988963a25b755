"""Options that the studies of `tramontana sky` share: where, when, which sky, how to work, where the results go."""

from __future__ import annotations

import functools
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import click
import numpy as np

from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.kept_work import KeptAnswers
from tramontana.cli.output import check_writable
from tramontana.errors import LocalError
from tramontana.space.ageing import element_age
from tramontana.space.design_file import read_design
from tramontana.space.designs import DESIGNS, design
from tramontana.space.elements import LARGEST_FILE_BYTES, parse_elements
from tramontana.space.fleet import Fleet, utc_text
from tramontana.space.fleet_file import load_fleet
from tramontana.space.ground import Ground
from tramontana.space.life import Phase, direct_to_cell, phases_of_life
from tramontana.space.studies.area import cells_of, parse_polygons
from tramontana.space.studies.countries import country_polygons
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites, parse_instant, parse_place_list, parse_track
from tramontana.space.sweep import map_chunks

LARGEST_TEXT_BYTES = 64 << 20
Piece = TypeVar("Piece")
Answer = TypeVar("Answer")
Command = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Where:
    """The sites that were asked for, and how to call them together."""

    places: tuple[str, ...]
    place_list: Path | None
    polygon: Path | None
    track: Path | None
    country: str | None
    resolution: int | None

    def sites(self, ground: Ground, *, resolution: int) -> tuple[Sites, str]:
        """The sites and a name for them all; `resolution` of the cells of an area unless one was asked for.

        Without any option the place is Rome. Raises `LocalError` for two kinds of place at once, and for files that cannot be used.
        """
        given = [self.places, self.place_list, self.polygon, self.track, self.country]
        if sum(bool(one) for one in given) > 1:
            raise LocalError("give one of --place, --place-list, --polygon, --track, --country and --italy, not several")
        if self.resolution is not None and not (self.polygon or self.country):
            raise LocalError("--resolution divides an area: it needs --polygon, --country or --italy")
        fineness = resolution if self.resolution is None else self.resolution
        if self.place_list:
            sites = parse_place_list(_text(self.place_list), name=self.place_list.name)
            return sites, f"{len(sites):,} places of {self.place_list.name}"
        if self.track:
            return parse_track(_text(self.track), name=self.track.name), f"along {self.track.name}"
        if self.polygon or self.country:
            shapes = parse_polygons(_text(self.polygon), name=self.polygon.name) if self.polygon else country_polygons(self.country or "")
            cells = cells_of(shapes, fineness)
            name = self.polygon.name if self.polygon else str(self.country).upper()
            return cells, f"{name}, {len(cells):,} cells (H3 resolution {fineness})"
        chosen = [ground.place(place) for place in dict.fromkeys(self.places or ("rome",))]
        return Sites.of_places(chosen), ", ".join(place.name for place in chosen)


@dataclass(frozen=True, slots=True)
class When:
    """The time that was asked for."""

    start: float | None
    duration_s: float | None
    step_s: float | None

    def instants(self, sites: Sites, *, duration_s: float, step_s: float) -> Instants:
        """From now on unless told, for the defaults of the command; a track is studied from its start to its end unless told."""
        start, duration = self.start, self.duration_s
        if sites.tracks:
            first, last = float(sites.tracks[0].unix_s[0]), float(sites.tracks[0].unix_s[-1])
            start = first if start is None else start
            duration = last - start if duration is None else duration
            if not (first <= start and start + duration <= last + 1e-6):
                raise LocalError(f"the track runs from {utc_text(first)} to {utc_text(last)}: ask for a time within it")
        start = time.time() if start is None else start
        return Instants.over(start, duration_s if duration is None else duration, step_s if self.step_s is None else self.step_s)


@dataclass(frozen=True, slots=True)
class WhichSky:
    """The constellation that was asked for."""

    elements: Path | None
    design: str | None
    satellites: str | None
    seed: int
    data: Path | None

    def fleet(self, *, satellites: str = "all") -> tuple[Fleet, str]:
        """The one of `--elements` or `--design`, else the one in use; and which of its satellites are taken, in words.

        satellites: which, unless `--satellites` was given. Rejected element sets are counted on standard error. A design is laid out at its
        own fixed epoch: the same question has the same answer.
        """
        whole, wanted = self._whole(), self.satellites or satellites
        if wanted == "all":
            return whole, f"all {len(whole):,}"
        phones = direct_to_cell(whole)
        taken = phones if wanted == "telephone" else (phases_of_life(whole) == Phase.OPERATIONAL) & ~phones
        if not taken.any():
            raise LocalError(f"none of the {len(whole):,} satellites is of the kind {wanted!r}: use --satellites all")
        if taken.all():
            return whole, f"all {len(whole):,}"
        return whole.take(np.flatnonzero(taken)), f"{np.count_nonzero(taken):,} of {len(whole):,}: {_KINDS[wanted]}"

    def _whole(self) -> Fleet:
        if self.design is not None:
            if self.elements is not None:
                raise LocalError("give --elements or --design, not both")
            chosen = read_design(Path(self.design)) if self.design.endswith(".toml") else design(self.design)
            return chosen.fleet()
        if self.elements is None:
            return load_fleet(data_dir(self.data))
        loaded = parse_elements(_bytes(self.elements, LARGEST_FILE_BYTES), name=self.elements.name)
        if loaded.rejections:
            click.echo(f"warning: {len(loaded.rejections):,} element sets of {self.elements.name} were rejected", err=True)
        return loaded.fleet


@dataclass(frozen=True, slots=True)
class Work:
    """How the work is done."""

    workers: int
    dask: str | None
    progress: bool
    kept: KeptAnswers | None = None
    """Where answers are kept as they come, and taken from; None: nowhere."""

    def run(self, what: str, work: Callable[[Piece], Answer], pieces: Sequence[Piece]) -> list[Answer]:
        """Every piece, with progress on standard error when that is a terminal or --progress was given."""
        known: dict[int, Answer] = {}
        paths: list[Path] = []
        kept = self.kept
        if kept is not None:
            paths = [kept.path(work, piece) for piece in pieces]
            for number, path in enumerate(paths):
                is_there, answer = kept.read(path)
                if is_there:
                    known[number] = answer
        left = [number for number in range(len(pieces)) if number not in known]
        progress = _Progress(what, len(known), shown=self.progress or sys.stderr.isatty())

        def answered(index: int, answer: Answer) -> None:
            known[left[index]] = answer
            if kept is not None:
                kept.keep(paths[left[index]], answer)

        try:
            if left:  # a cluster is not troubled for nothing
                map_chunks(
                    _Quiet(work),
                    [pieces[number] for number in left],
                    workers=self.workers,
                    dask_address=self.dask,
                    progress=progress.show,
                    answered=answered,
                )
        finally:
            progress.end()
        return [known[number] for number in range(len(pieces))]


@dataclass(frozen=True, slots=True)
class Files:
    """Where the results go beside the screen."""

    csv: Path | None
    parquet: Path | None
    geojson: Path | None
    png: Path | None
    html: Path | None
    rows: int

    def check(self) -> None:
        """Raise `LocalError` for a file that could not be written at the end."""
        for path in (self.csv, self.parquet, self.geojson, self.png, self.html):
            if path is not None:
                check_writable(path)


def where_options(command: Command) -> Command:
    """Adds the options of `Where` and passes it as `where`."""

    @click.option("--place", "places", multiple=True, metavar="ID", help="A place by id; may be repeated. `sky places` lists them.")
    @click.option("--place-list", type=_file, metavar="FILE.csv", help="Columns id, name, lat, lon; also height (m), population, country.")
    @click.option("--polygon", type=_file, metavar="FILE.geojson", help="An area: Polygon or MultiPolygon, cut into H3 cells.")
    @click.option("--track", type=_file, metavar="FILE.csv", help="A ship or aircraft: columns time, lat, lon; also height (m).")
    @click.option("--country", metavar="CODE", help="A whole country by ISO 3166-1, for example IT, cut into H3 cells.")
    @click.option("--italy", is_flag=True, help="The same as --country IT.")
    @click.option("--resolution", type=click.IntRange(0, 9), help="Of the H3 cells of an area: 4 is about 1,770 km² a cell, 5 about 250.")
    @functools.wraps(command)
    def run(
        *arguments: Any,
        places: tuple[str, ...],
        place_list: Path | None,
        polygon: Path | None,
        track: Path | None,
        country: str | None,
        italy: bool,
        resolution: int | None,
        **others: Any,
    ) -> None:
        if country and italy:
            raise LocalError("give --country or --italy, not both")
        where = Where(places, place_list, polygon, track, "IT" if italy else country, resolution)
        command(*arguments, where=where, **others)

    return run


def when_options(command: Command) -> Command:
    """Adds the options of `When` and passes it as `when`."""

    @click.option("--from", "start", metavar="ISO", help="When to begin, for example 2026-05-21T12:00Z; else now (a track: its start).")
    @click.option("--hours", type=_positive, help="How long.")
    @click.option("--days", type=_positive, help="How long.")
    @click.option("--day", is_flag=True, help="The same as --hours 24.")
    @click.option("--step", "step_s", type=_positive, metavar="SECONDS", help="Between two instants, where the study looks at instants.")
    @functools.wraps(command)
    def run(
        *arguments: Any, start: str | None, hours: float | None, days: float | None, day: bool, step_s: float | None, **others: Any
    ) -> None:
        if sum((hours is not None, days is not None, day)) > 1:
            raise LocalError("give one of --hours, --days and --day, not several")
        try:
            begin = None if start is None else parse_instant(start)
        except ValueError as error:
            raise LocalError(f"--from {start!r} is not like 2026-05-21T12:00Z") from error
        duration = 24.0 if day else days * 24 if days is not None else hours
        command(*arguments, when=When(begin, None if duration is None else duration * 3600, step_s), **others)

    return run


def which_options(command: Command) -> Command:
    """Adds the options of `WhichSky` and passes it as `which`."""

    @click.option("--elements", type=_file, metavar="FILE", help="Element sets to use this once: TLE or OMM, plain or in gzip.")
    @click.option("--design", metavar="ID|FILE.toml", help=f"A constellation on paper: {', '.join(DESIGNS)}, or a file of your own.")
    @click.option("--satellites", type=click.Choice([*_KINDS, "all"]), help="Which of them (docs/space.md says how they are told apart).")
    @click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice: the same seed gives the same answer.")
    @data_option
    @functools.wraps(command)
    def run(
        *arguments: Any, elements: Path | None, design: str | None, satellites: str | None, seed: int, data: Path | None, **others: Any
    ) -> None:
        command(*arguments, which=WhichSky(elements, design, satellites, seed, data), **others)

    return run


def work_options(command: Command) -> Command:
    """Adds the options of `Work` and passes it as `work`."""

    @click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes on this machine.")
    @click.option("--dask", metavar="ADDRESS", help="A Dask scheduler to work on instead, for example tcp://host:8786.")
    @click.option("--progress", is_flag=True, help="Show progress even if standard error is not a terminal.")
    @functools.wraps(command)
    def run(*arguments: Any, workers: int, dask: str | None, progress: bool, **others: Any) -> None:
        command(*arguments, work=Work(workers, dask, progress), **others)

    return run


def file_options(command: Command) -> Command:
    """Adds the options of `Files` and passes it as `files`."""

    @click.option("--csv", type=_result, metavar="FILE", help="Write all rows as CSV.")
    @click.option("--parquet", type=_result, metavar="FILE", help="Write all rows as Parquet.")
    @click.option("--geojson", type=_result, metavar="FILE", help="Write all rows as GeoJSON.")
    @click.option("--png", type=_result, metavar="FILE", help="Draw a map or chart.")
    @click.option("--html", type=_result, metavar="FILE", help="Write a page with map or chart and table that needs no network.")
    @click.option("--rows", type=click.IntRange(1), default=40, show_default=True, help="The most rows to show on screen.")
    @functools.wraps(command)
    def run(
        *arguments: Any,
        csv: Path | None,
        parquet: Path | None,
        geojson: Path | None,
        png: Path | None,
        html: Path | None,
        rows: int,
        **others: Any,
    ) -> None:
        files = Files(csv, parquet, geojson, png, html, rows)
        files.check()
        command(*arguments, files=files, **others)

    return run


def warn_of_age(fleet: Fleet, instants: Instants) -> None:
    """A sentence on standard error when the elements do not fit the time asked for. The study goes on: its label states the age."""
    age = max((element_age(fleet, at) for at in (instants.start_unix_s, instants.end_unix_s)), key=lambda age: age.median_days)
    if age.freshness == "expired":
        click.echo(f"warning: {age.sentence} What follows is at best the statistics of such a constellation.", err=True)
    elif age.freshness in ("ageing", "stale"):
        click.echo(f"warning: {age.sentence}", err=True)


_KINDS = {"operational": "on station, without those that serve telephones only", "telephone": "those that serve telephones"}
_file = click.Path(path_type=Path)
_result = click.Path(path_type=Path, dir_okay=False)
_positive = click.FloatRange(min=0, min_open=True)


@dataclass(frozen=True, slots=True)
class _Quiet(Generic[Piece, Answer]):
    """The work, so that a worker process ends without a word on Ctrl-C: the parent says what there is to say."""

    work: Callable[[Piece], Answer]

    def __call__(self, piece: Piece) -> Answer:
        if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return self.work(piece)


class _Progress:
    """One line that is written again and again on a terminal, or a line every few seconds elsewhere."""

    def __init__(self, what: str, before: int, *, shown: bool) -> None:
        """before: pieces that were done in an earlier run."""
        self._what, self._before, self._shown = what, before, shown
        self._began, self._last = time.monotonic(), 0.0
        self._terminal = sys.stderr.isatty()
        self._open = False

    def show(self, done: int, pieces: int) -> None:
        now = time.monotonic()
        if not self._shown or (now - self._last < (0.2 if self._terminal else 5.0) and done < pieces):
            return
        self._last = now
        left = round((now - self._began) / done * (pieces - done))
        count = f"{done + self._before} of {pieces + self._before} pieces"
        line = f"{self._what}: {count}, {left // 60}:{left % 60:02d} left"
        click.echo(f"\r{line:<79}" if self._terminal else line, err=True, nl=not self._terminal)
        self._open = self._terminal

    def end(self) -> None:
        if self._open:
            click.echo("\r" + " " * 79 + "\r", err=True, nl=False)


def _bytes(path: Path, largest: int) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(largest + 1)
    except OSError as error:
        raise LocalError(f"cannot read {path} ({error.strerror}): check the path and its permissions") from error
    if len(content) > largest:
        raise LocalError(f"{path} is larger than {largest >> 20} MB: divide it")
    return content


def _text(path: Path) -> str:
    try:
        return _bytes(path, LARGEST_TEXT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LocalError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
