"""Who points lasers at whom: +grid, two neighbours in the plane and one in each plane beside it.

A wiring is a pure function of the fleet and of a period of absolute time, so two computations of one instant agree however the time
before it was cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.space.fleet import Floats
from tramontana.space.routing.options import LaserParameters
from tramontana.space.routing.planes import NO_PLANE, Planes

Ints = NDArray[np.int32]

# Prefers the partner ahead where two stand equally far, as with half-slot phasing; larger than rounding, smaller than station-keeping.
_TIE_BIAS_DEG = 0.01
_CANDIDATES = 2  # the nearest two ahead and the nearest two behind


@dataclass(frozen=True, eq=False)
class Wiring:
    """E laser links by satellite index."""

    pairs: Ints
    """(E, 2), smaller index first, no pair twice, sorted."""
    crosses: NDArray[np.bool_]
    """(E,) whether the link joins two planes."""


def plus_grid(planes: Planes, laser: LaserParameters) -> Wiring:
    """The +grid of the planes within the number of terminals: in-plane links first, then across, so that three make a brick wall."""
    limit = int(laser.lasers_per_satellite.value)
    inside = _in_plane(planes)
    across = _cross_plane(planes, laser.widest_plane_gap.value)
    # Every second link of each row of cross-plane links comes first: with one terminal left over, planes stay joined on both sides.
    western = across[:, 0]
    brick = (planes.plane[western] + planes.slot[western]) % 2 if across.shape[0] else np.empty(0, dtype=np.int32)
    across = across[np.lexsort((western, brick))]
    pairs = np.sort(np.concatenate([inside, across]), axis=1)
    crosses = np.arange(pairs.shape[0]) >= inside.shape[0]
    free = np.full(planes.plane.shape[0], limit, dtype=np.int64)
    kept = np.zeros(pairs.shape[0], dtype=np.bool_)
    seen: set[tuple[int, int]] = set()
    for number, (a, b) in enumerate(pairs.tolist()):
        if free[a] > 0 and free[b] > 0 and (a, b) not in seen:
            seen.add((a, b))
            free[a] -= 1
            free[b] -= 1
            kept[number] = True
    pairs, crosses = pairs[kept], crosses[kept]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return Wiring(pairs[order].astype(np.int32), crosses[order])


def given(pairs: tuple[tuple[int, int], ...]) -> Wiring:
    """The links that somebody lists; none of them ever changes partner."""
    unique = sorted({(min(pair), max(pair)) for pair in pairs})
    return Wiring(np.array(unique, dtype=np.int32).reshape(-1, 2), np.zeros(len(unique), dtype=np.bool_))


def _in_plane(planes: Planes) -> Ints:
    """Each satellite and the next one ahead; two satellites in a plane have one link between them, one has none."""
    rows = [np.empty((0, 2), dtype=np.int32)]
    for plane in range(planes.plane_count):
        members = planes.satellites(plane)
        if members.shape[0] == 2:
            rows.append(members.reshape(1, 2))
        elif members.shape[0] > 2:
            rows.append(np.stack([members, np.roll(members, -1)], axis=1))
    return np.concatenate(rows)


def _cross_plane(planes: Planes, widest_gap: float) -> Ints:
    """For each pair of planes side by side a matching of nearest phases: (C, 2), western satellite first."""
    rows = [np.empty((0, 2), dtype=np.int32)]
    for west, east in enumerate(planes.neighbours(widest_gap).tolist()):
        if east == NO_PLANE:
            continue
        step = np.mod(planes.node_deg[east] - planes.node_deg[west], 360.0)
        # Where two planes run closest side by side, a step of the node shifts the phase by its projection onto the orbit.
        shift_deg = float(step * np.cos(np.radians(planes.shell_inclination_deg[planes.shell[west]])))
        a, b = planes.satellites(west), planes.satellites(east)
        rows.append(_match(a, b, planes.phase_deg[a], planes.phase_deg[b] + shift_deg))
    return np.concatenate(rows)


def _match(a: Ints, b: Ints, phase_a_deg: Floats, phase_b_deg: Floats) -> Ints:
    """Pair satellites of two planes, nearest in phase first, each at most once."""
    offset = np.mod(phase_b_deg[None, :] - phase_a_deg[:, None] + 180.0, 360.0) - 180.0
    cost = np.abs(offset - _TIE_BIAS_DEG)
    nearest = min(2 * _CANDIDATES, b.shape[0])
    candidates = np.argpartition(cost, nearest - 1, axis=1)[:, :nearest]
    rows = np.repeat(np.arange(a.shape[0]), nearest)
    columns = candidates.ravel()
    # Rounded, so that links that are alike come in order of the index and not of their last bits.
    order = np.lexsort((columns, rows, np.round(cost[rows, columns], 6)))
    free_a, free_b = np.ones(a.shape[0], dtype=np.bool_), np.ones(b.shape[0], dtype=np.bool_)
    matched = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if free_a[row] and free_b[column]:
            free_a[row] = free_b[column] = False
            matched.append((int(a[row]), int(b[column])))
    return np.array(matched, dtype=np.int32).reshape(-1, 2)
