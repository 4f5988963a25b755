"""Words that several `tramontana sky` commands share: the place and carrier asked for, a row on screen, the state of a path."""

from __future__ import annotations

import click
import numpy as np

from tramontana.carriers.carrier import Carrier
from tramontana.carriers.catalogue import offered
from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.ageing import element_age
from tramontana.space.fleet import Fleet, utc_text

place_option = click.option("--place", "place_id", default="rome", show_default=True, help="Where the user is; `sky places` lists them.")
carrier_option = click.option(
    "--carrier", "carrier_id", default=None, metavar="ID", help="What carries the traffic: the loaded fleet unless told; sicral-2 or fibre."
)


def chosen_carrier(carrier_id: str | None, fleet: Fleet) -> Carrier:
    """The carrier asked for, or the one whose fleet is loaded. Raises `LocalError` that lists what can be had."""
    choice = offered(fleet)
    for carrier in choice:
        if carrier_id in (None, carrier.id):
            return carrier
    raise LocalError(
        f"carrier {carrier_id!r} cannot be had over {fleet.label}: use one of {', '.join(carrier.id for carrier in choice)}, "
        "or load that carrier's elements with `tramontana sky load`"
    )


def show_state(path: PathProfile) -> None:
    """Print delay, capacity and loss of a path."""
    covered = path.one_way_delay_s[np.isfinite(path.one_way_delay_s)]
    if covered.shape[0] == 0:
        row("One-way delay", "none: the carrier does not reach this place")
        return
    low, middle, high = np.percentile(covered, [0, 50, 100]) * 1e3
    row("One-way delay", f"{middle:.1f} ms" + (f" ({low:.1f} to {high:.1f})" if high - low > 0.05 else ""))
    row("Capacity", f"{np.max(path.capacity_down_bps) / 1e6:g} Mbit/s down, {np.max(path.capacity_up_bps) / 1e6:g} Mbit/s up")
    row("Loss", f"{np.min(path.loss):.3%} at random")


def elements_text(fleet: Fleet, at_unix_s: float) -> str:
    """How old the elements are at an instant, and what that means."""
    age = element_age(fleet, at_unix_s)
    if age.freshness == "ideal":
        return "age does not apply: generated from a table, not observed"
    return f"median epoch {utc_text(fleet.epochs.median_unix_s)}. {age.sentence}"


def row(what: str, text: str) -> None:
    """Print a word and what there is to say about it."""
    click.echo(f"{what:<17}{text}")
