"""Flow classes and their marks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tramontana.internet.flow_class import CONTROL_DSCP, FlowClass, Kind, in_order, of_dscp
from tramontana.precedence import Precedence


def test_kind_level_and_mark_name_a_class_without_doubt() -> None:
    assert {FlowClass.of(kind, level) for kind in Kind for level in Precedence} == set(FlowClass)
    for flow in FlowClass:
        assert FlowClass.of(flow.kind, flow.precedence) is flow
        assert of_dscp(flow.dscp, Precedence.FLASH_OVERRIDE) is flow
    assert len({flow.dscp for flow in FlowClass} | {CONTROL_DSCP}) == len(FlowClass) + 1


@given(st.integers(0, 63), st.sampled_from(Precedence))
def test_no_mark_gives_more_than_the_sender_may_have(dscp: int, ceiling: Precedence) -> None:
    assert of_dscp(dscp, ceiling).precedence <= ceiling


def test_unknown_marks_and_network_control_are_routine_data() -> None:
    known = {flow.dscp for flow in FlowClass} | {44, 8}
    for dscp in set(range(64)) - known:
        assert of_dscp(dscp, Precedence.FLASH_OVERRIDE) is FlowClass.DATA_ROUTINE


def test_voice_goes_before_data_of_its_level_and_a_higher_level_before_a_lower_one() -> None:
    order = in_order()
    for level in Precedence:
        voice, data = (order.index(FlowClass.of(kind, level)) for kind in (Kind.VOICE, Kind.DATA))
        assert voice < data
        if level:
            below = Precedence(level - 1)
            assert voice < order.index(FlowClass.of(Kind.VOICE, below))
            assert data < order.index(FlowClass.of(Kind.DATA, below))
    assert order[-1] is FlowClass.BULK
