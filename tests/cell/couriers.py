"""An operator's centre for tests: a courier whose books are in memory, and the operators' file that names its centre."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tramontana.cell.smpp.driver import Outgoing, Peer
from tramontana.cell.smpp.pdu import Message, Password
from tramontana.cell.smpp.session import Answered

CENTRE = """
[[centre]]
name = "operator"
host = "127.0.0.1"
port = {port}
system_id = "office"
password_file = "password"
"""
OFFICE = Peer("office", Password("secret"))
"""Who binds to the operator's centre when `CENTRE` and `keep_password` made the file."""


def keep_password(folder: Path) -> None:
    (folder / "password").write_text("secret")
    (folder / "password").chmod(0o600)


@dataclass
class MemoryCourier:
    """`verdict` says what is answered to a message that comes in."""

    queue: deque[Outgoing] = field(default_factory=deque)
    sent: list[str] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    verdict: Callable[[Message], tuple[int, str]] = lambda message: (0, "1")
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, link: str, room: int) -> Sequence[Outgoing]:
        taken = [self.queue.popleft() for _ in range(min(room, len(self.queue)))]
        self.sent += [outgoing.key for outgoing in taken]
        return taken

    async def answered(self, link: str, answers: Sequence[Answered]) -> None:
        self.answers += answers
        self.news.set()

    async def unanswered(self, link: str, keys: Sequence[str]) -> None:
        self.lost += keys
        self.news.set()

    async def received(self, link: str, session: str, messages: Sequence[Message]) -> Sequence[tuple[int, str]]:
        self.messages += messages
        self.news.set()
        return [self.verdict(message) for message in messages]

    def heard(self, link: str, message_ids: Sequence[str]) -> None: ...

    async def state_of(self, link: str, message_id: str) -> int | None:
        return self.states.get(message_id)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self.news.clear()
                if not condition():
                    await self.news.wait()
