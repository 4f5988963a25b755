"""Areas of warnings: polygons on the ground, what lies inside, and reading them from GeoJSON (RFC 7946)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.rings import inside

Floats = NDArray[np.float64]
Point = tuple[float, float]
"""Latitude and longitude in degrees, in this order, as CAP writes them."""
Ring = tuple[Point, ...]
"""At least three points; the last one is joined to the first, which is not repeated."""

EARTH_RADIUS_M = 6_371_008.8  # mean radius (IUGG)
MAX_POLYGONS = 200
MAX_POINTS = 4_000
_CIRCLE_POINTS = 36


class AreaRefused(LocalError):
    """The area cannot be used; the message says why."""


def checked(rings: Iterable[Iterable[Point]]) -> tuple[Ring, ...]:
    """Rings as they are kept: closing points and repetitions dropped. Raises `AreaRefused`."""
    found: list[Ring] = []
    for given in rings:
        ring: list[Point] = []
        for latitude, longitude in given:
            if not (math.isfinite(latitude) and math.isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180):
                raise AreaRefused(f"{latitude:g}, {longitude:g} is no place on Earth: latitude comes first, in degrees")
            point = round(float(latitude), 7), round(float(longitude), 7)  # a centimetre
            if not ring or ring[-1] != point:
                ring.append(point)
        if len(ring) > 1 and ring[0] == ring[-1]:
            ring.pop()
        if len(set(ring)) < 3:
            raise AreaRefused("a polygon needs at least three different points")
        if max(p[1] for p in ring) - min(p[1] for p in ring) > 180:
            raise AreaRefused("a polygon must not span more than half of the Earth; cut it in two at the antimeridian")
        if sum(x0 * y1 - x1 * y0 for (y0, x0), (y1, x1) in zip(ring, (*ring[1:], ring[0]), strict=True)) == 0.0:
            raise AreaRefused("a polygon has no area: its points lie on one line")
        found.append(tuple(ring))
    if not found:
        raise AreaRefused("draw an area, or name one")
    if len(found) > MAX_POLYGONS or sum(map(len, found)) > MAX_POINTS:
        raise AreaRefused(f"an area has at most {MAX_POLYGONS} polygons and {MAX_POINTS:,} points: simplify it")
    return tuple(found)


def contains(rings: Iterable[Ring], latitude_deg: Floats, longitude_deg: Floats) -> NDArray[np.bool_]:
    """Which of P points lie in any of the rings, (P,); edges are straight in latitude and longitude, as CAP's are."""
    found = np.zeros(latitude_deg.shape, dtype=np.bool_)
    for ring in rings:
        points = np.array(ring)
        low, high = points.min(axis=0), points.max(axis=0)
        near = np.flatnonzero(
            ~found & (latitude_deg >= low[0]) & (latitude_deg <= high[0]) & (longitude_deg >= low[1]) & (longitude_deg <= high[1])
        )
        found[near] = inside(ring, latitude_deg[near], longitude_deg[near])
    return found


def distance_m(rings: Iterable[Ring], latitude_deg: Floats, longitude_deg: Floats) -> Floats:
    """Metres from each of P points to the area, (P,); 0 inside. On a plane at each point: within a percent at 100 km."""
    nearest = np.full(latitude_deg.shape, np.inf)
    stretch = np.cos(np.radians(latitude_deg))
    rings = tuple(rings)
    for ring in rings:
        for (y0, x0), (y1, x1) in zip(ring, (*ring[1:], ring[0]), strict=True):
            ax, ay = (x0 - longitude_deg) * stretch, y0 - latitude_deg
            bx, by = (x1 - longitude_deg) * stretch, y1 - latitude_deg
            dx, dy = bx - ax, by - ay
            square = dx * dx + dy * dy
            share = np.clip(-(ax * dx + ay * dy) / np.where(square > 0, square, 1.0), 0.0, 1.0)
            nearest = np.minimum(nearest, np.hypot(ax + share * dx, ay + share * dy))
    return np.where(contains(rings, latitude_deg, longitude_deg), 0.0, np.radians(nearest) * EARTH_RADIUS_M)


def size_m2(rings: Iterable[Ring]) -> float:
    """Square metres, overlaps counted twice; on a sphere, edges straight in latitude and longitude."""
    return sum(abs(_signed_area(ring)) for ring in rings)


def _signed_area(ring: Iterable[Point]) -> float:
    points = list(ring)
    total = 0.0
    for (y0, x0), (y1, x1) in zip(points, (*points[1:], points[0]), strict=True):
        total += math.radians(x1 - x0) * (math.sin(math.radians(y0)) + math.sin(math.radians(y1))) / 2
    return total * EARTH_RADIUS_M**2


def circle(centre: Point, radius_m: float) -> Ring:
    """A circle as a polygon of 36 corners that holds it. Raises `AreaRefused`."""
    latitude, longitude = centre
    if not 0 < radius_m < 2_000_000 or abs(latitude) > 85:
        raise AreaRefused("a circle has a radius of up to 2,000 km and does not lie at a pole")
    reach = math.degrees(radius_m / EARTH_RADIUS_M / math.cos(math.pi / _CIRCLE_POINTS))
    angles = (2 * math.pi * n / _CIRCLE_POINTS for n in range(_CIRCLE_POINTS))
    stretch = math.cos(math.radians(latitude))
    return checked([[(latitude + reach * math.cos(a), longitude + reach * math.sin(a) / stretch) for a in angles]])[0]


def from_geojson(found: Any) -> tuple[Ring, ...]:
    """The polygons of a geometry, a feature or a collection. Raises `AreaRefused`, also for holes: CAP has none."""
    rings: list[list[Point]] = []
    _collect(found, rings, 0)
    return checked(rings)


def _collect(found: Any, rings: list[list[Point]], depth: int) -> None:
    if not isinstance(found, Mapping) or depth > 4:
        raise AreaRefused("this is no GeoJSON with polygons")
    match found.get("type"):
        case "FeatureCollection":
            for feature in _list(found.get("features")):
                _collect(feature, rings, depth + 1)
        case "Feature":
            _collect(found.get("geometry"), rings, depth + 1)
        case "GeometryCollection":
            for geometry in _list(found.get("geometries")):
                _collect(geometry, rings, depth + 1)
        case "Polygon":
            _add(found.get("coordinates"), rings)
        case "MultiPolygon":
            for polygon in _list(found.get("coordinates")):
                _add(polygon, rings)
        case other:
            raise AreaRefused(f"an area is made of polygons, not of {other}")


def _add(polygon: Any, rings: list[list[Point]]) -> None:
    several = _list(polygon)
    if len(several) != 1:
        raise AreaRefused("an area of a warning has no holes: fill them, or give several polygons")
    try:
        rings.append([(float(position[1]), float(position[0])) for position in _list(several[0])])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise AreaRefused("a position of a polygon is a list of longitude and latitude") from error


def _list(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise AreaRefused("this is no GeoJSON with polygons")
    return found
