"""What a path profile is told besides fleet, ground and figures: weather, load, policy, what is out of order, what hides the sky.

The defaults are those of the live service; docs/profile.md says why each was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.fleet import Floats
from tramontana.space.links import RainClimate
from tramontana.space.parameters import Parameter
from tramontana.space.routing.failures import NOTHING, Failures
from tramontana.space.routing.policy import ANYTHING, Policy

USUAL_LOAD = Parameter(
    1.0, 0.3, 10.0, "× usual", "assumption: a cell as busy as those in which the operator measured the rates that it publishes"
)


@dataclass(frozen=True, slots=True)
class ObstructionMask:
    """Lowest free elevation around a terminal, in sectors: each holds from its azimuth to the next one's, the last to the first.

    Pairs of azimuth (0 up to 360, ascending) and elevation (0 to 90), degrees. No pair: an open sky.
    """

    sectors_deg: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        azimuths = [azimuth for azimuth, _ in self.sectors_deg]
        if not all(0 <= azimuth < 360 for azimuth in azimuths) or azimuths != sorted(set(azimuths)):
            raise LocalError("an obstruction mask needs azimuths from 0 up to 360 degrees, ascending, none twice")
        if not all(0 <= elevation <= 90 for _, elevation in self.sectors_deg):
            raise LocalError("an obstruction mask needs elevations between 0 and 90 degrees")

    def hides(self, azimuth_deg: Floats, elevation_deg: Floats) -> NDArray[np.bool_]:
        """Whether a satellite there is behind an obstacle; NaN, no satellite, is not. The arguments and the answer have one shape."""
        if not self.sectors_deg:
            return np.zeros(np.shape(elevation_deg), dtype=np.bool_)
        starts, lowest = np.array(self.sectors_deg).T
        sector = np.searchsorted(starts, azimuth_deg, side="right") - 1  # before the first sector lies the last, index -1
        return np.asarray(elevation_deg < lowest[sector], dtype=np.bool_)


OPEN_SKY = ObstructionMask()


@dataclass(frozen=True, slots=True)
class PathOptions:
    """How a path is to be modelled. Replace one with `dataclasses.replace`."""

    rain: bool = False
    """Seeded rain with the statistics of the place and of the gateways. Never the weather of a real day."""
    climate: RainClimate | None = None
    """Of the place, shape (); None: that of the maps at its coordinates."""
    load: Parameter = USUAL_LOAD
    """A user gets the usual rate divided by this."""
    lasers: bool = True
    """Where no satellite in view sees a permitted gateway, go on through the laser network."""
    policy: Policy = ANYTHING
    jurisdiction: str = "US"
    """Country whose law binds the operator of the satellites, ISO 3166-1 alpha-2. The policy judges it."""
    failures: Failures = NOTHING
    obstructions: ObstructionMask = OPEN_SKY

    def __post_init__(self) -> None:
        if self.load.value <= 0:
            raise LocalError("the load must be above 0: 1 is the usual one, 2 twice as many users")
        if self.failures.planes:
            raise LocalError("planes are numbered anew every few hours: for a path over time name their satellites instead")
        if self.climate is not None and self.climate.shape != ():
            raise LocalError(f"the climate of a path is that of one place, not of shape {self.climate.shape}: index it first")


LIVE = PathOptions()
