"""The climate of a place, as the propagation Recommendations describe it: rain rate, rain height, vapour, cloud, temperature.

The figures come from ITU-R's digital maps, thinned to one file in this package, `climate.npz`, which
`tests/vectors/itu/regenerate.py` makes; `docs/links.md` states the maps, their versions and terms. Between the nodes of a map values
are bilinear (ITU-R P.1144).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
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
    """The climate of one place or of many, read from the maps when it is first asked for. Make it with `at`.

    Every quantity has the same shape S, those that say "at the levels" the shape (*S, L): what is exceeded for 1, 2, 3, 5, 10, 20, 30
    and 50 % of an average year (`tables().levels_percent`). Index it like an array (``climate[:, None]``) to broadcast places against
    elevations and percentages.
    """

    latitude_deg: Floats
    longitude_deg: Floats
    """-180 to 180."""
    height_m: Floats
    """Of the antenna above mean sea level."""

    @classmethod
    def at(cls, latitude_deg: ArrayLike, longitude_deg: ArrayLike, height_m: ArrayLike = 0.0) -> RainClimate:
        """The climate at places; the three broadcast together.

        Rain rate has nodes every 0.125° from 15° N 30° W to 72° N 65° E and every 0.5° elsewhere. Longitudes past 180° wrap. Raises
        `ClimateError` on coordinates that are not on Earth or not numbers.
        """
        lat, lon, height = np.broadcast_arrays(*(_numbers(a) for a in (latitude_deg, longitude_deg, height_m)))
        with np.errstate(invalid="ignore"):
            fine = (np.abs(lat) <= 90) & (lon >= -180) & (lon <= 360) & (height >= -500) & (height <= HIGHEST_STATION_M)
        if not np.all(fine):
            bad = tuple(np.argwhere(~fine)[0].tolist())
            where = f"place {bad}" if bad else "the place"
            raise ClimateError(
                f"{where} is latitude {lat[bad]}, longitude {lon[bad]}, height {height[bad]} m: "
                "latitude must lie in -90..90, longitude in -180..360 degrees, height in -500..20000 metres"
            )
        return cls(np.array(lat), np.where(lon > 180, lon - 360, lon), np.array(height))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.latitude_deg.shape

    def __getitem__(self, key: Any) -> RainClimate:
        index = key if isinstance(key, tuple) else (key,)
        levelled = (*index, slice(None) if any(k is Ellipsis for k in index) else Ellipsis)  # the last axis counts levels
        picked = RainClimate(*(np.asarray(a[index]) for a in (self.latitude_deg, self.longitude_deg, self.height_m)))
        for name, value in self.__dict__.items():  # what was read already need not be read again
            picked.__dict__.setdefault(name, np.asarray(value[levelled if value.ndim > len(self.shape) else index]))
        return picked

    @cached_property
    def rain_rate_mm_per_h(self) -> Floats:
        """Exceeded for 0.01 % of an average year, one-minute integration (P.837-7)."""
        return self._finest("rain_rate")

    @cached_property
    def rain_probability(self) -> Floats:
        """Share of an average year in which it rains, 0–1 (P.837-7 annex 1)."""
        return self._finest("rain_probability") / 100

    @cached_property
    def rain_height_m(self) -> Floats:
        """Above sea level (P.839-4)."""
        return self._read("isotherm") * 1000 + RAIN_ABOVE_ISOTHERM_M

    @cached_property
    def temperature_k(self) -> Floats:
        """Annual mean at the surface (P.1510-1)."""
        return self._read("temperature")

    @cached_property
    def wet_refractivity(self) -> Floats:
        """Median wet term of the radio refractivity, N-units (P.453-13)."""
        return self._read("wet_refractivity")

    @cached_property
    def vapour_density_g_per_m3(self) -> Floats:
        """At the surface, at the levels (P.836-6)."""
        return self._vapour("vapour_density")

    @cached_property
    def vapour_content_kg_per_m2(self) -> Floats:
        """Of the column above the place, at the levels (P.836-6)."""
        return self._vapour("vapour_content")

    @cached_property
    def cloud_liquid_kg_per_m2(self) -> Floats:
        """Reduced liquid water of the column, at the levels (P.840-7)."""
        return np.moveaxis(self._read("cloud_liquid"), 0, -1)

    def _read(self, name: str) -> Floats:
        return tables().maps[name].at(self.latitude_deg, self.longitude_deg)

    def _finest(self, name: str) -> Floats:
        close = tables().maps[f"{name}_fine"]
        inside = close.covers(self.latitude_deg, self.longitude_deg)
        if np.all(inside):
            return close.at(self.latitude_deg, self.longitude_deg)
        return np.where(inside, close.at(self.latitude_deg, self.longitude_deg), self._read(name))

    def _vapour(self, name: str) -> Floats:
        """Each node of the map scaled to the height of the station, then bilinear (P.836-6 annexes 1 and 2)."""
        maps = tables().maps
        values, scale_height, ground = maps[name], maps["vapour_scale_height"], maps["ground"]
        total = np.zeros(())
        for row, column, weight in values.corners(self.latitude_deg, self.longitude_deg):
            rise = self.height_m / 1000 - ground.values[row, column]
            total = total + weight * values.values[:, row, column] * np.exp(-rise / scale_height.values[:, row, column])
        return np.moveaxis(total, 0, -1)


def _numbers(values: ArrayLike) -> Floats:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ClimateError(f"coordinates must be numbers, not {values!r}") from error
