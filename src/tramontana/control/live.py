"""The live lines: what is going on now, for a person at a terminal without a browser."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tramontana.control.services import Services
from tramontana.control.sky import Overhead
from tramontana.control.store import key_packages
from tramontana.space.ageing import AGEING_DAYS

logger = logging.getLogger(__name__)

DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Status:
    """One look at the service. `elements_age_s` is None for a constellation as filed."""

    at: float
    constellation: str
    elements_age_s: float | None
    overhead: Overhead
    calls: int
    phones_online: int


async def status(services: Services) -> Status:
    """The state of the service now."""
    now = services.clock()
    async with services.store.read() as connection:
        phones_online = await key_packages.count_offering(connection, services.hub.devices_online)
    return Status(
        at=now,
        constellation=services.sky.label,
        elements_age_s=services.sky.age_s(now),
        overhead=await services.sky.overhead(now),
        calls=await services.calls.in_progress(),
        phones_online=phones_online,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _age(elements_age_s: float | None) -> str:
    if elements_age_s is None:
        return "elements as filed, without age"
    days = elements_age_s / DAY_S
    advice = " (too old to say where a satellite is: tramontana sky fetch)" if days > AGEING_DAYS else ""
    return f"elements {days:.1f} days old{advice}"


def describe(seen: Status) -> tuple[str, ...]:
    """Three lines: the sky, the path, and what goes on."""
    place, serving = seen.overhead.place, seen.overhead.serving
    age = _age(seen.elements_age_s)
    sky = f"{seen.constellation} (simulated), {age}, {_count(seen.overhead.satellites_in_view, 'satellite')} in view of {place}"
    if serving is None:
        path = f"{place} has no coverage now"
    else:
        handover = serving.next_handover_unix_s
        when = f"in {max(0.0, handover - seen.at):.0f} s ({_clock(handover)})" if handover else "not in sight"
        path = (
            f"{place} served by {serving.satellite}, elevation {serving.elevation_deg:.0f}°, over {serving.gateway}; "
            f"one-way delay {serving.one_way_delay_s * 1000:.1f} ms; next handover {when}"
        )
    work = f"{_count(seen.calls, 'call')} in progress, {_count(seen.phones_online, 'phone')} online"
    indent = " " * len("00:00:00 UTC  ")
    return f"{_clock(seen.at)} UTC  {sky}", indent + path, indent + work


async def print_status(services: Services, say: Callable[[str], None]) -> None:
    """Say how things stand now and at the beginning of every slot, until cancelled."""
    while True:
        try:
            for line in describe(await status(services)):
                say(line)
        except Exception:  # whatever it is, the service goes on
            logger.exception("the live lines failed; they are tried again")
        now = services.clock()
        await asyncio.sleep(max(0.5, services.sky.slot_end(now) - now + 0.05))
