"""Attenuation on a slant path: rain, gas, cloud, scintillation and their sum, and the share of a year in which a margin holds.

ITU-R P.618-13 with P.838-3, P.839-4, P.837-7, P.676-12 (annex 2), P.836-6, P.840-7, P.453-13, P.1510-1 and P.835-6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tramontana.errors import LocalError
from tramontana.space.links import _kernels
from tramontana.space.links.climate import RainClimate, tables

Floats = NDArray[np.float64]

LOWEST_FREQUENCY_HZ, HIGHEST_FREQUENCY_HZ = 4e9, 55e9
LOWEST_ELEVATION_DEG = 5.0


class LinkError(LocalError):
    """A link is outside what the Recommendations predict; the message names the figure and its range."""


@dataclass(frozen=True, slots=True)
class RainLink:
    """What the atmosphere needs to know of a radio link.

    polarization_tilt_deg: of a linear polarisation against the horizontal; 45 stands for circular. The antenna (physical diameter
    and efficiency) only averages scintillation.
    """

    frequency_hz: float
    polarization_tilt_deg: float = 45.0
    antenna_diameter_m: float = 0.6
    antenna_efficiency: float = 0.65

    def __post_init__(self) -> None:
        if not LOWEST_FREQUENCY_HZ <= self.frequency_hz <= HIGHEST_FREQUENCY_HZ:
            raise LinkError(f"frequency_hz is {self.frequency_hz}: rain is predicted from 4e9 to 55e9 Hz (P.618-13)")
        if not -180 <= self.polarization_tilt_deg <= 180:
            raise LinkError(f"polarization_tilt_deg is {self.polarization_tilt_deg}: give -180 to 180, 45 for circular polarisation")
        if not 0 < self.antenna_diameter_m <= 50 or not 0 < self.antenna_efficiency <= 1:
            raise LinkError(
                f"antenna_diameter_m is {self.antenna_diameter_m} and antenna_efficiency {self.antenna_efficiency}: "
                "the diameter must lie in 0..50 m and the efficiency in 0..1"
            )

    @property
    def row(self) -> Floats:
        """(7,): the row that the kernels take."""
        f = self.frequency_hz / 1e9
        effective_m = math.sqrt(self.antenna_efficiency) * self.antenna_diameter_m
        return np.array([f, *rain_coefficients(f), math.cos(math.radians(2 * self.polarization_tilt_deg)), effective_m])


@dataclass(frozen=True, eq=False)
class Attenuation:
    """What is exceeded for the percentage asked, dB; all of one shape. `total_db` combines them by P.618-13 §2.5: it is not their sum."""

    rain_db: Floats
    gas_db: Floats
    cloud_db: Floats
    scintillation_db: Floats
    total_db: Floats


def attenuation_parts(climate: RainClimate, link: RainLink, elevation_deg: ArrayLike, exceeded_percent: ArrayLike) -> Attenuation:
    """Attenuation exceeded for a percentage of an average year; climate, elevation and percentage broadcast together.

    elevation_deg: 5 to 90. exceeded_percent: 0.001 to 50; the rain part is validated by ITU-R to 5 % and extrapolated beyond, gas
    and cloud below 1 % are those of 1 %, as P.618-13 §2.5 asks. Raises `LinkError`.
    """
    elevation = _within("elevation_deg", elevation_deg, LOWEST_ELEVATION_DEG, 90.0)
    percent = _within("exceeded_percent", exceeded_percent, _kernels.LOWEST_PERCENT, _kernels.HIGHEST_PERCENT)
    place, (elevation, percent), shape = _broadcast(climate, elevation, percent)
    rows = _kernels.parts(place, elevation, percent, *_site(climate, link))
    return Attenuation(*(row.reshape(shape) for row in rows))


def rain_attenuation_db(climate: RainClimate, link: RainLink, elevation_deg: ArrayLike, exceeded_percent: ArrayLike) -> Floats:
    """The rain part of `attenuation_parts` alone, dB; quicker, for it needs neither gas nor cloud."""
    elevation = _within("elevation_deg", elevation_deg, LOWEST_ELEVATION_DEG, 90.0)
    percent = _within("exceeded_percent", exceeded_percent, _kernels.LOWEST_PERCENT, _kernels.HIGHEST_PERCENT)
    place, (elevation, percent), shape = _broadcast(climate, elevation, percent)
    return np.asarray(_kernels.rain(place, elevation, percent, rain_rows(climate), link.row)).reshape(shape)


def attenuation_db(climate: RainClimate, link: RainLink, elevation_deg: ArrayLike, exceeded_percent: ArrayLike) -> Floats:
    """The total of `attenuation_parts`, dB."""
    return attenuation_parts(climate, link, elevation_deg, exceeded_percent).total_db


def availability(climate: RainClimate, link: RainLink, elevation_deg: ArrayLike, margin_db: ArrayLike) -> Floats:
    """The share of an average year, 0–1, in which the total attenuation is at most the margin. The inverse of `attenuation_db`.

    0 where even the median attenuation is above the margin, and never more than 0.99999: ITU-R predicts nothing rarer than 0.001 %.
    A margin of NaN is an error; an infinite one is not.
    """
    elevation = _within("elevation_deg", elevation_deg, LOWEST_ELEVATION_DEG, 90.0)
    margin = np.asarray(margin_db, dtype=np.float64)
    if np.any(np.isnan(margin)):
        raise LinkError("margin_db is not a number: compute the margin from a satellite in view")
    place, (elevation, margin), shape = _broadcast(climate, elevation, margin)
    percent = _kernels.exceeded_percent(place, elevation, margin, *_site(climate, link))
    return np.asarray(1 - percent / 100).reshape(shape)


def rain_coefficients(frequency_ghz: float) -> tuple[float, float, float, float]:
    """kH, kV, αH, αV of γ = k Rᵅ (dB/km at mm/h): P.838-3, equations 2 and 3 with tables 1 to 4."""
    x = math.log10(frequency_ghz)

    def curve(terms: tuple[tuple[float, float, float], ...], slope: float, constant: float) -> float:
        return sum(a * math.exp(-(((x - b) / c) ** 2)) for a, b, c in terms) + slope * x + constant

    return 10 ** curve(*_K_H), 10 ** curve(*_K_V), curve(*_ALPHA_H), curve(*_ALPHA_V)


def cloud_coefficient(frequency_ghz: float) -> float:
    """Kl, dB/km per g/m³ of liquid water at 0 °C (P.840-7 §2: Rayleigh scattering, double-Debye permittivity)."""
    theta = 300 / 273.15
    primary = 20.20 - 146 * (theta - 1) + 316 * (theta - 1) ** 2
    secondary = 39.8 * primary
    static = 77.66 + 103.3 * (theta - 1)
    middle, high = 0.0671 * static, 3.52
    p, s = 1 + (frequency_ghz / primary) ** 2, 1 + (frequency_ghz / secondary) ** 2
    real = (static - middle) / p + (middle - high) / s + high
    imaginary = frequency_ghz * ((static - middle) / (primary * p) + (middle - high) / (secondary * s))
    return 0.819 * frequency_ghz / (imaginary * (1 + ((2 + real) / imaginary) ** 2))


def standard_pressure_hpa(height_m: Floats) -> Floats:
    """Pressure of the standard atmosphere (P.835-6 §1.1, to 20 km of geopotential height)."""
    h = height_m / 1000
    geopotential = 6356.766 * h / (6356.766 + h)
    low = 1013.25 * (288.15 / (288.15 - 6.5 * np.minimum(geopotential, 11.0))) ** (-34.1632 / 6.5)
    return np.asarray(np.where(geopotential <= 11, low, 226.3226 * np.exp(-34.1632 * (geopotential - 11) / 216.65)))


def _within(name: str, values: ArrayLike, low: float, high: float) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LinkError(f"{name} must be numbers, not {values!r}") from error
    with np.errstate(invalid="ignore"):
        fine = (array >= low) & (array <= high)
    if not np.all(fine):
        raise LinkError(f"{name} is {array[~fine].flat[0]}: give {low:g} to {high:g}")
    return array


def _broadcast(climate: RainClimate, *arrays: Floats) -> tuple[NDArray[np.int64], list[Floats], tuple[int, ...]]:
    index = np.arange(math.prod(climate.shape), dtype=np.int64).reshape(climate.shape)
    try:
        place, *rest = np.broadcast_arrays(index, *arrays)
    except ValueError as error:
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise LinkError(f"places {climate.shape} do not broadcast with {shapes}: index the climate, as in climate[:, None]") from error
    return place.flatten(), [a.flatten() for a in rest], place.shape  # copies: of one place a view would be left of a broadcast array


def rain_rows(climate: RainClimate) -> Floats:
    """(P, 4): latitude, R0.01, rain height, station height, as the kernels take them."""
    columns = (climate.latitude_deg, climate.rain_rate_mm_per_h, climate.rain_height_m / 1000, climate.height_m / 1000)
    return np.stack([c.ravel() for c in columns], axis=1)


def _site(climate: RainClimate, link: RainLink) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Site, zenith gas, zenith cloud, ln of the levels, link: what `_kernels.parts` takes after the points."""
    site = np.column_stack([rain_rows(climate), climate.wet_refractivity.ravel()])
    levels = tables().levels_percent.shape[0]
    f = link.frequency_hz / 1e9
    # Cloud liquid lies below the rain height; a station above it (an aircraft) has none overhead. P.840 itself knows no height.
    below = (climate.height_m < climate.rain_height_m)[..., None]
    cloud = np.where(below, cloud_coefficient(f) * climate.cloud_liquid_kg_per_m2, 0.0).reshape(-1, levels)
    return site, _zenith_gas_db(climate, f).reshape(-1, levels), cloud, np.log(tables().levels_percent), link.row


def _zenith_gas_db(climate: RainClimate, frequency_ghz: float) -> Floats:
    """Oxygen and vapour at the levels, (*S, L): P.676-12 annex 2 §2.2 and §2.3."""
    shape = climate.vapour_density_g_per_m3.shape
    oxygen = _kernels.zenith_oxygen_db(
        frequency_ghz,
        standard_pressure_hpa(climate.height_m).ravel(),
        climate.temperature_k.ravel(),
        np.ascontiguousarray(climate.vapour_density_g_per_m3.reshape(-1, shape[-1])),
    ).reshape(shape)
    columns, zenith_db = _vapour_table(frequency_ghz)
    vapour = np.interp(climate.vapour_content_kg_per_m2, columns, zenith_db)
    if frequency_ghz >= 20:
        a = 0.2048 * math.exp(-(((frequency_ghz - 22.43) / 3.097) ** 2)) + 0.2326 * math.exp(-(((frequency_ghz - 183.5) / 4.096) ** 2))
        a += 0.2073 * math.exp(-(((frequency_ghz - 325) / 3.651) ** 2)) - 0.1113
        b = 8.741e4 * math.exp(-0.587 * frequency_ghz) + 312.2 * frequency_ghz**-2.38 + 0.723
        vapour = vapour * (a * np.clip(climate.height_m / 1000, 0, 4)[..., None] ** b + 1)
    return np.asarray(oxygen + vapour)


@lru_cache(maxsize=64)
def _vapour_table(frequency_ghz: float) -> tuple[Floats, Floats]:
    """The vapour formula depends on the column alone, so it is tabulated once a frequency; linear between nodes within 1e-4 dB."""
    count = int(_LARGEST_COLUMN_KG_PER_M2 / _COLUMN_STEP_KG_PER_M2) + 1
    zenith_db = _kernels.zenith_vapour_table_db(frequency_ghz, _COLUMN_STEP_KG_PER_M2, count)
    return np.arange(count, dtype=np.float64) * _COLUMN_STEP_KG_PER_M2, zenith_db


_COLUMN_STEP_KG_PER_M2, _LARGEST_COLUMN_KG_PER_M2 = 0.25, 120.0  # the map ends at 76
# P.838-3 tables 1 to 4: (a, b, c) of each term, slope m, constant c.
_Curve = tuple[tuple[tuple[float, float, float], ...], float, float]
_K_H: _Curve = (
    ((-5.33980, -0.10008, 1.13098), (-0.35351, 1.26970, 0.45400), (-0.23789, 0.86036, 0.15354), (-0.94158, 0.64552, 0.16817)),
    -0.18961,
    0.71147,
)
_K_V: _Curve = (
    ((-3.80595, 0.56934, 0.81061), (-3.44965, -0.22911, 0.51059), (-0.39902, 0.73042, 0.11899), (0.50167, 1.07319, 0.27195)),
    -0.16398,
    0.63297,
)
_ALPHA_H: _Curve = (
    (
        (-0.14318, 1.82442, -0.55187),
        (0.29591, 0.77564, 0.19822),
        (0.32177, 0.63773, 0.13164),
        (-5.37610, -0.96230, 1.47828),
        (16.1721, -3.29980, 3.43990),
    ),
    0.67849,
    -1.95537,
)
_ALPHA_V: _Curve = (
    (
        (-0.07771, 2.33840, -0.76284),
        (0.56727, 0.95545, 0.54039),
        (-0.20238, 1.14520, 0.26809),
        (-48.2991, 0.791669, 0.116226),
        (48.5833, 0.791459, 0.116479),
    ),
    -0.053739,
    0.83433,
)
