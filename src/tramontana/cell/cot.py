"""Cursor-on-Target events, as TAK servers and clients exchange them in XML (MITRE, CoT base schema 2.0; docs/sources.md).

A stream of events has no frame around it: `EventStream` cuts it into events by the rules of XML alone, within bounds, and refuses
document types, entities and whatever else would not be cut. `parse` reads one event strictly; what it does not know in `detail` is
skipped. Positions are of persons: nothing is read but where somebody is, how sure that is, how long it holds and what he is called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal

from lxml import etree

from tramontana.errors import RemoteError
from tramontana.keys.fields import is_displayable

MAX_EVENT_OCTETS = 64 * 1024
"""Of one event; those of clients have one or two thousand."""
MAX_DEPTH = 32
MAX_UID = 128
MAX_CALLSIGN = MAX_KIND = 64
UID_PREFIX = "tramontana-"
"""Begins the uid of every event of ours."""
UNKNOWN = 9999999.0
"""Height and errors that are not known are written so."""
EMERGENCY_TYPE = "b-a-o-tbl"
"""Bits, alarm, other: "911 alert"; TAK clients show it as an emergency."""
EMERGENCY_OVER_TYPE = "b-a-o-can"
AREA_TYPE = "u-d-f"
"""A drawing of straight lines; its corners are the points of its links."""
PING_TYPE, PONG_TYPE = "t-x-c-t", "t-x-c-t-r"
DELETE_TYPE = "t-x-d-d"

Point = tuple[float, float]
"""Latitude and longitude in degrees."""


class BadCot(RemoteError):
    """The event is none, or not one that can be used; it was dropped. The message says what is wrong."""


class BadStream(RemoteError):
    """What the TAK server sends cannot be cut into events; the connection is closed. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. Times are POSIX seconds, angles degrees in WGS 84; height above the ellipsoid; errors None where they are not known."""

    uid: str
    kind: str
    """`type`: a path of letters, for example a-f-G-U-C."""
    how: str
    at: float
    start: float
    stale: float
    latitude_deg: float
    longitude_deg: float
    height_m: float | None = None
    radius_m: float | None = None
    """`ce`: the position is within this circle."""
    height_error_m: float | None = None
    callsign: str = ""
    phone: str = ""
    course_deg: float | None = None
    speed_m_s: float | None = None
    remarks: str = ""
    emergency: Literal["", "raised", "over"] = ""
    corners: tuple[Point, ...] = ()
    deletes: str = ""
    """The uid of the event that this one takes back."""


# Reading

_DECIMAL = re.compile(r"[+-]?\d{1,12}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,2})?")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_KIND = re.compile(r"[A-Za-z0-9.]{1,8}(?:-[A-Za-z0-9._]{1,16}){0,15}")


def parse(octets: bytes) -> Event:
    """One event as `EventStream` cut it, or from a datagram. Raises `BadCot`."""
    if len(octets) > MAX_EVENT_OCTETS:
        raise BadCot(f"an event is longer than {MAX_EVENT_OCTETS // 1024} KiB")
    if b"<!DOCTYPE" in octets or b"<!ENTITY" in octets:
        raise BadCot("an event declares a document type or entities: nothing of it was read")
    try:
        root = etree.fromstring(octets, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadCot(f"an event is no XML ({error})") from error
    if root.tag != "event" or root.getroottree().docinfo.doctype:
        raise BadCot("what came is no event")
    point = root.find("point")
    if point is None:
        raise BadCot("an event has no point")
    uid, kind = root.get("uid", ""), root.get("type", "")
    if not 1 <= len(uid) <= MAX_UID or not is_displayable(uid):
        raise BadCot(f"an event's uid has 1 to {MAX_UID} characters that can be shown")
    if len(kind) > MAX_KIND or not _KIND.fullmatch(kind):
        raise BadCot("an event's type is no path of letters")
    latitude_deg, longitude_deg = _number(point, "lat", 90.0), _number(point, "lon", 180.0)
    at, start, stale = (_instant(root, name) for name in ("time", "start", "stale"))
    if stale < start:
        raise BadCot("an event is stale before it begins")
    detail = root.find("detail")
    contact, track, emergency = (None if detail is None else detail.find(name) for name in ("contact", "track", "emergency"))
    callsign = "" if contact is None else contact.get("callsign", "").strip()
    over = kind == EMERGENCY_OVER_TYPE or (emergency is not None and emergency.get("cancel") == "true")
    return Event(
        uid,
        kind,
        root.get("how", "")[:16],
        at,
        start,
        stale,
        latitude_deg,
        longitude_deg,
        _known(point, "hae"),
        _error(point, "ce"),
        _error(point, "le"),
        callsign=callsign if len(callsign) <= MAX_CALLSIGN and is_displayable(callsign) else "",
        course_deg=_within(track, "course", 360.0),
        speed_m_s=_within(track, "speed", 10_000.0),
        emergency="over" if over else "raised" if kind.startswith("b-a-o") or emergency is not None else "",
    )


def _parser() -> Any:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True)


def _value(element: Any, name: str) -> float:
    text = element.get(name, "").strip()
    if not _DECIMAL.fullmatch(text):
        raise BadCot(f"an event's {name} is no number")
    return float(text)


def _number(element: Any, name: str, most: float) -> float:
    value = _value(element, name)
    if not abs(value) <= most:
        raise BadCot(f"an event's {name} is not on Earth")
    return value


def _known(element: Any, name: str) -> float | None:
    value = _value(element, name)
    return value if abs(value) < UNKNOWN else None


def _error(element: Any, name: str) -> float | None:
    value = _known(element, name)
    if value is not None and value < 0:
        raise BadCot(f"an event's {name} is negative")
    return value


def _within(element: Any, name: str, most: float) -> float | None:
    """Of a detail that many write as they like: None where it is none."""
    text = "" if element is None else element.get(name, "").strip()
    value = float(text) if _DECIMAL.fullmatch(text) else -1.0
    return value if 0 <= value <= most else None


def _instant(element: Any, name: str) -> float:
    text = element.get(name, "")
    try:
        if _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    raise BadCot(f"an event's {name} is no instant")


# Writing


def encode(event: Event) -> bytes:
    """One event for the stream or a datagram: UTF-8, without a declaration."""
    root = etree.Element("event", version="2.0", uid=clean(event.uid), type=event.kind, how=event.how)
    for name, instant in (("time", event.at), ("start", event.start), ("stale", event.stale)):
        root.set(name, _stamp(instant))
    errors = {"hae": event.height_m, "ce": event.radius_m, "le": event.height_error_m}
    written = {name: f"{UNKNOWN if value is None else value:.1f}" for name, value in errors.items()}
    etree.SubElement(root, "point", lat=f"{event.latitude_deg:.6f}", lon=f"{event.longitude_deg:.6f}", **written)
    detail = etree.SubElement(root, "detail")
    if event.callsign:
        contact = etree.SubElement(detail, "contact", callsign=clean(event.callsign))
        if event.phone:
            contact.set("phone", clean(event.phone))
    if event.emergency == "raised":
        etree.SubElement(detail, "emergency", type="911 Alert").text = clean(event.callsign)
    elif event.emergency == "over":
        etree.SubElement(detail, "emergency", type="Cancel Alert", cancel="true").text = clean(event.callsign)
    if event.course_deg is not None and event.speed_m_s is not None:
        etree.SubElement(detail, "track", course=f"{event.course_deg:.1f}", speed=f"{event.speed_m_s:.1f}")
    for latitude_deg, longitude_deg in event.corners:
        etree.SubElement(detail, "link", point=f"{latitude_deg:.6f},{longitude_deg:.6f}")
    if event.corners:  # clients show nothing that has no colour: red, and the same red for a quarter inside (ARGB as signed 32 bits)
        for name, value in (("strokeColor", "-65536"), ("strokeWeight", "3.0"), ("fillColor", "1090453504")):
            etree.SubElement(detail, name, value=value)
    if event.deletes:
        etree.SubElement(detail, "link", uid=clean(event.deletes), relation="p-p", type="none")
        etree.SubElement(detail, "__forcedelete")
    if event.remarks:
        etree.SubElement(detail, "remarks").text = clean(event.remarks)
    octets: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=False)
    return octets


def ended(event: Event, now: float) -> Event:
    """What takes back an event that was sent: an emergency is called off, anything else deleted."""
    if event.emergency:
        return replace(event, kind=EMERGENCY_OVER_TYPE, emergency="over", at=now, stale=max(now, event.start) + 60.0)
    return Event(f"{event.uid}-end", DELETE_TYPE, "m-g", now, now, now + 60.0, 0.0, 0.0, deletes=event.uid)


def ping(uid: str, now: float) -> Event:
    """Asks a TAK server whether it is there; it answers with a pong."""
    return Event(f"{uid}-ping", PING_TYPE, "m-g", now, now, now + 20.0, 0.0, 0.0)


def _stamp(instant: float) -> str:
    """Milliseconds, as clients write them; within the years that XML's dateTime and this library share."""
    at = datetime.fromtimestamp(min(max(instant, 0.0), 253402300799.0), UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def clean(text: str) -> str:
    """Without what XML 1.0 cannot hold (§2.2)."""
    return "".join(each for each in text if each in "\t\n\r" or " " <= each <= "\ud7ff" or "\ue000" <= each <= "\ufffd" or each > "\uffff")


# Cutting a stream


class _Inside(Enum):
    """Where in the XML the cut is, and what ends that."""

    TEXT = b"<"
    TAG = b">"
    DOUBLE = b'"'
    SINGLE = b"'"
    COMMENT = b"-->"
    CDATA = b"]]>"
    INSTRUCTION = b"?>"


_OPENINGS = ((b"<!--", _Inside.COMMENT), (b"<![CDATA[", _Inside.CDATA), (b"<?", _Inside.INSTRUCTION))
_IN_TAG = re.compile(rb"[\"'<>]")
_BLANK = re.compile(rb"[ \t\r\n]*")


class EventStream:
    """Octets in, whole events out. Every octet is looked at once, and no more is kept than one event may have."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._depth = 0
        self._inside = _Inside.TEXT
        self._tag = 0

    def receive(self, octets: bytes) -> list[bytes]:
        """Events that are whole now. Raises `BadStream`: after it nothing more can be read."""
        self._buffer += octets
        found = []
        while self._step():
            if self._depth == 0 and self._inside is _Inside.TEXT:
                whole = bytes(self._buffer[: self._at])
                del self._buffer[: self._at]
                self._at = 0
                if not whole.startswith(b"<?"):
                    found.append(whole)
        if len(self._buffer) > MAX_EVENT_OCTETS:
            raise BadStream(f"an event is longer than {MAX_EVENT_OCTETS // 1024} KiB")
        return found

    def _step(self) -> bool:
        """Read on to the end of a piece of markup; False where more octets are needed."""
        if self._inside is _Inside.TEXT:
            return self._enter()
        if self._inside is _Inside.TAG:
            return self._in_tag()
        end = self._inside.value
        where = self._buffer.find(end, self._at)
        if where < 0:
            self._at = max(self._at, len(self._buffer) - len(end) + 1)
            return False
        self._at = where + len(end)
        self._inside = _Inside.TAG if self._inside in (_Inside.DOUBLE, _Inside.SINGLE) else _Inside.TEXT
        return True

    def _enter(self) -> bool:
        if self._depth == 0:
            blank = _BLANK.match(self._buffer)
            del self._buffer[: blank.end() if blank else 0]
            self._at = 0
            if self._buffer and self._buffer[:1] != b"<":
                raise BadStream("between two events there is something else")
        where = self._buffer.find(b"<", self._at)
        if where < 0:
            self._at = len(self._buffer)
            return False
        self._at = where
        head = bytes(self._buffer[where : where + 9])
        for opening, inside in _OPENINGS:
            if head.startswith(opening):
                self._at, self._inside = where + len(opening), inside
                if self._depth == 0 and inside is not _Inside.INSTRUCTION:
                    raise BadStream("between two events there is something else")
                return True
            if len(head) < len(opening) and opening.startswith(head):
                return False
        if head.startswith(b"<!"):
            raise BadStream("an event declares a document type or entities: nothing of it was read")
        self._at, self._inside, self._tag = where + 1, _Inside.TAG, where
        return True

    def _in_tag(self) -> bool:
        found = _IN_TAG.search(self._buffer, self._at)
        if found is None:
            self._at = len(self._buffer)
            return False
        self._at = found.end()
        match found.group():
            case b'"':
                self._inside = _Inside.DOUBLE
            case b"'":
                self._inside = _Inside.SINGLE
            case b"<":
                raise BadStream("a tag begins within a tag")
            case _:
                self._close_tag()
        return True

    def _close_tag(self) -> None:
        self._inside = _Inside.TEXT
        if self._buffer[self._tag + 1 : self._tag + 2] == b"/":
            self._depth -= 1
        elif self._buffer[self._at - 2 : self._at - 1] != b"/":
            self._depth += 1
        if not 0 <= self._depth <= MAX_DEPTH:
            raise BadStream("the elements of an event do not end as they began, or are nested too deep")
