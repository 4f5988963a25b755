"""The control room of the simulated world: the product's own SOS cases, people who answer its questions, operators who take them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tramontana.cell import sos_case
from tramontana.cell.position import PlaceCatalogue, find_position
from tramontana.cell.sos_case import Case, Outcome
from tramontana.exercise.figures import Figures
from tramontana.exercise.phones import Phones
from tramontana.exercise.world import Places

ROOM = 7
PEOPLE = 8
MOST_REPEATS = 3
_FIRST = (
    "Aiuto, siamo bloccati, la casa è crollata. {where}",
    "Aiuto! Mia madre è ferita, siamo a {town}",
    "Soccorso, persone sotto le macerie a {town}. Presto",
    "Help, we are trapped in the house, there are injured people. {where}",
    "Aiuto qui a {town}, acqua in casa, siamo al primo piano con mio padre",
    "Ajutor, suntem blocati in casa la {town}, mama este ranita",
    "Hilfe, wir sind eingeschlossen in einem Haus, {where}",
)
"""What people in need write, in the languages that the product knows (invented)."""
_OPERATOR = "Qui la sala operativa. La squadra è avvisata e parte verso di voi. Restate dove siete, scrivete se qualcosa cambia."


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A text of the control room; `asks` is the question it puts, if any."""

    phone: int
    body: str
    asks: str = ""


@dataclass(frozen=True, slots=True)
class Milestones:
    """When what was reached in a case, seconds; None for never."""

    first_text_s: float
    received_s: float
    taken_s: float | None
    located_s: float | None


@dataclass(slots=True)
class ControlRoom:
    """Cases by phone. Instants go in, texts come out."""

    places: Places
    phones: Phones
    figures: Figures
    seed: int
    cases: dict[int, Case] = field(default_factory=dict, init=False)
    received_s: dict[int, float] = field(default_factory=dict, init=False)
    taken_s: dict[int, float] = field(default_factory=dict, init=False)
    located_s: dict[int, float] = field(default_factory=dict, init=False)
    _catalogue: PlaceCatalogue = field(init=False)
    _random: np.random.Generator = field(init=False)
    _waiting: deque[int] = field(default_factory=deque, init=False)
    _busy: list[tuple[float, int, int]] = field(default_factory=list, init=False)
    """When an operator closes a case: instant, phone, operator."""
    _free: list[int] = field(init=False)
    _timers: list[tuple[float, int]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        rows = zip(
            self.places.names, self.places.latitude_deg.tolist(), self.places.longitude_deg.tolist(), self.places.provinces, strict=True
        )
        self._catalogue = PlaceCatalogue(rows)
        self._random = np.random.default_rng([self.seed, ROOM])
        self._free = list(range(round(self.figures.control_room_seats.value)))

    def handle_text(self, phone: int, body: str, now: float) -> Iterator[Outgoing]:
        """A text for help arrived."""
        case = self.cases.get(phone)
        if case is None:
            case = sos_case.open_case(len(self.cases) + 1, str(phone), now)
            self.received_s[phone] = now
        yield from self._after(phone, sos_case.texted(case, body, find_position(body, self._catalogue), now), now)

    def handle_timer(self, now: float) -> Iterator[Outgoing]:
        """Questions that nobody answered, cases that are done, operators who take the next one."""
        while self._timers and self._timers[0][0] <= now:
            _, phone = heapq.heappop(self._timers)
            due = sos_case.next_timer(self.cases[phone])
            if due is not None and due <= now:
                yield from self._after(phone, sos_case.handle_timer(self.cases[phone], now), now)
        while self._busy and self._busy[0][0] <= now:
            at, phone, operator = heapq.heappop(self._busy)
            self._free.append(operator)
            yield from self._after(phone, sos_case.close(self.cases[phone], str(operator), "help is on its way", at, tell=False), now)
        while self._free and self._waiting:
            phone = self._waiting.popleft()
            if self.cases[phone].state != "waiting":
                continue
            operator = self._free.pop()
            self.taken_s.setdefault(phone, now)
            yield from self._after(phone, sos_case.take(self.cases[phone], str(operator), now), now)
            yield from self._after(phone, sos_case.write(self.cases[phone], str(operator), _OPERATOR, now), now)
            care_s = float(self._random.exponential(self.figures.case_care_s.value))
            heapq.heappush(self._busy, (now + care_s, phone, operator))

    def next_at(self) -> float:
        """When something is due; inf for nothing."""
        due = [heap[0][0] for heap in (self._timers, self._busy) if heap]
        return min(due, default=np.inf) if not (self._free and self._waiting) else 0.0

    def milestones(self, first_text_s: dict[int, float]) -> dict[int, Milestones]:
        """By phone."""
        return {
            phone: Milestones(first_text_s[phone], at, self.taken_s.get(phone), self.located_s.get(phone))
            for phone, at in self.received_s.items()
        }

    def _after(self, phone: int, outcome: Outcome, now: float) -> Iterator[Outgoing]:
        case, said, _ = outcome
        before = self.cases.get(phone)
        self.cases[phone] = case
        if case.position is not None:
            self.located_s.setdefault(phone, now)
        if case.state == "waiting" and (before is None or before.state != "waiting"):
            self._waiting.append(phone)
        due = sos_case.next_timer(case)
        if due is not None:
            heapq.heappush(self._timers, (due, phone))
        for number, each in enumerate(said, 1):
            yield Outgoing(phone, each.body, case.asked if number == len(said) else "")


@dataclass(slots=True)
class People:
    """Those in need: what they write first, and what they answer."""

    places: Places
    phones: Phones
    figures: Figures
    seed: int
    first: dict[int, str] = field(default_factory=dict, init=False)

    def first_text(self, phone: int) -> str:
        """The same for the same person."""
        if phone not in self.first:
            random = np.random.default_rng([self.seed, PEOPLE, phone])
            self.first[phone] = _FIRST[int(random.integers(len(_FIRST)))].format(
                town=self.places.names[int(self.phones.place[phone])], where=self._where(phone)
            )
        return self.first[phone]

    def answer(self, phone: int, asked: str) -> tuple[str, float]:
        """What somebody answers to a question, and after how many seconds."""
        random = np.random.default_rng([self.seed, PEOPLE, phone, sum(map(ord, asked))])
        after_s = float(random.exponential(self.figures.sos_answer_s.value)) + 5.0
        match asked:
            case "ask position":
                return self._where(phone), after_s
            case "ask people":
                return str(int(random.integers(1, 7))), after_s
            case "ask injured":
                return str(int(random.integers(0, 4))), after_s
        return ("gas", "no", "ok")[int(random.integers(3))], after_s

    def _where(self, phone: int) -> str:
        return f"{self.phones.latitude_deg[phone]:.5f}, {self.phones.longitude_deg[phone]:.5f}"
