"""Texts through a world: over the ground where a site works, else through the product's own beam queues, in virtual time.

Ten seconds at a time, as long as a satellite's beam stays on a cell, and within them each second for every beam that has something to do.
Each text is delivered once, waits, expires, or is refused; none is lost between.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tramontana.cell.beam_time import BeamQueue, BeamTime, Item, Rank
from tramontana.exercise.control_room import MOST_REPEATS, ControlRoom, Outgoing, People
from tramontana.exercise.phones import Phones, Reach
from tramontana.exercise.satellites import Progress, Service
from tramontana.exercise.terrestrial import TICK_S
from tramontana.exercise.texts import Kind, Texts, Way
from tramontana.exercise.world import World
from tramontana.space.beams.held import DWELL_S

TRAFFIC = 9
GROUND_S = 4.0
"""A text over a network that works (assumption)."""
TOLD_EVERY = 10
"""Minutes between two looks at what a sender would be told to wait."""

_ALL = 1_000_000
_ARRIVED, _AGAIN = "arrived", "again"

Watch = Callable[[int, float, BeamQueue, int, list[Item]], None]
"""Told of every look at a beam: cell, instant, the queue, how many of somebody's SOS waited before, what was taken."""


@dataclass(frozen=True, slots=True)
class WarningDwell:
    """A warning's pages in the beam of a cell in a dwell."""

    warning: int
    dwell: int
    cell: int
    messages: int


@dataclass(eq=False)
class Load:
    """K minutes, C cells, S sites."""

    taken: NDArray[np.int32]
    """(K, C, 7) messages that the beams carried, by rank."""
    busy_s: NDArray[np.float32]
    """(K, C) how long the beams were busy with them."""
    served_s: NDArray[np.float32]
    """(K, C) how long there were beams."""
    waiting: NDArray[np.int32]
    """(K, C) the most that waited at any second of each minute."""
    told_s: NDArray[np.float32]
    """(K // TOLD_EVERY + 1, C) what the sender of a routine text would be told to wait; NaN where no satellite is."""
    overflow: NDArray[np.int32]
    """(S,) minutes in which a site had more texts than it carries."""
    pre_empted: int = 0


@dataclass(eq=False)
class Traffic:
    """One run over one fleet, or over none."""

    world: World
    phones: Phones
    reach: Reach
    service: Service
    texts: Texts
    warnings: tuple[WarningDwell, ...]
    seed: int
    sites: int
    watch: Watch | None = None
    room: ControlRoom = field(init=False)
    people: People = field(init=False)
    load: Load = field(init=False)
    carried: dict[int, set[tuple[int, int]]] = field(init=False)
    """By warning, dwell and cell of each broadcast whose pages all went out."""

    def __post_init__(self) -> None:
        minutes, cells = int(np.ceil(self.world.seconds / TICK_S)), len(self.phones.cells)
        self.room = ControlRoom(self.world.places, self.phones, self.world.figures, self.seed)
        self.people = People(self.world.places, self.phones, self.world.figures, self.seed)
        self.load = Load(
            np.zeros((minutes, cells, len(Rank)), dtype=np.int32),
            np.zeros((minutes, cells), dtype=np.float32),
            np.zeros((minutes, cells), dtype=np.float32),
            np.zeros((minutes, cells), dtype=np.int32),
            np.full((minutes // TOLD_EVERY + 1, cells), np.nan, dtype=np.float32),
            np.zeros(self.sites, dtype=np.int32),
        )
        self.carried = {}
        self._beams = BeamTime(0.0)
        self._queues = [self._beams.beam(name) for name in self.phones.cells]
        self._random = np.random.default_rng([self.seed, TRAFFIC])
        self._pending = np.empty(0, dtype=np.int64)
        """Written, and neither delivered nor in a beam's queue."""
        self._coming = np.empty(0, dtype=np.int64)
        """Written within this minute by phones that hear no ground network."""
        self._in_beam: dict[int, int] = {}
        """Texts that wait in the beam of a cell."""
        self._indoors: set[int] = set()
        """Those of them whose phones are indoors."""
        self._indoors_of = [0] * cells
        """How many of them in each cell."""
        a_minute = round(TICK_S / DWELL_S)
        starts = np.arange(0, self.service.dwells, a_minute)
        self._share_indoors = np.minimum.reduceat(self.service.indoors, starts, axis=0)
        """(K, C) of indoor places that hear every beam of a minute."""
        self._first = 0
        self._busy: set[int] = set()
        self._room_left = np.zeros(self.sites)
        self._soon: list[tuple[float, int, int, str, int]] = []
        """What happens at an instant: when, a number that keeps the order, text or phone, what, how often."""
        self._order = 0
        self._asks: dict[int, str] = {}
        self._answered: set[int] = set()
        """Phones in need that had some answer."""
        self._lost = self.world.figures.text_lost.value
        self._overflowing = np.zeros(self.sites, dtype=np.bool_)
        self._satellites = bool(np.any(self.service.messages_per_s > 0))
        self._limit = round(self.world.figures.queue_limit.value)

    def run(self, progress: Progress | None = None) -> None:
        """Play the whole world."""
        dwells = self.service.dwells
        by_dwell: dict[int, list[WarningDwell]] = {}
        for each in self.warnings:
            by_dwell.setdefault(each.dwell, []).append(each)
        a_minute = round(TICK_S / DWELL_S)
        for dwell in range(dwells):
            now = dwell * DWELL_S
            minute = min(dwell // a_minute, self.load.taken.shape[0] - 1)
            if dwell % a_minute == 0:
                self._begin_minute(now, minute)
            self._route(self._written_until(now), now)
            self.load.served_s[minute] += (self.service.messages_per_s[dwell] > 0) * DWELL_S
            for each in by_dwell.get(dwell, ()):
                for part in range(each.messages):
                    self._put(each.cell, Item(f"w{each.warning}.{part}", Rank.WARNING, f"w{each.warning}", now))
            for second in range(round(DWELL_S)):
                self._each_second(now + second, dwell, minute)
            self._end_broadcasts(by_dwell.get(dwell, ()))
            if (dwell + 1) % a_minute == 0 or dwell + 1 == dwells:
                self._end_minute()
            if progress and dwell % 90 == 0:
                progress(dwell / dwells)
        self._expire(self.world.seconds)

    # Each second

    def _each_second(self, now: float, dwell: int, minute: int) -> None:
        while self._soon and self._soon[0][0] <= now:
            _, _, number, what, times = heapq.heappop(self._soon)
            self._happen(number, what, times, now)
        if self.room.next_at() <= now:
            self._send(self.room.handle_timer(now), now)
        for cell in sorted(self._busy):
            queue, rate = self._queues[cell], float(self.service.messages_per_s[dwell, cell])
            if not len(queue):
                self._busy.discard(cell)
                continue
            self.load.waiting[minute, cell] = max(self.load.waiting[minute, cell], len(queue))
            if rate <= 0:
                continue
            if inside := self._indoors_of[cell]:  # theirs take longer; on average over those that wait
                slow = float(self.service.indoors_per_s[dwell, cell])
                rate = len(queue) / ((len(queue) - inside) / rate + inside / slow)
            queue.messages_per_s = rate
            sos = queue.waiting(Rank.SOS)
            taken = queue.take(now, _ALL)
            if self.watch:
                self.watch(cell, now, queue, sos, taken)
            self.load.busy_s[minute, cell] += len(taken) / rate
            for item in taken:
                self.load.taken[minute, cell, item.rank] += 1
                if item.rank is not Rank.WARNING:
                    self._carried(int(item.key), item, cell, now)

    def _carried(self, number: int, item: Item, cell: int, now: float) -> None:
        self.texts.step_one(number, "taken")
        if self._random.random() < self._lost:
            self.texts.step_one(number, "told later")
            self._put(cell, item, first=True)
            return
        self.texts.step_one(number, "answered")
        self.texts.step_one(number, "receipt delivered")
        self.texts.done_s[number], self.texts.way[number] = now, Way.SATELLITE
        self._leave(number)
        if item.rank is Rank.SOS:
            self._arrived(number, now)

    def _leave(self, number: int) -> int:
        """A text is in no beam's queue any more; the cell it waited in."""
        cell = self._in_beam.pop(number)
        if number in self._indoors:
            self._indoors.discard(number)
            self._indoors_of[cell] -= 1
        return cell

    def _put(self, cell: int, item: Item, *, first: bool = False) -> None:
        self._queues[cell].put(item, first=first)
        self._busy.add(cell)

    def _arrived(self, number: int, now: float) -> None:
        kind, phone = self.texts.kind[number], int(self.texts.phone[number])
        if kind == Kind.SOS:
            self._send(self.room.handle_text(phone, self.texts.body[number], now), now)
        elif kind == Kind.ANSWER:
            self._answered.add(phone)
            if asked := self._asks.pop(number, ""):
                self._later(now + self.people.answer(phone, asked)[1], phone, asked)

    def _happen(self, number: int, what: str, times: int, now: float) -> None:
        if what == _ARRIVED:
            self._arrived(number, now)
        elif what == _AGAIN:
            if number not in self._answered and times <= MOST_REPEATS:
                self._write_for_help(number, self.people.first_text(number), now)
                self._later(now + self.world.figures.sos_again_min.value * 60.0, number, _AGAIN, times + 1)
        else:
            self._write_for_help(number, self.people.answer(number, what)[0], now)

    def _later(self, at: float, number: int, what: str, times: int = 1) -> None:
        self._order += 1
        heapq.heappush(self._soon, (at, self._order, number, what, times))

    def _begin_sos(self, fresh: NDArray[np.int64]) -> None:
        for number in fresh[self.texts.kind[fresh] == Kind.SOS].tolist():
            phone = int(self.texts.phone[number])
            self.texts.body[number] = self.people.first_text(phone)
            self._later(float(self.texts.created_s[number]) + self.world.figures.sos_again_min.value * 60.0, phone, _AGAIN)

    def _write_for_help(self, phone: int, body: str, now: float) -> None:
        if self.reach.on(self.phones, np.array([phone]), now)[0]:
            self._write(phone, body, Kind.SOS, now)

    def _send(self, outgoing: Iterable[Outgoing], now: float) -> None:
        for each in outgoing:
            number = self._write(each.phone, each.body, Kind.ANSWER, now)
            if each.asks:
                self._asks[number] = each.asks

    def _write(self, phone: int, body: str, kind: Kind, now: float) -> int:
        cut_off = not self.reach.hears_ground(self.phones, np.array([phone]), now)[0]
        number = self.texts.add(now, phone, Rank.SOS, kind, body, cut_off=cut_off)
        self._route(np.array([number]), now)
        return number

    # Ways

    def _route(self, which: NDArray[np.int64], now: float) -> None:
        """Each text over the ground if its phone hears a site that has room, else into a beam's queue, else it waits at the phone."""
        if not which.size:
            return
        texts, phone = self.texts, self.texts.phone[which]
        on = self.reach.on(self.phones, phone, now)
        ground = on & self.reach.hears_ground(self.phones, phone, now)
        waits = [which[ground][~self._over_ground(which[ground], now)]]
        sky = on & ~ground & self.phones.satellite[phone] & self._satellites
        sky[sky] = self._hears_sky(phone[sky], now)
        cells, outdoors = self.phones.cell[phone[sky]], self.phones.outdoors(phone[sky], now)
        for number, cell, outside in zip(which[sky].tolist(), cells.tolist(), outdoors.tolist(), strict=True):
            queue, rank = self._queues[cell], Rank(int(texts.rank[number]))
            if rank is Rank.ROUTINE and len(queue) >= self._limit:
                texts.step_one(number, "taken")
                texts.step_one(number, "refused")
                texts.done_s[number] = now
            else:
                self._in_beam[number] = cell
                if not outside:
                    self._indoors.add(number)
                    self._indoors_of[cell] += 1
                self._put(cell, Item(str(number), rank, str(texts.phone[number]), float(texts.created_s[number]), str(number)))
        waits.append(which[~ground & ~sky])
        self._pending = np.concatenate([self._pending, *waits])

    def _hears_sky(self, phone: NDArray[np.int64], now: float) -> NDArray[np.bool_]:
        """Which of some phones can use a satellite in this minute, if there is one: under the sky, or where enough of it comes in."""
        minute = min(int(now // TICK_S), self._share_indoors.shape[0] - 1)
        within = self.phones.house(phone) < self._share_indoors[minute, self.phones.cell[phone]]
        return np.asarray(self.phones.outdoors(phone, now) | within)

    def _over_ground(self, which: NDArray[np.int64], now: float) -> NDArray[np.bool_]:
        """Which of some texts the serving sites take this minute: those of the highest rank first. A text for help always goes."""
        if not which.size:
            return np.zeros(0, dtype=np.bool_)
        texts = self.texts
        tick = min(int(now // TICK_S), self.reach.serving.shape[0] - 1)
        site = self.reach.serving[tick, self.phones.group[texts.phone[which]]]
        order = np.lexsort((which, -texts.rank[which].astype(np.int64), site))
        sorted_site = site[order]
        place = np.arange(order.size) - np.searchsorted(sorted_site, sorted_site)  # how many of the same site go before
        goes = np.zeros(which.shape, dtype=np.bool_)
        goes[order] = place < self._room_left[sorted_site]
        full = np.unique(site[~goes])
        self._overflowing[full] = True
        goes |= texts.rank[which] == Rank.SOS
        np.subtract.at(self._room_left, site[goes], 1)
        sent = which[goes]
        at = np.maximum(texts.created_s[sent], now) + GROUND_S
        texts.deliver(sent, at, Way.GROUND)
        for number in sent[texts.kind[sent] >= Kind.SOS].tolist():
            self._later(float(texts.done_s[number]), number, _ARRIVED)
        return goes

    # Each minute

    def _begin_minute(self, now: float, minute: int) -> None:
        self._overflowing[:] = False
        self._room_left[:] = self.world.figures.site_texts_per_s.value * TICK_S
        self._expire(now)
        in_beam = np.array(sorted(self._in_beam), dtype=np.int64)
        phone = self.texts.phone[in_beam]
        stays = self.reach.on(self.phones, phone, now) & ~self.reach.hears_ground(self.phones, phone, now)
        stays &= self._hears_sky(phone, now)
        self._withdraw(in_beam[~stays])
        # Who stepped outside, or in again.
        inside = in_beam[stays][~self.phones.outdoors(phone[stays], now)]
        self._indoors = set(inside.tolist())
        self._indoors_of = np.bincount(self.phones.cell[self.texts.phone[inside]], minlength=len(self._queues)).tolist()
        again, self._pending = np.concatenate([self._pending, in_beam[~stays]]), np.empty(0, dtype=np.int64)
        self._route(np.sort(again), now)
        self._write_over_ground(now)
        if minute % TOLD_EVERY == 0:
            self._tell(now, minute // TOLD_EVERY)

    def _end_minute(self) -> None:
        self.load.overflow += self._overflowing
        for queue in self._queues:
            self.load.pre_empted += len(queue.audit)
            queue.audit.clear()

    def _write_over_ground(self, now: float) -> None:
        """The coming minute's texts of phones that hear the ground network go at once; the others are routed when they are written."""
        last = int(np.searchsorted(self.texts.created_s[: self.texts.first_written], now + TICK_S, side="left"))
        fresh, self._first = np.arange(self._first, last), last
        self._begin_sos(fresh)
        hears = ~self.texts.cut_off[fresh]
        hears[hears] = self._over_ground(fresh[hears], now)
        self._coming = np.concatenate([self._coming, fresh[~hears]])

    def _written_until(self, now: float) -> NDArray[np.int64]:
        number = int(np.searchsorted(self.texts.created_s[self._coming], now, side="right"))
        written, self._coming = self._coming[:number], self._coming[number:]
        return written

    def _tell(self, now: float, row: int) -> None:
        rates = self.service.messages_per_s[min(int(now // DWELL_S), self.service.dwells - 1)]
        for cell, queue in enumerate(self._queues):
            queue.messages_per_s = float(rates[cell])
            told = queue.wait_s(Rank.ROUTINE, "")
            if told is not None:
                self.load.told_s[row, cell] = told

    def _withdraw(self, which: NDArray[np.int64]) -> None:
        for number in which.tolist():
            self._queues[self._leave(number)].remove(str(number))

    def _expire(self, now: float) -> None:
        in_beam = np.array(sorted(self._in_beam), dtype=np.int64)
        old = in_beam[self.texts.expires_s[in_beam] <= now]
        self._withdraw(old)
        late = self.texts.expires_s[self._pending] <= now
        gone = np.concatenate([old, self._pending[late]])
        self._pending = self._pending[~late]
        self.texts.step(gone, "expired")
        self.texts.done_s[gone] = now

    def _end_broadcasts(self, ended: Iterable[WarningDwell]) -> None:
        for each in ended:
            left = [self._queues[each.cell].remove(f"w{each.warning}.{part}") for part in range(each.messages)]
            if not any(left):
                self.carried.setdefault(each.warning, set()).add((each.dwell, each.cell))
