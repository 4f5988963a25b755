"""Who gets the next message of a beam: warnings, SOS with a guaranteed share, then flash and below.

One queue a beam. A beam carries one message after the other, so pre-emption happens between messages: a text of several parts is
interrupted where something higher waits, and goes on afterwards. Within a class phones take turns, so that one that writes much
does not shut out the others; what waits long rises, though never to flash. The queue is a core: instants go in, decisions and
audit events come out; what it forgets in a crash stands in the books it was filled from.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from tramontana.precedence import Precedence


class Rank(IntEnum):
    """Order in a beam; a higher value goes first."""

    ROUTINE = 0
    PRIORITY = 1
    IMMEDIATE = 2
    FLASH = 3
    FLASH_OVERRIDE = 4
    SOS = 5
    WARNING = 6

    @classmethod
    def of(cls, precedence: Precedence) -> Rank:
        return cls(int(precedence))


HIGHEST_BY_AGE = Rank.IMMEDIATE
"""However long something waits, flash and above stay ahead of it."""
SOS_SHARE = 0.3
"""Of a beam's messages while somebody's SOS waits, even under warnings: cut-off people are heard while everybody is warned."""
AGEING_S = 120.0
"""Waiting this long raises by one rank."""
AGED_EVERY_S = 1.0
"""What has waited long enough is looked for so often, not at each message."""


@dataclass(frozen=True, slots=True)
class Item:
    """A short message that waits. `phone` is whose turn it uses; parts of a text have the same `text`, in their order."""

    key: str
    rank: Rank
    phone: str
    queued_at: float
    text: str = ""


@dataclass(frozen=True, slots=True)
class Preempted:
    """For the audit trail: a text with parts on the air already had to wait for something higher."""

    text: str
    rank: Rank
    by: str
    by_rank: Rank


class _Class:
    """The phones of one rank, in turns; a phone's own messages in their order."""

    def __init__(self) -> None:
        self.phones: OrderedDict[str, deque[Item]] = OrderedDict()
        self.count = 0

    def put(self, item: Item, *, first: bool = False) -> None:
        waiting = self.phones.setdefault(item.phone, deque())
        if first:
            waiting.appendleft(item)
            self.phones.move_to_end(item.phone, last=False)
        else:
            waiting.append(item)
        self.count += 1

    def take(self) -> Item:
        phone, waiting = next(iter(self.phones.items()))
        item = waiting.popleft()
        self.count -= 1
        if waiting:
            self.phones.move_to_end(phone)
        else:
            del self.phones[phone]
        return item

    def remove(self, item: Item) -> None:
        waiting = self.phones[item.phone]
        waiting.remove(item)
        self.count -= 1
        if not waiting:
            del self.phones[item.phone]

    def is_next(self, item: Item) -> bool:
        """Whether it goes before all others of its phone."""
        return self.phones[item.phone][0] is item

    def ahead_of(self, phone: str, own: int) -> int:
        """Messages that go before the next one of a phone with `own` waiting: each other phone has as many turns as this one."""
        return sum(min(len(waiting), own + 1) for name, waiting in self.phones.items() if name != phone) + own


@dataclass(slots=True)
class BeamQueue:
    """One beam. messages_per_s: what it carries; 0 while no satellite serves it."""

    messages_per_s: float
    sos_share: float = SOS_SHARE
    ageing_s: float = AGEING_S
    _classes: dict[Rank, _Class] = field(default_factory=lambda: {rank: _Class() for rank in Rank}, init=False)
    _keys: dict[str, Rank] = field(default_factory=dict, init=False)
    """Under which rank an item waits now: its own, or a higher one by age."""
    _items: dict[str, Item] = field(default_factory=dict, init=False)
    _due: list[tuple[float, int, str]] = field(default_factory=list, init=False)
    """A heap of when something has waited long enough for a higher rank: instant, a number for the order, key; may hold what is gone."""
    _count: int = field(default=0, init=False)
    _sos_credit: float = field(default=0.0, init=False)
    _tokens: float = field(default=0.0, init=False)
    _filled_at: float | None = field(default=None, init=False)
    _aged_at: float = field(default=-math.inf, init=False)
    _begun: dict[str, Rank] = field(default_factory=dict, init=False)
    """Texts with a part on the air and more parts waiting."""
    _waiting_parts: dict[str, int] = field(default_factory=dict, init=False)
    audit: list[Preempted] = field(default_factory=list, init=False)
    """What was pre-empted; whoever records it clears it."""

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def waiting(self, rank: Rank) -> int:
        """How many wait under a rank, by their own or by age."""
        return self._classes[rank].count

    def put(self, item: Item, *, first: bool = False) -> None:
        """Let a message wait; `first` for one that was taken and came back unsent. One that waits already is left where it is."""
        if item.key in self._keys:
            return
        self._classes[item.rank].put(item, first=first)
        self._keys[item.key], self._items[item.key] = item.rank, item
        if item.rank < HIGHEST_BY_AGE:
            self._look_again(item.key, item.queued_at + self.ageing_s)
        if item.text:
            self._waiting_parts[item.text] = self._waiting_parts.get(item.text, 0) + 1

    def remove(self, key: str) -> bool:
        """Withdraw a message: expired, cancelled, or no longer of this beam."""
        rank = self._keys.get(key)
        if rank is None:
            return False
        item = self._items[key]
        self._classes[rank].remove(item)
        self._forget(item)
        return True

    def take(self, now: float, most: int) -> list[Item]:
        """The next messages, at most what the beam carries until now. They are gone from here."""
        burst = max(1.0, self.messages_per_s)  # one second's worth, also at the beginning
        since_s = max(0.0, now - self._filled_at) if self._filled_at is not None else 1.0
        self._tokens = min(burst, self._tokens + since_s * self.messages_per_s)
        self._filled_at = now
        self._age(now)
        taken: list[Item] = []
        while len(taken) < most and self._tokens >= 1 and self.messages_per_s > 0 and (item := self._next()) is not None:
            self._tokens -= 1
            taken.append(item)
        return taken

    def next_at(self, now: float) -> float | None:
        """When `take` can give something, None while nothing waits or the beam carries nothing."""
        if not self._keys or self.messages_per_s <= 0:
            return None
        return now + max(0.0, 1 - self._tokens) / self.messages_per_s

    def wait_s(self, rank: Rank, phone: str) -> float | None:
        """About how long a new message would wait, for its sender; None while the beam carries nothing."""
        return self._wait_s(rank, phone, len(self._classes[rank].phones.get(phone, ())))

    def wait_of(self, key: str) -> float | None:
        """About how long a message that waits here still will; None where it does not, or while the beam carries nothing."""
        if (rank := self._keys.get(key)) is None:
            return None
        item = self._items[key]
        return self._wait_s(rank, item.phone, self._classes[rank].phones[item.phone].index(item))

    def _wait_s(self, rank: Rank, phone: str, own: int) -> float | None:
        """own: messages of the same phone that go before."""
        if self.messages_per_s <= 0:
            return None
        same = self._classes[rank].ahead_of(phone, own)
        higher = sum(self._classes[other].count for other in Rank if other > rank)
        sos = self._classes[Rank.SOS].count
        if rank is Rank.SOS:
            ahead = min(same + higher, same / self.sos_share)  # its share is its own, whatever is above
        elif rank is Rank.WARNING:
            ahead = same + min(sos, same * self.sos_share / (1 - self.sos_share))
        else:
            ahead = same + higher
        return max(0.0, ahead + 1 - self._tokens) / self.messages_per_s

    def _next(self) -> Item | None:
        sos = self._classes[Rank.SOS]
        rank = next((rank for rank in sorted(Rank, reverse=True) if self._classes[rank].count), None)
        if rank is None:
            return None
        if sos.count:
            self._sos_credit += self.sos_share
            if self._sos_credit >= 1 - 1e-9:
                rank = Rank.SOS
        if rank is Rank.SOS:
            self._sos_credit = max(0.0, self._sos_credit - 1)
        item = self._classes[rank].take()
        if not sos.count:
            self._sos_credit = 0.0
        self._note_preemption(item)
        self._forget(item)
        if item.text and self._waiting_parts.get(item.text):
            self._begun[item.text] = item.rank
        return item

    def _note_preemption(self, item: Item) -> None:
        for text, rank in list(self._begun.items()):
            if text != item.text and rank < item.rank:
                self.audit.append(Preempted(text, rank, item.key, item.rank))
                del self._begun[text]  # told once; its next part may be interrupted again

    def _forget(self, item: Item) -> None:
        del self._keys[item.key], self._items[item.key]
        if item.text:
            left = self._waiting_parts[item.text] - 1
            if left:
                self._waiting_parts[item.text] = left
            else:
                del self._waiting_parts[item.text]
                self._begun.pop(item.text, None)

    def _age(self, now: float) -> None:
        if 0 <= now - self._aged_at < AGED_EVERY_S:
            return
        self._aged_at = now
        while self._due and self._due[0][0] <= now:
            _, _, key = heapq.heappop(self._due)
            if (item := self._items.get(key)) is None:
                continue
            rank, risen = self._keys[key], self._risen(item, now)
            # A phone's messages keep their order: one behind another rises after it.
            if risen > rank and self._classes[rank].is_next(item):
                self._classes[rank].remove(item)
                self._classes[risen].put(item)
                self._keys[key] = rank = risen
                self._look_again(key, item.queued_at + self.ageing_s * (risen - item.rank + 1), rank)
            else:
                self._look_again(key, now + AGED_EVERY_S, rank)

    def _look_again(self, key: str, at: float, rank: Rank = Rank.ROUTINE) -> None:
        if rank < HIGHEST_BY_AGE:
            self._count += 1
            heapq.heappush(self._due, (at, self._count, key))

    def _risen(self, item: Item, now: float) -> Rank:
        steps = math.floor(max(0.0, now - item.queued_at) / self.ageing_s)
        return Rank(min(HIGHEST_BY_AGE, item.rank + steps)) if item.rank < HIGHEST_BY_AGE else item.rank


@dataclass(slots=True)
class BeamTime:
    """All beams of one operator; `default_per_s` is what a beam carries of which nothing else is known."""

    default_per_s: float
    sos_share: float = SOS_SHARE
    _beams: dict[str, BeamQueue] = field(default_factory=dict, init=False)
    _turn: int = field(default=0, init=False)

    def beam(self, name: str) -> BeamQueue:
        if name not in self._beams:
            self._beams[name] = BeamQueue(self.default_per_s, self.sos_share)
        return self._beams[name]

    def beams(self) -> Iterable[tuple[str, BeamQueue]]:
        return self._beams.items()

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._beams.values())

    def take(self, now: float, most: int) -> list[Item]:
        """What the beams carry now, in turns: within each beam its own order holds, and none waits for another."""
        taken: list[Item] = []
        queues = [queue for queue in self._beams.values() if len(queue)]
        self._turn += 1
        start = self._turn % len(queues) if queues else 0
        queues = queues[start:] + queues[:start]
        while queues and len(taken) < most:
            left = []
            for queue in queues:
                if len(taken) < most and (item := queue.take(now, 1)):
                    taken += item
                    left.append(queue)
            queues = left
        return taken

    def next_at(self, now: float) -> float | None:
        return min((at for queue in self._beams.values() if (at := queue.next_at(now)) is not None), default=None)
