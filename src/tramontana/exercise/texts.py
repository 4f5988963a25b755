"""The texts of a world as arrays, one entry a text: who wrote it when, with what precedence, and what became of it.

What can become of a text is the table of `cell.forwarding`, and nothing here changes a state but by it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from tramontana.cell import forwarding
from tramontana.cell.area import Floats
from tramontana.cell.beam_time import Rank
from tramontana.exercise.phones import Phones, Reach
from tramontana.exercise.terrestrial import effects_of
from tramontana.exercise.world import World

WRITTEN = 6
STATES: tuple[forwarding.State, ...] = get_args(forwarding.State)
CODE: dict[forwarding.State, int] = {state: code for code, state in enumerate(STATES)}
QUEUED = CODE["queued"]


class Kind(IntEnum):
    """Who writes."""

    PUBLIC = 0
    OFFICIAL = 1
    SOS = 2
    """From somebody in need to the control room."""
    ANSWER = 3
    """From the control room to somebody in need."""


class Way(IntEnum):
    """Which network carried it."""

    NONE = 0
    GROUND = 1
    SATELLITE = 2


class Texts:
    """Grows: answers and repeats are written while the world is played. Arrays are as long as there is room; `count` are used."""

    def __init__(self, created_s: Floats, phone: NDArray[np.int64], rank: NDArray[np.int8], kind: NDArray[np.int8], valid_s: float) -> None:
        order = np.argsort(created_s, kind="stable")
        self.count = int(order.size)
        self.first_written = self.count
        """So many were written before the world began to be played; what follows are dialogues."""
        self.created_s = np.asarray(created_s[order], dtype=np.float64)
        self.phone = np.asarray(phone[order], dtype=np.int64)
        self.rank = np.asarray(rank[order], dtype=np.int8)
        self.kind = np.asarray(kind[order], dtype=np.int8)
        self.expires_s = self.created_s + valid_s
        self.state = np.full(self.count, QUEUED, dtype=np.int8)
        self.done_s = np.full(self.count, np.inf)
        self.way = np.zeros(self.count, dtype=np.int8)
        self.cut_off = np.zeros(self.count, dtype=np.bool_)
        """Whether its phone heard no ground network when it was written."""
        self.body: dict[int, str] = {}
        self._valid_s = valid_s

    def __len__(self) -> int:
        return self.count

    def add(self, created_s: float, phone: int, rank: Rank, kind: Kind, body: str, *, cut_off: bool) -> int:
        """A further text; its number."""
        if self.count == self.created_s.shape[0]:
            self._grow()
        number = self.count
        self.count += 1
        self.created_s[number], self.phone[number], self.rank[number], self.kind[number] = created_s, phone, rank, kind
        self.expires_s[number] = created_s + self._valid_s
        self.state[number], self.done_s[number], self.way[number] = QUEUED, np.inf, Way.NONE
        self.cut_off[number] = cut_off
        self.body[number] = body
        return number

    def _grow(self) -> None:
        for name in ("created_s", "phone", "rank", "kind", "expires_s", "state", "done_s", "way", "cut_off"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.empty(max(1024, array.shape[0] // 4), dtype=array.dtype)]))

    def step(self, which: NDArray[np.int64], *happenings: forwarding.Happening) -> None:
        """What happens to texts, one thing after the other. A step that the table does not have is our own fault."""
        for happening in happenings:
            before = np.unique(self.state[which])
            after = np.full(len(STATES), -1, dtype=np.int8)
            for code in before.tolist():
                state = forwarding.after(STATES[code], happening)
                if state is None:
                    raise AssertionError(f"a text that is {STATES[code]} cannot be {happening}")
                after[code] = CODE[state]
            self.state[which] = after[self.state[which]]

    def step_one(self, number: int, happening: forwarding.Happening) -> None:
        """The same for one text."""
        state = forwarding.after(STATES[self.state[number]], happening)
        if state is None:
            raise AssertionError(f"a text that is {STATES[self.state[number]]} cannot be {happening}")
        self.state[number] = CODE[state]

    def deliver(self, which: NDArray[np.int64], at_s: Floats, way: Way) -> None:
        self.step(which, "taken", "answered", "receipt delivered")
        self.done_s[which] = at_s
        self.way[which] = way

    def counts(self) -> dict[forwarding.State, int]:
        """How many are in each state."""
        found = np.bincount(self.state[: self.count], minlength=len(STATES))
        return {state: int(found[code]) for code, state in enumerate(STATES)}


def write(world: World, phones: Phones, reach: Reach, seed: int) -> Texts:
    """What people write of themselves. A phone that is off writes nothing."""
    random = np.random.default_rng([seed, WRITTEN])
    figures = world.figures
    of: list[tuple[Floats, NDArray[np.int64], NDArray[np.int8], Kind]] = []
    everybody = np.arange(len(phones))
    effects = [effects_of(blow, world.places) for blow in world.blows]
    public = phones.official < 0
    for number, blow in enumerate(world.blows):
        begin = blow.at_min * 60.0
        felt = np.array([effect is not None and effect.felt for effect in effects[number]])
        # Until the next blow that is felt there, when it begins again.
        end = np.full(len(world.places), world.seconds)
        for later in range(number + 1, len(world.blows)):
            again = np.array([effect is not None and effect.felt for effect in effects[later]])
            end[again] = np.minimum(end[again], world.blows[later].at_min * 60.0)
        halving = figures.texts_fall_by_half_h.value * 3600.0
        part = 1.0 - 2.0 ** (-np.maximum(end - begin, 0.0) / halving)
        mean = np.where(felt, figures.texts_per_phone_h.value / 3600.0 * halving / np.log(2.0) * part, 0.0)
        many = random.poisson(mean[phones.place] * public)
        who = np.repeat(everybody, many)
        share = random.random(who.shape[0])
        at = begin - halving * np.log2(1.0 - share * part[phones.place[who]])
        of.append((at, who, np.full(who.shape, Rank.ROUTINE, dtype=np.int8), Kind.PUBLIC))
    officials = np.flatnonzero(~public)
    who = np.repeat(officials, random.poisson(figures.official_texts_h.value * world.head.hours, officials.shape[0]))
    of.append((random.uniform(0.0, world.seconds, who.shape[0]), who, phones.official[who], Kind.OFFICIAL))
    for number, blow in enumerate(world.blows):
        need = np.array([effect.sos if effect else 0.0 for effect in effects[number]])
        who = np.flatnonzero(random.random(len(phones)) < need[phones.place])
        at = blow.at_min * 60.0 + random.exponential(figures.sos_after_min.value * 60.0, who.shape[0])
        of.append((at, who, np.full(who.shape, Rank.SOS, dtype=np.int8), Kind.SOS))
    at = np.concatenate([each[0] for each in of])
    who = np.concatenate([each[1] for each in of])
    rank = np.concatenate([each[2] for each in of])
    kind = np.concatenate([np.full(each[0].shape, each[3], dtype=np.int8) for each in of])
    written = (at < world.seconds) & reach.on(phones, who, at)
    texts = Texts(at[written], who[written], rank[written], kind[written], figures.text_valid_h.value * 3600.0)
    texts.cut_off[:] = ~reach.hears_ground(phones, texts.phone, texts.created_s)
    return texts
