"""The normal distribution in one and two dimensions, as far as rain statistics need it."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def upper_tail(deviate: float) -> float:
    """Q(x), the probability of a standard normal above x."""
    return 0.5 * math.erfc(deviate / math.sqrt(2))


def deviate_of(upper_probability: float) -> float:
    """The inverse of `upper_tail`; -inf at 1 and above, +inf at 0 and below."""
    if upper_probability >= 1:
        return -math.inf
    return -NormalDist().inv_cdf(upper_probability) if upper_probability > 0 else math.inf


def joint_upper_tail(first: float, second: float, correlation: float) -> float:
    """P(X > first, Y > second) for standard normals with a correlation in 0 to 0.999999; absolute error below 1e-9 up to 0.99.

    Plackett's identity: the derivative by the correlation is the density, integrated here over its arcsine (Gauss-Legendre).
    """
    if math.inf in (first, second):
        return 0.0
    if -math.inf in (first, second):
        return upper_tail(max(first, second))
    edge = math.asin(min(correlation, 0.999999))
    theta = 0.5 * edge * (_NODES + 1)
    exponent = (first**2 + second**2 - 2 * first * second * np.sin(theta)) / (2 * np.cos(theta) ** 2)
    integral = 0.5 * edge * float(_WEIGHTS @ np.exp(-exponent))
    return upper_tail(first) * upper_tail(second) + integral / (2 * math.pi)
