"""The live lines."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.control.custodians import Desk
from tests.control.house import Houses
from tramontana.control.live import Status, describe, status
from tramontana.control.sky import Overhead
from tramontana.space.sky import Serving

pytestmark = pytest.mark.anyio

SERVING = Serving(
    satellite_index=3,
    satellite="GEN1 AS FILED 1-2-3",
    elevation_deg=61.4,
    azimuth_deg=10.0,
    slant_range_m=600e3,
    gateway_id="milano",
    gateway="Milano",
    point_of_presence_id="milan",
    point_of_presence="Milan",
    one_way_delay_s=0.0123,
    slot_start_unix_s=12.0,
    next_slot_unix_s=27.0,
    next_handover_unix_s=27.0,
    next_satellite_index=4,
)
SEEN = Status(20.0, "Starlink Gen1 as filed", None, Overhead("Rome", 14, SERVING), 1, 2)


def test_a_person_can_read_them() -> None:
    sky, path, work = describe(SEEN)
    assert sky == "00:00:20 UTC  Starlink Gen1 as filed (simulated), elements as filed, without age, 14 satellites in view of Rome"
    assert path.strip() == (
        "Rome served by GEN1 AS FILED 1-2-3, elevation 61°, over Milano; one-way delay 12.3 ms; next handover in 7 s (00:00:27)"
    )
    assert work.strip() == "1 call in progress, 2 phones online"


def test_age_coverage_and_handover_may_be_missing() -> None:
    assert "elements 1.5 days old, 14" in describe(replace(SEEN, elements_age_s=1.5 * 86400))[0]
    assert "elements 9.0 days old (too old" in describe(replace(SEEN, elements_age_s=9 * 86400))[0]
    assert "Rome has no coverage now" in describe(replace(SEEN, overhead=Overhead("Rome", 0, None)))[1]
    without = replace(SERVING, next_handover_unix_s=None, next_satellite_index=None)
    assert "next handover not in sight" in describe(replace(SEEN, overhead=Overhead("Rome", 14, without)))[1]


async def test_they_show_the_running_service(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        await ada.put(f"/calls/{conversation_id}", {"conversation_id": conversation_id, "precedence": "routine"})
        await ada.offer(1)
        custodian = await Desk.of(house, house.custodians.first)
        async with ada.socket(), custodian.phone.socket():  # whose desk is no phone
            seen = await status(house.services)
        assert (seen.calls, seen.phones_online) == (1, 1)
        assert re.search(r"\d+ satellites? in view of Rome", describe(seen)[0])
