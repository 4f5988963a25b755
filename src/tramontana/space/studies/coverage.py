"""Coverage of sites: satellites in view, and of those the ones that can serve because they stand over a gateway at the same time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.space.coverage import Coverage, CoverageCounter
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground
from tramontana.space.in_view import Look
from tramontana.space.observers import Places
from tramontana.space.studies import _kernels
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites
from tramontana.space.visibility import local_frame

MOST_SITES_OF_A_SERIES = 8
_INSTANTS_A_TURN = 120  # whose positions are held at one time: 30 MB for 10,000 satellites


@dataclass(frozen=True, eq=False)
class Counted:
    """Satellites over P sites through T instants."""

    in_view: Coverage
    """With as many satellites in view as were asked for."""
    served: Coverage
    """With at least one that can serve."""
    series: NDArray[np.int64]
    """(2, T, P) in view and able to serve at every instant; P is 0 for more than `MOST_SITES_OF_A_SERIES` sites."""

    def then(self, later: Counted) -> Counted:
        """Both together; `later` starts one step after the end of this one."""
        series = np.concatenate([self.series, later.series], axis=1)
        return Counted(self.in_view.then(later.in_view), self.served.then(later.served), series)


@dataclass(frozen=True, eq=False)
class CountSatellites:
    """The work of one piece of time, picklable. A pure function of its arguments: pieces join without seam.

    arc_avoidance_deg: least separation from the geostationary arc as seen from a fixed site; 0 for none.
    """

    fleet: Fleet
    ground: Ground
    sites: Sites
    minimum_elevation_deg: float
    at_least: int = 1
    arc_avoidance_deg: float = 0.0

    def __call__(self, instants: Instants) -> Counted:
        ground, count = self.ground, len(self.sites)
        gateway_up = np.stack([local_frame(g.latitude_deg, g.longitude_deg)[2] for g in ground.gateways])
        gateway_sine = np.sin(np.radians([g.minimum_elevation_deg for g in ground.gateways]))
        in_view = CoverageCounter(count, at_least=self.at_least, step_s=instants.step_s)
        served = CoverageCounter(count, at_least=1, step_s=instants.step_s)
        shown = count if count <= MOST_SITES_OF_A_SERIES else 0
        series = np.zeros((2, instants.count, shown), dtype=np.int64)
        places = self._places(instants.start_unix_s)
        look = Look(places)
        row = 0
        for times, nodes in Ephemeris(self.fleet).chunks(instants.times_unix_s, _INSTANTS_A_TURN):
            for at, position in zip(times.tolist(), nodes.positions_itrs_m(times), strict=True):
                if self.sites.tracks:
                    places = self._places(at)
                    look = Look(places)
                sky = _counts(look, places, position)
                _kernels.hide_unlanded(position, ground.gateway_itrs_m, gateway_up, gateway_sine)
                paths = _counts(look, places, position)
                in_view.add(sky)
                served.add(paths)
                series[:, row] = sky[:shown], paths[:shown]
                row += 1
        return Counted(in_view.coverage, served.coverage, series)

    def _places(self, at_unix_s: float) -> Places:
        latitude, longitude, height = (row[0] for row in self.sites.coordinates(np.array([at_unix_s])))
        return Places(
            latitude,
            longitude,
            height,
            minimum_elevation_deg=self.minimum_elevation_deg,
            arc_avoidance_deg=self.arc_avoidance_deg,
        )


def join(pieces: list[Counted]) -> Counted:
    """Pieces of time in order as one."""
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole.then(piece)
    return whole


def _counts(look: Look, places: Places, position: Floats) -> NDArray[np.int64]:
    """(P,) satellites in view of each site."""
    look.tally(position)
    return np.asarray(look.count[places.rank], dtype=np.int64)


def gap_s(coverage: Coverage) -> Floats:
    """(P,) seconds without coverage, all gaps together."""
    return np.asarray((coverage.instants - coverage.covered) * coverage.step_s, dtype=np.float64)
