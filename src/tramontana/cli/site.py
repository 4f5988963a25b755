"""`tramontana site` and `tramontana gateway`: the agents of routers, in the foreground, and what they say of themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, TypeVar

import click

from tramontana.cli.dish import dish
from tramontana.errors import LocalError
from tramontana.internet.driver import STATUS_SOCKET
from tramontana.internet.gateway import driver as gateways
from tramontana.internet.settings import GatewaySettings, SiteSettings, parse_settings
from tramontana.internet.site import driver as sites

S = TypeVar("S", SiteSettings, GatewaySettings)
STATUS_TIMEOUT_S = 5.0

config_option = click.option(
    "--config", required=True, type=click.Path(path_type=Path), help="Its configuration (TOML, see docs/internet.md)."
)


@click.group()
def site() -> None:
    """A site's router: uplinks apart, tunnels to gateways, nothing in the clear."""


@click.group()
def gateway() -> None:
    """A gateway: the tunnels of many sites, and their way to the internet."""


@site.command("run")
@config_option
def run_site(config: Path) -> None:
    """Make this machine a site and keep it one. Ctrl-C stops the agent and blocks; the kill switch stays (`site down` takes it away)."""
    _run(sites.SiteAgent(_settings(config, SiteSettings)).run())


@gateway.command("run")
@config_option
def run_gateway(config: Path) -> None:
    """Make this machine a gateway and keep it one. Ctrl-C stops the agent; tunnels stay (`gateway down` takes them away)."""
    _run(gateways.GatewayAgent(_settings(config, GatewaySettings)).run())


@site.command("down")
@config_option
def site_down(config: Path) -> None:
    """Take tunnels, the uplinks' namespace and the kill switch away: afterwards this machine sends in the clear again."""
    sites.take_down(_settings(config, SiteSettings))


@gateway.command("down")
@config_option
def gateway_down(config: Path) -> None:
    """Take tunnels and rules away."""
    gateways.take_down(_settings(config, GatewaySettings))


@site.command("status")
@config_option
def site_status(config: Path) -> None:
    """What the running site says of itself, as JSON."""
    _show_status(_settings(config, SiteSettings).state)


@gateway.command("status")
@config_option
def gateway_status(config: Path) -> None:
    """What the running gateway says of itself, as JSON."""
    _show_status(_settings(config, GatewaySettings).state)


site.add_command(dish)


def _settings(path: Path, kind: type[S]) -> S:
    try:
        return parse_settings(path.read_text(), kind, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"cannot read {path} ({error})") from error


def _run(agent: Awaitable[None]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    async def until_stopped() -> None:
        task = asyncio.ensure_future(agent)
        for stop in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(stop, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            click.echo("The agent stops; tunnels, rules and the kill switch stay.")

    asyncio.run(until_stopped())


def _show_status(state: Path) -> None:
    path = state / STATUS_SOCKET
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(STATUS_TIMEOUT_S)
            connection.connect(str(path))
            with connection.makefile("rb") as stream:
                status: dict[str, Any] = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise LocalError(f"nothing answers at {path} ({error}); start the agent with `run`") from error
    click.echo(json.dumps(status, indent=1))
