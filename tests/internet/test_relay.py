"""The relay of a tunnel's datagrams over real sockets: whole datagrams both ways, and no queue without an end."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

from tramontana.internet.linux.tls_stream import DATAGRAMS_A_TURN, Relay
from tramontana.internet.stream import MOST_WAITING, DatagramReader, frame

DATAGRAM = bytes(range(200)) * 7
FLOOD = 4_000


def udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    return made


async def started(partner: tuple[str, int] | None) -> tuple[Relay, asyncio.StreamWriter, socket.socket, socket.socket]:
    """(relay, its writer, its UDP socket, the far end of the stream)."""
    near, far = socket.socketpair()
    far.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    reader, writer = await asyncio.open_connection(sock=near)
    datagrams = udp()
    return Relay(reader, writer, datagrams, partner), writer, datagrams, far


def test_datagrams_go_both_ways_and_a_question_is_answered_at_the_gateway() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        wireguard = udp()
        relay, writer, datagrams, far = await started(wireguard.getsockname())
        running = asyncio.ensure_future(relay.run())
        await loop.sock_sendall(far, frame(b"inward") + frame(b""))
        assert await loop.sock_recv(wireguard, 100) == b"inward"
        answer = await loop.sock_recv(far, 100)
        assert answer == frame(b"")
        await loop.sock_sendto(wireguard, b"outward", datagrams.getsockname())
        assert await loop.sock_recv(far, 100) == frame(b"outward")
        stranger = udp()
        await loop.sock_sendto(stranger, b"forged", datagrams.getsockname())
        await loop.sock_sendto(wireguard, b"again", datagrams.getsockname())
        assert await loop.sock_recv(far, 100) == frame(b"again")
        far.close()
        await running
        for each in (wireguard, datagrams, stranger):
            each.close()
        writer.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_what_a_stream_is_too_slow_for_is_dropped_whole() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        relay, writer, datagrams, far = await started(None)
        running = asyncio.ensure_future(relay.run())
        sender = udp()
        for number in range(FLOOD):
            await loop.sock_sendto(sender, number.to_bytes(2, "big") + DATAGRAM, datagrams.getsockname())
            if number % 16 == 0:
                await asyncio.sleep(0)
            waiting = writer.transport.get_write_buffer_size()
            assert waiting <= MOST_WAITING + DATAGRAMS_A_TURN * (len(DATAGRAM) + 4)
        assert relay.dropped > FLOOD / 2
        came: list[bytes] = []
        reader = DatagramReader()
        while writer.transport.get_write_buffer_size() or not came:
            came += reader.feed(await loop.sock_recv(far, 1 << 20))
        with suppress(BlockingIOError):
            while data := far.recv(1 << 20):
                came += reader.feed(data)
        assert all(each[2:] == DATAGRAM for each in came)
        numbers = [int.from_bytes(each[:2], "big") for each in came]
        assert numbers == sorted(numbers)
        running.cancel()
        for each in (datagrams, sender, far):
            each.close()
        writer.close()

    asyncio.run(asyncio.wait_for(run(), 60))
