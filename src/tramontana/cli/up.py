"""`tramontana up`: the whole service on one machine, for one person at a terminal."""

from __future__ import annotations

import asyncio
import signal
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from tramontana import __version__
from tramontana.cli import demonstration_setup
from tramontana.cli.address import DEFAULT_PORT
from tramontana.cli.datadir import data_dir, data_option, database_option, database_password_option, operators_option
from tramontana.cli.organisation_key import organisation_dir
from tramontana.cli.supervise import Child, keep_running
from tramontana.control.bootstrap import Bootstrap, prepare
from tramontana.control.store.database import PostgresqlAddress
from tramontana.errors import LocalError, TramontanaError
from tramontana.keys.organisation import Root
from tramontana.keys.secret import Token

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the parts of one service find each other."""

    data: Path
    organisation: Path
    port: int
    relay_port: int
    runtime: Path
    forwarders: int
    database: str | None = None
    database_password_file: Path | None = None
    events: str | None = None
    operators: Path | None = None

    @property
    def relay(self) -> list[str]:
        return ["relay", "--host", LOOPBACK, "--port", str(self.relay_port), "--secret-file", str(self.data / "relay.secret")]

    @property
    def player_socket(self) -> Path:
        return self.runtime / "player.sock"

    @property
    def player(self) -> list[str]:
        return ["player", "--host", LOOPBACK, "--control", str(self.player_socket)]

    def forwarder_socket(self, number: int) -> Path:
        return self.runtime / f"forwarder-{number}.sock"

    def forwarder(self, number: int) -> list[str]:
        secret_file = str(self.data / "relay.secret")
        return ["forwarder", "--host", LOOPBACK, "--control", str(self.forwarder_socket(number)), "--secret-file", secret_file]

    @property
    def serve(self) -> list[str]:
        return [
            "serve",
            *("--data", str(self.data)),
            *("--host", LOOPBACK),
            *("--port", str(self.port)),
            *("--relay", f"{LOOPBACK}:{self.relay_port}"),
            *("--player", str(self.player_socket)),
            *(part for number in range(self.forwarders) for part in ("--forwarder", str(self.forwarder_socket(number)))),
            *(("--database", self.database) if self.database else ()),
            *(("--database-password-file", str(self.database_password_file)) if self.database_password_file else ()),
            *(("--events", self.events) if self.events else ()),
            *(("--operators", str(self.operators)) if self.operators else ()),
            "--live",
        ]

    @property
    def database_address(self) -> PostgresqlAddress | None:
        """Raises `StoreError`."""
        return PostgresqlAddress.parse(self.database, self.database_password_file) if self.database else None


def _free_udp_port() -> int:
    """A port for the relay that stays the same when the relay is started again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _welcome(bootstrap: Bootstrap, address: str, layout: _Layout, *, is_demonstration: bool) -> None:
    root = bootstrap.root
    assert root is not None, "a server without an organisation was given one before it started"
    # A browser keeps the data of one phone per origin, so the second link names this machine differently: two windows of one
    # browser are then two phones.
    origins = (address, address.replace(LOOPBACK, "localhost"))
    click.echo(f"  Address              {address}")
    click.echo(f"  Administrator        {address}/console#admin={bootstrap.administrator_token.reveal()}   (once, within 15 minutes)")
    for number, (origin, token) in enumerate(zip(origins, bootstrap.invitation_tokens, strict=True), start=1):
        click.echo(f"  Phone invitation {number}   {_phone_link(origin, token, root)}   (once, within 7 days)")
    click.echo(f"  Data                 {layout.data}")
    if is_demonstration:
        click.echo(f"  Organisation's key   {layout.organisation}   (a demonstration; to keep it elsewhere, move this directory away)")
    else:
        click.echo(f"  Organisation's key   elsewhere: phones wait until custodians of {root.name} certify them")
    click.echo()
    click.echo("Open each invitation in a browser window, give each phone a name, and let one call the other. Ctrl-C stops everything.")
    click.echo()


def _phone_link(origin: str, token: Token, root: Root) -> str:
    return f"{origin}/phone#invite={token.reveal()}&org={root.fingerprint_text}"


async def _run(layout: _Layout) -> None:
    loop = asyncio.get_running_loop()
    database = layout.database_address
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # The media parts first: the server hands out their addresses.
    children = [
        Child("media relay", layout.relay, click.echo),
        Child("path player", layout.player, click.echo),
        *(Child(f"forwarder {number + 1}", layout.forwarder(number), click.echo) for number in range(layout.forwarders)),
    ]
    server = Child("server", layout.serve, click.echo)
    custodians: list[Child] = []
    try:
        async with asyncio.TaskGroup() as group:
            prepared = group.create_task(asyncio.to_thread(demonstration_setup.prepare, layout.organisation, layout.data, database))
            for child in children:
                group.create_task(child.start())
        demonstration = prepared.result()
        await server.start()
        address = str(server.ready["address"])
        desks = demonstration_setup.desks_to_invite(demonstration)
        bootstrap = await asyncio.to_thread(prepare, layout.data, demonstration_setup.PROPOSALS, desks, database)
        if demonstration is not None:
            demonstration_setup.authorise(demonstration, bootstrap.desk_tokens, bootstrap.invitation_tokens)
            custodians.append(Child("custodian", ["custodian", "demonstrate", str(layout.organisation), address], click.echo))
            await custodians[0].start()
        _welcome(bootstrap, address, layout, is_demonstration=demonstration is not None)
        await _until(stop, [*children, server, *custodians], click.echo)
        click.echo("Stopping.")
    except* TramontanaError as failures:
        raise failures.exceptions[0] from None
    finally:
        for child in (*custodians, server, *children):  # the server before the media: it tells the phones
            await child.stop()
    click.echo("Stopped. Accounts and messages are kept.")


async def _until(stop: asyncio.Event, children: list[Child], say: Callable[[str], None]) -> None:
    """Keep the children running until the event. Raises `ChildFailed` of a child that cannot be kept running."""
    try:
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(keep_running(child, say)) for child in children]
            await stop.wait()
            for keeper in keepers:
                keeper.cancel()
    except* LocalError as failures:
        raise failures.exceptions[0] from None


@click.command()
@data_option
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="TCP port of the server; 0 takes a free one."
)
@click.option(
    "--forwarders", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes that forward conferences, one a core."
)
@database_option
@database_password_option
@click.option(
    "--events",
    metavar="URL",
    envvar="TRAMONTANA_EVENTS",
    help="NATS server, where further server processes (`tramontana serve`) are to share the database: nats://HOST:PORT.",
)
@operators_option
def up(
    data: Path | None,
    port: int,
    forwarders: int,
    database: str | None,
    database_password_file: Path | None,
    events: str | None,
    operators_file: Path | None,
) -> None:
    """Run the whole service on this machine: server, media relay, path player, forwarders, and a demonstration organisation."""
    directory = data_dir(data)
    organisation = organisation_dir(None, directory.absolute())
    click.echo(f"Tramontana {__version__}: cryptography and telephony are real, the radio path is simulated.")
    click.echo()
    with tempfile.TemporaryDirectory(prefix="tramontana-") as runtime:
        shared = (database, database_password_file, events, operators_file)
        asyncio.run(_run(_Layout(directory, organisation, port, _free_udp_port(), Path(runtime), forwarders, *shared)))
