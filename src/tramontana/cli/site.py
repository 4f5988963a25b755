"""`tramontana site` and `tramontana gateway`: the agents of routers, in the foreground, and what they say of themselves."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from tramontana.cli import join as joining
from tramontana.cli.beside import beside, run_until_stopped
from tramontana.cli.dish import dish
from tramontana.cli.router_link import ServerLink, catch_up
from tramontana.device.storage.driver import SealedStore
from tramontana.errors import LocalError
from tramontana.internet import zeroise
from tramontana.internet.driver import STATUS_SOCKET, StateDirectory, serve_status
from tramontana.internet.gateway import driver as gateways
from tramontana.internet.gateway import machine as gateway_machine
from tramontana.internet.linux.found import interfaces
from tramontana.internet.settings import GatewaySettings, SiteSettings, parse_settings
from tramontana.internet.site import driver as sites
from tramontana.internet.site import known_gateways, machine
from tramontana.internet.site.page.driver import serve
from tramontana.internet.site.page.render import page
from tramontana.internet.zeroise import Zeroised

S = TypeVar("S", SiteSettings, GatewaySettings)
STATUS_TIMEOUT_S = 5.0
ZEROISE_AGAIN_S = 10.0

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
    """Make this machine a site and keep it one. Ctrl-C stops the agent; tunnels and the kill switch stay (`site down` takes them away)."""
    _run(_site(config))


@gateway.command("run")
@config_option
def run_gateway(config: Path) -> None:
    """Make this machine a gateway and keep it one. Ctrl-C stops the agent; tunnels stay (`gateway down` takes them away)."""
    _run(_gateway(config))


async def _site(config: Path) -> None:
    """The agent, made anew when other gateways are there: tunnels outlive that."""
    made: list[float] = []
    await _stay_closed_if_zeroised(config, SiteSettings, machine.destroy_keys)
    while True:
        made = [*made, time.monotonic()][-known_gateways.MOST_REMADE :]
        settings = _settings(config, SiteSettings)
        machine.close(known_gateways.with_known_gateways(settings))
        try:
            agent = sites.SiteAgent(settings)
            await beside(agent.run(), _due(agent, made))
        except Zeroised as ordered:
            _begin_anew("site", config, ordered)


def _begin_anew(word: str, config: Path, ordered: Zeroised) -> NoReturn:
    """So that this process has nothing of the keys in its memory; the new one finishes what was begun."""
    logging.getLogger(f"tramontana.{word}").warning("%s", ordered)
    words = ["-P", "-m", "tramontana.cli.main", word, "run", "--config", str(config)]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - there is no shell in it


async def _stay_closed_if_zeroised(config: Path, kind: type[S], destroy_keys: Callable[[S, Path], None]) -> None:
    """Destroy what is left, and then only say so."""
    settings = _settings(config, kind)
    if not zeroise.is_begun(settings.state):
        return
    fault: str | None = None

    def condition() -> dict[str, Any]:
        return zeroise.condition(settings, fault)

    async with await serve_status(StateDirectory(settings.state), condition), asyncio.TaskGroup() as tasks:
        if isinstance(settings, SiteSettings) and settings.page_port is not None:
            tasks.create_task(serve(settings.local, settings.page_port, lambda language: page(condition(), {}, {}, language)))
        while True:
            try:
                destroy_keys(settings, config)
            except LocalError as error:
                fault = str(error)
                logging.getLogger("tramontana.zeroise").error("%s", fault)
            else:
                fault = None
                await asyncio.Event().wait()
            await asyncio.sleep(ZEROISE_AGAIN_S)


async def _due(agent: sites.SiteAgent, made: list[float]) -> None:
    await agent.gateways_changed.wait()
    await asyncio.sleep(known_gateways.wait_until_remade_s(made, time.monotonic()))


async def _gateway(config: Path) -> None:
    await _stay_closed_if_zeroised(config, GatewaySettings, gateway_machine.destroy_keys)
    try:
        await _serve_sites(_settings(config, GatewaySettings))
    except Zeroised as ordered:
        _begin_anew("gateway", config, ordered)


async def _serve_sites(settings: GatewaySettings) -> None:
    if not settings.joined:
        await beside(gateways.GatewayAgent(settings).run(), asyncio.Event().wait())
        return
    store = SealedStore.of_machine(settings.state)
    try:
        await catch_up(store, settings.log)  # a certificate that was renewed meanwhile, first of all its own
        agent = gateways.GatewayAgent(settings)
        await beside(ServerLink(agent, store).run(), agent.run())
    finally:
        store.close()


directory_option = click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where its keys are kept; by default below /var/lib/tramontana.",
)
name_option = click.option("--name", default=socket.gethostname, help="What it is called; by default the machine's name.")
tag_option = click.option("--tag", help="Begins the names of its interfaces: at most 6 of a–z and 0–9, unique on the machine.")
position_option = click.option(
    "--position", nargs=2, type=float, metavar="LATITUDE LONGITUDE", help="Where it stands, in degrees, for the console's map."
)
foreground_option = click.option("--foreground", is_flag=True, help="Run here until Ctrl-C instead of as a service of systemd.")


@site.command("join")
@directory_option
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), default=Path("/etc/tramontana/site.toml"), show_default=True)
@name_option
@click.option(
    "--uplink",
    "uplinks",
    multiple=True,
    metavar="INTERFACE=CARRIER",
    help="An uplink, the preferred one first; also INTERFACE=CARRIER,ADDRESS/LENGTH,VIA. By default every way to the internet.",
)
@click.option("--local", multiple=True, metavar="INTERFACE", help="Towards the local network; by default whatever is no uplink.")
@click.option("--network", "networks", multiple=True, metavar="NETWORK", help="The local network; by default the one that is there.")
@tag_option
@click.option("--underlay", default="uplinks", show_default=True, help="What the namespace of the uplinks is called.")
@position_option
@foreground_option
@click.argument("link", required=False)
def join_site(
    directory: Path | None,
    config: Path,
    name: str,
    uplinks: tuple[str, ...],
    local: tuple[str, ...],
    networks: tuple[str, ...],
    tag: str | None,
    underlay: str,
    position: tuple[float, float] | None,
    foreground: bool,
    link: str | None,
) -> None:
    """Make this machine a site of the organisation that the invitation LINK names; `-`: a line of standard input, which no other user of
    the machine sees. Begun before, it goes on without LINK.

    From the moment the site runs, this machine and its local network reach the internet through its gateways only.
    """
    joining.check_root("site")
    kept_in = directory or Path("/var/lib/tramontana/site")
    found = interfaces()
    by_local = joining.find_local(local, found, [text.partition("=")[0] for text in uplinks])
    chosen = joining.find_uplinks(uplinks, found, by_local)
    joining.check_dhcp(chosen)
    asked, there = joining.asked_networks(networks), joining.local_networks(by_local, found)
    _forget_zeroised(kept_in, "site", link)
    certified, place = joining.join_router(
        "site", link, name.strip(), kept_in, lambda connected: joining.site_place(connected, asked, there)
    )
    text = joining.site_config(certified.common_lines(tag or "site", position), underlay, place, chosen, by_local, found)
    joining.write_config(config, text, "site")
    known_gateways.forget_gateways(certified.directory)
    click.echo(f"Site {place.number}, network {', '.join(map(str, place.networks))} on {', '.join(by_local)}.")
    for uplink in chosen:
        click.echo(f"Uplink {uplink.interface}: {uplink.carrier}{'' if uplink.address is None else f', {uplink.address}'}")
    if foreground or not joining.install_service("site", config):
        click.echo("Runs in the foreground; Ctrl-C stops the agent, and tunnels and the kill switch stay.")
        _run(_site(config))


@gateway.command("join")
@directory_option
@click.option("--config", type=click.Path(dir_okay=False, path_type=Path), default=Path("/etc/tramontana/gateway.toml"), show_default=True)
@name_option
@click.option("--outside", metavar="INTERFACE", help="Towards the internet; by default the one with the way there.")
@click.option("--address", metavar="ADDRESS", help="At which sites reach it; by default that of the interface.")
@click.option("--address-6", metavar="ADDRESS", help="Its IPv6 address, for sites with IPv6 alone, where the other is of IPv4.")
@click.option("--uplinks", type=click.IntRange(1, 15), default=4, show_default=True, help="How many uplinks of a site it serves.")
@click.option("--site-to-site", is_flag=True, help="Sites may reach each other.")
@tag_option
@position_option
@foreground_option
@click.argument("link", required=False)
def join_gateway(
    directory: Path | None,
    config: Path,
    name: str,
    outside: str | None,
    address: str | None,
    address_6: str | None,
    uplinks: int,
    site_to_site: bool,
    tag: str | None,
    position: tuple[float, float] | None,
    foreground: bool,
    link: str | None,
) -> None:
    """Make this machine a gateway of the organisation that the invitation LINK names; `-`: a line of standard input, which no other user
    of the machine sees. Begun before, it goes on without LINK."""
    joining.check_root("gateway")
    kept_in = directory or Path("/var/lib/tramontana/gateway")
    interface, at = joining.outside_of(interfaces(), outside, address)
    at_6 = joining.address_of_6(address_6, at)
    _forget_zeroised(kept_in, "gateway", link)
    certified, place = joining.join_router(
        "gateway",
        link,
        name.strip(),
        kept_in,
        lambda connected: joining.gateway_place(connected, at, at_6),
    )
    common = certified.common_lines(tag or "gate", position)
    text = joining.gateway_config(common, place.number, at, at_6, interface, uplinks, site_to_site=site_to_site)
    joining.write_config(config, text, "gateway")
    click.echo(f"Gateway {place.number} at {at}{'' if at_6 is None else f' and {at_6}'}, towards the internet by {interface}.")
    if foreground or not joining.install_service("gateway", config):
        click.echo("Runs in the foreground; Ctrl-C stops the agent, and tunnels stay.")
        _run(_gateway(config))


@site.command("down")
@config_option
def site_down(config: Path) -> None:
    """Take tunnels, the uplinks' namespace and the kill switch away: afterwards this machine sends in the clear again."""
    machine.take_down(_settings(config, SiteSettings))


@site.command("zeroise")
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def zeroise_site(config: Path, yes: bool) -> None:
    """Destroy this site's keys and all that it knows of the organisation, close its tunnels, and let nothing out any more. Nothing brings
    them back: for service again it joins with a new invitation."""
    joining.check_root("site")
    settings = _settings(config, SiteSettings)
    if not yes:
        click.confirm(f"Destroy the keys of this site ({config})? Its local network stays cut off.", abort=True)
    _zeroise(settings, config, machine.destroy_keys)
    click.echo("Zeroised: keys, log and certificate are destroyed, tunnels are closed, and nothing leaves this site.")
    click.echo("Tell a custodian, so that its certificate is revoked. `tramontana site down` takes the kill switch away.")


@gateway.command("zeroise")
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def zeroise_gateway(config: Path, yes: bool) -> None:
    """Destroy this gateway's keys and all that it knows of the organisation and its sites, close their tunnels, and forward nothing any
    more. Nothing brings them back: for service again it joins with a new invitation."""
    joining.check_root("gateway")
    settings = _settings(config, GatewaySettings)
    if not yes:
        click.confirm(f"Destroy the keys of this gateway ({config})? Its sites have to go by others.", abort=True)
    _zeroise(settings, config, gateway_machine.destroy_keys)
    click.echo("Zeroised: keys, log and certificate are destroyed, tunnels are closed, and nothing is forwarded.")
    click.echo("Tell a custodian, so that its certificate is revoked. `tramontana gateway down` takes the rules away.")


def _zeroise(settings: S, config: Path, destroy_keys: Callable[[S, Path], None]) -> None:
    zeroise.begin(settings.state, "somebody did so on this machine", time.time())
    destroy_keys(settings, config)
    ends = time.monotonic() + ZEROISE_AGAIN_S
    while not _is_quiet(settings.state) and time.monotonic() < ends:
        time.sleep(0.1)
    destroy_keys(settings, config)  # what an agent that was at work made meanwhile


def _forget_zeroised(state: Path, role: str, link: str | None) -> None:
    """Raises `Zeroised` where a machine that was zeroised is to join without a new invitation."""
    if zeroise.is_begun(state):
        if link is None:
            raise Zeroised(f"this {role} was zeroised: give the link of a new invitation with the role {role}")
        zeroise.forget(state)


def _is_quiet(state: Path) -> bool:
    """Whether no agent runs that has keys in its memory."""
    try:
        return bool(_status(state).get("zeroised"))
    except LocalError:
        return True


@gateway.command("down")
@config_option
def gateway_down(config: Path) -> None:
    """Take tunnels and rules away."""
    gateway_machine.take_down(_settings(config, GatewaySettings))


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
        return parse_settings(path.read_text(encoding="utf-8"), kind, str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise LocalError(f"cannot read {path} ({error})") from error


def _run(agent: Awaitable[None]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not run_until_stopped(agent):
        click.echo("The agent stops; tunnels, rules and the kill switch stay.")


def _show_status(state: Path) -> None:
    click.echo(json.dumps(_status(state), indent=1))


def _status(state: Path) -> dict[str, Any]:
    """What the running agent says of itself. Raises `LocalError`."""
    path = state / STATUS_SOCKET
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(STATUS_TIMEOUT_S)
            connection.connect(str(path))
            with connection.makefile("rb") as stream:
                status: dict[str, Any] = json.loads(stream.readline())
    except (OSError, ValueError) as error:
        raise LocalError(f"nothing answers at {path} ({error}); start the agent with `run`") from error
    return status
