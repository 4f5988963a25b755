"""Port 443 of a gateway over real sockets on loopback: strangers cost little and lock nobody out."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from tests.internet.routers import Ministry
from tramontana.internet.door import MOST_OF_ONE
from tramontana.internet.linux.tls_stream import Relay, TlsFront, open_stream
from tramontana.internet.stream import CONTROL

STRANGERS = MOST_OF_ONE + 10


async def connected(port: int, source: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    made.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    return made


def test_strangers_who_say_nothing_make_room_for_each_other_and_for_a_site(tmp_path: Path) -> None:
    ministry = Ministry(int(time.time()) - 60)
    rome = ministry.certify("Rome", "gateway")

    async def control(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"control")
        await writer.drain()

    async def run() -> None:
        front = TlsFront(rome, ministry.register, tmp_path, control)
        _, port = front.listen("127.0.0.1", "lo", 0)
        loop = asyncio.get_running_loop()
        strangers = [await connected(port, "127.0.0.1") for _ in range(STRANGERS)]
        for each in strangers[: STRANGERS - MOST_OF_ONE]:  # before TLS begins, the oldest are sent away
            assert await loop.sock_recv(each, 1) == b""
        assert len(front.door) == MOST_OF_ONE
        reader, writer = await open_stream(await connected(port, "127.0.0.2"), CONTROL, rome.device_id, ministry.register)
        assert await reader.readexactly(7) == b"control"
        writer.transport.abort()
        await front.close()
        assert len(front.door) == 0
        for each in strangers:
            each.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_stream_that_says_nothing_ends_at_the_gateway() -> None:
    async def run() -> None:
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", 0))
            datagrams.setblocking(False)
            with pytest.raises(TimeoutError):
                await Relay(reader, writer, datagrams, ("127.0.0.1", 9), silent_s=0.01).run()
        writer.close()
        far.close()

    asyncio.run(asyncio.wait_for(run(), 60))
