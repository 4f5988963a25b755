"""Compiled kernels of the serving choice, on bare SI arrays. `serving` is the façade: it validates, these do not.

The same choice for one place stands in `serving` in plain numpy; tests hold the two equal. With ``NUMBA_DISABLE_JIT=1`` all of this runs as
plain Python.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tramontana.space._compile import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


NONE = -1
_BANDS, _AROUND = 60, 120  # cells that satellites are sorted into: 3° of latitude and of longitude
_BIN_RAD = math.pi / _BANDS


@compiled
def landing_delays(
    position_m: Floats, site_m: Floats, up: Floats, sine_minimum: Floats, tail_s: Floats, light_m_per_s: float, out_s: Floats
) -> None:
    """Seconds from each satellite over each gateway to its point of presence in the middle of each slot; infinite where it cannot land.

    position_m: (2S+1, C, 3) at half slots. site_m, up: (G, 3). sine_minimum, tail_s: (G,). out_s: (S, G, C).
    A satellite lands for a slot when it stands above the mask at both ends of it.
    """
    slots, gateways, satellites = out_s.shape
    above = np.empty(satellites, dtype=np.bool_)
    for g in range(gateways):
        x, y, z = site_m[g, 0], site_m[g, 1], site_m[g, 2]
        ux, uy, uz = up[g, 0], up[g, 1], up[g, 2]
        for s in range(slots + 1):
            for c in range(satellites):
                dx, dy, dz = position_m[2 * s, c, 0] - x, position_m[2 * s, c, 1] - y, position_m[2 * s, c, 2] - z
                rise = dx * ux + dy * uy + dz * uz
                now = rise >= sine_minimum[g] * math.sqrt(dx * dx + dy * dy + dz * dz)  # NaN compares false
                if s > 0:
                    if now and above[c]:
                        dx = position_m[2 * s - 1, c, 0] - x
                        dy = position_m[2 * s - 1, c, 1] - y
                        dz = position_m[2 * s - 1, c, 2] - z
                        out_s[s - 1, g, c] = math.sqrt(dx * dx + dy * dy + dz * dz) / light_m_per_s + tail_s[g]
                    else:
                        out_s[s - 1, g, c] = np.inf
                above[c] = now


@compiled
def give_antennas(delay_s: Floats, antennas: NDArray[np.int64], order: NDArray[np.int64], out: Ints) -> None:
    """The gateway whose antenna tracks each satellite, one a satellite, in ascending order of delay.

    delay_s: (G, C). antennas: (G,) how many each has. order: (G·C,) indices into the flat delays, ascending. out: (C,), −1 where none.
    """
    satellites = delay_s.shape[1]
    free = antennas.copy()
    out[:] = NONE
    for pair in order:
        gateway, satellite = pair // satellites, pair % satellites
        if delay_s[gateway, satellite] == np.inf:
            break
        if free[gateway] > 0 and out[satellite] == NONE:
            free[gateway] -= 1
            out[satellite] = gateway


@compiled
def sort_into_cells(position_m: Floats, eligible: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Eligible satellites by cell of latitude and longitude: (cells + 1,) first entry of each cell, and the satellites in that order.

    Bands of 3° from south to north, each cut into 120 cells of 3° of longitude from −180°.
    """
    satellites = position_m.shape[0]
    cell = np.full(satellites, NONE, dtype=np.int32)
    first = np.zeros(_BANDS * _AROUND + 1, dtype=np.int32)
    for c in range(satellites):
        if eligible[c]:
            x, y, z = position_m[c, 0], position_m[c, 1], position_m[c, 2]
            band = min(_BANDS - 1, int((math.atan2(z, math.sqrt(x * x + y * y)) + math.pi / 2) / _BIN_RAD))
            along = min(_AROUND - 1, int((math.atan2(y, x) + math.pi) / _BIN_RAD))
            cell[c] = band * _AROUND + along
            first[cell[c] + 1] += 1
    for k in range(1, first.shape[0]):
        first[k] += first[k - 1]
    fill = first.copy()
    members = np.empty(first[-1], dtype=np.int32)
    for c in range(satellites):
        if cell[c] != NONE:
            members[fill[cell[c]]] = c
            fill[cell[c]] += 1
    return first, members


@compiled
def uniform(key: np.uint64, identity: np.uint64) -> float:
    """A number in (0, 1) that depends on key and identity only: the finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    z = key + (identity + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.float64(z >> np.uint64(11)) + 0.5) * 2.0**-53


@compiled
def choose(
    place_m: Floats,
    up: Floats,
    key: NDArray[np.uint64],
    active: NDArray[np.bool_],
    stays: NDArray[np.bool_],
    position_m: Floats,
    identity: NDArray[np.uint64],
    first: Ints,
    members: Ints,
    reach_rad: float,
    sine_minimum: float,
    sine_zenith: float,
    mean_deg: float,
    sigma_deg: float,
    polar_radius_m: float,
    current: Ints,
) -> None:
    """One slot for many places: `current` (P,), the satellites serving them, moves from the slot before to this one.

    place_m, up: (P, 3). key: (P,) of place and slot. active: (P,) others are left alone. stays: (P,) keeps its satellite while it can.
    position_m: (3, C, 3) at the start, in the middle and at the end of the slot. identity: (C,). first, members: `sort_into_cells` of the
    middle. reach_rad: greatest angle at the Earth's centre at which any satellite stands above the mask.
    """
    square_minimum = sine_minimum * sine_minimum
    for p in range(place_m.shape[0]):
        if not active[p]:
            continue
        x, y, z = place_m[p, 0], place_m[p, 1], place_m[p, 2]
        ux, uy, uz = up[p, 0], up[p, 1], up[p, 2]
        before = current[p] if stays[p] else NONE
        best, least, kept = NONE, np.inf, False
        latitude, longitude = math.atan2(z, math.sqrt(x * x + y * y)), math.atan2(y, x)
        low = max(0, int((latitude - reach_rad + math.pi / 2) / _BIN_RAD)) if latitude - reach_rad > -math.pi / 2 else 0
        high = min(_BANDS - 1, int((latitude + reach_rad + math.pi / 2) / _BIN_RAD))
        span = math.pi  # how far to either side in longitude the reach goes: all round where it holds a pole
        if abs(latitude) + reach_rad < math.pi / 2:
            span = math.asin(min(1.0, math.sin(reach_rad) / math.cos(latitude)))
        west = math.floor((longitude - span + math.pi) / _BIN_RAD)
        east = min(math.floor((longitude + span + math.pi) / _BIN_RAD), west + _AROUND - 1)
        for band in range(low, high + 1):
            for along in range(west, east + 1):
                cell = band * _AROUND + along % _AROUND
                for k in range(first[cell], first[cell + 1]):
                    c = members[k]
                    seen = True
                    for end in (0, 2):
                        dx, dy, dz = position_m[end, c, 0] - x, position_m[end, c, 1] - y, position_m[end, c, 2] - z
                        rise = dx * ux + dy * uy + dz * uz
                        if rise <= 0.0 or rise * rise < square_minimum * (dx * dx + dy * dy + dz * dz):
                            seen = False
                            break
                    if not seen:
                        continue
                    if c == before:
                        kept = True
                        break
                    mx, my, mz = position_m[1, c, 0], position_m[1, c, 1], position_m[1, c, 2]
                    dx, dy, dz = mx - x, my - y, mz - z
                    sine = min(1.0, (dx * ux + dy * uy + dz * uz) / math.sqrt(dx * dx + dy * dy + dz * dz))
                    flat = min(sine, sine_zenith)
                    cosine = math.sqrt(1.0 - flat * flat)
                    ratio = polar_radius_m / math.sqrt(mx * mx + my * my + mz * mz)
                    nadir = math.sqrt(1.0 - (ratio * cosine) ** 2)
                    # sine of the angle at the Earth's centre, times how fast it falls with elevation
                    density = (nadir * cosine - ratio * cosine * flat) * (1.0 - ratio * flat / nadir)
                    # The least of exponential times, each over its weight, is the greatest of the scores with Gumbel noise in `serving`.
                    time = -math.log(uniform(key[p], identity[c])) * density
                    if time < least:  # what follows only makes it longer
                        deviation = (math.degrees(math.asin(sine)) - mean_deg) / sigma_deg
                        time *= math.exp(0.5 * deviation * deviation)
                        if time < least:
                            best, least = c, time
                if kept:
                    break
            if kept:
                break
        current[p] = before if kept else best
