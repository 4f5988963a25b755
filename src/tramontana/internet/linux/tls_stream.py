"""TLS over TCP/443 between site and gateway: opening it, and a relay of a tunnel's datagrams at either end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tramontana.errors import TramontanaError
from tramontana.internet.door import Door, Places
from tramontana.internet.linux.listening import listener
from tramontana.internet.linux.namespace import Namespace
from tramontana.internet.overlay import HTTPS_PORT, WIREGUARD_PORT
from tramontana.internet.stream import (
    CONTROL,
    LONGEST_CERTIFICATE,
    MOST_WAITING,
    OPENING_OCTETS,
    RANDOM_OCTETS,
    SIGNATURE_OCTETS,
    DatagramReader,
    Opening,
    StreamRefused,
    answer,
    check_answer,
    frame,
    make_tls_certificate,
    parse_opening,
)
from tramontana.internet.tunnel_keys import Identity, Trust
from tramontana.private_file import replace_private

PIECE_OCTETS: Final = 1 << 16
OPENING_TIMEOUT_S: Final = 5.0
STREAM_SILENT_S: Final = 30.0
"""A stream whose site says nothing for so long is closed: one in use asks every 2 s whether the gateway is there."""
MOST_STREAMS: Final = 4096
"""Each needs two files and the memory of a TLS connection."""
MOST_STREAMS_OF_ONE: Final = 256
"""Of one source address: 16 sites with all uplinks behind one translated address."""
ACCEPT_AGAIN_S: Final = 1.0
LONGEST_DATAGRAM: Final = 65_535
DATAGRAMS_A_TURN: Final = 64
UNSENT_OCTETS: Final = 32_768
"""That the kernel takes ahead of what it has sent (TCP_NOTSENT_LOWAT): the rest of a queue would only be delay."""
_TCP_NOTSENT_LOWAT: Final = 25  # tcp(7), linux/tcp.h
USER_TIMEOUT_MS: Final = 8_000
SEGMENT_OCTETS: Final = 1220
"""1280 without the headers of IPv6 and TCP (RFC 8200 §5): a path that silently drops what is longer stops no control channel."""

log = logging.getLogger("tramontana.gateway")


def _hasten(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_OCTETS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    with suppress(OSError):  # where the kernel has it: random loss stops cubic
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"bbr")


async def connect(underlay: Namespace, uplink: int, gateway: str, port: int) -> socket.socket:
    """A TCP connection through one uplink. Raises `OSError`, `TimeoutError`, `HostRefused`."""
    with underlay.entered():
        connection = socket.socket(socket.AF_INET6 if ":" in gateway else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, uplink)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_OCTETS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            await asyncio.get_running_loop().sock_connect(connection, (gateway, port))
    except BaseException:
        connection.close()
        raise
    return connection


async def open_stream(
    connection: socket.socket, purpose: int, gateway_id: str, trust: Trust
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """TLS on a TCP connection that is up, its other end proven to be the gateway. Raises `OSError`, `TramontanaError`, `TimeoutError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # what counts is checked below: the gateway's own signature
    _hasten(connection)
    async with asyncio.timeout(OPENING_TIMEOUT_S):
        reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname="")
        try:
            opening = Opening(purpose, os.urandom(RANDOM_OCTETS))
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.write(opening.encode(trust.root.fingerprint, gateway_id, shown))
            length = int.from_bytes(await reader.readexactly(2), "big")
            if length > LONGEST_CERTIFICATE:
                raise StreamRefused("no certificate is so long")
            certificate, signature = await reader.readexactly(length), await reader.readexactly(SIGNATURE_OCTETS)
            check_answer(certificate, signature, opening, shown, gateway_id, trust, time.time())
        except asyncio.IncompleteReadError as error:
            writer.close()
            raise StreamRefused("the gateway closed the TLS connection") from error
        except BaseException:
            writer.close()
            raise
    return reader, writer


class Relay:
    """Between a stream and a UDP socket. Whatever the stream is too slow for is dropped.

    datagrams: not blocking. partner: where datagrams of the stream go; None at a site's end, which learns it from what WireGuard sends, and
    whose empty datagrams the gateway's end answers.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        datagrams: socket.socket,
        partner: tuple[str, int] | None,
        heard: Callable[[], object] = lambda: None,
        silent_s: float = STREAM_SILENT_S,
    ) -> None:
        self._reader, self._writer, self._datagrams = reader, writer, datagrams
        self._partner, self._answers, self._heard = partner, partner is not None, heard
        self._silent_s = silent_s if self._answers else None
        """At a site's end the ladder looks after silence."""
        self.dropped = 0
        """Datagrams for which the stream was too slow."""

    async def run(self) -> None:
        """Until the stream ends. Raises `OSError`, at a gateway's end `TimeoutError` if nothing comes."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._datagrams, self._take)
        try:
            found = DatagramReader()
            while data := await self._read():
                self._heard()
                for datagram in found.feed(data):
                    self._deliver(datagram)
        finally:
            loop.remove_reader(self._datagrams)

    async def _read(self) -> bytes:
        async with asyncio.timeout(self._silent_s):
            return await self._reader.read(PIECE_OCTETS)

    def ask(self) -> None:
        """Whether the other end is there; `heard` is called when it answers."""
        self._write(frame(b""), 1)

    def _deliver(self, datagram: bytes) -> None:
        if not datagram:
            if self._answers:
                self.ask()
        elif self._partner is not None:
            with suppress(OSError):
                self._datagrams.sendto(datagram, self._partner)

    def _take(self) -> None:
        taken, count = bytearray(), 0
        for _ in range(DATAGRAMS_A_TURN):
            try:
                datagram, sender = self._datagrams.recvfrom(LONGEST_DATAGRAM)
            except OSError:  # nothing waits, or an ICMP error of an earlier one
                break
            if not self._answers:
                self._partner = sender
            elif sender != self._partner:
                continue
            taken += frame(datagram) if datagram else b""
            count += 1
        if taken:
            self._write(bytes(taken), count)

    def _write(self, data: bytes, count: int) -> None:
        if self._writer.is_closing() or self._writer.transport.get_write_buffer_size() > MOST_WAITING:
            self.dropped += count
        else:
            self._writer.write(data)


class TlsFront:
    """The gateway's end: TCP/443 for sites whose network lets nothing else through."""

    def __init__(
        self, own: Identity, trust: Trust, directory: Path, control: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    ) -> None:
        """directory: for the file that OpenSSL reads the key from. control: serves a control channel."""
        self._own, self._trust, self._control = own, trust, control
        pem, self._certificate = make_tls_certificate(time.time())
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        file = directory / "tls.pem"
        replace_private(file, pem)
        self._context.load_cert_chain(file)
        file.unlink()
        self.door = Door()
        """Connections that have not said their first words, those without TLS as yet among them."""
        self._places = Places(MOST_STREAMS, MOST_STREAMS_OF_ONE)
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, address: str, outside: str, port: int = HTTPS_PORT) -> tuple[str, int]:
        """Until `close`; gives address and port. outside: see `listener`. Raises `OSError`."""
        made = listener(address, port, outside)
        bound: tuple[str, int] = made.getsockname()[:2]
        self._start(self._accept(made))
        return bound

    async def close(self) -> None:
        """No new ones, and an end to those that there are."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listener: socket.socket) -> None:
        """They are counted before TLS begins: a handshake costs files and memory too."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connection, sender = await loop.sock_accept(listener)
                except OSError as error:  # it is gone already, or there are no more files to be had
                    log.warning("port %d: %s", HTTPS_PORT, error.strerror)
                    await asyncio.sleep(ACCEPT_AGAIN_S)
                    continue
                self._start(self._serve(connection, sender[0]))
                await asyncio.sleep(0)  # it has begun then, so that it closes the connection if it is the next that has to go

    async def _serve(self, connection: socket.socket, sender: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        stranger = self.door.enter(sender, task.cancel)
        try:
            reader, writer = await self._secured(connection)
            try:
                opening = await self._open(reader, writer)
                self.door.leave(stranger)
                await self._carry(reader, writer, opening, sender)
            finally:
                writer.transport.abort()
        except (OSError, EOFError, TimeoutError, TramontanaError) as error:  # strangers, and lines that break: the site comes again
            log.debug("a stream of %s ended: %s", sender, error)
        finally:
            self.door.leave(stranger)

    async def _secured(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The TLS handshake. Raises `OSError`, and the connection is closed then."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connection, ssl=self._context, ssl_handshake_timeout=OPENING_TIMEOUT_S
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Opening:
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            said = await reader.readexactly(OPENING_OCTETS)
        opening = parse_opening(said, self._trust.root.fingerprint, self._own.device_id, self._certificate)
        writer.write(answer(self._own, opening, self._certificate))
        _hasten(writer.get_extra_info("socket"))
        return opening

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, opening: Opening, sender: str) -> None:
        if not self._places.take(sender):
            raise StreamRefused("too many streams at once")
        try:
            if opening.purpose == CONTROL:
                await self._control(reader, writer)
            else:
                await self._lead(reader, writer, opening.purpose)
        finally:
            self._places.give_back(sender)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uplink: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.setblocking(False)
            datagrams.bind(("127.0.0.1", 0))
            await Relay(reader, writer, datagrams, ("127.0.0.1", WIREGUARD_PORT + uplink)).run()
