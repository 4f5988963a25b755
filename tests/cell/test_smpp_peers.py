"""Our client at another library's centre, another library's client at our centre, over real sockets on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosmpplib
import pytest
from aiosmpplib.hook import AbstractHook

from tests.cell.couriers import MemoryCourier
from tramontana.cell.short_message import join, read, submit, write
from tramontana.cell.smpp.driver import Centre, EsmeLink, Outgoing, Peer, SmscServer
from tramontana.cell.smpp.pdu import Address, CommandId, Message, MessageState, Password, Status
from tramontana.cell.smpp.receipt import Receipt, encode_receipt, parse_receipt
from tramontana.precedence import Precedence

OFFICE, PHONE = Address.of("43112"), Address.of("+393331234567")
LONG = "La strada per Accumoli è interrotta; andate al campo sportivo. " * 4


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def other_centre() -> AsyncIterator[tuple[int, asyncio.StreamReader]]:
    port = free_port()
    script = Path(__file__).with_name("smpp34_server.py")
    process = await asyncio.create_subprocess_exec(sys.executable, script, str(port), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert json.loads(await process.stdout.readline()) == {"ready": port}
        yield port, process.stdout
    finally:
        process.kill()
        await process.wait()


def outgoing(text: str, key: str, destination: Address = PHONE) -> list[Outgoing]:
    messages = submit(write(text, 5), OFFICE, destination, way="udh", precedence=Precedence.FLASH, receipt=True)
    return [Outgoing(f"{key}{number}", message) for number, message in enumerate(messages)]


@pytest.mark.anyio
async def test_our_client_at_another_librarys_centre() -> None:
    courier = MemoryCourier()
    async with other_centre() as (port, lines):
        link = EsmeLink(Centre("other", "127.0.0.1", port, "office", Password("secret")), courier)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(link.run())
            courier.queue += outgoing(LONG, "long") + outgoing("no", "bad", Address("0"))
            link.wake()
            await courier.until(lambda: len(courier.answers) == 3 and len(courier.messages) == 4)
            seen = [json.loads(await lines.readline()) for _ in range(2)]
            running.cancel()
    assert {answer.key: answer.status for answer in courier.answers} == {"long0": 0, "long1": 0, "bad0": Status.RINVDSTADR}
    parts = [read(Message(CommandId.SUBMIT_SM, OFFICE, PHONE, bytes.fromhex(line["octets"]), esm_class=line["esm_class"])) for line in seen]
    assert join(parts) == LONG
    receipts = [receipt for message in courier.messages if (receipt := parse_receipt(message))]
    assert {receipt.message_id for receipt in receipts} == {answer.message_id for answer in courier.answers if not answer.status}
    assert all(receipt.state == MessageState.DELIVERED for receipt in receipts)
    assert [message.short_message for message in courier.messages if not message.is_receipt] == [b"ricevuto"] * 2


class Hook(AbstractHook):  # type: ignore[misc]
    def __init__(self) -> None:
        self.seen: list[object] = []
        self.news = asyncio.Event()

    async def sending(self, smpp_message: object, pdu: bytes, client_id: str) -> None: ...

    async def received(self, smpp_message: object, pdu: bytes, client_id: str) -> None:
        self.seen.append(smpp_message)
        self.news.set()

    async def send_error(self, smpp_message: object, error: Exception, client_id: str) -> None:
        self.seen.append(error)
        self.news.set()

    async def until(self, kind: str, count: int) -> list[object]:
        async with asyncio.timeout(30):
            while len(found := [message for message in self.seen if type(message).__name__ == kind]) < count:
                self.news.clear()
                await self.news.wait()
        return found


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # that library leaves its socket to the garbage collector
async def test_another_librarys_client_at_our_centre() -> None:
    courier = MemoryCourier()
    courier.verdict = lambda message: (0, f"2a{message.short_message[5]}")  # by the number of the part
    server = SmscServer("TRAMONTANA", [Peer("office", Password("secret"))], courier)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    hook = Hook()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.run("127.0.0.1", 0, ready.set_result))
        esme = aiosmpplib.ESME("127.0.0.1", await ready, "office", "secret", hook=hook, log_level=logging.CRITICAL)
        text = aiosmpplib.SubmitSm(
            short_message=LONG * 2,
            source=aiosmpplib.PhoneNumber("43112"),
            destination=aiosmpplib.PhoneNumber("393331234567"),
            log_id="1",
            esm_class=0x40,
            auto_message_payload=False,
            registered_delivery=1,
        )
        await esme.broker.enqueue(text)
        client = group.create_task(esme.start())
        await hook.until("SubmitSmResp", 1)
        receipt = Receipt("2a", MessageState.DELIVERED)
        told = encode_receipt(receipt, source=PHONE, destination=OFFICE, submitted_at=0.0, done_at=60.0)
        courier.queue.append(Outgoing("receipt", told))
        server.wake("office")
        (delivered,) = await hook.until("DeliverSm", 1)
        await courier.until(lambda: bool(courier.answers))
        await esme.stop()
        await client
        running.cancel()
    assert join(read(message) for message in courier.messages) == LONG * 2
    assert isinstance(delivered, aiosmpplib.DeliverSm)
    assert delivered.is_receipt()
    assert delivered.parse_receipt()["stat"] == "DELIVRD"
    assert courier.answers[0].status == 0


@pytest.mark.anyio
async def test_a_wrong_password_and_a_session_too_many_are_refused() -> None:
    courier = MemoryCourier()
    server = SmscServer("TRAMONTANA", [Peer("office", Password("secret"), most_sessions=1)], courier)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    states: list[str] = []
    changed = asyncio.Event()

    def said(state: str) -> None:
        states.append(state)
        changed.set()

    async with asyncio.TaskGroup() as group:
        running = group.create_task(server.run("127.0.0.1", 0, ready.set_result))
        port = await ready
        links = []
        for password, wanted in (("wrong", "0xe"), ("secret", "bound"), ("secret", "0x5")):
            link = EsmeLink(Centre("ours", "127.0.0.1", port, "office", Password(password)), courier, said)
            links.append(group.create_task(link.run()))
            async with asyncio.timeout(30):
                while not states or wanted not in states[-1]:
                    changed.clear()
                    await changed.wait()
        assert server.bound() == {"office": 1}
        for task in [*links, running]:
            task.cancel()


@pytest.mark.anyio
async def test_what_was_not_answered_when_the_connection_broke_is_handed_back_and_the_link_returns() -> None:
    """A centre that takes a message and dies before it answers; and then one that answers."""
    courier = MemoryCourier()
    first = MemoryCourier()
    dying = asyncio.Event()

    async def die(link: str, session: str, messages: object) -> list[tuple[int, str]]:
        dying.set()
        await asyncio.Event().wait()
        return []

    first.received = die  # type: ignore[method-assign]
    port = free_port()
    async with asyncio.TaskGroup() as group:
        ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        peers = [Peer("office", Password("secret"))]
        before = group.create_task(SmscServer("A", peers, first).run("127.0.0.1", port, ready.set_result))
        await ready
        link = EsmeLink(Centre("ours", "127.0.0.1", port, "office", Password("secret")), courier)
        running = group.create_task(link.run())
        courier.queue += outgoing("uno", "one")
        link.wake()
        async with asyncio.timeout(30):
            await dying.wait()
        before.cancel()
        await courier.until(lambda: courier.lost == ["one0"])
        second = MemoryCourier()
        again: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        after = group.create_task(SmscServer("B", peers, second).run("127.0.0.1", port, again.set_result))
        courier.queue += outgoing("due", "two")
        await courier.until(lambda: [answer.key for answer in courier.answers] == ["two0"])
        running.cancel()
        after.cancel()
    assert [message.short_message for message in second.messages] == [b"due"]
