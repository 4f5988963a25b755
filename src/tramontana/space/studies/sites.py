"""Where a study looks: fixed places, cells, and tracks of ships and aircraft, in one array form."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from tramontana.errors import LocalError
from tramontana.space.fleet import Floats
from tramontana.space.ground import Place
from tramontana.space.observers import Track
from tramontana.space.visibility import itrs_positions_m

SiteKind = Literal["place", "cell", "track"]
MOST_ROWS = 200_000


class SiteError(LocalError):
    """A list of places or a track cannot be used; the message names file and line."""


@dataclass(frozen=True, eq=False)
class Sites:
    """P sites. A fixed one stays at its coordinate; a track moves, and its coordinate is that of its first instant."""

    ids: tuple[str, ...]
    names: tuple[str, ...]
    countries: tuple[str, ...]
    """ISO 3166-1 alpha-2, empty where unknown or on the high seas."""
    kind: SiteKind
    latitude_deg: Floats
    longitude_deg: Floats
    height_m: Floats
    population: Floats
    """NaN where unknown."""
    tracks: tuple[Track, ...] = ()
    """One for each site of the kind "track", else none."""

    @classmethod
    def of(
        cls,
        *,
        ids: Sequence[str],
        names: Sequence[str],
        kind: SiteKind,
        latitude_deg: Floats,
        longitude_deg: Floats,
        height_m: Floats | None = None,
        population: Floats | None = None,
        countries: Sequence[str] | None = None,
        tracks: Sequence[Track] = (),
    ) -> Sites:
        """Sites with what is not given filled in: height 0, population and country unknown. Raises `SiteError` for ids given twice."""
        count = len(ids)
        if len(set(ids)) != count:
            twice = sorted({i for i in ids if ids.count(i) > 1})[0] if count < MOST_ROWS else "one of them"
            raise SiteError(f"the id {twice!r} is given twice: give every place an id of its own")
        return cls(
            ids=tuple(ids),
            names=tuple(names),
            countries=tuple(countries or [""] * count),
            kind=kind,
            latitude_deg=np.asarray(latitude_deg, dtype=np.float64),
            longitude_deg=np.asarray(longitude_deg, dtype=np.float64),
            height_m=np.zeros(count) if height_m is None else np.asarray(height_m, dtype=np.float64),
            population=np.full(count, np.nan) if population is None else np.asarray(population, dtype=np.float64),
            tracks=tuple(tracks),
        )

    @classmethod
    def of_places(cls, places: Sequence[Place]) -> Sites:
        """Sites of places of the ground."""
        return cls.of(
            ids=[p.id for p in places],
            names=[p.name for p in places],
            countries=[p.country for p in places],
            kind="place",
            latitude_deg=np.array([p.latitude_deg for p in places]),
            longitude_deg=np.array([p.longitude_deg for p in places]),
            height_m=np.array([p.height_m for p in places]),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def coordinates(self, times_unix_s: Floats) -> tuple[Floats, Floats, Floats]:
        """Latitude, longitude (degrees) and height (metres): (1, P) of fixed sites, (T, P) of tracks."""
        if not self.tracks:
            return self.latitude_deg[None], self.longitude_deg[None], self.height_m[None]
        moving = [track.at(times_unix_s) for track in self.tracks]
        latitude, longitude, height = (np.stack(column, axis=1) for column in zip(*moving, strict=True))
        return latitude, longitude, height

    def frames(self, times_unix_s: Floats) -> tuple[Floats, Floats]:
        """Position (metres) and zenith in ITRS: (1, P, 3) of fixed sites, (T, P, 3) of tracks."""
        latitude, longitude, height = self.coordinates(times_unix_s)
        return itrs_positions_m(latitude, longitude, height), _unit_vectors(latitude, longitude)

    def place(self, index: int, at_unix_s: float) -> Place:
        """One site as a place of the ground, where it is at an instant."""
        latitude, longitude, height = (row[0] for row in self.take(index).coordinates(np.array([at_unix_s])))
        return Place(
            self.ids[index],
            self.names[index],
            self.countries[index],
            "ship" if self.kind == "track" else "city",
            float(latitude[0]),
            float(longitude[0]),
            float(height[0]),
        )

    def take(self, index: int) -> Sites:
        """One site alone."""
        span = slice(index, index + 1)
        return Sites(
            self.ids[span],
            self.names[span],
            self.countries[span],
            self.kind,
            self.latitude_deg[span],
            self.longitude_deg[span],
            self.height_m[span],
            self.population[span],
            self.tracks[span],
        )


def parse_place_list(text: str, *, name: str) -> Sites:
    """Places of a CSV file with the columns name, lat, lon and, if wanted, id (else the name), height (m), population, country.

    Raises `SiteError` that names file, line and column.
    """
    ids, names, countries, numbers = [], [], [], []
    for where, row in _rows(text, name, ("name", "lat", "lon")):
        ids.append(_word(row, "id" if "id" in row else "name", where))
        names.append(_word(row, "name", where) if row["name"].strip() else ids[-1])
        countries.append(row.get("country", "").strip().upper())
        numbers.append(
            (
                _number(row, "lat", where, -90, 90),
                _number(row, "lon", where, -180, 180),
                _number(row, "height", where, -500, 20_000, missing=0.0),
                _number(row, "population", where, 0, 1e10, missing=np.nan),
            )
        )
    latitude, longitude, height, population = np.array(numbers, dtype=np.float64).T
    try:
        return Sites.of(
            ids=ids,
            names=names,
            countries=countries,
            kind="place",
            latitude_deg=latitude,
            longitude_deg=longitude,
            height_m=height,
            population=population,
        )
    except SiteError as error:
        raise SiteError(f"{name}: {error}") from error


def parse_track(text: str, *, name: str) -> Sites:
    """One moving site of a CSV file with the columns time (ISO 8601, UTC unless it says otherwise), lat, lon and, if wanted, height (m).

    Its id is the file's name without the ending. Raises `SiteError` that names file, line and column.
    """
    points: list[tuple[float, float, float, float]] = []
    for where, row in _rows(text, name, ("time", "lat", "lon")):
        try:
            at = parse_instant(row["time"])
        except ValueError as error:
            raise SiteError(f"{where}: time {row['time']!r} is not like 2026-05-21T12:00:00Z") from error
        if points and at <= points[-1][0]:
            raise SiteError(f"{where}: time {row['time']!r} does not come after the line before it")
        points.append(
            (
                at,
                _number(row, "lat", where, -90, 90),
                _number(row, "lon", where, -180, 180),
                _number(row, "height", where, -500, 20_000, missing=0.0),
            )
        )
    if len(points) < 2:
        raise SiteError(f"{name} holds one position: a track needs at least two")
    try:
        track = Track(*np.array(points).T)
    except LocalError as error:
        raise SiteError(f"{name}: {error}") from error
    stem = name.rsplit("/", 1)[-1].rsplit(".", 1)[0] or name
    latitude, longitude, height = np.array(points[:1]).T[1:]
    return Sites.of(ids=[stem], names=[stem], kind="track", latitude_deg=latitude, longitude_deg=longitude, height_m=height, tracks=[track])


def parse_instant(text: str) -> float:
    """POSIX seconds of ISO 8601 text, UTC unless it names another zone. Raises `ValueError`."""
    moment = datetime.fromisoformat(text.strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _rows(text: str, name: str, needed: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Each row of a CSV with "file, line n" before it; headings lose case and spaces, and latitude, longitude may be written out."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    rows: list[tuple[str, dict[str, str]]] = []
    try:
        headings = [_HEADINGS.get(h.strip().lower(), h.strip().lower()) for h in next(reader, [])]
        absent = [column for column in needed if column not in headings]
        if absent:
            raise SiteError(f"{name}, line 1: there is no column {absent[0]!r}: begin with a line of headings, {', '.join(needed)}")
        for values in reader:
            where = f"{name}, line {reader.line_num}"
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(headings):
                raise SiteError(f"{where}: {len(values)} values for {len(headings)} columns")
            if len(rows) == MOST_ROWS:
                raise SiteError(f"{where}: more than {MOST_ROWS:,} rows: divide the file")
            rows.append((where, dict(zip(headings, values, strict=True))))
    except csv.Error as error:
        raise SiteError(f"{name}, line {reader.line_num}: {error}") from error
    if not rows:
        raise SiteError(f"{name} holds no row below its headings")
    return rows


_HEADINGS = {"latitude": "lat", "latitude_deg": "lat", "longitude": "lon", "lng": "lon", "longitude_deg": "lon"} | {
    "height_m": "height",
    "altitude": "height",
    "time_utc": "time",
}


def _word(row: dict[str, str], column: str, where: str) -> str:
    word = row[column].strip()
    if not word or not word.isprintable():
        raise SiteError(f"{where}: {column} is empty or cannot be printed")
    return word


def _number(row: dict[str, str], column: str, where: str, low: float, high: float, missing: float | None = None) -> float:
    text = row.get(column, "").strip()
    if not text and missing is not None:
        return missing
    try:
        value = float(text)
    except ValueError as error:
        raise SiteError(f"{where}: {column} {text!r} is not a number") from error
    if not low <= value <= high:
        raise SiteError(f"{where}: {column} {text} lies outside {low:g} to {high:g}")
    return value


def _unit_vectors(latitude_deg: Floats, longitude_deg: Floats) -> Floats:
    """(…, 3) on a sphere; with geodetic coordinates the zenith of the ellipsoid."""
    lat, lon = np.radians(latitude_deg), np.radians(longitude_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)
