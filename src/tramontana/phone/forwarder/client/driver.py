"""The server's connection to one forwarder (asyncio): requests one after the other, and word when the forwarder is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tramontana.errors import LocalError, RemoteError
from tramontana.phone.forwarder.control_protocol import FloorEvent, Request, RequestRefused, Stats, Watch, parse_answer
from tramontana.phone.stun import Address

ANSWER_TIMEOUT_S: Final = 5.0
FIRST_RETRY_S: Final = 0.05
MAX_RETRY_S: Final = 1.0
MAX_ANSWER_BYTES: Final = 4 << 20
"""The counts of as many phones as one forwarder takes."""


class ForwarderUnavailable(LocalError):
    """The forwarder does not answer. Look whether `tramontana forwarder` runs with the same --control socket."""


class ForwarderRefused(RemoteError):
    """The forwarder refused a request; the message is its own, `code` a word of the protocol."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ForwarderClient:
    """One forwarder. `run` must be running (in the caller's task group) for requests to be answered.

    `on_lost` is called when a forwarder that answered is gone: its calls are gone with it.
    """

    def __init__(
        self,
        control_path: Path,
        *,
        on_lost: Callable[[], None] = lambda: None,
        on_floor: Callable[[FloorEvent], None] = lambda _: None,
    ) -> None:
        self.control_path = control_path
        self.on_lost = on_lost
        self.on_floor = on_floor
        self.address: Address | None = None
        """Where it listens for media, as it said when it was last connected."""
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._answered: asyncio.Future[dict[str, Any]] | None = None
        self._turn = asyncio.Lock()

    @property
    def is_connected(self) -> bool:
        return self._connected.is_set()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        retry_s = FIRST_RETRY_S
        while True:
            with suppress(OSError, TimeoutError, RequestRefused, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                reader, self._writer = await asyncio.open_unix_connection(str(self.control_path), limit=MAX_ANSWER_BYTES)
                try:
                    async with asyncio.timeout(ANSWER_TIMEOUT_S):
                        self.address = await self._greet(reader, self._writer)
                    self._connected.set()
                    retry_s = FIRST_RETRY_S
                    while True:
                        answer = parse_answer(await reader.readuntil(b"\n"))
                        if isinstance(answer, FloorEvent):
                            self.on_floor(answer)
                            continue
                        if self._answered is None or self._answered.done():
                            break  # it answers what nobody waits for: do not trust the order any more
                        self._answered.set_result(answer)
                finally:
                    self._disconnect()
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, MAX_RETRY_S)

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Address:
        """Ask for events and for the address."""
        writer.write(Stats().encode() + Watch().encode())
        stats, watching = [parse_answer(await reader.readuntil(b"\n")) for _ in range(2)]
        if isinstance(stats, FloorEvent) or isinstance(watching, FloorEvent) or not watching["ok"]:
            raise RequestRefused("malformed", "not a forwarder's answers")
        return str(stats.get("host")), int(stats.get("port", 0))

    def _disconnect(self) -> None:
        was_connected = self.is_connected
        self._connected.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(ConnectionResetError())
        if was_connected:
            self.on_lost()

    async def request(self, request: Request) -> dict[str, Any]:
        """Ask; gives the answer's fields. Raises `ForwarderUnavailable` or `ForwarderRefused`."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S), self._turn:
                await self._connected.wait()
                assert self._writer is not None  # as long as `_connected` is set
                self._answered = asyncio.get_running_loop().create_future()
                try:
                    self._writer.write(request.encode())
                    answer = await self._answered
                except asyncio.CancelledError:
                    self._writer.close()  # its answer would be taken for that of the next request
                    raise
                finally:
                    self._answered = None
        except (TimeoutError, ConnectionResetError):
            raise ForwarderUnavailable(f"No forwarder answers at {self.control_path}: does one run with that --control?") from None
        if not answer["ok"]:
            raise ForwarderRefused(str(answer.get("code", "")), str(answer.get("error", "no reason given")))
        return answer
