"""Field units and TAK servers at a running server: over real sockets, in the clear and over TLS, who may look, and what is deleted when."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.cell.tak_peers import authority
from tests.cell.test_warning import content
from tests.control.house import House, Houses
from tests.control.test_warnings import decide, submit, warner
from tramontana.cell.cot import AREA_TYPE, DELETE_TYPE, EMERGENCY_OVER_TYPE, EMERGENCY_TYPE, PING_TYPE, Event, EventStream, encode, parse
from tramontana.cell.position import Position
from tramontana.cell.sos_case import close, locate, open_case, take
from tramontana.cell.tak.driver import Address, TakLink
from tramontana.cell.tak_session import TakSession
from tramontana.cell.units import Unit
from tramontana.control.store import sos
from tramontana.control.store import units as rows
from tramontana.control.store.schema import warnings
from tramontana.control.tak_file import TakFileError, TakServers, parse_tak_servers

pytestmark = pytest.mark.anyio
TIMEOUT_S = 90.0
PHONE = "+393331234567"


@dataclass
class TakServer:
    """The other side: keeps every octet that it gets, and says what it is told to."""

    port: int = 0
    octets: bytes = b""
    connections: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[TakServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        self._news.set()
        try:
            while octets := await reader.read(65536):
                self.octets += octets
                self._news.set()
        except OSError:
            pass
        finally:
            writer.close()

    def say(self, event: Event) -> None:
        self.writers[-1].write(encode(event))

    def cut(self) -> None:
        for writer in self.writers:
            writer.transport.abort()

    def events(self) -> list[Event]:
        """What it was told, without pings."""
        return [event for whole in EventStream().receive(self.octets) if (event := parse(whole)).kind != PING_TYPE]

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not is_so():
                self._news.clear()
                await self._news.wait()


def table(port: int, more: str = 'send = ["sos", "warnings"]', units: str = "kept_s = 60.0") -> TakServers:
    text = f'[units]\n{units}\n[[tak]]\nname = "room"\nhost = "127.0.0.1"\nport = {port}\ntls = false\n{more}\n'
    return parse_tak_servers(text, Path())


def unit(now: float, **changes: Any) -> Event:
    fields: dict[str, Any] = {"callsign": "Squadra 1", "radius_m": 8.0} | changes
    return Event("ANDROID-1", "a-f-G-U-C", "m-g", now, now, now + 300, 42.63, 13.29, **fields)


async def shown_until(house: House, headers: dict[str, str], is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            answer = await house.http.get("/api/v1/units", headers=headers)
            page: dict[str, Any] = answer.json()
            if is_so(page):
                return page
            await asyncio.sleep(0.05)


async def kept(house: House) -> list[Unit]:
    """What is in the database, whether it may be shown or not."""
    async with house.store.read() as connection:
        return await rows.listed(connection, 0.0)


async def add_case(house: House, *, number: int = 17, phone: str = PHONE) -> str:
    async with house.store.write() as connection:
        now = house.clock()
        case, _, _ = take(open_case(number, phone, now), "desk", now)
        case, _, _ = locate(case, "desk", Position(42.6281, 13.2924, 30.0, "operator"), now)
        return (await sos.add(connection, case)).case_id


async def close_case(house: House, case_id: str) -> None:
    async with house.store.write() as connection:
        found = await sos.find(connection, case_id)
        assert found is not None
        await sos.keep(connection, found, close(found.case, "desk", "safe", house.clock(), tell=False)[0])


async def test_a_unit_is_seen_for_as_long_as_it_holds_and_then_deleted(stored_houses: Houses) -> None:
    async with TakServer().listening() as server, stored_houses(tak=table(server.port)) as house:
        headers = await house.administrator()
        await server.until(lambda: server.connections == 1)
        server.say(unit(house.clock()))
        page = await shown_until(house, headers, lambda page: bool(page["units"]))
        [seen] = page["units"]
        assert (seen["callsign"], seen["link"], seen["latitude_deg"], seen["radius_m"], seen["emergency"]) == (
            "Squadra 1",
            "room",
            42.63,
            8.0,
            False,
        )
        assert page["links"] == [{"name": "room", "connected": True, "fault": "", "sends": ["sos", "warnings"], "receive_only": False}]
        house.clock.advance(301)
        [stale] = (await house.http.get("/api/v1/units", headers=headers)).json()["units"]
        assert stale["stale_at"] < house.clock()
        house.clock.advance(60)
        assert (await house.http.get("/api/v1/units", headers=headers)).json()["units"] == []
        async with asyncio.timeout(TIMEOUT_S):
            while await kept(house):  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.05)


async def test_few_may_look_and_who_did_is_in_the_trail(houses: Houses) -> None:
    async with houses() as house:
        operator, approver, member = await warner(house, "Ada", "operator"), await warner(house, "Bruno", "approver"), await house.phone()
        assert (await house.http.get("/api/v1/units")).status_code == 401
        assert (await member.get("/units")).json()["code"] == (await approver.get("/units")).json()["code"] == "not_operator"
        assert (await operator.get("/units")).json()["units"] == []
        assert await house.audited("units.viewed") == []  # nobody was seen
        seen = Unit("room", "a", "a-f-G", "Squadra 1", 42.0, 13.0, None, None, None, None, False, 0.0, house.clock() + 9000, 0.0)
        await house.store.beside(lambda connection: rows.keep(connection, [seen], []))
        for passes in (0, 0, 3601):
            house.clock.advance(passes)
            assert [unit["callsign"] for unit in (await operator.get("/units")).json()["units"]] == ["Squadra 1"]
        assert [entry["actor"] for entry in await house.audited("units.viewed")] == [f"device {operator.device_id}"] * 2


async def test_cases_and_warnings_go_out_without_number_and_words_and_are_taken_back(houses: Houses) -> None:
    async with TakServer().listening() as server, houses(tak=table(server.port)) as house:
        case_id = await add_case(house)
        await server.until(lambda: len(server.events()) == 1)
        [case] = server.events()
        assert (case.kind, case.uid, case.latitude_deg, case.callsign) == (EMERGENCY_TYPE, f"tramontana-sos-{case_id}", 42.6281, "SOS 17")
        assert PHONE.encode() not in server.octets
        [told] = await house.audited("sos.told")
        assert told["details"] == {"to": "room", "with_phone": False, "with_words": False}
        ada, bruno = await warner(house, "Ada", "approver"), await warner(house, "Bruno", "approver")
        warning_id, _ = await submit(ada, content())
        assert (await decide(bruno, warning_id)).json()["state"] == "on-air"
        await server.until(lambda: len(server.events()) == 2)
        assert (server.events()[1].kind, server.events()[1].uid) == (AREA_TYPE, f"tramontana-warning-{warning_id}-0")
        assert b"link point=" in server.octets
        cancel, _ = await submit(ada, content("cancel", replaces=warning_id))
        assert (await decide(bruno, cancel)).json()["state"] == "done"
        await server.until(lambda: len(server.events()) == 3)
        assert server.events()[2].kind == DELETE_TYPE
        await close_case(house, case_id)
        await server.until(lambda: len(server.events()) == 4)
        assert (server.events()[3].kind, server.events()[3].uid) == (EMERGENCY_OVER_TYPE, f"tramontana-sos-{case_id}")


async def test_a_warning_that_this_release_refuses_hides_no_case(houses: Houses) -> None:
    async with TakServer().listening() as server, houses(tak=table(server.port)) as house:
        author = await house.phone()
        row = {"warning_id": "0" * 32, "state": "on-air", "content": b"{}", "author_account_id": author.account_id, "submitted_at": 0.0}
        async with house.store.write() as connection:
            await connection.execute(insert(warnings).values(row))
        await add_case(house)
        await server.until(lambda: len(server.events()) == 1)
        assert server.events()[0].kind == EMERGENCY_TYPE


async def test_after_a_cut_and_nonsense_everything_is_told_again(houses: Houses) -> None:
    async with TakServer().listening() as server, houses(tak=table(server.port, 'send = ["sos"]\nphones = true\nwords = true')) as house:
        await add_case(house)
        await server.until(lambda: len(server.events()) == 1)
        assert PHONE.encode() in server.octets
        server.cut()
        await server.until(lambda: server.connections == 2)
        server.octets = b""
        server.writers[-1].write(b'<!DOCTYPE e [<!ENTITY f SYSTEM "file:///etc/passwd">]><event/>')
        await server.until(lambda: server.connections == 3)
        server.octets = b""
        server.writers[-1].write(b"<event>\x00</event>")
        server.say(unit(house.clock()))
        headers = await house.administrator()
        await shown_until(house, headers, lambda page: bool(page["units"]))


async def test_a_link_that_receives_only_sends_not_one_octet(houses: Houses) -> None:
    async with TakServer().listening() as server, houses(tak=table(server.port, "receive_only = true")) as house:
        await add_case(house)
        headers = await house.administrator()
        await server.until(lambda: server.connections == 1)
        server.say(unit(house.clock()))
        await shown_until(house, headers, lambda page: bool(page["units"]))
        server.cut()
        await server.until(lambda: server.connections == 2)
        server.say(unit(house.clock(), callsign="Squadra 2"))
        page = await shown_until(house, headers, lambda page: page["units"][0]["callsign"] == "Squadra 2")
        assert page["links"][0]["receive_only"] is True
        assert server.octets == b""


SILENT = 'kept_s = 60.0\n[[units.silent]]\nname = "squadra 1"\nphones = ["+39 333 1234567"]'


async def test_of_a_unit_that_must_not_emit_nothing_is_told(houses: Houses) -> None:
    """Its case stays here while another one goes out; its position is heard, and marked; nobody can export it."""
    async with TakServer().listening() as server, houses(tak=table(server.port, units=SILENT)) as house:
        silent = await add_case(house)
        other = await add_case(house, number=18, phone="+393339999999")
        await server.until(lambda: len(server.events()) == 1)
        server.say(unit(house.clock()))
        server.say(replace(unit(house.clock(), callsign="Squadra 2"), uid="ANDROID-2"))
        headers = await house.administrator()
        page = await shown_until(house, headers, lambda page: len(page["units"]) == 2)
        assert {each["callsign"]: each["must_not_emit"] for each in page["units"]} == {"Squadra 1": True, "Squadra 2": False}
        for form in ("cot", "cap"):
            refused = await house.http.get(f"/api/v1/sos/cases/{silent}/export?form={form}", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (409, "must_not_emit")
            assert (await house.http.get(f"/api/v1/sos/cases/{other}/export?form={form}", headers=headers)).status_code == 200
        await close_case(house, other)
        await server.until(lambda: len(server.events()) == 2)  # by then the silent one would have been told too
        assert {event.uid for event in server.events()} == {f"tramontana-sos-{other}"}
        assert [entry["subject"] for entry in await house.audited("sos.told")] == [f"case {other}"]


def tls_table(port: int, directory: Path, more: str = "") -> TakServers:
    text = f"""
        [[tak]]
        name = "room"
        host = "127.0.0.1"
        port = {port}
        ca = "ca.pem"
        certificate = "client.pem"
        key = "client.key"
        send = ["sos"]
        {more}
    """
    return parse_tak_servers(text, directory)


def server_side(directory: Path, believes: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=believes / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    return context


async def test_over_tls_both_sides_prove_who_they_are(houses: Houses, tmp_path: Path) -> None:
    mine, other = authority(tmp_path / "mine").directory, authority(tmp_path / "other").directory
    async with TakServer().listening(server_side(mine, mine)) as server, houses(tak=tls_table(server.port, mine)) as house:
        await add_case(house)
        await server.until(lambda: len(server.events()) == 1)
    async with TakServer().listening(server_side(other, mine)) as server, houses(tak=tls_table(server.port, mine)) as house:
        headers = await house.administrator()
        await shown_until(house, headers, lambda page: "not to be trusted" in page["links"][0]["fault"])
        assert server.octets == b""
    async with TakServer().listening(server_side(mine, other)) as server, houses(tak=tls_table(server.port, mine)) as house:
        headers = await house.administrator()
        await shown_until(house, headers, lambda page: page["links"][0]["fault"] not in ("", "not connected yet"))
        assert server.events() == []


@pytest.mark.parametrize(("more", "days"), [('server_name = "tak.example.it"', 1), ("", -1)])
async def test_a_certificate_of_another_name_or_another_time_gets_nothing(houses: Houses, tmp_path: Path, more: str, days: int) -> None:
    made = authority(tmp_path / "mine")
    made.issue("server", days=days)
    tls = server_side(made.directory, made.directory)
    async with TakServer().listening(tls) as server, houses(tak=tls_table(server.port, made.directory, more)) as house:
        await add_case(house)
        headers = await house.administrator()
        await shown_until(house, headers, lambda page: "not to be trusted" in page["links"][0]["fault"])
        assert server.octets == b""


async def test_however_much_there_is_to_tell_it_is_told() -> None:
    area = Event("", AREA_TYPE, "h-e", 0.0, 0.0, math.inf, 42.0, 13.0, remarks="x" * 60_000)
    session, wanted = TakSession("room"), {f"tramontana-{number}": replace(area, uid=f"tramontana-{number}") for number in range(200)}
    session.desire(wanted, 0.0)
    async with TakServer().listening() as server:
        link = TakLink("room", Address("127.0.0.1", server.port), session, lambda _name, _events: None)
        running = asyncio.create_task(link.run())
        try:
            await server.until(lambda: server.octets.count(b"</event>") == len(wanted))
            assert server.connections == 1
        finally:
            running.cancel()
            await asyncio.wait([running], timeout=30)


WRONG = [
    ('host = "tak.example.it"\ntls = false', "use TLS, or say 'clear = true'"),
    ('host = "tak.example.it"', "'ca' is missing"),
    ('host = "127.0.0.1"\ntls = false\nca = "ca.pem"', "are for TLS"),
    ('host = "127.0.0.1"\nca = "ca.pem"\nkey = "client.key"', "belong together"),
    ('host = "127.0.0.1"\nca = "nothing.pem"', "nothing.pem cannot be used"),
    ('host = "127.0.0.1"\nca = "ca.pem"\ncertificate = "client.pem"\nkey = "open.key"', "chmod 600"),
    ('host = "127.0.0.1"\nca = "ca.pem"\ncertificate = "client.pem"\nkey = "other.key"', "cannot be used"),
    ('host = "127.0.0.1"\ntls = false\nreceive_only = true\nsend = ["sos"]', "receives only"),
    ('host = "127.0.0.1"\ntls = false\nwords = true', "are of SOS cases"),
    ('host = "127.0.0.1"\ntls = false\nprot = 1', "tak.1.prot is not known here"),
    ('host = "127.0.0.1"\ntls = false\nsend = ["everything"]', "tak.1.send.1"),
    ('host = "127.0.0.1"\ntls = false\n[[tak]]\nname = "room"\nhost = "::1"\ntls = false', "the same name"),
    ("host = ", "not TOML"),
]


@pytest.mark.parametrize(("wrong", "says"), WRONG)
def test_what_is_wrong_with_the_file_is_said(wrong: str, says: str, tmp_path: Path) -> None:
    made = authority(tmp_path / "mine")
    made.issue("open")
    made.issue("other")
    (made.directory / "open.key").chmod(0o644)
    with pytest.raises(TakFileError, match=says):
        parse_tak_servers(f'[[tak]]\nname = "room"\n{wrong}\n', made.directory)


def test_defaults() -> None:
    assert parse_tak_servers("", Path()) == TakServers()
