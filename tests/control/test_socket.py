"""The WebSocket of a device: hello, mailbox, acknowledgement, presence, closing (docs/protocols.md, "Mailbox and WebSocket")."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from websockets.exceptions import InvalidStatus

from tests.control.house import Houses, open_socket
from tramontana.control.api import socket as device_socket
from tramontana.control.limits import Limits, Rate
from tramontana.control.store import mailbox

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "hello", "token": "A" * 43, "after": 0},
        {"type": "hello", "token": "nonsense", "after": 0},
        {"type": "ack", "seq": 0},
        {"type": "hello"},
    ],
)
async def test_a_wrong_hello_closes(houses: Houses, frame: dict[str, object]) -> None:
    async with houses() as house, open_socket(house) as socket:
        await socket.send(frame)
        assert await socket.close_code() == 4401


async def test_a_late_hello_closes(houses: Houses) -> None:
    async with houses(limits=Limits(hello_timeout_s=0.05)) as house, open_socket(house) as socket:
        assert await socket.close_code() == 4401


async def test_an_administrator_has_no_socket(houses: Houses) -> None:
    async with houses() as house:
        token = (await house.administrator())["Authorization"].removeprefix("Bearer ")
        async with open_socket(house) as socket:
            await socket.send({"type": "hello", "token": token, "after": 0})
            assert await socket.close_code() == 4401


async def test_other_origins_and_host_names_get_no_socket(houses: Houses) -> None:
    async with houses() as house:
        with pytest.raises(InvalidStatus) as refused:
            async with open_socket(house, origin="http://evil.example"):
                pass
        assert refused.value.response.status_code == 403
        async with open_socket(house, origin=house.url):
            pass


async def test_items_stay_until_they_are_acknowledged(stored_houses: Houses) -> None:
    async with stored_houses() as house:
        ada, bea, conversation_id = await house.pair()
        for _ in range(4):
            await ada.send(conversation_id, 1)
        async with bea.socket() as socket:
            assert [(await socket.next("deliver"))["seq"] for _ in range(5)] == [1, 2, 3, 4, 5]
            await socket.send({"type": "ack", "seq": 3})
            await socket.send({"type": "ping"})
            await socket.next("pong")
        async with bea.socket() as socket:
            assert socket.ready["pending"] == 2
            assert (await socket.next("deliver"))["seq"] == 4
        async with bea.socket(after=4) as socket:
            assert (await socket.next("deliver"))["seq"] == 5
        async with house.store.read() as connection:
            assert [item.seq for item in await mailbox.items_after(connection, bea.device_id, 0, 10)] == [4, 5]


async def test_a_payload_is_gone_once_everybody_has_acknowledged(stored_houses: Houses) -> None:
    async with stored_houses() as house:
        ada, bea, conversation_id = await house.pair()
        await ada.send(conversation_id, 1)
        async with bea.socket() as socket:
            await socket.next("deliver")
            await socket.send({"type": "ack", "seq": (await socket.next("deliver"))["seq"]})
            await socket.send({"type": "ping"})
            await socket.next("pong")
        async with house.store.read() as connection:
            assert (await connection.exec_driver_sql("SELECT count(*) FROM messages")).scalar_one() == 0


async def test_live_messages_are_pushed(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        async with bea.socket() as socket:
            await socket.next("deliver")
            for expected in (2, 3):
                await ada.send(conversation_id, 1)
                assert (await socket.next("deliver"))["seq"] == expected


@pytest.mark.parametrize(
    ("frame", "code"),
    [({"type": "ack", "seq": 7}, 4400), ({"type": "nonsense"}, 4400), ({"type": "hello", "token": "x", "after": 0}, 4400)],
)
async def test_frames_that_break_the_protocol_close(houses: Houses, frame: dict[str, object], code: int) -> None:
    async with houses() as house, (await house.phone()).socket() as socket:
        await socket.send(frame)
        assert await socket.close_code() == code


async def test_after_past_the_end_is_refused(houses: Houses) -> None:
    async with houses() as house:
        phone = await house.phone()
        async with open_socket(house) as socket:
            await socket.send({"type": "hello", "token": phone.token, "after": 9})
            assert await socket.close_code() == 4400


async def test_a_newer_socket_closes_the_older(stored_houses: Houses) -> None:
    async with stored_houses() as house:
        phone = await house.phone()
        async with phone.socket() as older, phone.socket() as newer:
            assert await older.close_code() == 4409
            await newer.send({"type": "ping"})
            await newer.next("pong")
            assert house.services.hub.is_device_online(phone.device_id)


async def test_presence_and_directory_reach_the_others(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        await bea.offer(1)
        async with ada.socket() as watching:
            async with bea.socket():
                assert await watching.next("presence") == {"type": "presence", "account_id": bea.account_id, "online": True}
                listed = {entry["account_id"]: entry for entry in (await ada.get("/accounts")).json()}
                assert listed[bea.account_id]["online"] is True
                assert [device["device_id"] for device in listed[bea.account_id]["devices"]] == [bea.device_id]
            assert (await watching.next("presence"))["online"] is False
            cid = await house.phone("Cid")
            assert cid.account_id not in {entry["account_id"] for entry in (await ada.get("/accounts")).json()}
            await cid.offer(1)  # from now on Cid can be reached, and the others are told
            await watching.next("directory")
            assert cid.account_id in {entry["account_id"] for entry in (await ada.get("/accounts")).json()}


async def test_silence_closes_and_pings_keep_open(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_socket, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(device_socket, "SILENCE_S", 0.4)
    async with houses() as house:
        phone = await house.phone()
        async with phone.socket() as talking:
            for _ in range(12):  # longer than the silence that closes
                await talking.next("ping")
                await talking.send({"type": "pong"})
            async with phone.socket() as silent:
                assert await silent.close_code() == 4408


async def test_a_session_that_expires_closes_its_socket(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_socket, "PING_EVERY_S", 0.05)
    async with houses() as house, (await house.phone()).socket() as socket:
        house.clock.advance(13 * 3600)
        assert await socket.close_code() == 4401


async def test_a_stalled_client_gets_a_window_and_no_more(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_socket, "WINDOW_ITEMS", 8)
    monkeypatch.setattr(device_socket, "BATCH_ITEMS", 5)
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        for _ in range(30):
            await ada.send(conversation_id, 1)
        async with bea.socket() as socket:
            received = [(await socket.next("deliver"))["seq"] for _ in range(8)]
            await socket.send({"type": "ping"})
            assert (await socket.receive())["type"] == "pong"  # and not a ninth item
            while len(received) < 31:
                await socket.send({"type": "ack", "seq": received[-1]})
                received.append((await socket.next("deliver"))["seq"])
            assert received == list(range(1, 32))


async def test_too_many_frames_close(houses: Houses) -> None:
    limits = replace(Limits(), frames=Rate(20, 0.001))
    async with houses(limits=limits) as house, (await house.phone()).socket() as socket:
        for _ in range(30):
            await socket.send({"type": "pong"})
        assert await socket.close_code() == 4429


async def test_shutdown_closes_with_service_restart(houses: Houses) -> None:
    async with houses() as house, (await house.phone()).socket() as socket:
        house.server.should_exit = True
        assert await socket.close_code() == 1012


async def test_a_restart_keeps_accounts_sessions_and_mail(stored_houses: Houses) -> None:
    async with stored_houses() as house:
        ada, bea, conversation_id = await house.pair()
        await ada.send(conversation_id, 1)
        service = (await house.http.get("/api/v1/service")).json()
    async with stored_houses() as house:
        ada.house = bea.house = house
        assert (await house.http.get("/api/v1/service")).json() == service
        await ada.send(conversation_id, 1)
        async with bea.socket(after=1) as socket:
            assert [(await socket.next("deliver"))["seq"] for _ in range(2)] == [2, 3]


async def test_sockets_that_never_say_hello_are_bounded(houses: Houses) -> None:
    async with houses(limits=Limits(sockets_before_hello=2)) as house, open_socket(house), open_socket(house):
        async with asyncio.timeout(5):
            while house.services.sockets_before_hello < 2:  # noqa: ASYNC110 - a plain counter
                await asyncio.sleep(0.01)
        with pytest.raises(InvalidStatus):
            async with open_socket(house):
                pass
