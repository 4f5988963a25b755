"""Beam time: order of precedence in every beam, the share of SOS, fairness, ageing, back-pressure, audit; and the capacity behind it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.cell.beam_capacity import NotServed, beam_capacity, slant_range_km
from tramontana.cell.beam_time import AGED_EVERY_S, AGEING_S, HIGHEST_BY_AGE, SOS_SHARE, BeamQueue, BeamTime, Item, Rank

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(list(Rank)), st.integers(0, 4), st.integers(1, 3)),
        st.tuples(st.just("take"), st.integers(1, 6)),
        st.tuples(st.just("wait"), st.floats(0, 3 * AGEING_S, allow_nan=False)),
        st.tuples(st.just("remove"), st.integers(0, 200)),
    ),
    max_size=80,
)


@settings(max_examples=250, deadline=None)
@given(EVENTS)
def test_order_share_and_completeness_against_a_plain_list(events: list[tuple[object, ...]]) -> None:
    """The model is a list of what waits. Nothing vanishes, nothing comes twice, the order of the ranks holds, SOS gets its share."""
    queue, waiting, now, count = BeamQueue(1e9), dict[str, Item](), 0.0, 0
    under_sos = sos_given = 0
    aged_at = -AGED_EVERY_S
    for event in events:
        if event[0] == "put":
            _, rank, phone, parts = event
            assert isinstance(rank, Rank)
            for _ in range(int(str(parts))):
                count += 1
                item = Item(str(count), rank, f"phone {phone}", now, f"text {count}")
                queue.put(item)
                waiting[item.key] = item
        elif event[0] == "wait":
            now += float(str(event[1]))
        elif event[0] == "remove":
            assert queue.remove(str(event[1])) == (str(event[1]) in waiting)
            waiting.pop(str(event[1]), None)
        else:
            for _ in range(int(str(event[1]))):
                sos_waits = any(item.rank is Rank.SOS for item in waiting.values())
                under_sos, sos_given = (under_sos + 1, sos_given) if sos_waits else (0, 0)
                taken = queue.take(now, 1)
                aged_at = now if now - aged_at >= AGED_EVERY_S else aged_at
                assert bool(taken) == bool(waiting)
                for item in taken:
                    assert waiting.pop(item.key) == item
                    sos_given += item.rank is Rank.SOS
                    check_rank(item, list(waiting.values()), aged_at)
                    own = [other for other in waiting.values() if other.phone == item.phone and other.rank is item.rank]
                    assert all(int(other.key) > int(item.key) for other in own)  # a phone's texts keep their order
                assert sos_given >= int(under_sos * SOS_SHARE + 1e-9)
        assert len(queue) == len(waiting)


def effective(item: Item, now: float) -> int:
    if item.rank >= HIGHEST_BY_AGE:
        return int(item.rank)
    return min(int(HIGHEST_BY_AGE), int(item.rank) + int(max(0.0, now - item.queued_at) / AGEING_S))


def check_rank(item: Item, others: list[Item], now: float) -> None:
    above = [other for other in others if effective(other, now) > effective(item, now)]
    if item.rank is Rank.SOS:  # may go before a warning: its share
        above = [other for other in above if other.rank is not Rank.WARNING]
    first_of_phone: dict[tuple[str, Rank], Item] = {}
    for other in sorted(others, key=lambda each: int(each.key)):
        first_of_phone.setdefault((other.phone, other.rank), other)
    # One behind an earlier text of the same phone rises only after it, so that a phone's texts keep their order.
    assert not [other for other in above if first_of_phone[other.phone, other.rank] is other]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.05, 0.9))
def test_sos_gets_its_share_under_an_endless_flood_of_warnings(warnings: int, sos: int, share: float) -> None:
    queue = BeamQueue(1e9, sos_share=share)
    for number in range(warnings * 50):
        queue.put(Item(f"w{number}", Rank.WARNING, f"{number}", 0.0))
    for number in range(sos):
        queue.put(Item(f"s{number}", Rank.SOS, f"{number}", 0.0))
    given_sos = 0
    for count in range(1, warnings * 50 + 1):
        (item,) = queue.take(0.0, 1)
        given_sos += item.rank is Rank.SOS
        assert given_sos >= min(sos, int(count * share - 1e-6))
        if given_sos < sos:
            assert given_sos <= count * share + 1  # and no more than its share: warnings stay first


def test_phones_take_turns() -> None:
    queue = BeamQueue(1e9)
    for number in range(50):
        queue.put(Item(f"a{number}", Rank.ROUTINE, "a", 0.0))
    queue.put(Item("b0", Rank.ROUTINE, "b", 0.0))
    assert [item.key for item in queue.take(0.0, 3)] == ["a0", "b0", "a1"]


def test_what_waits_rises_but_never_to_flash() -> None:
    queue = BeamQueue(1e9)
    queue.put(Item("old", Rank.ROUTINE, "a", 0.0))
    queue.put(Item("new", Rank.PRIORITY, "b", 2.5 * AGEING_S))
    queue.put(Item("flash", Rank.FLASH, "c", 90 * AGEING_S))
    assert [item.key for item in queue.take(2.5 * AGEING_S, 9)] == ["flash", "old", "new"]
    queue.put(Item("ancient", Rank.ROUTINE, "a", 0.0))
    queue.put(Item("flash", Rank.FLASH, "c", 90 * AGEING_S))
    assert [item.key for item in queue.take(90 * AGEING_S, 2)] == ["flash", "ancient"]


def test_ageing_looks_only_at_what_has_waited_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    risen = BeamQueue._risen

    def counting(queue: BeamQueue, item: Item, now: float) -> Rank:
        nonlocal looked
        looked += 1
        return risen(queue, item, now)

    monkeypatch.setattr(BeamQueue, "_risen", counting)
    queue = BeamQueue(1e9)
    for number in range(500):
        queue.put(Item(f"{number}", Rank.ROUTINE, f"{number}", 0.0))
    for step in range(200):
        assert len(queue.take(step * AGED_EVERY_S / 2, 1)) == 1
    assert looked == 0
    queue.take(AGEING_S, 1)
    assert looked == 300  # what is gone is not looked at
    queue.take(1.5 * AGEING_S, 1)
    assert looked == 300
    queue.take(2 * AGEING_S, 1)
    assert looked == 598
    queue.take(9 * AGEING_S, 1)
    assert looked == 598  # none rises higher


def test_a_text_is_interrupted_between_its_parts_and_that_is_recorded() -> None:
    queue = BeamQueue(1e9)
    for part in range(3):
        queue.put(Item(f"long{part}", Rank.ROUTINE, "a", 0.0, "long"))
    assert [item.key for item in queue.take(0.0, 1)] == ["long0"]
    queue.put(Item("help", Rank.SOS, "b", 0.0, "help"))
    assert [item.key for item in queue.take(0.0, 9)] == ["help", "long1", "long2"]
    (event,) = queue.audit
    assert (event.text, event.by, event.by_rank) == ("long", "help", Rank.SOS)


def test_a_beam_carries_what_it_carries() -> None:
    queue = BeamQueue(2.0)
    for number in range(20):
        queue.put(Item(f"{number}", Rank.ROUTINE, "a", 0.0))
    assert len(queue.take(0.0, 99)) == 2
    assert queue.next_at(0.0) == 0.5
    assert len(queue.take(0.5, 99)) == 1
    assert len(queue.take(3600.0, 99)) == 2  # no hour's burst after an hour's silence
    queue.messages_per_s = 0.0
    assert queue.take(9999.0, 99) == []
    assert queue.next_at(9999.0) is None
    assert queue.wait_s(Rank.SOS, "x") is None
    assert queue.wait_of("gone") is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(list(Rank)), st.integers(0, 5)), max_size=60), st.sampled_from(list(Rank)), st.integers(0, 5))
def test_the_wait_that_senders_are_told_is_about_right(before: list[tuple[Rank, int]], rank: Rank, phone: int) -> None:
    queue = BeamQueue(2.0, ageing_s=1e9)
    for number, (other, whose) in enumerate(before):
        queue.put(Item(f"{number}", other, f"{whose}", 0.0))
    told = queue.wait_s(rank, f"{phone}")
    assert told is not None
    queue.put(Item("mine", rank, f"{phone}", 0.0))
    assert queue.wait_of("mine") == told
    now = 0.0
    while "mine" not in [item.key for item in queue.take(now, 1)]:
        now += 0.5
    assert abs(now - told) <= 0.5 + 0.35 * now + 2.0


def test_beams_do_not_wait_for_each_other() -> None:
    beams = BeamTime(10.0)
    for number in range(30):
        beams.beam("full").put(Item(f"f{number}", Rank.ROUTINE, "a", 0.0))
    beams.beam("dark").messages_per_s = 0.0
    beams.beam("dark").put(Item("d", Rank.WARNING, "a", 0.0))
    beams.beam("free").put(Item("x", Rank.ROUTINE, "b", 0.0))
    assert sorted(item.key for item in beams.take(0.0, 5)[:2]) == ["f0", "x"]
    assert len(beams) == 27


def test_capacity_follows_the_link_budget() -> None:
    assert round(slant_range_km(30, 525)) == 951
    outside = [beam_capacity(elevation, bandwidth="5 MHz", indoors=False) for elevation in (30, 50, 90)]
    assert [round(each.snr_db, 1) for each in outside] == [-4.6, -0.5, 2.6]
    assert round(outside[1].messages_per_s, 6) == 100
    assert outside[0].messages_per_s < 50 < 100 < outside[2].messages_per_s < 200
    assert beam_capacity(90, bandwidth="5 MHz", indoors=True).messages_per_s == 0
    assert beam_capacity(50, altitude_km=360, bandwidth="1.4 MHz", indoors=False).messages_per_s > 20
    with pytest.raises(NotServed, match="30°"):
        beam_capacity(12, bandwidth="5 MHz", indoors=False)
