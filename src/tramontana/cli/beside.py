"""Work that needs something else to run meanwhile, such as a connection, and work until somebody stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from typing import TypeVar

from tramontana.errors import TramontanaError

T = TypeVar("T")


async def beside(running: Awaitable[None], work: Awaitable[T]) -> T:
    """Do the work while something runs; whichever fails first ends both. Raises its error."""
    meanwhile, doing = asyncio.ensure_future(running), asyncio.ensure_future(work)
    try:
        await asyncio.wait([meanwhile, doing], return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            await meanwhile
        return await doing
    except BaseExceptionGroup as several:
        expected, rest = several.split(TramontanaError)
        if rest is not None or expected is None:
            raise
        raise _first(expected) from None
    finally:
        for each in (doing, meanwhile):
            each.cancel()
        await asyncio.wait([meanwhile, doing])


def run_until_stopped(work: Awaitable[object]) -> bool:
    """Run in an event loop of its own to the end, or until Ctrl-C or SIGTERM, after which it may say goodbye; whether it came to its end.

    Raises what the work raises.
    """

    async def until_stopped() -> bool:
        task = asyncio.ensure_future(work)
        for stop in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(stop, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return False
        return True

    return asyncio.run(until_stopped())


def _first(group: BaseExceptionGroup[TramontanaError]) -> TramontanaError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found
