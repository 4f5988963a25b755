"""Keeps a TCP or TLS connection to a TAK server and moves octets between it and `tak_session.TakSession`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tramontana.cell.cot import BadStream, Event
from tramontana.cell.tak_session import TakSession

CONNECT_TIMEOUT_S = 10.0
RECONNECT_FIRST_S = 0.5
RECONNECT_MOST_S = 30.0
UNSENT_MOST = 4 << 20
"""More is not put behind what a server has not taken yet: the connection is closed. What is told at once may be larger."""
_READ_OCTETS = 1 << 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where a TAK server listens. `tls` None: in the clear."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    """The name in its certificate, where that is not `host`."""


class TakLink:
    """One TAK server: connects, and connects again, until `run` is cancelled. `on_events` gets what others told."""

    def __init__(self, name: str, address: Address, session: TakSession, on_events: Callable[[str, Sequence[Event]], None]) -> None:
        self.name = name
        self.address = address
        self.fault = "not connected yet"
        """Why there is no connection, for the operator; empty while there is one."""
        self.session = session
        self._on_events = on_events
        self._writer: asyncio.StreamWriter | None = None
        self._woken = asyncio.Event()

    def desire(self, events: Mapping[str, Event]) -> None:
        """What others shall see; what is new goes out before this returns."""
        self.session.desire(events, time.time())
        self._flush()
        self._woken.set()

    async def run(self) -> None:
        """Never returns but by being cancelled."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._connect_and_talk()
                self.fault = "the server closed the connection"
            except ssl.SSLCertVerificationError as error:
                self.fault = f"the certificate of {self.address.host} is not to be trusted ({error.verify_message})"
            except (OSError, TimeoutError) as error:
                self.fault = f"no connection to {self.address.host} port {self.address.port} ({error or 'no answer'})"
            except BadStream as error:
                self.fault = str(error)
            finally:
                self._hang_up()
            logger.warning("TAK server %s: %s", self.name, self.fault)
            # One that takes us and throws us out at once is as much a failure as one that is not there.
            failures = 0 if time.monotonic() - began > RECONNECT_MOST_S else failures + 1
            pause_s = min(RECONNECT_MOST_S, RECONNECT_FIRST_S * 2.0 ** min(max(failures - 1, 0), 10))
            await asyncio.sleep(pause_s * (0.5 + secrets.randbelow(1000) / 2000))

    async def _connect_and_talk(self) -> None:
        where = self.address
        name = (where.server_name or where.host) if where.tls else None
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, self._writer = await asyncio.open_connection(where.host, where.port, ssl=where.tls, server_hostname=name)
        # The only way to miss one that we never ask.
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.fault = ""
        self.session.connected(time.time())
        self._flush()
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(self._keep_time())
            caught: Exception | None = None
            try:
                while octets := await reader.read(_READ_OCTETS):
                    if events := self.session.receive(octets, time.time()):
                        self._on_events(self.name, events)
                    self._woken.set()
            except (BadStream, OSError) as error:
                caught = error
            timer.cancel()
        if caught is not None:
            raise caught

    async def _keep_time(self) -> None:
        while True:
            due = self.session.next_timer()
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - time.time())):
                    await self._woken.wait()
            now = time.time()
            if self.session.is_silent(now):
                assert self._writer is not None
                self._writer.transport.abort()  # the reader ends, and a new connection is tried
                return
            self.session.handle_timer(now)
            self._flush()

    def _flush(self) -> None:
        octets = self.session.octets_to_send()
        if not octets or self._writer is None:
            return
        if self._writer.transport.get_write_buffer_size() > UNSENT_MOST:
            self._writer.transport.abort()
            return
        self._writer.write(octets)

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()  # a TLS farewell would wait for a server that may be gone
            self._writer = None
        if self.session.is_connected:
            self.session.disconnected()
