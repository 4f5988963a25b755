"""Our side of CBSP against a real controller: write, replace, kill, refusals, and a controller that dies and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cell.osmo_bsc import CELLS, OsmoBsc, osmo_bsc, why_not
from tramontana.cell.cbsp import Cell
from tramontana.cell.cell_broadcast import SerialNumber, encode
from tramontana.cell.controller import Broadcast, CellState, Report
from tramontana.cell.controllers.driver import Address, ControllerLink

pytestmark = [pytest.mark.system, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

TIMEOUT_S = 60.0
FIRST = SerialNumber(7)
KNOWN = frozenset(Cell.parse(text) for text in CELLS)
UNKNOWN = Cell(1, 7777)
LONG = "Terremoto: uscite, restate lontano dagli edifici. " * 27


def broadcast(text: str, serial: SerialNumber, cells: frozenset[Cell], *, identifier: int = 4370) -> Broadcast:
    return Broadcast(identifier, serial, encode(text, "it"), cells, 60.0, 3600.0)


class Seen:
    """What the link reported."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self._changed = asyncio.Event()

    def on_reports(self, _name: str, reports: object) -> None:
        self.reports += list(reports)  # type: ignore[call-overload]
        self._changed.set()

    async def until(self, is_so: Callable[[dict[tuple[int, Cell], Report]], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not is_so({(report.message_identifier, report.cell): report for report in self.reports}):
                self._changed.clear()
                await self._changed.wait()


async def story(bsc: OsmoBsc) -> None:
    seen = Seen()
    link = ControllerLink("osmo", Address("127.0.0.1", bsc.cbsp_port), seen.on_reports)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(link.run())
        long = broadcast(LONG, FIRST, KNOWN | {UNKNOWN})
        english = broadcast("Earthquake: go outside", FIRST, KNOWN, identifier=4383)
        assert len(long.message.pages) == 15
        link.desire([long, english])
        await seen.until(lambda last: all((4383, cell) in last and last[4383, cell].state is CellState.ON_AIR for cell in KNOWN))
        await seen.until(lambda last: all(last[4370, cell].state is CellState.ON_AIR for cell in KNOWN))
        await seen.until(lambda last: last[4370, UNKNOWN].state is CellState.FAILED)
        for bts in range(2):
            assert bsc.messages(bts) == {(4370, FIRST.value): 15, (4383, FIRST.value): 1}
        update = broadcast("Pericolo cessato in città", FIRST.updated(), KNOWN)
        link.desire([update])
        await seen.until(lambda last: all(last[4370, cell].serial == update.serial for cell in KNOWN))
        await seen.until(lambda last: all(last[4370, cell].state is CellState.ON_AIR for cell in KNOWN))
        await seen.until(lambda last: all(last[4383, cell].state is CellState.OFF_AIR for cell in KNOWN))
        assert [bsc.messages(bts) for bts in range(2)] == [{(4370, update.serial.value): 1}] * 2
        north = min(KNOWN)
        link.desire([broadcast("Pericolo cessato in città", FIRST.updated(), KNOWN - {north})])
        await seen.until(lambda last: last[4370, north].state is CellState.OFF_AIR)
        assert [bsc.messages(bts) for bts in range(2)] == [{}, {(4370, update.serial.value): 1}]
        link.desire([])
        await seen.until(lambda last: all(last[4370, cell].state is CellState.OFF_AIR for cell in KNOWN))
        assert [bsc.messages(bts) for bts in range(2)] == [{}, {}]
        running.cancel()


def test_a_real_controller_writes_replaces_and_kills(tmp_path: Path) -> None:
    with osmo_bsc(tmp_path) as bsc:
        asyncio.run(story(bsc))


async def death_and_return(directory: Path) -> None:
    seen = Seen()
    first, second = directory / "first", directory / "second"
    first.mkdir()
    second.mkdir()
    with osmo_bsc(first) as bsc:
        link = ControllerLink("osmo", Address("127.0.0.1", bsc.cbsp_port), seen.on_reports)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(link.run())
            link.desire([broadcast("Allarme", FIRST, KNOWN)])
            await seen.until(lambda last: all((4370, c) in last and last[4370, c].state is CellState.ON_AIR for c in KNOWN))
            running.cancel()
    again = Seen()
    with osmo_bsc(second, cbsp_port=bsc.cbsp_port) as bsc:
        assert bsc.messages(0) == {}
        link._on_reports = again.on_reports
        async with asyncio.TaskGroup() as group:
            running = group.create_task(link.run())
            await again.until(lambda last: all((4370, c) in last and last[4370, c].state is CellState.ON_AIR for c in KNOWN))
            assert [bsc.messages(bts) for bts in range(2)] == [{(4370, FIRST.value): 1}] * 2
            running.cancel()


def test_a_controller_that_was_exchanged_gets_the_warning_again(tmp_path: Path) -> None:
    asyncio.run(death_and_return(tmp_path))
