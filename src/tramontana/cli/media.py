"""`tramontana relay` and `tramontana player`: the two processes that carry media."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tramontana.emulation.driver import run_player
from tramontana.emulation.link import OutageMode
from tramontana.phone.driver import run_relay


def announce(**ready: object) -> None:
    """The first line on standard output; the supervisor waits for it."""
    click.echo(json.dumps({"ready": ready}))


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="IP address to listen at.")
@click.option("--port", default=3478, show_default=True, type=click.IntRange(0, 65535), help="UDP port; 0 takes any free one.")
@click.option(
    "--secret-file", required=True, type=click.Path(path_type=Path), help="Secret shared with the server; made if it does not exist."
)
@click.option("--advertise", default=None, metavar="IP", help="IP address that phones see in relayed addresses; by default that of --host.")
@click.option("--max-allocations", default=4096, show_default=True, type=click.IntRange(1, 16384), help="Allocations in all.")
@click.option("--max-per-device", default=32, show_default=True, type=click.IntRange(1), help="Allocations of one device.")
def relay(host: str, port: int, secret_file: Path, advertise: str | None, max_allocations: int, max_per_device: int) -> None:
    """Carry the media of calls between phones (TURN, RFC 8656, over UDP).

    The relay switches between its own allocations only: it opens one port and cannot be used to reach anything else.
    """
    core = run_relay(
        host=host,
        port=port,
        secret_file=secret_file,
        advertised_host=advertise,
        max_allocations=max_allocations,
        max_allocations_per_device=max_per_device,
        on_ready=lambda bound: announce(host=host, port=bound),
    )
    click.echo("The media relay stops. " + (", ".join(f"{name} {count}" for name, count in sorted(core.counts.items())) or "Nothing came."))


@click.command()
@click.option("--control", required=True, type=click.Path(path_type=Path), help="Unix socket through which the server says what to play.")
@click.option("--host", default="127.0.0.1", show_default=True, help="IP address of the fronts that phones send to.")
@click.option(
    "--outage",
    default=OutageMode.DROP.value,
    show_default=True,
    type=click.Choice([mode.value for mode in OutageMode]),
    help="What an outage does to packets.",
)
@click.option(
    "--realtime/--no-realtime", default=True, show_default=True, help="Ask for real-time priority, which makes releases more exact."
)
def player(control: Path, host: str, outage: str, realtime: bool) -> None:
    """Play path profiles on the media of phones (the simulated radio path)."""

    def ready(granted: bool) -> None:
        announce(control=str(control), realtime=granted)
        if realtime and not granted:
            click.echo("The path player runs without real-time priority: under load, packets may come out up to some milliseconds late.")

    run_player(control, host=host, outage_mode=OutageMode(outage), realtime=realtime, on_ready=ready)
    click.echo("The path player stops.")
