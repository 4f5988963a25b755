"""When satellites rise over a place, stand highest, and set: every pass of every satellite over one fixed place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.ephemeris import Ephemeris, Nodes
from tramontana.space.fleet import Floats
from tramontana.space.observers import GREATEST_HEIGHT_M, LOWEST_HEIGHT_M, LOWEST_MASK_DEG
from tramontana.space.visibility import itrs_position_m, local_frame

SAMPLE_STEP_S = 30.0  # passes are told apart by samples; a low orbit culminates at most once in half an orbit
LONGEST_SPAN_S = 32 * 86400.0
_SATELLITES_A_TURN = 256  # whose nodes are held at one time: 9 MB a day
_GOLDEN_STEPS, _BISECTIONS = 26, 18  # 60 s down to 0.3 ms
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Passes:
    """M passes by rise; those already up at the start of the span come first, by culmination."""

    satellite: Indices
    """(M,) index into the fleet."""
    rise_unix_s: Floats
    """(M,) NaN where the satellite is up when the span starts."""
    culmination_unix_s: Floats
    """(M,) the highest moment within the span."""
    set_unix_s: Floats
    """(M,) NaN where the satellite is still up when the span ends."""
    highest_elevation_deg: Floats
    """(M,)."""


def find_passes(
    ephemeris: Ephemeris,
    latitude_deg: float,
    longitude_deg: float,
    height_m: float,
    start_unix_s: float,
    end_unix_s: float,
    *,
    minimum_elevation_deg: float = 25.0,
    satellites: Indices | None = None,
) -> Passes:
    """Every pass over the mask between start and end, also those shorter than the sampling. Times are good to 10 ms of the elements.

    satellites: indices into the fleet, all where not given. A satellite that decays in the span has passes until then.
    """
    if not (np.isfinite(start_unix_s) and SAMPLE_STEP_S < end_unix_s - start_unix_s <= LONGEST_SPAN_S):
        raise LocalError(f"passes are looked for in a finite span of {SAMPLE_STEP_S:.0f} s to {LONGEST_SPAN_S / 86400:.0f} days")
    in_range = abs(latitude_deg) <= 90 and abs(longitude_deg) <= 360 and LOWEST_HEIGHT_M <= height_m <= GREATEST_HEIGHT_M
    if not in_range or not LOWEST_MASK_DEG <= minimum_elevation_deg <= 90:
        raise LocalError("the place or its minimum elevation is out of range: give degrees and metres above the ellipsoid")
    which = np.arange(len(ephemeris.fleet)) if satellites is None else np.asarray(satellites, dtype=np.intp)
    site = _Site(itrs_position_m(latitude_deg, longitude_deg, height_m), local_frame(latitude_deg, longitude_deg)[2])
    sine = float(np.sin(np.radians(minimum_elevation_deg)))
    parts = []
    for first in range(0, which.shape[0], _SATELLITES_A_TURN):
        some = which[first : first + _SATELLITES_A_TURN]
        parts.append(_passes(ephemeris.nodes(start_unix_s, end_unix_s, some), some, site, sine, start_unix_s, end_unix_s))
    if not parts:
        raise LocalError("give at least one satellite")
    table = np.concatenate(parts, axis=0)
    table = table[np.lexsort((table[:, 2], np.where(np.isnan(table[:, 1]), -np.inf, table[:, 1])))]
    return Passes(
        table[:, 0].astype(np.intp), table[:, 1], table[:, 2], table[:, 3], np.degrees(np.arcsin(np.clip(table[:, 4], -1.0, 1.0)))
    )


@dataclass(frozen=True, eq=False)
class _Site:
    """The place as position and zenith, (3,)."""

    position_m: Floats
    zenith: Floats

    def sine(self, position_m: Floats) -> Floats:
        """Sine of the elevation of satellites at (…, 3)."""
        offset = position_m - self.position_m
        return np.asarray(offset @ self.zenith / np.linalg.norm(offset, axis=-1), dtype=np.float64)


def _passes(nodes: Nodes, which: Indices, site: _Site, mask: float, start: float, end: float) -> Floats:
    """(M, 5) satellite, rise, culmination, set, sine of the highest elevation."""
    regular = np.append(np.arange(start, end, SAMPLE_STEP_S), end)
    sine = site.sine(nodes.positions_itrs_m(regular)).T  # (S, T)
    time = np.tile(regular, (which.shape[0], 1))
    sine = np.where(np.isnan(sine), -2.0, sine)
    # Each highest sample gives way to the true culmination between its neighbours: then no pass hides between samples.
    peak = (sine[:, 1:-1] > sine[:, :-2]) & (sine[:, 1:-1] >= sine[:, 2:]) & (sine[:, :-2] > -2.0) & (sine[:, 2:] > -2.0)
    satellite, at = np.nonzero(peak)
    at += 1
    time[satellite, at], sine[satellite, at] = _culminations(nodes, site, satellite, time[satellite, at - 1], time[satellite, at + 1])

    up = np.pad(sine >= mask, ((0, 0), (1, 1)))  # below the mask before and after the span
    begins, ends = np.nonzero(up[:, 1:] & ~up[:, :-1]), np.nonzero(~up[:, 1:] & up[:, :-1])
    row, first, last = begins[0], begins[1], ends[1] - 1  # the pairs come in the same order
    table = np.full((row.shape[0], 5), np.nan)
    table[:, 0] = which[row]
    rises = first > 0
    table[rises, 1] = _crossings(nodes, site, row[rises], time[row[rises], first[rises] - 1], time[row[rises], first[rises]], mask)
    sets = last < regular.shape[0] - 1
    table[sets, 3] = _crossings(nodes, site, row[sets], time[row[sets], last[sets] + 1], time[row[sets], last[sets]], mask)
    for m, (r, a, b) in enumerate(zip(row.tolist(), first.tolist(), last.tolist(), strict=True)):
        highest = a + int(np.argmax(sine[r, a : b + 1]))
        table[m, 2], table[m, 4] = time[r, highest], sine[r, highest]
    return table


def _culminations(nodes: Nodes, site: _Site, satellite: Indices, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Golden section for the highest moment of each satellite between two instants, (M,)."""
    low, high = low.copy(), high.copy()
    for _ in range(_GOLDEN_STEPS):
        width = _GOLDEN * (high - low)
        left, right = high - width, low + width
        rising = _sine_at(nodes, site, satellite, right) > _sine_at(nodes, site, satellite, left)
        low, high = np.where(rising, left, low), np.where(rising, high, right)
    middle = (low + high) / 2.0
    return middle, _sine_at(nodes, site, satellite, middle)


def _crossings(nodes: Nodes, site: _Site, satellite: Indices, below: Floats, above: Floats, mask: float) -> Floats:
    """Bisection for the instant at which each satellite crosses the mask between an instant below it and one above, (M,)."""
    for _ in range(_BISECTIONS):
        middle = (below + above) / 2.0
        up = _sine_at(nodes, site, satellite, middle) >= mask
        below, above = np.where(up, below, middle), np.where(up, middle, above)
    return np.asarray((below + above) / 2.0, dtype=np.float64)


def _sine_at(nodes: Nodes, site: _Site, satellite: Indices, unix_s: Floats) -> Floats:
    """Sine of the elevation of satellite m at its own instant m, (M,)."""
    return site.sine(nodes.position_of(satellite, unix_s))
