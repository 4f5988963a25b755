"""Which points lie inside a ring on the ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tramontana.space.fleet import Floats


def inside(ring: Sequence[tuple[float, float]], latitude_deg: Floats, longitude_deg: Floats) -> NDArray[np.bool_]:
    """Which of P points lie in it, (P,). ring: latitude and longitude of its corners, closed by itself; edges are straight in these."""
    odd = np.zeros(latitude_deg.shape, np.bool_)
    for (y0, x0), (y1, x1) in zip(ring, (*ring[1:], ring[0]), strict=True):
        if y0 != y1:
            odd ^= ((y0 > latitude_deg) != (y1 > latitude_deg)) & (longitude_deg < (x1 - x0) * (latitude_deg - y0) / (y1 - y0) + x0)
    return odd
