"""Passes over sites that stay and sites that move: when satellites rise, stand highest and set, in which direction and how far."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.in_view import in_view_of_track
from tramontana.space.passes import find_passes
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites
from tramontana.space.visibility import look_angles

TRACK_STEP_S = 5.0
"""Along a track rise, culmination and set are known to this step."""


@dataclass(frozen=True, eq=False)
class SitePasses:
    """K passes. Rise is NaN for a satellite that is up when the span begins, set for one that is up when it ends."""

    site: NDArray[np.int64]
    satellite: NDArray[np.int64]
    rise_unix_s: Floats
    culmination_unix_s: Floats
    set_unix_s: Floats
    rise_azimuth_deg: Floats
    culmination_azimuth_deg: Floats
    set_azimuth_deg: Floats
    culmination_elevation_deg: Floats
    culmination_range_m: Floats

    def __len__(self) -> int:
        return int(self.site.shape[0])


@dataclass(frozen=True, eq=False)
class FindPasses:
    """The work for one site, picklable; of the instants only start and end count."""

    fleet: Fleet
    sites: Sites
    instants: Instants
    minimum_elevation_deg: float

    def __call__(self, site: int) -> SitePasses:
        ephemeris, one = Ephemeris(self.fleet), self.sites.take(site)
        start, end = self.instants.start_unix_s, self.instants.end_unix_s
        if one.tracks:
            rows = self._along(ephemeris, one, start, end)
        else:
            place = one.place(0, start)
            found = find_passes(
                ephemeris,
                place.latitude_deg,
                place.longitude_deg,
                place.height_m,
                start,
                end,
                minimum_elevation_deg=self.minimum_elevation_deg,
            )
            rows = list(
                zip(
                    found.satellite.tolist(),
                    found.rise_unix_s.tolist(),
                    found.culmination_unix_s.tolist(),
                    found.set_unix_s.tolist(),
                    strict=True,
                )
            )
        table = np.full((len(rows), len(fields(SitePasses))), np.nan)
        for number, (satellite, *moments) in enumerate(rows):
            elevation, azimuth, range_m = self._look(ephemeris, one, satellite, np.array(moments))
            table[number] = site, satellite, *moments, *azimuth, elevation[1], range_m[1]
        columns = table.T
        return SitePasses(columns[0].astype(np.int64), columns[1].astype(np.int64), *columns[2:])

    def _along(self, ephemeris: Ephemeris, one: Sites, start: float, end: float) -> list[tuple[int, float, float, float]]:
        """Runs of a satellite in view at instants `TRACK_STEP_S` apart."""
        times = np.append(np.arange(start, end - 1e-6, TRACK_STEP_S), end)
        lists = in_view_of_track(ephemeris, one.tracks[0], times, minimum_elevation_deg=self.minimum_elevation_deg)
        instant = np.repeat(np.arange(times.shape[0]), np.diff(lists.first))
        order = np.lexsort((instant, lists.satellite))
        instant, satellite = instant[order], lists.satellite[order]
        rows = []
        for run in np.split(np.arange(instant.shape[0]), np.flatnonzero((np.diff(satellite) != 0) | (np.diff(instant) != 1)) + 1):
            if not run.shape[0]:
                continue
            who, first, last = int(satellite[run[0]]), int(instant[run[0]]), int(instant[run[-1]])
            highest = float(times[first + int(np.argmax(self._look(ephemeris, one, who, times[first : last + 1])[0]))])
            rise = float(times[first]) if first > 0 else np.nan
            rows.append((who, rise, highest, float(times[last]) if last < times.shape[0] - 1 else np.nan))
        return sorted(rows, key=lambda row: (-np.inf if np.isnan(row[1]) else row[1], row[2]))

    def _look(self, ephemeris: Ephemeris, one: Sites, satellite: int, times: Floats) -> tuple[Floats, Floats, Floats]:
        """Elevation, azimuth and range at instants, (T,) each; NaN at NaN."""
        known = np.isfinite(times)
        angles = np.full((3, times.shape[0]), np.nan)
        position = ephemeris.propagator.track_itrs_m(satellite, times[known])
        groups = [(np.flatnonzero(known), position)]
        if one.tracks:  # somewhere else at each instant
            groups = [(np.array([at]), there[None]) for at, there in zip(np.flatnonzero(known).tolist(), position, strict=True)]
        for at, there in groups:
            place = one.place(0, float(times[at[0]]))
            angles[:, at] = look_angles(place.latitude_deg, place.longitude_deg, place.height_m, there)
        elevation, azimuth, range_m = angles
        return elevation, azimuth, range_m


def join(pieces: list[SitePasses]) -> SitePasses:
    """The passes of the sites one after the other."""
    return SitePasses(**{f.name: np.concatenate([getattr(p, f.name) for p in pieces]) for f in fields(SitePasses)})
