"""From approval to the first octet at the controllers for 1,000 cells, beside the bound of the same machine; and how long a plan takes.

The bound is one TCP message of the same size to a socket that is open already, plus one durable transaction of the same store. Run:
`python bench/warning.py [--cells 1000] [--rounds 10] [--phones 1000000]`
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.cell.test_warning import content
from tests.control.house import House
from tests.control.test_warnings import Station, signed, submit, warner
from tramontana.cell import area as areas
from tramontana.cell import broadcast_network
from tramontana.cell.broadcast_plan import PlanRules, Pointing, Points, plan
from tramontana.cell.cbsp import MessageType
from tramontana.control.sky import SkyService
from tramontana.control.store import audit
from tramontana.control.warnings import WarningData
from tramontana.space.designs import design
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.sky import Sky

CELLS_A_CONTROLLER = 250
START = 1_790_000_000.0


class Timed(Station):
    """Notes when the first write of each warning came."""

    def __init__(self) -> None:
        super().__init__()
        self.first: float | None = None
        self.octets = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while octets := await reader.read(65536):
            if self.first is None and octets[0] == MessageType.WRITE_REPLACE:
                self.first = time.perf_counter()
            self.octets += len(octets)
            writer.write(self.peer.receive(octets))
            self._changed.set()


def network(ports: list[int], cells: int) -> broadcast_network.BroadcastNetwork:
    """All cells inside the area of the tests' warning."""
    text = ""
    for number, port in enumerate(ports):
        rows = ", ".join(f'{{ id = "{number + 1}-{cell}", latitude = 42.63, longitude = 13.29 }}' for cell in range(cells // len(ports)))
        text += f'[[controller]]\nname = "c{number}"\nhost = "127.0.0.1"\nport = {port}\ncell = [{rows}]\n'
    return broadcast_network.parse(text)


async def approvals(cells: int, rounds: int) -> None:
    sky = SkyService(Sky(starlink_gen1_as_filed(), seed=1))
    count = max(1, cells // CELLS_A_CONTROLLER)
    stations = [Timed() for _ in range(count)]
    listening = [station.listening() for station in stations]
    for opened in listening:
        await opened.__aenter__()
    data = WarningData(network([station.port for station in stations], cells))
    first, last, whole, bound = [], [], [], []
    with tempfile.TemporaryDirectory() as directory:
        async with House.running(Path(directory) / "data", sky, warning_data=data) as house:
            ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
            while not all(station.connections for station in stations):  # noqa: ASYNC110 - polled, so that nothing is in the way
                await asyncio.sleep(0.05)
            for _ in range(rounds):
                for station in stations:
                    station.first = None
                    station.peer.air.clear()
                octets = content().encode()
                warning_id, _ = await submit(ada, content())
                body = {"decision": "approve", **signed(bruno, warning_id, "approve", octets)}
                began = time.perf_counter()
                answer = await bruno.post(f"/warnings/{warning_id}/decisions", body)
                assert answer.status_code == 200, answer.text
                while not all(len(station.peer.air) == 2 * (cells // count) for station in stations):  # noqa: ASYNC110 - polled, so that nothing is in the way
                    await asyncio.sleep(0.002)
                whole.append(time.perf_counter() - began)
                times = [station.first - began for station in stations if station.first is not None]
                first.append(min(times))
                last.append(max(times))
                bound.append(await _bound(house, stations[0].octets))
                cancel, _ = await submit(ada, content("cancel", replaces=warning_id))
                octets = content("cancel", replaces=warning_id).encode()
                await bruno.post(f"/warnings/{cancel}/decisions", {"decision": "approve", **signed(bruno, cancel, "approve", octets)})
                while any(station.peer.air for station in stations):  # noqa: ASYNC110 - polled, so that nothing is in the way
                    await asyncio.sleep(0.01)
    for opened in listening:
        await opened.__aexit__(None, None, None)
    median = statistics.median
    print(f"{cells} cells at {count} controllers, two languages, {rounds} rounds, medians:")
    print(f"  approval sent → first octet at the first controller  {median(first) * 1e3:8.1f} ms  (worst {max(first) * 1e3:.1f})")
    print(f"  approval sent → first octet at the last controller   {median(last) * 1e3:8.1f} ms  (worst {max(last) * 1e3:.1f})")
    print(f"  approval sent → every cell confirmed                 {median(whole) * 1e3:8.1f} ms")
    print(
        f"  bound: a durable transaction and the same octets     {median(bound) * 1e3:8.1f} ms  → ratio {median(last) / median(bound):.1f}"
    )


async def _bound(house: House, octets: int) -> float:
    got = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        got.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    began = time.perf_counter()
    async with house.store.write() as connection:
        await audit.append(connection, now=time.time(), actor="bench", action="bench")
    writer.write(bytes(max(octets, 1)))
    await got.wait()
    took = time.perf_counter() - began
    writer.close()
    server.close()
    return took


def plans(phones: int) -> None:
    ephemeris = Ephemeris(design("starlink-direct-to-cell").fleet())
    rings = areas.checked([[(41.8, 12.2), (41.8, 14.2), (43.4, 14.2), (43.4, 12.2)]])
    random = np.random.default_rng(1)
    latitude, longitude = random.uniform(41.8, 43.4, phones), random.uniform(12.2, 14.2, phones)
    plan(ephemeris, rings, Points.of(rings), START, PlanRules(horizon_s=60.0))  # compiles
    for pointing in Pointing:
        began = time.perf_counter()
        points = Points.of(rings, latitude, longitude)
        counted = time.perf_counter() - began
        made = plan(ephemeris, rings, points, START, PlanRules(pointing=pointing))
        took = time.perf_counter() - began
        print(
            f"plan, {phones:,} phones, {areas.size_m2(rings) / 1e6:,.0f} km², {pointing.value}: {took:.2f} s (of it counting phones "
            f"{counted:.2f} s); {made.dwell.size} beams, three times everywhere: {made.is_complete}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--phones", type=int, default=1_000_000)
    given = parser.parse_args()
    asyncio.run(approvals(given.cells, given.rounds))
    plans(given.phones)
