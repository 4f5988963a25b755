"""The core of a trial: probing under a virtual clock, the record, outages, handovers, verdicts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.internet.trial import (
    PROBE_BYTES,
    TIMEOUT_S,
    Probing,
    Record,
    Run,
    Second,
    Target,
    Throughput,
    TrialError,
    Way,
    encode_probe,
    parse_probe,
    parse_record,
)
from tramontana.internet.trial_verdict import LEAST_MEASURED_S, Verdict, figures, judge, matched

START = 1_800_000_000.0
RUN = Run(START, "192.0.2.1", "eth1", "rome", "starlink", Target())
Trips = list[float | None]


def seconds(*trips: Sequence[float | None], start: float = START, loaded: bool = False) -> tuple[Second, ...]:
    return tuple(Second(start + n, 0.1, tuple(each), loaded) for n, each in enumerate(trips))


def record(*parts: tuple[Second, ...], tests: tuple[Throughput, ...] = ()) -> Record:
    return Record((RUN,), tuple(second for part in parts for second in part), tests)


def steady(trip: float | None, count: int, start: float = START) -> tuple[Second, ...]:
    return seconds(*[[trip] * 10] * count, start=start)


# --- probing ---


def test_a_second_is_settled_when_its_last_probe_has_come_back_or_timed_out() -> None:
    probing = Probing(0.25, START)
    numbers = []
    for step in range(8):
        now = START + step * 0.25
        number = probing.send(now)
        assert number is not None
        assert probing.send(now) is None
        numbers.append(number)
    probing.heard(numbers[0], START + 0.03)
    probing.heard(numbers[1], START + 0.25 + TIMEOUT_S + 0.01)  # too late
    probing.heard(numbers[2], START + 0.55)
    probing.heard(numbers[2], START + 0.60)  # a second one
    probing.heard(999, START + 0.60)  # nobody's
    assert probing.settled(START + 1.0 + TIMEOUT_S) == []
    (first,) = probing.settled(START + 1.01 + TIMEOUT_S)
    assert first.at_unix_s == START
    assert list(first.round_trips_s) == pytest.approx([0.03, None, 0.05, None])
    assert not first.loaded


def test_at_the_end_what_is_still_open_is_neither_lost_nor_heard() -> None:
    probing = Probing(0.5, START)
    one = probing.send(START)
    assert one is not None
    probing.send(START + 0.5)
    probing.heard(one, START + 0.02)
    (last,) = probing.settled(START + 0.6, everything=True)
    assert list(last.round_trips_s) == pytest.approx([0.02])
    assert probing.settled(START + 10, everything=True) == []


def test_seconds_beside_a_throughput_test_are_marked() -> None:
    probing = Probing(1.0, START)
    for n in range(8):
        probing.send(START + n)
    probing.loaded(START + 2.7, START + 4.2)
    marks = [second.loaded for second in probing.settled(START + 20)]
    assert marks == [False, False, True, True, True, False, False, False]


def test_a_machine_that_slept_does_not_make_up_for_missed_probes() -> None:
    probing = Probing(0.1, START)
    assert probing.send(START) is not None
    assert probing.send(START + 1000) is not None
    assert probing.send(START + 1000.05) is None or probing.next_at >= START + 1000.05


@pytest.mark.parametrize("interval", [0.0, 2.0, -1.0])
def test_an_interval_that_makes_no_sense_is_refused(interval: float) -> None:
    with pytest.raises(LocalError, match="probes go every"):
        Probing(interval, START)


# --- probes on the wire ---


@given(st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=64), st.binary(max_size=64))
@settings(max_examples=60, deadline=None)
def test_only_who_has_the_secret_is_answered(number: int, secret: bytes, noise: bytes) -> None:
    probe = encode_probe(secret, number)
    assert parse_probe(secret, probe) == number
    assert parse_probe(secret, probe, echo=True) is None
    echo = encode_probe(secret, number, echo=True)
    assert parse_probe(secret, echo, echo=True) == number
    assert len(echo) == len(probe) == PROBE_BYTES
    assert parse_probe(secret + b"x", probe) is None
    assert parse_probe(secret, noise) is None
    assert parse_probe(secret, probe[:-1] + bytes([probe[-1] ^ 1])) is None


# --- the record ---


def test_a_record_reads_back_and_a_line_that_a_crash_cut_off_is_left_out() -> None:
    test = Throughput(START + 1, Way.DOWN, 1_000_000, 0.5)
    written = RUN.encode() + "".join(second.encode() for second in seconds([0.03, None], [0.04])) + test.encode()
    whole = parse_record(io.StringIO(written))
    assert whole.runs == (RUN,)
    assert whole.seconds == seconds([0.03, None], [0.04])
    assert whole.throughputs == (test,)
    assert whole.throughputs[0].bps == 16e6
    assert whole.tested_octets == 1_000_000
    cut = parse_record(io.StringIO(written[:-10]))
    assert cut.throughputs == ()
    assert cut.seconds == whole.seconds
    with pytest.raises(TrialError, match="line 2"):
        parse_record(io.StringIO(RUN.encode() + '{"at": 1}\n' + test.encode()))


# --- figures ---


def test_an_outage_is_what_lasts_and_a_lost_probe_is_not() -> None:
    trips: Trips = [0.03] * 10
    hole: Trips = [0.03, 0.03, None, None, None, None, None, None, None, 0.03]  # 0.7 s
    single: Trips = [0.03, None, *[0.03] * 8]
    found = figures(record(seconds(trips, hole, single, trips)))
    (outage,) = found.outages
    assert outage.start_unix_s == pytest.approx(START + 1.2)
    assert outage.seconds == pytest.approx(0.7)
    assert (found.sent, found.lost, found.measured_s) == (40, 8, 4.0)
    assert found.availability == pytest.approx(1 - 0.7 / 4)
    assert found.loss_outside_outages == pytest.approx(1 / 33)


def test_time_that_nobody_measured_is_neither_up_nor_down() -> None:
    before, after = steady(0.03, 5), steady(0.03, 5, start=START + 3600)
    assert figures(record(before, after)).availability == 1.0
    # The line was down when the measuring stopped: what came after is not known.
    down = record(before, seconds([None] * 10, start=START + 5), after)
    (outage,) = figures(down).outages
    assert outage.seconds == pytest.approx(1.0)


@given(st.lists(st.lists(st.sampled_from([0.02, None]), min_size=1, max_size=10), max_size=20))
@settings(max_examples=60, deadline=None)
def test_figures_hold_together_whatever_was_lost(trips: list[Trips]) -> None:
    found = figures(record(seconds(*trips)))
    assert found.sent == sum(len(each) for each in trips)
    assert found.lost == sum(trip is None for each in trips for trip in each)
    if trips:
        assert 0.0 <= found.availability <= 1.0
        assert sum(outage.seconds for outage in found.outages) <= len(trips) + 1e-6
    assert all(a.end_unix_s <= b.start_unix_s for a, b in zip(found.outages, found.outages[1:], strict=False))


def test_handovers_show_as_steps_and_queues_do_not() -> None:
    rng = np.random.default_rng(5)

    def level(milliseconds: float, count: int, start: float) -> tuple[Second, ...]:
        return seconds(*[[(milliseconds + abs(rng.normal(0, 0.3))) / 1e3 for _ in range(10)] for _ in range(count)], start=start)

    path = (*level(30, 15, START), *level(38, 15, START + 15), *level(27, 15, START + 30))
    found = figures(Record((RUN,), path, ()))
    assert found.handovers_unix_s == (START + 15, START + 30)
    assert matched(found.handovers_unix_s, np.array([START + 14, START + 40])) == 1
    # A queue adds to some probes of a second; the fastest of them stay.
    queue = tuple(replace(second, round_trips_s=(*second.round_trips_s[:5], 0.2, 0.2, 0.2, 0.2, 0.2)) for second in level(30, 30, START))
    assert figures(Record((RUN,), queue, ())).handovers_unix_s == ()
    loaded = tuple(replace(second, loaded=True) for second in path)
    assert figures(Record((RUN,), loaded, ())).handovers_unix_s == ()


# --- verdicts ---


def verdicts(found: Record, target: Target | None = None) -> list[Verdict]:
    return [judgement.verdict for judgement in judge(figures(found), target or Target())]


def throughputs_of(way: Way, rates_mbps: list[float]) -> tuple[Throughput, ...]:
    return tuple(Throughput(START + n, way, int(rate * 1e6 / 8), 1.0) for n, rate in enumerate(rates_mbps))


def test_nothing_measured_is_neither_met_nor_missed() -> None:
    assert verdicts(Record((RUN,), (), ())) == [Verdict.TOO_EARLY] * 4


def test_throughput_is_met_when_nine_of_ten_tests_reach_it() -> None:
    good, bad = [120.0] * 9, [50.0]
    assert verdicts(record(steady(0.03, 1), tests=throughputs_of(Way.DOWN, good + bad)))[0] is Verdict.MET
    assert verdicts(record(steady(0.03, 1), tests=throughputs_of(Way.DOWN, good[:8] + bad * 2)))[0] is Verdict.MISSED
    assert verdicts(record(steady(0.03, 1), tests=throughputs_of(Way.DOWN, good)))[0] is Verdict.TOO_EARLY
    assert verdicts(record(steady(0.03, 1), tests=throughputs_of(Way.UP, bad * 2)))[0] is Verdict.TOO_EARLY
    assert verdicts(record(steady(0.03, 1), tests=throughputs_of(Way.UP, [19.0] * 2)))[1] is Verdict.MISSED


def test_a_day_within_the_target_is_met_and_a_minute_too_early() -> None:
    day = tuple(Second(START + n, 1.0, (0.03,), False) for n in range(int(LEAST_MEASURED_S)))
    assert verdicts(record(day))[2:] == [Verdict.MET, Verdict.MET]
    assert verdicts(record(day[:60]))[2:] == [Verdict.TOO_EARLY, Verdict.TOO_EARLY]
    # 86.4 s a day are allowed: a short outage within the first minute misses nothing yet, a long one does.
    down = tuple(replace(second, round_trips_s=(None,)) for second in day)
    assert verdicts(record(day[:60], down[60:80]))[3] is Verdict.TOO_EARLY
    assert verdicts(record(day[:60], down[60:150]))[3] is Verdict.MISSED
    slow = tuple(replace(second, round_trips_s=(0.08,)) for second in day)
    assert verdicts(record(slow))[2] is Verdict.MISSED
    assert verdicts(record(slow), Target(round_trip_s=0.1))[2] is Verdict.MET
