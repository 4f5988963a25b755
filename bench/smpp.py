"""Short messages a second through SMPP, beside another library's server and beside the books that make ours safe, in one run.

- *smpp34*: its own server (Rust), which answers and keeps nothing: the peer.
- *ours, in memory*: our server with a courier that keeps nothing: the protocol's cost alone.
- *ours, stored*: our server with the books; each message is on disk (SQLite, synchronous) before it is answered.

The sender is the same each time: our client with a window of 200. Ratios are to smpp34.

Run: python bench/smpp.py [MESSAGES]
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.cell.couriers import MemoryCourier
from tramontana.cell.smpp.driver import Centre, EsmeLink, Outgoing, Peer, SmscServer
from tramontana.cell.smpp.pdu import Address, CommandId, Message, Password
from tramontana.cell.smpp.session import Answered, Settings
from tramontana.control.operators import Operators
from tramontana.control.store.database import Store
from tramontana.control.texts import Texts

MESSAGES = 5_000
SETTINGS = Settings(window=200)
SECRET = Password("secret")
PEERS = (Peer("office", SECRET, messages_per_s=100_000),)


class Sender(MemoryCourier):
    """Has so many messages, and waits until each is answered."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left, self.count = count, count
        self.taken = 0
        self.done = asyncio.Event()

    async def take(self, link: str, room: int) -> Sequence[Outgoing]:
        first, self.left = self.count - self.left, max(0, self.left - room)
        return [Outgoing(str(number), self.message(number)) for number in range(first, self.count - self.left)]

    def message(self, number: int) -> Message:
        return Message(CommandId.SUBMIT_SM, Address("43112"), Address("112", 0, 1), f"siamo in sette {number}".encode())

    async def answered(self, link: str, answers: Sequence[Answered]) -> None:
        self.taken += sum(answer.status == 0 for answer in answers)
        if self.taken >= self.count:
            self.done.set()


class Forgetful(MemoryCourier):
    async def received(self, link: str, session: str, messages: Sequence[Message]) -> Sequence[tuple[int, str]]:
        return [(0, "1")] * len(messages)


async def rate(port: int, count: int) -> float:
    sender = Sender(count)
    link = EsmeLink(Centre("bench", "127.0.0.1", port, "office", SECRET, messages_per_s=100_000, settings=SETTINGS), sender)
    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(link.run())
        await sender.done.wait()
        took = time.perf_counter() - began
        running.cancel()
    return count / took


@asynccontextmanager
async def theirs() -> AsyncIterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    script = Path(__file__).parents[1] / "tests" / "cell" / "smpp34_server.py"
    process = await asyncio.create_subprocess_exec(sys.executable, script, str(port), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    json.loads(await process.stdout.readline())
    drain = asyncio.ensure_future(process.stdout.read())
    try:
        yield port
    finally:
        process.kill()
        await process.wait()
        await drain


@asynccontextmanager
async def ours(courier: MemoryCourier) -> AsyncIterator[int]:
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(SmscServer("BENCH", PEERS, courier).run("127.0.0.1", 0, ready.set_result))
        yield await ready
        serving.cancel()


@asynccontextmanager
async def stored(folder: Path) -> AsyncIterator[int]:
    store = await Store.open(folder)
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    operators = Operators(listen=("127.0.0.1", 0), peers=PEERS, emergency_numbers=("112",))
    texts = Texts(store, operators, time.time, on_listening=listening.set_result)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(texts.run())
        yield await listening
        running.cancel()
    await store.close()


async def main(count: int) -> None:
    async with theirs() as port:
        peer = await rate(port, count)
    async with ours(Forgetful()) as port:
        memory = await rate(port, count)
    with tempfile.TemporaryDirectory() as folder:
        async with stored(Path(folder)) as port:
            disk = await rate(port, count)
    print(f"{'smpp34, keeps nothing':28} {peer:8.0f} messages/s   1.00")
    print(f"{'ours, keeps nothing':28} {memory:8.0f} messages/s   {memory / peer:.2f}   (sender and server in one process)")
    print(f"{'ours, on disk before answer':28} {disk:8.0f} messages/s   {disk / peer:.2f}   (sender, server and books in one process)")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES))
