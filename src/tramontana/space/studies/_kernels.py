"""Compiled kernels on bare arrays. Their callers validate; nothing here does. With NUMBA_DISABLE_JIT=1 all is plain Python."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tramontana.space._compile import compiled

Floats = NDArray[np.float64]


@compiled
def hide_unlanded(satellite_m: Floats, gateway_m: Floats, gateway_up: Floats, gateway_sine: Floats) -> None:
    """Make NaN of every satellite, (N, 3) ITRS, that stands over no gateway; gateways (G, 3), sines of their least elevation (G,)."""
    for n in range(satellite_m.shape[0]):
        x, y, z = satellite_m[n, 0], satellite_m[n, 1], satellite_m[n, 2]
        for g in range(gateway_m.shape[0]):
            dx, dy, dz = x - gateway_m[g, 0], y - gateway_m[g, 1], z - gateway_m[g, 2]
            rise = dx * gateway_up[g, 0] + dy * gateway_up[g, 1] + dz * gateway_up[g, 2]
            if rise >= gateway_sine[g] * np.sqrt(dx * dx + dy * dy + dz * dz):
                break
        else:
            satellite_m[n] = np.nan
