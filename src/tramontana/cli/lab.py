"""`tramontana lab`: a site, two gateways, the internet and three carriers on one machine, each carrier played from its path profile."""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tramontana.carriers.downpour import USUAL_EXCEEDANCE
from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.lab_network import HOSTS, UPLINKS, LabError, Network, requirements
from tramontana.cli.lab_run import Laboratory, ask, sole, until_gone
from tramontana.cli.sky_words import place_option
from tramontana.errors import LocalError
from tramontana.space.fleet_file import load_fleet
from tramontana.space.sky import Sky

name_option = click.option("--name", default="tlab", show_default=True, help="Of the laboratory: several can run side by side.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
carrier_argument = click.argument("carrier", type=click.Choice([uplink.carrier_id for uplink in UPLINKS]))


@click.group()
def lab() -> None:
    """A laboratory on this machine: a site with three simulated carriers, two gateways and a host on the internet. Needs root."""


def _command(function: Callable[..., None]) -> click.Command:
    """A subcommand that asks the running laboratory; it gets `ask`, bound to the laboratory's name."""

    @name_option
    @functools.wraps(function)
    def run(name: str, **options: Any) -> None:
        function(ask=functools.partial(ask, Network(name).name), **options)

    return lab.command()(run)


@lab.command()
@name_option
@place_option
@data_option
@click.option("--seed", type=click.IntRange(0, 1 << 32), default=0, show_default=True, help="Of losses and of the simulated weather.")
@click.option("--plain", is_flag=True, help="Without tunnels: the site's traffic goes in the clear over the carrier that you choose.")
def up(name: str, place_id: str, data: Path | None, seed: int, plain: bool) -> None:
    """Build the laboratory and run it until Ctrl-C or `lab down`. Nothing is left behind."""
    requirements()
    network = Network(name)
    sky = Sky(load_fleet(data_dir(data)), seed=seed)
    with sole(network):
        laboratory = Laboratory(network, sky.ground.place(place_id), sky, seed, click.echo, not plain, data_dir(data).absolute())
        click.echo(f"Laboratory {name}: hosts and programs are real, the radio paths are simulated ({sky.label}).")
        asyncio.run(laboratory.run(lambda: _welcome(plain=plain)))
    click.echo("The laboratory is gone.")


def _welcome(*, plain: bool) -> None:
    click.echo("Ready. From another terminal, as root:")
    click.echo("  tramontana lab status              carriers, delay, loss")
    click.echo("  tramontana lab run lan ping 203.0.113.10")
    click.echo("  tramontana lab cut starlink        and restore, rain, unplug, rebind, down")
    if plain:
        click.echo("The site has no tunnels here: its traffic goes in the clear over one carrier.")
    else:
        click.echo("The site's agent makes its tunnels now; until the first one has its key, nothing gets out.")
    click.echo("Ctrl-C ends the laboratory.")


@_command
@json_option
def status(ask: Callable[..., dict[str, Any]], as_json: bool) -> None:
    """Every carrier: what its path says, what is measured over it, and what a host in the LAN sees."""
    found = ask({"op": "status"})
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    click.echo(f"Laboratory {found['name']}, a site at {found['place']}; radio paths simulated")
    tunnels = f"{'Tunnels':>12}" if found["protected"] else ""
    age = f"{'Key age':>9}" if found["protected"] else ""
    click.echo(f"{'Carrier':<12}{'State':<11}{tunnels}{'Measured':>10}{'Lost':>7}{age}{'Path':>9}{'Mbit/s':>11}  Serving")
    for carrier in found["carriers"]:
        treatment = carrier["treatment"]
        state = "up" if treatment == "clear" and not carrier["in_outage"] else "outage" if treatment == "clear" else treatment
        rates = "–" if carrier["in_outage"] else f"{carrier['capacity_down_mbps']:.0f} / {carrier['capacity_up_mbps']:.0f}"
        serving = carrier["serving"] or "–"
        if carrier["next_handover_s"] is not None and carrier["serving"]:
            serving += f", handover in {carrier['next_handover_s']:.0f} s"
        own = _tunnels(carrier["tunnels"]) if found["protected"] else _measured(carrier["measured"])
        path = _ms(carrier["path_round_trip_ms"])
        click.echo(f"{carrier['carrier']:<12}{state:<11}{own}{path:>9}{rates:>11}  {serving}")
    lan = found["lan_to_internet"]
    if not found["protected"]:
        how = f"in the clear over {found['uses']}"
    elif found["uses"]:
        how = f"through the tunnel over {found['uses']} to {found['gateway']}"
    else:
        how = f"blocked: {found['blocked']}"
    click.echo(f"LAN host to the internet: {_ms(lan['round_trip_ms'])}, {_share(lan['loss'])} lost, {how}")
    for change in found["changes"]:
        click.echo(f"  {change['ago_s']:.0f} s ago from {change['from'] or 'nowhere'} to {change['to'] or 'nowhere'}: {change['reason']}")


def _tunnels(tunnels: list[dict[str, Any]]) -> str:
    """How many of a carrier's tunnels are up, what the agent measures in the quickest of them, and the age of the oldest key in force."""
    ages = [tunnel["key_age_s"] for tunnel in tunnels if tunnel["key_age_s"] is not None]
    living = [tunnel for tunnel in tunnels if tunnel["up"] and tunnel.get("health") != "dead"]
    measured = [tunnel for tunnel in living if tunnel.get("round_trip_s") is not None]
    best = min(measured, key=lambda tunnel: float(tunnel["round_trip_s"]), default={})
    trip = best["round_trip_s"] * 1e3 if best else None
    up = f"{len(living)} of {len(tunnels)} up"
    return f"{up:>12}{_ms(trip):>10}{_share(best.get('loss')):>7}{f'{max(ages):.0f} s' if ages else '–':>9}"


def _measured(measured: dict[str, Any]) -> str:
    return f"{_ms(measured['round_trip_ms']):>10}{_share(measured['loss']):>7}"


@_command
@carrier_argument
def cut(ask: Callable[..., dict[str, Any]], carrier: str) -> None:
    """Let every packet of a carrier vanish. Nobody is told: the site must notice."""
    ask({"op": "cut", "carrier": carrier})
    click.echo(f"{carrier} is cut: packets vanish both ways. `lab restore {carrier}` ends it.")


@_command
@carrier_argument
@click.option("--in", "in_s", type=click.FloatRange(1, 3600), default=15.0, show_default=True, help="Seconds from now.")
@click.option("--for", "for_s", type=click.FloatRange(0.3, 3600), default=10.0, show_default=True, help="Seconds.")
def outage(ask: Callable[..., dict[str, Any]], carrier: str, in_s: float, for_s: float) -> None:
    """Announce an outage of a carrier, and play it when its time has come: the site can leave before."""
    ask({"op": "outage", "carrier": carrier, "in_s": in_s, "for_s": for_s})
    click.echo(f"{carrier} will be out in {in_s:.0f} s, for {for_s:.0f} s. The site knows.")


@_command
@carrier_argument
def unplug(ask: Callable[..., dict[str, Any]], carrier: str) -> None:
    """Pull a carrier's cable: the kernel tells whoever watches the interface."""
    ask({"op": "unplug", "carrier": carrier})
    click.echo(f"{carrier} is unplugged: its interface has no carrier. `lab restore {carrier}` ends it.")


@_command
@carrier_argument
@click.option(
    "--exceeded",
    type=click.FloatRange(0, 50, min_open=True, max_open=True),
    default=100 * USUAL_EXCEEDANCE,
    show_default=True,
    metavar="PERCENT",
    help="Rain that is exceeded for this share of the year at the place: the smaller, the harder.",
)
def rain(ask: Callable[..., dict[str, Any]], carrier: str, exceeded: float) -> None:
    """Let it rain on a carrier over satellites, as ITU-R P.618 has it for the place."""
    now = ask({"op": "rain", "carrier": carrier, "exceedance": exceeded / 100})
    left = "nothing gets through" if now["in_outage"] else f"{now['capacity_down_mbps']:.0f} down, {now['capacity_up_mbps']:.0f} up Mbit/s"
    click.echo(f"It rains on {carrier} as in {exceeded:g} % of the year: {left}. `lab restore {carrier}` ends it.")


@_command
@carrier_argument
def restore(ask: Callable[..., dict[str, Any]], carrier: str) -> None:
    """Undo cut, unplug and rain."""
    ask({"op": "restore", "carrier": carrier})
    click.echo(f"{carrier} is as its path has it.")


@_command
@carrier_argument
def use(ask: Callable[..., dict[str, Any]], carrier: str) -> None:
    """Send the site's traffic over another carrier, by hand."""
    ask({"op": "use", "carrier": carrier})
    click.echo(f"The site's traffic goes over {carrier}.")


@_command
def rebind(ask: Callable[..., dict[str, Any]]) -> None:
    """Let the mobile operator give the site another public address and forget its connections."""
    click.echo(f"The operator of 4g translates to {ask({'op': 'rebind'})['address']} now.")


@lab.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@name_option
@click.argument("host", type=click.Choice(HOSTS))
@click.argument("command", nargs=-1, required=True)
def run(name: str, host: str, command: tuple[str, ...]) -> None:
    """Run a command on a host of the laboratory, for example `lab run lan bash`."""
    requirements()
    network = Network(name)
    if host not in network.leftovers():
        raise LabError("no laboratory runs: start one with `tramontana lab up`")
    os.execvp("ip", ["ip", "netns", "exec", network.namespace(host), *command])  # noqa: S606 - as the person asked


@lab.command()
@name_option
def down(name: str) -> None:
    """End the laboratory, or clean up after one that was killed."""
    requirements()
    network = Network(name)
    try:
        ask(network.name, {"op": "down"})
    except LocalError:
        with sole(network):
            pass
        click.echo("No laboratory runs; nothing of one is left.")
        return
    until_gone(network)
    click.echo("The laboratory is gone.")


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} ms"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
