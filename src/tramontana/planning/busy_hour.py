"""What a sky carries when every place of the study asks for its busy hour at once, by the cells of `space.beams`.

Demand and beams are both uncertain, so there are three cases: cautious (the highest demand on the fewest and slowest beams), likely,
and hopeful. Nobody else is in the plan: what others take of the satellites is the share of the beams that the study may use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import h3
import numpy as np
from numpy.typing import NDArray

from tramontana.space.beams.assignment import BeamRules
from tramontana.space.beams.capacity import CHANNEL_HZ
from tramontana.space.fleet import Fleet
from tramontana.space.ground import Ground
from tramontana.space.serving import MINIMUM_ELEVATION_DEG
from tramontana.space.studies.capacity import Load, PlanBeams
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites

Floats = NDArray[np.float64]
CASES: Final = ("cautious", "likely", "hopeful")
RESOLUTION: Final = 5
"""H3 cells of about 250 km², as the beams are planned (docs/beams.md)."""


@dataclass(frozen=True, slots=True)
class Beams:
    """Each with its three cases, fewest first."""

    per_satellite: tuple[float, float, float]
    """That the study may use: a part of all where others use them as well."""
    channels: int
    """At most so many beams on one cell."""
    rate_bps: tuple[float, float, float]
    """Of one beam, downlink."""


def cells_of(sites: Sites) -> list[str]:
    """The cell of each site."""
    where = zip(sites.latitude_deg.tolist(), sites.longitude_deg.tolist(), strict=True)
    return [h3.latlng_to_cell(latitude, longitude, RESOLUTION) for latitude, longitude in where]


def mean_carried(shares: Floats, demand_bps: Floats) -> tuple[float, ...]:
    """Of the whole demand, by case (`CASES`), the mean over time. shares: as `carried` gives them; demand_bps: as it takes it."""
    mean = shares.mean(axis=1)  # (3, P)
    return tuple(float(np.average(mean[case], weights=demand_bps[len(CASES) - 1 - case])) for case in range(len(CASES)))


def carried(fleet: Fleet, ground: Ground, sites: Sites, demand_bps: Floats, beams: Beams, instants: Instants) -> Floats:
    """(3, T, P) share of each site's demand that is carried; 1 where nothing is asked. Sites in one cell share what it gets.

    demand_bps: (3, P), lowest first; the cautious case takes the highest.
    """
    own = cells_of(sites)
    cells = tuple(sorted(set(own)))
    of_site = np.array([cells.index(cell) for cell in own], np.int64)
    shares = []
    for case in range(len(CASES)):
        asked = demand_bps[len(CASES) - 1 - case]
        in_cell = np.bincount(of_site, weights=asked, minlength=len(cells)).astype(np.float64)
        count = math.ceil(beams.per_satellite[case])
        rate_bps = beams.rate_bps[case] * beams.per_satellite[case] / max(count, 1)  # a part of a beam is one that others use in turn
        rules, load = BeamRules(count, beams.channels), Load(cells, in_cell, of_site)
        if count == 0:
            given = np.zeros((instants.count, len(own)))
        else:
            plan = PlanBeams(fleet, ground, load, MINIMUM_ELEVATION_DEG, rules, rate_bps / CHANNEL_HZ.value)
            given = np.asarray(plan(instants).beams * rate_bps, np.float64)
        wanted = in_cell[of_site]
        shares.append(np.where(wanted > 0, np.minimum(1.0, given / np.where(wanted > 0, wanted, 1.0)), 1.0))
    return np.stack(shares)
