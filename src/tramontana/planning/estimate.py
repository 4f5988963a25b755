"""An estimate: what is likely, between what bounds, in which unit, and who says so.

Public figures of one and the same thing differ by tens of times; a single number would hide it. Draws follow the PERT distribution (a beta
distribution on [low, high] whose mean is (low + 4·likely + high)/6; Malcolm et al., Operations Research 7(5), 1959).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pint
from numpy.typing import NDArray

from tramontana.errors import LocalError

_WEIGHT_OF_LIKELY = 4.0  # the usual PERT
_RUN = 10_000


class EstimateError(LocalError):
    """Bounds out of order, or no source. The message names the figure."""


@dataclass(frozen=True, slots=True)
class Source:
    id: str
    title: str
    url: str
    date: str
    """When it was published, ISO 8601; a year alone where no more is known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """low ≤ likely ≤ high, all in `unit`; several sources where the bounds are not from one.

    Equal bounds: it is certain (a contract, a definition).
    """

    low: float
    likely: float
    high: float
    unit: pint.Unit
    sources: tuple[Source, ...]
    note: str = ""

    def __post_init__(self) -> None:
        if not all(np.isfinite((self.low, self.likely, self.high))):
            raise EstimateError(f"an estimate from {self._from} is not a finite number")
        if not self.low <= self.likely <= self.high:
            given = f"low {self.low:g}, likely {self.likely:g}, high {self.high:g}"
            raise EstimateError(f"an estimate from {self._from} has {given}: they must be in this order")

    @property
    def _from(self) -> str:
        return ", ".join(source.id for source in self.sources)

    def draws(self, name: str, count: int, seed: int, first: int = 0) -> NDArray[np.float64]:
        """(count,) values, those from number `first` on.

        The same name and seed give the same: alternatives that share an input differ only in what they do not share. They are made in
        runs of `_RUN` with seeds of their own, so that any part of them costs no more than itself.
        """
        if self.low == self.high:
            return np.full(count, self.likely)
        own = int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:16])
        width = self.high - self.low
        rise = 1.0 + _WEIGHT_OF_LIKELY * (self.likely - self.low) / width
        fall = 1.0 + _WEIGHT_OF_LIKELY * (self.high - self.likely) / width
        runs = range(first // _RUN, -(-(first + count) // _RUN))
        drawn = [np.random.default_rng([own, run]).beta(rise, fall, _RUN) for run in runs]
        return self.low + width * np.concatenate(drawn)[first - runs.start * _RUN :][:count]
