"""Kannel at our message centre, an operator's centre behind us: messages, receipts and texts from phones, all the way through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cell.couriers import CENTRE, OFFICE, MemoryCourier, keep_password
from tests.cell.kannel import kannel, missing
from tramontana.cell.short_message import join, read
from tramontana.cell.smpp.driver import Outgoing, SmscServer
from tramontana.cell.smpp.pdu import Address, CommandId, Message, MessageState
from tramontana.cell.smpp.receipt import Receipt, encode_receipt
from tramontana.control.operators import parse_operators
from tramontana.control.store import texts as rows
from tramontana.control.store.database import Store
from tramontana.control.texts import Texts

pytestmark = [pytest.mark.anyio, pytest.mark.system]
PHONE = "+393331234567"
LONG = "La strada per Accumoli e' interrotta, andate al campo sportivo. " * 4
OTHER = "Drumul spre Accumoli este închis; mergeți la terenul de sport. 😀 " * 3
SETTINGS = (
    CENTRE
    + """prefixes = ["+39"]

[server]
port = 0

[[server.peer]]
system_id = "kannel"
password_file = "password"
numbers = ["43200"]
"""
)


class Operator(MemoryCourier):
    """An operator's centre that delivers at once, and says so."""

    server: SmscServer

    async def received(self, link: str, session: str, messages: Sequence[Message]) -> Sequence[tuple[int, str]]:
        verdicts = []
        for message in messages:
            self.messages.append(message)
            message_id = f"{len(self.messages):08X}"
            receipt = Receipt(message_id, MessageState.DELIVERED)
            told = encode_receipt(receipt, source=message.destination, destination=message.source, submitted_at=0.0, done_at=60.0)
            self.queue.append(Outgoing(message_id, told))
            verdicts.append((0, message_id))
        self.news.set()
        asyncio.get_running_loop().call_soon(self.server.wake, link)
        return verdicts


async def test_messages_receipts_and_texts_of_phones(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    operator = Operator()
    operator.server = SmscServer("OPERATOR", [OFFICE], operator)
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(operator.server.run("127.0.0.1", 0, ready.set_result))]
        keep_password(tmp_path)
        operators = parse_operators(SETTINGS.format(port=await ready), tmp_path)
        store = await Store.open(tmp_path / "data")
        texts = Texts(store, operators, time.time, on_listening=listening.set_result)
        tasks.append(group.create_task(texts.run()))
        async with kannel(tmp_path, await listening) as there:
            for text in ("ciao", LONG, OTHER):
                await there.send("43200", PHONE, text)

            def receipts() -> int:
                return sum(path == "/receipt" and fields["kind"] == "1" for path, fields in there.calls)

            await there.until(lambda: receipts() == 3)  # of a text in parts Kannel wants the last one's
            for body in (b"siamo in sette", b"due anziani"):
                message = Message(CommandId.DELIVER_SM, Address.of(PHONE), Address.of("43200"), body)
                operator.queue.append(Outgoing(body.decode(), message))
            operator.server.wake("office")
            await there.until(lambda: sum(path == "/incoming" for path, _ in there.calls) == 2)
            await texts.stop()  # Kannel answers a little after it has handed a text on
        async with store.read() as connection:
            listed, _ = await rows.listed(connection)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=30)
    await store.close()
    sent: dict[int, list[Message]] = {}
    for message in operator.messages:
        sent.setdefault(read(message).total, []).append(message)
    assert {join(read(message) for message in messages) for messages in sent.values()} == {"ciao", LONG, OTHER}
    assert [fields["text"] for path, fields in there.calls if path == "/incoming"] == ["siamo in sette", "due anziani"]
    assert {message.state for _, messages in listed for message in messages} == {"delivered"}
