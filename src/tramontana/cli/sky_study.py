"""What every study of `tramontana sky` begins and ends with: its setting, its label, its results on screen and in files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import numpy as np

from tramontana.cli.output import Column, Report, write_whole
from tramontana.cli.sky_chart import plain_text
from tramontana.cli.sky_options import (
    Files,
    When,
    Where,
    WhichSky,
    Work,
    file_options,
    warn_of_age,
    when_options,
    where_options,
    which_options,
    work_options,
)
from tramontana.cli.sky_page import Picture, page
from tramontana.cli.sky_words import elements_text
from tramontana.errors import LocalError
from tramontana.space.fleet import Fleet, utc_text
from tramontana.space.ground import Ground, mediterranean
from tramontana.space.studies.area import cell_boundary
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites


@dataclass(frozen=True, slots=True)
class Asked:
    """The shared options of one call."""

    where: Where
    when: When
    which: WhichSky
    work: Work
    files: Files

    def setting(self, *, duration_s: float, step_s: float, resolution: int = 5, satellites: str = "operational") -> Setting:
        """What to study, with the command's defaults for what was not said. Warns of elements that do not fit the time."""
        (fleet, taken), ground = self.which.fleet(satellites=satellites), mediterranean()
        sites, name = self.where.sites(ground, resolution=resolution)
        instants = self.when.instants(sites, duration_s=duration_s, step_s=step_s)
        warn_of_age(fleet, instants)
        return Setting(fleet, taken, ground, sites, name, instants, self.which.seed)

    def show(self, report: Report, picture: Picture | None) -> None:
        """Files first, then the screen: what is printed has been written."""
        write_files(self.files, report, picture)
        click.echo(report.as_text(self.files.rows))


@dataclass(frozen=True, eq=False)
class Setting:
    """One study: a fleet over a ground, sites, instants."""

    fleet: Fleet
    taken: str
    """Which satellites of the constellation, in words."""
    ground: Ground
    sites: Sites
    name: str
    """Of all the sites together."""
    instants: Instants
    seed: int

    def about(self, model: str) -> tuple[tuple[str, str], ...]:
        """The label of every output; `model` is the command's own sentence."""
        span = f"{utc_text(self.instants.start_unix_s)} to {utc_text(self.instants.end_unix_s)}"
        return (
            ("Simulated", "simulated, not measured"),
            ("Constellation", self.fleet.label),
            ("Satellites", self.taken),
            ("Source", self.fleet.source),
            ("Elements", elements_text(self.fleet, self.instants.start_unix_s)),
            ("Time", span),
            ("Model", model),
        )

    def site_columns(self) -> tuple[Column, ...]:
        """Id, name where it says more, coordinates, and population where known."""
        sites = self.sites
        named = () if sites.kind == "cell" else (Column("name", sites.names, "text"),)
        known = (Column("population", sites.population),) if np.isfinite(sites.population).any() else ()
        return (
            Column("cell" if sites.kind == "cell" else "id", sites.ids, "text"),
            *named,
            Column("latitude_deg", sites.latitude_deg, digits=3),
            Column("longitude_deg", sites.longitude_deg, digits=3),
            *known,
        )

    def site_geometries(self) -> tuple[dict[str, Any], ...]:
        """GeoJSON geometry of each site: a cell's polygon, a track's line, a place's point."""
        sites = self.sites
        if sites.kind == "cell":
            return tuple({"type": "Polygon", "coordinates": [np.round(cell_boundary(cell), 6).tolist()]} for cell in sites.ids)
        if sites.kind == "track":
            lines = [np.column_stack(track.at(track.unix_s)[1::-1]) for track in sites.tracks]
            return tuple({"type": "LineString", "coordinates": np.round(line, 6).tolist()} for line in lines)
        return tuple(
            {"type": "Point", "coordinates": [lon, lat]}
            for lon, lat in zip(sites.longitude_deg.tolist(), sites.latitude_deg.tolist(), strict=True)
        )


def write_files(files: Files, report: Report, picture: Picture | None) -> None:
    """Every file that was asked for. Raises `LocalError` for a picture of nothing and for GeoJSON of a table without places."""
    if files.csv:
        write_whole(files.csv, report.as_csv().encode())
    if files.parquet:
        write_whole(files.parquet, report.as_parquet())
    if files.geojson:
        write_whole(files.geojson, report.as_geojson().encode())
    if files.png:
        if picture is None:
            raise LocalError("there is nothing to draw: leave --png out")
        with plain_text():
            drawn = picture.png(f"{report.title}\n{dict(report.about)['Time']}", report.label)
        write_whole(files.png, drawn)
    if files.html:
        with plain_text():
            text = page(report, picture)
        write_whole(files.html, text.encode())


def study(command: Callable[..., None]) -> Callable[..., None]:
    """Adds all shared options to a command and passes them as one argument, `asked`."""

    @where_options
    @when_options
    @which_options
    @work_options
    @file_options
    @functools.wraps(command)
    def run(where: Where, when: When, which: WhichSky, work: Work, files: Files, **others: Any) -> None:
        command(asked=Asked(where, when, which, work, files), **others)

    return run


def spread(values: Any, digits: int, unit: str) -> str:
    """Least, middle and greatest of a figure over the sites, for a summary."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return "none"
    low, middle, high = np.percentile(known, [0, 50, 100])
    if known.size == 1:
        return f"{middle:,.{digits}f} {unit}"
    return f"median {middle:,.{digits}f} {unit}, least {low:,.{digits}f}, greatest {high:,.{digits}f}"
