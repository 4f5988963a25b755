"""Where is somebody? Positions as phones and people write them: AML, coordinates, links of maps, place names of a catalogue.

What a text claims is taken as its claim: with its accuracy, and how it was found. Three-word addresses and short plus codes are
recognised and not resolved, because that needs a service that is not here when it is needed most; the person is asked for something else.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from tramontana.errors import LocalError

Source = Literal["aml", "coordinates", "map link", "place", "operator"]
PLACE_ACCURACY_M = 5000.0
"""Of a place name: somewhere in or around a small town."""
WRITTEN_ACCURACY_M = 100.0
"""Of coordinates that somebody read off a screen, where they have four decimals or seconds; of fewer decimals it is their step."""
MAX_SCANNED = 2000
"""Characters of a text that are looked at: ten short messages."""


@dataclass(frozen=True, slots=True)
class Position:
    """Degrees in WGS 84; `at` is when it was measured (POSIX seconds), None where nobody said."""

    latitude: float
    longitude: float
    accuracy_m: float
    source: Source
    name: str = ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Aml:
    """An advanced mobile location message (ETSI TS 103 625 §5)."""

    position: Position | None
    imsi: str
    imei: str
    method: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a text says of a place: a position, a device, or words that must be asked about."""

    position: Position | None = None
    aml: Aml | None = None
    three_words: bool = False
    several_places: tuple[str, ...] = ()


# AML, ETSI TS 103 625 V1.3.1 §5.2: A"ML=1;lt=+54.76397;lg=-0.18305;rd=50;top=20130717141935;lc=90;pm=W;si=…;ei=…;mcc=234;mnc=30;ml=128
# From the last beginning before ";ml=": a text of nothing but beginnings is read once, not once from each.
_AML = re.compile(r'A"ML=1;(?:(?!A"ML=1;)[\x20-\x7e])*?;ml=(\d{1,3})')
_AML_METHODS = frozenset("GWCNU")  # GNSS, Wi-Fi, cell, none; U unknown
_AML_NOTHING = "00.00000"


def parse_aml(text: str) -> Aml | None:
    """The AML message in a text, None where there is none or its length or fields are not as they must be."""
    found = _AML.search(text[:MAX_SCANNED])
    if found is None or int(found.group(1)) != len(found.group(0)):
        return None
    fields: dict[str, str] = {}
    for pair in found.group(0)[2:].split(";"):
        name, equals, value = pair.partition("=")
        if not equals or name in fields:
            return None
        fields[name] = value
    method, imsi, imei = fields.get("pm", "U"), fields.get("si", ""), fields.get("ei", "")
    if method not in _AML_METHODS or not all(value == "" or re.fullmatch(r"\d{14,16}", value) for value in (imsi, imei)):
        return None
    return Aml(_aml_position(fields, method), imsi, imei, method)


def _aml_position(fields: dict[str, str], method: str) -> Position | None:
    latitude, longitude = fields.get("lt", ""), fields.get("lg", "")
    if not re.fullmatch(r"[+-]\d{1,2}\.\d{1,6}", latitude) or not re.fullmatch(r"[+-]\d{1,3}\.\d{1,6}", longitude):
        return None
    if method == "N" or latitude[1:] == longitude[1:] == _AML_NOTHING or not re.fullmatch(r"\d{1,6}", fields.get("rd", "")):
        return None  # §5.3: zeros where the phone could not locate itself
    return _position(float(latitude), float(longitude), max(1.0, float(fields["rd"])), "aml", _aml_time(fields.get("top", "")))


def _aml_time(text: str) -> float | None:
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp() if re.fullmatch(r"\d{14}", text) else None
    except ValueError:
        return None


def _position(latitude: float, longitude: float, accuracy_m: float, source: Source, at: float | None = None) -> Position | None:
    if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    return Position(latitude, longitude, accuracy_m, source, at=at)


# Matched against a text whose blanks are collapsed: every quantifier has a bound, so that no text can make them try for long.
_LINK = re.compile(
    r"(?:geo:|[?&](?:q|ll|query|daddr|destination|center)=(?:loc:)?|/@|/maps/(?:place|search)/|[?&]mlat=)"
    r" ?([+-]?\d{1,2}\.\d{1,10})(?:,|%2C|&mlon=)\+? ?([+-]?\d{1,3}\.\d{1,10})",
    re.IGNORECASE,
)
_NUMBER = r"\d{1,3}(?:[.,]\d{1,10})?"
_DMS = rf"(?P<?d>{_NUMBER}) ?[°ºd] ?(?:(?P<?m>{_NUMBER}) ?['’′m] ?(?:(?P<?s>{_NUMBER}) ?(?:[\"”″s]|''|’’) ?)?)?"
# Italian, English, German, French and Romanian.
_NORTH, _SOUTH = r"nord(?:en)?|north", r"s[uü]d(?:en)?|sued(?:en)?|south"
_EAST, _WEST = r"est|east|ost(?:en)?", r"ovest|ouest|vest|west(?:en)?"
_HALF_N, _HALF_E = rf"(?P<?h>{_NORTH}|{_SOUTH}|[ns])", rf"(?P<?h>{_EAST}|{_WEST}|[ewo])"
# "O" is west in Italian, French and Spanish (ovest, ouest), east in German (Ost): only "W" and whole words turn the sign.
_TURNS = re.compile(rf"{_SOUTH}|{_WEST}|[sw]", re.IGNORECASE)


def _sexagesimal() -> tuple[re.Pattern[str], ...]:
    def of(pattern: str, half: str) -> str:
        return pattern.replace("(?P<?", f"(?P<{half}")

    after = of(_DMS, "a") + r" ?" + of(_HALF_N, "a") + r"\b[ ,;/]{0,8}" + of(_DMS, "b") + r" ?" + of(_HALF_E, "b") + r"\b"
    before = r"\b" + of(_HALF_N, "a") + r" ?" + of(_DMS, "a") + r"[ ,;/]{0,8}" + of(_HALF_E, "b") + r" ?" + of(_DMS, "b")
    return re.compile(after, re.IGNORECASE), re.compile(before, re.IGNORECASE)


_SEXAGESIMAL = _sexagesimal()
_DEGREES = r"°|º|degrees?\b|deg\b|degr[eé]s?\b|grad[ie]?\b"
_LETTERED = re.compile(
    rf"(?:\b(?P<ah>{_NORTH}|{_SOUTH}|[NS]))? ?(?<!\d)(?<!\d[.,])(?P<a>[+-]?\d{{1,2}}[.,]\d{{2,10}}) ?(?:{_DEGREES})? ?"
    rf"(?:(?P<ai>{_NORTH}|{_SOUTH}|[NS])\b)?[ ,;/]{{1,8}}(?:(?P<and>e|and|und|et|și|si) )?"
    rf"(?P<bh>{_EAST}|{_WEST}|[EWO])? ?(?P<b>[+-]?\d{{1,3}}[.,]\d{{2,10}}) ?(?:{_DEGREES})? ?(?:(?P<bi>{_EAST}|{_WEST}|[EWO])\b)?",
    re.IGNORECASE,
)
COARSE_FROM_DEGREES = 24.0
"""From this latitude on, two decimals beside words of the compass are coordinates: "nord 12.30, est 13.45" may be times or prices. All
of Europe lies beyond it."""
_LABELLED = re.compile(
    r"\blat(?:itudine|itude|\.)? ?[:=]? ?([+-]?\d{1,2}[.,]\d{2,10})\D{1,20}?"
    r"\b(?:lon|lng|long)(?:gitudine|gitude|itudine|itude|\.)? ?[:=]? ?([+-]?\d{1,3}[.,]\d{2,10})",
    re.IGNORECASE,
)
_THREE_WORDS = re.compile(r"(?:^|[\s(/])/{0,3}([^\W\d_]{3,}\.[^\W\d_]{3,}\.[^\W\d_]{3,})(?=$|[\s,;:!?)])")
_TOP_LEVEL = re.compile(r"^www\.|\.(?:com|org|net|info|gov|edu|eu|app)$", re.IGNORECASE)
_SHORT_CODE = re.compile(r"\b[23456789CFGHJMPQRVWX]{4,8}\+[23456789CFGHJMPQRVWX]{2,3}\b")


def parse_coordinates(text: str) -> Position | None:
    """Coordinates in the usual written forms, None where there are none that can be on Earth."""
    text = re.sub(r"\s+", " ", text[:MAX_SCANNED])
    if link := _LINK.search(text):
        return _position(float(link.group(1)), float(link.group(2)), 50.0, "map link")
    for form in _SEXAGESIMAL:
        if (found := form.search(text)) and (position := _from_sexagesimal(found)):
            return position
    if found := _LABELLED.search(text):
        return _decimal(found.group(1), found.group(2))
    for found in _LETTERED.finditer(text):
        first, second = found.group("a"), found.group("b")
        halves = [(found.group(half + "h") or "", found.group(half + "i") or "") for half in "ab"]
        if any(len(before) > 1 and len(after) > 1 for before, after in halves):
            continue  # "42.63 nord ovest 13.29 est": which word belongs to which number?
        north, east = (before or after for before, after in halves)
        if found.group("and") == "E" and not east:
            east = "E"  # "N 42.63, E 13.29": the letter, not the word for "and"
        words = [half for half in (north, east) if len(half) > 1]
        # Without letters two numbers are coordinates only if they are as fine as coordinates: "12,50 15,30" are prices or times.
        if min(len(_decimals(first)), len(_decimals(second))) < 3:
            latitude = abs(float(first.replace(",", ".")))
            if not (north and east) or (words and (len(words) < 2 or latitude < COARSE_FROM_DEGREES)):
                continue
        if not (north and east):  # one word alone is no half of the globe: "42.6281, 13.2924 west of the church"
            north, east = ("" if half in words else half for half in (north, east))
        if position := _decimal(first, second, south=bool(_TURNS.fullmatch(north)), west=bool(_TURNS.fullmatch(east))):
            return position
    return None


def _decimals(number: str) -> str:
    return re.split(r"[.,]", number)[1]


def _decimal(first: str, second: str, *, south: bool = False, west: bool = False) -> Position | None:
    latitude, longitude = (float(number.replace(",", ".")) for number in (first, second))
    step_m = 111_000.0 / 10 ** min(len(_decimals(first)), len(_decimals(second)))
    return _position(
        -abs(latitude) if south else latitude, -abs(longitude) if west else longitude, max(WRITTEN_ACCURACY_M, step_m), "coordinates"
    )


def _from_sexagesimal(found: re.Match[str]) -> Position | None:
    values = []
    for half in "ab":
        parts = [float((found.group(half + unit) or "0").replace(",", ".")) for unit in "dms"]
        if parts[1] >= 60 or parts[2] >= 60:
            return None
        value = parts[0] + parts[1] / 60 + parts[2] / 3600
        values.append(-value if _TURNS.fullmatch(found.group(half + "h")) else value)
    fine = found.group("as") or "." in (found.group("am") or "") or "," in (found.group("am") or "") or len(found.group("ad")) > 5
    return _position(values[0], values[1], WRITTEN_ACCURACY_M if fine else 2000.0, "coordinates")


def has_three_words(text: str) -> bool:
    """Whether a text has an address of three words, or a plus code without its area."""
    words = _THREE_WORDS.search(text[:MAX_SCANNED])
    return bool(words and not _TOP_LEVEL.search(words.group(1))) or bool(_SHORT_CODE.search(text[:MAX_SCANNED]))


class BadCatalogue(LocalError):
    """The area catalogue cannot be read; the message says which line and what it must hold."""


def _plain(text: str) -> str:
    """Lower case, without accents, apostrophes as spaces: "Arquata del Tronto", "ARQUATA DEL TRONTO", "l'Aquila"."""
    bare = "".join(each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each))
    return " ".join(re.findall(r"[^\W_]+", bare))


class PlaceCatalogue:
    """Names of places, as the operator loads them. The longest name in a text counts; one that fits several places is asked about."""

    def __init__(self, places: Iterable[tuple[str, float, float, str]]) -> None:
        """places: name, latitude, longitude, and what tells two of the same name apart (a province)."""
        self._places: dict[str, list[tuple[str, float, float, str]]] = {}
        for place in places:
            if key := _plain(place[0]):
                self._places.setdefault(key, []).append(place)
        self._longest = max((len(key.split()) for key in self._places), default=0)

    def __len__(self) -> int:
        return sum(map(len, self._places.values()))

    @classmethod
    def parse(cls, text: str) -> PlaceCatalogue:
        """Read CSV with columns name, latitude (or lat), longitude (or lon), and perhaps province. Raises `BadCatalogue`."""
        reader = csv.DictReader(io.StringIO(text))
        try:
            rows = list(reader)
        except csv.Error as error:
            raise BadCatalogue(f"line {reader.line_num} is no line of a table in CSV ({error})") from None
        columns = {name.strip().lower(): name for name in reader.fieldnames or ()}
        name, lat, lon = (next((columns[each] for each in wanted if each in columns), None) for wanted in _COLUMNS)
        if name is None or lat is None or lon is None:
            raise BadCatalogue("the catalogue needs the columns name, latitude and longitude in its first line")
        area = next((columns[each] for each in ("province", "provincia", "area") if each in columns), None)
        places = []
        for line, row in enumerate(rows, 2):
            try:
                latitude, longitude = float(row[lat]), float(row[lon])
            except (TypeError, ValueError):
                raise BadCatalogue(f"line {line}: latitude and longitude must be numbers, in degrees") from None
            if _position(latitude, longitude, 1.0, "place") is None or not (row[name] or "").strip():
                raise BadCatalogue(f"line {line}: a name and a position on Earth are needed")
            places.append((row[name].strip(), latitude, longitude, (row[area] or "").strip() if area else ""))
        return cls(places)

    def find(self, text: str) -> tuple[Position | None, tuple[str, ...]]:
        """The place that a text names, or the names of several among which the person must choose."""
        words = _plain(text[:MAX_SCANNED]).split()
        for length in range(min(self._longest, len(words)), 0, -1):
            hits = {" ".join(words[at : at + length]) for at in range(len(words) - length + 1)} & self._places.keys()
            # A name of one short word ("Re", "Alba") is too often just a word.
            hits = {hit for hit in hits if length > 1 or len(hit) >= 5}
            candidates = [place for hit in sorted(hits) for place in self._places[hit]]
            if not candidates:
                continue
            # "Castro LE": a province beside the name decides.
            named = [place for place in candidates if place[3] and _plain(place[3]) in words]
            chosen = named if len(named) == 1 else candidates
            if len(chosen) == 1:
                label = chosen[0][0] + (f" ({chosen[0][3]})" if chosen[0][3] else "")
                return Position(chosen[0][1], chosen[0][2], PLACE_ACCURACY_M, "place", label), ()
            return None, tuple(f"{place[0]} ({place[3]})" if place[3] else place[0] for place in chosen[:6])
        return None, ()


_COLUMNS = (("name", "nome", "comune"), ("latitude", "lat"), ("longitude", "lon", "lng"))


def find_position(text: str, places: PlaceCatalogue | None = None) -> Found:
    """Everything that a text says about where somebody is; the most exact claim counts."""
    aml = parse_aml(text)
    position = aml.position if aml else parse_coordinates(text)
    if position is not None or aml is not None:
        return Found(position, aml)
    named, several = places.find(text) if places else (None, ())
    return Found(named, None, has_three_words(text) and named is None, several)
