"""Hours of carriers: what counts against one, what is not known, and that nothing is lost or told for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.carrier_hours import HOUR_S, CarrierHour, bin_of, delay_percentile_s, rate_while_full_bps
from tramontana.internet.service_record import KEPT_HOURS, LONGEST_STEP_S, Look, RecordDamaged, ServiceRecord

START = 500_000 * HOUR_S
UP = Look(True, True, 0.040, 0.01, None, None)
DOWN = Look(True, False, None, 1.0, None, None)
KEYLESS = Look(False, False, None, 0.0, None, None)


def watched(seconds: int, states: dict[str, list[Look]], record: ServiceRecord | None = None, start: float = START) -> ServiceRecord:
    record = record or ServiceRecord()
    for second in range(seconds + 1):
        record.look({carrier: [looks[min(second, len(looks) - 1)]] for carrier, looks in states.items()}, start + second)
    return record


def closed(record: ServiceRecord) -> dict[str, CarrierHour]:
    record.look({}, START + HOUR_S)
    return {each.carrier: each for each in record.closed}


def test_an_hour_counts_what_was_down_and_what_was_down_alone() -> None:
    cut = [UP] * 100 + [DOWN] * 30 + [UP]
    both = [UP] * 110 + [DOWN] * 10 + [UP]
    found = closed(watched(600, {"starlink": cut, "4g": both}))
    starlink, other = found["starlink"], found["4g"]
    assert (starlink.observed_s, starlink.down_s, starlink.alone_s) == (600, 30, 20)
    assert (starlink.outages, starlink.longest_outage_s) == (1, 30)
    assert (other.down_s, other.alone_s) == (10, 0)
    assert starlink.loss == pytest.approx(0.01)
    assert sum(count for _, count in starlink.delays) == 570
    delay = delay_percentile_s([starlink], 95)
    assert delay == pytest.approx(0.040, rel=0.026)


def test_an_outage_lasts_when_the_key_runs_out_but_no_key_alone_is_none() -> None:
    found = closed(watched(500, {"starlink": [UP] * 100 + [DOWN] * 100 + [KEYLESS] * 200 + [UP], "4g": [UP] * 100 + [KEYLESS]}))
    assert (found["starlink"].down_s, found["starlink"].outages) == (300, 1)
    assert (found["4g"].observed_s, found["4g"].down_s) == (99, 0)


def test_time_that_nobody_saw_is_not_counted() -> None:
    record = watched(100, {"starlink": [DOWN]})
    watched(100, {"starlink": [DOWN]}, record, START + 100 + LONGEST_STEP_S + 1)
    watched(50, {"starlink": [UP]}, record, START + 10)  # the clock was set back
    found = closed(record)["starlink"]
    assert (found.observed_s, found.down_s, found.longest_outage_s) == (250, 200, 100)


def test_an_outage_over_the_hour_is_one() -> None:
    record = watched(200, {"starlink": [UP] * 50 + [DOWN]}, start=START + HOUR_S - 100)
    record.look({}, START + 2 * HOUR_S)
    first, second = record.closed
    assert (first.outages, second.outages) == (1, 0)
    assert first.down_s + second.down_s == 151
    assert (first.down_at_start_s, first.down_at_end_s) == (0, first.down_s)
    assert (second.down_at_start_s, second.down_at_end_s) == (second.down_s, second.down_s)


def test_what_a_full_line_carried() -> None:
    busy = Look(True, True, 0.04, 0.0, 80e6, None)
    busier = Look(True, True, 0.04, 0.0, 100e6, None)
    found = closed(watched(100, {"starlink": [UP] * 61 + [busy] * 20 + [busier]}))["starlink"]
    assert rate_while_full_bps([found.full_down, None]) == pytest.approx(90e6)
    assert found.full_up is None
    assert rate_while_full_bps([None]) is None


def test_hours_are_told_at_once_and_again_in_turn() -> None:
    record = ServiceRecord()
    for hour in range(4):
        watched(10, {"starlink": [UP]}, record, START + hour * HOUR_S)
    assert [each.hour - START // HOUR_S for each in record.to_report(2)] == [0, 1]
    assert [each.hour - START // HOUR_S for each in record.to_report(2)] == [2]
    again = {record.to_report(2)[0].hour - START // HOUR_S for _ in range(3)}
    assert again == {0, 1, 2}
    for hour in range(4, 4 + 2 * KEPT_HOURS):
        watched(10, {"starlink": [UP]}, record, START + hour * HOUR_S)
    assert len(record.closed) == KEPT_HOURS
    assert record.to_report(1)[0].hour == record.closed[0].hour


def test_a_restart_goes_on_with_the_hour_and_damage_is_said() -> None:
    record = watched(100, {"starlink": [UP]})
    record.add_octets({"starlink": 1000.4}, START + 100)
    again = ServiceRecord.parse(record.serialise())
    watched(100, {"starlink": [UP]}, again, START + 200)
    found = closed(again)["starlink"]
    assert (found.observed_s, found.octets) == (200, 1000)
    with pytest.raises(RecordDamaged, match="remove the file"):
        ServiceRecord.parse(b'{"open": 1}')


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([UP, DOWN, KEYLESS]), st.sampled_from([UP, DOWN, KEYLESS]), st.floats(0, 7)), max_size=80))
def test_parts_never_exceed_the_whole(steps: list[tuple[Look, Look, float]]) -> None:
    record, now = ServiceRecord(), float(START)
    for first, second, step in steps:
        now += step
        record.look({"a": [first], "b": [second]}, now)
    for found in closed(record).values():  # made at all: the model refuses what does not fit
        assert found.observed_s <= now - START + 0.1
        assert found.longest_outage_s <= found.down_s


@given(st.floats(0.0005, 8))
def test_a_bin_is_right_within_its_width(delay_s: float) -> None:
    hour = closed(watched(2, {"a": [Look(True, True, delay_s, 0, None, None)]}))["a"]
    assert hour.delays[0][0] == bin_of(delay_s)
    found = delay_percentile_s([hour], 50)
    assert found is not None
    if 0.001 < delay_s < 6.4:
        assert found == pytest.approx(delay_s, rel=0.026)
