"""Beams that satellites hold on cells of the ground, one dwell after the other: how a message to every phone of an area goes out.

A phone that was behind a house for one satellite is not behind it for the next: the one that lit a cell last rests there while another
one stands in view.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import h3
import numpy as np
from numpy.typing import NDArray

from tramontana.space.beams.assignment import BeamRules, greedy_plan
from tramontana.space.beams.cells import Cells, Ints, pairs_in_view
from tramontana.space.fleet import Floats

MINIMUM_ELEVATION_DEG = 30.0
DWELL_S = 10.0  # a beam of 79 km at 7 km/s passes a point in 11 s
CELL_RESOLUTION = 4  # H3: 1,770 km² on average, corners within 30 km of the centre: inside one beam of 39 km


def cells_of_points(latitude_deg: Iterable[float], longitude_deg: Iterable[float]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The cells in which points lie, by ascending id, and the number of each point's own, (P,)."""
    names = [
        h3.latlng_to_cell(latitude, longitude, CELL_RESOLUTION) for latitude, longitude in zip(latitude_deg, longitude_deg, strict=True)
    ]
    ids = tuple(sorted(set(names)))
    number = {name: index for index, name in enumerate(ids)}
    return ids, np.array([number[name] for name in names], np.int64)


@dataclass(frozen=True, eq=False, slots=True)
class Lit:
    """The beams of one dwell, (B,)."""

    cell: Ints
    satellite: Ints
    in_view: int
    """Satellites that could light some cell."""


class HeldBeams:
    """One message over C cells; it remembers which satellite lit each of them last."""

    def __init__(self, cells: Cells, beams_per_satellite: int) -> None:
        self._cells = cells
        self._rules = BeamRules(beams_per_satellite, channels=1)
        self._last = np.full(len(cells), -1, np.int64)

    def light(self, position_itrs_m: Floats, wanted: NDArray[np.bool_]) -> Lit:
        """position_itrs_m: (N, 3) in the middle of the dwell; wanted: (C,) the cells that still want a beam."""
        pairs = pairs_in_view(self._cells, position_itrs_m)
        several = np.diff(pairs.first) > 1
        used = pairs.keep(~(several[pairs.cell] & (pairs.satellite == self._last[pairs.cell])))
        made = greedy_plan(used, wanted.astype(np.int32), self._rules).beams()
        cell, satellite = made[:, 0], made[:, 1]
        self._last[cell] = satellite
        return Lit(cell, satellite, int(np.unique(pairs.satellite).size))
