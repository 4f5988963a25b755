"""Does in one transaction what many ask for at the same time.

Under load the price of a request is the way to the database and back, not what it reads or writes. What is asked for while others are at
the database waits for them, and the next way does all of it; alone, a request goes its way at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

from tramontana.control.store.faults import StoreUnavailable

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

MOST = 64
"""Requests that are done at once."""
LANES = 2
"""Transactions of one kind at the same time: one writes while the other commits."""


class Together(Generic[Asked, Answer]):
    """Many askers, one `work`, which answers in the order of what it was asked, and may be asked the same again.

    The work runs in tasks of its own, which live while somebody waits: whoever leaves (his connection ended) takes nothing from the
    others, and what was begun for him is ended. Everybody gets his own answer or his own error.
    """

    def __init__(self, work: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]], *, most: int = MOST, lanes: int = LANES) -> None:
        self._work = work
        self._most = most
        self._lanes = lanes
        self._waiting: deque[tuple[Asked, asyncio.Future[Answer]]] = deque()
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, asked: Asked) -> Answer:
        """Raises what `work` raises."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((asked, answer))
        if len(self._running) < self._lanes:
            lane = asyncio.create_task(self._run())  # no group's: it belongs to all who wait, and gives them whatever goes wrong in it
            self._running.add(lane)
        return await answer

    async def _run(self) -> None:
        lane = asyncio.current_task()
        assert lane is not None
        batch: list[tuple[Asked, asyncio.Future[Answer]]] = []
        try:
            while batch := self._next():
                await self._do(batch)
        except BaseException:
            _fail([*batch, *self._waiting], StoreUnavailable("this server process stopped in the middle of it; ask again"))
            self._waiting.clear()
            raise
        finally:
            self._running.discard(lane)  # in the same turn in which nothing waited: who asks from now on begins another

    def _next(self) -> list[tuple[Asked, asyncio.Future[Answer]]]:
        batch: list[tuple[Asked, asyncio.Future[Answer]]] = []
        while self._waiting and len(batch) < self._most:
            asked, answer = self._waiting.popleft()
            if not answer.done():  # else whoever asked has left
                batch.append((asked, answer))
        return batch

    async def _do(self, batch: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._work([asked for asked, _ in batch])
        except StoreUnavailable as error:
            _fail(batch, error)
        except Exception as error:
            if len(batch) == 1:
                if not batch[0][1].done():
                    batch[0][1].set_exception(error)
                return
            for each in batch:  # what fails for one must not fail for others
                await self._do([each])
        else:
            for (_, answer), given in zip(batch, answers, strict=True):
                if not answer.done():
                    answer.set_result(given)


def _fail(batch: Iterable[tuple[object, asyncio.Future[Answer]]], error: StoreUnavailable) -> None:
    for _, answer in batch:
        if not answer.done():
            # To each his own: an exception that is raised in several tasks at once gets the traceback and the context of all of them.
            own = StoreUnavailable(str(error))
            own.__cause__ = error
            answer.set_exception(own)
