"""Compiled kernels of positions and visibility, on bare arrays in SI units. `ephemeris` and `in_view` check arguments, nothing here does.

With ``NUMBA_DISABLE_JIT=1`` everything runs as plain Python and gives the same answers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tramontana.space._compile import compiled

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


GEOSTATIONARY_RADIUS_M = 42164172.0  # one sidereal day and the WGS 84 gravitational constant
_NEWTON_STEPS = 8  # three reach 1e-9 rad from the starting point below; more cost nothing where it has converged
_CONVERGED_RAD = 1e-12


@compiled
def hermite(position: Floats, velocity: Floats, step_s: float, first: Indices, share: Floats, out: Floats) -> None:
    """Cubic Hermite interpolation between nodes, every column alike.

    position, velocity: (K, M) at K equidistant nodes. first: (T,) the node before each instant. share: (T,) of the step passed since then.
    out: (T, M).
    """
    for t in range(first.shape[0]):
        k, s = first[t], share[t]
        a1 = s * s * (3.0 - 2.0 * s)
        a0 = 1.0 - a1
        b0 = s * (1.0 - s) * (1.0 - s) * step_s
        b1 = s * s * (s - 1.0) * step_s
        p0, p1, v0, v1, row = position[k], position[k + 1], velocity[k], velocity[k + 1], out[t]
        for m in range(row.shape[0]):
            row[m] = a0 * p0[m] + a1 * p1[m] + b0 * v0[m] + b1 * v1[m]


@compiled
def reach(satellite: Floats, region: Floats) -> tuple[float, float]:
    """Cosine and sine of the greatest angle at the Earth's centre at which this satellite, (3,) metres, can still be seen from the region.

    A satellite that cannot be seen from the region at all, or is NaN, has sine −1. region: see `Places.region`.
    """
    x, y, z = satellite[0], satellite[1], satellite[2]
    radius = math.sqrt(x * x + y * y + z * z)
    cos_mask, sin_mask = region[6], region[7]
    ratio = min(1.0, region[5] * cos_mask / radius)
    cos_reach = ratio * cos_mask + math.sqrt(1.0 - ratio * ratio) * sin_mask
    sin_reach = math.sqrt(max(0.0, 1.0 - cos_reach * cos_reach))
    towards = (x * region[0] + y * region[1] + z * region[2]) / radius
    # A wide region (region[3] < 0) is worth no test. NaN compares false.
    if region[3] < 0.0 and radius > 0.0:
        return cos_reach, sin_reach
    if towards >= region[3] * cos_reach - region[4] * sin_reach:
        return cos_reach, sin_reach
    return 1.0, -1.0


@compiled
def window(satellite: Floats, cos_reach: float, sin_reach: float, bands: int) -> tuple[int, int, float, float]:
    """Where a satellite can be seen: first and one past the last band of geocentric latitude, longitude and its half-width in turns."""
    x, y, z = satellite[0], satellite[1], satellite[2]
    latitude = math.asin(z / math.sqrt(x * x + y * y + z * z))
    angle = math.acos(cos_reach) + 1e-6  # rounding of the angles
    low = int(max(0.0, (latitude - angle) / math.pi + 0.5) * bands)
    high = int(min(1.0, (latitude + angle) / math.pi + 0.5) * bands)
    half_turns = 0.5  # the cap holds a pole: all longitudes
    if abs(latitude) + angle < 0.5 * math.pi - 1e-6:
        half_turns = math.asin(min(1.0, sin_reach / math.cos(latitude))) / (2.0 * math.pi) + 1e-6
    return min(low, bands - 1), min(high, bands - 1) + 1, math.atan2(y, x) / (2.0 * math.pi), half_turns


@compiled
def columns(turn: float, half_turns: float, sectors: int) -> tuple[int, int, int, int]:
    """The columns of a band in a window of longitude: first and last of one run, and of a second one where the window wraps around."""
    west, east = math.floor((turn - half_turns) * sectors), math.floor((turn + half_turns) * sectors)
    if east - west + 1 >= sectors:
        return 0, sectors - 1, 0, -1
    west, east = west % sectors, east % sectors
    if west <= east:
        return west, east, 0, -1
    return west, sectors - 1, 0, east


@compiled
def near_cells(
    satellite: Floats, cos_reach: float, sin_reach: float, band_base: Indices, column_first: Indices, cell: Floats, nearby: Indices
) -> Indices:
    """The cells that the satellite can be seen from, as a part of `nearby`, (C,), which is written over."""
    found = 0
    x, y, z = satellite[0], satellite[1], satellite[2]
    radius = math.sqrt(x * x + y * y + z * z)
    low, high, turn, half_turns = window(satellite, cos_reach, sin_reach, band_base.shape[0] - 1)
    for b in range(low, high):
        base = band_base[b]
        west, east, again, until = columns(turn, half_turns, band_base[b + 1] - base)
        for run in range(2):
            first, last = (west, east) if run == 0 else (again, until)
            for c in range(column_first[base + first], column_first[base + last + 1]):
                towards = (x * cell[c, 0] + y * cell[c, 1] + z * cell[c, 2]) / radius
                if towards >= cell[c, 3] * cos_reach - cell[c, 4] * sin_reach:
                    nearby[found] = c
                    found += 1
    return nearby[:found]


@compiled
def tally(
    satellite: Floats, region: Floats, band_base: Indices, column_first: Indices, cell: Floats, cell_first: Indices, place: Floats,
    scratch: Floats, count: Floats, best_sine: Floats,
) -> None:  # fmt: skip
    """How many satellites each place sees over its own mask, and the sine of the highest elevation of any satellite in reach.

    satellite: (N, 3). The rest as in `Places`; place: (7, P) position, zenith, sine of the mask. scratch, count, best_sine: (P,).
    best_sine stays −2 where no satellite came into reach.
    """
    px, py, pz, ux, uy, uz, sine = place[0], place[1], place[2], place[3], place[4], place[5], place[6]
    nearby = np.empty(cell.shape[0], dtype=np.int64)
    count[:] = 0.0
    best_sine[:] = -2.0
    for n in range(satellite.shape[0]):
        cos_reach, sin_reach = reach(satellite[n], region)
        if sin_reach < 0.0:
            continue
        x, y, z = satellite[n, 0], satellite[n, 1], satellite[n, 2]
        for c in near_cells(satellite[n], cos_reach, sin_reach, band_base, column_first, cell, nearby):
            first, end = cell_first[c], cell_first[c + 1]
            # Two short loops, each with few arrays: the compiler turns both into vector instructions.
            for p in range(first, end):
                dx, dy, dz = x - px[p], y - py[p], z - pz[p]
                scratch[p] = (dx * ux[p] + dy * uy[p] + dz * uz[p]) / math.sqrt(dx * dx + dy * dy + dz * dz)
            for p in range(first, end):
                s = scratch[p]
                count[p] += 1.0 if s >= sine[p] else 0.0
                best_sine[p] = s if s > best_sine[p] else best_sine[p]


@compiled
def scan(
    satellite: Floats, region: Floats, band_base: Indices, column_first: Indices, cell: Floats, cell_first: Indices, place: Floats,
    frame: Floats, obstruction_of: Indices, obstruction_sine: Floats, arc: Floats, arc_of: Indices,
    next_slot: Indices, listed: NDArray[np.int32], count: Floats, best_sine: Floats,
) -> None:  # fmt: skip
    """As `tally`, and with obstructions, arc avoidance and lists: every satellite that a place sees is written to `listed`.

    frame: (P, 6) east and north of each place. obstruction_of: (P,) row of obstruction_sine, −1 for none. obstruction_sine: (O, A) sine of
    the lowest free elevation by azimuth in A equal sectors from north. arc_of: (P,) row of arc (see `near_arc`), −1 for none.
    next_slot: (P,) where the next satellite of each place goes in `listed`; it is moved on. An empty `listed` only counts.
    best_sine is that of the satellites that are seen.
    """
    px, py, pz, ux, uy, uz, sine = place[0], place[1], place[2], place[3], place[4], place[5], place[6]
    nearby = np.empty(cell.shape[0], dtype=np.int64)
    write = listed.shape[0] > 0
    count[:] = 0.0
    best_sine[:] = -2.0
    for n in range(satellite.shape[0]):
        cos_reach, sin_reach = reach(satellite[n], region)
        if sin_reach < 0.0:
            continue
        x, y, z = satellite[n, 0], satellite[n, 1], satellite[n, 2]
        for c in near_cells(satellite[n], cos_reach, sin_reach, band_base, column_first, cell, nearby):
            for p in range(cell_first[c], cell_first[c + 1]):
                dx, dy, dz = x - px[p], y - py[p], z - pz[p]
                slant = math.sqrt(dx * dx + dy * dy + dz * dz)
                s = (dx * ux[p] + dy * uy[p] + dz * uz[p]) / slant
                if s < sine[p]:
                    continue
                if (
                    obstruction_of[p] >= 0
                    and s < obstruction_sine[obstruction_of[p], sector(frame[p], dx, dy, dz, obstruction_sine.shape[1])]
                ):
                    continue
                if arc_of[p] >= 0 and near_arc(arc[arc_of[p]], px[p], py[p], pz[p], dx / slant, dy / slant, dz / slant):
                    continue
                count[p] += 1.0
                if s > best_sine[p]:
                    best_sine[p] = s
                if write:
                    listed[next_slot[p]] = n
                    next_slot[p] += 1


@compiled
def sector(frame: Floats, dx: float, dy: float, dz: float, sectors: int) -> int:
    """Which of equal azimuth sectors, counted from north by east, the direction falls into. frame: (6,) east and north."""
    east = dx * frame[0] + dy * frame[1] + dz * frame[2]
    north = dx * frame[3] + dy * frame[4] + dz * frame[5]
    turn = math.atan2(east, north) / (2.0 * math.pi)
    return min(sectors - 1, int((turn if turn >= 0.0 else turn + 1.0) * sectors))


@compiled
def near_arc(arc: Floats, px: float, py: float, pz: float, ex: float, ey: float, ez: float) -> bool:
    """Whether a direction (unit vector e) from a place p lies within the exclusion angle of the geostationary arc.

    arc: (5,) sines of the southern and northern declination beyond which it cannot, greatest longitude difference of the visible arc in
    radians, cosine of the exclusion angle, longitude of the place.
    """
    if ez < arc[0] or ez > arc[1]:
        return False
    limit: float = arc[3]
    cosine: float = arc_separation_cosine(arc[2], arc[4], px, py, pz, ex, ey, ez, limit)
    return cosine > limit


@compiled
def arc_separation_cosine(
    half_width: float, longitude: float, px: float, py: float, pz: float, ex: float, ey: float, ez: float, enough: float
) -> float:
    """Cosine of the smallest angle, seen from place p, between direction e and the arc within `half_width` of the place's longitude.

    As soon as some point of the arc has a cosine above `enough`, that one is returned instead of the greatest.
    """
    # Start where the line of sight pierces the sphere of the geostationary radius, then Newton's method on the angle's derivative.
    along = px * ex + py * ey + pz * ez
    reach_m = -along + math.sqrt(along * along - (px * px + py * py + pz * pz) + GEOSTATIONARY_RADIUS_M * GEOSTATIONARY_RADIUS_M)
    offset = math.atan2(py + reach_m * ey, px + reach_m * ex) - longitude
    offset -= 2.0 * math.pi * math.floor(offset / (2.0 * math.pi) + 0.5)
    offset = min(half_width, max(-half_width, offset))
    for _ in range(_NEWTON_STEPS):
        cosine, slope, bend = arc_cosine(offset + longitude, px, py, pz, ex, ey, ez)
        if cosine > enough:
            return cosine
        # Where the cosine is not near a maximum (bend ≥ 0) a short step towards one stands in for Newton's.
        towards = 0.05 if slope > 0.0 else -0.05
        move = towards if bend >= 0.0 else min(0.3, max(-0.3, -slope / bend))
        moved = min(half_width, max(-half_width, offset + move))
        done = abs(moved - offset) < _CONVERGED_RAD
        offset = moved
        if done:
            break
    return arc_cosine(offset + longitude, px, py, pz, ex, ey, ez)[0]


@compiled
def arc_cosine(longitude: float, px: float, py: float, pz: float, ex: float, ey: float, ez: float) -> tuple[float, float, float]:
    """Cosine of the angle between e and the arc's point at a longitude, seen from p, and its first two derivatives by longitude."""
    gx, gy = GEOSTATIONARY_RADIUS_M * math.cos(longitude), GEOSTATIONARY_RADIUS_M * math.sin(longitude)
    dx, dy, dz = gx - px, gy - py, -pz
    d = math.sqrt(dx * dx + dy * dy + dz * dz)
    dot, dot1, dot2 = ex * dx + ey * dy + ez * dz, -ex * gy + ey * gx, -ex * gx - ey * gy
    d1 = (gy * px - gx * py) / d  # of d² = g² + p² − 2 g·p
    d2 = ((gx * px + gy * py) - d1 * d1) / d
    cosine = dot / d
    slope = (dot1 - cosine * d1) / d
    bend = (dot2 - 2.0 * slope * d1 - cosine * d2) / d
    return cosine, slope, bend


@compiled
def follow(
    satellite: Floats, place: Floats, arc: Floats, arc_of: Indices, count: Indices, listed: NDArray[np.int32], first: Indices
) -> None:
    """Which satellites one moving place sees at each instant.

    satellite: (T, N, 3); place: (T, 7) as in `tally`; arc_of: (T,) row of arc, −1 for none. count: (T,) is written; with a `listed` that is
    not empty the satellites of instant t go to listed[first[t]:].
    """
    write = listed.shape[0] > 0
    for t in range(satellite.shape[0]):
        seen = 0
        for n in range(satellite.shape[1]):
            dx, dy, dz = satellite[t, n, 0] - place[t, 0], satellite[t, n, 1] - place[t, 1], satellite[t, n, 2] - place[t, 2]
            slant = math.sqrt(dx * dx + dy * dy + dz * dz)
            if not (dx * place[t, 3] + dy * place[t, 4] + dz * place[t, 5]) / slant >= place[t, 6]:  # NaN compares false
                continue
            if arc_of[t] >= 0 and near_arc(arc[arc_of[t]], place[t, 0], place[t, 1], place[t, 2], dx / slant, dy / slant, dz / slant):
                continue
            if write:
                listed[first[t] + seen] = n
            seen += 1
        count[t] = seen
