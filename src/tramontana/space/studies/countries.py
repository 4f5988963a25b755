"""Outlines of countries: to study a whole one, and to draw under a map.

Natural Earth (public domain), 1:50m, Italy 1:10m, rounded to 0.001°; `tests/space/studies/regenerate_countries.py` makes `countries.npz`.
Borders are drawn as Natural Earth draws them, which is by who holds a territory: no statement about whose it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One outer ring and its holes; each ring (n, 2): longitude, latitude in degrees, the first point again at the end."""

    outer: Floats
    holes: tuple[Floats, ...] = ()


@dataclass(frozen=True, eq=False)
class _Outlines:
    source: str
    codes: tuple[str, ...]
    polygons: tuple[tuple[int, Polygon], ...]
    """Each with the index of its country."""


def source() -> str:
    """Where the outlines come from."""
    return _outlines().source


def country_polygons(code: str) -> tuple[Polygon, ...]:
    """The territory of a country given by ISO 3166-1 alpha-2. Raises `LocalError` for a code that no outline has."""
    wanted, outlines = code.upper(), _outlines()
    found = tuple(polygon for index, polygon in outlines.polygons if outlines.codes[index] == wanted)
    if not wanted or not found:
        raise LocalError(f"no outline of a country {code!r}: give two letters of ISO 3166-1, for example IT, or a --polygon of your own")
    return found


def outlines_within(west_deg: float, south_deg: float, east_deg: float, north_deg: float) -> Iterator[Floats]:
    """Outer rings, (n, 2) longitude and latitude, of all countries that touch a box."""
    for _, polygon in _outlines().polygons:
        (low_lon, low_lat), (high_lon, high_lat) = polygon.outer.min(axis=0), polygon.outer.max(axis=0)
        if low_lon <= east_deg and high_lon >= west_deg and low_lat <= north_deg and high_lat >= south_deg:
            yield polygon.outer


@cache
def _outlines() -> _Outlines:
    with files("tramontana.space.studies").joinpath("countries.npz").open("rb") as stream, np.load(stream) as archive:
        points = np.cumsum(archive["step_milli_deg"], axis=0) / 1000.0
        rings = np.split(points, np.cumsum(archive["ring_length"])[:-1])
        polygons: list[tuple[int, Polygon]] = []
        for ring, is_hole, country in zip(rings, archive["ring_is_hole"].tolist(), archive["ring_country"].tolist(), strict=True):
            if is_hole:
                owner, outer = polygons[-1]
                polygons[-1] = (owner, Polygon(outer.outer, (*outer.holes, ring)))
            else:
                polygons.append((country, Polygon(ring)))
        return _Outlines(str(archive["source"]), tuple(archive["code"].tolist()), tuple(polygons))
