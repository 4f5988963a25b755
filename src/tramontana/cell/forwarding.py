"""Store and forward: what can become of a short message, as a table. The books (control/store/texts.py) apply it.

A message is `sending` in the books before its first octet is on the wire. When the session ends, or the process dies, before the
centre answered, nobody can know whether the centre has it: it becomes `unknown` and is never sent again by itself, because a second
copy could reach the phone. A receipt that repeats our reference settles it; else a person decides, or the sender said beforehand
that twice is better than never.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tramontana.cell.smpp.pdu import MessageState, Status

State = Literal["queued", "sending", "unknown", "accepted", "delivered", "undelivered", "refused", "expired", "withdrawn"]
Happening = Literal[
    "taken", "answered", "told later", "refused", "unanswered", "send again", "expired", "withdrawn", "receipt delivered", "receipt failed"
]

TRANSITIONS: Mapping[tuple[State, Happening], State] = {
    ("queued", "taken"): "sending",
    ("queued", "expired"): "expired",
    ("queued", "withdrawn"): "withdrawn",
    ("sending", "answered"): "accepted",
    ("sending", "told later"): "queued",
    ("sending", "refused"): "refused",
    ("sending", "unanswered"): "unknown",
    ("sending", "receipt delivered"): "delivered",  # a receipt may overtake the answer
    ("sending", "receipt failed"): "undelivered",
    ("unknown", "send again"): "queued",
    ("unknown", "withdrawn"): "withdrawn",
    ("unknown", "receipt delivered"): "delivered",
    ("unknown", "receipt failed"): "undelivered",
    ("accepted", "receipt delivered"): "delivered",
    ("accepted", "receipt failed"): "undelivered",
    ("delivered", "answered"): "delivered",
    ("undelivered", "answered"): "undelivered",
}
FINAL: frozenset[State] = frozenset({"delivered", "undelivered", "refused", "expired", "withdrawn"})

FAILED = frozenset({MessageState.EXPIRED, MessageState.DELETED, MessageState.UNDELIVERABLE, MessageState.REJECTED})
LATER = frozenset({Status.RTHROTTLED, Status.RMSGQFUL, Status.RX_T_APPN, Status.RSYSERR})
"""Statuses after which the same message may be sent again: the centre says that it did not take it, and why that will pass."""
LATER_PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0)
"""How long a message waits after each such answer; the last one repeats until it expires."""
WAYS_OUT_S = 48 * 3600.0
"""How long a text is tried when its sender says nothing: two days, as long as centres keep texts by default."""


def after(state: State, happening: Happening) -> State | None:
    """The next state, None where that cannot happen to it (any more) and nothing changes."""
    return TRANSITIONS.get((state, happening))


def of_answer(status: int) -> Happening:
    """What a command status in an answer means."""
    if status == Status.ROK:
        return "answered"
    return "told later" if status in LATER else "refused"


def of_receipt(state: MessageState) -> Happening | None:
    """What a receipt means; an intermediate one changes nothing."""
    if state is MessageState.DELIVERED:
        return "receipt delivered"
    return "receipt failed" if state in FAILED else None


@dataclass(frozen=True, slots=True)
class Route:
    """Numbers that begin with `prefix` go by this link. The longest prefix wins."""

    prefix: str
    link: str


def route(number: str, routes: tuple[Route, ...]) -> str | None:
    """The link for a number, None where no route fits."""
    fitting = [each for each in routes if number.startswith(each.prefix)]
    return max(fitting, key=lambda each: len(each.prefix)).link if fitting else None


def text_state(parts: list[State]) -> State:
    """The state of a text, from its messages': the one that says most about what is still to be done or has gone wrong."""
    order: tuple[State, ...] = ("unknown", "refused", "undelivered", "expired", "withdrawn", "queued", "sending", "accepted")
    for state in order:
        if state in parts:
            return state
    return "delivered"
