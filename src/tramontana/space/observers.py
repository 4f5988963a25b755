"""Who looks up: any number of fixed places in the arrays that the visibility kernels read, and tracks of places that move.

Fixed places are grouped in cells of about 2.5° so that a satellite is compared with the cells it can reach and not with every place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tramontana.errors import LocalError
from tramontana.space._kernels import GEOSTATIONARY_RADIUS_M
from tramontana.space.fleet import Floats
from tramontana.space.visibility import itrs_positions_m, local_frames

CELL_DEG = 2.5
STARLINK_ARC_AVOIDANCE_DEG = 18.0
"""Least angle between a Ku user link and the geostationary arc. Assumption (range 10 to 22), for want of the filings themselves: users who
quote them give 22° (Gen1 application) and 18° (a later reply); no figure for Gen2 was found."""
WIDEST_ARC_AVOIDANCE_DEG = 60.0
LOWEST_MASK_DEG = -10.0  # an aircraft at 15 km sees 4° below the horizontal
LOWEST_HEIGHT_M, GREATEST_HEIGHT_M = -500.0, 20_000.0
_DEFLECTION_RAD = np.radians(0.2)  # the geodetic zenith differs from the geocentric one by at most 0.1924°
_ROUNDING_RAD = 1e-7  # of the prefilters, whose angles come from cosines
_WIDE_REGION_RAD = np.radians(75.0)  # with the lowest mask a reach of 100° stays below a half turn
_ARC_SAMPLES = 721

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Obstruction:
    """The lowest free elevation by azimuth: A equal sectors from north by east, so 36 values are 10° each."""

    elevation_deg: Floats
    """(A,), −90 to 90."""

    def __post_init__(self) -> None:
        if self.elevation_deg.ndim != 1 or not 1 <= self.elevation_deg.shape[0] <= 3600:
            raise LocalError("an obstruction mask needs 1 to 3600 elevations, one for each equal sector of azimuth from north")
        if not bool(np.all(np.abs(self.elevation_deg) <= 90.0)):
            raise LocalError("an obstruction mask needs finite elevations between -90 and 90 degrees")


class Places:
    """P fixed places with their masks, as arrays for the kernels. Answers come in the order in which the places were given.

    An answer costs least when all places have scalar masks: obstructions and arc avoidance are looked at pair by pair.
    """

    def __init__(
        self,
        latitude_deg: ArrayLike,
        longitude_deg: ArrayLike,
        height_m: ArrayLike = 0.0,
        *,
        minimum_elevation_deg: ArrayLike = 25.0,
        obstructions: dict[int, Obstruction] | None = None,
        arc_avoidance_deg: ArrayLike = 0.0,
    ) -> None:
        """latitude, longitude: (P,) geodetic WGS 84. Scalars stand for all places.

        obstructions: by index of the place, on top of its minimum elevation.
        arc_avoidance_deg: least separation from the geostationary arc as seen from the place; 0 for none.
        Raises `LocalError` for no place, other shapes, and values that are not finite or out of range.
        """
        latitude = np.atleast_1d(np.asarray(latitude_deg, dtype=np.float64))
        count = latitude.shape[0]
        if latitude.ndim != 1 or count == 0:
            raise LocalError("give at least one place, as one-dimensional arrays of latitudes and longitudes")
        longitude = _filled(longitude_deg, count, "longitude", -360.0, 360.0)
        height = _filled(height_m, count, "height in metres", LOWEST_HEIGHT_M, GREATEST_HEIGHT_M)
        mask = _filled(minimum_elevation_deg, count, "minimum elevation", LOWEST_MASK_DEG, 90.0)
        avoidance = _filled(arc_avoidance_deg, count, "angle kept from the geostationary arc", 0.0, WIDEST_ARC_AVOIDANCE_DEG)
        latitude = _filled(latitude, count, "latitude", -90.0, 90.0)

        position = itrs_positions_m(latitude, longitude, height)
        radius = np.linalg.norm(position, axis=1)
        direction = position / radius[:, None]
        frames = local_frames(latitude, longitude)
        order, band_base, column_first, cell_first = _cells(direction)
        self.count = count
        self.order: Ints = order
        """(P,) the given index of each place in the order of the kernels."""
        self.rank: Ints = np.argsort(order)
        self.band_base, self.column_first, self.cell_first = band_base, column_first, cell_first
        self.cell: Floats = _caps(direction[order], cell_first)
        """(C, 5) unit vector of the centre, cosine and sine of the radius."""
        self.region: Floats = _region(direction, float(np.min(radius)), float(np.min(mask)))
        """(8,) centre, cosine (−1 for wide ones) and sine of the radius, least distance of a place from the Earth's centre, cosine and
        sine of the lowest mask."""
        columns = np.vstack([position.T, frames[:, 2].T, np.sin(np.radians(mask))])
        self.place: Floats = np.ascontiguousarray(columns[:, order])
        """(7, P) position, zenith, sine of the mask."""
        self.frame: Floats = np.ascontiguousarray(frames[order, :2].reshape(count, 6))
        self.obstruction_of, self.obstruction_sine = _obstructions(obstructions or {}, self.rank)
        self.arc_of, self.arc = arcs_to_avoid(position[order], avoidance[order])

    @property
    def is_plain(self) -> bool:
        """Whether all masks are scalars, without obstructions and arc avoidance."""
        return bool(np.all(self.obstruction_of < 0) and np.all(self.arc_of < 0))


class Track:
    """A place that moves: positions at ascending instants, along the great circle and evenly in height between them.

    Before the first and after the last instant there is no position, and asking raises `LocalError`.
    """

    def __init__(self, unix_s: ArrayLike, latitude_deg: ArrayLike, longitude_deg: ArrayLike, height_m: ArrayLike = 0.0) -> None:
        """(K,) each, K ≥ 2; a scalar height stands for all. Raises `LocalError` for times not ascending and antipodes in a row."""
        times = np.asarray(unix_s, dtype=np.float64)
        if times.ndim != 1 or times.shape[0] < 2 or not bool(np.all(np.isfinite(times)) and np.all(np.diff(times) > 0)):
            raise LocalError("a track needs at least two instants, finite and ascending")
        count = times.shape[0]
        latitude = np.radians(_filled(latitude_deg, count, "latitude", -90.0, 90.0))
        longitude = np.radians(_filled(longitude_deg, count, "longitude", -360.0, 360.0))
        self.unix_s: Floats = times
        self._height_m = _filled(height_m, count, "height in metres", LOWEST_HEIGHT_M, GREATEST_HEIGHT_M)
        cos = np.cos(latitude)
        self._normal = np.stack([cos * np.cos(longitude), cos * np.sin(longitude), np.sin(latitude)], axis=-1)
        sine = np.linalg.norm(np.cross(self._normal[:-1], self._normal[1:]), axis=1)
        self._angle = np.arctan2(sine, np.sum(self._normal[:-1] * self._normal[1:], axis=1))
        if bool(np.any(self._angle > np.pi - 1e-6)):
            raise LocalError("two successive positions of the track are antipodes, between which no great circle is the shortest")

    def at(self, unix_s: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Latitude and longitude (degrees) and height (metres) at (T,) instants."""
        times = np.atleast_1d(np.asarray(unix_s, dtype=np.float64))
        if not bool(np.all((times >= self.unix_s[0]) & (times <= self.unix_s[-1]))):
            raise LocalError("the track has no position at some of the instants: extend it, or ask for fewer")
        leg = np.clip(np.searchsorted(self.unix_s, times, side="right") - 1, 0, self.unix_s.shape[0] - 2)
        share = (times - self.unix_s[leg]) / (self.unix_s[leg + 1] - self.unix_s[leg])
        angle = self._angle[leg]
        safe = np.where(angle > 1e-9, np.sin(angle), 1.0)  # a shorter leg than 6 mm is a standstill
        before = np.where(angle > 1e-9, np.sin((1 - share) * angle) / safe, 1.0 - share)
        after = np.where(angle > 1e-9, np.sin(share * angle) / safe, share)
        x, y, z = (before[:, None] * self._normal[leg] + after[:, None] * self._normal[leg + 1]).T
        height = (1 - share) * self._height_m[leg] + share * self._height_m[leg + 1]
        return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x)), height


def _filled(values: ArrayLike, count: int, what: str, low: float, high: float) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.shape not in ((), (count,)):
        raise LocalError(f"{what}: give one value or one for each of the {count} places, not an array of shape {array.shape}")
    if not bool(np.all((array >= low) & (array <= high))):  # NaN compares false
        raise LocalError(f"{what} must be finite and lie between {low:g} and {high:g}")
    return np.array(np.broadcast_to(array, (count,)))


def _cells(direction: Floats) -> tuple[Ints, Ints, Ints, Ints]:
    """Places sorted into cells: columns of longitude, in bands of geocentric latitude.

    Returned: the order of the places, (P,); where the columns of each band begin, (B + 1,); the first cell at or after each column,
    (columns + 1,), where only columns with places have a cell; the first place of each cell, (C + 1,).
    """
    bands = round(180.0 / CELL_DEG)
    latitude = np.arcsin(np.clip(direction[:, 2], -1.0, 1.0))
    turn = np.mod(np.arctan2(direction[:, 1], direction[:, 0]) / (2 * np.pi), 1.0)
    band = np.clip(((latitude / np.pi + 0.5) * bands).astype(np.int64), 0, bands - 1)
    middle = ((np.arange(bands) + 0.5) / bands - 0.5) * np.pi
    sectors = np.maximum(1, np.round(2 * bands * np.cos(middle))).astype(np.int64)
    base = np.concatenate([[0], np.cumsum(sectors)]).astype(np.int64)
    column = base[band] + np.minimum((turn * sectors[band]).astype(np.int64), sectors[band] - 1)
    order = np.argsort(column, kind="stable").astype(np.int64)
    used, first_place = np.unique(column[order], return_index=True)
    column_first = np.searchsorted(used, np.arange(base[-1] + 1)).astype(np.int64)
    return order, base, column_first, np.append(first_place, direction.shape[0]).astype(np.int64)


def _caps(direction: Floats, cell_first: Ints) -> Floats:
    caps = np.empty((cell_first.shape[0] - 1, 5))
    for c, (first, end) in enumerate(zip(cell_first[:-1].tolist(), cell_first[1:].tolist(), strict=True)):
        caps[c] = _cap(direction[first:end])
    return caps


def _cap(direction: Floats) -> tuple[float, float, float, float, float]:
    """The smallest cap about the mean direction: centre, cosine and sine of its radius."""
    mean = np.mean(direction, axis=0)
    length = float(np.linalg.norm(mean))
    if length < 1e-9:  # places all around the Earth have no middle
        return 0.0, 0.0, 1.0, -1.0, 0.0
    centre = mean / length
    apart = 2.0 * np.arcsin(np.minimum(1.0, np.linalg.norm(direction - centre, axis=1) / 2.0))
    radius = min(np.pi, float(np.max(apart)) + _ROUNDING_RAD)
    return float(centre[0]), float(centre[1]), float(centre[2]), float(np.cos(radius)), float(np.sin(radius))


def _region(direction: Floats, least_radius_m: float, lowest_mask_deg: float) -> Floats:
    x, y, z, cosine, sine = _cap(direction)
    lowest = np.radians(lowest_mask_deg) - _DEFLECTION_RAD
    wide = cosine <= np.cos(_WIDE_REGION_RAD) + 1e-6
    return np.array([x, y, z, -1.0 if wide else cosine, sine, least_radius_m, np.cos(lowest), np.sin(lowest)])


def _obstructions(obstructions: dict[int, Obstruction], rank: Ints) -> tuple[Ints, Floats]:
    """Row of each place, in kernel order, and the rows: all brought to the least common number of sectors."""
    of = np.full(rank.shape[0], -1, dtype=np.int64)
    if not obstructions:
        return of, np.zeros((1, 1))
    sectors = int(np.lcm.reduce([o.elevation_deg.shape[0] for o in obstructions.values()]))
    if sectors > 3600:
        raise LocalError("give all obstruction masks the same number of azimuth sectors")
    rows = np.empty((len(obstructions), sectors))
    for row, (index, obstruction) in enumerate(obstructions.items()):
        if not 0 <= index < rank.shape[0]:
            raise LocalError(f"an obstruction is given for place {index}, but there are {rank.shape[0]} places, counted from 0")
        rows[row] = np.repeat(np.sin(np.radians(obstruction.elevation_deg)), sectors // obstruction.elevation_deg.shape[0])
        of[rank[index]] = row
    return of, rows


def arcs_to_avoid(position_m: Floats, avoidance_deg: Floats) -> tuple[Ints, Floats]:
    """For each place, (P, 3), its row of the table that `near_arc` reads, −1 without avoidance or an arc in sight; and the table."""
    of = np.full(position_m.shape[0], -1, dtype=np.int64)
    rows: list[tuple[float, float, float, float, float]] = []
    for index in np.flatnonzero(avoidance_deg > 0.0).tolist():
        half_width = _visible_arc_half_width_rad(position_m[index])
        if half_width <= 0.0:
            continue
        offset = np.linspace(0.0, half_width, _ARC_SAMPLES)
        longitude = np.arctan2(position_m[index, 1], position_m[index, 0])
        towards = GEOSTATIONARY_RADIUS_M * np.stack([np.cos(longitude + offset), np.sin(longitude + offset), 0 * offset], axis=-1)
        towards -= position_m[index]
        declination = np.arcsin(towards[:, 2] / np.linalg.norm(towards, axis=1))
        angle = np.radians(avoidance_deg[index])
        margin = angle + np.radians(0.01)  # the arc between two samples
        low, high = float(np.min(declination)) - margin, float(np.max(declination)) + margin
        of[index] = len(rows)
        rows.append((np.sin(max(low, -np.pi / 2)), np.sin(min(high, np.pi / 2)), half_width, float(np.cos(angle)), float(longitude)))
    return of, np.array(rows, dtype=np.float64).reshape(-1, 5) if rows else np.zeros((1, 5))


def _visible_arc_half_width_rad(position_m: Floats) -> float:
    """Greatest difference of longitude at which a geostationary satellite stands above the geocentric horizon of a place; 0 for none."""
    radius = float(np.linalg.norm(position_m))
    cos_latitude = float(np.hypot(position_m[0], position_m[1])) / radius
    ratio = radius / GEOSTATIONARY_RADIUS_M
    return float(np.arccos(ratio / cos_latitude)) if cos_latitude > ratio else 0.0
