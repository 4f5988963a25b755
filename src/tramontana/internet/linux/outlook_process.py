"""A process beside a site's agent that forecasts its carriers: orbits take seconds of computing, and the agent has none to spare.

It writes what it foresees, one line a minute, at the lowest priority, until its standard input ends: with the agent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tramontana.errors import LocalError
from tramontana.internet.outlook import HORIZON_S, RENEW_S, Foreseen, Lookout, Outlook, OutlookRequest, encode_outlook, parse_outlook

RESTART_S: Final = 60.0
LONGEST_LINE: Final = 1 << 20

log = logging.getLogger("tramontana.site")


async def follow(lookout: Lookout, carriers: tuple[str, ...], told: Callable[[Outlook], None]) -> None:
    """Tell what is foreseen, again and again; until cancelled. A process that fails is started again; nothing is foreseen meanwhile."""
    request = OutlookRequest(lookout=lookout, carriers=carriers).model_dump_json()
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            __name__,
            request,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
        )
        assert process.stdout is not None
        try:
            while line := await process.stdout.readline():
                try:
                    told(parse_outlook(line))
                except ValueError:
                    log.warning("carriers are not forecast: %s", line.decode(errors="replace").strip())
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        told({})
        await asyncio.sleep(RESTART_S)


def main(argument: str) -> None:
    """The process."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # an agent with real-time priority hands it down
    os.nice(19)
    from tramontana.carriers.carrier import CarrierKind
    from tramontana.carriers.catalogue import carrier
    from tramontana.carriers.paths import forecast
    from tramontana.internet.uplink_choice import outages_of_forecast
    from tramontana.space.fleet_file import load_fleet
    from tramontana.space.ground import Place
    from tramontana.space.sky import Sky

    in_space = (CarrierKind.LEO, CarrierKind.MEO, CarrierKind.GEO)  # of a line in the ground no model knows the next five minutes
    request = OutlookRequest.model_validate_json(argument)
    lookout = request.lookout
    try:
        sky = Sky(load_fleet(lookout.data))
        if sky.provenance != "elements" and not lookout.simulated:
            raise LocalError(
                f"there are no orbital elements in {lookout.data}: load them with `tramontana sky load FILE --data {lookout.data}`"
            )
        place = Place("site", "the site", "", "ship", lookout.latitude_deg, lookout.longitude_deg, lookout.height_m)
        carriers = [found for found in map(carrier, request.carriers) if found.kind in in_space]
        while True:
            outlook: Outlook = {}
            for each in carriers:
                with suppress(LocalError):  # no model of this carrier, or none for so far ahead: nothing is foreseen of it
                    now = time.time()
                    found = outages_of_forecast(forecast(each, place, sky, now, HORIZON_S), 0.0)
                    coming = (plan for plan in found if plan.start > now)  # what is under way the probes know better
                    outlook[each.id] = tuple(Foreseen(start=plan.start, end=plan.end, reason=plan.reason) for plan in coming)
            sys.stdout.buffer.write(encode_outlook(outlook))
            sys.stdout.buffer.flush()
            if select.select([sys.stdin], [], [], RENEW_S)[0]:
                return
    except LocalError as error:
        print(error, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
