"""Admission of calls by precedence: what may use the carriers now, what waits, and what has to make room.

The server hands in plain numbers: the rooms in the path of a call (each participant's carrier, the relay's share), what is in
progress there, and the request. Levels are those of RFC 4412 §10.1 (`dsn`), a namespace whose levels pre-empt each other. A request
takes what is free, else what calls of lower levels hold, else it waits its turn if its level may wait, else it is refused.

Who has to make room (docs/decisions/0015-admission.md): calls of lower levels only; never a higher one where lower ones suffice; as few
as possible; the youngest among equals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tramontana.precedence import Precedence

WAIT_S: Mapping[Precedence, float] = MappingProxyType(
    {
        Precedence.ROUTINE: 0.0,
        Precedence.PRIORITY: 15.0,
        Precedence.IMMEDIATE: 30.0,
        Precedence.FLASH: 30.0,
        Precedence.FLASH_OVERRIDE: 30.0,
    }
)
"""How long a call of a level may wait for room. A caller is told sooner than his phone gives up ringing (45 s)."""
SILENT_S = 10.0
"""A waiting call asks again every few seconds; one that has not for so long is no longer wanted."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a carrier at one place, or the relay, can carry; `reserved_bps` of it only for flash and above."""

    capacity_bps: float
    reserved_bps: float = 0.0


@dataclass(frozen=True, slots=True)
class Call:
    """A call and what it takes of each room, in bit/s each way. Rooms that are not named to `ask` have no limit."""

    call_id: str
    precedence: Precedence
    began_at: float
    cost_bps: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call may begin once `preempted` have ended."""

    preempted: tuple[Call, ...]
    room: str | None
    """Where the pre-empted calls stood in the way; None without them."""


@dataclass(frozen=True, slots=True)
class Queued:
    """The call waits, behind `ahead` others; it is to ask again, and is refused at `until`."""

    room: str
    ahead: int
    until: float


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no room, and calls of lower levels do not hold enough of it."""

    room: str


Decision = Admitted | Queued | Refused


@dataclass(slots=True)
class _Waiting:
    call: Call
    since: float
    asked_at: float

    @property
    def until(self) -> float:
        return self.since + WAIT_S[self.call.precedence]


@dataclass(frozen=True, slots=True)
class _Budget:
    """A limit on the sum of some calls' costs in one room: of all, or of those below flash."""

    room: str
    limit_bps: float
    below_flash: bool

    def cost(self, call: Call) -> float:
        if self.below_flash and call.precedence >= Precedence.FLASH:
            return 0.0
        return call.cost_bps.get(self.room, 0.0)


@dataclass(slots=True)
class Admission:
    """Keeps the calls that wait; everything else is handed in."""

    _waiting: dict[str, _Waiting] = field(default_factory=dict)

    def ask(self, call: Call, in_progress: Iterable[Call], rooms: Mapping[str, Room], now: float) -> Decision:
        """Decide on a request. One with the id of a call in progress asks for a changed cost, in place of what it has."""
        others = [other for other in in_progress if other.call_id != call.call_id]
        known = self._waiting.pop(call.call_id, None)
        self._forget(now)
        since = known.since if known else now
        ahead = [waiting for waiting in self._waiting.values() if now < waiting.until and _is_ahead(waiting, call, since)]
        if ahead:
            # Who came first is served first, even if this one would fit: else two small calls starve one that needs both.
            return self._wait(call, since, now, next(room for room in call.cost_bps if room in ahead[0].call.cost_bps), len(ahead))
        wanted = [(budget, budget.cost(call)) for budget in _budgets(call, rooms)]
        lacking = {}
        for budget, cost in wanted:
            free = budget.limit_bps - sum(budget.cost(other) for other in others)
            if cost > free:
                # After a shrinking others may hold part of the reserve; that is not this call's to give back.
                lacking[budget] = min(cost, cost - free) if budget.below_flash else cost - free
        if not lacking:
            return Admitted((), None)
        tightest = next(iter(lacking)).room
        if all(cost <= budget.limit_bps for budget, cost in wanted):
            victims = _fewest([other for other in others if other.precedence < call.precedence], lacking)
            if victims is not None:
                return Admitted(victims, tightest)
        return self._wait(call, since, now, tightest, 0)

    def withdraw(self, call_id: str) -> None:
        """The call is no longer wanted."""
        self._waiting.pop(call_id, None)

    def _wait(self, call: Call, since: float, now: float, room: str, ahead: int) -> Queued | Refused:
        until = since + WAIT_S[call.precedence]
        if now >= until:
            return Refused(room)
        self._waiting[call.call_id] = _Waiting(call, since, now)
        return Queued(room, ahead, until)

    def _forget(self, now: float) -> None:
        for waiting in list(self._waiting.values()):
            if now - waiting.asked_at > SILENT_S:
                del self._waiting[waiting.call.call_id]


def shrink(in_progress: Iterable[Call], rooms: Mapping[str, Room]) -> tuple[Call, ...]:
    """The calls that have to end because rooms became smaller, lowest and youngest first.

    Calls keep their place in order of level, then age; one that no longer fits ends. A reserve that is not in use ends nobody.
    """
    free = {name: room.capacity_bps for name, room in rooms.items()}
    ending: list[Call] = []
    for call in sorted(in_progress, key=lambda call: (-call.precedence, call.began_at, call.call_id)):
        taken = {name: cost for name, cost in call.cost_bps.items() if name in free}
        if any(cost > free[name] for name, cost in taken.items()):
            ending.append(call)
            continue
        for name, cost in taken.items():
            free[name] -= cost
    return tuple(reversed(ending))


def _is_ahead(waiting: _Waiting, call: Call, since: float) -> bool:
    mine, his = (-call.precedence, since, call.call_id), (-waiting.call.precedence, waiting.since, waiting.call.call_id)
    return his < mine and not waiting.call.cost_bps.keys().isdisjoint(call.cost_bps)


def _budgets(call: Call, rooms: Mapping[str, Room]) -> list[_Budget]:
    """The limits that a call is held to."""
    budgets = []
    for name in call.cost_bps:
        if (room := rooms.get(name)) is None:
            continue
        budgets.append(_Budget(name, room.capacity_bps, below_flash=False))
        if call.precedence < Precedence.FLASH and room.reserved_bps > 0:
            budgets.append(_Budget(name, room.capacity_bps - room.reserved_bps, below_flash=True))
    return budgets


_Levels = tuple[int, ...]
"""How many calls of each level end, the highest level first: the smaller tuple is the better choice."""


def _fewest(candidates: Sequence[Call], lacking: Mapping[_Budget, float]) -> tuple[Call, ...] | None:
    """The calls that make the room which is lacking at the least harm; None where all of them together do not.

    Exact: calls that hold the same of what is lacking, at one level, differ in age only, so the search goes over how many of each kind
    end, youngest first. One request lacks little, so few states arise however many calls are in progress.
    """
    kinds: dict[tuple[Precedence, tuple[float, ...]], list[Call]] = {}
    for call in sorted(candidates, key=lambda call: (-call.began_at, call.call_id)):
        held = tuple(budget.cost(call) for budget in lacking)
        if any(held):
            kinds.setdefault((call.precedence, held), []).append(call)
    # From what is still lacking to the best choice so far: (harm, ages of the chosen, chosen).
    start = tuple(lacking.values())
    best: dict[tuple[float, ...], tuple[_Levels, tuple[float, ...], tuple[Call, ...]]] = {start: ((0,) * len(Precedence), (), ())}
    for (level, held), calls in kinds.items():
        place = Precedence.FLASH_OVERRIDE - level
        for still, (harm, ages, chosen) in list(best.items()):
            rest = still
            for number in range(1, len(calls) + 1):
                if not any(need > 0 and hold > 0 for need, hold in zip(rest, held, strict=True)):
                    break  # one more would end in vain
                rest = tuple(max(0.0, need - hold) for need, hold in zip(rest, held, strict=True))
                option = (
                    (*harm[:place], harm[place] + number, *harm[place + 1 :]),
                    tuple(sorted((*ages, *(-call.began_at for call in calls[:number])))),
                    (*chosen, *calls[:number]),
                )
                if rest not in best or option[:2] < best[rest][:2]:
                    best[rest] = option
    found = best.get((0.0,) * len(start))
    return found[2] if found else None
