"""Events between server processes, and the twin for one process alone.

What was accepted stands in the store before an event is published. An event is a hint where to look: one that is lost costs time until
the next look at the store (`processes.py`), never a message. What it carries are ids, never payloads, tokens or keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal, Protocol

from pydantic import Field, TypeAdapter

from tramontana.control.shapes import Id, Shape

State = Literal["alone", "connected", "degraded"]
"""`alone`: this process is the only one. `degraded`: others may exist and cannot be reached now."""


class Mail(Shape):
    """There is something new in these mailboxes."""

    type: Literal["mail"] = "mail"
    device_ids: list[Id]


class Attached(Shape):
    """A device has connected. `serial` ascends per device: the socket with the highest one stays, others close with 4409."""

    type: Literal["attached"] = "attached"
    device_id: Id
    account_id: Id
    serial: int


class Detached(Shape):
    """A device's connection with this serial has ended."""

    type: Literal["detached"] = "detached"
    device_id: Id
    serial: int


class DirectoryChanged(Shape):
    """Accounts or devices changed."""

    type: Literal["directory"] = "directory"


class ConversationChanged(Shape):
    """Members of a conversation changed: these accounts should look."""

    type: Literal["conversation"] = "conversation"
    account_ids: list[Id]
    conversation_id: Id


class CallChanged(Shape):
    """Who is in the call of a conversation has changed, or it ended: these accounts should look."""

    type: Literal["call"] = "call"
    account_ids: list[Id]
    conversation_id: Id


class Closed(Shape):
    """Sockets of these devices are to be closed with a code: a session was ended, a device was revoked."""

    type: Literal["closed"] = "closed"
    device_ids: list[Id]
    code: int


class CallsChanged(Shape):
    """Who is in a call, or by which path, has changed: whoever keeps the fronts looks again."""

    type: Literal["calls"] = "calls"


class Pushed(Shape):
    """A frame for devices that are connected now. It is not stored: for what is worthless a moment later (floor, pre-emption)."""

    type: Literal["pushed"] = "pushed"
    device_ids: list[Id]
    frame: str = Field(repr=False)
    """A server frame as JSON text (`frames.encode`)."""


Event = Mail | Attached | Detached | DirectoryChanged | ConversationChanged | CallChanged | Closed | CallsChanged | Pushed

_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def encode(event: Event) -> bytes:
    """An event as UTF-8 JSON."""
    return event.model_dump_json().encode()


def parse(text: bytes) -> Event:
    """Raises pydantic's `ValidationError` (a `ValueError`) on anything else."""
    return _EVENT.validate_json(text)


class Listener(Protocol):
    """Who is told what other processes publish."""

    def handle(self, event: Event) -> None:
        """An event of another process."""

    def handle_gap(self) -> None:
        """Events of other processes were lost, or may have been: look at the store."""


class Events(Protocol):
    """The way to the other processes. The real one is `nats_events.NatsEvents`."""

    @property
    def state(self) -> State: ...

    def listen(self, listener: Listener) -> None:
        """Tell this one from now on."""

    def publish(self, event: Event) -> None:
        """Tell the other processes; never waits and never fails. Events of one process arrive in order, or not at all."""

    async def run(self, realm: str, key: bytes) -> None:
        """Stay connected until cancelled, to the processes of one service (its id) that share a key (32 bytes)."""


class LocalEvents:
    """One process alone: there is nobody to tell."""

    state: State = "alone"

    def listen(self, listener: Listener) -> None:
        """Nobody will ever say anything."""

    def publish(self, event: Event) -> None:
        """There is nobody to tell."""

    async def run(self, realm: str, key: bytes) -> None:
        await asyncio.Event().wait()


class MemoryEvents:
    """The twin of NATS: processes of one test, in one event loop. `cut` loses what passes until `heal`."""

    def __init__(self, peers: list[MemoryEvents]) -> None:
        self._peers = peers
        peers.append(self)
        self._listeners: list[Listener] = []
        self._is_cut = False

    @property
    def state(self) -> State:
        return "degraded" if self._is_cut else "connected"

    def listen(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def publish(self, event: Event) -> None:
        self._pass_on(lambda listener: listener.handle(parse(encode(event))))

    def _pass_on(self, tell: Callable[[Listener], None]) -> None:
        if self._is_cut:
            return
        for peer in self._peers:
            if peer is not self and not peer._is_cut:
                for listener in peer._listeners:
                    asyncio.get_running_loop().call_soon(tell, listener)

    def cut(self) -> None:
        self._is_cut = True

    def heal(self) -> None:
        """Be connected again; both sides learn that something may be missing."""
        self._is_cut = False
        self._pass_on(lambda listener: listener.handle_gap())
        for listener in self._listeners:
            listener.handle_gap()

    async def run(self, realm: str, key: bytes) -> None:
        await asyncio.Event().wait()
