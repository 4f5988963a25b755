"""Two servers of one PostgreSQL database that tell each other by NATS: to phones they are one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from tests.control import mls_bytes
from tests.control.custodians import Desk
from tests.control.house import House, Houses, Phone, b64
from tests.control.peers import Nats, Postgresql
from tramontana.control import processes
from tramontana.control.events import Events, MemoryEvents
from tramontana.control.frames import CLOSE_PUT_OUT
from tramontana.control.nats_events import NatsAddress, NatsEvents
from tramontana.control.store import connections, log, schema
from tramontana.control.store.database import PostgresqlAddress
from tramontana.keys.merkle import Edge
from tramontana.keys.register import Register

pytestmark = pytest.mark.anyio

Pair = tuple[House, House]


@pytest.fixture
def address(postgresql: Postgresql, migrated: str) -> Iterator[PostgresqlAddress]:
    name = asyncio.run(postgresql.create(migrated))
    yield postgresql.address(name)
    asyncio.run(postgresql.drop(name))


@asynccontextmanager
async def two(houses: Houses, address: PostgresqlAddress, tmp_path: Path, first: Events, second: Events) -> AsyncIterator[Pair]:
    other_house = houses(directory=tmp_path / "second", database=address, events=second)
    async with houses(directory=tmp_path / "first", database=address, events=first) as one, other_house as other:
        yield one, other


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what the servers know has no event
            await asyncio.sleep(0.02)


def at(house: House, phone: Phone) -> Phone:
    """The same phone, speaking to another server from now on."""
    phone.house = house
    return phone


async def test_to_phones_two_servers_are_one(
    houses: Houses, address: PostgresqlAddress, tmp_path: Path, nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOOK_EVERY_S", 3600.0)  # what arrives here arrives by events
    buses = [NatsEvents(NatsAddress(nats_server.url)) for _ in range(2)]
    async with two(houses, address, tmp_path, *buses) as (one, other):
        await until(lambda: one.services.hub.state == other.services.hub.state == "connected")
        ada, bea, conversation_id = await one.pair()
        at(other, bea)
        await bea.login()  # a session of one server holds at the other
        async with ada.socket() as ada_socket:
            async with bea.socket() as bea_socket:
                assert (await bea_socket.next("deliver"))["kind"] == "welcome"
                assert await ada_socket.next("presence") == {"type": "presence", "account_id": bea.account_id, "online": True}
                assert {entry["account_id"]: entry["online"] for entry in (await ada.get("/accounts")).json()}[bea.account_id]
                for seq in (2, 3):
                    assert (await ada.send(conversation_id, 1)).status_code == 201
                    assert (await bea_socket.next("deliver"))["seq"] == seq
                at(one, bea)  # a newer socket at the other server closes the older
                async with bea.socket(after=3) as newer:
                    assert await bea_socket.close_code() == 4409
                    assert (await ada.send(conversation_id, 1)).status_code == 201
                    assert (await newer.next("deliver"))["seq"] == 4
            await until(lambda: not one.services.hub.is_account_online(bea.account_id))
            await until(lambda: not other.services.hub.is_account_online(bea.account_id))
            cid = await other.phone("Cid")
            await cid.offer(1)
            await ada_socket.next("directory")


async def test_a_login_challenge_holds_at_every_server_and_once(houses: Houses, address: PostgresqlAddress, tmp_path: Path) -> None:
    bus: list[MemoryEvents] = []
    async with two(houses, address, tmp_path, MemoryEvents(bus), MemoryEvents(bus)) as (one, other):
        phone = await one.phone()
        body = await phone.login_body()
        answers = await asyncio.gather(
            *(house.http.post("/api/v1/sessions", json=body) for house in (other, one, other)),
        )
        assert sorted(answer.status_code for answer in answers) == [201, 401, 401]


async def test_one_invitation_enrols_one_phone_and_one_epoch_has_one_commit(
    houses: Houses, address: PostgresqlAddress, tmp_path: Path
) -> None:
    bus: list[MemoryEvents] = []
    async with two(houses, address, tmp_path, MemoryEvents(bus), MemoryEvents(bus)) as (one, other):
        invitation = await one.invitation()
        rivals = [Phone((one, other)[n % 2], "Eve") for n in range(6)]
        bodies = [await rival.enrolment(invitation) for rival in rivals]
        answers = await asyncio.gather(
            *(rival.house.http.post("/api/v1/enrolments", json=body) for rival, body in zip(rivals, bodies, strict=True))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 403, 403, 403, 403, 403]

        ada, bea, conversation_id = await one.pair()
        at(other, bea)
        for epoch in (1, 2):
            answers = await asyncio.gather(*((ada, bea)[n % 2].commit(conversation_id, epoch) for n in range(6)))
            assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5
            assert {answer.json()["epoch"] for answer in answers} == {epoch + 1}
        # The same message sent to both servers at once, as after a lost answer, is accepted once.
        message_id, message = secrets.token_hex(16), mls_bytes.private_message(conversation_id, 3, mls_bytes.APPLICATION)
        body = {"message_id": message_id, "message": b64(message)}
        path = f"/api/v1/conversations/{conversation_id}/messages"
        repeats = await asyncio.gather(*(house.http.post(path, headers=ada.headers, json=body) for house in (one, other, one, other)))
        assert {answer.status_code for answer in repeats} == {201}
        assert len({answer.json()["accepted_at"] for answer in repeats}) == 1
        async with bea.socket() as socket:
            kinds = [(await socket.next("deliver"))["kind"] for _ in range(socket.ready["pending"])]
        assert kinds.count("application") == 1


async def test_a_conference_that_two_open_at_two_servers_at_once_is_one(houses: Houses, address: PostgresqlAddress, tmp_path: Path) -> None:
    bus: list[MemoryEvents] = []
    async with two(houses, address, tmp_path, MemoryEvents(bus), MemoryEvents(bus)) as (one, other):
        phones = [await one.phone(f"Post {number}") for number in range(6)]
        for phone in phones[1::2]:
            at(other, phone)
        for _ in range(5):
            conversation_id = secrets.token_hex(16)
            group = {"kind": "group", "members": [phone.account_id for phone in phones[1:]], "conversation_id": conversation_id}
            assert (await phones[0].post("/conversations", group)).status_code == 200
            body = {"conversation_id": conversation_id, "precedence": "routine"}
            answers = await asyncio.gather(*(phone.put(f"/calls/{secrets.token_hex(16)}", body) for phone in phones))
            going = (await phones[0].get(f"/conversations/{conversation_id}/call")).json()["call"]
            assert {answer.json()["call_id"] for answer in answers} == {going["call_id"]}
            assert {each["device_id"] for each in going["participants"]} == {phone.device_id for phone in phones}


async def test_without_events_everything_comes_a_little_later(
    houses: Houses, address: PostgresqlAddress, tmp_path: Path, nats_server: Nats
) -> None:
    buses = [NatsEvents(NatsAddress(nats_server.url)) for _ in range(2)]
    async with two(houses, address, tmp_path, *buses) as (one, other):
        await until(lambda: one.services.hub.state == other.services.hub.state == "connected")
        ada, bea, conversation_id = await one.pair()
        at(other, bea)
        async with ada.socket() as ada_socket, bea.socket() as bea_socket:
            await ada_socket.next("presence")
            await bea_socket.next("deliver")
            await asyncio.to_thread(nats_server.stop)
            await until(lambda: one.services.hub.state == other.services.hub.state == "degraded")
            assert (await one.http.get("/api/v1/health")).json() == {"status": "ok", "events": "degraded"}
            await ada.send(conversation_id, 1)
            assert (await bea_socket.next("deliver"))["seq"] == 2
            at(one, bea)
            async with bea.socket(after=2) as newer:
                assert await bea_socket.close_code() == 4409
                async with one.store.write() as connection:
                    await connection.execute(delete(schema.sessions).where(schema.sessions.c.device_id == bea.device_id))
                assert await newer.close_code() == 4401
            await until(lambda: not other.services.hub.is_account_online(bea.account_id))
            await asyncio.to_thread(nats_server.start)
            await until(lambda: one.services.hub.state == other.services.hub.state == "connected")
            await bea.login()
            at(other, bea)
            async with bea.socket(after=2) as back:
                await ada.send(conversation_id, 1)
                assert (await back.next("deliver"))["seq"] == 3


async def test_a_process_that_stops_without_a_word_is_noticed(
    houses: Houses, address: PostgresqlAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOOK_EVERY_S", 0.1)
    bus: list[MemoryEvents] = []
    async with two(houses, address, tmp_path, MemoryEvents(bus), MemoryEvents(bus)) as (one, _):
        monkeypatch.setattr(processes, "STOPPED_AFTER_S", 600.0)
        ada, bea, _ = await one.pair()
        dead = "d" * 32  # a process that was killed: its rows are all that is left of it
        async with one.store.write() as connection:
            await connections.beat(connection, dead, 0.0)
            await connections.claim(connection, bea.device_id, dead)
        async with ada.socket() as socket:
            one.services.hub.handle_gap()
            assert (await socket.next("presence"))["online"] is True
            monkeypatch.setattr(processes, "STOPPED_AFTER_S", 0.5)
            assert (await socket.next("presence"))["online"] is False
        async with asyncio.timeout(30):
            while True:
                async with one.store.read() as connection:
                    if dead not in await connections.beats(connection):
                        break
                await asyncio.sleep(0.05)


async def test_a_process_that_was_taken_for_dead_holds_its_sockets(
    houses: Houses, address: PostgresqlAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOOK_EVERY_S", 0.1)
    bus: list[MemoryEvents] = []
    async with two(houses, address, tmp_path, MemoryEvents(bus), MemoryEvents(bus)) as (one, other):
        ada = await one.phone("Ada")
        async with ada.socket() as socket:
            async with one.store.write() as connection:  # as the other one does after `STOPPED_AFTER_S` of silence
                await connections.forget_process(connection, one.services.processes.process_id)
            async with asyncio.timeout(30):
                while True:
                    async with other.store.read() as connection:
                        [row] = await connections.of_devices(connection, [ada.device_id])
                    if row.process_id == one.services.processes.process_id:
                        break
                    await asyncio.sleep(0.05)
            await socket.send({"type": "ping"})
            await socket.next("pong")


async def test_a_device_revoked_at_one_server_is_out_at_every_one_at_once(
    houses: Houses, address: PostgresqlAddress, tmp_path: Path, nats_server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOOK_EVERY_S", 3600.0)  # what is heard is heard by events
    buses = [NatsEvents(NatsAddress(nats_server.url)) for _ in range(2)]
    async with two(houses, address, tmp_path, *buses) as (one, other):
        await until(lambda: one.services.hub.state == other.services.hub.state == "connected")
        ada, bea, conversation_id = await one.pair()
        at(other, bea)
        call_id = secrets.token_hex(16)
        for phone in (ada, bea):
            joined = await phone.put(f"/calls/{call_id}", {"conversation_id": conversation_id, "precedence": "routine"})
            assert joined.status_code == 200, joined.text
        async with ada.socket() as witness, bea.socket() as lost:
            await one.custodians.revoke(one, bea)
            assert await lost.close_code() == CLOSE_PUT_OUT
            await witness.next("directory")
        for house in (one, other):
            assert (await house.http.get("/api/v1/me", headers=bea.headers)).status_code == 401
            refused = await house.http.post("/api/v1/sessions", json=await at(house, bea).login_body())
            assert (refused.status_code, refused.json()["code"]) == (403, "device_revoked")
            calls = (await house.http.get("/api/v1/admin/calls", headers=await house.administrator())).json()
            assert calls == []
            status = (await at(house, ada).get(f"/devices/{bea.device_id}/certificate")).json()
            assert status["state"] == "revoked"
        late = await ada.put(f"/calls/{call_id}", {"conversation_id": conversation_id, "precedence": "routine"})
        assert (late.status_code, late.json()["code"]) == (409, "call_ended")


async def test_two_servers_that_certify_at_once_keep_one_log(houses: Houses, address: PostgresqlAddress, tmp_path: Path) -> None:
    bus: list[MemoryEvents] = []
    async with two(houses, address, tmp_path, MemoryEvents(bus), MemoryEvents(bus)) as (one, other):
        custodians, phones = one.custodians, list[Phone]()
        for number in range(10):
            phone = Phone((one, other)[number % 2], f"Phone {number}")
            await phone.enrol(await one.invitation())
            phones.append(phone)
        await asyncio.gather(*(custodians.certify(phone.house, phone) for phone in phones))
        # The same certificate at both servers at once is logged once.
        eve = Phone(one, "Eve")
        await eve.enrol(await one.invitation())
        first, second = await Desk.of(one, custodians.first), await Desk.of(other, custodians.first)
        [request] = await first.requests()
        grant = custodians.grant(one, eve)
        assert (await first.approve(request["request_id"], grant)).status_code == 204
        encoded = custodians.signed(one, grant, (custodians.first,)).encoded
        answers = await asyncio.gather(*(desk.issue(request["request_id"], encoded) for desk in (first, second, first, second)))
        assert sorted(answer.status_code for answer in answers) == [201, 422, 422, 422]
        assert {answer.json()["reason"] for answer in answers if answer.status_code == 422} == {"replayed"}
        # One sequence, every head that was ever signed is a head of it, and both servers show the same.
        async with other.store.read() as connection:
            entries = await log.entries(connection, 0, 100)
            heads = (await connection.execute(select(schema.log_heads).order_by(schema.log_heads.c.tree_size))).all()
        assert [entry.log_index for entry in entries] == list(range(4 + len(phones) + 1))
        register, edge = Register(custodians.key.root), Edge()
        for entry, head in zip(entries, heads, strict=True):
            register.read(entry.entry)
            edge.append(entry.entry)
            assert (head.tree_size, head.root_hash) == (edge.size, edge.root)
        shown = [(await at(house, first.phone).get("/log/head")).json() for house in (one, other)]
        assert shown[0]["root_hash"] == shown[1]["root_hash"] == b64(edge.root)
