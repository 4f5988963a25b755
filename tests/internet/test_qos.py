"""Shares of a tunnel at every capacity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.internet.flow_class import FlowClass, in_order
from tramontana.internet.qos import CALL_BPS, DATA_QUEUE_S, LARGEST_QUEUE_OCTETS, SMALLEST_QUEUE_OCTETS, ShapedRate, plan


@given(st.floats(0.0, 1e10))
def test_guarantees_fit_and_only_the_lowest_go_without(measured_bps: float) -> None:
    shaping = plan(measured_bps)
    assert sum(share.guaranteed_bps for share in shaping.shares) <= shaping.rate_bps * (1 + 1e-9)
    order = in_order()
    assert [share.flow for share in shaping.shares] == [None, *order]
    preempted = shaping.preempted()
    assert preempted == tuple(order[len(order) - len(preempted) :])
    for share in shaping.shares:
        assert 0 < share.guaranteed_bps <= shaping.rate_bps
        assert SMALLEST_QUEUE_OCTETS <= share.queue_octets <= LARGEST_QUEUE_OCTETS
        assert share.queue_octets <= max(SMALLEST_QUEUE_OCTETS, shaping.rate_bps * DATA_QUEUE_S / 8)
        assert 0 <= share.priority <= 7


@given(st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_whoever_goes_without_at_a_capacity_does_so_at_every_lower_one(a: float, b: float) -> None:
    assert set(plan(max(a, b)).preempted()) <= set(plan(min(a, b)).preempted())


def test_nobody_goes_without_on_a_broad_link_and_a_call_of_flash_override_survives_on_a_thin_one() -> None:
    assert plan(100e6).preempted() == ()
    thin = plan(400e3)
    first = next(share for share in thin.shares if share.flow is FlowClass.VOICE_FLASH_OVERRIDE)
    assert first.guaranteed_bps >= CALL_BPS
    assert FlowClass.BULK in thin.preempted()


def test_what_is_served_first_borrows_first() -> None:
    shares = plan(10e6).shares
    assert [s.priority for s in shares] == sorted(s.priority for s in shares)
    by = {share.flow: share for share in shares}
    assert by[FlowClass.VOICE_ROUTINE].priority < by[FlowClass.DATA_ROUTINE].priority < by[FlowClass.BULK].priority
    assert by[FlowClass.VOICE_ROUTINE].queue_octets <= by[FlowClass.DATA_ROUTINE].queue_octets


def test_the_shaped_rate_falls_fast_rises_step_by_step_and_is_left_alone_by_noise() -> None:
    shaped = ShapedRate(100e6)
    for bps in (50e6, 25e6, 20e6):
        assert shaped.update(20e6, full=True, queue_s=0.1)
        assert shaped.bps == bps
    assert not shaped.update(19.5e6, full=True, queue_s=0.05)
    assert not shaped.update(1e6, full=False, queue_s=0.0)
    steps = 0
    while shaped.bps < 100e6:
        assert shaped.update(0.95 * shaped.bps, full=False, queue_s=0.0)
        steps += 1
    assert 10 < steps < 30
    assert not shaped.update(95e6, full=False, queue_s=0.0)
    assert shaped.bps == pytest.approx(100e6)
