"""`tramontana serve`: the server alone, for a supervisor or a service manager."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import uvicorn
from fastapi import FastAPI

from tramontana.cli.address import DEFAULT_PORT
from tramontana.cli.datadir import data_dir, data_option, database_option, database_password_option, operators_option
from tramontana.cli.warning_data import load_warning_data
from tramontana.control import live, logs
from tramontana.control.app import Parts, create_app
from tramontana.control.attachments import AttachmentRules
from tramontana.control.bootstrap import LOG_KEY_NAME, log_key_of, remember_address
from tramontana.control.connections import BoundedWebSocket, ConnectionLimits, http_protocol
from tramontana.control.events import Events, LocalEvents
from tramontana.control.exercises import DIRECTORY as EXERCISES
from tramontana.control.guard import LOOPBACK_NAMES
from tramontana.control.media import Relay
from tramontana.control.nats_events import NatsAddress, NatsEvents
from tramontana.control.operators import Operators, OperatorsFileError, parse_operators
from tramontana.control.reports import DIRECTORY as REPORTS
from tramontana.control.services import Services
from tramontana.control.sky import SkyService
from tramontana.control.store.database import DirectoryLock, PostgresqlAddress, Sharing, Store, StoreError, prepare_directory
from tramontana.control.tak_file import TakFileError, TakServers, parse_tak_servers
from tramontana.emulation.client.driver import PathPlayerClient
from tramontana.errors import LocalError
from tramontana.keys.log import LogKey
from tramontana.phone.forwarder.client.driver import ForwarderClient
from tramontana.phone.relay_secret import load_or_make_relay_secret
from tramontana.space.fleet_file import load_fleet
from tramontana.space.sky import Sky

GRACEFUL_SHUTDOWN_S = 5
KEEP_ALIVE_S = 75
"""A phone that calls or answers now and then uses the connection that it has: a new one takes round trips over the satellite."""
MAX_CONNECTIONS = 4096
MAX_WEBSOCKET_FRAME = 64 * 1024


DESCRIPTORS = MAX_CONNECTIONS + 256
"""One for each connection, and what the store, worker threads and the log need."""


class ListenError(LocalError):
    """The server cannot listen there; the message says why and what to change."""


class _Server(uvicorn.Server):
    """uvicorn without its signal handling (ours ends with exit status 0), telling when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _allow_descriptors() -> None:
    """Raise the soft limit, often 1024, which a stranger's connections would use up: then none is accepted, not even a bounded one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises `ListenError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With the protocol said, asyncio sets TCP_NODELAY on what it accepts; without, each answer waits 40 ms for a delayed ACK.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise ListenError(f"{host} is not an address of this machine ({error.strerror}); choose another with --host") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ListenError(
            f"the server cannot listen on {host} port {port} ({error.strerror}); "
            "stop what uses it, or choose another with --port (0 takes any free one)"
        ) from error
    listener.setblocking(False)
    return listener


def _check_certificate(tls_cert: Path, tls_key: Path) -> None:
    """Raises `ListenError` before anything is opened."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls_cert, tls_key)
    except OSError as error:
        raise ListenError(
            f"the TLS certificate or key cannot be used ({error.strerror or error}); check --tls-cert and --tls-key"
        ) from error


def _host_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.BadParameter(f"{text!r} is not HOST:PORT, for example 127.0.0.1:3478")
    return host.strip("[]"), int(port)


async def _serve(
    directory: Path,
    listener: socket.socket,
    config: Callable[[FastAPI], uvicorn.Config],
    parts: Callable[[Store, LogKey], Parts],
    url: str,
    *,
    log_key: Path,
    database: PostgresqlAddress | None,
    sharing: Sharing,
    say_live: bool,
) -> None:
    store = await Store.open(directory, database, sharing=sharing)
    try:
        app = create_app(parts(store, await log_key_of(store, log_key)))

        started = asyncio.Event()

        def ready() -> None:
            started.set()
            remember_address(directory, url)
            click.echo(json.dumps({"ready": {"address": url, "port": listener.getsockname()[1]}}))

        server = _Server(config(app), ready)

        def stop() -> None:
            server.should_exit = True

        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, stop)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[listener]))
            beside = [group.create_task(_warm_up(started, app)), group.create_task(_hold_place(store, stop))]
            if say_live:
                beside.append(group.create_task(_talk(started, app)))
            await serving
            for task in beside:
                task.cancel()
    except* LocalError as errors:
        raise errors.exceptions[0] from None
    finally:
        await store.close()
    if not server.started:
        raise ListenError("the server did not start; its log above says why")


async def _hold_place(store: Store, stop: Callable[[], None]) -> None:
    """Keep this process's place at the database. Where that is lost for good the server ends, and phones go to another one."""
    try:
        await store.keep()
    except StoreError:
        stop()
        raise


async def _warm_up(started: asyncio.Event, app: FastAPI) -> None:
    await started.wait()
    services: Services = app.state.services
    await services.sky.warm_up(services.clock())


async def _talk(started: asyncio.Event, app: FastAPI) -> None:
    await started.wait()
    await live.print_status(app.state.services, click.echo)


def _operators(file: Path | None) -> Operators:
    if file is None:
        return Operators()
    try:
        return parse_operators(file.read_text(encoding="utf-8"), file.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorsFileError(f"{file} cannot be read ({error}); check --operators") from None
    except OperatorsFileError as error:
        raise OperatorsFileError(f"{file}: {error}") from None


def _tak_servers(file: Path | None) -> TakServers:
    if file is None:
        return TakServers()
    try:
        return parse_tak_servers(file.read_text(encoding="utf-8"), file.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise TakFileError(f"{file} cannot be read ({error}); check --tak") from None
    except TakFileError as error:
        raise TakFileError(f"{file}: {error}") from None


@click.command()
@data_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="TCP port; 0 takes any free one.")
@click.option(
    "--host-name", "host_names", multiple=True, help="A name under which phones reach the server, besides the address; repeatable."
)
@click.option("--relay", metavar="HOST:PORT", help="The media relay; without it there are no calls.")
@click.option(
    "--relay-secret", type=click.Path(path_type=Path), help="Secret shared with the relay; by default relay.secret in the data directory."
)
@click.option(
    "--log-key",
    type=click.Path(path_type=Path),
    help="Key that signs the transparency log, the same for all server processes of a database; by default log.key in the data directory.",
)
@click.option("--player", type=click.Path(path_type=Path), help="Control socket of the path player.")
@click.option(
    "--forwarder",
    "forwarders",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Control socket of a forwarder; repeatable, one for each. Without any there are no conferences and no talk groups.",
)
@click.option("--no-emulation", is_flag=True, help="Let media go to the relay directly: carriers are real, nothing is simulated.")
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate chain (PEM).")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Private key (PEM).")
@click.option("--behind-proxy", is_flag=True, help="A proxy in front of the server ends TLS and passes X-Forwarded-For on.")
@click.option("--proxy-address", default="127.0.0.1", show_default=True, help="The proxy whose X-Forwarded headers are believed.")
@database_option
@database_password_option
@click.option(
    "--events",
    "events_url",
    metavar="URL",
    envvar="TRAMONTANA_EVENTS",
    help="NATS server over which several server processes of one database tell each other what is new: nats://HOST:PORT or tls://HOST:PORT.",
)
@click.option(
    "--events-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the password (of the user in the URL) or token for the events; else $TRAMONTANA_EVENTS_PASSWORD.",
)
@click.option("--attachment-mib", default=32, show_default=True, type=click.IntRange(1, 512), help="The largest attachment, in MiB.")
@click.option("--attachments-mib", default=512, show_default=True, type=click.IntRange(1), help="Attachments kept of one account, in MiB.")
@operators_option
@click.option(
    "--tak",
    "tak_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TAK servers to tell of SOS cases and warnings, and to hear of field units from (TOML, docs/tak.md).",
)
@click.option("--live", "say_live", is_flag=True, help="Print every 15 s what is going on.")
@click.option("--log-level", default="warning", show_default=True, type=click.Choice(["debug", "info", "warning", "error"]))
def serve(
    data: Path | None,
    host: str,
    port: int,
    host_names: tuple[str, ...],
    relay: str | None,
    relay_secret: Path | None,
    log_key: Path | None,
    player: Path | None,
    forwarders: tuple[Path, ...],
    no_emulation: bool,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    proxy_address: str,
    database: str | None,
    database_password_file: Path | None,
    events_url: str | None,
    events_password_file: Path | None,
    attachment_mib: int,
    attachments_mib: int,
    operators_file: Path | None,
    tak_file: Path | None,
    say_live: bool,
    log_level: str,
) -> None:
    """Run the server: accounts, delivery of messages, calls, console.

    The first line on standard output says when it is ready, as JSON. Several of these may serve one PostgreSQL database: give all of
    them --database and --events, and put a proxy in front (docs/operations.md).
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together: give both")
    if not _is_loopback(host) and tls_cert is None and not behind_proxy:
        raise click.UsageError(
            f"{host} can be reached from outside this machine, and browsers give a microphone to encrypted pages only. "
            "Give --tls-cert and --tls-key, or say --behind-proxy if a proxy in front ends TLS"
        )
    if relay is not None and player is None and not no_emulation:
        raise click.UsageError("say where the path player is with --player, or --no-emulation if the carriers are real")
    if events_url is not None and database is None:
        raise click.UsageError("--events is for several servers of one PostgreSQL database: say which with --database")
    if tls_cert is not None and tls_key is not None:
        _check_certificate(tls_cert, tls_key)
    address = PostgresqlAddress.parse(database, database_password_file) if database else None
    bus: Events = NatsEvents(NatsAddress.parse(events_url, events_password_file)) if events_url else LocalEvents()
    operators, tak = _operators(operators_file), _tak_servers(tak_file)
    logs.set_up(log_level)
    _allow_descriptors()
    directory = data_dir(data)
    prepare_directory(directory)
    # Several servers of one database may share a data directory: what they keep there they only read.
    lock = None if events_url else DirectoryLock(directory)
    listener = _listen(host, port)
    try:
        names = LOOPBACK_NAMES if _is_loopback(host) else frozenset({host})
        sky = SkyService(Sky(load_fleet(directory)))
        warning_data = load_warning_data(directory)
        secret_file = relay_secret or directory / "relay.secret"
        relay_at = Relay(*_host_port(relay), load_or_make_relay_secret(secret_file)) if relay else None
        path_player = PathPlayerClient(player) if player and not no_emulation else None
        bound = listener.getsockname()[1]
        url = f"{'https' if tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{bound}"

        def parts(store: Store, signs: LogKey) -> Parts:
            served = names | {name.lower() for name in host_names}
            clients = tuple(ForwarderClient(control) for control in forwarders)
            rules = AttachmentRules(attachment_mib << 20, attachments_mib << 20)
            return Parts(
                store,
                sky,
                relay_at,
                path_player,
                host_names=served,
                events=bus,
                forwarders=clients,
                attachments=rules,
                log_key=signs,
                operators=operators,
                tak=tak,
                warning_data=warning_data,
                reports=directory / REPORTS,
                exercises=directory / EXERCISES,
            )

        def config(app: FastAPI) -> uvicorn.Config:
            return uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=behind_proxy,
                forwarded_allow_ips=proxy_address,
                timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
                timeout_keep_alive=KEEP_ALIVE_S,
                limit_concurrency=MAX_CONNECTIONS,
                # A proxy's connections are those of everybody behind it.
                http=http_protocol(ConnectionLimits(per_address=None) if behind_proxy else ConnectionLimits()),
                ws=BoundedWebSocket,
                ws_max_size=MAX_WEBSOCKET_FRAME,
                ws_ping_interval=None,  # the protocol has its own ping, which an application behind a proxy sees as well
                ws_per_message_deflate=False,  # ciphertext does not shrink
                ssl_certfile=tls_cert,
                ssl_keyfile=tls_key,
                lifespan="on",
            )

        sharing: Sharing = "several" if events_url else "alone"
        key_file = log_key or directory / LOG_KEY_NAME
        serving = _serve(directory, listener, config, parts, url, log_key=key_file, database=address, sharing=sharing, say_live=say_live)
        asyncio.run(serving)
    finally:
        listener.close()
        if lock is not None:
            lock.release()
