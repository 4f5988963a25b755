"""A real TAK server between us and a unit in the field: who is in need reaches the unit, and the unit's place the console's map."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Playwright, expect

from tests.cell.tak_peers import NEEDS_TAKY, Client, authority, taky
from tests.control.test_serve import run, serving
from tests.system.phones import NEEDS_CHROMIUM, chromium
from tramontana.cell.cot import EMERGENCY_TYPE, Event
from tramontana.cell.position import Position
from tramontana.cell.sos_case import open_case
from tramontana.control.store import sos
from tramontana.control.store.database import Store, prepare_directory

pytestmark = [pytest.mark.system, NEEDS_CHROMIUM, NEEDS_TAKY]
TIMEOUT_MS = 120_000
TABLE = """
[[tak]]
name = "room"
host = "127.0.0.1"
port = {port}
ca = "ca.pem"
certificate = "client.pem"
key = "client.key"
send = ["sos"]
"""


async def in_need(data: Path) -> str:
    """A case of somebody near Amatrice."""
    prepare_directory(data)
    store = await Store.open(data)
    try:
        case = replace(open_case(17, "+393331234567", time.time()), state="waiting", position=Position(42.6281, 13.2924, 30.0, "operator"))
        async with store.write() as connection:
            return (await sos.add(connection, case)).case_id
    finally:
        await store.close()


def test_through_a_tak_server_and_back(playwright: Playwright, tmp_path: Path) -> None:
    directory, data = authority(tmp_path / "tak").directory, tmp_path / "data"
    with ThreadPoolExecutor(1) as beside:  # the browser's driver has this thread's event loop
        case_id = beside.submit(asyncio.run, in_need(data)).result()
    with taky(directory) as port:
        (directory / "tak.toml").write_text(TABLE.format(port=port))
        unit = Client(directory, port)
        with serving(data, "--tak", directory / "tak.toml") as (_, address):
            seen = unit.hears(EMERGENCY_TYPE)
            assert (seen.uid, seen.latitude_deg, seen.callsign) == (f"tramontana-sos-{case_id}", 42.6281, "SOS 17")
            now = time.time()
            unit.say(Event("ANDROID-7", "a-f-G-U-C", "m-g", now, now, now + 600, 42.65, 13.35, radius_m=8.0, callsign="Squadra 7"))
            link = re.search(r"http\S+", run("admin-link", "--data", data, "--origin", address).stdout)
            assert link is not None
            with chromium(playwright) as browser:
                page = browser.new_page(locale="en-GB")
                page.goto(link.group())
                page.get_by_role("link", name="SOS").click(timeout=TIMEOUT_MS)
                row = page.get_by_role("row").filter(has_text="Squadra 7")
                expect(row).to_contain_text("42.65000, 13.35000 (within 8 m)", timeout=TIMEOUT_MS)
                expect(page.locator(".sign-unit").filter(has_text="Squadra 7")).to_have_count(1, timeout=TIMEOUT_MS)
        unit.close()
