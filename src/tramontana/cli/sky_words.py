"""Words that several `tramontana sky` commands share: the place and carrier asked for, a row on screen, the state of a path."""

from __future__ import annotations

import click
import numpy as np

from tramontana.carriers.catalogue import CARRIERS
from tramontana.path_profile import PathProfile

place_option = click.option("--place", "place_id", default="rome", show_default=True, help="Where the user is; `sky places` lists them.")
carrier_option = click.option(
    "--carrier",
    "carrier_id",
    type=click.Choice([c.id for c in CARRIERS]),
    default="starlink",
    show_default=True,
    help="What carries the traffic.",
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


def row(what: str, text: str) -> None:
    """Print a word and what there is to say about it."""
    click.echo(f"{what:<17}{text}")
