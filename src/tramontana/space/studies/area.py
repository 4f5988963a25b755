"""Areas as H3 cells: countries and polygons of GeoJSON (RFC 7946)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import h3
import numpy as np

from tramontana.errors import LocalError
from tramontana.space.fleet import Floats
from tramontana.space.studies.countries import Polygon
from tramontana.space.studies.sites import Sites

MOST_CELLS = 200_000


class AreaError(LocalError):
    """The polygon cannot be used; the message says which part of the file. Give a GeoJSON Polygon or MultiPolygon in degrees."""


def cells_of(polygons: Iterable[Polygon], resolution: int) -> Sites:
    """Every cell that the area touches, by ascending id, as sites at the cells' centres.

    Cells on the rim reach beyond the area: nothing of it is left out, however small. Raises `AreaError` for more than `MOST_CELLS`.
    """
    if not 0 <= resolution <= 9:
        raise AreaError(f"the resolution must lie between 0 (cells of 4,300,000 km²) and 9 (0.1 km²), not {resolution}")
    found: set[str] = set()
    size_km2 = h3.average_hexagon_area(resolution, unit="km^2")
    for polygon in polygons:
        if _box_km2(polygon.outer) / size_km2 > 20 * MOST_CELLS:  # the box is larger than the area: a bound against endless work only
            raise AreaError(f"the area holds far more than {MOST_CELLS:,} cells: choose a --resolution below {resolution}")
        shape = h3.LatLngPoly(*([(lat, lon) for lon, lat in ring.tolist()] for ring in (polygon.outer, *polygon.holes)))
        found.update(h3.h3shape_to_cells_experimental(shape, resolution, contain="overlap"))
        if len(found) > MOST_CELLS:
            raise AreaError(f"the area holds more than {MOST_CELLS:,} cells: choose a --resolution below {resolution}")
    if not found:
        raise AreaError("the area holds no cell: check that the polygon is not empty and that longitude comes before latitude")
    ids = tuple(sorted(found))
    centres = np.array([h3.cell_to_latlng(cell) for cell in ids])
    return Sites.of(ids=ids, names=ids, kind="cell", latitude_deg=centres[:, 0], longitude_deg=centres[:, 1])


def cell_boundary(cell: str) -> Floats:
    """(n, 2) longitude and latitude around a cell, the first point again at the end; without a jump where it crosses the date line."""
    ring = np.array([(lon, lat) for lat, lon in h3.cell_to_boundary(cell)])
    ring[:, 0] -= 360 * np.round((ring[:, 0] - ring[0, 0]) / 360)
    return np.vstack([ring, ring[:1]])


def parse_polygons(text: str, *, name: str) -> tuple[Polygon, ...]:
    """Polygons of a GeoJSON geometry, feature or collection of features. Raises `AreaError`.

    name: of the file, for messages.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AreaError(f"{name} is not JSON ({error}): give a GeoJSON file") from error
    polygons = tuple(_polygons(document, name))
    if not polygons:
        raise AreaError(f"{name} holds no polygon: give a GeoJSON Polygon or MultiPolygon")
    return polygons


def _polygons(item: Any, where: str) -> Iterable[Polygon]:
    kind = item.get("type") if isinstance(item, dict) else None
    if kind == "FeatureCollection":
        for number, feature in enumerate(_list(item, "features", where), start=1):
            yield from _polygons(feature, f"{where}, feature {number}")
    elif kind == "Feature":
        yield from _polygons(item.get("geometry"), where)
    elif kind == "GeometryCollection":
        for part in _list(item, "geometries", where):
            yield from _polygons(part, where)
    elif kind == "Polygon":
        yield _polygon(_list(item, "coordinates", where), where)
    elif kind == "MultiPolygon":
        for part in _list(item, "coordinates", where):
            yield _polygon(part, where)
    else:
        raise AreaError(f"{where} is {f'a {kind}' if isinstance(kind, str) else 'no GeoJSON'}: give a Polygon or MultiPolygon")


def _list(item: dict[str, Any], key: str, where: str) -> list[Any]:
    value = item.get(key)
    if not isinstance(value, list):
        raise AreaError(f"{where} has no list {key!r}: give GeoJSON as RFC 7946 describes it")
    return value


def _polygon(rings: Any, where: str) -> Polygon:
    try:
        arrays = [np.array([(float(point[0]), float(point[1])) for point in ring]) for ring in rings]
    except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
        raise AreaError(f"{where}: a ring is not a list of [longitude, latitude]") from error
    if not arrays:
        raise AreaError(f"{where}: the polygon is empty")
    for ring in arrays:
        if ring.shape[0] < 4 or not bool(np.all(ring[0] == ring[-1])):
            raise AreaError(f"{where}: a ring needs at least four positions, the last like the first")
        if not bool(np.all(np.isfinite(ring) & (np.abs(ring) <= (180.0, 90.0)))):
            raise AreaError(f"{where}: longitude must lie in -180..180 and latitude in -90..90 degrees, in this order")
    return Polygon(arrays[0], tuple(arrays[1:]))


def _box_km2(ring: Floats) -> float:
    width_deg, height_deg = np.ptp(ring, axis=0)
    return float(width_deg * height_deg * 111.3**2 * np.cos(np.radians(np.abs(ring[:, 1]).min())))
