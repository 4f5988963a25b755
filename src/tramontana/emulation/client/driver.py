"""Keeps a path player in the wanted state over its control socket (asyncio).

The client remembers what was attached. When the player was restarted, `run` attaches every flow again, at its old port, so phones in
a call notice a short loss and no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tramontana.emulation.control_protocol import (
    MAX_LINE_BYTES,
    Attach,
    Detach,
    MalformedRequest,
    Request,
    Stats,
    Wire,
    parse_answer,
)
from tramontana.errors import LocalError, RemoteError
from tramontana.path_profile import PathProfile

ANSWER_TIMEOUT_S: Final = 5.0
FIRST_RETRY_S: Final = 0.05
MAX_RETRY_S: Final = 2.0
MAX_ANSWER_BYTES: Final = 16 << 20
"""Counts of the most flows that a player has."""


class PathPlayerUnavailable(LocalError):
    """The path player does not answer. Look whether `tramontana player` runs with the same --control socket."""


class PathPlayerRefused(RemoteError):
    """The path player refused a request; the message is its own."""


class PathPlayerClient:
    """One player. `run` must be running (in the caller's task group) for requests to be answered.

    `on_port_change(flow, port)` is called when a restarted player could not have an old port again: phones of that flow need the new one.
    """

    def __init__(self, control_path: Path, *, on_port_change: Callable[[str, int], None] | None = None) -> None:
        self._control_path = control_path
        self._on_port_change = on_port_change
        self._attached: dict[str, Attach] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._waiting: deque[asyncio.Future[dict[str, Any]]] = deque()

    @property
    def connected(self) -> bool:
        """Whether the player answers and has every flow."""
        return self._connected.is_set()

    def port(self, flow: str) -> int | None:
        """The UDP port of a flow's front, or None if it is not attached."""
        attached = self._attached.get(flow)
        return attached.port if attached else None

    async def attach(self, flow: str, profile: PathProfile, *, seed: int, upstream: tuple[str, int], port: int | None = None) -> int:
        """Play a profile for a flow; gives the port of its front: `port` if that is free, else another.

        For a known flow the profile and the upstream are replaced and the port stays. Raises `PathPlayerUnavailable`,
        `PathPlayerRefused`, or `LocalError` if the profile is too long to send.
        """
        request = Attach(flow, profile, seed, upstream, port)
        try:
            answer = await self._request(request)
        except PathPlayerRefused:
            if request.port is None:
                raise
            answer = await self._request(replace(request, port=None))
        self._attached[flow] = replace(request, port=int(answer["port"]))
        return int(answer["port"])

    async def wire(self, wanted: Wire) -> None:
        """Play a profile between two interfaces, or replace that of a known wire. Raises what `attach` raises.

        A player that was started again is not told by itself: the interfaces that it would make have no addresses.
        """
        await self._request(wanted)

    async def detach(self, flow: str) -> None:
        """Close a flow's front. Raises `PathPlayerUnavailable` or `PathPlayerRefused`."""
        self._attached.pop(flow, None)
        await self._request(Detach(flow))

    async def stats(self) -> dict[str, dict[str, Any]]:
        """Counts by flow, of every flow that the player has. Raises `PathPlayerUnavailable` or `PathPlayerRefused`."""
        flows: dict[str, dict[str, Any]] = (await self._request(Stats()))["flows"]
        return flows

    async def run(self) -> None:
        """Stay connected until cancelled: connect, attach what was attached, read answers, begin anew when the player goes away."""
        retry_s = FIRST_RETRY_S
        while True:
            with suppress(OSError, MalformedRequest, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                reader, self._writer = await asyncio.open_unix_connection(str(self._control_path), limit=MAX_ANSWER_BYTES)
                try:
                    async with asyncio.timeout(ANSWER_TIMEOUT_S):
                        await self._attach_again(reader, self._writer)
                    retry_s = FIRST_RETRY_S
                    self._connected.set()
                    while True:
                        answer = parse_answer(await reader.readuntil(b"\n"))
                        if not self._waiting:
                            break  # it answers what nobody asked: do not trust the order any more
                        waiting = self._waiting.popleft()
                        if not waiting.done():
                            waiting.set_result(answer)
                finally:
                    self._disconnect()
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, MAX_RETRY_S)

    async def _attach_again(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for flow, wanted in list(self._attached.items()):
            for request in (wanted, replace(wanted, port=None)):
                writer.write(request.encode())
                answer = parse_answer(await reader.readuntil(b"\n"))
                if answer["ok"]:
                    port = int(answer["port"])
                    if flow in self._attached:  # else it was detached meanwhile; that request follows
                        self._attached[flow] = replace(wanted, port=port)
                    if port != wanted.port and self._on_port_change is not None:
                        self._on_port_change(flow, port)
                    break

    def _disconnect(self) -> None:
        self._connected.clear()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(ConnectionResetError())

    async def _request(self, request: Request) -> dict[str, Any]:
        """Ask, and ask again after a lost connection: every request is idempotent."""
        line = request.encode()
        if len(line) > MAX_LINE_BYTES:
            raise LocalError(f"The path profile is too long to send ({len(line)} octets): make it for a shorter span.")
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while True:
                    await self._connected.wait()
                    assert self._writer is not None  # as long as `_connected` is set
                    answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
                    self._waiting.append(answered)
                    self._writer.write(line)
                    with suppress(ConnectionResetError):
                        answer = await answered
                        break
        except TimeoutError:
            raise PathPlayerUnavailable(
                f"The path player does not answer at {self._control_path}: is `tramontana player` running?"
            ) from None
        if not answer["ok"]:
            raise PathPlayerRefused(str(answer.get("error", "no reason given")))
        return answer
