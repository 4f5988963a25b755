"""Real element sets from a file of any usual format: what was taken over as a fleet, and what was refused and why."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from sgp4.api import SGP4_ERRORS

from tramontana.space.element_set import SGP4_EPOCH, ElementsError, ElementSet, Rejection, clean_name
from tramontana.space.fleet import ELEMENT_FIELDS, Fleet
from tramontana.space.omm import parse_csv, parse_json, parse_xml
from tramontana.space.orbits import satrecs
from tramontana.space.tle import parse_tle

LARGEST_FILE_BYTES = 256 * 1024 * 1024  # after decompression; every object ever catalogued takes less than half of it as XML

_GZIP_MAGIC = b"\x1f\x8b"
_UTF8_BOM = b"\xef\xbb\xbf"
_XML_BOMS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class LoadedElements:
    """The outcome of reading an elements file."""

    fleet: Fleet
    format: str
    rejections: tuple[Rejection, ...]


def parse_elements(data: bytes, *, name: str, source: str = "") -> LoadedElements:
    """Read TLE or OMM (JSON, CSV, XML), plain or in gzip; the content decides which.

    name: what people know the file by, for the label. source: origin and notice; the name where it is empty.
    Of two sets of one satellite the newer is kept. Raises `ElementsError` if nothing usable is left.
    """
    name = clean_name(name) or "elements"
    content = _decompress(data)
    stripped = content.removeprefix(_UTF8_BOM).lstrip()
    if stripped.startswith(b"<") or content.startswith(_XML_BOMS):
        kind, found = "OMM XML", list(parse_xml(content))
    else:
        text = stripped.decode("utf-8", errors="replace")
        header = text[:4096].partition("\n")[0]
        if stripped.startswith((b"[", b"{")):
            kind, found = "OMM JSON", list(parse_json(text))
        elif "," in header and "NORAD_CAT_ID" in header:
            kind, found = "OMM CSV", list(parse_csv(text))
        else:
            kind, found = "TLE", list(parse_tle(text))
    rejections = [item for item in found if isinstance(item, Rejection)]
    newest, older = _newest_of_each([item for item in found if isinstance(item, ElementSet)])
    rejections += older
    usable, failed = _propagatable(newest)
    rejections += failed
    if not usable:
        raise ElementsError(_nothing_usable(name, kind, rejections))
    fleet = _fleet(usable, name=name, source=source or name)
    return LoadedElements(fleet, kind, tuple(rejections))


def _decompress(data: bytes) -> bytes:
    if not data.startswith(_GZIP_MAGIC):
        content = data
    else:
        try:
            content = gzip.GzipFile(fileobj=io.BytesIO(data)).read(LARGEST_FILE_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise ElementsError(f"the gzip file is damaged or cut off ({error}): download it again") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise ElementsError(f"the elements take more than {LARGEST_FILE_BYTES // 2**20} MiB: split the file, no catalogue is that large")
    return content


def _newest_of_each(sets: list[ElementSet]) -> tuple[list[ElementSet], list[Rejection]]:
    """The newest set of every catalogue number in file order, and a note on each older one; of equal epochs the first is kept."""
    newest: dict[int, ElementSet] = {}
    older: list[Rejection] = []
    for item in sets:
        kept = newest.get(item.catalogue_number)
        if kept is None:
            newest[item.catalogue_number] = item
            continue
        dropped = kept if item.epoch_days_1949 > kept.epoch_days_1949 else item
        winner = item if dropped is kept else kept
        newest[item.catalogue_number] = winner
        reason = f"a newer set of catalogue number {item.catalogue_number} is used, from {winner.where}"
        if winner.epoch_days_1949 == dropped.epoch_days_1949:
            reason = f"repeats catalogue number {item.catalogue_number} of {winner.where} with the same epoch"
        older.append(Rejection(dropped.where, dropped.name, reason))
    return list(newest.values()), older


def _propagatable(sets: list[ElementSet]) -> tuple[list[ElementSet], list[Rejection]]:
    """Those that SGP4 accepts and can place at their own epoch, and a note on each other one."""
    usable: list[ElementSet] = []
    failed: list[Rejection] = []
    if not sets:
        return usable, failed
    for item, record in zip(sets, satrecs(_fleet(sets, name="unchecked", source="unchecked")), strict=True):
        error = record.error or record.sgp4_tsince(0.0)[0]
        if error:
            why = SGP4_ERRORS.get(error, f"error {error}")
            failed.append(Rejection(item.where, item.name, f"SGP4 cannot propagate it: {why}"))
        else:
            usable.append(item)
    return usable, failed


def _fleet(sets: list[ElementSet], *, name: str, source: str) -> Fleet:
    arrays = {field: np.array([getattr(item, field) for item in sets], dtype=np.float64) for field in ELEMENT_FIELDS}
    middle = SGP4_EPOCH + timedelta(days=float(np.median(arrays["epoch_days_1949"])))
    return Fleet(
        label=f"{name}: {len(sets):,} satellites, elements of {middle:%Y-%m-%d}",
        provenance="elements",
        source=source,
        names=tuple(item.name for item in sets),
        catalogue_number=np.array([item.catalogue_number for item in sets], dtype=np.int64),
        **arrays,
    )


def _nothing_usable(name: str, kind: str, rejections: list[Rejection]) -> str:
    wanted = "give element sets as TLE, or as OMM in JSON, CSV or XML, plain or in gzip"
    if not rejections:
        return f"{name} holds no element sets: {wanted}"
    first = rejections[0]
    return f"nothing in {name} is usable as {kind}: {len(rejections):,} rejected, the first at {first.where}: {first.reason}; {wanted}"
