"""What a connection may cost before any request is answered: time, places, and memory for what a peer does not read.

uvicorn waits for ever for a request that was begun, and queues an answer to every WebSocket ping, read or not. A stranger with one
address could so take every connection, or the memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tramontana.internet.addresses import source_of


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Seconds for a request's head and for its body, and HTTP connections of one sender (None: any number, for a proxy's).

    What has come of a body gives it more time, at `slowest_bps`: a chunk of an attachment passes over a link of 6 kbit/s, and who
    lets a drop fall now and then wins nothing. A WebSocket counts no more as an HTTP connection: it has its own limits.
    """

    head_s: float = 10.0
    body_s: float = 120.0
    slowest_bps: float = 4_000.0
    per_address: int | None = 512


def http_protocol(limits: ConnectionLimits) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 protocol within these limits. Every class made here counts its own connections."""
    connected: Counter[str] = Counter()

    class BoundedHttp(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None
        _waits_for = ""
        _body_since = 0.0
        _body_octets = 0
        _key: str | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
            super().connection_made(transport)
            key = source_of(self.client[0]) if self.client else "unknown"
            if limits.per_address is not None and connected[key] >= limits.per_address:
                transport.abort()
                return
            self._key = key
            connected[key] += 1
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._leave()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._waits_for == "body" and self._deadline is not None:
                self._body_octets += len(data)
                self._deadline.cancel()
                self._deadline = self.loop.call_at(self._body_until(), self.transport.abort)

        def _body_until(self) -> float:
            return self._body_since + limits.body_s + 8 * self._body_octets / limits.slowest_bps

        def handle_events(self) -> None:
            super().handle_events()
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def handle_websocket_upgrade(self, event: h11.Request) -> None:
            self._leave()
            super().handle_websocket_upgrade(event)

        def _watch(self) -> None:
            """Set the deadline of what the peer has to send next; a drop now and then does not move it."""
            waits_for = ""
            if self._key is not None and not self.transport.is_closing():
                if self.conn.their_state is h11.SEND_BODY:
                    waits_for = "body"
                elif self.cycle is None or self.cycle.response_complete:
                    waits_for = "head"
            if waits_for == self._waits_for:
                return
            self._waits_for = waits_for
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None
            self._body_since, self._body_octets = self.loop.time(), 0
            if waits_for:
                until = self._body_until() if waits_for == "body" else self.loop.time() + limits.head_s
                self._deadline = self.loop.call_at(until, self.transport.abort)

        def _leave(self) -> None:
            key, self._key = self._key, None
            self._watch()
            if key is None:
                return
            connected[key] -= 1
            if not connected[key]:
                del connected[key]

    return BoundedHttp


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Answers pings only as fast as the peer reads the answers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._last_pongs = b""

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            # RFC 6455 §5.5.3: of several pings, only the most recent need be answered.
            self._last_pongs = b"".join(self.conn.data_to_send()) or self._last_pongs

    def resume_writing(self) -> None:
        super().resume_writing()
        pongs, self._last_pongs = self._last_pongs, b""
        if pongs:
            self.transport.write(pongs)
