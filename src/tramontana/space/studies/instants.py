"""When a study looks: evenly spaced instants, and how they are cut into pieces of work."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tramontana.errors import LocalError
from tramontana.space.fleet import Floats

MOST_INSTANTS = 500_000


class InstantsError(LocalError):
    """The time span cannot be studied; the message says why."""


@dataclass(frozen=True, slots=True)
class Instants:
    """`count` instants from a start, a step apart. They stand for the span [start, start + count · step)."""

    start_unix_s: float
    step_s: float
    count: int

    @classmethod
    def over(cls, start_unix_s: float, duration_s: float, step_s: float) -> Instants:
        """The instants of a span, at least one. Raises `InstantsError` for a span that is not finite or not positive, or for too many."""
        if not (math.isfinite(start_unix_s) and math.isfinite(duration_s) and duration_s > 0 and math.isfinite(step_s) and step_s > 0):
            raise InstantsError("a study needs a finite start, a positive duration and a positive step")
        count = max(1, math.ceil(duration_s / step_s - 1e-9))
        if count > MOST_INSTANTS:
            raise InstantsError(f"{count:,} instants are more than {MOST_INSTANTS:,}: choose a longer --step or a shorter span")
        return cls(start_unix_s, step_s, count)

    @property
    def duration_s(self) -> float:
        return self.count * self.step_s

    @property
    def end_unix_s(self) -> float:
        return self.start_unix_s + self.duration_s

    @property
    def times_unix_s(self) -> Floats:
        """(T,)"""
        return np.asarray(self.start_unix_s + np.arange(self.count) * self.step_s, dtype=np.float64)

    def pieces(self, longest: int) -> tuple[Instants, ...]:
        """The same instants in order, cut into spans of at most `longest`."""
        cuts = range(0, self.count, longest)
        return tuple(Instants(self.start_unix_s + at * self.step_s, self.step_s, min(longest, self.count - at)) for at in cuts)
