"""A world played: nothing is lost or counted twice, order and shares hold in every beam, more satellites never warn fewer."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exercise.small_world import no_table, small_text, small_world
from tramontana.cell.beam_capacity import beam_capacity
from tramontana.cell.beam_time import HIGHEST_BY_AGE, SOS_SHARE, BeamQueue, Item, Rank
from tramontana.exercise import satellites, terrestrial, timeline
from tramontana.exercise.payloads import FILED_2022, TODAY, Payload
from tramontana.exercise.results import TextRow, frames, results
from tramontana.exercise.satellites import Overhead
from tramontana.exercise.texts import CODE, Kind, Texts, Way
from tramontana.exercise.timeline import Ground, Run
from tramontana.exercise.traffic import Watch
from tramontana.exercise.world import WorldError, parse_world
from tramontana.space.parameters import Parameter

HOURS = 0.6


@cache
def overhead() -> Overhead:
    return satellites.of_design("starlink-direct-to-cell", small_world())


@cache
def ground(seed: int, lost: float = 0.9) -> Ground:
    return timeline.prepare(small_world(hours=HOURS, lost=lost), seed)


@cache
def played(seed: int, lost: float = 0.9, fleet: bool = True) -> Run:
    return timeline.run(ground(seed, lost), overhead() if fleet else None)


WORLDS = {"seed": st.integers(0, 2), "lost": st.sampled_from([0.9, 1.0]), "fleet": st.booleans()}


@settings(max_examples=12, deadline=None)
@given(**WORLDS)
def test_every_text_is_delivered_waits_expired_or_was_refused_and_never_twice(seed: int, lost: float, fleet: bool) -> None:
    run = played(seed, lost, fleet)
    counts = run.texts.counts()
    assert sum(counts.values()) == len(run.texts) > 0
    assert {state for state, count in counts.items() if count} <= {"queued", "delivered", "expired", "refused"}
    number = len(run.texts)
    delivered = run.texts.state[:number] == CODE["delivered"]
    assert np.array_equal(delivered, run.texts.way[:number] != Way.NONE)
    assert np.all(run.texts.done_s[:number][delivered] >= run.texts.created_s[:number][delivered])
    # What the beams carried is what was delivered over them, the warnings, and what had to go again: never less.
    over = int(np.count_nonzero(run.texts.way[:number] == Way.SATELLITE))
    carried = int(run.load.taken.sum() - run.load.taken[:, :, Rank.WARNING].sum())
    assert carried >= over
    if not fleet:
        assert (carried, over) == (0, 0)
    rows = results_of(seed, lost, fleet)
    for row in rows:
        assert row.delivered + row.waiting + row.expired + row.refused == row.written


def results_of(seed: int, lost: float, fleet: bool) -> tuple[TextRow, ...]:
    found = results(timeline.Played(ground(seed, lost), (played(seed, lost, fleet),)))
    return found.runs[0].texts


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2), lost=st.sampled_from([0.9, 1.0]))
def test_with_satellites_nobody_is_warned_later_and_no_fewer_texts_arrive(seed: int, lost: float) -> None:
    without, under = played(seed, lost, False), played(seed, lost, True)
    assert np.all(under.warned_s[0] <= without.warned_s[0])
    first = without.texts.first_written
    assert first == under.texts.first_written
    assert np.array_equal(without.texts.created_s[:first], under.texts.created_s[:first])
    arrived = [int(np.count_nonzero(run.texts.state[:first] == CODE["delivered"])) for run in (without, under)]
    assert arrived[0] <= arrived[1]
    assert len(without.help) <= len(under.help) <= under.asked_for_help == without.asked_for_help


def test_satellites_reach_those_whom_nobody_else_reaches() -> None:
    without, under = played(1, 1.0, False), played(1, 1.0, True)
    assert np.isfinite(without.warned_s[0]).mean() < np.isfinite(under.warned_s[0]).mean()
    assert len(under.help) > 2 * len(without.help)
    assert any(case is not None for case in (each.taken_s for each in under.help.values()))


@cache
def in_houses(payload: Payload) -> Run:
    """Nobody is outdoors, so satellites reach only who has a good place."""
    text = (
        small_text(hours=HOURS, lost=1.0, sos=0.3).replace("outdoors = 0.8", "outdoors = 0.0").replace("outdoors = 0.1", "outdoors = 0.0")
    )
    world = parse_world(text, no_table)
    figures = world.figures.with_values({"steps_outside": only(1e-9), "texts_per_phone_h": 4.0})
    return timeline.run(timeline.prepare(replace(world, figures=figures), 2), replace(overhead(), payload=payload))


def test_stronger_satellites_reach_more_people_indoors() -> None:
    today, filed = in_houses(TODAY), in_houses(FILED_2022)
    warned = [float(np.isfinite(run.warned_s[0]).mean()) for run in (today, filed)]
    assert warned[1] > warned[0] + 0.05
    over = [int(np.count_nonzero(run.texts.way[: len(run.texts)] == Way.SATELLITE)) for run in (today, filed)]
    assert over[1] > 2 * over[0] > 0
    shares = [results(timeline.Played(ground(2), (run,))).runs[0].load.indoors for run in (today, filed)]
    assert 0 < (shares[0] or 0) < (shares[1] or 0) < 0.5


def test_what_goes_indoors_keeps_a_beam_busy_for_longer() -> None:
    for run, factor in ((in_houses(FILED_2022), 3.0), (played(1, 1.0), 1.0)):
        texts = int(run.load.taken.sum() - run.load.taken[:, :, Rank.WARNING].sum())
        rate = float(run.service.messages_per_s[run.service.messages_per_s > 0].mean())
        assert run.load.busy_s.sum() > 0.8 * factor * texts / rate


def test_more_channels_are_more_beams_in_a_cell() -> None:
    world, cells = small_world(hours=HOURS), ground(1).phones.cells
    payloads = [replace(TODAY, channels=replace(TODAY.channels, value=value, high=5)) for value in (1, 5)]
    one, five = (satellites.Sky(replace(overhead(), payload=payload), cells, world.figures) for payload in payloads)
    few, many = one.service(world), five.service(world)
    lit = few.messages_per_s > 0
    assert np.array_equal(lit, many.messages_per_s > 0)
    assert float(many.messages_per_s[lit].mean()) > 2 * float(few.messages_per_s[lit].mean())
    highest = beam_capacity(90, altitude_km=350, bandwidth="5 MHz", indoors=False).messages_per_s
    assert np.all(many.messages_per_s <= 5 * highest)
    assert np.all(many.indoors >= few.indoors - 1e-6)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2), fleet=st.booleans())
def test_counts_of_the_warned_only_grow(seed: int, fleet: bool) -> None:
    whole = timeline.Played(ground(seed), (played(seed, fleet=fleet),))
    row = results(whole).runs[0].warnings[0]
    assert list(row.curve) == sorted(row.curve)
    assert row.curve[0] <= row.warned <= 1
    seen = frames(whole).warned[whole.runs[0].id]
    assert np.all(np.diff(seen, axis=0) >= 0)
    reached = [row.after_s[share] for share in ("50", "90", "99")]
    known = [each for each in reached if each is not None]
    assert known == sorted(known)
    assert reached[len(known) :] == [None] * (3 - len(known))


def test_the_same_seed_is_the_same_exercise_and_another_is_not() -> None:
    again = timeline.run(timeline.prepare(small_world(hours=HOURS), 2), overhead())
    once = played(2)
    assert again.texts.counts() == once.texts.counts()
    assert np.array_equal(again.warned_s[0], once.warned_s[0])
    assert np.array_equal(again.texts.done_s[: len(again.texts)], once.texts.done_s[: len(once.texts)])
    assert np.array_equal(again.load.taken, once.load.taken)
    assert not np.array_equal(played(1).texts.created_s[:50], once.texts.created_s[:50])


def crowded(watch: Watch | None = None) -> Run:
    """So little of a beam is free that it is full for minutes, and people in need write much."""
    world = small_world(hours=HOURS, lost=1.0, sos=0.3)
    figures = world.figures.with_values({"beam_free": only(0.004), "texts_per_phone_h": 4.0, "text_lost": 0.3})
    return timeline.run(timeline.prepare(replace(world, figures=figures), 2), overhead(), watch=watch)


def only(value: float) -> Parameter:
    return Parameter(value, 0.0, 1e6, "", "of a test")


def test_order_of_precedence_holds_in_every_beam_and_sos_has_its_share() -> None:
    full = 0
    since: dict[int, tuple[int, int]] = {}

    most = 0

    def watch(cell: int, now: float, queue: BeamQueue, sos: int, taken: list[Item]) -> None:
        nonlocal full, most
        most = max(most, len(queue) + len(taken))
        looked, helped = since.get(cell, (0, 0)) if sos else (0, 0)
        left = sos
        for item in taken:
            still = [rank for rank in Rank if rank > max(item.rank, HIGHEST_BY_AGE) and queue.waiting(rank)]
            # What waits now waited before: nothing was put in between. SOS may go before a warning, by its share.
            assert not still or (item.rank is Rank.SOS and still == [Rank.WARNING])
            if left:
                looked += 1
                helped += item.rank is Rank.SOS
                left -= item.rank is Rank.SOS
                assert helped >= int(looked * SOS_SHARE + 1e-9)
        since[cell] = (looked, helped) if queue.waiting(Rank.SOS) else (0, 0)
        full += len(queue) > 0

    run = crowded(watch)
    assert full > 100  # the beams were full often enough for all this to say something
    # What is reported is the most that ever waited, not what was left when a minute ended.
    assert run.load.waiting.max() == most > 50
    assert results(timeline.Played(ground(2), (run,))).runs[0].load.fullest_minute > 0.9
    number = len(run.texts)
    over = run.texts.way[:number] == Way.SATELLITE
    sos, public = (over[run.texts.kind[:number] == kind].mean() for kind in (Kind.SOS, Kind.PUBLIC))
    assert sos > 2 * public


def test_a_beam_that_is_too_full_refuses_routine_texts_and_nothing_else() -> None:
    world = small_world(hours=HOURS, lost=1.0, sos=0.3)
    figures = world.figures.with_values({"texts_per_phone_h": 4.0, "beam_free": only(0.0005), "queue_limit": only(20.0)})
    run = timeline.run(timeline.prepare(replace(world, figures=figures), 2), overhead())
    refused = run.texts.state[: len(run.texts)] == CODE["refused"]
    assert refused.any()
    assert set(run.texts.rank[: len(run.texts)][refused].tolist()) == {int(Rank.ROUTINE)}


def test_sites_fail_by_power_and_in_cascade_and_come_back() -> None:
    world = small_world(hours=12.0)
    network = terrestrial.build(world, 1)
    state = terrestrial.play(world, network, 1)
    out = np.count_nonzero(~state.alive, axis=1)
    assert out.max() > out[-1]
    for tick in range(0, state.alive.shape[0], 30):
        for site in np.flatnonzero(state.alive[tick]).tolist():
            above = [each for each in (network.parent[site], network.second[site]) if each >= 0]
            assert not above or any(state.alive[tick, each] for each in above)


def test_a_site_is_without_power_no_sooner_than_its_battery_is_empty() -> None:
    world = small_world(hours=12.0, lost=0.0)
    network = terrestrial.build(world, 1)
    state = terrestrial.play(world, network, 1)
    emptied = 0
    for site in np.flatnonzero(network.generator_s == 0).tolist():
        without = np.flatnonzero(state.cause[:, site] == terrestrial.Cause.POWER)
        if without.size:
            emptied += 1
            dark_s = np.count_nonzero(~state.mains[: without[0], network.place[site]]) * terrestrial.TICK_S
            assert 0 <= dark_s - network.battery_s[site] < terrestrial.TICK_S
    assert emptied


def test_a_world_of_one_site_is_reported() -> None:
    text = small_text(hours=0.2)
    start, end = text.index("list = ["), text.index("[[blows]]")
    one = 'list = [{ name = "Borgo", latitude = 42.60, longitude = 13.20, population = 300, area_km2 = 2 }]\n\n'
    world = parse_world(text[:start] + one + text[end:], no_table)
    ground = timeline.prepare(world, 1)
    row = results(timeline.Played(ground, (timeline.run(ground, None),))).ground
    assert (row.sites, row.largest_cascade) == (1, ("Borgo", 0))


def test_a_warning_that_nobody_can_have_is_refused() -> None:
    place = "latitude = 42.7, longitude = 13.3, radius_km = 60"
    assert place in small_text()
    world = parse_world(small_text().replace(place, "latitude = 42.60, longitude = 13.20, radius_km = 0.01"), no_table)
    with pytest.raises(WorldError, match="no phone is in the area of the warning 'Around'"):
        timeline.prepare(world, 1)


def test_a_state_of_a_text_changes_by_the_table_only() -> None:
    texts = Texts(np.array([1.0]), np.array([0]), np.array([0], np.int8), np.array([0], np.int8), 60.0)
    texts.deliver(np.array([0]), np.array([2.0]), Way.GROUND)
    with pytest.raises(AssertionError, match="a text that is delivered cannot be taken"):
        texts.deliver(np.array([0]), np.array([3.0]), Way.GROUND)
