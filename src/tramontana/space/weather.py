"""The simulated weather over a place and over gateways: one for all users of a sky, so that two of them see the same rain at a gateway.

Rain is that of `links.series`: seeded, with the statistics of ITU-R P.618, never the weather of a real day. Sites are correlated by their
distance (P.618-13 §2.2.4.1): gateways with the gateways before them, a place with all gateways. Places are correlated with each other
only through gateways.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from tramontana.space.fleet import Floats
from tramontana.space.ground import Gateway, Ground, Place
from tramontana.space.links import RainClimate, RainLink, RainSeries, attenuation_parts, rain_correlation
from tramontana.space.links.attenuation import LOWEST_ELEVATION_DEG
from tramontana.space.visibility import great_circle_m

Mixture = tuple[tuple[int, float], ...]

_CLEAR_PERCENT = 50.0  # gas and cloud are those of the median of the year; they hardly move beside rain
_NEAR_ONE = 0.98  # keeps the correlation of sites side by side, and of the measured law on a sphere, positive definite
_LEAST_WEIGHT = 0.03  # a process of less weight explains under 0.1 % of the variance: not worth its time


@dataclass(frozen=True, eq=False, slots=True)
class Fade:
    """Attenuation of one link at one site over time."""

    series: RainSeries
    clear_zenith_db: float
    """Gas and cloud straight up."""

    def clear_db(self, elevation_deg: Floats) -> Floats:
        """Without rain, dB, at elevations above 0."""
        return np.asarray(self.clear_zenith_db / np.sin(np.radians(np.maximum(elevation_deg, LOWEST_ELEVATION_DEG))))

    def total_db(self, times_unix_s: Floats, elevation_deg: Floats) -> Floats:
        """With rain, dB; instants and elevations of one shape."""
        elevation = np.clip(elevation_deg, LOWEST_ELEVATION_DEG, 90.0)
        return np.asarray(self.series.attenuation_db(times_unix_s, elevation) + self.clear_db(elevation))

    def normal(self, times_unix_s: Floats) -> Floats:
        """The state of the weather at instants: standard normal, high when it rains hard."""
        return self.series.normal(times_unix_s)

    def at_normal_db(self, normal: Floats, elevation_deg: Floats) -> Floats:
        """What `total_db` is when the weather is in a given state; states and elevations broadcast."""
        state, elevation = np.broadcast_arrays(normal, np.clip(elevation_deg, LOWEST_ELEVATION_DEG, 90.0))
        given = _GivenState(self.series.seed, self.series.climate, self.series.link)
        return np.asarray(given.attenuation_db(state, elevation) + self.clear_db(elevation))


class _GivenState(RainSeries):
    """A series whose state is not drawn but handed over in the place of the time."""

    def normal(self, times_unix_s: ArrayLike) -> Floats:
        return np.asarray(times_unix_s, dtype=np.float64)


class Weather:
    """Fades at any site of a ground, for one seed. Safe to share between threads."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self._gateways, self._seed = ground.gateways, seed
        self._own_climate = lru_cache(maxsize=4096)(_climate)
        self._fade = lru_cache(maxsize=4096)(self._make_fade)
        self._mixture = lru_cache(maxsize=4096)(self._make_mixture)

    def at_place(self, place: Place, link: RainLink, climate: RainClimate | None = None) -> Fade:
        """climate: in the place of that of the maps."""
        return self._fade(place, link, climate or self._own_climate(place))

    def at_gateway(self, index: int, link: RainLink) -> Fade:
        """index: of the gateway on the ground."""
        gateway = self._gateways[index]
        return self._fade(gateway, link, self._own_climate(gateway))

    def _make_fade(self, site: Place | Gateway, link: RainLink, climate: RainClimate) -> Fade:
        clear = attenuation_parts(climate, link, 90.0, _CLEAR_PERCENT)
        return Fade(RainSeries(self._seed, climate, link, self._mixture(site)), float(clear.gas_db + clear.cloud_db))

    def _make_mixture(self, site: Place | Gateway) -> Mixture:
        """The last row of the Cholesky factor over the gateways before this one, or all of them, and the site itself."""
        before = self._gateways[: self._gateways.index(site)] if isinstance(site, Gateway) else self._gateways
        sites: Sequence[Place | Gateway] = [*before, site]
        correlation = np.eye(len(sites))
        for i, a in enumerate(sites):
            for j, b in enumerate(sites[:i]):
                distance_m = great_circle_m(a.latitude_deg, a.longitude_deg, b.latitude_deg, b.longitude_deg)
                correlation[i, j] = correlation[j, i] = _NEAR_ONE * rain_correlation(distance_m)
        row = np.linalg.cholesky(correlation)[-1]
        row[np.abs(row) < _LEAST_WEIGHT] = 0.0
        row /= np.linalg.norm(row)
        return tuple((_key(s), w) for s, w in zip(sites, row.tolist(), strict=True) if w)


def _climate(site: Place | Gateway) -> RainClimate:
    return RainClimate.at(site.latitude_deg, site.longitude_deg, site.height_m if isinstance(site, Place) else 0.0)


def _key(site: Place | Gateway) -> int:
    """Of the site's own process: kind and coordinates, so that renaming a site does not change its weather."""
    words = f"{type(site).__name__}\0{site.latitude_deg:.4f}\0{site.longitude_deg:.4f}"
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "big")
