"""`tramontana trial`: measure a line for as long as you like, and say whether it is what was promised."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from pathlib import Path

import click

from tramontana.carriers.catalogue import carrier as carrier_by_id
from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.output import write_whole
from tramontana.cli.trial_measure import DEFAULT_PORT, Endpoint, Line, Measurement, open_record, resolve, spent_budget
from tramontana.cli.trial_report import as_json, as_page, place_of, predict, report_of
from tramontana.errors import LocalError
from tramontana.internet.trial import Record, Run, Target, TrialError, Way, parse_record
from tramontana.private_file import read_or_make_private, read_private
from tramontana.space.fleet_file import load_fleet
from tramontana.space.sky import Sky

RECORD = "record.jsonl"
LEAST_SECRET_BYTES = 16
_directory = click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
_secret_option = click.option(
    "--secret-file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Shared by both ends; `serve` makes it."
)


@click.group()
def trial() -> None:
    """Measure a line, real or emulated, for hours or weeks: does it meet what was promised?"""


@trial.command()
@_secret_option
@click.option("--host", default="0.0.0.0", show_default=True, help="IP address to answer at; :: for IPv6.")  # noqa: S104 - it serves the internet
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="UDP and TCP; 0 takes a free one.")
def serve(secret_file: Path, host: str, port: int) -> None:
    """Be the far end: echo probes, answer throughput tests. Only who has the secret is answered."""
    if not secret_file.exists():
        click.echo(f"Makes the secret {secret_file}: copy it to the measuring side.")
    read_or_make_private(secret_file, lambda: (secrets.token_hex(32) + "\n").encode())
    endpoint = Endpoint(_secret(secret_file))
    try:
        asyncio.run(endpoint.serve(host, port, lambda bound: click.echo(f"Answering trials at {host} port {bound}, UDP and TCP.")))
    except KeyboardInterrupt:
        click.echo("Stopped.")


@trial.command()
@click.argument("endpoint")
@_directory
@_secret_option
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="How long; else until Ctrl-C.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="How long.")
@click.option("--interface", help="Leave through this interface.")
@click.option("--source", help="Leave from this IP address.")
@click.option("--interval", default=0.1, show_default=True, type=click.FloatRange(0.001, 1.0), help="Seconds between two probes.")
@click.option(
    "--test-every", default=30.0, show_default=True, type=click.FloatRange(min=0), help="Minutes between throughput tests; 0: none."
)
@click.option("--test-seconds", default=5.0, show_default=True, type=click.FloatRange(0.5, 30.0), help="Length of a throughput test.")
@click.option(
    "--data-budget", default=5000, show_default=True, type=click.IntRange(0), metavar="MB", help="Throughput tests may cost, in all."
)
@click.option("--place", default="", metavar="ID|LAT,LON", help="Where the line is, for the forecast beside it.")
@click.option("--carrier", default="", metavar="ID", help="What carries it, for the forecast: starlink, o3b-mpower, sicral-2, 4g, fibre, …")
@click.option("--down", default=100.0, show_default=True, help="Promised: Mbit/s down.")
@click.option("--up", default=20.0, show_default=True, help="Promised: Mbit/s up.")
@click.option("--round-trip", default=50.0, show_default=True, help="Promised: ms.")
@click.option("--available", default=99.9, show_default=True, type=click.FloatRange(0, 100), help="Promised: percent of the time.")
@data_option
def run(
    endpoint: str,
    directory: Path,
    secret_file: Path,
    seconds: float | None,
    hours: float | None,
    interface: str | None,
    source: str | None,
    interval: float,
    test_every: float,
    test_seconds: float,
    data_budget: int,
    place: str,
    carrier: str,
    down: float,
    up: float,
    round_trip: float,
    available: float,
    data: Path | None,
) -> None:
    """Measure the line to ENDPOINT, write everything into DIRECTORY at once, and report at the end.

    The same command with the same directory goes on with an interrupted trial.
    """
    if seconds is not None and hours is not None:
        raise LocalError("give --seconds or --hours, not both")
    if bool(place) != bool(carrier):
        raise LocalError("a forecast needs both --place and --carrier")
    if carrier:
        place_of(place, Sky(load_fleet(data_dir(data))))
        carrier_by_id(carrier)
    address, family = resolve(endpoint)
    secret = _secret(secret_file)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make {directory} ({error.strerror}): choose another directory") from None
    with open_record(directory / RECORD) as file:
        before = _record(directory)
        line = Line(interface, source)
        target = Target(down * 1e6, up * 1e6, round_trip / 1e3, available / 100)
        file.write(Run(time.time(), endpoint, str(line), place, carrier, target).encode())
        file.flush()
        if before.runs:
            click.echo(f"Going on with the trial in {directory}: {len(before.seconds):,} s measured so far.")
        measurement = Measurement(
            secret=secret,
            address=address,
            family=family,
            line=line,
            interval_s=interval,
            record=file,
            test_every_s=test_every * 60 or None,
            test_seconds=test_seconds,
            budget_octets=spent_budget(before, data_budget * 10**6),
            on_second=_progress,
        )
        asyncio.run(_measure(measurement, seconds if hours is None else hours * 3600))
    if sys.stderr.isatty():
        click.echo("\r" + " " * 79 + "\r", err=True, nl=False)
    if not measurement.sent or measurement.lost == measurement.sent:
        click.echo(f"warning: nothing came back from {endpoint}: is `trial serve` running there, with the same secret?", err=True)
    _report(directory, data)


@trial.command()
@_directory
@data_option
def report(directory: Path, data: Path | None) -> None:
    """Write the report of what has been measured so far; a trial that runs goes on."""
    _report(directory, data)


async def _measure(measurement: Measurement, duration_s: float | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await measurement.run(stop, duration_s)


def _progress(measurement: Measurement) -> None:
    terminal = sys.stderr.isatty()
    if not terminal and measurement.seconds % 60 != 1:
        return
    trip = measurement.last_round_trip_s
    rates = ", ".join(f"{way} {measurement.last_bps[way] / 1e6:.0f} Mbit/s" for way in Way if way in measurement.last_bps)
    line = f"{measurement.seconds} s, " + ("nothing came back" if trip is None else f"{trip * 1e3:.0f} ms")
    line += f", {measurement.lost / max(measurement.sent, 1):.2%} lost" + (f", {rates}" if rates else "")
    line += f" ({measurement.note})" if measurement.note else ""
    click.echo(f"\r{line:<79}" if terminal else line, err=True, nl=not terminal)


def _report(directory: Path, data: Path | None) -> None:
    record = _record(directory)
    if not record.runs or not record.seconds:
        raise TrialError(f"nothing has been measured in {directory} yet: `tramontana trial run` does that")
    last = record.runs[-1]
    prediction = predict(record, last, Sky(load_fleet(data_dir(data)))) if last.carrier else None
    page = as_page(record, prediction)
    write_whole(directory / "report.json", as_json(record, prediction).encode())
    write_whole(directory / "report.html", page.encode())
    click.echo(report_of(record, prediction).as_text(24))
    click.echo(f"\nReport: {directory / 'report.html'}, {directory / 'report.json'}")


def _record(directory: Path) -> Record:
    try:
        with (directory / RECORD).open(encoding="utf-8") as file:
            return parse_record(file)
    except OSError as error:
        raise LocalError(f"cannot read {directory / RECORD} ({error.strerror}): is it the directory of a trial?") from None


def _secret(path: Path) -> bytes:
    secret = read_private(path).strip()
    if len(secret) < LEAST_SECRET_BYTES:
        raise LocalError(f"the secret in {path} is too short: let `trial serve` make one")
    return secret
