"""What the charts of the studies have in common."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any

import matplotlib
import matplotlib.dates
import numpy as np
from matplotlib.axes import Axes

from tramontana.space.fleet import Floats

_dates: Any = matplotlib.dates  # it has no types

LINES = ("#0b4f9c", "#c2570c", "#2e7d32", "#8e24aa", "#00838f", "#b3261e", "#6d4c41", "#546e7a")
"""Colours of lines, in order."""


def over_time(axes: Axes, times_unix_s: Floats) -> Floats:
    """The instants as matplotlib counts them; makes the horizontal axis one of UTC."""
    locator = _dates.AutoDateLocator(tz=UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(_dates.ConciseDateFormatter(locator, tz=UTC))
    axes.set_xlabel("UTC")
    axes.grid(alpha=0.3)
    return np.asarray(_dates.date2num(np.asarray(times_unix_s * 1000).astype("datetime64[ms]")), dtype=np.float64)


@contextmanager
def plain_text() -> Iterator[None]:
    """Draw names as they are: a dollar sign begins no formula, and a letter that the font lacks is a box and no warning."""
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
