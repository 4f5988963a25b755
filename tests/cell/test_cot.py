"""Cursor-on-Target: what is written is read as it was, a stream is cut the same however it arrives, nothing from outside breaks either."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.cell.cot import (
    DELETE_TYPE,
    EMERGENCY_OVER_TYPE,
    EMERGENCY_TYPE,
    MAX_EVENT_OCTETS,
    BadCot,
    BadStream,
    Event,
    EventStream,
    encode,
    ended,
    parse,
)

UNIT = (
    b'<event version="2.0" uid="ANDROID-1" type="a-f-G-U-C" how="m-g" time="2026-06-01T10:00:00.000Z" start="2026-06-01T10:00:00Z"'
    b' stale="2026-06-01T10:05:00.000Z"><point lat="42.63" lon="13.29" hae="9999999.0" ce="8.5" le="9999999"/><detail>'
    b'<contact callsign="Squadra 1" endpoint="*:-1:stcp"/>'
    b'<track course="270.5" speed="1.5"/><takv os="30"/><status battery="78"/></detail></event>'
)
EVENT = Event("uid", "a-f-G", "m-g", 1000.0, 1000.0, 1300.0, 42.63, 13.29, radius_m=8.5, callsign="Squadra 1")


def test_reads_what_clients_send() -> None:
    event = parse(UNIT)
    assert (event.uid, event.kind, event.callsign) == ("ANDROID-1", "a-f-G-U-C", "Squadra 1")
    assert (event.latitude_deg, event.longitude_deg, event.height_m, event.radius_m, event.height_error_m) == (
        42.63,
        13.29,
        None,
        8.5,
        None,
    )
    assert (event.course_deg, event.speed_m_s) == (270.5, 1.5)
    assert event.stale - event.at == 300.0
    assert event.emergency == ""


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (b'lat="42.63"', b'lat="92.63"', "not on Earth"),
        (b'lat="42.63"', b'lat="nan"', "lat is no number"),
        (b'lat="42.63"', b'lat="4_2"', "lat is no number"),
        (b'lat="42.63"', b'lat="1e999"', "lat is no number"),
        (b'lon="13.29"', b"", "lon is no number"),
        (b'ce="8.5"', b'ce="-1"', "ce is negative"),
        (b'uid="ANDROID-1"', b'uid=""', "uid"),
        (b'uid="ANDROID-1"', b'uid="' + b"x" * 129 + b'"', "uid"),
        (b'uid="ANDROID-1"', b'uid="a&#10;b"', "uid"),
        (b'type="a-f-G-U-C"', b'type="a f"', "type"),
        (b'stale="2026-06-01T10:05:00.000Z"', b'stale="2026-06-01T09:05:00Z"', "stale before"),
        (b'stale="2026-06-01T10:05:00.000Z"', b'stale="2026-06-01"', "stale is no instant"),
        (b'stale="2026-06-01T10:05:00.000Z"', b'stale="2026-13-01T10:05:00Z"', "stale is no instant"),
        (b"<point", b"<pint", "no point"),
        (b"</detail></event>", b"</event>", "no XML"),
        (b"<event version", b"<events version", "no XML"),
    ],
)
def test_refuses_what_is_wrong(before: bytes, after: bytes, says: str) -> None:
    assert before in UNIT
    with pytest.raises(BadCot, match=says):
        parse(UNIT.replace(before, after))


def test_a_name_that_cannot_be_shown_is_none_and_strange_details_are_skipped() -> None:
    assert parse(UNIT.replace(b"Squadra 1", "Squadra‮1".encode())).callsign == ""
    assert parse(UNIT.replace(b'course="270.5"', b'course="north"')).course_deg is None


BOMB = b'<!DOCTYPE e [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
FILE = b'<!DOCTYPE e [<!ENTITY f SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("head", [BOMB, FILE, b"<!-- ", b"<![CDATA[", b"hello "])
def test_a_stream_refuses_bombs_foreign_files_and_what_is_no_event(head: bytes) -> None:
    with pytest.raises(BadStream):
        EventStream().receive(head + UNIT)
    with pytest.raises(BadStream):
        EventStream().receive(UNIT + b"<event>" * 40)
    if head[:2] == b"<!" and head[2:3] == b"D":
        with pytest.raises(BadCot, match="document type"):
            parse(head + UNIT)


def test_entities_that_nobody_declared_are_refused() -> None:
    with pytest.raises(BadCot):
        parse(UNIT.replace(b"Squadra 1", b"&f;"))


def test_an_event_without_end_is_not_kept_without_end() -> None:
    stream = EventStream()
    assert stream.receive(b"<event><detail>" + b"x" * (MAX_EVENT_OCTETS - 20)) == []
    with pytest.raises(BadStream, match="longer than"):
        stream.receive(b"x" * 20)


TRICKY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<event uid="a>b"><detail><!-- </event> --><![CDATA[</event>]]><r a=\'"/>\'/></detail></event>'
)


@given(st.lists(st.sampled_from([UNIT, TRICKY, b"<event/>", b"  \n<event a='<'/>".replace(b"<'", b"'")]), max_size=5), st.data())
@settings(max_examples=80)
def test_a_stream_is_cut_the_same_however_it_arrives(pieces: list[bytes], data: st.DataObject) -> None:
    octets = b"\n".join(pieces)
    whole = EventStream().receive(octets)
    assert len(whole) == len(pieces)
    assert all(Xml.fromstring(event).tag == "event" for event in whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    stream, found = EventStream(), []
    for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        found += stream.receive(octets[start:end])
    assert found == whole
    one_by_one = EventStream()
    assert [event for octet in octets for event in one_by_one.receive(bytes([octet]))] == whole


FRAGMENTS = [
    b"<",
    b">",
    b"/",
    b'"',
    b"'",
    b"<event ",
    b"</event>",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"]]>",
    b"<?",
    b"?>",
    b"<!",
    b"x",
    b" ",
    UNIT,
]


@given(st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=6)), max_size=30))
@settings(max_examples=300)
def test_whatever_arrives_is_events_or_one_clear_error(pieces: list[bytes]) -> None:
    stream = EventStream()
    for piece in pieces:
        try:
            whole = stream.receive(piece)
        except BadStream:
            return
        for event in whole:
            with suppress(BadCot):
                parse(event)


@given(st.integers(0, len(UNIT)), st.integers(0, 40), st.binary(max_size=12))
@settings(max_examples=300)
def test_an_event_with_some_octets_exchanged_is_read_or_refused(at: int, gone: int, instead: bytes) -> None:
    try:
        event = parse(UNIT[:at] + instead + UNIT[at + gone :])
    except BadCot:
        return
    assert abs(event.latitude_deg) <= 90
    assert abs(event.longitude_deg) <= 180
    assert event.stale >= event.start


LINE = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=40)
INSTANT = st.integers(0, 4_000_000_000).map(float)


@given(
    st.builds(
        Event,
        uid=LINE,
        kind=st.sampled_from(["a-f-G-U-C", "a-f-A", "u-d-f"]),
        how=st.just("m-g"),
        at=INSTANT,
        start=INSTANT,
        stale=INSTANT,
        latitude_deg=st.integers(-90_000_000, 90_000_000).map(lambda value: value / 1e6),
        longitude_deg=st.integers(-180_000_000, 180_000_000).map(lambda value: value / 1e6),
        height_m=st.none() | st.integers(-400, 9000).map(float),
        radius_m=st.none() | st.integers(0, 10_000).map(float),
        height_error_m=st.none() | st.integers(0, 10_000).map(float),
        callsign=LINE,
        remarks=st.text(max_size=60),
    )
)
@settings(max_examples=150)
def test_what_is_written_is_read_as_it_was(event: Event) -> None:
    if event.stale < event.start:
        event = replace(event, start=event.stale, stale=event.start)
    [whole] = EventStream().receive(encode(event))
    # What others are told besides the position is not read back: nobody's words are of use here.
    assert parse(whole) == replace(event, remarks="")


def test_an_emergency_is_called_off_and_a_drawing_deleted() -> None:
    raised = replace(EVENT, kind=EMERGENCY_TYPE, emergency="raised")
    over = parse(encode(ended(raised, 1100.0)))
    assert (over.uid, over.kind, over.emergency, over.at) == ("uid", EMERGENCY_OVER_TYPE, "over", 1100.0)
    gone = Xml.fromstring(encode(ended(EVENT, 1100.0)))
    link = gone.find("detail/link")
    assert link is not None
    assert (gone.get("type"), link.get("uid"), gone.find("detail/__forcedelete") is not None) == (DELETE_TYPE, "uid", True)


def test_corners_are_links_with_a_colour() -> None:
    drawn = Xml.fromstring(encode(replace(EVENT, kind="u-d-f", corners=((42.0, 13.0), (42.5, 13.5), (42.0, 13.0)))))
    assert [link.get("point") for link in drawn.findall("detail/link")] == [
        "42.000000,13.000000",
        "42.500000,13.500000",
        "42.000000,13.000000",
    ]
    assert drawn.find("detail/strokeColor") is not None
