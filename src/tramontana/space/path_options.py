"""What a path profile is told besides fleet, ground and figures: weather, load, policy, what is out of order, what hides the sky.

The defaults are those of the live service; docs/profile.md says why each was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

from tramontana.errors import LocalError
from tramontana.space.links import RainClimate
from tramontana.space.observers import Obstruction
from tramontana.space.parameters import Parameter
from tramontana.space.radio import STARLINK_LIKE, Radio
from tramontana.space.routing.failures import NOTHING, Failures
from tramontana.space.routing.policy import ANYTHING, Policy

USUAL_LOAD = Parameter(
    1.0, 0.3, 10.0, "× usual", "assumption: a cell as busy as those in which the operator measured the rates that it publishes"
)


@dataclass(frozen=True, slots=True)
class PathOptions:
    """How a path is to be modelled. Replace one with `dataclasses.replace`."""

    rain: bool = False
    """Seeded rain with the statistics of the place and of the gateways. Never the weather of a real day."""
    climate: RainClimate | None = None
    """Of the place, shape (); None: that of the maps at its coordinates."""
    radio: Radio = STARLINK_LIKE
    load: Parameter = USUAL_LOAD
    """A user gets the usual rate divided by this."""
    lasers: bool = True
    """Where no satellite in view sees a permitted gateway, go on through the laser network."""
    policy: Policy = ANYTHING
    jurisdiction: str = "US"
    """Country whose law binds the operator of the satellites, ISO 3166-1 alpha-2. The policy judges it."""
    failures: Failures = NOTHING
    obstructions: Obstruction | None = None
    """What hides the sky from the terminal; None: nothing. The operator is assumed not to know of it."""

    notes: tuple[str, ...] = ()
    """More lines for the notes of every profile and forecast, such as what stands in for what is not modelled."""

    def __post_init__(self) -> None:
        if self.load.value <= 0:
            raise LocalError("the load must be above 0: 1 is the usual one, 2 twice as many users")
        if self.failures.planes:
            raise LocalError("planes are numbered anew every few hours: for a path over time name their satellites instead")
        if self.climate is not None and self.climate.shape != ():
            raise LocalError(f"the climate of a path is that of one place, not of shape {self.climate.shape}: index it first")


LIVE = PathOptions()
