"""`tramontana sky`: which constellation is in use, and what it means for a place."""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path

import click

from tramontana.carriers.carrier import CarrierKind
from tramontana.carriers.paths import path_profile
from tramontana.cli.datadir import data_dir, data_option
from tramontana.cli.sky_words import carrier_option, chosen_carrier, elements_text, place_option, row, show_state
from tramontana.errors import LocalError
from tramontana.space.driver import ATTRIBUTION, fetch_elements
from tramontana.space.elements import LARGEST_FILE_BYTES, LoadedElements, parse_elements
from tramontana.space.fleet import utc_text
from tramontana.space.fleet_file import load_fleet, save_fleet, use_default
from tramontana.space.ground import mediterranean
from tramontana.space.sky import Sky

REJECTIONS_SHOWN = 20

STUDIES = ("passes", "coverage", "latency", "capacity", "availability", "route", "profile")
"""Each the command of that name in the module `sky_` and that name."""


class _Sky(click.Group):
    """Imports a study when it is asked for: looking at the sky needs no plotting."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *STUDIES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in STUDIES:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(f"tramontana.cli.sky_{cmd_name}"), cmd_name)
        return command


@click.group(cls=_Sky)
def sky() -> None:
    """The constellation in use: load it, look at it, compute paths with it; studies over places and time."""


@sky.command()
@click.argument("file", type=click.Path(path_type=Path))
@data_option
def load(file: Path, data: Path | None) -> None:
    """Use the element sets of FILE: TLE, or OMM in JSON, CSV or XML, plain or in gzip."""
    directory = data_dir(data)
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise LocalError(f"cannot read {file} ({error.strerror}): check the path and its permissions") from error
    _take_over(parse_elements(content, name=file.name), directory)


@sky.command()
@click.option("--group", default="starlink", show_default=True, help="A group of CelesTrak, for example starlink, oneweb, kuiper.")
@data_option
def fetch(group: str, data: Path | None) -> None:
    """Use current element sets from CelesTrak (needs internet; at most once in two hours a group)."""
    directory = data_dir(data)
    fetched = fetch_elements(group, directory=directory, now_unix_s=time.time())
    click.echo(f"Downloaded {len(fetched.data):,} bytes. Data: {ATTRIBUTION}.")
    _take_over(parse_elements(fetched.data, name=f"CelesTrak {group}", source=f"{ATTRIBUTION}, group {group}"), directory)


@sky.command()
@data_option
def default(data: Path | None) -> None:
    """Return to the built-in constellation, Starlink Gen1 as filed."""
    directory = data_dir(data)
    aside = use_default(directory)
    click.echo(f"In use: {load_fleet(directory).label} (built in)." + (f" The other one was set aside as {aside}." if aside else ""))


@sky.command()
@place_option
@carrier_option
@data_option
def show(place_id: str, carrier_id: str | None, data: Path | None) -> None:
    """What is in use, and who serves a place at this moment."""
    fleet = load_fleet(data_dir(data))
    now = time.time()
    simulated, chosen = Sky(fleet), chosen_carrier(carrier_id, fleet)
    place = simulated.ground.place(place_id)
    row("Constellation", f"{fleet.label}  (the radio path is simulated)")
    row("Source", fleet.source)
    row("Elements", elements_text(fleet, now))
    row("Place", f"{place.name}  {place.latitude_deg:.2f}° {place.longitude_deg:.2f}°")
    row("Carrier", f"{chosen.name} ({chosen.kind.value}), {chosen.operator}, jurisdiction {chosen.jurisdiction}")
    if chosen.kind is not CarrierKind.LEO:
        show_state(path_profile(chosen, place, simulated, now, 1.0))
        return
    row("In view", f"{simulated.in_view(place, now)} of {len(fleet):,} satellites at 25° or higher")
    serving = simulated.serving(place, now)
    if serving is None:
        row("Serving", "none: no satellite in view sees a gateway")
        return
    row("Serving", f"{serving.satellite}, elevation {serving.elevation_deg:.1f}°, range {serving.slant_range_m / 1e3:.0f} km")
    row("Gateway", f"{serving.gateway}, point of presence {serving.point_of_presence}")
    row("One-way delay", f"{serving.one_way_delay_s * 1e3:.1f} ms")
    if serving.next_handover_unix_s is None:
        row("Next handover", "none in the next six minutes")
    else:
        following = serving.next_satellite_index
        to = "no coverage" if following is None else fleet.names[following]
        row("Next handover", f"in {serving.next_handover_unix_s - now:.0f} s, to {to}")


@sky.command()
def places() -> None:
    """The places that can be asked for."""
    for place in mediterranean().places:
        click.echo(f"{place.id:<22}{place.name:<28}{place.country:<4}{place.latitude_deg:>7.2f}{place.longitude_deg:>8.2f}")


def _take_over(loaded: LoadedElements, directory: Path) -> None:
    path = save_fleet(loaded.fleet, directory)
    click.echo(f"Accepted {len(loaded.fleet):,} satellites ({loaded.format}), rejected {len(loaded.rejections):,}.")
    for rejection in loaded.rejections[:REJECTIONS_SHOWN]:
        click.echo(f"  {rejection.where}: {rejection.name or '(no name)'}: {rejection.reason}")
    if len(loaded.rejections) > REJECTIONS_SHOWN:
        click.echo(f"  and {len(loaded.rejections) - REJECTIONS_SHOWN:,} more")
    epochs = loaded.fleet.epochs
    click.echo(f"Epochs {utc_text(epochs.oldest_unix_s)} to {utc_text(epochs.newest_unix_s)}, median {utc_text(epochs.median_unix_s)}.")
    click.echo(f"In use from the next start on: {loaded.fleet.label}. Saved as {path}.")
