"""Keeps a TCP connection to each base-station controller and moves octets between it and `controller.Controller` (TS 48.049 §5.2)."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tramontana.cell.cbsp import PORT, BadCbsp, Cell
from tramontana.cell.cell_broadcast import SerialNumber
from tramontana.cell.controller import Broadcast, Controller, Key, Report

CONNECT_TIMEOUT_S = 5.0
RECONNECT_FIRST_S = 0.5
RECONNECT_MOST_S = 15.0
_READ_OCTETS = 1 << 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a controller listens."""

    host: str
    port: int = PORT


class ControllerLink:
    """One controller: connects, and connects again, until `run` is cancelled.

    `on_reports` is told of every change in a cell, with its instant in POSIX seconds.
    """

    def __init__(self, name: str, address: Address, on_reports: Callable[[str, Sequence[Report]], None]) -> None:
        self.name = name
        self.address = address
        self.fault = "not connected yet"
        """Why there is no connection, for the operator; empty while there is one."""
        self._core = Controller()
        self._on_reports = on_reports
        self._writer: asyncio.StreamWriter | None = None
        self._woken = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        return self._core.is_connected

    def desire(
        self, broadcasts: Iterable[Broadcast], *, still_there: Mapping[Key, Mapping[Cell, Sequence[SerialNumber]]] | None = None
    ) -> None:
        """What shall be on the air; what is new goes out before this returns."""
        self._core.desire(broadcasts, time.monotonic(), still_there=still_there)
        self._flush()
        self._woken.set()

    async def run(self) -> None:
        """Never returns but by being cancelled."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    reader, self._writer = await asyncio.open_connection(self.address.host, self.address.port)
                failures, self.fault = 0, ""
                await self._talk(reader)
                self.fault = "the controller closed the connection"
            except (OSError, TimeoutError) as error:
                self.fault = f"no connection to {self.address.host} port {self.address.port} ({error or 'no answer'})"
            except BadCbsp as error:
                self.fault = str(error)
            finally:
                self._hang_up()
            logger.warning("controller %s: %s", self.name, self.fault)
            pause_s = min(RECONNECT_MOST_S, RECONNECT_FIRST_S * 2.0 ** min(failures, 10))
            await asyncio.sleep(pause_s * (0.5 + secrets.randbelow(1000) / 2000))
            failures += 1

    async def _talk(self, reader: asyncio.StreamReader) -> None:
        """Until the other side closes or falls silent. Raises `BadCbsp`, `OSError`."""
        self._core.connected(time.monotonic())
        self._flush()
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(self._keep_time())
            try:
                while octets := await reader.read(_READ_OCTETS):
                    self._core.receive(octets, time.monotonic())
                    self._flush()
                    self._woken.set()
            except (BadCbsp, OSError) as error:
                caught: Exception | None = error
            else:
                caught = None
            timer.cancel()
        if caught is not None:
            raise caught

    async def _keep_time(self) -> None:
        while True:
            due = self._core.next_timer()
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                    await self._woken.wait()
            now = time.monotonic()
            if self._core.is_silent(now):
                assert self._writer is not None
                self._writer.transport.abort()  # the reader ends, and a new connection is tried
                return
            self._core.handle_timer(now)
            self._flush()

    def _flush(self) -> None:
        octets = self._core.octets_to_send()
        if octets and self._writer is not None:
            self._writer.write(octets)
        if reports := self._core.reports():
            at = time.time()  # the core counts on a clock that nobody sets; what is kept says when it was
            self._on_reports(self.name, [dataclasses.replace(report, at=at) for report in reports])

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._core.is_connected:
            self._core.disconnected()
