"""Warnings at a running server: two persons, signatures, controllers over real sockets, CAP in and out, and everything that is refused."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import secrets
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.cell.cbsp_peer import Peer
from tests.cell.test_warning import content
from tests.control.house import House, Houses, Phone, b64
from tramontana.cell import broadcast_network, cap, population, warning_decision
from tramontana.cell.broadcast_plan import PlanRules, Points, plan
from tramontana.cell.cbsp import Cell, MessageType
from tramontana.cell.cell_broadcast import SerialNumber, encode
from tramontana.cell.controller import Broadcast, CellState, Report
from tramontana.cell.controllers import driver
from tramontana.cell.ntn_assistance import BeamAssistance, of_plan
from tramontana.cell.ntn_assistance_asn1 import sib19, sib31
from tramontana.cell.warning import OnAir, Warning
from tramontana.cell.warning_content import Content
from tramontana.cell.warning_decision import Decision
from tramontana.control import warnings as control_warnings
from tramontana.control.store import schema
from tramontana.control.store import warnings as rows
from tramontana.control.warnings import WarningData
from tramontana.precedence import Precedence
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet

pytestmark = pytest.mark.anyio

TIMEOUT_S = 60.0
PLACES = "name,latitude,longitude,population\nAmatrice,42.63,13.29,2474\nRoma,41.9,12.5,2748109\n"


def network_file(port: int) -> str:
    """Two cells in Amatrice, one in Rome."""
    return f"""[[controller]]
        name = "rieti"
        host = "127.0.0.1"
        port = {port}
        cell = [{{ id = "23-1", latitude = 42.63, longitude = 13.29 }}, {{ id = "23-2", latitude = 42.65, longitude = 13.35 }},
                {{ id = "24-9", latitude = 41.9, longitude = 12.5 }}]
        """


def network(port: int) -> broadcast_network.BroadcastNetwork:
    return broadcast_network.parse(network_file(port))


class Station:
    """A controller that listens on a real port."""

    def __init__(self) -> None:
        self.peer = Peer()
        self.port = 0
        self.connections = self.open = 0
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Station]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._changed.set()
        self.peer = Peer(self.peer.air, self.peer.refuses, self.peer.heard)
        try:
            while octets := await reader.read(65536):
                writer.write(self.peer.receive(octets))
                self._changed.set()
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            self._changed.set()
            writer.close()

    def air(self) -> dict[int, set[Cell]]:
        """Message identifier → cells."""
        found: dict[int, set[Cell]] = {}
        for cell, identifier, _ in self.peer.air:
            found.setdefault(identifier, set()).add(cell)
        return found

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()


BOTH = {Cell(23, 1), Cell(23, 2)}


async def warner(house: House, name: str, *roles: str) -> Phone:
    phone = await house.phone(name)
    await house.custodians.certify(house, phone, roles=tuple(sorted(roles)), ceiling=Precedence.FLASH)
    await phone.login()
    return phone


def signed(phone: Phone, warning_id: str, decision: Decision, octets: bytes) -> dict[str, str]:
    organisation_id = phone.house.custodians.key.root.organisation_id
    made = warning_decision.statement(organisation_id, warning_id, decision, octets, phone.device_id, int(phone.house.clock()))
    return {"statement": b64(made), "signature": b64(phone.key.sign(made))}


async def submit(phone: Phone, what: Content, warning_id: str | None = None) -> tuple[str, httpx.Response]:
    warning_id, octets = warning_id or secrets.token_hex(16), what.encode()
    body = {"content": b64(octets), **signed(phone, warning_id, "submit", octets)}
    return warning_id, await phone.put(f"/warnings/{warning_id}", body)


async def decide(phone: Phone, warning_id: str, decision: Decision = "approve") -> httpx.Response:
    shown = (await phone.get(f"/warnings/{warning_id}")).json()
    body = {"decision": decision, **signed(phone, warning_id, decision, b64decode(shown["content"]))}
    return await phone.post(f"/warnings/{warning_id}/decisions", body)


async def state(phone: Phone, warning_id: str) -> str:
    return str((await phone.get(f"/warnings/{warning_id}")).json()["state"])


async def cells_until(phone: Phone, warning_id: str, is_so: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            cells: list[dict[str, Any]] = (await phone.get(f"/warnings/{warning_id}")).json()["cells"]
            if is_so(cells):
                return cells
            await asyncio.sleep(0.05)


async def test_two_persons_put_a_warning_on_the_air_update_and_cancel_it(stored_houses: Houses) -> None:
    async with Station().listening() as station, stored_houses(warning_data=WarningData(network(station.port))) as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        first, answer = await submit(ada, content())
        assert (answer.status_code, answer.json()["state"]) == (200, "submitted")
        assert (await decide(ada, first)).json()["detail"].startswith("nobody approves his own warning")
        assert station.air() == {}
        approved = await decide(bruno, first)
        assert (approved.status_code, approved.json()["state"]) == (200, "on-air"), approved.text
        await station.until(lambda: station.air() == {4370: BOTH, 4383: BOTH})
        cells = await cells_until(ada, first, lambda found: len(found) == 4 and all(cell["on_air_at"] for cell in found))
        assert {(cell["controller"], cell["cell"], cell["state"]) for cell in cells} == {
            ("rieti", "23-1", "on-air"),
            ("rieti", "23-2", "on-air"),
        }

        second, _ = await submit(bruno, content("update", replaces=first, texts=[{"language": "it", "text": "Rientrate"}]))
        assert (await decide(ada, second)).json()["state"] == "on-air"
        await station.until(lambda: station.air() == {4370: BOTH})
        assert await state(ada, first) == "replaced"
        old, new = [(await ada.get(f"/warnings/{each}")).json()["serial_number"] for each in (first, second)]
        assert {serial for _, _, serial in station.peer.air} == {new} == {old + 1}
        await cells_until(ada, first, lambda found: all(cell["state"] == "off-air" for cell in found))

        late, refused = await submit(ada, content("update", replaces=first))
        assert (refused.status_code, refused.json()["code"]) == (409, "warning_refused")
        assert (await ada.get(f"/warnings/{late}")).status_code == 404
        cancel, _ = await submit(ada, content("cancel", replaces=second))
        assert (await decide(bruno, cancel)).json()["state"] == "done"
        await station.until(lambda: station.air() == {})
        assert await state(ada, second) == "cancelled"
        trail = [entry["subject"] for entry in await house.audited("warning.approved")]
        assert trail == [f"warning {each}" for each in (first, second, cancel)]


async def test_approval_cannot_be_gone_around(houses: Houses) -> None:
    async with Station().listening() as station, houses(warning_data=WarningData(network(station.port))) as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        noc, member = await warner(house, "NOC", "operator"), await house.phone("Member")
        _, refused = await submit(member, content())
        assert (refused.status_code, refused.json()["code"]) == (403, "not_warner")
        assert (await member.get("/warnings")).status_code == 403
        administrator = await house.administrator()
        assert (await house.http.get("/api/v1/warnings", headers=administrator)).status_code == 200
        first, _ = await submit(noc, content())
        octets = content().encode()
        assert "only an approver" in (await decide(noc, first)).json()["detail"]
        by_admin = {"decision": "approve", **signed(bruno, first, "approve", octets)}
        path = f"/api/v1/warnings/{first}/decisions"
        assert (await house.http.post(path, headers=administrator, json=by_admin)).status_code == 401
        assert (await house.http.post(path, json=by_admin)).status_code == 401
        # a statement of another person, of another content, of another decision
        for statement in (
            signed(ada, first, "approve", octets),
            signed(bruno, first, "approve", octets + b" "),
            signed(bruno, first, "reject", octets),
            signed(bruno, secrets.token_hex(16), "approve", octets),
            {**signed(bruno, first, "approve", octets), "signature": b64(bytes(64))},
        ):
            forged = await bruno.post(f"/warnings/{first}/decisions", {"decision": "approve", **statement})
            assert (forged.status_code, forged.json()["code"]) == (409, "warning_refused"), statement
        assert await state(noc, first) == "submitted"
        assert (await decide(ada, first, "reject")).json()["state"] == "rejected"
        assert (await decide(bruno, first)).status_code == 409
        again, same = await submit(noc, content(), first)
        assert (again, same.status_code, same.json()["state"]) == (first, 200, "rejected")
        _, taken = await submit(bruno, content(), first)
        assert taken.status_code == 409
        house.clock.advance(0)
        old, _ = await submit(noc, content())
        house.clock.advance(3601)
        for phone in (ada, noc):
            await phone.login()
        assert (await decide(ada, old)).status_code == 409
        assert station.air() == {}


async def test_a_template_was_approved_before_it_is_needed(houses: Houses) -> None:
    async with Station().listening() as station, houses(warning_data=WarningData(network(station.port))) as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        noc = await warner(house, "NOC", "operator")
        template, _ = await submit(ada, content("template"))
        what = content(template=template, duration_s=300)
        assert (await submit(noc, what))[1].status_code == 409
        assert (await decide(bruno, template)).json()["state"] == "authorised"
        for wrong in (
            content(template=template, texts=[{"language": "it", "text": "altro"}]),
            content(template=template, duration_s=601),
            content(template=template, level="level-1"),
            content(template=secrets.token_hex(16)),
        ):
            assert (await submit(noc, wrong))[1].status_code == 409
        used, answer = await submit(noc, what)
        assert answer.json()["state"] == "on-air"
        await station.until(lambda: station.air() == {4370: BOTH, 4383: BOTH})
        assert [entry["details"]["template"] for entry in await house.audited("warning.used")] == [template]
        house.clock.advance(301)
        await station.until(lambda: station.air() == {})
        await noc.login()
        assert await state(noc, used) == "expired"
        assert (await decide(noc, template, "withdraw")).status_code == 409
        await bruno.login()
        assert (await decide(bruno, template, "withdraw")).json()["state"] == "withdrawn"
        assert (await submit(noc, what))[1].status_code == 409


async def test_a_server_that_starts_again_keeps_the_air_as_it_was_approved(houses: Houses) -> None:
    async with Station().listening() as station:
        data = WarningData(network(station.port))
        async with houses(warning_data=data) as house:
            ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
            first, _ = await submit(ada, content())
            second, _ = await submit(ada, content(duration_s=60))
            await decide(bruno, first)
            await decide(bruno, second)
            await station.until(lambda: len(station.peer.air) == 8)
            await cells_until(ada, second, lambda found: len(found) == 4 and all(cell["on_air_at"] for cell in found))
        async with houses(warning_data=data) as house:
            house.clock.advance(61)  # the second warning's time is over before the controller is there again
            await station.until(lambda: len(station.peer.air) == 4)
            assert station.air() == {4370: BOTH, 4383: BOTH}


async def test_what_a_process_asked_for_before_it_died_is_taken_off_the_air(houses: Houses) -> None:
    async with Station().listening() as station:
        async with houses() as house:  # no controller: as if it died before a row of any cell was kept
            ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
            first, _ = await submit(ada, content())
            serial = (await decide(bruno, first)).json()["serial_number"]
            cancel, _ = await submit(ada, content("cancel", replaces=first))
            assert (await decide(bruno, cancel)).json()["state"] == "done"
            async with house.store.read() as connection:  # phones remember the code for a day
                code = SerialNumber.parse(serial).message_code
                assert await rows.codes(connection, house.clock() + 86399) == (frozenset({code}), code)
                assert await rows.codes(connection, house.clock() + 86401) == (frozenset(), code)
        station.peer.air = {(cell, identifier, serial) for cell in BOTH for identifier in (4370, 4383)}
        async with houses(warning_data=WarningData(network(station.port))) as house:
            await station.until(lambda: station.air() == {})
            assert all(asked.type is MessageType.KILL for asked in station.peer.heard)


async def test_who_leads_no_more_leaves_the_controllers_and_comes_back_with_what_others_kept(
    stored_houses: Houses, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Station().listening() as station, stored_houses(warning_data=WarningData(network(station.port))) as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        first, _ = await submit(ada, content())
        await decide(bruno, first)
        await cells_until(ada, first, lambda found: len(found) == 4 and all(cell["on_air_at"] for cell in found))
        leading = house.store.leads

        async def elsewhere() -> bool:
            return False

        monkeypatch.setattr(house.store, "leads", elsewhere)
        await station.until(lambda: station.open == 0)
        async with house.store.write() as connection:
            kept = await rows.cells(connection, first)
            await rows.keep_cells(connection, [dataclasses.replace(row, attempts=7, state="failed") for row in kept])
            assert {row.attempts for row in await rows.cells(connection, first)} == {7}
        monkeypatch.setattr(house.store, "leads", leading)
        await station.until(lambda: station.open == 1)
        await cells_until(ada, first, lambda found: all(cell["state"] == "on-air" and cell["attempts"] < 7 for cell in found))


async def test_a_failure_among_warnings_ends_neither_the_server_nor_the_warnings(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, failures = rows.keep_cells, 0

    async def fails_once(connection: AsyncConnection, cells: Sequence[rows.InCell]) -> None:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise RuntimeError("no such table")
        await keep(connection, cells)

    monkeypatch.setattr(rows, "keep_cells", fails_once)
    async with Station().listening() as station, houses(warning_data=WarningData(network(station.port))) as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        first, _ = await submit(ada, content())
        await decide(bruno, first)
        await cells_until(ada, first, lambda found: len(found) == 4 and all(cell["on_air_at"] for cell in found))
        assert failures > 1


async def test_a_content_that_is_refused_today_stands_in_nobodys_way(houses: Houses) -> None:
    async with Station().listening() as station:
        async with houses() as house:
            ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
            spoilt, _ = await submit(ada, content())
            await decide(bruno, spoilt)
            async with house.store.write() as connection:
                await connection.execute(update(schema.warnings).values(content=b'{"kind":"of another release"}'))
        async with houses(warning_data=WarningData(network(station.port))) as house:
            ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
            house.clock.advance(601)
            for phone in (ada, bruno):
                await phone.login()
            first, _ = await submit(ada, content())
            await decide(bruno, first)
            await station.until(lambda: station.air() == {4370: BOTH, 4383: BOTH})
            assert [shown["warning_id"] for shown in (await ada.get("/warnings")).json()] == [first]


async def test_the_cells_of_a_warning_are_found_once(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    found, find = [], control_warnings.broadcasts_at

    def broadcasts_at(site: broadcast_network.ControllerSite, warning: Warning, forms: Sequence[OnAir]) -> list[Broadcast]:
        found.append(warning.warning_id)
        return find(site, warning, forms)

    monkeypatch.setattr(control_warnings, "broadcasts_at", broadcasts_at)
    async with Station().listening() as station, houses(warning_data=WarningData(network(station.port))) as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        first, _ = await submit(ada, content())
        await decide(bruno, first)
        await station.until(lambda: station.air() == {4370: BOTH, 4383: BOTH})
        second, _ = await submit(ada, content())
        await decide(bruno, second)
        await station.until(lambda: len(station.peer.air) == 8)
        assert found == [first, second]


async def test_an_author_has_a_limited_number_of_open_submissions(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_warnings, "MAX_OPEN", 2)
    async with houses() as house:
        ada, noc = await warner(house, "Ada", "approver"), await warner(house, "NOC", "operator")
        first, second = [await submit(noc, content()) for _ in range(2)]
        assert (first[1].status_code, second[1].status_code) == (200, 200)
        _, refused = await submit(noc, content())
        assert (refused.status_code, refused.json()["code"]) == (409, "warning_refused")
        assert (await submit(ada, content()))[1].status_code == 200
        await decide(ada, first[0], "reject")
        assert (await submit(noc, content()))[1].status_code == 200


async def test_a_clock_that_is_set_does_not_cut_a_controller_off(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = itertools.count(1_790_000_000.0, 1e6)
    monkeypatch.setattr(driver, "time", SimpleNamespace(time=lambda: next(jumps), monotonic=time.monotonic))
    seen: list[Report] = []
    arrived = asyncio.Event()

    def on_reports(_name: str, reports: Sequence[Report]) -> None:
        seen.extend(reports)
        arrived.set()

    serial = SerialNumber(7)
    async with Station().listening() as station, asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
        link = driver.ControllerLink("rieti", driver.Address("127.0.0.1", station.port), on_reports)
        running = group.create_task(link.run())
        for _ in range(5):
            serial = serial.updated()
            link.desire([Broadcast(4370, serial, encode("Uscite", "it"), frozenset(BOTH), 60.0, 600.0)])
            while {report.cell for report in seen if (report.serial, report.state) == (serial, CellState.ON_AIR)} != BOTH:
                arrived.clear()
                await arrived.wait()
        running.cancel()
        await asyncio.wait([running], timeout=30)
    assert station.connections == 1
    assert seen[0].at >= 1_790_000_000.0


async def test_counts_people_and_cells_are_told_while_one_writes(houses: Houses) -> None:
    data = WarningData(network(1), population.parse(PLACES), {"Amatrice": (((42.6, 13.2), (42.6, 13.4), (42.8, 13.4)),)})
    async with houses(warning_data=data) as house:
        noc = await warner(house, "NOC", "operator")
        area = (await noc.get("/warnings/areas/Amatrice")).json()["polygons"]
        assert (await noc.get("/warnings/areas/Roma")).status_code == 404
        asked = await noc.post("/warnings/preview", {"texts": ["ciao", "ж" * 616, ""], "polygons": area})
        counts, shown = asked.json()["texts"], asked.json()["area"]
        assert [(count["alphabet"], count["characters"], count["pages"], count["fits"]) for count in counts] == [
            ("gsm-7", 4, 1, True),
            ("ucs-2", 616, 16, False),
            ("gsm-7", 0, 1, True),
        ]
        assert (shown["people"], shown["places"], shown["controllers"]) == (
            2474,
            ["Amatrice"],
            [{"controller": "rieti", "cells": 2, "connected": False}],
        )
        assert 150 < shown["size_km2"] < 200
        fault = (await noc.post("/warnings/preview", {"polygons": [[[1.0, 1.0], [1.0, 2.0]]]})).json()["area"]["fault"]
        assert "three" in fault
        planned = await noc.post("/warnings/plan", {"polygons": area})
        assert planned.status_code == 200, planned.text
        made = planned.json()
        assert (made["simulated"], made["counts_people"]) == (True, True)
        assert "direct-to-cell" in made["satellites"]
        assert len(made["reached"]) == len(made["in_view"]) > 0
        assert (await noc.post("/warnings/plan", {"polygons": [[[1.0, 1.0]]]})).status_code == 409
        assert {beam["block"] for beam in made["beams"]} == {None}
        beam = made["beams"][0]
        assert beam["epoch_at"] == pytest.approx(made["begins_at"] + beam["dwell"] * made["dwell_s"], abs=0.002)
        assert beam["valid_s"] >= made["dwell_s"]
        assert 2 <= beam["k_offset_ms"] <= 20  # there and back to a satellite some hundreds of kilometres high
        assert beam["stops_at"] > beam["epoch_at"]
        again = {"polygons": area, "begins_at": made["begins_at"]}
        for block in ("sib19", "sib31"):
            whole = (await noc.post("/warnings/plan", again | {"block": block})).json()
            octets = [b64decode(each["block"]) for each in whole["beams"]]
            assert [each | {"block": None} for each in whole["beams"]] == made["beams"]
            told = the_same_plan(house.services.broadcast_sky.fleet, area, made["begins_at"])
            assert octets == [sib31(each.assistance) if block == "sib31" else sib19(each.assistance, 17) for each in told]
        far = await noc.post("/warnings/plan", again | {"begins_at": made["begins_at"] - 2 * 86400})
        assert (far.status_code, "within a day" in far.text) == (409, True)
        setup = (await noc.get("/warnings/setup")).json()
        assert (setup["population_known"], setup["areas"], setup["controllers"][0]["connected"]) == (True, ["Amatrice"], False)


def the_same_plan(fleet: Fleet, polygons: list[list[list[float]]], begins_at: float) -> Sequence[BeamAssistance]:
    """Made beside the server, as `tramontana warn plan` makes it."""
    rings = tuple(tuple((point[0], point[1]) for point in ring) for ring in polygons)
    people = population.parse(PLACES)
    points = Points.of(rings, people.latitude_deg, people.longitude_deg, people.people.astype(np.float64))
    ephemeris = Ephemeris(fleet)
    return of_plan(plan(ephemeris, rings, points, begins_at, PlanRules()), ephemeris.propagator)


async def test_cap_comes_in_and_goes_out_and_an_update_of_nothing_is_refused(houses: Houses) -> None:
    async with houses() as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        first, _ = await submit(ada, content())
        assert (await ada.get(f"/warnings/{first}/cap")).status_code == 409
        await decide(bruno, first)
        document = (await ada.get(f"/warnings/{first}/cap")).content
        received = cap.parse(document)
        assert received.content(None).model_copy(update={"cap": None}) == content()
        again = await house.http.post("/api/v1/warnings/cap", headers=ada.headers, content=document)
        assert "on the air already" in again.json()["detail"]
        sent = cap.instant(received.envelope.sent_unix_s)
        envelope = cap.Envelope("x", "other", house.clock(), "Other", (cap.Reference("ministry", first, sent),))
        update = cap.encode(content("update", replaces=first), envelope)
        read = await house.http.post("/api/v1/warnings/cap", headers=ada.headers, content=update)
        assert read.json()["replaces"] == first
        for unknown in (update.replace(first.encode(), b"unknown"), b"<alert/>"):
            refused = await house.http.post("/api/v1/warnings/cap", headers=ada.headers, content=unknown)
            assert (refused.status_code, refused.json()["code"]) == (409, "warning_refused")
        assert len((await ada.get("/warnings")).json()) == 1


async def test_another_authors_update_and_cancel_find_what_was_imported(houses: Houses) -> None:
    async with houses() as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        sent = float(int(house.clock()))

        def document(what: Content, number: int, *earlier: int) -> bytes:
            references = tuple(cap.Reference("civil.protection", f"CP-{each}", cap.instant(sent + each)) for each in earlier)
            return cap.encode(what, cap.Envelope(f"CP-{number}", "civil.protection", sent + number, "Civil protection", references))

        async def read(octets: bytes) -> httpx.Response:
            return await house.http.post("/api/v1/warnings/cap", headers=ada.headers, content=octets)

        async def on_air(octets: bytes) -> str:
            answer = await read(octets)
            assert answer.status_code == 200, answer.text
            warning_id, _ = await submit(ada, Content.model_validate_json(answer.content))
            assert (await decide(bruno, warning_id)).json()["state"] in ("on-air", "done")
            return warning_id

        update = document(content("update", replaces="0" * 32), 2, 1)
        assert "not on the air here" in (await read(update)).json()["detail"]
        first = await on_air(document(content(), 1))
        assert "on the air already" in (await read(document(content(), 1))).json()["detail"]
        stranger = update.replace(b">civil.protection,CP-1", b">somebody.else,CP-1")
        assert stranger != update
        assert (await read(stranger)).status_code == 409
        second = await on_air(update)
        assert (await state(ada, first), await state(ada, second)) == ("replaced", "on-air")
        shown = Content.model_validate_json(b64decode((await ada.get(f"/warnings/{second}")).json()["content"]))
        assert shown.cap is not None
        assert (shown.replaces, shown.cap.identifier) == (first, "CP-2")
        # one of our own between two of the author's: what he refers to is found through it
        ours, _ = await submit(bruno, content("update", replaces=second))
        assert (await decide(ada, ours)).json()["state"] == "on-air"
        cancel = await on_air(document(content("cancel", replaces="0" * 32, texts=[]), 3, 1, 2))
        assert (await state(ada, ours), await state(ada, cancel)) == ("cancelled", "done")
        assert (await read(document(content("cancel", replaces="0" * 32, texts=[]), 4, 3))).status_code == 409


async def test_what_replaces_two_at_once_is_refused(houses: Houses) -> None:
    async with houses() as house:
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        both = [(await submit(ada, content()))[0] for _ in range(2)]
        for each in both:
            assert (await decide(bruno, each)).json()["state"] == "on-air"
        references = tuple(cap.Reference("a", each, cap.instant(house.clock())) for each in both)
        octets = cap.encode(content("update", replaces=both[0]), cap.Envelope("x", "a", house.clock(), "A", references))
        refused = await house.http.post("/api/v1/warnings/cap", headers=ada.headers, content=octets)
        assert "replaces 2 warnings" in refused.json()["detail"]
