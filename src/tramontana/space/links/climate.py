"""The climate of a place, as the propagation Recommendations describe it: rain rate, rain height, vapour, cloud, temperature.

The figures come from ITU-R's digital maps, thinned to one file in this package, `climate.npz`, which
`tests/vectors/itu/regenerate.py` makes; `docs/links.md` states the maps, their versions and terms. Between the nodes of a map values
are bilinear (ITU-R P.1144-12 annex 1 §1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tramontana.errors import LocalError

Floats = NDArray[np.float64]

RAIN_ABOVE_ISOTHERM_M = 360.0  # P.839-4: mean rain height is 0.36 km above the 0 °C isotherm
HIGHEST_STATION_M = 20_000.0


class ClimateError(LocalError):
    """A place is not one on Earth: give latitude -90 to 90 and longitude -180 to 360 degrees, height -500 to 20000 metres."""


@dataclass(frozen=True)
class _Map:
    """One map: (…, rows, columns) from south to north and west to east, physical units."""

    values: Floats
    south_deg: float
    west_deg: float
    step_deg: float

    def covers(self, latitude_deg: Floats, longitude_deg: Floats) -> NDArray[np.bool_]:
        rows, columns = self.values.shape[-2:]
        north, east = self.south_deg + (rows - 1) * self.step_deg, self.west_deg + (columns - 1) * self.step_deg
        inside = (latitude_deg >= self.south_deg) & (latitude_deg <= north)
        return np.asarray(inside & (longitude_deg >= self.west_deg) & (longitude_deg <= east))

    def corners(self, latitude_deg: Floats, longitude_deg: Floats) -> list[tuple[NDArray[np.intp], NDArray[np.intp], Floats]]:
        """The four nodes around each point: row, column, bilinear weight."""
        rows, columns = self.values.shape[-2:]
        r = np.clip((latitude_deg - self.south_deg) / self.step_deg, 0, rows - 1)
        c = np.clip((longitude_deg - self.west_deg) / self.step_deg, 0, columns - 1)
        r0, c0 = np.minimum(r.astype(np.intp), rows - 2), np.minimum(c.astype(np.intp), columns - 2)
        dr, dc = r - r0, c - c0
        weights = ((0, 0, (1 - dr) * (1 - dc)), (1, 0, dr * (1 - dc)), (0, 1, (1 - dr) * dc), (1, 1, dr * dc))
        return [(r0 + i, c0 + j, weight) for i, j, weight in weights]

    def at(self, latitude_deg: Floats, longitude_deg: Floats) -> Floats:
        """(…, N) for points (N,)."""
        total = np.zeros(())
        for row, column, weight in self.corners(latitude_deg, longitude_deg):
            total = total + weight * self.values[..., row, column]
        return np.asarray(total)


@dataclass(frozen=True)
class Tables:
    """What `climate.npz` holds: maps by name, the levels of the vapour and cloud maps (%), and where each map comes from."""

    maps: dict[str, _Map]
    sources: dict[str, str]
    levels_percent: Floats


@cache
def tables() -> Tables:
    """The maps of the package, read once."""
    with files("tramontana.space.links").joinpath("climate.npz").open("rb") as stream, np.load(stream) as archive:
        about: dict[str, dict[str, Any]] = json.loads(str(archive["about"]))
        maps = {
            name: _Map(archive[name] * float(item["scale"]), item["south_deg"], item["west_deg"], item["step_deg"])
            for name, item in about.items()
        }
        return Tables(maps, {name: item["source"] for name, item in about.items()}, np.asarray(archive["levels_percent"]))


@dataclass(frozen=True, eq=False)
class RainClimate:
    """The climate of one place or of many: every field has the same shape S, except the last two of shape (*S, L).

    L counts the levels of `tables().levels_percent`: what is exceeded for 1, 2, 3, 5, 10, 20, 30 and 50 % of an average year.
    Index it like an array (``climate[:, None]``) to broadcast places against elevations and percentages.
    """

    latitude_deg: Floats
    longitude_deg: Floats
    """-180 to 180."""
    height_m: Floats
    rain_rate_mm_per_h: Floats
    """Exceeded for 0.01 % of an average year, one-minute integration (P.837-7)."""
    rain_probability: Floats
    """Share of an average year in which it rains, 0–1 (P.837-7 annex 1)."""
    rain_height_m: Floats
    """Above sea level (P.839-4)."""
    temperature_k: Floats
    """Annual mean at the surface (P.1510-1)."""
    wet_refractivity: Floats
    """Median wet term of the radio refractivity, N-units (P.453-13)."""
    vapour_density_g_per_m3: Floats
    vapour_content_kg_per_m2: Floats
    cloud_liquid_kg_per_m2: Floats

    @classmethod
    def at(cls, latitude_deg: ArrayLike, longitude_deg: ArrayLike, height_m: ArrayLike = 0.0) -> RainClimate:
        """The climate at places; the three broadcast together. height_m is that of the antenna above mean sea level.

        Rain rate has nodes every 0.125° from 15° N 30° W to 72° N 65° E and every 0.5° elsewhere. Longitudes past 180° wrap. Raises
        `ClimateError` on coordinates that are not on Earth or not numbers.
        """
        lat, lon, height = (np.array(a) for a in np.broadcast_arrays(*(_numbers(a) for a in (latitude_deg, longitude_deg, height_m))))
        with np.errstate(invalid="ignore"):
            fine = (np.abs(lat) <= 90) & (lon >= -180) & (lon <= 360) & (height >= -500) & (height <= HIGHEST_STATION_M)
        if not np.all(fine):
            bad = np.argwhere(~fine)[0]
            where = f"place {tuple(bad.tolist())}" if bad.size else "the place"
            raise ClimateError(
                f"{where} is latitude {lat[tuple(bad)]}, longitude {lon[tuple(bad)]}, height {height[tuple(bad)]} m: "
                "latitude must lie in -90..90, longitude in -180..360 degrees, height in -500..20000 metres"
            )
        shape = lat.shape
        lat, lon, height = lat.ravel(), np.where(lon > 180, lon - 360, lon).ravel(), height.ravel()
        maps = tables().maps

        def finest(name: str) -> Floats:
            close, wide = maps[f"{name}_fine"], maps[name]
            return np.where(close.covers(lat, lon), close.at(lat, lon), wide.at(lat, lon))

        return cls(
            latitude_deg=lat.reshape(shape),
            longitude_deg=lon.reshape(shape),
            height_m=height.reshape(shape),
            rain_rate_mm_per_h=finest("rain_rate").reshape(shape),
            rain_probability=finest("rain_probability").reshape(shape) / 100,
            rain_height_m=maps["isotherm"].at(lat, lon).reshape(shape) * 1000 + RAIN_ABOVE_ISOTHERM_M,
            temperature_k=maps["temperature"].at(lat, lon).reshape(shape),
            wet_refractivity=maps["wet_refractivity"].at(lat, lon).reshape(shape),
            vapour_density_g_per_m3=_vapour("vapour_density", lat, lon, height).reshape(*shape, -1),
            vapour_content_kg_per_m2=_vapour("vapour_content", lat, lon, height).reshape(*shape, -1),
            cloud_liquid_kg_per_m2=np.moveaxis(maps["cloud_liquid"].at(lat, lon), 0, -1).reshape(*shape, -1),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        return self.latitude_deg.shape

    def __getitem__(self, key: Any) -> RainClimate:
        index = key if isinstance(key, tuple) else (key,)
        levelled = (*index, slice(None) if any(k is Ellipsis for k in index) else Ellipsis)  # the last axis counts levels
        picked = {f.name: getattr(self, f.name) for f in fields(self)}
        return RainClimate(**{name: value[levelled if value.ndim > len(self.shape) else index] for name, value in picked.items()})


def _numbers(values: ArrayLike) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ClimateError(f"coordinates must be numbers, not {values!r}") from error


def _vapour(name: str, latitude_deg: Floats, longitude_deg: Floats, height_m: Floats) -> Floats:
    """Vapour at the levels, (N, L): each node scaled to the height of the station, then bilinear (P.836-6 annexes 1 and 2)."""
    maps = tables().maps
    values, scale_height, ground = maps[name], maps["vapour_scale_height"], maps["ground"]
    total = np.zeros(())
    for row, column, weight in values.corners(latitude_deg, longitude_deg):
        rise = height_m / 1000 - ground.values[row, column]
        total = total + weight * values.values[:, row, column] * np.exp(-rise / scale_height.values[:, row, column])
    return np.asarray(total).T
