"""What a stranger's connection may cost: time, places, memory."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest
from websockets.frames import Frame, Opcode

from tests.control.house import House, Houses
from tramontana.control.connections import ConnectionLimits

pytestmark = pytest.mark.anyio


async def connect(house: House) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(house.url)
    return await asyncio.open_connection(address.hostname, address.port)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came until the server ended the connection."""
    received = b""
    async with asyncio.timeout(10):
        try:
            while chunk := await reader.read(65536):
                received += chunk
        except ConnectionResetError:
            pass
    return received


@pytest.mark.parametrize("begun", [b"", b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
async def test_a_request_that_never_comes_ends_the_connection(houses: Houses, begun: bytes) -> None:
    async with houses(connections=ConnectionLimits(head_s=0.05)) as house:
        reader, writer = await connect(house)
        writer.write(begun)
        assert await ended(reader) == b""
        writer.close()


async def test_drops_now_and_then_do_not_move_the_deadline(houses: Houses) -> None:
    async with houses(connections=ConnectionLimits(head_s=0.2)) as house:
        reader, writer = await connect(house)
        writer.write(b"GET / HTTP/1.1\r\n")

        async def drip() -> None:
            while True:
                writer.write(b"X: y\r\n")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        assert await ended(reader) == b""
        dripping.cancel()
        writer.close()


async def test_a_body_that_never_comes_ends_the_connection(houses: Houses) -> None:
    async with houses(connections=ConnectionLimits(body_s=0.05)) as house:
        reader, writer = await connect(house)
        writer.write(b"POST /api/v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        assert await ended(reader) == b""
        writer.close()


async def test_what_has_come_of_a_body_gives_it_time(houses: Houses) -> None:
    async with houses(connections=ConnectionLimits(body_s=0.05, slowest_bps=8)) as house:
        reader, writer = await connect(house)
        head = b"POST /api/v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        writer.write(head + b" " * 40)
        await asyncio.sleep(0.3)  # longer than a body may take of which nothing comes
        writer.write(b" " * 60)
        async with asyncio.timeout(10):
            assert b"422" in await reader.readline()
        writer.close()


async def test_the_deadline_starts_again_with_every_request_and_answers_take_their_time(houses: Houses) -> None:
    async with houses(connections=ConnectionLimits(head_s=0.3)) as house:
        reader, writer = await connect(house)
        request = b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        for _ in range(4):
            writer.write(request)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            head = {}
            while (line := await reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                head[name.lower()] = value
            await reader.readexactly(int(head[b"content-length"]))
            await asyncio.sleep(0.1)
        assert await ended(reader) == b""
        writer.close()


async def test_a_socket_outlives_the_deadline(houses: Houses) -> None:
    async with houses(connections=ConnectionLimits(head_s=0.5, per_address=4)) as house:
        phones = [await house.phone(name) for name in ("Ada", "Bea")]
        for phone in phones:
            async with phone.socket() as socket:
                await asyncio.sleep(0.8)
                await socket.send({"type": "ping"})
                await socket.next("pong")


async def test_one_address_has_so_many_connections(houses: Houses) -> None:
    async with houses(connections=ConnectionLimits(per_address=3)) as house:
        held = [await connect(house) for _ in range(3)]
        refused, refused_writer = await connect(house)
        assert await ended(refused) == b""
        refused_writer.close()
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        while (await attempt(house)) == b"":  # noqa: ASYNC110 - the server notices the ends in its own time
            await asyncio.sleep(0.01)


async def attempt(house: House) -> bytes:
    reader, writer = await connect(house)
    writer.write(b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = await ended(reader)
    writer.close()
    return answer


async def test_pings_whose_answers_nobody_reads_take_no_memory(houses: Houses) -> None:
    async with houses() as house:
        phone = await house.phone()
        async with phone.socket() as socket:
            [served] = [c for c in house.server.server_state.connections if hasattr(c, "handshake_complete")]
            transport = socket.connection.transport
            transport.pause_reading()
            ping = Frame(Opcode.PING, b"p" * 125).serialize(mask=True) * 500
            for _ in range(400):
                transport.write(ping)
                await asyncio.sleep(0)
                while transport.get_write_buffer_size() > 0:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.001)
                assert served.transport.get_write_buffer_size() < 1 << 20
            assert not served.writable.is_set()  # type: ignore[union-attr]
            transport.resume_reading()
            await socket.send({"type": "ping"})
            await socket.next("pong")
