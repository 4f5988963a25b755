"""Compiled formulas of the propagation Recommendations, on bare arrays in the units that the Recommendations use: GHz, km, degrees, dB, %.

`attenuation` is the façade: it checks and converts. Every function here runs the same with ``NUMBA_DISABLE_JIT=1``, only slower.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tramontana.space._compile import compiled
from tramontana.space.links.spectral_lines import OXYGEN, WATER_VAPOUR

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOWEST_PERCENT, HIGHEST_PERCENT = 0.001, 50.0  # P.618-13 §2.5
RISING_FROM_PERCENT = 0.01  # from here up the attenuation falls with p everywhere; P.618-13 equation 8 is scaled from this point
LEVELS_FROM_PERCENT = 1.0  # gas and cloud at less than 1 % are inside the rain prediction: P.618-13 §2.5, A(p) = A(1 %)

# P.676-12 annex 2: correction of the oxygen equivalent height (table 3) and the vapour reference of §2.3
_OXYGEN_HEIGHT = np.array(
    [
        (0.1597, 118.750334),
        (0.1066, 368.498246),
        (0.1325, 424.763020),
        (0.1242, 487.249273),
        (0.0938, 715.392902),
        (0.1448, 773.839490),
        (0.1374, 834.145546),
    ]
)
_VAPOUR_REFERENCE_GHZ, _VAPOUR_REFERENCE_HPA = 20.6, 845.0


@compiled
def rain_point_db(
    latitude: float, rate: float, rain_height: float, station: float, elevation: float, percent: float, f: float, kh: float, kv: float,
    ah: float, av: float, cos_2tau: float,
) -> float:  # fmt: skip
    """Rain attenuation exceeded for `percent` of an average year (P.618-13 §2.2.1.1); rate is R0.01 in mm/h, kh … av P.838-3."""
    height = rain_height - station
    if height <= 0.0 or rate <= 0.0:
        return 0.0
    sin_el, cos_el = math.sin(math.radians(elevation)), math.cos(math.radians(elevation))
    tilt = cos_el * cos_el * cos_2tau
    k = 0.5 * (kh + kv + (kh - kv) * tilt)
    alpha = 0.5 * (kh * ah + kv * av + (kh * ah - kv * av) * tilt) / k
    gamma = k * rate**alpha  # dB/km
    ground = height / sin_el * cos_el  # horizontal projection of the slant path, equation 1, elevation ≥ 5°
    reduction = 1.0 / (1.0 + 0.78 * math.sqrt(ground * gamma / f) - 0.38 * (1.0 - math.exp(-2.0 * ground)))
    zeta = math.degrees(math.atan2(height, ground * reduction))
    path = ground * reduction / cos_el if zeta > elevation else height / sin_el
    chi = max(36.0 - abs(latitude), 0.0)
    bend = 31.0 * (1.0 - math.exp(-elevation / (1.0 + chi))) * math.sqrt(path * gamma) / (f * f) - 0.45
    at_001 = gamma * path / (1.0 + math.sqrt(sin_el) * bend)
    beta = 0.0
    if percent < 1.0 and abs(latitude) < 36.0:
        beta = -0.005 * (abs(latitude) - 36.0)
        if elevation <= 25.0:
            beta += 1.8 - 4.25 * sin_el
    exponent = 0.655 + 0.033 * math.log(percent) - 0.045 * math.log(at_001) - beta * (1.0 - percent) * sin_el
    return float(at_001 * (percent / 0.01) ** -exponent)


@compiled
def scintillation_point_db(refractivity: float, elevation: float, percent: float, f: float, effective_diameter_m: float) -> float:
    """Scintillation fade exceeded for `percent` (P.618-13 §2.4.1), turbulence at 1000 m; refractivity is the wet term in N-units."""
    sin_el = math.sin(math.radians(elevation))
    length_m = 2000.0 / (math.sqrt(sin_el * sin_el + 2.35e-4) + sin_el)
    x = 1.22 * effective_diameter_m**2 * f / length_m
    if x >= 7.0:
        return 0.0
    averaging = 3.86 * (x * x + 1.0) ** (11.0 / 12.0) * math.sin(11.0 / 6.0 * math.atan2(1.0, x)) - 7.08 * x ** (5.0 / 6.0)
    sigma = (3.6e-3 + 1e-4 * refractivity) * f ** (7.0 / 12.0) * math.sqrt(max(averaging, 0.0)) / sin_el**1.2
    lg = math.log10(percent)
    return float(sigma * (-0.061 * lg**3 + 0.072 * lg**2 - 1.71 * lg + 3.0))


@compiled
def _at_percent(levels_db: Floats, log_levels: Floats, percent: float) -> float:
    """Linear in ln p between the levels (P.836-6 and P.840-7, annexes 1), held at both ends. levels_db: (L,)."""
    x = math.log(max(percent, LEVELS_FROM_PERCENT))
    for i in range(1, log_levels.shape[0]):
        if x <= log_levels[i]:
            share = (x - log_levels[i - 1]) / (log_levels[i] - log_levels[i - 1])
            return float(levels_db[i - 1] + share * (levels_db[i] - levels_db[i - 1]))
    return float(levels_db[-1])


@compiled
def parts(
    place: Ints, elevation: Floats, percent: Floats, site: Floats, gas: Floats, cloud: Floats, log_levels: Floats, link: Floats
) -> Floats:
    """Rain, gas, cloud, scintillation and total (P.618-13 §2.5), (5, N) dB.

    place, elevation, percent: (N,), `place` indexes the rows of site (P, 5: latitude, R0.01, rain height, station height, wet
    refractivity), of gas and of cloud (P, L: zenith dB at the levels). link: (7,) GHz, kh, kv, ah, av, cos 2τ, effective diameter m.
    """
    out = np.empty((5, place.shape[0]))
    for n in range(place.shape[0]):
        i, el, p = place[n], elevation[n], percent[n]
        sin_el = math.sin(math.radians(el))
        rain = rain_point_db(
            site[i, 0], site[i, 1], site[i, 2], site[i, 3], el, p, link[0], link[1], link[2], link[3], link[4], link[5]
        )  # fmt: skip
        dry = _at_percent(gas[i], log_levels, p) / sin_el
        wet = _at_percent(cloud[i], log_levels, p) / sin_el
        twinkle = scintillation_point_db(site[i, 4], el, p, link[0], link[6])
        out[0, n], out[1, n], out[2, n], out[3, n] = rain, dry, wet, twinkle
        out[4, n] = dry + math.sqrt((rain + wet) ** 2 + twinkle**2)
    return out


@compiled
def rain(place: Ints, elevation: Floats, percent: Floats, site: Floats, link: Floats) -> Floats:
    """Rain alone, (N,) dB; the arguments are those of `parts`."""
    out = np.empty(place.shape[0])
    for n in range(place.shape[0]):
        i = place[n]
        out[n] = rain_point_db(
            site[i, 0], site[i, 1], site[i, 2], site[i, 3], elevation[n], percent[n],
            link[0], link[1], link[2], link[3], link[4], link[5],
        )  # fmt: skip
    return out


@compiled
def exceeded_percent(
    place: Ints, elevation: Floats, margin: Floats, site: Floats, gas: Floats, cloud: Floats, log_levels: Floats, link: Floats
) -> Floats:
    """The percentage of the year in which the total is above `margin` (N,) dB, by bisection in ln p.

    100 where even the attenuation at 50 % is above the margin, 0.001 where the attenuation at 0.001 % is not. Below 36° of latitude the
    Recommendation's own curve may fall again below 0.01 %: what is above the margin there counts, so that nothing is promised too much.
    """
    out = np.empty(place.shape[0])
    percent = np.empty(1)
    for n in range(place.shape[0]):
        low, high = math.log(LOWEST_PERCENT), math.log(HIGHEST_PERCENT)
        one = slice(n, n + 1)
        percent[0] = HIGHEST_PERCENT
        if parts(place[one], elevation[one], percent, site, gas, cloud, log_levels, link)[4, 0] > margin[n]:
            out[n] = 100.0
            continue
        percent[0] = LOWEST_PERCENT
        if parts(place[one], elevation[one], percent, site, gas, cloud, log_levels, link)[4, 0] <= margin[n]:
            percent[0] = RISING_FROM_PERCENT
            if parts(place[one], elevation[one], percent, site, gas, cloud, log_levels, link)[4, 0] <= margin[n]:
                out[n] = LOWEST_PERCENT
                continue
            low = math.log(RISING_FROM_PERCENT)
        for _ in range(44):  # 11 nepers halved 44 times: 1e-12
            middle = 0.5 * (low + high)
            percent[0] = math.exp(middle)
            if parts(place[one], elevation[one], percent, site, gas, cloud, log_levels, link)[4, 0] > margin[n]:
                low = middle
            else:
                high = middle
        out[n] = math.exp(high)
    return out


@compiled
def vapour_db_per_km(f: float, pressure: float, density: float, temperature: float) -> float:
    """Specific attenuation of water vapour (P.676-12 annex 1); hPa, g/m³, K."""
    theta = 300.0 / temperature
    e = density * temperature / 216.7
    total = 0.0
    for row in range(WATER_VAPOUR.shape[0]):
        line = WATER_VAPOUR[row]
        width = line[3] * 1e-4 * (pressure * theta ** line[4] + line[5] * e * theta ** line[6])
        width = 0.535 * width + math.sqrt(0.217 * width * width + 2.1316e-12 * line[0] ** 2 / theta)  # Doppler broadening
        shape = width / ((line[0] - f) ** 2 + width**2) + width / ((line[0] + f) ** 2 + width**2)
        total += line[1] * 0.1 * e * theta**3.5 * math.exp(line[2] * (1.0 - theta)) * f / line[0] * shape
    return float(0.1820 * f * total)


@compiled
def zenith_vapour_table_db(f: float, step: float, count: int) -> Floats:
    """Zenith attenuation by vapour at sea level for columns of 0, step, 2 step … kg/m² (P.676-12 annex 2 §2.3), (count,) dB."""
    out = np.zeros(count)
    for n in range(1, count):
        vapour = n * step
        density = vapour / 2.38
        temperature = 14.0 * math.log(0.22 * density) + 3.0 + 273.15
        ratio = vapour_db_per_km(f, _VAPOUR_REFERENCE_HPA, density, temperature)
        ratio /= vapour_db_per_km(_VAPOUR_REFERENCE_GHZ, _VAPOUR_REFERENCE_HPA, density, temperature)
        out[n] = 0.0176 * vapour * ratio
    return out


@compiled
def zenith_oxygen_db(f: float, pressure: Floats, temperature: Floats, density: Floats) -> Floats:
    """Zenith attenuation by oxygen (P.676-12 annex 1 lines and Debye continuum; annex 2 §2.2 equivalent height), (P, L) dB.

    pressure and temperature: (P,) hPa, K. density: (P, L) surface vapour, g/m³.
    """
    lines, out = OXYGEN.shape[0], np.empty(density.shape)
    base, mixing, strength = np.empty(lines), np.empty(lines), np.empty(lines)
    for i in range(density.shape[0]):
        theta, p = 300.0 / temperature[i], pressure[i]
        warm = theta**0.8
        for row in range(lines):  # what vapour does not change
            line = OXYGEN[row]
            base[row] = p * theta ** (0.8 - line[4])
            mixing[row] = (line[5] + line[6] * theta) * 1e-4 * warm
            strength[row] = line[1] * 1e-7 * p * theta**3 * math.exp(line[2] * (1.0 - theta)) * f / line[0]
        warmth = 0.7832 + 0.00709 * (temperature[i] - 273.15)
        for j in range(density.shape[1]):
            e = density[i, j] * temperature[i] / 216.7
            total = 0.0
            for row in range(lines):
                width = OXYGEN[row, 3] * 1e-4 * (base[row] + 1.1 * e * theta)
                width = math.sqrt(width * width + 2.25e-6)  # Zeeman splitting
                shift = mixing[row] * (p + e)
                below, above = OXYGEN[row, 0] - f, OXYGEN[row, 0] + f
                shape = (width - shift * below) / (below * below + width * width)
                total += strength[row] * (shape + (width - shift * above) / (above * above + width * width))
            d = 5.6e-4 * (p + e) * warm
            continuum = 6.14e-5 / (d * (1.0 + (f / d) ** 2)) + 1.4e-12 * p * theta**1.5 / (1.0 + 1.9e-5 * f**1.5)
            specific = 0.1820 * f * (total + f * p * theta**2 * continuum)

            ratio = (p + e) / 1013.25
            t1 = 5.1040 / (1.0 + 0.066 * ratio**-2.3) * math.exp(-(((f - 59.7) / (2.87 + 12.4 * math.exp(-7.9 * ratio))) ** 2))
            t2 = 0.0
            for row in range(_OXYGEN_HEIGHT.shape[0]):
                centre = _OXYGEN_HEIGHT[row, 1]
                t2 += _OXYGEN_HEIGHT[row, 0] * math.exp(2.12 * ratio) / ((f - centre) ** 2 + 0.025 * math.exp(2.2 * ratio))
            t3 = 0.0114 * f / (1.0 + 0.14 * ratio**-2.6) * (15.02 * f**2 - 1353.0 * f + 5.333e4)
            t3 /= f**3 - 151.3 * f**2 + 9629.0 * f - 6803.0
            height = min(6.1 * warmth / (1.0 + 0.17 * ratio**-1.1) * (1.0 + t1 + t2 + t3), 10.7 * ratio**0.3)
            out[i, j] = specific * height
    return out


@compiled
def rain_from_normal_db(normal: Floats, elevation: Floats, rain_probability_percent: float, site: Floats, link: Floats) -> Floats:
    """Rain attenuation at standard normal deviates, (N,) dB: the deviate's upper tail is the percentage of the year.

    Exact against P.618-13 from 0.001 % to half the probability of rain; from there it falls, linear in ln p, to zero at the
    probability of rain. site: (4,), the first columns of that of `parts`, and link: (7,).
    """
    out = np.zeros(normal.shape[0])
    knee = 0.5 * rain_probability_percent
    for n in range(normal.shape[0]):
        percent = 50.0 * math.erfc(normal[n] / math.sqrt(2.0))
        if percent >= rain_probability_percent:
            continue
        rain = rain_point_db(
            site[0], site[1], site[2], site[3], elevation[n], max(min(percent, knee), LOWEST_PERCENT),
            link[0], link[1], link[2], link[3], link[4], link[5],
        )  # fmt: skip
        out[n] = rain * min(math.log(rain_probability_percent / max(percent, LOWEST_PERCENT)) / math.log(2.0), 1.0)
    return out
