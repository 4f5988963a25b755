"""Cells on the ground that beams point at (H3), and the satellites that each of them may be served by at one instant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import h3
import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.fleet import Floats
from tramontana.space.in_view import Look
from tramontana.space.observers import Places

Ints = NDArray[np.int32]
Exclusion = Callable[[Ints, Ints], NDArray[np.bool_]]
"""Cell and satellite of each pair, (E,) each → which pairs must not be used: a hook for rules of the operator or of coordination."""


@dataclass(frozen=True, eq=False)
class Cells:
    """C cells with their centres. `studies.area.cells_of` gives the ids of a polygon or of a country."""

    ids: tuple[str, ...]
    latitude_deg: Floats
    """(C,)"""
    longitude_deg: Floats
    """(C,)"""
    places: Places
    """The centres with elevation mask and angle kept from the geostationary arc."""

    @classmethod
    def of(cls, ids: Iterable[str], *, minimum_elevation_deg: float = 25.0, arc_avoidance_deg: float = 0.0) -> Cells:
        """Cells by H3 id, each once, in the order given. Raises `LocalError` for no cell, a repeated one, and what is no cell."""
        cells = tuple(ids)
        if not cells:
            raise LocalError("give at least one H3 cell")
        wrong = next((cell for cell in cells if not h3.is_valid_cell(cell)), None)
        if wrong is not None:
            raise LocalError(f"{wrong!r} is no H3 cell: give ids such as those of `tramontana sky` with --resolution 5")
        if len(set(cells)) != len(cells):
            raise LocalError("every cell may be given once only")
        centres = np.array([h3.cell_to_latlng(cell) for cell in cells])
        places = Places(centres[:, 0], centres[:, 1], minimum_elevation_deg=minimum_elevation_deg, arc_avoidance_deg=arc_avoidance_deg)
        return cls(cells, centres[:, 0], centres[:, 1], places)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which of N satellites may serve which of C cells, as lists one after the other (compressed rows)."""

    first: NDArray[np.int64]
    """(C + 1,) the satellites of cell c are `satellite[first[c]:first[c + 1]]`."""
    satellite: Ints
    """(E,) indices into the fleet, ascending for each cell."""
    satellites: int
    """N"""

    def __post_init__(self) -> None:
        lists = self.first.ndim == 1 and self.first.shape[0] > 0 and self.first[0] == 0 and bool(np.all(np.diff(self.first) >= 0))
        if not lists or self.first[-1] != self.satellite.shape[0]:
            raise LocalError("the list bounds must rise from 0 to the number of pairs")
        if self.satellite.size and not 0 <= int(np.min(self.satellite)) <= int(np.max(self.satellite)) < self.satellites:
            raise LocalError(f"a satellite of a pair must be an index below {self.satellites}")

    @property
    def cells(self) -> int:
        return int(self.first.shape[0]) - 1

    @property
    def cell(self) -> Ints:
        """(E,) the cell of each pair."""
        return np.repeat(np.arange(self.cells, dtype=np.int32), np.diff(self.first))

    def keep(self, wanted: NDArray[np.bool_]) -> Pairs:
        """Only the pairs that are wanted, (E,)."""
        first = np.concatenate([[0], np.cumsum(wanted)])[self.first]
        return Pairs(first.astype(np.int64), self.satellite[wanted], self.satellites)


def pairs_in_view(
    cells: Cells, position_itrs_m: Floats, *, may_serve: NDArray[np.bool_] | None = None, exclude: Exclusion | None = None
) -> Pairs:
    """The satellites, at (N, 3) metres, that stand high enough over each cell and far enough from the geostationary arc.

    may_serve: (N,) which satellites may, for instance those that land on a gateway; all unless told. exclude: further pairs to leave out.
    """
    satellites = position_itrs_m.shape[0]
    if position_itrs_m.shape != (satellites, 3) or (may_serve is not None and may_serve.shape != (satellites,)):
        raise LocalError("positions must be (N, 3) metres, and may_serve one boolean a satellite")
    count, listed = Look(cells.places).list(np.ascontiguousarray(position_itrs_m))
    pairs = Pairs(np.concatenate([[0], np.cumsum(count)]).astype(np.int64), listed, satellites)
    if may_serve is not None:
        pairs = pairs.keep(may_serve[pairs.satellite])
    return pairs.keep(~exclude(pairs.cell, pairs.satellite)) if exclude is not None else pairs
