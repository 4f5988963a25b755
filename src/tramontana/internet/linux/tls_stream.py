"""TLS over TCP/443 between site and gateway: opening it, and a relay of a tunnel's datagrams at either end."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tramontana.errors import TramontanaError
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
MOST_OPENING: Final = 64
"""Connections that have not said their first words."""
LONGEST_DATAGRAM: Final = 65_535
DATAGRAMS_A_TURN: Final = 64
UNSENT_OCTETS: Final = 32_768
"""That the kernel takes ahead of what it has sent (TCP_NOTSENT_LOWAT): the rest of a queue would only be delay."""
_TCP_NOTSENT_LOWAT: Final = 25  # tcp(7), linux/tcp.h
USER_TIMEOUT_MS: Final = 8_000
SEGMENT_OCTETS: Final = 1220
"""1280 without the headers of IPv6 and TCP (RFC 8200 §5): a path that silently drops what is longer stops no control channel."""


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
    ) -> None:
        self._reader, self._writer, self._datagrams = reader, writer, datagrams
        self._partner, self._answers, self._heard = partner, partner is not None, heard
        self.dropped = 0
        """Datagrams for which the stream was too slow."""

    async def run(self) -> None:
        """Until the stream ends. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._datagrams, self._take)
        try:
            found = DatagramReader()
            while data := await self._reader.read(PIECE_OCTETS):
                self._heard()
                for datagram in found.feed(data):
                    self._deliver(datagram)
        finally:
            loop.remove_reader(self._datagrams)

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
        self._opening = 0

    async def listen(self, address: str) -> asyncio.Server:
        """Raises `OSError`."""
        listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, HTTPS_PORT))
            return await asyncio.start_server(self._serve, sock=listener, ssl=self._context, ssl_handshake_timeout=OPENING_TIMEOUT_S)
        except OSError:
            listener.close()
            raise

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            opening = await self._open(reader, writer)
            if opening.purpose == CONTROL:
                await self._control(reader, writer)
            else:
                await self._lead(reader, writer, opening.purpose)
        except (OSError, EOFError, TimeoutError, TramontanaError):
            pass  # strangers, and lines that break: the site comes again
        finally:
            writer.close()

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Opening:
        if self._opening >= MOST_OPENING:
            raise StreamRefused("too many strangers at once")
        self._opening += 1
        try:
            async with asyncio.timeout(OPENING_TIMEOUT_S):
                said = await reader.readexactly(OPENING_OCTETS)
        finally:
            self._opening -= 1
        opening = parse_opening(said, self._trust.root.fingerprint, self._own.device_id, self._certificate)
        writer.write(answer(self._own, opening, self._certificate))
        connection = writer.get_extra_info("socket")
        _hasten(connection)
        return opening

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, uplink: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.setblocking(False)
            datagrams.bind(("127.0.0.1", 0))
            await Relay(reader, writer, datagrams, ("127.0.0.1", WIREGUARD_PORT + uplink)).run()
