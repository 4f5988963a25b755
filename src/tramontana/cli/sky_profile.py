"""`tramontana sky profile`: the path from a place over a carrier through time."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import click
import numpy as np
from matplotlib.axes import Axes

from tramontana.carriers.paths import path_profile
from tramontana.cli.output import Column, Report
from tramontana.cli.sky_chart import LINES, over_time
from tramontana.cli.sky_options import Files, WhichSky, file_options, which_options
from tramontana.cli.sky_page import Chart
from tramontana.cli.sky_route import countries
from tramontana.cli.sky_study import write_files
from tramontana.cli.sky_words import carrier_option, chosen_carrier, elements_text, place_option, row, show_state
from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.fleet import utc_text
from tramontana.space.path_options import USUAL_LOAD, PathOptions
from tramontana.space.routing.policy import Policy
from tramontana.space.sky import Sky
from tramontana.space.studies.sites import parse_instant


@click.command()
@place_option
@carrier_option
@click.option("--from", "start", metavar="ISO", help="When to begin, for example 2026-05-21T12:00Z; else now.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="How long.")
@click.option("--rain", is_flag=True, help="With seeded rain of the place's statistics; never the weather of a real day.")
@click.option("--load", type=click.FloatRange(USUAL_LOAD.low, USUAL_LOAD.high), help="How busy the cell is: 1 is usual.")
@click.option("--land-in", multiple=True, metavar="CC", help="Countries where traffic may land, ISO 3166-1; may be repeated.")
@click.option("--avoid", multiple=True, metavar="CC", help="Countries where it must not land; may be repeated.")
@click.option("--no-lasers", is_flag=True, help="Bent pipe only.")
@click.option("--json", "as_json", is_flag=True, help="The profile itself, as one line of JSON.")
@which_options
@file_options
def profile(
    which: WhichSky,
    files: Files,
    place_id: str,
    carrier_id: str | None,
    start: str | None,
    seconds: float,
    rain: bool,
    load: float | None,
    land_in: tuple[str, ...],
    avoid: tuple[str, ...],
    no_lasers: bool,
    as_json: bool,
) -> None:
    """The path from a place over a carrier, from now on: delay, capacity, loss, outages, handovers."""
    fleet = which.fleet()[0]
    carrier, simulated = chosen_carrier(carrier_id, fleet), Sky(fleet, seed=which.seed)
    place, begin = simulated.ground.place(place_id), _begin(start)
    options = PathOptions(
        rain=rain,
        load=USUAL_LOAD if load is None else replace(USUAL_LOAD, value=load),
        lasers=not no_lasers,
        policy=Policy(countries(land_in), countries(avoid) or frozenset()),
    )
    path = path_profile(carrier, place, simulated, begin, seconds, options=options)
    write_files(files, _report(path, simulated), Chart(lambda axes: _draw(axes, path)))
    if as_json:
        click.echo(path.to_json())
        return
    row("Path", f"{path.place} over {path.carrier} to {path.point_of_presence or 'nowhere'}  ({path.source})")
    show_state(path)
    outage_s = float(np.sum(path.outage_end_unix_s - path.outage_start_unix_s))
    row("Handovers", f"{path.handover_unix_s.shape[0]}, outages {path.outage_start_unix_s.shape[0]} of {outage_s:.2f} s together")
    for note in path.notes:
        row("Note", note)


def _begin(text: str | None) -> float:
    try:
        return time.time() if text is None else parse_instant(text)
    except ValueError as error:
        raise LocalError(f"--from {text!r} is not like {datetime(2026, 5, 21, 12, tzinfo=UTC):%Y-%m-%dT%H:%MZ}") from error


def _report(path: PathProfile, sky: Sky) -> Report:
    """Every sample of the path, for files."""
    names = (*path.satellite_names, ""), (*path.gateway_names, "")  # index -1, nobody, is the last
    return Report(
        f"Path: {path.place} over {path.carrier}",
        (
            ("Simulated", path.source),
            ("Constellation", sky.label),
            ("Source", sky.fleet.source),
            ("Elements", elements_text(sky.fleet, path.start_unix_s)),
            ("Time", f"{utc_text(path.start_unix_s)} to {utc_text(path.end_unix_s)}"),
            *(("Note", note) for note in path.notes),
        ),
        (
            Column("time_utc", path.time_unix_s, "instant"),
            Column("one_way_delay_ms", path.one_way_delay_s * 1e3, digits=2),
            Column("capacity_down_mbps", path.capacity_down_bps / 1e6, digits=1),
            Column("capacity_up_mbps", path.capacity_up_bps / 1e6, digits=1),
            Column("loss_percent", path.loss * 100, digits=3),
            Column("elevation_deg", path.elevation_deg, digits=1),
            Column("in_outage", np.array([int(path.in_outage(at)) for at in path.time_unix_s.tolist()])),
            Column("satellite", [names[0][i] for i in path.serving.tolist()], "text"),
            Column("gateway", [names[1][i] for i in path.gateway.tolist()], "text"),
        ),
    )


def _draw(axes: Axes, path: PathProfile) -> None:
    axes.plot(over_time(axes, path.time_unix_s), path.one_way_delay_s * 1e3, color=LINES[0], linewidth=1, label="one-way delay")
    for at in over_time(axes, path.handover_unix_s):
        axes.axvline(at, color=LINES[1], linewidth=0.6, alpha=0.6)
    axes.plot([], [], color=LINES[1], linewidth=0.6, label="handover")
    axes.set(ylabel="one-way delay, ms")
    axes.legend(fontsize=8)
