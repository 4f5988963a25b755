"""One document over HTTP on the loopback, made anew for each request: for a monitoring system that runs on the same machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from tramontana.errors import LocalError
from tramontana.internet.metrics import CONTENT_TYPE

REQUEST_TIMEOUT_S: Final = 5.0
LONGEST_REQUEST: Final = 16_384


async def serve_metrics(port: int, document: Callable[[], Awaitable[str]]) -> None:
    """Answer `GET /metrics` at 127.0.0.1 until cancelled. Raises `LocalError` where the port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                request = await reader.readuntil(b"\r\n\r\n")
                if request.startswith((b"GET /metrics ", b"GET /metrics?")):
                    status, body = "200 OK", (await document()).encode()
                else:
                    status, body = "404 Not Found", b"There is /metrics, and nothing else.\n"
                head = f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, "127.0.0.1", port, limit=LONGEST_REQUEST)
    except OSError as error:
        raise LocalError(f"metrics cannot be served at 127.0.0.1 port {port} ({error.strerror}): choose another metrics_port") from error
    async with server:
        await server.serve_forever()
