"""Admission by precedence, against a reference that tries every choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tramontana.phone.admission import SILENT_S, WAIT_S, Admission, Admitted, Call, Queued, Refused, Room, shrink
from tramontana.precedence import Precedence

ROUTINE, PRIORITY, IMMEDIATE, FLASH, OVERRIDE = Precedence
UNIT = 85_000.0


def call(name: str, level: Precedence, began_at: float = 0.0, *rooms: str, units: int = 1) -> Call:
    return Call(name, level, began_at, dict.fromkeys(rooms or ("ship",), units * UNIT))


def room(units: float, reserved: float = 0) -> Room:
    return Room(units * UNIT, reserved * UNIT)


def ids(calls: Iterable[Call]) -> list[str]:
    return sorted(each.call_id for each in calls)


def preempted(decision: object) -> list[str]:
    assert isinstance(decision, Admitted)
    return ids(decision.preempted)


# What a person may rely on, in words


def test_what_is_free_is_given_to_anybody() -> None:
    assert Admission().ask(call("a", ROUTINE), [], {"ship": room(1)}, 0.0) == Admitted((), None)


def test_without_room_a_routine_call_is_refused_and_says_where() -> None:
    decision = Admission().ask(
        call("b", ROUTINE, 0, "ship", "rome"), [call("a", ROUTINE, 0, "rome")], {"ship": room(9), "rome": room(1)}, 0.0
    )
    assert decision == Refused("rome")


def test_a_higher_call_ends_a_lower_one_and_never_an_equal_one() -> None:
    for higher in (PRIORITY, IMMEDIATE, FLASH, OVERRIDE):
        lower = Precedence(higher - 1)
        assert preempted(Admission().ask(call("new", higher), [call("old", lower)], {"ship": room(1)}, 0.0)) == ["old"]
        assert isinstance(Admission().ask(call("new", higher), [call("old", higher)], {"ship": room(1)}, 0.0), Queued)


def test_the_lowest_then_the_fewest_then_the_youngest_end() -> None:
    rooms = {"ship": room(3), "rome": room(9)}
    mixed = [call("priority", PRIORITY, 9.0), call("old", ROUTINE, 1.0), call("young", ROUTINE, 5.0)]
    assert preempted(Admission().ask(call("new", FLASH), mixed, rooms, 9.0)) == ["young"]
    # One call that stands in both ways ends rather than two that stand in one each.
    rooms = {"ship": room(2), "rome": room(2)}
    crossing = [call("both", ROUTINE, 1.0, "ship", "rome"), call("ship", ROUTINE, 8.0, "ship"), call("rome", ROUTINE, 9.0, "rome")]
    assert preempted(Admission().ask(call("new", FLASH, 9.0, "ship", "rome"), crossing, rooms, 9.0)) == ["both"]
    # Two routine calls end rather than one of a higher level.
    rooms = {"ship": room(2)}
    two = [call("priority", PRIORITY, 1.0, units=2)]
    assert preempted(Admission().ask(call("new", FLASH, units=2), two, rooms, 9.0)) == ["priority"]
    rooms = {"ship": room(4)}
    three = [*two, call("a", ROUTINE, 1.0), call("b", ROUTINE, 2.0)]
    assert preempted(Admission().ask(call("new", FLASH, units=2), three, rooms, 9.0)) == ["a", "b"]


def test_what_can_never_fit_ends_nobody() -> None:
    decision = Admission().ask(call("new", ROUTINE, units=3), [call("old", ROUTINE)], {"ship": room(2)}, 0.0)
    assert decision == Refused("ship")
    assert isinstance(Admission().ask(call("new", OVERRIDE, units=3), [call("old", ROUTINE)], {"ship": room(2)}, 0.0), Queued)


def test_the_reserve_is_for_flash_and_above() -> None:
    rooms, held = {"ship": room(3, reserved=1)}, [call("a", ROUTINE, 1.0), call("b", IMMEDIATE, 2.0)]
    assert Admission().ask(call("new", ROUTINE), held, rooms, 0.0) == Refused("ship")
    assert preempted(Admission().ask(call("new", IMMEDIATE), held, rooms, 0.0)) == ["a"]
    assert Admission().ask(call("new", FLASH), held, rooms, 0.0) == Admitted((), None)
    # A shrinking left routine calls in the reserve: a new call makes room for itself and for nobody else.
    over = [call("a", ROUTINE, 1.0), call("b", ROUTINE, 2.0), call("c", ROUTINE, 3.0)]
    assert preempted(Admission().ask(call("new", IMMEDIATE), over, rooms, 0.0)) == ["c"]


def test_a_call_of_unlimited_rooms_is_never_refused() -> None:
    assert Admission().ask(call("a", ROUTINE, 0, "unknown"), [call("b", FLASH, 0, "unknown")], {}, 0.0) == Admitted((), None)


def test_waiting_calls_are_served_by_level_then_by_age_and_only_while_they_ask() -> None:
    admission, full, rooms = Admission(), [call("held", FLASH)], {"ship": room(1)}
    assert admission.ask(call("first", PRIORITY), full, rooms, 0.0) == Queued("ship", 0, WAIT_S[PRIORITY])
    assert admission.ask(call("second", PRIORITY), full, rooms, 1.0) == Queued("ship", 1, 1.0 + WAIT_S[PRIORITY])
    assert admission.ask(call("higher", IMMEDIATE), full, rooms, 2.0) == Queued("ship", 0, 2.0 + WAIT_S[IMMEDIATE])
    # Room comes free: whoever asks first still waits for those ahead; a routine call does not slip in.
    assert isinstance(admission.ask(call("second", PRIORITY), [], rooms, 3.0), Queued)
    assert admission.ask(call("slips", ROUTINE), [], rooms, 3.0) == Refused("ship")
    assert admission.ask(call("higher", IMMEDIATE), [], rooms, 3.0) == Admitted((), None)
    admission.withdraw("first")
    assert admission.ask(call("second", PRIORITY), [], rooms, 4.0) == Admitted((), None)
    # Elsewhere nobody has to wait for them.
    assert admission.ask(call("third", PRIORITY), full, rooms, 5.0).__class__ is Queued
    assert admission.ask(call("aside", ROUTINE, 0, "rome"), full, rooms, 5.0) == Admitted((), None)
    # One that no longer asks is forgotten.
    assert admission.ask(call("late", ROUTINE), [], rooms, 5.1 + SILENT_S) == Admitted((), None)


def test_a_wait_ends_with_a_refusal() -> None:
    admission, full, rooms = Admission(), [call("held", FLASH)], {"ship": room(1)}
    for second in range(int(WAIT_S[IMMEDIATE])):
        assert isinstance(admission.ask(call("new", IMMEDIATE), full, rooms, float(second)), Queued)
    assert admission.ask(call("new", IMMEDIATE), full, rooms, WAIT_S[IMMEDIATE]) == Refused("ship")


def test_a_call_in_progress_that_asks_anew_is_not_in_its_own_way() -> None:
    known = call("a", ROUTINE, 0.0)
    assert Admission().ask(known, [known], {"ship": room(1)}, 5.0) == Admitted((), None)


def test_shrinking_ends_the_lowest_and_youngest_and_no_more() -> None:
    held = [call("flash", FLASH, 9.0), call("old", ROUTINE, 1.0), call("young", ROUTINE, 5.0), call("elsewhere", ROUTINE, 9.0, "rome")]
    assert shrink(held, {"ship": room(3), "rome": room(1)}) == ()
    assert ids(shrink(held, {"ship": room(2.9), "rome": room(1)})) == ["young"]
    assert ids(shrink(held, {"ship": room(1), "rome": room(1)})) == ["old", "young"]
    assert ids(shrink(held, {"ship": room(0)})) == ["flash", "old", "young"]
    assert shrink(held, {"ship": room(3, reserved=3)}) == (), "a reserve that flash does not use ends nobody"


# Against a reference that tries every choice

NAMES = ("ship", "rome", "relay")


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Call, list[Call], dict[str, Room]]:
    def some_call(name: str) -> Call:
        cost = draw(st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2), min_size=1))
        began = float(draw(st.integers(0, 3)))
        return Call(name, draw(st.sampled_from(Precedence)), began, {where: units * UNIT for where, units in cost.items()})

    held = [some_call(str(number)) for number in range(draw(st.integers(0, 7)))]
    rooms = {name: room(draw(st.integers(0, 6)), draw(st.integers(0, 2))) for name in NAMES}
    return some_call("new"), held, rooms


def fits(new: Call, others: Iterable[Call], rooms: Mapping[str, Room], before: Iterable[Call] = ()) -> bool:
    """Whether a call fits beside others. What the calls `before` it held of the reserve is not for it to give back."""
    others, before = list(others), list(before)
    for name, cost in new.cost_bps.items():
        total = cost + sum(other.cost_bps.get(name, 0.0) for other in others)
        below = cost + sum(other.cost_bps.get(name, 0.0) for other in others if other.precedence < FLASH)
        held = sum(other.cost_bps.get(name, 0.0) for other in before if other.precedence < FLASH)
        if total > rooms[name].capacity_bps:
            return False
        if new.precedence < FLASH and below > max(held, rooms[name].capacity_bps - rooms[name].reserved_bps):
            return False
    return True


def harm(ended: Iterable[Call]) -> tuple[int, ...]:
    levels = [each.precedence for each in ended]
    return tuple(levels.count(level) for level in reversed(Precedence))


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_the_choice_is_the_best_of_all(world: tuple[Call, list[Call], dict[str, Room]]) -> None:
    new, held, rooms = world
    # A state that admission itself can have led to: nothing over its capacity, the reserve untouched.
    ended = {each.call_id for each in shrink(held, {name: Room(r.capacity_bps - r.reserved_bps) for name, r in rooms.items()})}
    held = [each for each in held if each.call_id not in ended]
    decision = Admission().ask(new, held, rooms, 0.0)
    lower = [each for each in held if each.precedence < new.precedence]
    choices = [
        chosen
        for size in range(len(lower) + 1)
        for chosen in combinations(lower, size)
        if fits(new, [each for each in held if each not in chosen], rooms)
    ]
    if not choices:
        assert isinstance(decision, Queued if WAIT_S[new.precedence] else Refused)
        return
    assert isinstance(decision, Admitted)
    assert all(each.precedence < new.precedence for each in decision.preempted)
    assert fits(new, [each for each in held if each not in decision.preempted], rooms)
    best = min(harm(chosen) for chosen in choices)
    assert harm(decision.preempted) == best
    youngest = min(sorted(-each.began_at for each in chosen) for chosen in choices if harm(chosen) == best)
    assert sorted(-each.began_at for each in decision.preempted) == youngest
    assert (decision.room is None) == (not decision.preempted)


class Exchange(RuleBasedStateMachine):
    """Calls come, go, wait and lose their path. The reference keeps nothing but the list of calls in progress."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission()
        self.rooms = {name: room(3, 1) for name in NAMES}
        self.held: list[Call] = []
        self.asking: dict[str, tuple[Call, float]] = {}
        self.now = 0.0
        self.number = 0

    def _ask(self, new: Call, since: float) -> None:
        decision = self.admission.ask(new, self.held, self.rooms, self.now)
        self.asking.pop(new.call_id, None)
        if isinstance(decision, Admitted):
            assert all(each in self.held and each.precedence < new.precedence for each in decision.preempted)
            before = self.held
            for each in decision.preempted:  # each of them was needed
                assert not fits(new, [other for other in before if other not in decision.preempted or other is each], self.rooms, before)
            self.held = [each for each in before if each not in decision.preempted]
            assert fits(new, self.held, self.rooms, before), "over-committed"
            self.held.append(Call(new.call_id, new.precedence, self.now, new.cost_bps))
            for other, since_other in self.asking.values():
                overtaken = (-other.precedence, since_other) < (-new.precedence, since) and not other.cost_bps.keys().isdisjoint(
                    new.cost_bps
                )
                assert not overtaken, "a waiting call was overtaken"
        elif isinstance(decision, Queued):
            assert self.now < decision.until == since + WAIT_S[new.precedence]
            self.asking[new.call_id] = (new, since)
        else:
            assert decision.room in new.cost_bps
            if new.precedence >= FLASH and all(cost <= self.rooms[name].capacity_bps for name, cost in new.cost_bps.items()):
                # Nothing below keeps a flash call out: only its equals, and those above, can.
                equals = [each for each in self.held if each.precedence >= new.precedence]
                ahead = [each for each, _ in self.asking.values() if each.precedence >= new.precedence]
                assert ahead or not fits(new, equals, self.rooms)

    @rule(level=st.sampled_from(Precedence), where=st.sets(st.sampled_from(NAMES), min_size=1), units=st.integers(1, 2))
    def arrives(self, level: Precedence, where: set[str], units: int) -> None:
        self.number += 1
        self._ask(Call(f"call {self.number}", level, self.now, dict.fromkeys(sorted(where), units * UNIT)), self.now)

    @rule(choice=st.integers(0, 20))
    def asks_again(self, choice: int) -> None:
        if self.asking:
            new, since = list(self.asking.values())[choice % len(self.asking)]
            self._ask(new, since)

    @rule(choice=st.integers(0, 20))
    def ends(self, choice: int) -> None:
        if self.held:
            del self.held[choice % len(self.held)]

    @rule(seconds=st.sampled_from([1.0, 4.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for name, (new, since) in list(self.asking.items()):  # phones ask every few seconds, until they are told no
            if self.now >= since + WAIT_S[new.precedence]:
                self._ask(new, since)
                self.asking.pop(name, None)
            else:
                self._ask(new, since)

    @rule(name=st.sampled_from(NAMES), units=st.integers(0, 4), reserved=st.integers(0, 2))
    def path_changes(self, name: str, units: int, reserved: int) -> None:
        self.rooms[name] = room(units, min(units, reserved))
        ending = shrink(self.held, self.rooms)
        kept = [each for each in self.held if each not in ending]
        for each in ending:  # it does not fit beside those that come before it
            before = [other for other in kept if (-other.precedence, other.began_at) <= (-each.precedence, each.began_at)]
            assert any(
                cost + sum(other.cost_bps.get(where, 0.0) for other in before) > self.rooms[where].capacity_bps
                for where, cost in each.cost_bps.items()
            )
        self.held = kept

    @invariant()
    def nothing_is_over_committed(self) -> None:
        for name, each in self.rooms.items():
            assert sum(held.cost_bps.get(name, 0.0) for held in self.held) <= each.capacity_bps


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
