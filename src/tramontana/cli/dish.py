"""`tramontana site dish`: what the site's Starlink terminal says of itself, over its local gRPC address."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from tramontana.errors import LocalError
from tramontana.internet.dish import DishState, read_dish

USUAL_ADDRESS = "192.168.100.1:9200"


@click.command()
@click.option("--address", default=USUAL_ADDRESS, show_default=True, help="HOST:PORT of the terminal; reached through its uplink.")
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


def ask_dish(address: str) -> DishState:
    """Ask a terminal everything. Raises `LocalError` if it does not answer, or without the package."""
    try:
        import starlink_grpc
    except ImportError:
        raise LocalError("reading a Starlink terminal needs the package starlink-grpc-core: pip install 'tramontana[starlink]'") from None
    context: Any = starlink_grpc.ChannelContext(target=address)
    try:
        try:
            status, _, alerts = starlink_grpc.status_data(context)
        except starlink_grpc.GrpcError as error:
            raise LocalError(
                f"no Starlink terminal answers at {address}: {str(error).splitlines()[0] if str(error) else error!r}"
            ) from None
        outages: list[tuple[str, int]] | None
        try:
            history = starlink_grpc.get_history(context)
            outages = [(_cause(outage), int(outage.duration_ns)) for outage in history.outages]
        except Exception:  # the history, or the outages in it, are gone from some firmware: whatever it fails with
            outages = None
        try:
            rows = starlink_grpc.obstruction_map(context)
        except starlink_grpc.GrpcError:
            rows = None
        return read_dish(status, alerts, outages, rows or None)
    finally:
        context.close()


def _cause(outage: Any) -> str:
    try:
        return str(type(outage).Cause.Name(outage.cause))
    except (AttributeError, ValueError):
        return str(getattr(outage, "cause", "unknown"))


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
