"""Two-line element sets, with or without a name line (CelesTrak, "NORAD Two-Line Element Set Format"), strictly by column."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from tramontana.space.element_set import SGP4_XP_EPHEMERIS_TYPE, ElementSet, Rejection, Unusable, clean_name, epoch_days_1949

LINE_LENGTH = 69

_CATALOGUE = r"(?P<catalogue>[ 0-9A-HJ-NP-Z][ 0-9]{3}[0-9])"
_ANGLE = r"[ 0-9]{2}[0-9]\.[0-9]{4}"
_EXPONENTIAL = r"[ +-][ 0-9]{5}[ +-][0-9]"
# The two derivatives of the mean motion and the counters take part in the checksum only: SGP4 does not use them.
_LINE_1 = re.compile(
    rf"1 {_CATALOGUE}[ A-Z] [ -~]{{8}} (?P<year>[ 0-9][0-9])(?P<day>[ 0-9]{{2}}[0-9]\.[0-9]{{8}}) "
    rf"[ -~]{{10}} [ -~]{{8}} (?P<bstar>{_EXPONENTIAL}) (?P<type>[ 0-9]) [ 0-9]{{4}}[0-9]"
)
_LINE_2 = re.compile(
    rf"2 {_CATALOGUE} (?P<inclination>{_ANGLE}) (?P<raan>{_ANGLE}) (?P<eccentricity>[ 0-9]{{7}}) "
    rf"(?P<perigee>{_ANGLE}) (?P<anomaly>{_ANGLE}) (?P<motion>[ 0-9][0-9]\.[0-9]{{8}})[ 0-9]{{5}}[0-9]"
)
_ALPHA_5 = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without I and O: Space-Track, "Alpha-5"


def checksum(line: str) -> int:
    """Modulo-10 sum of the first 68 columns: digits count as themselves, a minus as 1, all else as 0."""
    return sum(int(c) if c.isascii() and c.isdigit() else c == "-" for c in line[: LINE_LENGTH - 1]) % 10


def parse_tle(text: str) -> Iterator[ElementSet | Rejection]:
    """Every element set of a TLE file, or why it was refused, in file order."""
    name = ""
    name_line = 0  # where the name stands that the next element lines belong to; 0 for none
    pending: tuple[int, str] | None = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip("\r \t\0")
        if not line or line.startswith("#"):
            continue
        if line.startswith("2 ") and pending is not None:
            first_number, first = pending
            yield _pair(first_number, name, first, line)
            name, name_line, pending = "", 0, None
            continue
        if pending is not None:
            yield Rejection(f"line {pending[0]}", name, "line 1 without a line 2 after it")
            name, name_line, pending = "", 0, None
        if line.startswith("1 "):
            pending = (number, line)
        elif line.startswith("2 "):
            yield Rejection(f"line {number}", name, "line 2 without a line 1 before it")
            name, name_line = "", 0
        else:
            if name_line:
                yield Rejection(f"line {name_line}", name, "text that no element lines follow")
            name, name_line = clean_name(line.removeprefix("0 ")), number
    if pending is not None:
        yield Rejection(f"line {pending[0]}", name, "line 1 without a line 2 after it: the file may be cut off")
    elif name_line:
        yield Rejection(f"line {name_line}", name, "text that no element lines follow")


def _pair(number: int, name: str, first: str, second: str) -> ElementSet | Rejection:
    where = f"line {number}"
    shown = name or clean_name(first[2:7])
    try:
        return _element_set(where, name, first, second)
    except Unusable as reason:
        return Rejection(where, shown, str(reason))


def _element_set(where: str, name: str, first: str, second: str) -> ElementSet:
    one, two = _columns(_LINE_1, first, 1), _columns(_LINE_2, second, 2)
    catalogue_number = _catalogue_number(one["catalogue"])
    if catalogue_number != _catalogue_number(two["catalogue"]):
        raise Unusable(f"the lines name two satellites: {one['catalogue'].strip()} and {two['catalogue'].strip()}")
    if one["type"] == SGP4_XP_EPHEMERIS_TYPE:
        raise Unusable("ephemeris type 4 is SGP4-XP, not SGP4")
    return ElementSet(
        where=where,
        name=name or f"NORAD {catalogue_number}",
        catalogue_number=catalogue_number,
        epoch_days_1949=_epoch(one["year"], one["day"]),
        inclination_deg=_number(two["inclination"], "inclination"),
        raan_deg=_number(two["raan"], "right ascension of the node"),
        eccentricity=_number("0." + two["eccentricity"].replace(" ", "0"), "eccentricity"),
        argument_of_perigee_deg=_number(two["perigee"], "argument of perigee"),
        mean_anomaly_deg=_number(two["anomaly"], "mean anomaly"),
        mean_motion_rev_per_day=_number(two["motion"], "mean motion"),
        bstar_per_earth_radius=_exponential(one["bstar"]),
    )


def _columns(pattern: re.Pattern[str], line: str, number: int) -> dict[str, str]:
    if len(line) != LINE_LENGTH:
        raise Unusable(f"line {number} has {len(line)} characters instead of {LINE_LENGTH}")
    if not ("0" <= line[-1] <= "9" and int(line[-1]) == checksum(line)):
        raise Unusable(f"line {number} has checksum {line[-1]!r} but its columns sum to {checksum(line)}")
    match = pattern.fullmatch(line)
    if match is None:
        raise Unusable(f"line {number} does not keep to the columns of the format")
    return match.groupdict()


def _catalogue_number(field: str) -> int:
    """Five digits, blanks in front, or Alpha-5: a letter that stands for 10 to 33 and four digits."""
    padded = field.strip().rjust(5, "0")
    if not padded[1:].isdigit():
        raise Unusable(f"catalogue number {field!r} is malformed")
    return _ALPHA_5.index(padded[0]) * 10_000 + int(padded[1:])


def _epoch(year_field: str, day_field: str) -> float:
    """Two-digit year (57–99 are 1957–1999) and day of the year, 1.0 being 1 January 0 h. Kept to the last of its eight decimals."""
    year, day = int(year_field), _number(day_field, "day of the year")
    if not 1 <= day < 367:
        raise Unusable(f"day {day_field.strip()} of the year does not exist")
    start = epoch_days_1949(datetime(year + (1900 if year >= 57 else 2000), 1, 1, tzinfo=UTC))
    return round(start + day - 1, 8)


def _exponential(field: str) -> float:
    """``-11606-4`` is −0.11606·10⁻⁴."""
    sign = -1 if field[0] == "-" else 1
    mantissa = int(field[1:6].replace(" ", "0"))
    exponent = int(field[6:].replace(" ", "+"))
    return float(f"{sign * mantissa}e{exponent - 5}")


def _number(field: str, what: str) -> float:
    try:
        return float(field)
    except ValueError:
        raise Unusable(f"{what} {field!r} is not a number") from None
