"""Floor control: examples, and Hypothesis against a model that is simple enough to be seen to be right."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tramontana.phone.floor import MAX_QUEUED, TALK_BURST_S, TRANSITIONS, Event, FloorControl, Input, State, Told
from tramontana.precedence import Precedence

ROUTINE, PRIORITY, FLASH = Precedence.ROUTINE, Precedence.PRIORITY, Precedence.FLASH


def test_floor_goes_round_in_order() -> None:
    floor = FloorControl()
    assert floor.state is State.IDLE
    assert floor.request("a", ROUTINE, 0.0) == [Told("a", Event.GRANTED)]
    assert floor.request("b", ROUTINE, 1.0) == [Told("b", Event.QUEUED)]
    assert floor.request("c", ROUTINE, 2.0) == [Told("c", Event.QUEUED)]
    assert floor.request("b", ROUTINE, 3.0) == [Told("b", Event.QUEUED)]  # a repeat costs no place
    assert (floor.position("a"), floor.position("b"), floor.position("c")) == (None, 1, 2)
    assert floor.release("a", 4.0) == [Told("b", Event.GRANTED)]
    assert floor.release("a", 5.0) == []
    assert floor.release("b", 6.0) == [Told("c", Event.GRANTED)]
    assert floor.release("c", 7.0) == []
    assert floor.state is State.IDLE


def test_higher_precedence_takes_the_floor_and_goes_ahead_in_the_queue() -> None:
    floor = FloorControl()
    floor.request("a", ROUTINE, 0.0)
    floor.request("b", ROUTINE, 0.0)
    assert floor.request("c", PRIORITY, 1.0) == [Told("a", Event.REVOKED_PRECEDENCE), Told("c", Event.GRANTED)]
    assert floor.request("d", PRIORITY, 2.0) == [Told("d", Event.QUEUED)]
    assert floor.position("d") == 1
    assert floor.position("b") == 2
    # Who waits may raise his level, and so take the floor; who holds it may lower his, and so lose it.
    assert floor.request("b", FLASH, 3.0) == [Told("c", Event.REVOKED_PRECEDENCE), Told("b", Event.GRANTED)]
    assert floor.request("b", ROUTINE, 4.0) == [Told("b", Event.REVOKED_PRECEDENCE), Told("d", Event.GRANTED)]


def test_talk_burst_ends_and_cannot_be_made_longer_by_asking_again() -> None:
    floor = FloorControl()
    floor.request("a", ROUTINE, 10.0)
    floor.request("b", ROUTINE, 20.0)
    assert floor.request("a", ROUTINE, 60.0) == []
    assert floor.next_timer() == 10.0 + TALK_BURST_S
    assert floor.handle_timer(69.9) == []
    assert floor.handle_timer(70.0) == [Told("a", Event.REVOKED_TIME), Told("b", Event.GRANTED)]
    assert floor.next_timer() == 70.0 + TALK_BURST_S
    assert floor.handle_timer(130.0) == [Told("b", Event.REVOKED_TIME)]
    assert floor.next_timer() is None


def test_full_queue_denies_its_own_level_and_makes_room_for_a_higher_one() -> None:
    floor = FloorControl(max_queued=2)
    for name in "abc":
        floor.request(name, FLASH if name == "a" else ROUTINE, 0.0)
    assert floor.request("d", ROUTINE, 1.0) == [Told("d", Event.DENIED)]
    assert floor.request("e", PRIORITY, 2.0) == [Told("c", Event.DENIED), Told("e", Event.QUEUED)]
    assert [floor.position(name) for name in "bcde"] == [2, None, None, 1]
    assert MAX_QUEUED >= 2


def test_table_names_every_state_and_input() -> None:
    assert set(TRANSITIONS) == {(state, happened) for state in State for happened in Input}


@dataclass
class Wish:
    """One who wants the floor: since which step, at which level."""

    name: str
    level: Precedence
    since: int


class AgainstTheModel(RuleBasedStateMachine):
    """The model: a heap of wishes. The floor belongs to whom it was given, until he gives it back, his time is over, or a wish of a
    higher level is there; then to the oldest wish of the highest level."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.step = 0
        self.floor = FloorControl(max_queued=4)
        self.held: tuple[str, Precedence, float] | None = None
        self.wishes: list[Wish] = []
        self.granted_order: list[str] = []

    def _settle(self) -> None:
        best = min(self.wishes, key=lambda wish: (-wish.level, wish.since), default=None)
        if best is not None and (self.held is None or best.level > self.held[1]):
            self.wishes.remove(best)
            self.held = (best.name, best.level, self.now + TALK_BURST_S)

    def _check_told(self, told: list[Told], held_before: tuple[str, Precedence, float] | None) -> None:
        granted = [each.participant for each in told if each.event is Event.GRANTED]
        moved = self.held is not None and (held_before is None or held_before[0] != self.held[0] or held_before[2] != self.held[2])
        assert granted == ([self.held[0]] if moved and self.held else [])
        revoked = [each.participant for each in told if each.event in (Event.REVOKED_PRECEDENCE, Event.REVOKED_TIME)]
        assert len(revoked) <= 1
        assert all(held_before is not None and name == held_before[0] for name in revoked)

    @rule(name=st.sampled_from("abcdefg"), level=st.sampled_from(list(Precedence)))
    def request(self, name: str, level: Precedence) -> None:
        self.step += 1
        before = self.held
        told = self.floor.request(name, level, self.now)
        if self.held is not None and self.held[0] == name:
            self.held = (name, level, self.held[2])
        elif not any(wish.name == name and wish.level == level for wish in self.wishes):
            self.wishes = [wish for wish in self.wishes if wish.name != name]
            self.wishes.append(Wish(name, level, self.step))
        self._settle()
        while len(self.wishes) > 4:
            self.wishes.remove(max(self.wishes, key=lambda wish: (-wish.level, wish.since)))
        self._check_told(told, before)

    @rule(name=st.sampled_from("abcdefg"))
    def release(self, name: str) -> None:
        before = self.held
        told = self.floor.release(name, self.now)
        self.wishes = [wish for wish in self.wishes if wish.name != name]
        if self.held is not None and self.held[0] == name:
            self.held = None
        self._settle()
        self._check_told(told, before)

    @rule(passes=st.sampled_from([0.5, 10.0, 59.5, 60.0]))
    def time_passes(self, passes: float) -> None:
        self.now += passes
        before = self.held
        told = self.floor.handle_timer(self.now)
        if self.held is not None and self.held[2] <= self.now:
            self.held = None
        self._settle()
        self._check_told(told, before)

    @invariant()
    def same_holder_and_same_queue(self) -> None:
        holder = self.floor.holder
        assert (holder.participant, holder.precedence, holder.until) == self.held if holder else self.held is None
        ordered = sorted(self.wishes, key=lambda wish: (-wish.level, wish.since))
        assert [self.floor.position(wish.name) for wish in ordered] == list(range(1, len(ordered) + 1))
        assert self.floor.queue == tuple(wish.name for wish in ordered)
        assert holder is None or self.floor.position(holder.participant) is None
        assert holder is not None or not ordered  # the floor is never idle while somebody waits


AgainstTheModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestAgainstTheModel = AgainstTheModel.TestCase


@pytest.mark.parametrize("crowd", [5, 40])
def test_nobody_starves_within_his_level(crowd: int) -> None:
    """Everybody always wants the floor again: each still gets it once in a round."""
    floor, now, order = FloorControl(), 0.0, []
    names = [str(number) for number in range(crowd)]
    for name in names:
        floor.request(name, ROUTINE, now)
    for _ in range(3 * crowd):
        assert floor.holder is not None
        order.append(floor.holder.participant)
        now = floor.holder.until
        floor.handle_timer(now)
        floor.request(order[-1], ROUTINE, now)
    assert order == names * 3
