"""`tramontana site dish`: what the site's Starlink terminal says of itself, over its local gRPC address."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from tramontana.internet.dish import PORT, DishState
from tramontana.internet.linux.dish_process import ask_dish

USUAL_ADDRESS = f"192.168.100.1:{PORT}"


@click.command()
@click.option(
    "--address", default=USUAL_ADDRESS, show_default=True, help="HOST:PORT of the terminal, or unix:PATH of a running site's socket to it."
)
@click.option("--json", "as_json", is_flag=True, help="For programs, with the obstruction map.")
def dish(address: str, as_json: bool) -> None:
    """Show a Starlink terminal: state, obstructions, outages, alerts. Fields that its firmware lacks are named."""
    found = ask_dish(address)
    if as_json:
        click.echo(json.dumps({**asdict(found), "missing": found.missing}))
        return
    rows = [
        ("Terminal", f"{found.hardware or 'unknown model'}, firmware {found.software or 'unknown'}"),
        ("State", (found.state or "unknown") + (f", up for {found.uptime_s / 3600:.1f} h" if found.uptime_s is not None else "")),
        ("Round trip", "–" if found.round_trip_s is None else f"{found.round_trip_s * 1e3:.0f} ms to the point of presence"),
        ("Loss", "–" if found.loss is None else f"{found.loss:.1%}"),
        (
            "Traffic",
            " / ".join("–" if rate is None else f"{rate / 1e6:.1f}" for rate in (found.down_bps, found.up_bps)) + " Mbit/s down / up",
        ),
        ("Obstructed", _obstructions(found)),
        ("Outages", _outages(found)),
        ("Alerts", ", ".join(found.alerts) or "none"),
    ]
    if found.missing:
        rows.append(("Not told", ", ".join(found.missing)))
    for word, text in rows:
        click.echo(f"{word:<14}{text}")


def _obstructions(found: DishState) -> str:
    parts = []
    if found.is_obstructed is not None:
        parts.append("now" if found.is_obstructed else "not now")
    if found.obstructed_share is not None:
        parts.append(f"{found.obstructed_share:.2%} of the time")
    if found.obstruction_map is not None and found.obstruction_map.blocked_share is not None:
        seen = found.obstruction_map
        parts.append(f"{seen.blocked_share:.1%} of the directions seen ({seen.seen_share:.0%} of all)")
    return ", ".join(parts) or "–"


def _outages(found: DishState) -> str:
    if found.outages is None:
        return "–"
    if not found.outages:
        return "none in its record"
    by_cause: dict[str, list[float]] = {}
    for outage in found.outages:
        by_cause.setdefault(outage.cause, []).append(outage.seconds)
    return ", ".join(f"{len(lengths)} × {cause} ({sum(lengths):.1f} s)" for cause, lengths in by_cause.items())
