"""From beams to bits: what a cell gets, what it asked for, and the served share; and how many beams a demand takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.beams.assignment import BeamPlan, BeamRules, greatest_plan, greedy_plan
from tramontana.space.beams.cells import Ints, Pairs
from tramontana.space.fleet import Floats
from tramontana.space.parameters import Parameter

_BEAMS_OF_V2_MINI = 48
_CHANNEL_USED_HZ = 240e6

CHANNEL_HZ = Parameter(
    _CHANNEL_USED_HZ, 240e6, 250e6, "Hz", "Humphreys et al. 2023: 240 MHz used of each 250 MHz channel, eight from 10.7 to 12.7 GHz"
)
EFFICIENCY_BPS_PER_HZ = Parameter(
    2.5,
    round(6e9 / _BEAMS_OF_V2_MINI / _CHANNEL_USED_HZ, 2),
    round(96e9 / _BEAMS_OF_V2_MINI / _CHANNEL_USED_HZ, 2),
    "bit/s/Hz",
    "assumption: between 6 Gbit/s a V2 mini in public techno-economic models and 96 Gbit/s as claimed, over 48 beams of 240 MHz each",
)


@dataclass(frozen=True, eq=False)
class CellCapacity:
    """What C cells get for what they ask, bit/s downlink."""

    plan: BeamPlan
    bound: BeamPlan
    """The greatest plan for the same demand: how much better any assignment could be."""
    demand_bps: Floats
    """(C,)"""
    capacity_bps: Floats
    """(C,) of the plan's beams."""

    @property
    def served_share(self) -> Floats:
        """(C,) of each cell's demand; 1 where nothing is asked."""
        asked = self.demand_bps > 0
        share = np.minimum(1.0, self.capacity_bps / np.where(asked, self.demand_bps, 1.0))
        return np.where(asked, share, 1.0)

    @property
    def served_share_of_all(self) -> float:
        """Of the whole demand; 1 where nothing is asked."""
        asked = float(np.sum(self.demand_bps))
        return float(np.sum(np.minimum(self.demand_bps, self.capacity_bps))) / asked if asked > 0 else 1.0


def beams_for(demand_bps: Floats, beam_bps: float, rules: BeamRules) -> Ints:
    """(C,) beams that carry each demand, at most one a channel."""
    return np.minimum(np.ceil(demand_bps / beam_bps), rules.channels).astype(np.int32)


def serve(
    pairs: Pairs,
    demand_bps: NDArray[np.float64] | float,
    *,
    rules: BeamRules | None = None,
    channel_hz: float = CHANNEL_HZ.value,
    efficiency_bps_per_hz: float = EFFICIENCY_BPS_PER_HZ.value,
) -> CellCapacity:
    """Plan beams for a demand, one for all cells or (C,), and say how much of it is served.

    channel_hz, efficiency_bps_per_hz: of one beam; their product is its capacity. Raises `LocalError` for values that are not finite, a
    negative demand, or a beam without capacity.
    """
    rules = rules or BeamRules()
    demand = np.asarray(demand_bps, dtype=np.float64)
    if demand.shape not in ((), (pairs.cells,)) or not bool(np.all(np.isfinite(demand) & (demand >= 0))):
        raise LocalError(f"demand must be finite bit/s, 0 or more, for all cells or for each of the {pairs.cells}")
    beam_bps = channel_hz * efficiency_bps_per_hz
    if not (np.isfinite(beam_bps) and beam_bps > 0):
        raise LocalError("bandwidth and efficiency of a beam must be finite and above zero")
    everywhere: Floats = np.array(np.broadcast_to(demand, (pairs.cells,)))
    plan = greedy_plan(pairs, beams_for(everywhere, beam_bps, rules), rules)
    capacity: Floats = plan.beams_of_cell.astype(np.float64) * beam_bps
    return CellCapacity(plan, greatest_plan(plan), everywhere, capacity)
