"""`tramontana forwarder`: the process that forwards the sealed frames of conferences and talk groups."""

from __future__ import annotations

from pathlib import Path

import click

from tramontana.cli.media import announce
from tramontana.phone.forwarder.core import MAX_SESSIONS
from tramontana.phone.forwarder.driver import run_forwarder


@click.command()
@click.option("--control", required=True, type=click.Path(path_type=Path), help="Unix socket through which the server admits phones.")
@click.option("--host", default="127.0.0.1", show_default=True, help="IP address to listen at.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65535), help="UDP port; 0 takes any free one.")
@click.option(
    "--secret-file", required=True, type=click.Path(path_type=Path), help="Secret shared with the server; made if it does not exist."
)
@click.option("--advertise", default=None, metavar="IP", help="IP address at which phones reach it; by default that of --host.")
@click.option("--max-phones", default=MAX_SESSIONS, show_default=True, type=click.IntRange(1), help="Phones in all.")
def forwarder(control: Path, host: str, port: int, secret_file: Path, advertise: str | None, max_phones: int) -> None:
    """Forward the sealed frames of conferences and talk groups (WebRTC, over one UDP port).

    It holds no key and admits only phones that the server gave a ticket. Run one process for each processor core.
    """
    core = run_forwarder(
        host=host,
        port=port,
        control_path=control,
        secret_file=secret_file,
        advertised_host=advertise,
        max_sessions=max_phones,
        on_ready=lambda bound: announce(host=host, port=bound, control=str(control)),
    )
    click.echo("The forwarder stops. " + (", ".join(f"{name} {count}" for name, count in sorted(core.counts.items())) or "Nothing came."))
