"""Common Alerting Protocol 1.2 in and out (OASIS; ITU-T X.1303 bis), with what the Italian profile asks for.

What comes in is checked against the schema before anything of it is read. Document type declarations are refused altogether, and with
them entities that grow without bound or fetch files. What CAP can say and a broadcast cannot (resources, restricted scope, several
events) is refused with a sentence, never dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

from lxml import etree
from pydantic import ValidationError

from tramontana.cell import area as areas
from tramontana.cell.cell_broadcast import Level
from tramontana.cell.warning_content import (
    LEVEL_OF_SEVERITY,
    LONGEST_S,
    MAX_OCTETS,
    SHORTEST_S,
    Area,
    Content,
    ContentRefused,
    Text,
)
from tramontana.complaints import complaints
from tramontana.errors import LocalError, RemoteError

NAMESPACE = "urn:oasis:names:tc:emergency:cap:1.2"
LEVEL_PARAMETER = "tramontana:level"
"""The level in the names of `Level`: CAP itself has none, and severity alone does not tell which one was approved."""
REPETITION_PARAMETER = "tramontana:repetition"
PROFILE_CODE = "profile:CAP-IT:1.0"
DEFAULT_DURATION_S = 3600
_LANGUAGES = {"it": "it-IT", "en": "en-GB", "de": "de-IT", "fr": "fr-IT", "sl": "sl-IT"}
_MESSAGE_TYPES = {"alert": "Alert", "update": "Update", "cancel": "Cancel"}
_MAX_LINE = 200


class BadCap(RemoteError):
    """The document is no CAP 1.2 alert that can be broadcast; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An earlier message, as `references` names it (§3.2.1)."""

    sender: str
    identifier: str
    sent: str

    def __str__(self) -> str:
        return f"{self.sender},{self.identifier},{self.sent}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What CAP says around the content."""

    identifier: str
    sender: str
    sent_unix_s: float
    sender_name: str
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """A document that was read: its content, still without the warning that it replaces, and its envelope."""

    content: Callable[[str | None], Content]
    """Given our id of the warning that it replaces, or None. Raises `ContentRefused`."""
    envelope: Envelope


def instant(unix_s: float) -> str:
    """CAP's form of date and time, in UTC: it wants an offset and no Z (§3.3.2)."""
    return datetime.fromtimestamp(int(unix_s), tz=UTC).strftime("%Y-%m-%dT%H:%M:%S-00:00")


class Unhandled(RemoteError):
    """An update or a cancellation of something that is not on the air here, or a message that is there already. It is not sent."""


def replaced(received: Received, on_air: Iterable[tuple[str, Sequence[Content]]]) -> str | None:
    """Our id of the one warning on the air that a document replaces; None for a new one. Raises `Unhandled`.

    on_air: ids, each with its content and those that it replaced before. A document of ours refers to our id, one of another author to
    a CAP message of his that was imported, whoever updated it since.
    """
    envelope = received.envelope
    itself = (envelope.sender, envelope.identifier, envelope.sent_unix_s)
    cited = {(each.sender, each.identifier, _instant(each.sent)) for each in envelope.references}
    ours = {each.identifier for each in envelope.references}
    found = []
    for warning_id, contents in on_air:
        sources = {(each.cap.sender, each.cap.identifier, each.cap.sent_unix_s) for each in contents if each.cap is not None}
        if itself in sources or warning_id == envelope.identifier:
            raise Unhandled("this very message is on the air already, or was and is updated: it is not sent a second time")
        if sources & cited or warning_id in ours:
            found.append(warning_id)
    if not envelope.references:
        return None
    if not found:
        raise Unhandled(
            "this update or cancellation is about a warning that is not on the air here: it is not sent, neither as it is nor as a new one"
        )
    if len(found) > 1:
        raise Unhandled(f"this replaces {len(found)} warnings that are on the air: update or cancel each by itself")
    return found[0]


def encode(content: Content, envelope: Envelope) -> bytes:
    """A document that the schema accepts. A template is none: raises `LocalError`."""
    if content.kind == "template":
        raise LocalError("a template is no alert: use it first")
    root = etree.Element(_name("alert"), nsmap={None: NAMESPACE})
    _add(root, "identifier", envelope.identifier)
    _add(root, "sender", envelope.sender)
    _add(root, "sent", instant(envelope.sent_unix_s))
    _add(root, "status", "Exercise" if content.status == "exercise" else "Actual")
    _add(root, "msgType", _MESSAGE_TYPES[content.kind])
    _add(root, "scope", "Public")
    _add(root, "code", PROFILE_CODE)
    if content.status == "exercise":
        _add(root, "note", content.event)  # §3.2.1: an exercise says which one
    if envelope.references:
        _add(root, "references", " ".join(map(str, envelope.references)))
    expires = instant(envelope.sent_unix_s + content.duration_s)
    # A cancellation may be without words, but not without the event that is over.
    for text in content.texts or (None,):
        info = etree.SubElement(root, _name("info"))
        if text is not None:
            _add(info, "language", _LANGUAGES.get(text.language, text.language))
        _add(info, "category", content.category)
        _add(info, "event", content.event)
        _add(info, "urgency", content.urgency)
        _add(info, "severity", content.severity)
        _add(info, "certainty", content.certainty)
        _add(info, "effective", instant(envelope.sent_unix_s))
        _add(info, "expires", expires)
        _add(info, "senderName", envelope.sender_name)
        _add(info, "headline", content.event)
        if text is not None:
            _add(info, "description", text.text)
        for name, value in ((LEVEL_PARAMETER, content.level.value), (REPETITION_PARAMETER, str(content.repetition_s))):
            parameter = etree.SubElement(info, _name("parameter"))
            _add(parameter, "valueName", name)
            _add(parameter, "value", value)
        if content.area is not None:
            place = etree.SubElement(info, _name("area"))
            _add(place, "areaDesc", content.area.description)
            for ring in content.area.polygons:
                _add(place, "polygon", " ".join(f"{_degrees(lat)},{_degrees(lon)}" for lat, lon in (*ring, ring[0])))
    octets: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    _schema().assertValid(etree.fromstring(octets, _parser()))
    return octets


def parse(octets: bytes) -> Received:
    """A document as it arrived. Raises `BadCap`."""
    root = _validated(octets)
    status, kind, scope = (_text(root, name) for name in ("status", "msgType", "scope"))
    if scope != "Public":
        raise BadCap(f"the alert's scope is {scope}: only a public one is broadcast to every phone")
    if status not in ("Actual", "Exercise"):
        raise BadCap(f"the alert's status is {status}: actual alerts and exercises are broadcast, nothing else is")
    if kind not in _MESSAGE_TYPES.values():
        raise BadCap(f"a message of type {kind} warns of nothing")
    references = _references(_text(root, "references"))
    if (kind != "Alert") != bool(references):
        raise BadCap("an update or a cancellation names in `references` what it replaces, and an alert names nothing")
    infos = root.findall(_name("info"))
    if not infos:
        raise BadCap("the alert has no info: it says neither what happened nor where")
    if len(infos) > 2:
        raise BadCap("an alert is broadcast in one or two languages; this one has more parts")
    fields = _fields(infos, status, kind)
    sent = _instant(_text(root, "sent"))
    first = infos[0]
    if any(info.find(_name("resource")) is not None for info in infos):
        raise BadCap("the alert has files attached, which a broadcast cannot carry: remove them")
    expires = _text(first, "expires")
    duration_s = int(_instant(expires) - sent) if expires else DEFAULT_DURATION_S
    if not SHORTEST_S <= duration_s <= LONGEST_S:
        raise BadCap(f"the alert expires {duration_s} s after it was sent: between {SHORTEST_S} s and {LONGEST_S // 3600} h are possible")
    fields["duration_s"] = duration_s
    envelope = Envelope(_text(root, "identifier"), _text(root, "sender"), sent, _text(first, "senderName"), references)

    fields["cap"] = {"sender": envelope.sender, "identifier": envelope.identifier, "sent_unix_s": sent}

    def content(replaces: str | None) -> Content:
        try:
            return Content.model_validate({**fields, "replaces": replaces})
        except ValidationError as error:
            raise ContentRefused(complaints(error)) from error

    return Received(content, envelope)


def _fields(infos: list[Any], status: str, kind: str) -> dict[str, Any]:
    first = infos[0]
    for name in ("category", "urgency", "severity", "certainty"):
        if len({_text(info, name) for info in infos}) != 1 or len(first.findall(_name("category"))) != 1:
            raise BadCap(f"the parts of the alert differ in {name}: one event is warned of at a time, in one category")
    parts = [[etree.tostring(found, method="c14n") for found in info.findall(_name("area"))] for info in infos]
    if any(part != parts[0] for part in parts):
        raise BadCap("the parts of the alert are for different areas: send one alert for each")
    parameters = {_text(found, "valueName"): _text(found, "value") for info in infos for found in info.findall(_name("parameter"))}
    severity = _text(first, "severity")
    try:
        said = parameters.get(LEVEL_PARAMETER)
        level = Level(said) if said else LEVEL_OF_SEVERITY.get(severity, Level.LEVEL_3)
        repetition_s = int(parameters.get(REPETITION_PARAMETER, "60"))
    except ValueError as error:
        raise BadCap(f"a parameter of the alert is unknown ({error})") from error
    texts = []
    for info in infos:
        words = "\n".join(filter(None, (_text(info, "description"), _text(info, "instruction"))))
        if words:
            texts.append(Text.model_construct(language=(_text(info, "language") or "en")[:2].lower(), text=words).model_dump())
    return {
        "kind": kind.lower(),
        "status": status.lower(),
        "level": Level.EXERCISE if status == "Exercise" else level,
        "category": _text(first, "category"),
        "event": _text(first, "event").strip()[:_MAX_LINE],
        "urgency": _text(first, "urgency"),
        "severity": severity,
        "certainty": _text(first, "certainty"),
        "texts": texts,
        "area": _area(first).model_dump(),
        "repetition_s": repetition_s,
    }


def _area(info: Any) -> Area:
    names: list[str] = []
    rings: list[areas.Ring] = []
    for found in info.findall(_name("area")):
        names.append(_text(found, "areaDesc").strip())
        try:
            for polygon in found.findall(_name("polygon")):
                rings += areas.checked([[_point(pair) for pair in polygon.text.split()]])
            for circle in found.findall(_name("circle")):
                centre, radius_km = circle.text.split()
                rings.append(areas.circle(_point(centre), float(radius_km) * 1000))
        except LocalError as error:
            raise BadCap(f"the area {names[-1]!r}: {error}") from error
    if not rings:
        raise BadCap("the alert has no polygon and no circle; names and codes alone do not say where to broadcast")
    try:
        return Area(description=", ".join(names)[:_MAX_LINE].strip() or "-", polygons=tuple(rings))
    except ValidationError as error:
        raise BadCap(complaints(error)) from error


def _references(text: str) -> tuple[Reference, ...]:
    found = []
    for triple in text.split():
        parts = triple.split(",")
        if len(parts) != 3 or not all(parts):
            raise BadCap("`references` names messages by sender, identifier and time sent, with commas between")
        found.append(Reference(*parts))
    return tuple(found)


def _validated(octets: bytes) -> Any:
    if len(octets) > MAX_OCTETS:
        raise BadCap(f"the document is longer than {MAX_OCTETS // 1024} KiB")
    if b"<!DOCTYPE" in octets or b"<!ENTITY" in octets or octets[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise BadCap("the document declares a document type or entities, or is no UTF-8: CAP needs neither, and nothing of it was read")
    try:
        root = etree.fromstring(octets, _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise BadCap(f"the document is no XML ({error})") from error
    if root.getroottree().docinfo.doctype:
        raise BadCap("the document declares a document type: CAP needs none, and nothing of it was read")
    schema = _schema()
    if not schema.validate(root):
        fault = schema.error_log[0]
        message = fault.message.replace(f"{{{NAMESPACE}}}", "")
        raise BadCap(f"the document is no CAP 1.2 alert: line {fault.line}: {message}")
    return root


def _parser() -> Any:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True)


@cache
def _schema() -> Any:
    return etree.XMLSchema(etree.fromstring(files(__package__).joinpath("cap_schema.xsd").read_bytes()))


def _name(tag: str) -> str:
    return f"{{{NAMESPACE}}}{tag}"


def _add(parent: Any, tag: str, text: str) -> None:
    try:
        etree.SubElement(parent, _name(tag)).text = text
    except ValueError as error:
        raise LocalError(f"a control character in {tag} cannot be written as XML: type the text again") from error


def _text(parent: Any, tag: str) -> str:
    found = parent.find(_name(tag))
    return "" if found is None or found.text is None else str(found.text)


def _instant(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise BadCap(f"{text!r} is no date and time") from error


def _point(pair: str) -> areas.Point:
    latitude, longitude = pair.split(",")
    return float(latitude), float(longitude)


def _degrees(value: float) -> str:
    """Seven decimals: a centimetre. Never in exponents, which the schema does not read."""
    return f"{value:.7f}".rstrip("0").rstrip(".")
