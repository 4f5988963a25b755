"""The emulated link: against a slow reference, and the properties that make it a link."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.emulation.reference_link import ReferenceLink
from tests.emulation.sample_profiles import START, profile, steady
from tramontana.emulation.link import (
    HEADER_BYTES,
    IN_FLIGHT_LIMIT_BYTES,
    Direction,
    Fate,
    Link,
    OutageMode,
    loss_draw,
)
from tramontana.path_profile import PathProfile

QUEUE_LIMIT_BYTES = 20_000


@dataclass
class Traffic:
    """Packets as (payload octets, seconds since the one before), and a second profile that takes over at packet `switch_at`."""

    packets: list[tuple[int, float]]
    first: PathProfile
    second: PathProfile
    switch_at: int
    seed: int
    direction: Direction
    outage_mode: OutageMode


@st.composite
def profiles(draw: st.DrawFn) -> PathProfile:
    n = draw(st.integers(1, 5))
    steps = draw(st.lists(st.sampled_from([0.25, 1.0, 1.5]), min_size=n, max_size=n))
    times = [sum(steps[:i]) for i in range(n)]
    edges = sorted(draw(st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0, 1.25, 2.0, 2.75, 3.0, 9.0]), max_size=6)))
    rates = st.sampled_from([0.0, 64e3, 1e6, 2e8, inf])
    return profile(
        times,
        delay_s=draw(st.lists(st.sampled_from([nan, 0.0, 0.02, 0.3, 0.6]), min_size=n, max_size=n)),
        up_bps=[min(rate, 1e15) for rate in draw(st.lists(rates, min_size=n, max_size=n))],
        down_bps=draw(st.lists(rates, min_size=n, max_size=n)),
        loss=draw(st.lists(st.sampled_from([0.0, 0.01, 0.5, 1.0]), min_size=n, max_size=n)),
        serving=draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=n, max_size=n)),
        outages=list(zip(edges[::2], edges[1::2], strict=False)),
    )


@st.composite
def traffics(draw: st.DrawFn) -> Traffic:
    gaps = st.sampled_from([0.0, 0.0, 0.001, 0.02, 0.25, 0.8]) | st.floats(0.0, 0.1)
    return Traffic(
        packets=draw(st.lists(st.tuples(st.integers(0, 9000), gaps), max_size=60)),
        first=draw(profiles()),
        second=draw(profiles()),
        switch_at=draw(st.integers(0, 60)),
        seed=draw(st.integers(0, 2**64 - 1)),
        direction=draw(st.sampled_from(Direction)),
        outage_mode=draw(st.sampled_from(OutageMode)),
    )


def played(traffic: Traffic, *, drain_each_s: float | None = None) -> tuple[list[Fate], list[tuple[int, float]], Link[int]]:
    """Fates in order of arrival, and (packet number, release) in order of release. With `drain_each_s` the link is emptied
    only at multiples of it, as a late driver would.
    """
    link: Link[int] = Link(
        traffic.first, traffic.direction, traffic.seed, outage_mode=traffic.outage_mode, queue_limit_bytes=QUEUE_LIMIT_BYTES
    )
    now, fates, released = START - 0.1, [], []
    for number, (size, gap) in enumerate(traffic.packets):
        now += gap
        if number == traffic.switch_at:
            link.set_profile(traffic.second)
        while (due := link.next_release()) is not None and due <= now and drain_each_s is None:
            released += [(item, due) for item in link.release(due)]
        fates.append(link.handle_packet(number, size, now))
    while (due := link.next_release()) is not None:
        instant = due if drain_each_s is None else (due // drain_each_s + 1) * drain_each_s
        released += [(item, due) for item in link.release(instant)]
    return fates, released, link


@given(traffics())
@settings(max_examples=400, deadline=None)
def test_it_does_what_the_reference_does(traffic: Traffic) -> None:
    reference = ReferenceLink(traffic.first, traffic.direction, traffic.seed, traffic.outage_mode, QUEUE_LIMIT_BYTES)
    now = START - 0.1
    for number, (size, gap) in enumerate(traffic.packets):
        now += gap
        if number == traffic.switch_at:
            reference.profile = traffic.second
        reference.handle_packet(size, now)
    fates, released, _ = played(traffic)
    assert fates == reference.fates
    assert released == [(number, release) for number, release in enumerate(reference.releases) if release is not None]


@given(traffics())
@settings(deadline=None)
def test_a_late_driver_changes_no_fate_and_no_order(traffic: Traffic) -> None:
    fates, released, _ = played(traffic)
    late_fates, late_released, _ = played(traffic, drain_each_s=0.7)
    assert fates == late_fates
    assert [item for item, _ in released] == [item for item, _ in late_released]


@given(traffics())
@settings(deadline=None)
def test_nothing_overtakes_nothing_comes_early_and_every_packet_is_accounted_for(traffic: Traffic) -> None:
    fates, released, link = played(traffic)
    numbers, instants = [n for n, _ in released], [at for _, at in released]
    assert numbers == sorted(set(numbers)) == [n for n, fate in enumerate(fates) if fate is Fate.FORWARDED]
    assert instants == sorted(instants)
    arrivals, now = [], START - 0.1
    for _, gap in traffic.packets:
        now += gap
        arrivals.append(now)
    assert all(at >= arrivals[number] for number, at in released)
    stats = link.stats
    assert stats.received == len(fates) == stats.released + stats.lost + stats.lost_in_outage + stats.queue_full
    assert stats.released_bytes == sum(traffic.packets[n][0] for n in numbers)


@given(seed=st.integers(0, 2**64 - 1), gaps=st.lists(st.floats(0, 2), min_size=20, max_size=20))
@settings(deadline=None)
def test_the_draw_of_a_packet_does_not_depend_on_timing(seed: int, gaps: list[float]) -> None:
    evenly: Link[None] = Link(steady(loss=0.3), Direction.UP, seed)
    unevenly: Link[None] = Link(steady(loss=0.3), Direction.UP, seed)
    now = START
    for number, gap in enumerate(gaps):
        now += gap
        expected = Fate.LOST if loss_draw(seed, Direction.UP, number) < 0.3 else Fate.FORWARDED
        assert evenly.handle_packet(None, 100, START + number) is expected
        assert unevenly.handle_packet(None, 100, now) is expected


def test_draws_are_uniform_and_differ_by_seed_and_direction() -> None:
    n = 20_000
    draws = [loss_draw(7, Direction.UP, number) for number in range(n)]
    # Kolmogorov-Smirnov at one in a million: 2.7 / sqrt(n)
    assert max(abs((i + 0.5) / n - draw) for i, draw in enumerate(sorted(draws))) < 2.7 / n**0.5
    assert not set(draws) & {loss_draw(8, Direction.UP, number) for number in range(n)}
    assert not set(draws) & {loss_draw(7, Direction.DOWN, number) for number in range(n)}


def test_the_draws_stay_what_they_are() -> None:
    """A recorded run can be repeated with a later release: these values must never change."""
    assert [round(loss_draw(1, Direction.UP, number), 6) for number in range(4)] == PINNED_DRAWS


PINNED_DRAWS = [0.533199, 0.715183, 0.39175, 0.196373]


def test_capacity_spaces_packets_and_counts_their_headers() -> None:
    link: Link[int] = Link(steady(bps=1e6, delay_s=0.05), Direction.DOWN, 0)
    for number in range(3):
        link.handle_packet(number, 1000 - HEADER_BYTES, START)
    instants = []
    while (due := link.next_release()) is not None:
        instants.append(due - START)
        link.release(due)
    assert instants == pytest.approx([0.058, 0.066, 0.074], abs=1e-6)


def test_a_full_queue_drops_and_takes_again_when_it_has_drained() -> None:
    link: Link[int] = Link(steady(bps=1e6), Direction.UP, 0, queue_limit_bytes=3000)
    payload = 1000 - HEADER_BYTES
    fates = [link.handle_packet(number, payload, START) for number in range(4)]
    assert fates == [Fate.FORWARDED] * 3 + [Fate.QUEUE_FULL]
    assert link.handle_packet(4, payload, START + 0.0079) is Fate.QUEUE_FULL
    assert link.handle_packet(5, payload, START + 0.0081) is Fate.FORWARDED


@pytest.mark.parametrize(("mode", "release"), [(OutageMode.DROP, None), (OutageMode.HOLD, 2.04)])
def test_an_outage_drops_or_holds(mode: OutageMode, release: float | None) -> None:
    link: Link[int] = Link(steady(delay_s=0.04, outages=[(1.0, 2.0)]), Direction.UP, 0, outage_mode=mode)
    assert link.handle_packet(0, 100, START + 0.999) is Fate.FORWARDED
    assert link.handle_packet(1, 100, START + 1.0) is (Fate.LOST_IN_OUTAGE if release is None else Fate.FORWARDED)
    assert link.release(START + 1.5) == [0]
    due = link.next_release()
    assert due == (None if release is None else pytest.approx(START + release, abs=1e-6))
    assert link.handle_packet(2, 100, START + 2.0) is Fate.FORWARDED


def test_without_coverage_to_the_end_even_holding_drops() -> None:
    dark = profile([0.0, 1.0], delay_s=[0.01, nan], up_bps=[1e6, 0.0])
    link: Link[int] = Link(dark, Direction.UP, 0, outage_mode=OutageMode.HOLD)
    assert link.handle_packet(0, 100, START + 5) is Fate.LOST_IN_OUTAGE


def test_what_is_lost_in_an_outage_takes_the_radios_time_only_where_the_radio_sends() -> None:
    dark = profile([0.0, 1.0], delay_s=[nan, nan], up_bps=[8e3, 8e3])
    for mode, waited in [(OutageMode.DROP, 1.0), (OutageMode.HOLD, 0.0)]:
        link: Link[int] = Link(dark, Direction.UP, 0, outage_mode=mode)
        assert link.handle_packet(0, 1000 - HEADER_BYTES, START) is Fate.LOST_IN_OUTAGE
        link.set_profile(steady(bps=1e15))
        assert link.handle_packet(1, 1000 - HEADER_BYTES, START) is Fate.FORWARDED
        assert link.next_release() == pytest.approx(START + waited, abs=1e-6)


def test_delay_is_linear_within_a_satellite_and_steps_between_two() -> None:
    path = profile([0.0, 1.0, 2.0], delay_s=[0.010, 0.020, 0.100], up_bps=[1e12] * 3, serving=[0, 0, 1])
    for offset, delay in [(0.0, 0.010), (0.5, 0.015), (1.0, 0.020), (1.9, 0.020), (2.0, 0.100), (50.0, 0.100), (-1.0, 0.010)]:
        link: Link[int] = Link(path, Direction.UP, 0)
        link.handle_packet(0, 100, START + offset)
        assert link.next_release() == pytest.approx(START + offset + delay, abs=1e-6)


def test_a_packet_on_a_shorter_path_waits_for_the_one_before() -> None:
    path = profile([0.0, 1.0], delay_s=[0.3, 0.01], up_bps=[1e12] * 2, serving=[0, 1])
    link: Link[int] = Link(path, Direction.UP, 0)
    link.handle_packet(0, 100, START + 0.99)
    link.handle_packet(1, 100, START + 1.0)
    assert link.release(START + 1.28) == []
    assert link.release(START + 1.2901) == [0, 1]


def test_a_new_profile_keeps_what_is_under_way() -> None:
    link: Link[int] = Link(steady(delay_s=0.5), Direction.UP, 0)
    link.handle_packet(0, 100, START)
    link.set_profile(steady(delay_s=0.01))
    link.handle_packet(1, 100, START + 0.1)
    assert link.release(START + 0.4) == []
    assert link.release(START + 0.51) == [0, 1]


def test_a_profile_that_has_run_out_holds_and_is_counted() -> None:
    link: Link[int] = Link(steady(delay_s=0.02), Direction.UP, 0)
    link.handle_packet(0, 100, START + 3600)
    assert link.stats.stale == 0
    assert link.handle_packet(1, 100, START + 3601) is Fate.FORWARDED
    assert link.stats.stale == 1


def test_memory_is_bounded_whatever_the_profile_says() -> None:
    link: Link[bytes] = Link(steady(delay_s=3000.0, bps=1e15), Direction.UP, 0)
    payload = bytes(60_000)
    fates = [link.handle_packet(payload, len(payload), START + number * 1e-3) for number in range(700)]
    assert fates.count(Fate.FORWARDED) == IN_FLIGHT_LIMIT_BYTES // len(payload)
    assert fates[-1] is Fate.QUEUE_FULL


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_outside_64_bits_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        Link(steady(), Direction.UP, seed)
