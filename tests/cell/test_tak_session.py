"""What is told to a TAK server: what holds now, told again in time, taken back when it is over, and nothing ever where one only listens."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cell.test_cot import EVENT, UNIT
from tramontana.cell.cot import DELETE_TYPE, EMERGENCY_OVER_TYPE, EMERGENCY_TYPE, PING_TYPE, PONG_TYPE, Event, EventStream, encode, parse
from tramontana.cell.tak_session import AGAIN_S, LIVES_S, PING_AFTER_S, SILENT_AFTER_S, TakSession
from tramontana.cell.units import LONGEST_S, MAX_UNITS, Units

ALARM = replace(EVENT, uid="tramontana-sos-1", kind=EMERGENCY_TYPE, emergency="raised", stale=math.inf)


def said(session: TakSession) -> list[Event]:
    return [parse(whole) for whole in EventStream().receive(session.octets_to_send())]


def test_tells_once_again_before_it_goes_stale_and_takes_back() -> None:
    session = TakSession("rome")
    session.desire({ALARM.uid: ALARM}, 1000.0)
    assert said(session) == []  # nobody is there
    session.connected(1000.0)
    [told] = said(session)
    assert (told.uid, told.at, told.stale) == (ALARM.uid, 1000.0, 1000.0 + LIVES_S)
    session.desire({ALARM.uid: ALARM}, 1001.0)
    assert said(session) == []
    now = 1000.0
    while now < 1000.0 + AGAIN_S:
        due = session.next_timer()
        assert due is not None
        assert due > now
        now = due
        session.handle_timer(now)
    again = [event for event in said(session) if event.kind != PING_TYPE]
    assert [event.stale for event in again] == [now + LIVES_S]
    assert now < told.stale
    session.desire({ALARM.uid: replace(ALARM, latitude_deg=43.0)}, now)
    assert [event.latitude_deg for event in said(session)] == [43.0]
    session.desire({}, now)
    assert [(event.uid, event.kind) for event in said(session)] == [(ALARM.uid, EMERGENCY_OVER_TYPE)]


def test_after_an_outage_tells_what_holds_and_takes_back_what_was_told_before() -> None:
    session = TakSession("rome")
    area = replace(EVENT, uid="tramontana-warning-1", kind="u-d-f", stale=5000.0)
    session.desire({ALARM.uid: ALARM, area.uid: area}, 1000.0)
    session.connected(1000.0)
    assert len(said(session)) == 2
    session.disconnected()
    session.desire({ALARM.uid: ALARM}, 1500.0)
    session.connected(2000.0)
    assert sorted(event.kind for event in said(session)) == [EMERGENCY_TYPE, DELETE_TYPE]


def test_what_is_over_by_its_own_time_is_taken_back() -> None:
    session = TakSession("rome")
    area = replace(EVENT, uid="tramontana-warning-1", stale=1100.0)
    session.connected(1000.0)
    session.desire({area.uid: area}, 1000.0)
    assert [event.stale for event in said(session)] == [1100.0]
    session.handle_timer(1101.0)
    assert DELETE_TYPE in [event.kind for event in said(session)]


def test_a_server_that_answered_and_falls_silent_is_gone() -> None:
    session = TakSession("rome")
    session.connected(0.0)
    session.handle_timer(PING_AFTER_S)
    assert [event.kind for event in said(session)] == [PING_TYPE]
    assert not session.is_silent(SILENT_AFTER_S)  # some never answer
    session.receive(encode(replace(EVENT, uid="takPong", kind=PONG_TYPE)), PING_AFTER_S)
    assert not session.is_silent(PING_AFTER_S + SILENT_AFTER_S - 1)
    assert session.is_silent(PING_AFTER_S + SILENT_AFTER_S)


@given(st.lists(st.tuples(st.sampled_from(["desire", "connect", "cut", "hear", "timer"]), st.integers(0, 500)), max_size=20))
@settings(max_examples=80)
def test_a_link_that_receives_only_never_has_an_octet_to_send(steps: list[tuple[str, int]]) -> None:
    session, now = TakSession("field", receive_only=True), 0.0
    for step, passes in steps:
        now += passes
        match step:
            case "desire":
                session.desire({ALARM.uid: ALARM}, now)
            case "connect":
                session.connected(now)
            case "cut":
                session.disconnected()
            case "hear" if session.is_connected:
                assert len(session.receive(UNIT, now)) == 1
            case _:
                session.handle_timer(now)
        assert session.octets_to_send() == b""
        assert session.next_timer() is None


def test_own_events_and_bad_ones_are_not_heard() -> None:
    session = TakSession("rome")
    session.connected(0.0)
    octets = encode(ALARM) + UNIT.replace(b'lat="42.63"', b'lat="x"') + UNIT
    assert [event.uid for event in session.receive(octets, 1.0)] == ["ANDROID-1"]
    assert session.refused == 1


def unit(**changes: object) -> Event:
    return replace(EVENT, **changes)  # type: ignore[arg-type]


def test_the_last_position_of_each_and_no_longer_than_it_holds() -> None:
    units = Units(60.0)
    units.heard("rome", unit(), 1000.0)
    units.heard("rome", unit(at=990.0, latitude_deg=1.0), 1001.0)  # overtaken
    [kept], gone = units.changes()
    assert (kept.latitude_deg, kept.stale_at, gone) == (42.63, 1300.0, [])
    assert units.changes() == ([], [])
    units.heard("rome", unit(at=1100.0, latitude_deg=43.0), 1100.0)
    assert [each.latitude_deg for each in units.changes()[0]] == [43.0]
    units.forget(1360.0)
    units.heard("rome", unit(at=900.0, stale=1200.0), 1361.0)  # what a server kept from long ago
    assert units.changes() == ([], [])


@pytest.mark.parametrize("ahead_s", [-86400.0, 0.0, 86400.0])
def test_a_wrong_clock_makes_nobody_stay(ahead_s: float) -> None:
    units = Units(0.0)
    units.heard("rome", unit(at=1000.0 + ahead_s, start=1000.0 + ahead_s, stale=1000.0 + ahead_s + 10 * LONGEST_S), 1000.0)
    for kept in units.changes()[0]:
        assert kept.at <= 1000.0
        assert kept.stale_at <= 1000.0 + LONGEST_S


def test_strangers_drawings_and_chats_are_not_kept_and_an_emergency_ends() -> None:
    units = Units(60.0)
    for kind in ("a-h-G", "a-u-G", "u-d-f", "b-t-f", "t-x-c-t"):
        units.heard("rome", unit(kind=kind), 1000.0)
    assert units.changes() == ([], [])
    units.heard("rome", unit(uid="x-9-1-1", kind=EMERGENCY_TYPE, emergency="raised"), 1000.0)
    assert [each.emergency for each in units.changes()[0]] == [True]
    units.heard("rome", unit(uid="x-9-1-1", kind=EMERGENCY_OVER_TYPE, emergency="over"), 1001.0)
    assert units.changes() == ([], [("rome", "x-9-1-1")])


def test_a_server_cannot_fill_the_memory() -> None:
    units = Units(60.0)
    for number in range(MAX_UNITS + 3):
        units.heard("rome", unit(uid=str(number)), 1000.0)
    assert (len(units.changes()[0]), units.refused) == (MAX_UNITS, 3)
