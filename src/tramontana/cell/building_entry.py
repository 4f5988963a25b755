"""How much of a satellite's signal is left inside buildings: ITU-R P.2109, by the share of places that lose no more than so much.

Traditional buildings, as most in Italy are; ones that keep heat in lose twenty decibels more. The satellite's elevation counts: roofs and
floors lie between.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np

from tramontana.cell.area import Floats

FREQUENCY_GHZ = 1.9925
# Recommendation ITU-R P.2109-1, table 1, traditional.
_R, _S, _T, _U, _V, _W, _X, _Y, _Z = 12.64, 3.72, 0.96, 9.6, 2.0, 9.1, -3.0, 4.5, -2.0
_A_DEGREE_DB = 0.212
_FLOOR_DB = -3.0
_STEPS = 1000


def loss_db(share: Floats, elevation_deg: float) -> Floats:
    """(S,) what each share of places, in (0, 1), loses at most (equations 1 to 10)."""
    log = math.log10(FREQUENCY_GHZ)
    normal = np.array([NormalDist().inv_cdf(each) for each in share.tolist()])
    a = normal * (_U + _V * log) + _R + _S * log + _T * log * log + _A_DEGREE_DB * abs(elevation_deg)
    b = normal * (_Y + _Z * log) + _W + _X * log
    return np.asarray(10.0 * np.log10(10.0 ** (a / 10) + 10.0 ** (b / 10) + 10.0 ** (_FLOOR_DB / 10)))


def share_reached(elevation_deg: float, spare_db: float) -> float:
    """The share of indoor places where a signal with so much to spare outdoors is still heard."""
    shares, losses = _table(round(elevation_deg, 1))
    return float(np.interp(spare_db, losses, shares, left=0.0))


@cache
def _table(elevation_deg: float) -> tuple[Floats, Floats]:
    shares: Floats = np.arange(0.5, _STEPS, dtype=np.float64) / _STEPS
    return shares, loss_db(shares, elevation_deg)
