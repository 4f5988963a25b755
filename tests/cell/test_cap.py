"""CAP 1.2: there and back, as another implementation reads it, and what is refused: bombs, foreign files, what cannot be broadcast."""

from __future__ import annotations

import pytest
from cap_tools.models import Alert
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from xsdata.formats.dataclass.parsers import XmlParser

from tramontana.cell import cap, warning_content
from tramontana.cell.cell_broadcast import Level
from tramontana.cell.warning_content import Content, ContentRefused
from tramontana.errors import LocalError

ID = "0123456789abcdef0123456789abcdef"
SENT = 1_790_000_000
SQUARE = ((42.6, 13.2), (42.6, 13.4), (42.8, 13.4), (42.8, 13.2))
LINES = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=40)
TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"], include_characters="\n€"), min_size=1, max_size=200).filter(
    lambda text: text.strip() == text
)
DEGREES = st.integers(-60_000_000, 60_000_000).map(lambda micro: micro / 1e6)


@st.composite
def contents(draw: st.DrawFn, kinds: tuple[str, ...] = ("alert", "update", "cancel")) -> Content:
    kind = draw(st.sampled_from(kinds))
    level = draw(st.sampled_from(Level))
    latitude, longitude, wide = draw(DEGREES), draw(DEGREES), draw(st.integers(1, 100)) / 10
    ring = ((latitude, longitude), (latitude + wide, longitude), (latitude, longitude + wide))
    languages = draw(st.sampled_from([("it",), ("it", "en"), ("de", "it")]))
    return Content(
        kind=kind,  # type: ignore[arg-type]
        replaces=None if kind == "alert" else ID,
        status="exercise" if level is Level.EXERCISE else "actual",
        level=level,
        category=draw(st.sampled_from(["Geo", "Met", "CBRNE"])),
        event=draw(LINES),
        urgency="Immediate",
        severity=draw(st.sampled_from(["Extreme", "Severe", "Minor"])),
        certainty="Observed",
        texts=tuple(warning_content.Text(language=language, text=draw(TEXTS)) for language in languages),
        area=warning_content.Area(description=draw(LINES), polygons=(ring,)),
        duration_s=draw(st.integers(60, 86400)),
        repetition_s=draw(st.integers(2, 3600)),
    )


def envelope(content: Content) -> cap.Envelope:
    earlier = () if content.kind == "alert" else (cap.Reference("ministry", ID, cap.instant(SENT - 60)),)
    return cap.Envelope("11112222333344445555666677778888", "ministry", SENT, "Ministry of the Sea", earlier)


@settings(max_examples=60)
@given(contents())
def test_a_content_comes_back(content: Content) -> None:
    sent = envelope(content)
    received = cap.parse(cap.encode(content, sent))
    read = received.content(content.replaces)
    assert read.model_copy(update={"cap": None}) == content
    assert read.cap is not None
    assert (read.cap.sender, read.cap.identifier, read.cap.sent_unix_s) == (sent.sender, sent.identifier, sent.sent_unix_s)
    assert received.envelope == sent


@settings(max_examples=20)
@given(contents())
def test_another_implementation_reads_it(content: Content) -> None:
    read = XmlParser().from_bytes(cap.encode(content, envelope(content)), Alert)
    assert read.msg_type.value.lower() == content.kind
    assert [info.description for info in read.infos] == [text.text for text in content.texts]
    assert {info.severity.value for info in read.infos} == {content.severity}


def sample(**changes: object) -> bytes:
    content = Content.model_validate(
        {
            "kind": "alert", "status": "actual", "level": "always-on", "category": "Geo", "event": "Terremoto", "urgency": "Immediate",
            "severity": "Extreme", "certainty": "Observed", "texts": [{"language": "it", "text": "Uscite"}],
            "area": {"description": "Amatrice", "polygons": [SQUARE]}, "duration_s": 3600, **changes,
        }
    )  # fmt: skip
    return cap.encode(content, envelope(content))


BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<alert xmlns="urn:oasis:names:tc:emergency:cap:1.2"><identifier>&b;</identifier></alert>"""
FOREIGN = BOMB.replace(b'<!ENTITY a "aaaaaaaaaa">', b'<!ENTITY a SYSTEM "file:///etc/passwd">')


@pytest.mark.parametrize("document", [BOMB, FOREIGN, BOMB.decode().encode("utf-16"), b"", b"not xml", b"<alert/>", b"<a>" * 100_000])
def test_bombs_foreign_files_and_other_documents_are_refused(document: bytes) -> None:
    with pytest.raises(cap.BadCap):
        cap.parse(document)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"<scope>Public", b"<scope>Private", "scope"),
        (b"<status>Actual", b"<status>Draft", "status"),
        (b"<msgType>Alert", b"<msgType>Ack", "warns of nothing"),
        (b"<msgType>Alert", b"<msgType>Update", "names in `references`"),
        (b"<severity>Extreme", b"<severity>Awful", "severity"),
        (b"-00:00</sent>", b"Z</sent>", "sent"),
        (b"42.6,13.2 ", b"142.6,13.2 ", "no place on Earth"),
        (b"<value>always-on", b"<value>loud", "parameter"),
        (b"</area>", b"</area><area><areaDesc>x</areaDesc><ceiling>high</ceiling></area>", "ceiling"),
        (b"<area><areaDesc>", b"<resource><resourceDesc>x</resourceDesc><mimeType>a/b</mimeType></resource><area><areaDesc>", "attached"),
    ],
)
def test_what_cannot_be_broadcast_is_refused_with_a_reason(old: bytes, new: bytes, why: str) -> None:
    document = sample()
    assert old in document
    with pytest.raises((cap.BadCap, ContentRefused), match=why):
        cap.parse(document.replace(old, new, 1)).content(None)


def test_a_circle_becomes_a_polygon_that_holds_it() -> None:
    document = sample()
    start, end = document.index(b"<polygon>"), document.index(b"</polygon>") + len(b"</polygon>")
    content = cap.parse(document[:start] + b"<circle>42.7,13.3 10</circle>" + document[end:]).content(None)
    assert content.area is not None
    assert len(content.area.polygons[0]) == 36
    north = max(point[0] for point in content.area.polygons[0])
    assert 10_000 <= (north - 42.7) * 111_195 < 10_100


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_document_is_read_or_refused(data: st.DataObject) -> None:
    document = bytearray(sample())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(document) - 1))
        document[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        cap.parse(bytes(document)).content(None)
    except (cap.BadCap, ContentRefused):
        return


@pytest.mark.parametrize(
    "changes",
    [
        {"replaces": ID},
        {"kind": "update"},
        {"kind": "template"},
        {"status": "exercise"},
        {"texts": []},
        {"texts": [{"language": "it", "text": "x" * 1396}]},
        {"texts": [{"language": "it", "text": "a"}, {"language": "it", "text": "b"}]},
        {"duration_s": 86401},
        {"area": {"description": "x", "polygons": [[(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]]}},
        {"unknown": 1},
    ],
)
def test_contents_that_do_not_fit_together_are_refused(changes: dict[str, object]) -> None:
    fields = cap.parse(sample()).content(None).model_dump() | changes
    with pytest.raises(ValidationError):
        Content.model_validate(fields)


def test_what_is_signed_comes_back() -> None:
    content = cap.parse(sample()).content(None)
    assert warning_content.parse(content.encode()) == content
    with pytest.raises(LocalError):
        warning_content.parse(b"{}")
