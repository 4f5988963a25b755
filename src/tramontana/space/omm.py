"""Orbit Mean-Elements Messages (CCSDS 502.0-B) as JSON, CSV and XML, with the keywords that CelesTrak and Space-Track write."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from xml.etree.ElementTree import Element

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from tramontana.space.element_set import (
    SGP4_XP_EPHEMERIS_TYPE,
    ElementsError,
    ElementSet,
    Rejection,
    Unusable,
    clean_name,
    epoch_days_1949,
)

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_DAY_OF_YEAR = re.compile(r"(\d{4}-\d{3}T.*?)Z?", re.ASCII)
# What the file may say about itself, and the only values that this propagator is right for.
_EXPECTED = {"CENTER_NAME": "EARTH", "REF_FRAME": "TEME", "TIME_SYSTEM": "UTC"}
_THEORIES = ("SGP4", "SGP/SGP4")


def parse_json(text: str) -> Iterator[ElementSet | Rejection]:
    """A list of OMM objects, or one. Raises `ElementsError` if the text is not JSON of that shape."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ElementsError(f"the file starts like JSON but is not: {error}. Was it cut off? Download it again") from error
    rows = document if isinstance(document, list) else [document]
    return _records(rows)


def parse_csv(text: str) -> Iterator[ElementSet | Rejection]:
    """One OMM a row under a header of OMM keywords. Raises `ElementsError` if the text is not CSV."""
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ElementsError(f"the file starts like CSV but is not: {error}. Download it again") from error
    return _records(rows)


def parse_xml(data: bytes) -> Iterator[ElementSet | Rejection]:
    """An `ndm` or `omm` document. Raises `ElementsError` if it is not XML, or has a document type or entities, which are refused."""
    try:
        root = ElementTree.fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise ElementsError(
            "the XML file has a document type or entities, which are refused: an OMM needs none (is it a web page?)"
        ) from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ElementsError(f"the file starts like XML but is not: {error}. Was it cut off? Download it again") from error
    return _records(_fields(message) for message in root.iter() if _tag(message) == "omm")


def _tag(element: Element) -> str:
    """The element's name without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _fields(message: Element) -> dict[str, str]:
    """Every keyword of one OMM: the leaves, whatever section they stand in."""
    return {_tag(leaf): leaf.text or "" for leaf in message.iter() if len(leaf) == 0}


def _records(rows: Iterable[object]) -> Iterator[ElementSet | Rejection]:
    for number, row in enumerate(rows, start=1):
        where = f"record {number}"
        if not isinstance(row, dict):
            yield Rejection(where, "", "not an object of OMM keywords")
            continue
        name = clean_name(str(row.get("OBJECT_NAME") or ""))
        try:
            yield _element_set(where, name, row)
        except Unusable as reason:
            yield Rejection(where, name or clean_name(str(row.get("NORAD_CAT_ID") or "")), str(reason))


def _element_set(where: str, name: str, row: Mapping[Any, Any]) -> ElementSet:
    for keyword, wanted in _EXPECTED.items():
        said = str(row.get(keyword) or wanted).strip().upper()
        if said != wanted:
            raise Unusable(f"{keyword} is {clean_name(said)}, not {wanted}")
    theory = str(row.get("MEAN_ELEMENT_THEORY") or "SGP4").strip().upper()
    if theory not in _THEORIES:
        raise Unusable(f"MEAN_ELEMENT_THEORY is {clean_name(theory)}, not SGP4")
    if str(row.get("EPHEMERIS_TYPE", "")).strip() == SGP4_XP_EPHEMERIS_TYPE:
        raise Unusable("ephemeris type 4 is SGP4-XP, not SGP4")
    catalogue = str(row.get("NORAD_CAT_ID", "")).strip()
    if not _WHOLE.fullmatch(catalogue):
        raise Unusable(f"NORAD_CAT_ID {clean_name(catalogue)!r} is not a catalogue number of up to nine digits")
    return ElementSet(
        where=where,
        name=name or f"NORAD {int(catalogue)}",
        catalogue_number=int(catalogue),
        epoch_days_1949=_epoch(str(row.get("EPOCH") or "").strip()),
        inclination_deg=_number(row, "INCLINATION"),
        raan_deg=_number(row, "RA_OF_ASC_NODE"),
        eccentricity=_number(row, "ECCENTRICITY"),
        argument_of_perigee_deg=_number(row, "ARG_OF_PERICENTER"),
        mean_anomaly_deg=_number(row, "MEAN_ANOMALY"),
        mean_motion_rev_per_day=_number(row, "MEAN_MOTION"),
        bstar_per_earth_radius=_number(row, "BSTAR"),
    )


def _number(row: Mapping[Any, Any], keyword: str) -> float:
    value = row.get(keyword)
    if value is None or value == "":
        raise Unusable(f"{keyword} is missing")
    text = str(value).strip()
    if isinstance(value, bool) or not _NUMBER.fullmatch(text):
        raise Unusable(f"{keyword} {clean_name(text)!r} is not a number")
    return float(text)


def _epoch(text: str) -> float:
    """An ISO 8601 instant with the date as month and day or as day of the year; without a zone it is UTC."""
    try:
        ordinal = _DAY_OF_YEAR.fullmatch(text)
        if ordinal:
            instant = ordinal[1] if "." in ordinal[1] else ordinal[1] + ".0"
            return epoch_days_1949(datetime.strptime(instant + "+0000", "%Y-%jT%H:%M:%S.%f%z"))
        return epoch_days_1949(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise Unusable(f"EPOCH {clean_name(text)!r} is not an instant like 2026-05-21T16:25:15.303264") from None
