"""What a coverage study counts: how long at least k satellites are in view, and the gaps; in pieces of time that join without seam."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.ephemeris import NODE_STEP_S, Ephemeris
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.in_view import Look
from tramontana.space.observers import Places
from tramontana.space.sweep import Progress, map_chunks

LONGEST_STUDY_S = 400 * 86400.0
_INSTANTS_A_PIECE = 240  # whose positions are held at one time: 60 MB for 10,000 satellites
_PIECES_A_CHUNK = 3  # a chunk sets its propagator up again, so it should be long; memory is that of one piece

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Coverage:
    """Sums over T equidistant instants for P places; two that follow each other in time join with `then`.

    Durations count instants times the step: each end of a gap is known to one step.
    """

    step_s: float
    instants: int
    covered: Ints
    """(P,) instants with at least k satellites in view."""
    gaps: Ints
    """(P,) runs of instants with fewer."""
    longest_gap: Ints
    """(P,) instants."""
    leading_gap: Ints
    """(P,) instants without coverage at the very start."""
    trailing_gap: Ints
    """(P,) at the very end."""
    in_view_sum: Ints
    """(P,) satellites in view, summed over the instants."""
    fewest: Ints
    """(P,) least number of satellites in view at any instant."""

    @property
    def fraction(self) -> Floats:
        """(P,) share of the time with at least k satellites in view."""
        return np.asarray(self.covered / self.instants, dtype=np.float64)

    @property
    def longest_gap_s(self) -> Floats:
        """(P,)."""
        return np.asarray(self.longest_gap * self.step_s, dtype=np.float64)

    @property
    def mean_gap_s(self) -> Floats:
        """(P,) NaN where there is no gap."""
        missing = (self.instants - self.covered) * self.step_s
        return np.where(self.gaps > 0, missing / np.maximum(1, self.gaps), np.nan)

    @property
    def mean_in_view(self) -> Floats:
        """(P,)."""
        return np.asarray(self.in_view_sum / self.instants, dtype=np.float64)

    def then(self, later: Coverage) -> Coverage:
        """Both together; `later` starts one step after the end of this one. A gap across the seam is one gap."""
        if later.step_s != self.step_s or later.covered.shape != self.covered.shape:
            raise LocalError("only studies of the same places with the same step join")
        seam = self.trailing_gap + later.leading_gap
        both = (self.trailing_gap > 0) & (later.leading_gap > 0)
        all_here, all_there = self.covered == 0, later.covered == 0
        return Coverage(
            step_s=self.step_s,
            instants=self.instants + later.instants,
            covered=self.covered + later.covered,
            gaps=self.gaps + later.gaps - both,
            longest_gap=np.maximum(np.maximum(self.longest_gap, later.longest_gap), seam),
            leading_gap=np.where(all_here, seam, self.leading_gap),
            trailing_gap=np.where(all_there, seam, later.trailing_gap),
            in_view_sum=self.in_view_sum + later.in_view_sum,
            fewest=np.minimum(self.fewest, later.fewest),
        )


class CoverageCounter:
    """Makes a `Coverage` from the counts of one instant after the other."""

    def __init__(self, places: int, *, at_least: int, step_s: float) -> None:
        self._at_least = at_least
        self._run = np.zeros(places, dtype=np.int64)
        zero = np.zeros(places, dtype=np.int64)
        most = np.full(places, np.iinfo(np.int64).max)
        self._so_far = Coverage(step_s, 0, zero.copy(), zero.copy(), zero.copy(), zero.copy(), zero, zero.copy(), most)

    def add(self, in_view: NDArray[np.int64] | Floats) -> None:
        """The number of satellites in view of every place, (P,), at the next instant."""
        c, number = self._so_far, in_view.astype(np.int64)
        covered = number >= self._at_least
        c.gaps[~covered & (self._run == 0)] += 1
        self._run += 1
        self._run[covered] = 0
        np.maximum(c.longest_gap, self._run, out=c.longest_gap)
        instants = c.instants + 1
        first_gap = self._run == instants  # nothing has been covered yet
        c.leading_gap[first_gap] = instants
        c.covered[covered] += 1
        np.add(c.in_view_sum, number, out=c.in_view_sum)
        np.minimum(c.fewest, number, out=c.fewest)
        self._so_far = replace(c, instants=instants)

    @property
    def coverage(self) -> Coverage:
        """What has been counted so far."""
        return replace(self._so_far, trailing_gap=self._run.copy())


@dataclass(frozen=True, eq=False)
class CoverageOfChunk:
    """The work of one chunk of a study, picklable: (first instant, number of instants) → `Coverage`."""

    fleet: Fleet
    places: Places
    start_unix_s: float
    step_s: float
    at_least: int
    node_step_s: float

    def __call__(self, chunk: tuple[int, int]) -> Coverage:
        first, count = chunk
        ephemeris = Ephemeris(self.fleet, step_s=self.node_step_s)
        look = Look(self.places)
        counter = CoverageCounter(self.places.count, at_least=self.at_least, step_s=self.step_s)
        times: Floats = self.start_unix_s + np.arange(first, first + count, dtype=np.float64) * self.step_s
        for some, nodes in ephemeris.chunks(times, _INSTANTS_A_PIECE):
            for position in nodes.positions_itrs_m(some):
                look.tally(position)
                counter.add(look.count[self.places.rank])
        return counter.coverage


def coverage_study(
    fleet: Fleet,
    places: Places,
    start_unix_s: float,
    duration_s: float,
    *,
    step_s: float = 15.0,
    at_least: int = 1,
    node_step_s: float = NODE_STEP_S,
    workers: int = 1,
    dask_address: str | None = None,
    progress: Progress | None = None,
) -> Coverage:
    """Coverage of the places at instants start, start + step, … before start + duration; the answer does not depend on `workers`.

    at_least: k, how many satellites must be in view. Raises `LocalError` for a span or step that is not finite and positive.
    """
    if not (np.isfinite(start_unix_s) and 0 < duration_s <= LONGEST_STUDY_S and 0 < step_s <= duration_s):
        raise LocalError(f"a coverage study needs a finite start, a duration up to {LONGEST_STUDY_S:.0f} s and a step within it")
    if at_least < 1:
        raise LocalError("at least one satellite must be asked for")
    instants = int(np.ceil(duration_s / step_s))
    length = min(_INSTANTS_A_PIECE * _PIECES_A_CHUNK, -(-instants // max(1, workers)))
    chunks = [(first, min(length, instants - first)) for first in range(0, instants, length)]
    work = CoverageOfChunk(fleet, places, start_unix_s, step_s, at_least, node_step_s)
    parts = map_chunks(work, chunks, workers=workers, dask_address=dask_address, progress=progress)
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.then(part)
    return whole
