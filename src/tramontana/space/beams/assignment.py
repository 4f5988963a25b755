"""Which satellite points how many beams at which cell: a greedy plan, and the most that any plan could give.

Rules: a satellite forms so many beams; a beam lights one cell on one channel; within a cell a channel is used once, by one satellite (no
co-frequency overlap), so a cell takes no more beams than there are channels. Neighbouring cells may use the same channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.beams import _kernels
from tramontana.space.beams.cells import Ints, Pairs


@dataclass(frozen=True, slots=True)
class BeamRules:
    """What the operator's satellites may do; the figures of Starlink V2 mini unless told (docs/sources/latency.md)."""

    beams_per_satellite: int = 48
    channels: int = 8
    """Of 250 MHz from 10.7 to 12.7 GHz: at most so many beams a cell."""

    def __post_init__(self) -> None:
        if self.beams_per_satellite < 0 or self.channels < 0:
            raise LocalError("the numbers of beams and of channels must not be negative")


@dataclass(frozen=True, eq=False)
class BeamPlan:
    """Beams of one instant over C cells and N satellites."""

    pairs: Pairs
    used: Ints
    """(E,) beams of each pair."""
    wanted: Ints
    """(C,) beams that each cell asked for."""
    rules: BeamRules

    @property
    def total(self) -> int:
        return int(np.sum(self.used))

    @property
    def beams_of_cell(self) -> Ints:
        """(C,)"""
        return np.bincount(self.pairs.cell, weights=self.used, minlength=self.pairs.cells).astype(np.int32)

    @property
    def beams_of_satellite(self) -> Ints:
        """(N,)"""
        return np.bincount(self.pairs.satellite, weights=self.used, minlength=self.pairs.satellites).astype(np.int32)

    @property
    def served_cells(self) -> int:
        """Cells with at least one beam."""
        return int(np.count_nonzero(self.beams_of_cell))

    def beams(self) -> Ints:
        """(B, 3): cell, satellite and channel of every beam, by cell; a cell's channels are 0, 1, …, each once."""
        pair = np.repeat(np.arange(self.used.shape[0]), self.used)
        cell = self.pairs.cell[pair]
        channel = np.arange(cell.shape[0]) - np.searchsorted(cell, cell)
        return np.stack([cell, self.pairs.satellite[pair], channel.astype(np.int32)], axis=-1).astype(np.int32)


def greedy_plan(pairs: Pairs, wanted: int | NDArray[np.integer] = 1, rules: BeamRules | None = None) -> BeamPlan:
    """A plan in milliseconds: cells with the fewest satellites in view choose first, every cell has one beam before any has two.

    wanted: beams for all cells or (C,), 0 or more; more than there are channels is cut. Raises `LocalError` for other shapes and values.
    """
    rules = rules or BeamRules()
    asked = _wanted(pairs, wanted, rules)
    used = np.zeros(pairs.satellite.shape[0], dtype=np.int32)
    spare = np.full(pairs.satellites, rules.beams_per_satellite, dtype=np.int32)
    order = np.argsort(np.diff(pairs.first), kind="stable").astype(np.int64)
    _kernels.greedy(pairs.first, pairs.satellite, order, asked, rules.channels, spare, used)
    return BeamPlan(pairs, used, asked, rules)


def greatest_plan(plan: BeamPlan) -> BeamPlan:
    """The plan of the greatest possible total (a maximum flow), raised from a plan; its total is the bound on every plan.

    No cell loses a beam by it. For the greatest number of cells with any beam at all, ask for one beam a cell.
    """
    pairs = plan.pairs
    lacking = plan.wanted - plan.beams_of_cell
    if not np.any(lacking):
        return plan
    used = plan.used.copy()
    back, pair = np.empty(pairs.satellites + 1, dtype=np.int64), np.empty(used.shape[0], dtype=np.int32)
    _kernels.by_satellite(pairs.satellite, back, pair)
    spare = np.asarray(plan.rules.beams_per_satellite - plan.beams_of_satellite, dtype=np.int32)
    _kernels.augment(pairs.first, pairs.satellite, pairs.cell, back, pair, lacking, plan.rules.channels, spare, used)
    return BeamPlan(pairs, used, plan.wanted, plan.rules)


def _wanted(pairs: Pairs, wanted: int | NDArray[np.integer], rules: BeamRules) -> Ints:
    asked = np.asarray(wanted)
    if not np.issubdtype(asked.dtype, np.integer) or asked.shape not in ((), (pairs.cells,)) or bool(np.any(asked < 0)):
        raise LocalError(f"give the number of beams wanted, 0 or more, for all cells or for each of the {pairs.cells}")
    return np.broadcast_to(np.minimum(asked, rules.channels), (pairs.cells,)).astype(np.int32)
