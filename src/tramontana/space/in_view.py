"""Which satellites stand over which places at which instants: counts, the highest elevation, lists; for fixed and for moving places.

A satellite is in view where its elevation over the geodetic horizon (no refraction) is not below the place's mask, it is not behind an
obstruction, and it keeps the wanted angle from the geostationary arc. The prefilters only ever drop satellites that cannot be in view:
the answers equal those of trying every pair (tests/space/test_in_view.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tramontana.errors import LocalError
from tramontana.space._kernels import follow, scan, tally
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Floats
from tramontana.space.observers import LOWEST_MASK_DEG, WIDEST_ARC_AVOIDANCE_DEG, Places, Track, arcs_to_avoid
from tramontana.space.visibility import itrs_positions_m, local_frames

_INSTANTS_A_CHUNK = 240  # an hour of 15 s slots: 60 MB of positions for 10,000 satellites
_NONE_IN_REACH = -2.0

NO_LIST = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class InView:
    """How many satellites T instants × P places have in view."""

    unix_s: Floats
    count: NDArray[np.int32]
    """(T, P)."""
    highest_elevation_deg: NDArray[np.float32]
    """(T, P) of the satellites in view; NaN where there is none."""


@dataclass(frozen=True, eq=False)
class InViewLists:
    """The satellites in view of T instants × P places, as index lists one after the other (compressed rows)."""

    unix_s: Floats
    first: NDArray[np.int64]
    """(T·P + 1,) the list of instant t and place p is `satellite[first[t·P + p]:first[t·P + p + 1]]`."""
    satellite: NDArray[np.int32]
    """Indices into the fleet, ascending in each list."""
    places: int

    def at(self, instant: int, place: int) -> NDArray[np.int32]:
        """The satellites in view of one place at one instant."""
        row = instant * self.places + place
        return self.satellite[self.first[row] : self.first[row + 1]]


def in_view(ephemeris: Ephemeris, places: Places, unix_s: ArrayLike) -> InView:
    """Counts and highest elevations at (T,) ascending instants. Decayed satellites are in nobody's view."""
    times = _instants(unix_s)
    count = np.empty((times.shape[0], places.count), dtype=np.int32)
    highest = np.empty((times.shape[0], places.count), dtype=np.float32)
    row = 0
    look = Look(places)
    for some, nodes in ephemeris.chunks(times, _INSTANTS_A_CHUNK):
        for position in nodes.positions_itrs_m(some):
            look.tally(position)
            count[row], highest[row] = look.count[places.rank], look.highest_elevation_deg()[places.rank]
            row += 1
    return InView(times, count, highest)


def in_view_lists(ephemeris: Ephemeris, places: Places, unix_s: ArrayLike) -> InViewLists:
    """Who is in view at (T,) ascending instants. Memory grows with the answer: 4 bytes an entry."""
    times = _instants(unix_s)
    look = Look(places)
    counts: list[NDArray[np.int64]] = []
    lists: list[NDArray[np.int32]] = []
    for some, nodes in ephemeris.chunks(times, _INSTANTS_A_CHUNK):
        for position in nodes.positions_itrs_m(some):
            count, listed = look.list(position)
            counts.append(count)
            lists.append(listed)
    first = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return InViewLists(times, first, np.concatenate(lists), places.count)


def in_view_of_track(
    ephemeris: Ephemeris, track: Track, unix_s: ArrayLike, *, minimum_elevation_deg: float = 25.0, arc_avoidance_deg: float = 0.0
) -> InViewLists:
    """Who is in view of a ship or an aircraft at (T,) ascending instants; the lists have one place.

    arc_avoidance_deg: least separation from the geostationary arc as seen from where the place is then; 0 for none.
    """
    if not LOWEST_MASK_DEG <= minimum_elevation_deg <= 90.0:
        raise LocalError(f"the minimum elevation must lie between {LOWEST_MASK_DEG:g} and 90 degrees")
    if not 0.0 <= arc_avoidance_deg <= WIDEST_ARC_AVOIDANCE_DEG:
        raise LocalError(f"the angle kept from the geostationary arc must lie between 0 and {WIDEST_ARC_AVOIDANCE_DEG:g} degrees")
    times = _instants(unix_s)
    latitude, longitude, height = track.at(times)
    sine = np.full((times.shape[0], 1), np.sin(np.radians(minimum_elevation_deg)))
    site = itrs_positions_m(latitude, longitude, height)
    place = np.hstack([site, local_frames(latitude, longitude)[:, 2], sine])
    arc_of, arc = arcs_to_avoid(site, np.full(times.shape[0], arc_avoidance_deg))
    counts: list[NDArray[np.int64]] = []
    lists: list[NDArray[np.int32]] = []
    row = 0
    for some, nodes in ephemeris.chunks(times, _INSTANTS_A_CHUNK):
        position, now = nodes.positions_itrs_m(some), slice(row, row + some.shape[0])
        row += some.shape[0]
        count = np.empty(some.shape[0], dtype=np.int64)
        nowhere = np.zeros(some.shape[0], dtype=np.int64)
        follow(position, place[now], arc, arc_of[now], count, NO_LIST, nowhere)
        first = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        listed = np.empty(int(first[-1]) or 1, dtype=np.int32)
        follow(position, place[now], arc, arc_of[now], count, listed, first)
        counts.append(count)
        lists.append(listed[: first[-1]])
    return InViewLists(times, np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64), np.concatenate(lists), 1)


class Look:
    """The kernels with their scratch arrays for one set of places; results are in the kernels' order of places."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.count = np.zeros(places.count)
        self._best_sine = np.zeros(places.count)
        self._scratch = np.zeros(places.count)
        self._no_slots = np.zeros(places.count, dtype=np.int64)

    def tally(self, position: Floats) -> None:
        """Fill `count` and the highest elevations for satellites at (N, 3)."""
        p = self.places
        if p.is_plain:
            tally(
                position, p.region, p.band_base, p.column_first, p.cell, p.cell_first, p.place, self._scratch, self.count, self._best_sine
            )
            self._best_sine[self.count == 0.0] = _NONE_IN_REACH
        else:
            self._scan(position, self._no_slots, NO_LIST)

    def highest_elevation_deg(self) -> Floats:
        """(P,); NaN where nothing is in view."""
        seen = self._best_sine > _NONE_IN_REACH
        return np.where(seen, np.degrees(np.arcsin(np.clip(self._best_sine, -1.0, 1.0))), np.nan)

    def list(self, position: Floats) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Counts (P,) and the lists one after the other, both in the order in which the places were given."""
        self._scan(position, self._no_slots, NO_LIST)
        count = self.count[self.places.rank].astype(np.int64)
        first = np.concatenate([[0], np.cumsum(count)[:-1]])
        listed = np.empty(int(np.sum(count)) or 1, dtype=np.int32)
        self._scan(position, first[self.places.order], listed)
        return count, listed[: int(np.sum(count))]

    def _scan(self, position: Floats, slots: NDArray[np.int64], listed: NDArray[np.int32]) -> None:
        p = self.places
        scan(
            position, p.region, p.band_base, p.column_first, p.cell, p.cell_first, p.place, p.frame, p.obstruction_of, p.obstruction_sine,
            p.arc, p.arc_of, slots, listed, self.count, self._best_sine,
        )  # fmt: skip


def _instants(unix_s: ArrayLike) -> Floats:
    times = np.atleast_1d(np.asarray(unix_s, dtype=np.float64))
    if times.ndim != 1 or times.shape[0] == 0 or not bool(np.all(np.isfinite(times)) and np.all(np.diff(times) >= 0)):
        raise LocalError("give at least one instant; instants must be finite POSIX seconds and ascending")
    return times
