"""What a sky gives to areas: seas as polygons cut into cells, municipalities as a list of places. Coverage and gaps over a time, simulated.

A cell or place is served while a satellite stands over it and over a gateway where it may land (space/studies/coverage.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.planning.sky import SkyDesign
from tramontana.space.serving import MINIMUM_ELEVATION_DEG
from tramontana.space.shells import FILED_EPOCH_UNIX_S
from tramontana.space.studies.coverage import CountSatellites
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites

Floats = NDArray[np.float64]
STEP_S = 30.0
DURATION_S = 3600.0


@dataclass(frozen=True, eq=False, slots=True)
class Covered:
    """By site, (P,)."""

    served: Floats
    """Share of the time."""
    longest_gap_s: Floats
    """To the step; the whole time where it is never served."""
    satellites: Floats
    """How many can serve at a time, on average: where everything is served, this still tells places apart."""


@dataclass(frozen=True, eq=False, slots=True)
class CoverSites:
    """The work of one sky, picklable."""

    sites: Sites
    start_unix_s: float = FILED_EPOCH_UNIX_S
    duration_s: float = DURATION_S

    def __call__(self, sky: SkyDesign) -> Covered:
        instants = Instants.over(self.start_unix_s, self.duration_s, STEP_S)
        served = CountSatellites(sky.fleet(), sky.ground(), self.sites, MINIMUM_ELEVATION_DEG)(instants).served
        return Covered(np.asarray(served.fraction), np.asarray(served.longest_gap_s), np.asarray(served.mean_in_view, np.float64))


def joined(parts: Sequence[Sites]) -> tuple[Sites, tuple[slice, ...]]:
    """Several sets of fixed sites as one, so that a sky is propagated once for all; and where each is in it."""
    ends = np.cumsum([len(part) for part in parts]).tolist()
    spans = tuple(slice(end - len(part), end) for part, end in zip(parts, ends, strict=True))
    return (
        Sites.of(
            ids=[f"{number}:{name}" for number, part in enumerate(parts) for name in part.ids],  # two seas may share a cell at their border
            names=[name for part in parts for name in part.names],
            kind="place",
            latitude_deg=np.concatenate([part.latitude_deg for part in parts]),
            longitude_deg=np.concatenate([part.longitude_deg for part in parts]),
        ),
        spans,
    )


def together(parts: Sequence[Covered]) -> Covered:
    """Several skies: outages count as independent, and the gap is the shortest of theirs: at most. Raises `ValueError` for none."""
    if not parts:
        raise ValueError("no sky, no coverage")
    lost = np.prod([1.0 - part.served for part in parts], axis=0)
    gap = np.min([part.longest_gap_s for part in parts], axis=0)
    return Covered(1.0 - lost, gap, np.sum([part.satellites for part in parts], axis=0))
