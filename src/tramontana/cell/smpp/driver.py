"""SMPP over TCP: a client that keeps one operator's centre bound, and a server that others bind to.

Both ask a `Courier` for what is to be sent and hand it what came: the courier's books are durable before this module puts a word on
the wire, and every answer goes out only after the books have it. Nothing is kept here that a `kill -9` could lose.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tramontana.cell.smpp.pdu import Bind, CommandId, Message, Password, Status
from tramontana.cell.smpp.session import (
    BOUND,
    Answered,
    BindRequested,
    Bound,
    Closed,
    Event,
    Heard,
    Queried,
    QueryAnswered,
    Received,
    Session,
    SessionError,
    Settings,
)

logger = logging.getLogger(__name__)
READ_BYTES = 64 * 1024
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
REFUSED_PAUSE_S = 30.0
"""A centre that refuses the password is not asked again at once: centres lock accounts."""
THROTTLED_PAUSE_S = 1.0
DEAD_WRITE_S = 30.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to put on the wire. The books say already that it may be there."""

    key: str
    message: Message


class Courier(Protocol):
    """The books behind a link. Every method returns only when what it was told is durable; where it raises, the link is closed.

    Keys that it was told before it raised are its own: it must settle them later, for no session knows of them any more.
    """

    async def take(self, link: str, room: int) -> Sequence[Outgoing]:
        """At most `room` messages for this link, each marked as perhaps sent."""

    async def answered(self, link: str, answers: Sequence[Answered]) -> None:
        """The peer took these messages or refused them."""

    async def unanswered(self, link: str, keys: Sequence[str]) -> None:
        """The session ended before the peer answered: it may have them."""

    async def received(self, link: str, session: str, messages: Sequence[Message]) -> Sequence[tuple[int, str]]:
        """Messages of the peer; for each a command status and, for a submit_sm, our message id."""

    def heard(self, link: str, message_ids: Sequence[str]) -> None:
        """The peer is known to have our answers to these messages of its: it has no reason to send them again."""

    async def state_of(self, link: str, message_id: str) -> int | None:
        """What became of a message that the peer submitted (query_sm)."""


@dataclass(slots=True)
class _Flow:
    """Runs one session over one connection until it ends."""

    session: Session
    courier: Courier
    link: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    wake: asyncio.Event
    messages_per_s: float
    on_bound: Callable[[], None] = lambda: None
    bind_check: Callable[[Bind], Status] | None = None
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    closed: Closed | None = None
    _tokens: float = 1.0
    _filled_at: float = 0.0
    _not_before: float = 0.0
    _given: deque[str] = field(default_factory=deque)
    """Our ids of the peer's messages that were answered, while it is not known that it has the answers."""
    _heard: int = 0
    _lost: tuple[str, ...] = ()
    """Without an answer when the session ended, and the courier does not know yet."""

    async def run(self) -> Closed:
        """Raises nothing but what the courier raises; then the connection is closed and nothing unsaid was answered."""
        incoming = asyncio.ensure_future(self.reader.read(READ_BYTES))
        woken = asyncio.ensure_future(self.wake.wait())
        self._filled_at = time.monotonic()
        try:
            while self.closed is None:
                await self._write()
                due = self.session.next_timer()
                wait_s = None if due is None else max(0.0, due - time.monotonic())
                waits = {incoming, woken}
                if (pause := await self._send()) is not None:
                    wait_s = pause if wait_s is None else min(wait_s, pause)
                await self._write()
                done, _ = await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
                if woken in done:
                    self.wake.clear()
                    woken = asyncio.ensure_future(self.wake.wait())
                if incoming in done:
                    await self._read(incoming)
                    incoming = asyncio.ensure_future(self.reader.read(READ_BYTES))
                await self._handle(self.session.handle_timer(time.monotonic()))
            await self._write()
            return self.closed
        finally:
            for task in (incoming, woken):
                task.cancel()
            try:
                with contextlib.suppress(BaseException):
                    await asyncio.gather(incoming, woken, return_exceptions=True)
                left = self.session.connection_lost("this end stopped")
                if left and isinstance(left[0], Closed):
                    self._lost += left[0].unanswered
                if self._lost:
                    await asyncio.shield(self._tell_lost())
            except Exception:  # in the place of a cancellation it would keep the link running; the courier has the keys
                logger.exception("the books of link %s could not be written when its session ended", self.link)
            finally:  # also where the books cannot be written
                self.writer.close()

    async def _tell_lost(self) -> None:
        lost, self._lost = self._lost, ()
        await self.courier.unanswered(self.link, lost)

    async def _read(self, incoming: asyncio.Future[bytes]) -> None:
        try:
            data = incoming.result()
        except (OSError, ssl.SSLError) as error:
            await self._handle(self.session.connection_lost(f"the connection broke ({error})"))
            return
        if not data:
            await self._handle(self.session.connection_lost("the peer closed the connection"))
            return
        await self._handle(self.session.receive(data, time.monotonic()))

    async def _write(self) -> None:
        data = self.session.octets_to_send()
        if not data:
            return
        try:
            self.writer.write(data)
            async with asyncio.timeout(DEAD_WRITE_S):
                await self.writer.drain()
        except (OSError, TimeoutError) as error:
            await self._handle(self.session.connection_lost(f"the connection takes nothing more ({error})"))

    async def _send(self) -> float | None:
        """Put out what the window and the agreed rate take; returns after how long more may go, None to wait for news."""
        if not self.session.may_send or self.closed is not None:
            return None
        now = time.monotonic()
        if now < self._not_before:
            return self._not_before - now
        self._tokens = min(max(1.0, self.messages_per_s / 10), self._tokens + (now - self._filled_at) * self.messages_per_s)
        self._filled_at = now
        room = min(self.session.room, int(self._tokens))
        if room <= 0:
            return (1 - self._tokens) / self.messages_per_s if self.session.room > 0 else None
        taken = await self.courier.take(self.link, room)
        for position, outgoing in enumerate(taken):
            try:
                self.session.send(outgoing.message, outgoing.key, time.monotonic())
            except SessionError:  # never on the wire: as if the peer had said "later"
                answers = [Answered(left.key, Status.RX_T_APPN, "") for left in taken[position:]]
                await self.courier.answered(self.link, answers)
                break
            self._tokens -= 1
        return 0.0 if len(taken) == room and self.session.room > 0 else None

    async def _handle(self, events: Sequence[Event]) -> None:
        answers: list[Answered] = []
        received: list[Received] = []
        for event in events:
            match event:
                case Answered():
                    answers.append(event)
                    if event.status in (Status.RTHROTTLED, Status.RMSGQFUL):
                        self._not_before = time.monotonic() + THROTTLED_PAUSE_S
                case Received():
                    received.append(event)
                case BindRequested():
                    await self._bind(event)
                case Bound():
                    self.on_bound()
                case Queried():
                    self.session.answer_query(event, await self.courier.state_of(self.link, event.query.message_id))
                case QueryAnswered():
                    pass
                case Heard():
                    ids = [self._given.popleft() for _ in range(event.answers - self._heard)]
                    self._heard = event.answers
                    self.courier.heard(self.link, ids)
                case Closed():
                    self.closed = event
                    self._lost += event.unanswered
        if answers:
            await self.courier.answered(self.link, answers)
        if received:
            verdicts = await self.courier.received(self.link, self.name, [event.message for event in received])
            for event, (status, message_id) in zip(received, verdicts, strict=True):
                self.session.answer(event, status, message_id)
                self._given.append(message_id)
        if self._lost:
            await self._tell_lost()

    async def _bind(self, request: BindRequested) -> None:
        assert self.bind_check is not None
        status = self.bind_check(request.bind)
        if status == Status.ROK:
            self.link = request.bind.system_id
            self.session.accept_bind(request, time.monotonic())
            self.on_bound()
        else:
            await self._handle(self.session.refuse_bind(request, status))


@dataclass(frozen=True, slots=True)
class Centre:
    """An operator's centre that we bind to."""

    name: str
    host: str
    port: int
    system_id: str
    password: Password = field(repr=False)
    system_type: str = ""
    bind_as: CommandId = CommandId.BIND_TRANSCEIVER
    messages_per_s: float = 50.0
    settings: Settings = field(default_factory=Settings)
    tls: ssl.SSLContext | None = None


class EsmeLink:
    """Keeps one centre bound: connects, binds, sends what the courier has, and begins again after a growing pause."""

    def __init__(self, centre: Centre, courier: Courier, on_state: Callable[[str], None] = lambda state: None) -> None:
        self.centre = centre
        self._courier = courier
        self._on_state = on_state
        self._wake = asyncio.Event()
        self.state = "closed"

    def wake(self) -> None:
        """There is something new to send."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. What the courier raises counts as a broken link: it is tried again."""
        pause_s = FIRST_PAUSE_S
        while True:
            bound_at: float | None = None
            refused = False
            try:
                bound_at, refused = await self._once()
            except (OSError, TimeoutError) as error:
                self._say(f"cannot be reached: {error}")
            except Exception as error:
                logger.exception("link to %s", self.centre.name)
                self._say(f"failed: {error}")
            if bound_at is not None and time.monotonic() - bound_at > LONGEST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            # By chance, so that the links of a whole network do not all come back in the same instant.
            await asyncio.sleep((REFUSED_PAUSE_S if refused else pause_s) * (0.5 + secrets.randbelow(1000) / 1000))
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    async def _once(self) -> tuple[float | None, bool]:
        bound_at: float | None = None

        def bound() -> None:
            nonlocal bound_at
            bound_at = time.monotonic()
            self._say("bound")

        centre = self.centre
        async with asyncio.timeout(centre.settings.response_timeout_s):
            reader, writer = await asyncio.open_connection(centre.host, centre.port, ssl=centre.tls)
        session = Session("esme", centre.settings, time.monotonic())
        session.bind(Bind(centre.bind_as, centre.system_id, centre.password, centre.system_type), time.monotonic())
        flow = _Flow(session, self._courier, centre.name, reader, writer, self._wake, centre.messages_per_s, bound)
        closed = await flow.run()
        self._say(closed.reason)
        return bound_at, closed.refused_bind is not None

    def _say(self, state: str) -> None:
        if state != self.state:
            logger.log(logging.INFO if state == "bound" else logging.WARNING, "message centre %s: %s", self.centre.name, state)
        self.state = state
        self._on_state(state)


@dataclass(frozen=True, slots=True)
class Peer:
    """A system that may bind to our server."""

    system_id: str
    password: Password = field(repr=False)
    messages_per_s: float = 200.0
    most_sessions: int = 4


class SmscServer:
    """Our message centre: others bind to it, submit, and get what is for them."""

    def __init__(self, system_id: str, peers: Sequence[Peer], courier: Courier, settings: Settings | None = None) -> None:
        self._system_id = system_id
        self._peers = {peer.system_id: peer for peer in peers}
        self._courier = courier
        self._settings = settings or Settings()
        self._wakes: dict[str, list[asyncio.Event]] = {}

    def wake(self, system_id: str) -> None:
        """There is something new for this peer."""
        for event in self._wakes.get(system_id, ()):
            event.set()

    def bound(self) -> dict[str, int]:
        """Sessions by system id."""
        return {name: len(events) for name, events in self._wakes.items() if events}

    async def run(
        self, host: str, port: int, on_ready: Callable[[int], None] = lambda port: None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Listen until cancelled; then every session is closed."""
        async with asyncio.TaskGroup() as group:

            def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(self._serve(reader, writer))

            server = await asyncio.start_server(accept, host, port, ssl=tls)
            async with server:
                on_ready(server.sockets[0].getsockname()[1])
                await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wake = asyncio.Event()
        session = Session("smsc", self._settings, time.monotonic(), self._system_id)
        flow: _Flow

        def check(bind: Bind) -> Status:
            peer = self._peers.get(bind.system_id)
            # The comparison runs for a stranger as well: how long it takes tells nothing about who is known.
            right = (peer.password if peer else Password("")) == bind.password
            if peer is None or not right:
                logger.warning("a bind to our message centre was refused: unknown system or wrong password")
                return Status.RINVPASWD
            if len(self._wakes.get(peer.system_id, ())) >= peer.most_sessions:
                return Status.RALYBND
            flow.messages_per_s = peer.messages_per_s
            return Status.ROK

        def bound() -> None:
            self._wakes.setdefault(flow.link, []).append(wake)

        flow = _Flow(session, self._courier, "", reader, writer, wake, 1.0, bound, check)
        try:
            await flow.run()
        except Exception:
            logger.exception("a session of our message centre failed; the peer sends again what was not answered")
        finally:
            if session.state in BOUND or flow.link:
                with contextlib.suppress(ValueError):
                    self._wakes.get(flow.link, []).remove(wake)
