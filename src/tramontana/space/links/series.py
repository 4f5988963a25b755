"""Rain over time: a seeded series whose long-run statistics are those of P.618, for any instant, in any order.

The weather of a place is a stationary Gaussian process X(t) with correlation exp(-β|τ|) and β = 2·10⁻⁴ 1/s (ITU-R P.1853-1 annex 1
§2.2). The share of time Q(X) then names the percentage p, and the attenuation is that which P.618 predicts to be exceeded for p: the
process of P.1853 with the exact distribution in the place of its log-normal fit. One X serves every link of a place, so all
frequencies, both directions and every elevation fade together.

X is not run forward from a start: it is a function of the seed, the place and the second. Seconds that are multiples of 2¹⁷ (36 h; the
correlation over that span is 4·10⁻¹²) get independent normals, all others the conditional normal between their two neighbours on a
dyadic tree, each drawn from a hash of its own second. So chunks of time join without seam, whoever computes them (bit for bit with the
same numpy, to rounding elsewhere).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tramontana.space.links import _kernels
from tramontana.space.links.attenuation import LOWEST_ELEVATION_DEG, LinkError, RainLink, rain_rows
from tramontana.space.links.climate import RainClimate
from tramontana.space.visibility import great_circle_m

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

RAIN_DECAY_PER_S = 2e-4  # P.1853-1 annex 1 §2.2, step B: β
BLOCK_LEVELS = 17
BLOCK_S = 2**BLOCK_LEVELS
_FURTHEST_UNIX_S = 1e12


def rain_correlation(distance_m: float) -> float:
    """Correlation of the rain attenuation of two places (P.618-13 §2.2.4.1), 1 at no distance, 0.35 at 30 km, 0.04 at 200 km."""
    km = distance_m / 1000
    return 0.94 * math.exp(-km / 30) + 0.06 * math.exp(-((km / 500) ** 2))


@dataclass(frozen=True, eq=False)
class RainSeries:
    """The rain over one place, on one link, for one seed.

    Two series of the same seed and place share their weather whatever their links; two places are independent, unless both come from
    `RainSeries.of_places`. `climate` is that of one place (shape ()).
    """

    seed: int
    climate: RainClimate
    link: RainLink
    mixture: tuple[tuple[int, float], ...] = ()
    """Independent processes that make up this one: key and weight; empty for the place's own."""

    def __post_init__(self) -> None:
        if self.climate.shape != ():
            raise LinkError(f"a rain series is of one place: the climate has shape {self.climate.shape}, index it first")

    @classmethod
    def of_places(cls, seed: int, climates: Sequence[RainClimate], links: Sequence[RainLink]) -> tuple[RainSeries, ...]:
        """Series whose places are correlated by their distance (`rain_correlation`), such as a user and the gateways around.

        The correlation rests on the order and the set of the places: give the same ones to get the same weather.
        """
        if len(climates) != len(links) or not climates:
            raise LinkError("give one link for each climate, and at least one")
        spots = [(float(c.latitude_deg), float(c.longitude_deg)) for c in climates]
        correlation = np.array([[rain_correlation(great_circle_m(*a, *b)) for b in spots] for a in spots])
        # The measured law is not exactly positive definite on a sphere; what is taken off here is far below what it is known to.
        values, vectors = np.linalg.eigh(correlation)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        root /= np.linalg.norm(root, axis=1, keepdims=True)
        keys = [_key("correlated", index) for index in range(len(spots))]
        rows = [tuple(zip(keys, (float(w) for w in row), strict=True)) for row in root]
        return tuple(cls(seed, climate, link, row) for climate, link, row in zip(climates, links, rows, strict=True))

    def attenuation_db(self, times_unix_s: ArrayLike, elevation_deg: ArrayLike) -> Floats:
        """Rain attenuation at instants, dB; times and elevations (5 to 90) broadcast. It changes once a second.

        Only rain: add gas, cloud and scintillation from `attenuation_parts` at the percentage you want them.
        """
        times, elevation = np.broadcast_arrays(np.asarray(times_unix_s, dtype=np.float64), np.asarray(elevation_deg, dtype=np.float64))
        if not np.all((elevation >= LOWEST_ELEVATION_DEG) & (elevation <= 90)):
            raise LinkError(f"elevation_deg must lie in {LOWEST_ELEVATION_DEG:g}..90 for every instant: drop those without a satellite")
        rain = _kernels.rain_from_normal_db(
            self.normal(times).ravel(),
            np.ascontiguousarray(elevation.ravel()),
            100 * float(self.climate.rain_probability),
            rain_rows(self.climate)[0],
            self.link.row,
        )
        return np.asarray(rain).reshape(times.shape)

    def normal(self, times_unix_s: ArrayLike) -> Floats:
        """The process X at instants: standard normal, its upper tail is the share of the year with more rain than now."""
        times = np.asarray(times_unix_s, dtype=np.float64)
        if not np.all(np.abs(times) <= _FURTHEST_UNIX_S):  # NaN fails as well
            raise LinkError("times_unix_s must be finite POSIX seconds")
        second = np.floor(times.ravel()).astype(np.int64)
        own = ((_key("place", round(float(self.climate.latitude_deg) * 1e4), round(float(self.climate.longitude_deg) * 1e4)), 1.0),)
        total = np.zeros(second.shape)
        for key, weight in self.mixture or own:
            total += weight * _process(np.uint64(_key("seed", self.seed, key)), second)
        return total.reshape(times.shape)


def _process(key: np.uint64, second: NDArray[np.int64]) -> Floats:
    """The process at whole seconds (N,): down the dyadic tree from the ends of the block to the second itself."""
    low = second - second % BLOCK_S
    left, right = _noise(key, low), _noise(key, low + BLOCK_S)
    for level in range(BLOCK_LEVELS - 1, -1, -1):
        half = 2**level
        decay = RAIN_DECAY_PER_S * half
        middle = low + half
        value = (left + right) / (2 * math.cosh(decay)) + math.sqrt(math.tanh(decay)) * _noise(key, middle)
        beyond = second >= middle
        low = np.where(beyond, middle, low)
        left, right = np.where(beyond, value, left), np.where(beyond, right, value)
    return left


def _noise(key: np.uint64, second: NDArray[np.int64]) -> Floats:
    """Standard normals, one for each key and second (Box-Muller on two hashed words)."""
    words = _mix(second.astype(np.uint64) ^ _mix(np.full(1, key, dtype=np.uint64)))
    radius = np.sqrt(-2 * np.log(((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53))
    return np.asarray(radius * np.cos(2 * np.pi * (_mix(words) >> np.uint64(11)).astype(np.float64) * 2.0**-53))


def _mix(words: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014), a bijection of 64-bit words that no run of counters survives."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)), dtype=np.uint64)


def _key(purpose: str, *numbers: int) -> int:
    """A 64-bit key of a purpose and whole numbers."""
    state = np.frombuffer(purpose.encode().ljust(16, b"\0")[:16], dtype="<u8").astype(np.uint64)
    word = _mix(_mix(state[:1]) ^ state[1:])
    for number in numbers:
        word = _mix(word ^ np.array([number % 2**64], dtype=np.uint64))
    return int(word[0])
