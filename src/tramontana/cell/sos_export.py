"""A case for other systems: a Cursor-on-Target event (tak.gov) and a CAP 1.2 alert (OASIS, private scope).

Both tell where, how exactly and since when; of the person the case's number and what is known of people and injured. The phone number
goes along only where it is asked for: whoever takes the event may show it to many.
"""

from __future__ import annotations

from datetime import UTC, datetime
from xml.etree import ElementTree as Xml  # only writes: nothing foreign is parsed here

from tramontana.cell.sos_case import Case
from tramontana.errors import LocalError

COT_TYPE = "b-a-o-tbl"
"""Bits, alarm, other: "911 alert"; TAK clients show it as an emergency."""
COT_STALE_S = 3600.0
COT_UNKNOWN = "9999999.0"
"""Height and its error that are not known."""
CAP_NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"


class NoPosition(LocalError):
    """The case has no position yet: ask for it, or set it on the map; then export it."""


def _stamp(instant: float, form: str) -> str:
    return datetime.fromtimestamp(instant, UTC).strftime(form)


def _summary(case: Case) -> str:
    known = [f"people {case.people}" if case.people is not None else "", f"injured {case.injured}" if case.injured is not None else ""]
    return ", ".join([f"SOS case {case.number}", case.state, *filter(None, known)])


def _clean(text: str) -> str:
    """Without what XML 1.0 cannot hold (§2.2)."""
    return "".join(each for each in text if each in "\t\n\r" or " " <= each <= "\ud7ff" or "\ue000" <= each <= "\ufffd" or each > "\uffff")


def cursor_on_target(case: Case, case_id: str, now: float, *, with_phone: bool = False) -> bytes:
    """One event. Raises `NoPosition`."""
    if case.position is None:
        raise NoPosition(f"case {case.number} has no position yet: ask for it, or set it on the map")
    form = "%Y-%m-%dT%H:%M:%SZ"
    event = Xml.Element(
        "event",
        version="2.0",
        uid=f"tramontana-sos-{case_id}",
        type=COT_TYPE,
        how="m-g" if case.position.source == "aml" else "h-e",  # machine: GPS; human: estimated
        time=_stamp(now, form),
        start=_stamp(case.opened_at, form),
        stale=_stamp(now + COT_STALE_S, form),
    )
    Xml.SubElement(
        event,
        "point",
        lat=f"{case.position.latitude:.6f}",
        lon=f"{case.position.longitude:.6f}",
        hae=COT_UNKNOWN,
        ce=f"{case.position.accuracy_m:.1f}",
        le=COT_UNKNOWN,
    )
    detail = Xml.SubElement(event, "detail")
    contact = Xml.SubElement(detail, "contact", callsign=f"SOS {case.number}")
    if with_phone:
        contact.set("phone", case.phone)
    emergency = Xml.SubElement(detail, "emergency", type="911 Alert" if case.state != "closed" else "Cancel Alert")
    if case.state == "closed":
        emergency.set("cancel", "true")
    emergency.text = f"SOS {case.number}"
    remarks = Xml.SubElement(detail, "remarks")
    remarks.text = _clean(f"{_summary(case)}. {case.last_text}")
    octets: bytes = Xml.tostring(event, encoding="utf-8", xml_declaration=True)
    return octets


def cap_alert(case: Case, case_id: str, sender: str, now: float, *, with_phone: bool = False) -> bytes:
    """One alert of private scope. sender: who answers for it, an address or a domain. Raises `NoPosition`."""
    if case.position is None:
        raise NoPosition(f"case {case.number} has no position yet: ask for it, or set it on the map")
    form = "%Y-%m-%dT%H:%M:%S-00:00"  # CAP 1.2 §3.3.2: UTC is written so
    alert = Xml.Element("alert", xmlns=CAP_NAMESPACE)

    def add(parent: Xml.Element, name: str, text: str) -> None:
        Xml.SubElement(parent, name).text = _clean(text)

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
