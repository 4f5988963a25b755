"""Debian's Kannel as the gateway of operators' networks, beside a test that drives browsers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.cell.kannel import Kannel, kannel

T = TypeVar("T")
S = TypeVar("S")
STARTS_S = 120.0


class Beside(Generic[T]):
    """Something of asyncio in a thread of its own: the browser's driver has the test's."""

    def __init__(self, there: T, loop: asyncio.AbstractEventLoop) -> None:
        self.there, self._loop = there, loop

    def wait(self, work: Coroutine[Any, Any, S]) -> S:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextmanager
def beside(manager: AbstractAsyncContextManager[T]) -> Iterator[Beside[T]]:
    """Enter it in a thread; it is left at the end. Raises what entering it raises."""
    ready: list[Beside[T]] = []
    failed: list[BaseException] = []
    known, ends = threading.Event(), asyncio.Event()

    async def stay() -> None:
        try:
            async with manager as there:
                ready.append(Beside(there, asyncio.get_running_loop()))
                known.set()
                await ends.wait()
        except BaseException as error:
            failed.append(error)
            known.set()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(stay(),), daemon=True)
    thread.start()
    assert known.wait(STARTS_S)
    try:
        if not ready:
            raise failed[0]
        yield ready[0]
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join(STARTS_S)
        loop.close()


class Gateway:
    """What subscribers send and get through Kannel."""

    def __init__(self, inner: Beside[Kannel]) -> None:
        self._inner = inner

    @property
    def octets(self) -> list[bytes]:
        """Of all messages that came to subscribers, in their order."""
        return self._inner.there.octets

    @property
    def texts(self) -> list[tuple[str, str]]:
        """Who got which text."""
        return [(fields["to"], fields["text"]) for path, fields in self._inner.there.calls if path == "/incoming"]

    def until(self, is_so: Callable[[Gateway], bool]) -> None:
        self._inner.wait(self._inner.there.until(lambda: is_so(self)))

    def send(self, sender: str, to: str, text: str) -> None:
        self._inner.wait(self._inner.there.send(sender, to, text))

    def send_octets(self, sender: str, to: str, octets: bytes) -> None:
        self._inner.wait(self._inner.there.send_octets(sender, to, octets))


@contextmanager
def gateway(directory: Path, port: int) -> Iterator[Gateway]:
    """Kannel, bound or binding to the message centre on `port`."""
    with beside(kannel(directory, port)) as inner:
        yield Gateway(inner)
