"""How the numeric kernels of the space segment are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile without Python objects; kept on disk where some cache directory can be written, else compiled in each process.

    Divisions follow IEEE 754, as in numpy: x/0 is infinite or NaN, never an exception.
    """
    try:
        return cast(Callable[P, R], numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # numba found no directory for its cache
        return cast(Callable[P, R], numba.njit(nogil=True, error_model="numpy")(function))
