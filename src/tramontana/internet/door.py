"""Who may be at a gateway at once before it has proven anything: so many in all, and so many of one address.

One too many never shuts out the next: the oldest has to go, of the same address where that has its share, so that who floods the door
from one address pushes out nobody but himself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tramontana.internet.addresses import source_of

MOST: Final = 64
MOST_OF_ONE: Final = 16
"""Several sites may come from behind one address."""


@dataclass(frozen=True, slots=True)
class _Guest:
    source: str
    send_away: Callable[[], object]


class Door:
    """Of one gateway's port."""

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._guests: dict[int, _Guest] = {}
        """The oldest first."""
        self._next = 0

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, address: str, send_away: Callable[[], object]) -> int:
        """Let somebody in; gives his number for `leave`. send_away: called when he has to make room."""
        source = source_of(address)
        own = [number for number, guest in self._guests.items() if guest.source == source]
        if len(own) >= self._most_of_one:
            self._guests.pop(own[0]).send_away()
        elif len(self._guests) >= self._most:
            self._guests.pop(next(iter(self._guests))).send_away()
        self._next += 1
        self._guests[self._next] = _Guest(source, send_away)
        return self._next

    def leave(self, number: int) -> None:
        """Nothing if he was sent away."""
        self._guests.pop(number, None)


class Places:
    """For those that have proven something, and stay: who is there keeps his place, one too many gets none."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most, self._most_of_one = most, most_of_one
        self._taken: dict[str, int] = {}

    def take(self, address: str) -> bool:
        """Whether there was one. Whoever takes a place gives it back."""
        source = source_of(address)
        if sum(self._taken.values()) >= self._most or self._taken.get(source, 0) >= self._most_of_one:
            return False
        self._taken[source] = self._taken.get(source, 0) + 1
        return True

    def give_back(self, address: str) -> None:
        source = source_of(address)
        self._taken[source] -= 1
        if not self._taken[source]:
            del self._taken[source]
