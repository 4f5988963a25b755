"""`tramontana warn plan`: which satellites could light an area when, and what the cells there would tell phones of them. Simulated."""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import click
import numpy as np

from tramontana.cell.broadcast_plan import BEAMS_AT_ONCE, HORIZON_S, REPETITIONS, BroadcastPlan, PlanRules, Pointing, Points
from tramontana.cell.broadcast_plan import plan as planned
from tramontana.cell.ntn_assistance import (
    GPS_TIME_ZERO_UNIX_S,
    BeamAssistance,
    Form,
    of_plan,
    worst_position_m,
    worst_velocity_m_per_s,
)
from tramontana.cell.ntn_assistance_asn1 import Release, sib19, sib31
from tramontana.cli.output import Column, Report, instant_text, write_whole
from tramontana.cli.sky_options import Files, WhichSky, file_options, which_options
from tramontana.cli.sky_study import write_files
from tramontana.cli.sky_words import elements_text
from tramontana.cli.warn import drawn
from tramontana.errors import LocalError
from tramontana.space.beams.held import DWELL_S
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet, utc_text
from tramontana.space.studies.sites import parse_instant

BLOCKS = ("sib19", "sib31")


@click.command()
@click.option("--area", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="GeoJSON file with polygons.")
@click.option("--circle", metavar="LAT,LON,KM", help="A circle.")
@click.option("--at", "start", metavar="ISO", help="When it begins, for example 2026-05-21T12:00Z; else now.")
@click.option("--minutes", type=click.FloatRange(1, 60), default=HORIZON_S / 60, show_default=True, help="Looked ahead at most so far.")
@click.option("--pointing", type=click.Choice([each.value for each in Pointing]), default=Pointing.EARTH_FIXED.value, show_default=True)
@click.option("--repetitions", type=click.IntRange(1, 100), default=REPETITIONS, show_default=True, help="How often every point is lit.")
@click.option("--dwell", "dwell_s", type=click.FloatRange(1, 60), default=DWELL_S, show_default=True, help="Seconds.")
@click.option("--beams", type=click.IntRange(1, 1000), default=BEAMS_AT_ONCE, show_default=True, help="A satellite lights at once.")
@click.option("--sib", "block", type=click.Choice(BLOCKS), help="Write what each beam's cell tells phones: for NR, or for LTE of things.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY", help="Where these go, a file for each beam.")
@click.option("--ephemeris", "form", type=click.Choice(get_args(Form)), default="state-vectors", show_default=True)
@click.option("--gateway", metavar="LAT,LON", help="Where uplink and downlink are in step; unless given, at the satellite itself.")
@click.option("--release", type=click.Choice([str(each) for each in get_args(Release)]), default="17", show_default=True, help="Of SIB19.")
@click.option(
    "--frames",
    type=click.Choice(("gps", "window")),
    default="gps",
    show_default=True,
    help="What the epoch counts by: frames since GPS time began, or the end of the window in which the block is sent.",
)
@which_options
@file_options
def plan(
    area: Path | None,
    circle: str | None,
    start: str | None,
    minutes: float,
    pointing: str,
    repetitions: int,
    dwell_s: float,
    beams: int,
    block: str | None,
    out: Path | None,
    form: Form,
    gateway: str | None,
    release: str,
    frames: str,
    which: WhichSky,
    files: Files,
) -> None:
    """Plan which satellites light an area when. Needs no server and commands nothing: no operator offers that (docs/warnings.md)."""
    rings, names = drawn(area, circle)
    if not rings:
        raise click.UsageError("say where with --area or --circle")
    if (block is None) is not (out is None):
        raise click.UsageError("--sib says what to write and --out where: give both or neither")
    begin = time.time() if start is None else _instant(start)
    fleet, taken = which.fleet(satellites="telephone")
    ephemeris = Ephemeris(fleet)
    rules = PlanRules(Pointing(pointing), repetitions, beams_at_once=beams, dwell_s=dwell_s, horizon_s=minutes * 60)
    made = planned(ephemeris, tuple(rings), Points.of(tuple(rings)), begin, rules)
    told = of_plan(
        made,
        ephemeris.propagator,
        form=form,
        gateway=None if gateway is None else _place(gateway),
        frame_zero_unix_s=GPS_TIME_ZERO_UNIX_S if frames == "gps" else None,
    )
    written = () if block is None or out is None else _written(told, block, 17 if release == "17" else 18, out)
    report = _report(", ".join(names), fleet, taken, begin, made, told, written)
    write_files(files, report, None)
    click.echo(report.as_text(files.rows))


def _written(told: tuple[BeamAssistance, ...], block: str, release: Release, out: Path) -> tuple[str, ...]:
    names: list[str] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"{out} cannot be made ({error.strerror}): choose another directory") from error
    for number, beam in enumerate(told, 1):
        octets = sib31(beam.assistance) if block == "sib31" else sib19(beam.assistance, release)
        names.append(f"{block}-{number:04}-{instant_text(beam.begin_unix_s, 'seconds')[11:19].replace(':', '')}.bin")
        write_whole(out / names[-1], octets)
    return tuple(names)


def _report(
    name: str,
    fleet: Fleet,
    taken: str,
    begin: float,
    made: BroadcastPlan,
    told: tuple[BeamAssistance, ...],
    written: tuple[str, ...],
) -> Report:
    rules = made.rules
    times = ("once", "twice", "three times")
    reached = [
        (f"Lit {times[number] if number < 3 else f'{number + 1} times'}", f"{100 * float(share):.1f} % of the area")
        for number, share in enumerate(made.reached_share[-1].tolist())
    ]
    epoch = max((beam.epoch_error_m for beam in told), default=0.0)
    later = max((beam.error_m for beam in told), default=0.0)
    columns = [
        Column("begin_utc", np.array([beam.begin_unix_s for beam in told]), "instant"),
        Column("satellite", [fleet.names[beam.satellite] for beam in told], "text"),
        Column("latitude_deg", np.array([beam.latitude_deg for beam in told]), digits=2),
        Column("longitude_deg", np.array([beam.longitude_deg for beam in told]), digits=2),
        Column("valid_s", np.array([beam.assistance.validity_s for beam in told], dtype=np.int64)),
        Column("k_offset_ms", np.array([beam.assistance.k_offset_ms for beam in told], dtype=np.int64)),
        Column("stops_utc", np.array([beam.assistance.stops_unix_s or np.nan for beam in told]), "instant"),
        Column("epoch_error_m", np.array([beam.epoch_error_m for beam in told]), digits=2),
        Column("end_error_m", np.array([beam.error_m for beam in told]), digits=2),
    ]
    if written:
        columns.append(Column("file", written, "text"))
    return Report(
        f"Satellite broadcast plan: {name}",
        (
            ("Simulated", "planned, not commanded: no satellite operator offers a broadcast interface"),
            ("Constellation", fleet.label),
            ("Satellites", taken),
            ("Source", fleet.source),
            ("Elements", elements_text(fleet, begin)),
            ("Time", f"{utc_text(begin)}, {made.unix_s.size * rules.dwell_s:g} s in dwells of {rules.dwell_s:g} s"),
            (
                "Model",
                f"{made.rules.pointing.value} beams of {made.rules.beam_radius_m / 1e3:g} km, {made.rules.beams_at_once} a satellite",
            ),
        ),
        tuple(columns),
        (
            ("Beams", f"{len(told):,} of {np.unique(made.satellite).size:,} satellites"),
            *reached,
            ("Lit outside", f"{made.overspill_km2:,.0f} km²"),
            (
                "Told wrong by",
                f"at most {epoch:.2f} m at the epoch and {later:.2f} m when the validity ends, against SGP4 itself; steps of state vectors "
                f"alone: {worst_position_m():.2f} m and {worst_velocity_m_per_s():.3f} m/s",
            ),
        ),
        tuple({"type": "Point", "coordinates": [beam.longitude_deg, beam.latitude_deg]} for beam in told),
    )


def _instant(text: str) -> float:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not like 2026-05-21T12:00Z", param_hint="--at") from error


def _place(text: str) -> tuple[float, float]:
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not LAT,LON, for example 41.9,12.5", param_hint="--gateway") from error
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise click.BadParameter(f"{text!r} is no place on Earth: latitude comes first", param_hint="--gateway")
    return latitude, longitude
