"""Which satellites, beams and times carry a warning to an area, several times to every point. Planned, not commanded, and simulated.

Two kinds of satellite: one holds a beam on a fixed cell of the ground while it passes (earth-fixed), the other drags a fixed pattern of
beams along its track (earth-moving). Either way one beam lights a circle for one dwell, long enough for all pages of the warning, and no
satellite lights more beams at once than it has. Every point is lit in as many separate dwells as were asked for, by different satellites
where they are there: a phone that was behind a house for one of them is not behind it for the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import h3
import numpy as np
from numpy.typing import NDArray

from tramontana.cell import area as areas
from tramontana.cell.area import EARTH_RADIUS_M, Floats, Ring
from tramontana.errors import LocalError
from tramontana.space.beams.cells import Cells
from tramontana.space.beams.held import DWELL_S, MINIMUM_ELEVATION_DEG, HeldBeams, cells_of_points
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.visibility import itrs_positions_m, local_frames

BEAM_RADIUS_M = 39_475.0  # ITU-R system "A" at 525 km (docs/sources.md)
BEAMS_AT_ONCE = 16  # [E] a satellite of today's kind; how many carry warnings at once is the operator's secret
REPETITIONS = 3
HORIZON_S = 900.0
LONGEST_HORIZON_S = 3600.0
POINT_RESOLUTION = 6  # H3: 36 km², a tenth of a beam across
MOST_POINTS = 60_000
_TOO_LARGE = f"the area holds more than {MOST_POINTS:,} small cells (2 million km²): plan it in parts"
_GRID_A_DEGREE = 100
_COLUMNS = 361 * _GRID_A_DEGREE


class Pointing(StrEnum):
    """How beams lie on the ground."""

    EARTH_FIXED = "earth-fixed"
    EARTH_MOVING = "earth-moving"


@dataclass(frozen=True, slots=True)
class PlanRules:
    """What is asked for and what the satellites can do."""

    pointing: Pointing = Pointing.EARTH_FIXED
    repetitions: int = REPETITIONS
    beam_radius_m: float = BEAM_RADIUS_M
    beams_at_once: int = BEAMS_AT_ONCE
    minimum_elevation_deg: float = MINIMUM_ELEVATION_DEG
    dwell_s: float = DWELL_S
    horizon_s: float = HORIZON_S

    def __post_init__(self) -> None:
        if not (1 <= self.repetitions <= 100 and 1 <= self.beams_at_once <= 1000 and 1.0 <= self.dwell_s <= 60.0):
            raise LocalError("a plan has 1 to 100 repetitions, 1 to 1,000 beams a satellite, and dwells of 1 to 60 s")
        if not 30_000.0 <= self.beam_radius_m <= 500_000.0 and self.pointing is Pointing.EARTH_FIXED:
            raise LocalError("a beam that is held on the ground has a radius of 30 to 500 km")
        if not (5_000.0 <= self.beam_radius_m <= 500_000.0 and 5.0 <= self.minimum_elevation_deg <= 89.0):
            raise LocalError("a beam has a radius of 5 to 500 km, and is used from 5 degrees of elevation or more")
        if not self.dwell_s <= self.horizon_s <= LONGEST_HORIZON_S:
            raise LocalError(f"a plan is made for at least one dwell and at most {LONGEST_HORIZON_S / 60:.0f} minutes")


@dataclass(frozen=True, eq=False)
class Points:
    """P small cells of the area with the phones in each."""

    latitude_deg: Floats
    longitude_deg: Floats
    phones: Floats

    @classmethod
    def of(
        cls, rings: tuple[Ring, ...], latitude_deg: Floats | None = None, longitude_deg: Floats | None = None, phones: Floats | None = None
    ) -> Points:
        """The cells of an area. Phones at (Q,) places are added up where they lie inside; without them every cell weighs the same."""
        ids: set[str] = set()
        for ring in rings:
            # Few large cells tell whether there would be too many small ones: half of the Earth's would fill the memory first.
            large = h3.h3shape_to_cells_experimental(h3.LatLngPoly(list(ring)), POINT_RESOLUTION - 3, contain="center")
            if len(large) * 7**3 > 2 * MOST_POINTS:  # twice: what lies across the rim is counted roughly
                raise LocalError(_TOO_LARGE)
            ids.update(h3.h3shape_to_cells_experimental(h3.LatLngPoly(list(ring)), POINT_RESOLUTION, contain="overlap"))
            if len(ids) > MOST_POINTS:
                raise LocalError(_TOO_LARGE)
        names = sorted(ids)
        weight = np.zeros(len(names))
        if latitude_deg is not None and longitude_deg is not None:
            index = {name: number for number, name in enumerate(names)}
            inside = areas.contains(rings, latitude_deg, longitude_deg)
            count = np.ones(latitude_deg.shape) if phones is None else phones
            # Phones are many and cells wide: what is within half a kilometre is looked up once.
            rows, columns = (np.rint(part[inside] * _GRID_A_DEGREE).astype(np.int64) for part in (latitude_deg, longitude_deg))
            squares, of_phone = np.unique(rows * _COLUMNS + columns + _COLUMNS // 2, return_inverse=True)
            sums = np.bincount(of_phone, weights=count[inside], minlength=squares.shape[0])
            for square, there in zip(squares.tolist(), sums.tolist(), strict=True):
                latitude, longitude = square // _COLUMNS / _GRID_A_DEGREE, (square % _COLUMNS - _COLUMNS // 2) / _GRID_A_DEGREE
                # a place on the rim may lie in a cell that the approximation of the area left out
                number = index.get(h3.latlng_to_cell(latitude, longitude, POINT_RESOLUTION))
                if number is not None:
                    weight[number] += there
        if not weight.any():
            weight[:] = 1.0
        centres = np.array([h3.cell_to_latlng(name) for name in names])
        return cls(centres[:, 0], centres[:, 1], weight)


@dataclass(frozen=True, eq=False)
class BroadcastPlan:
    """B beams over T dwells for P points."""

    rules: PlanRules
    unix_s: Floats
    """(T,) when each dwell begins."""
    dwell: NDArray[np.int32]
    """(B,) ascending: the dwell of each beam."""
    satellite: NDArray[np.int32]
    """(B,) index into the fleet."""
    latitude_deg: Floats
    """(B,) where its centre stands in the middle of the dwell."""
    longitude_deg: Floats
    points: Points
    covered: NDArray[np.int16]
    """(P,) in how many dwells each point was lit, by the end."""
    reached_share: Floats
    """(T, repetitions): the share of phones that were lit at least once, twice, … by the end of each dwell."""
    in_view: NDArray[np.int32]
    """(T,) satellites that could light some of the area."""
    overspill: areas.Floats = field(default_factory=lambda: np.empty((0, 2)))
    """(O, 2) latitude and longitude of small cells outside the area that some beam lights."""

    @property
    def is_complete(self) -> bool:
        """Every point as often as asked."""
        return bool(np.all(self.covered >= self.rules.repetitions))

    def reached_after_s(self, share: float, times: int = 1) -> float | None:
        """Seconds from the start until so many phones were lit so often; None if not within the plan."""
        enough = np.flatnonzero(self.reached_share[:, times - 1] >= share - 1e-9)
        return float((enough[0] + 1) * self.rules.dwell_s) if enough.size else None

    def lights(self, latitude_deg: Floats, longitude_deg: Floats) -> NDArray[np.bool_]:
        """Which of Q places lie in some beam, (Q,)."""
        lit = np.zeros(latitude_deg.shape, dtype=np.bool_)
        if not self.dwell.size:
            return lit
        centres = np.unique(np.round(np.stack([self.latitude_deg, self.longitude_deg], axis=-1), 2), axis=0)
        for latitude, longitude in centres.tolist():
            north = np.radians(latitude_deg - latitude)
            east = np.radians(longitude_deg - longitude) * np.cos(np.radians(latitude))
            lit |= np.hypot(north, east) * EARTH_RADIUS_M <= self.rules.beam_radius_m
        return lit

    @property
    def overspill_km2(self) -> float:
        return float(self.overspill.shape[0] * h3.average_hexagon_area(POINT_RESOLUTION, unit="km^2"))


def plan(
    ephemeris: Ephemeris, rings: tuple[Ring, ...], points: Points, start_unix_s: float, rules: PlanRules | None = None
) -> BroadcastPlan:
    """Beams for an area from an instant on, until every point is served or the horizon ends. Raises `LocalError`."""
    rules = rules or PlanRules()
    if not np.isfinite(start_unix_s):
        raise LocalError("a plan begins at a finite instant")
    dwells = int(rules.horizon_s // rules.dwell_s)
    begins: Floats = start_unix_s + rules.dwell_s * np.arange(dwells, dtype=np.float64)
    middles: Floats = begins + rules.dwell_s / 2
    nodes = ephemeris.nodes(float(middles[0]), float(middles[-1]) + 1.0)
    pointing = _Fixed(points, rules) if rules.pointing is Pointing.EARTH_FIXED else _Moving(points, rules)
    covered = np.zeros(points.phones.shape[0], dtype=np.int16)
    total = float(np.sum(points.phones))
    reached: list[list[float]] = []
    beams: list[tuple[int, int, float, float]] = []
    in_view: list[int] = []
    for number in range(dwells):
        position, later = nodes.positions_itrs_m(np.array([middles[number], middles[number] + 1.0]))
        lit = pointing.light(position, later - position, rules.repetitions - covered)
        covered[lit.points] += 1
        beams += [(number, *beam) for beam in lit.beams]
        in_view.append(lit.in_view)
        reached.append([float(np.sum(points.phones[covered >= times])) / total for times in range(1, rules.repetitions + 1)])
        if bool(np.all(covered >= rules.repetitions)):
            break
    table = np.array(beams, dtype=np.float64).reshape(-1, 4)
    return BroadcastPlan(
        rules,
        begins[: len(reached)],
        table[:, 0].astype(np.int32),
        table[:, 1].astype(np.int32),
        table[:, 2],
        table[:, 3],
        points,
        covered,
        np.array(reached),
        np.array(in_view, dtype=np.int32),
        _overspill(rings, table[:, 2:], rules.beam_radius_m),
    )


@dataclass(frozen=True, slots=True)
class _Lit:
    points: NDArray[np.intp]
    beams: list[tuple[int, float, float]]
    in_view: int


class _Fixed:
    """Beams held on cells of the ground."""

    def __init__(self, points: Points, rules: PlanRules) -> None:
        ids, self._cell_of_point = cells_of_points(points.latitude_deg.tolist(), points.longitude_deg.tolist())
        self._cells = Cells.of(ids, minimum_elevation_deg=rules.minimum_elevation_deg)
        self._beams = HeldBeams(self._cells, rules.beams_at_once)

    def light(self, position: Floats, _velocity: Floats, wanted: NDArray[np.int16]) -> _Lit:
        wants = np.zeros(len(self._cells), dtype=np.bool_)
        wants[self._cell_of_point[wanted > 0]] = True
        made = self._beams.light(position, wants)
        lit = np.zeros(len(self._cells), dtype=np.bool_)
        lit[made.cell] = True
        latitude, longitude = self._cells.latitude_deg[made.cell], self._cells.longitude_deg[made.cell]
        where = zip(made.satellite.tolist(), latitude.tolist(), longitude.tolist(), strict=True)
        return _Lit(np.flatnonzero(lit[self._cell_of_point]), list(where), made.in_view)


class _Moving:
    """A hexagonal pattern of beams fixed to each satellite, which lights a beam while points that want it lie in it."""

    def __init__(self, points: Points, rules: PlanRules) -> None:
        self._points = points
        self._rules = rules
        self._site = itrs_positions_m(points.latitude_deg, points.longitude_deg, np.zeros(points.latitude_deg.shape))
        self._up = local_frames(points.latitude_deg, points.longitude_deg)[:, 2]
        self._direction = self._site / np.linalg.norm(self._site, axis=1, keepdims=True)

    def light(self, position: Floats, velocity: Floats, wanted: NDArray[np.int16]) -> _Lit:
        wants = wanted > 0
        lit = np.zeros(wants.shape, dtype=np.bool_)
        beams: list[tuple[int, float, float]] = []
        near = self._near(position)
        for satellite in near.tolist():
            to_satellite = position[satellite] - self._site
            sine = np.sum(to_satellite * self._up, axis=1) / np.linalg.norm(to_satellite, axis=1)
            seen = np.flatnonzero((sine >= np.sin(np.radians(self._rules.minimum_elevation_deg))) & wants & ~lit)
            if not seen.size:
                continue
            nadir = position[satellite] / np.linalg.norm(position[satellite])
            along = velocity[satellite] - nadir * float(velocity[satellite] @ nadir)
            along /= np.linalg.norm(along)
            across = np.cross(nadir, along)
            x, y = _flat(self._direction[seen], nadir, along, across)
            beam = _hexagon(x, y, self._rules.beam_radius_m)
            kinds, of_point, count = np.unique(beam, axis=0, return_inverse=True, return_counts=True)
            chosen = np.argsort(-count, kind="stable")[: self._rules.beams_at_once]
            lit[seen[np.isin(of_point.reshape(-1), chosen)]] = True
            for q, r in kinds[chosen].tolist():
                beams.append((satellite, *_ground(q, r, self._rules.beam_radius_m, nadir, along, across)))
        return _Lit(np.flatnonzero(lit), beams, int(near.size))

    def _near(self, position: Floats) -> NDArray[np.intp]:
        """Satellites that stand high enough over some point."""
        middle = np.mean(self._direction, axis=0)
        middle /= np.linalg.norm(middle)
        wide = float(np.min(self._direction @ middle))
        radius = np.linalg.norm(position, axis=1)
        low = np.radians(self._rules.minimum_elevation_deg)
        with np.errstate(invalid="ignore"):
            reach = np.arccos(np.clip(EARTH_RADIUS_M / radius * np.cos(low), -1, 1)) - low + np.arccos(np.clip(wide, -1, 1)) + 0.01
            return np.flatnonzero(position @ middle / radius >= np.cos(reach))


def _flat(direction: Floats, nadir: Floats, along: Floats, across: Floats) -> tuple[Floats, Floats]:
    """Metres along and across the track from the point below the satellite, distances kept (azimuthal equidistant)."""
    angle = np.arccos(np.clip(direction @ nadir, -1, 1))
    x, y = direction @ along, direction @ across
    stretch = EARTH_RADIUS_M * angle / np.maximum(np.hypot(x, y), 1e-12)
    return x * stretch, y * stretch


def _hexagon(x: Floats, y: Floats, radius_m: float) -> NDArray[np.int64]:
    """(M, 2) axial numbers of the hexagon of circumradius `radius_m` in which each point lies: its beam's circle holds it."""
    q = (np.sqrt(3.0) / 3.0 * x - y / 3.0) / radius_m
    r = (2.0 / 3.0 * y) / radius_m
    s = -q - r
    rounded = np.rint(np.stack([q, r, s], axis=-1))
    error = np.abs(rounded - np.stack([q, r, s], axis=-1))
    worst = np.argmax(error, axis=-1)
    rounded[worst == 0, 0] = -rounded[worst == 0, 1] - rounded[worst == 0, 2]
    rounded[worst == 1, 1] = -rounded[worst == 1, 0] - rounded[worst == 1, 2]
    return np.asarray(rounded[:, :2], dtype=np.int64)


def _ground(q: int, r: int, radius_m: float, nadir: Floats, along: Floats, across: Floats) -> tuple[float, float]:
    """Latitude and longitude of a beam's centre, on a sphere."""
    x, y = radius_m * np.sqrt(3.0) * (q + r / 2.0), radius_m * 1.5 * r
    angle = float(np.hypot(x, y)) / EARTH_RADIUS_M
    towards = (along * x + across * y) / max(float(np.hypot(x, y)), 1e-9)
    point = nadir * np.cos(angle) + towards * np.sin(angle)
    return float(np.degrees(np.arcsin(point[2]))), float(np.degrees(np.arctan2(point[1], point[0])))


def _overspill(rings: tuple[Ring, ...], centres: Floats, radius_m: float) -> Floats:
    """Small cells outside the area in some beam; of very many beams a hundred evenly chosen ones."""
    if not centres.shape[0]:
        return np.empty((0, 2))
    distinct = np.unique(np.round(centres, 2), axis=0)
    if distinct.shape[0] > 100:
        distinct = distinct[np.linspace(0, distinct.shape[0] - 1, 100).astype(np.int64)]
    ids: set[str] = set()
    for latitude, longitude in distinct.tolist():
        ids.update(h3.polygon_to_cells(h3.LatLngPoly(list(areas.circle((latitude, longitude), radius_m))), POINT_RESOLUTION))
    if not ids:
        return np.empty((0, 2))
    found = np.array([h3.cell_to_latlng(name) for name in sorted(ids)])
    return np.asarray(found[~areas.contains(rings, found[:, 0], found[:, 1])], dtype=np.float64)
