"""`tramontana drain`: take a forwarder out of service without dropping a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from tramontana.errors import LocalError
from tramontana.phone.forwarder.client.driver import ForwarderClient, ForwarderUnavailable
from tramontana.phone.forwarder.control_protocol import Drain, Stats

LOOK_EVERY_S: Final = 1.0
DEFAULT_LIMIT_MIN: Final = 60.0


class StillBusy(LocalError):
    """The time limit is over and phones are still connected."""


async def drain_forwarder(control: Path, limit_s: float, say: Callable[[str], None]) -> None:
    """Tell a forwarder to take no new call and wait until it has ended. Raises `StillBusy` or `ForwarderUnavailable`."""
    ended = asyncio.Event()
    client = ForwarderClient(control, on_lost=ended.set)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(client.run())
        try:
            await client.request(Drain())
            await _until_ended(client, ended, limit_s, say)
        finally:
            running.cancel()


async def _until_ended(client: ForwarderClient, ended: asyncio.Event, limit_s: float, say: Callable[[str], None]) -> None:
    limit = time.monotonic() + limit_s
    told = None
    while not ended.is_set():
        try:
            calls = (await client.request(Stats()))["calls"]
        except ForwarderUnavailable:
            if ended.is_set():  # it went while we asked
                break
            raise
        if ended.is_set():  # another one answered at the same socket: the supervisor was quick
            break
        phones = sum(len(call["devices"]) for call in calls.values())
        busy = sum(1 for call in calls.values() if call["devices"])
        left = f"{phones} {'connection' if phones == 1 else 'connections'} in {busy} {'call' if busy == 1 else 'calls'}"
        if left != told:
            say(f"Draining: {left} left.")
            told = left
        remaining_s = limit - time.monotonic()
        if remaining_s <= 0 and phones:
            raise StillBusy(
                f"The forwarder still has {left}. It takes no new call and ends with its last one: run the same command again to wait on. "
                "If it must end now, stop it (SIGTERM): its phones then connect to another forwarder and miss some seconds."
            )
        try:
            await asyncio.wait_for(ended.wait(), min(LOOK_EVERY_S, max(remaining_s, 0.0)) or LOOK_EVERY_S)
        except TimeoutError:
            continue
    say("The forwarder has ended.")


@click.command()
@click.option("--control", required=True, type=click.Path(path_type=Path), help="Unix socket of the forwarder, as it was started with.")
@click.option(
    "--limit", default=DEFAULT_LIMIT_MIN, show_default=True, type=click.FloatRange(0), metavar="MINUTES", help="Wait this long at the most."
)
def drain(control: Path, limit: float) -> None:
    """Take a forwarder out of service without dropping a call.

    From now on it takes no new call, so that the server gives new conferences to others; calls that are there go on, and may still be
    joined. The forwarder ends with its last call. Ctrl-C ends the waiting, not the draining.
    """
    try:
        asyncio.run(drain_forwarder(control, limit * 60.0, click.echo))
    except* LocalError as failures:
        raise failures.exceptions[0] from None
