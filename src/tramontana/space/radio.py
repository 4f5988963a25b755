"""What a user gets of the radio: published rates, moved by the link budget at the elevation, by the weather and by the load.

The operator publishes what users get, not what a beam carries. So the published median stands for the median serving elevation under a
clear sky, and moves with what one carrier of the link budget carries elsewhere. A feeder link in rain takes the same share from all users
behind it: gateways are assumed to be sized for their users, no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tramontana.space.fleet import Floats
from tramontana.space.links import KA_FEEDER_DOWN, KA_FEEDER_UP, KU_USER_DOWN, KU_USER_UP, LinkBudget, capacity_bps, slant_range_m
from tramontana.space.parameters import Parameter, PathParameters
from tramontana.space.serving import ELEVATION_MEAN_DEG

_REFERENCE_ALTITUDE_M = 550e3  # Gen1's first shell; the satellite holds its flux on the ground, so the altitude hardly matters


@dataclass(frozen=True, slots=True)
class Radio:
    """The four links of a path: user and feeder, down towards the user and up from them."""

    user_down: LinkBudget = KU_USER_DOWN
    user_up: LinkBudget = KU_USER_UP
    feeder_down: LinkBudget = KA_FEEDER_UP
    """Carries what goes down to users: from the gateway up to the satellite."""
    feeder_up: LinkBudget = KA_FEEDER_DOWN
    """Carries what users send up: from the satellite down to the gateway."""
    fixed_bps: tuple[Parameter, Parameter] | None = None
    """Down and up, of a system without link budgets here: neither elevation nor weather moves them, and the four links play no part."""

    def user_bps(
        self, parameters: PathParameters, load: Parameter, elevation_deg: Floats, range_m: Floats, fade_db: tuple[ArrayLike, ArrayLike]
    ) -> tuple[Floats, Floats]:
        """Down and up, bit/s, of one user whose satellite stands there; 0 where not even the most robust coding holds.

        fade_db: total attenuation of the two user links.
        """
        if self.fixed_bps is not None:
            shape = np.broadcast_shapes(np.shape(elevation_deg), np.shape(fade_db[0]))
            return np.full(shape, self.fixed_bps[0].value / load.value), np.full(shape, self.fixed_bps[1].value / load.value)
        pairs = (
            (self.user_down, parameters.capacity_down_bps.value, fade_db[0]),
            (self.user_up, parameters.capacity_up_bps.value, fade_db[1]),
        )
        down, up = (
            capacity_bps(budget, elevation_deg, range_m, fade) * (published / load.value / _usual_bps(budget))
            for budget, published, fade in pairs
        )
        return down, up

    def feeder_share(
        self, elevation_deg: Floats, range_m: Floats, clear_db: tuple[ArrayLike, ArrayLike], fade_db: tuple[ArrayLike, ArrayLike]
    ) -> tuple[Floats, Floats]:
        """What the weather leaves of the feeder links, 0–1, for what goes down and for what goes up."""
        down, up = (
            _ratio(capacity_bps(budget, elevation_deg, range_m, fade), capacity_bps(budget, elevation_deg, range_m, clear))
            for budget, clear, fade in zip((self.feeder_down, self.feeder_up), clear_db, fade_db, strict=True)
        )
        return down, up

    def assumptions(self) -> tuple[str, ...]:
        """One line for each figure of the user links that nobody published; those of the feeder links are in docs/links.md."""
        if self.fixed_bps is None:
            return (*self.user_down.assumptions(), *self.user_up.assumptions())
        return tuple(
            f"{name} {p.value:g} {p.unit} ({p.low:g} to {p.high:g}), whatever elevation and weather: {p.source}"
            for name, p in zip(("down", "up"), self.fixed_bps, strict=True)
        )


STARLINK_LIKE = Radio()


def _usual_bps(budget: LinkBudget) -> float:
    """What one carrier carries at the median serving elevation under a clear sky."""
    range_m = slant_range_m(_REFERENCE_ALTITUDE_M, ELEVATION_MEAN_DEG)
    return float(capacity_bps(budget, ELEVATION_MEAN_DEG, range_m, 0.0))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
