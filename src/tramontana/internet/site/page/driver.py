"""Serves the site's page in its local network: GET alone, nothing secret, to nobody beyond (asyncio, h11)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

import h11

from tramontana.internet.site.page.render import POLICY, Language, language_of

MAX_CONNECTIONS = 32
REQUEST_TIMEOUT_S = 5.0
MAX_REQUEST_BYTES = 8 * 1024
RETRY_S = 10.0

log = logging.getLogger("tramontana.site")
Render = Callable[[Language], str]


async def serve(interfaces: Sequence[str], port: int, render: Render) -> None:
    """Until cancelled, on these interfaces and no others: what comes by a tunnel does not reach the socket.

    An interface that is not there, or a port that is taken, is tried again: the site works without its page.
    """
    while True:
        try:
            async with AsyncExitStack() as stack:
                for interface in interfaces:
                    listener = _listener(interface, port)
                    await stack.enter_async_context(await asyncio.start_server(_Page(render).answer, sock=listener))
                await asyncio.Event().wait()
        except OSError as error:
            log.info("the site's page cannot be served on port %d (%s); it is tried again", port, error.strerror)
        await asyncio.sleep(RETRY_S)


def _listener(interface: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        listener.bind(("::", port))
        listener.setblocking(False)
        listener.listen(16)
    except OSError:
        listener.close()
        raise
    return listener


class _Page:
    def __init__(self, render: Render) -> None:
        self._render = render
        self._connections = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= MAX_CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
                writer.write(await self._respond(reader, connection))
                await writer.drain()
        except (OSError, TimeoutError, h11.RemoteProtocolError):
            pass
        finally:
            self._connections -= 1
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _respond(self, reader: asyncio.StreamReader, connection: h11.Connection) -> bytes:
        """What is to be sent. Raises `h11.RemoteProtocolError`."""
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(MAX_REQUEST_BYTES))
        if not isinstance(event, h11.Request):
            return b""
        status, kind, body = self._content(event)
        headers = [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ]
        sent = connection.send(h11.Response(status_code=status, headers=headers)) or b""
        if event.method != b"HEAD":
            sent += connection.send(h11.Data(data=body)) or b""
        return sent

    def _content(self, request: h11.Request) -> tuple[int, str, bytes]:
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
        try:
            target = urlsplit(request.target.decode("latin-1"))
        except ValueError:
            return 400, "text/plain", b"There is one page here: /\n"
        if not _is_address(headers.get("host", "")):
            return 421, "text/plain", b"Open this page by the site's address.\n"  # RFC 9110 15.5.20; a name may have been rebound
        if request.method not in (b"GET", b"HEAD"):
            return 405, "text/plain", b"This page can only be read.\n"
        if target.path != "/":
            return 404, "text/plain", b"There is one page here: /\n"
        language = language_of(headers.get("accept-language", ""), parse_qs(target.query).get("lang", [""])[0])
        return 200, "text/html; charset=utf-8", self._render(language).encode()


def _is_address(host: str) -> bool:
    """Whether a Host header names the machine by an IP address."""
    try:
        ip_address(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
    return True
