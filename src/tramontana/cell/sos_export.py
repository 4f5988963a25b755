"""A case for other systems: a Cursor-on-Target event (tak.gov) and a CAP 1.2 alert (OASIS, private scope).

Both tell where, how exactly and since when; of the person the case's number and what is known of people and injured. The phone number
goes along only where it is asked for: whoever takes the event may show it to many.
"""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as Xml  # only writes: nothing foreign is parsed here

from tramontana.cell.cot import EMERGENCY_OVER_TYPE, EMERGENCY_TYPE, UID_PREFIX, Event, clean, encode
from tramontana.cell.sos_case import Case
from tramontana.errors import LocalError

STALE_S = 3600.0
"""How long a case holds for others; while it is open it is told again."""
CAP_NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"


class NoPosition(LocalError):
    """The case has no position yet: ask for it, or set it on the map; then export it."""


def _stamp(instant: float, form: str) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime(form)


def _summary(case: Case) -> str:
    known = [f"people {case.people}" if case.people is not None else "", f"injured {case.injured}" if case.injured is not None else ""]
    return ", ".join([f"SOS case {case.number}", case.state, *filter(None, known)])


def sos_event(case: Case, case_id: str, now: float, *, with_phone: bool = False, with_words: bool = True) -> Event:
    """with_words: what the person wrote last. Raises `NoPosition`."""
    if case.position is None:
        raise NoPosition(f"case {case.number} has no position yet: ask for it, or set it on the map")
    return Event(
        uid=f"{UID_PREFIX}sos-{case_id}",
        kind=EMERGENCY_TYPE if case.state != "closed" else EMERGENCY_OVER_TYPE,
        how="m-g" if case.position.source == "aml" else "h-e",  # machine: GPS; human: estimated
        at=now,
        start=case.opened_at,
        stale=now + STALE_S,
        latitude_deg=case.position.latitude,
        longitude_deg=case.position.longitude,
        radius_m=case.position.accuracy_m,
        callsign=f"SOS {case.number}",
        phone=case.phone if with_phone else "",
        emergency="raised" if case.state != "closed" else "over",
        remarks=f"{_summary(case)}. {case.last_text}" if with_words else f"{_summary(case)}.",
    )


def cursor_on_target(case: Case, case_id: str, now: float, *, with_phone: bool = False) -> bytes:
    """A document with one event. Raises `NoPosition`."""
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + encode(sos_event(case, case_id, now, with_phone=with_phone))


def cap_alert(case: Case, case_id: str, sender: str, now: float, *, with_phone: bool = False) -> bytes:
    """One alert of private scope. sender: who answers for it, an address or a domain. Raises `NoPosition`."""
    if case.position is None:
        raise NoPosition(f"case {case.number} has no position yet: ask for it, or set it on the map")
    form = "%Y-%m-%dT%H:%M:%S-00:00"  # CAP 1.2 §3.3.2: UTC is written so
    alert = Xml.Element("alert", xmlns=CAP_NAMESPACE)

    def add(parent: Xml.Element, name: str, text: str) -> None:
        Xml.SubElement(parent, name).text = clean(text)

    add(alert, "identifier", f"tramontana-sos-{case_id}-{round(now)}")
    add(alert, "sender", sender)
    add(alert, "sent", _stamp(now, form))
    add(alert, "status", "Actual")
    add(alert, "msgType", "Alert")
    add(alert, "scope", "Private")
    add(alert, "addresses", "rescue-coordination")
    info = Xml.SubElement(alert, "info")
    add(info, "language", case.language or "it")
    add(info, "category", "Rescue")
    add(info, "event", "SOS")
    for name, value in (("urgency", "Immediate"), ("severity", "Severe"), ("certainty", "Observed")):
        add(info, name, value if case.state != "closed" else {"urgency": "Past", "severity": "Unknown", "certainty": "Observed"}[name])
    add(info, "headline", f"SOS {case.number}")
    add(info, "description", f"{_summary(case)}. {case.last_text}")
    if with_phone:
        add(info, "contact", case.phone)
    area = Xml.SubElement(info, "area")
    add(area, "areaDesc", case.position.name or f"within {case.position.accuracy_m:.0f} m")
    circle = f"{case.position.latitude:.6f},{case.position.longitude:.6f} {case.position.accuracy_m / 1000:.3f}"
    add(area, "circle", circle)
    octets: bytes = Xml.tostring(alert, encoding="utf-8", xml_declaration=True)
    return octets
