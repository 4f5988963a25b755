"""Floor control of a talk group (push to talk): one holder at a time, a queue by precedence, talk bursts of limited length.

Sans-I/O, in the words of 3GPP TS 24.380 §6.3.4 (the floor control server's general states *Floor Idle* and *Floor Taken*), with
the levels of RFC 4412. A request of a higher level than the holder's takes the floor at once; equal and lower ones queue, higher
levels first, each level in order of arrival, so nobody is overtaken within his level.

`FloorControl` returns what is to be told to whom; `TRANSITIONS` is the table that it follows, and every step is checked against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tramontana.precedence import Precedence

TALK_BURST_S: Final = 60.0
"""The longest talk burst: then the next in the queue has the floor, and a pressed key that was forgotten blocks nobody for longer."""
MAX_QUEUED: Final = 50


class State(Enum):
    """Of the floor."""

    IDLE = "idle"
    TAKEN = "taken"


class Input(Enum):
    """What can happen to a floor."""

    REQUEST = "request"
    RELEASE = "release"
    """Given back, withdrawn from the queue, or the participant left."""
    TIME = "time"


class Event(Enum):
    """What happened to a participant."""

    GRANTED = "granted"
    QUEUED = "queued"
    DENIED = "denied"
    """The queue is full."""
    REVOKED_PRECEDENCE = "revoked_precedence"
    REVOKED_TIME = "revoked_time"


TRANSITIONS: Final[Mapping[tuple[State, Input], frozenset[State]]] = {
    (State.IDLE, Input.REQUEST): frozenset({State.TAKEN}),
    (State.IDLE, Input.RELEASE): frozenset({State.IDLE}),
    (State.IDLE, Input.TIME): frozenset({State.IDLE}),
    (State.TAKEN, Input.REQUEST): frozenset({State.TAKEN}),
    (State.TAKEN, Input.RELEASE): frozenset({State.TAKEN, State.IDLE}),
    (State.TAKEN, Input.TIME): frozenset({State.TAKEN, State.IDLE}),
}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the floor. `until`: when the talk burst ends at the latest."""

    participant: str
    precedence: Precedence
    until: float


@dataclass(frozen=True, slots=True)
class Told:
    """What a step means to one participant."""

    participant: str
    event: Event


class FloorControl:
    """The floor of one call. `now` is any clock in seconds, the same throughout."""

    def __init__(self, *, talk_burst_s: float = TALK_BURST_S, max_queued: int = MAX_QUEUED) -> None:
        self._talk_burst_s = talk_burst_s
        self._max_queued = max_queued
        self._holder: Holder | None = None
        self._queue: list[tuple[Precedence, str]] = []
        """In the order in which the floor will be granted."""

    @property
    def state(self) -> State:
        return State.IDLE if self._holder is None else State.TAKEN

    @property
    def holder(self) -> Holder | None:
        return self._holder

    @property
    def queue(self) -> tuple[str, ...]:
        """Who waits, in the order in which the floor will be granted."""
        return tuple(name for _, name in self._queue)

    def position(self, participant: str) -> int | None:
        """A participant's place in the queue, from 1, or None."""
        return next((place for place, (_, name) in enumerate(self._queue, start=1) if name == participant), None)

    def request(self, participant: str, precedence: Precedence, now: float) -> list[Told]:
        """Floor Request. Repeated at another level by the holder or by somebody who waits, it changes his precedence.

        Who changes his level while he waits comes last in the new one.
        """
        before, holder = self.state, self._holder
        if holder is None:
            told = self._grant(participant, precedence, now)
        elif holder.participant == participant:
            # The burst goes on and is not made longer; a lowered level may let the first of the queue in.
            self._holder = Holder(participant, precedence, holder.until)
            told = self._yield_to_higher(now)
        elif precedence > holder.precedence:
            self._withdraw(participant)
            told = [Told(holder.participant, Event.REVOKED_PRECEDENCE), *self._grant(participant, precedence, now)]
        else:
            told = self._enqueue(participant, precedence)
        return self._step(before, Input.REQUEST, told)

    def release(self, participant: str, now: float) -> list[Told]:
        """Floor Release, or the participant left. From somebody who neither holds nor waits it changes nothing."""
        before = self.state
        self._withdraw(participant)
        told: list[Told] = []
        if self._holder is not None and self._holder.participant == participant:
            self._holder = None
            told = self._grant_next(now)
        return self._step(before, Input.RELEASE, told)

    def next_timer(self) -> float | None:
        """When `handle_timer` wants to be called, or None."""
        return self._holder.until if self._holder is not None else None

    def handle_timer(self, now: float) -> list[Told]:
        """End a talk burst whose time is over."""
        before, holder = self.state, self._holder
        told: list[Told] = []
        if holder is not None and holder.until <= now:
            self._holder = None
            told = [Told(holder.participant, Event.REVOKED_TIME), *self._grant_next(now)]
        return self._step(before, Input.TIME, told)

    def _grant(self, participant: str, precedence: Precedence, now: float) -> list[Told]:
        self._holder = Holder(participant, precedence, now + self._talk_burst_s)
        return [Told(participant, Event.GRANTED)]

    def _grant_next(self, now: float) -> list[Told]:
        if not self._queue:
            return []
        precedence, participant = self._queue.pop(0)
        return self._grant(participant, precedence, now)

    def _yield_to_higher(self, now: float) -> list[Told]:
        assert self._holder is not None
        if not self._queue or self._queue[0][0] <= self._holder.precedence:
            return []
        return [Told(self._holder.participant, Event.REVOKED_PRECEDENCE), *self._grant_next(now)]

    def _enqueue(self, participant: str, precedence: Precedence) -> list[Told]:
        if (precedence, participant) in self._queue:
            return [Told(participant, Event.QUEUED)]  # a repeat costs nobody his place
        self._withdraw(participant)
        told: list[Told] = []
        if len(self._queue) >= self._max_queued:
            lowest, last = self._queue[-1]
            if lowest >= precedence:
                return [Told(participant, Event.DENIED)]
            self._queue.pop()  # a full queue of a lower level must not keep a higher one out
            told.append(Told(last, Event.DENIED))
        place = next((index for index, (level, _) in enumerate(self._queue) if level < precedence), len(self._queue))
        self._queue.insert(place, (precedence, participant))
        return [*told, Told(participant, Event.QUEUED)]

    def _withdraw(self, participant: str) -> None:
        self._queue = [waiting for waiting in self._queue if waiting[1] != participant]

    def _step(self, before: State, happened: Input, told: list[Told]) -> list[Told]:
        assert self.state in TRANSITIONS[before, happened]
        return told
