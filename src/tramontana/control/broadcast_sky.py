"""The satellites that talk to telephones, and broadcast plans over them, in worker threads. Everything here is simulated and says so."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import Literal

import numpy as np

from tramontana.cell.area import Ring
from tramontana.cell.broadcast_plan import BroadcastPlan, PlanRules, Points, plan
from tramontana.cell.ntn_assistance import BeamAssistance, of_plan
from tramontana.cell.ntn_assistance_asn1 import sib19, sib31
from tramontana.cell.population import Population
from tramontana.space.designs import design
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet
from tramontana.space.life import direct_to_cell

STAND_IN = "starlink-direct-to-cell"
AT_ONCE = 1
Block = Literal["sib19", "sib31"]


class BroadcastSky:
    """The direct-to-cell satellites of the loaded fleet; where it has none, those flown in May 2026."""

    def __init__(self, fleet: Fleet) -> None:
        self._loaded = fleet
        self._places = asyncio.Semaphore(AT_ONCE)

    @cached_property
    def fleet(self) -> Fleet:
        mine = np.flatnonzero(direct_to_cell(self._loaded))
        return self._loaded.take(mine) if mine.size else design(STAND_IN).fleet()

    @cached_property
    def _ephemeris(self) -> Ephemeris:
        return Ephemeris(self.fleet)

    @property
    def label(self) -> str:
        return self.fleet.label

    async def plan(self, rings: tuple[Ring, ...], population: Population | None, start_unix_s: float, rules: PlanRules) -> BroadcastPlan:
        """One plan at a time. Raises `LocalError`."""
        async with self._places:
            return await asyncio.to_thread(self._plan, rings, population, start_unix_s, rules)

    def _plan(self, rings: tuple[Ring, ...], population: Population | None, start_unix_s: float, rules: PlanRules) -> BroadcastPlan:
        if population is None:
            points = Points.of(rings)
        else:
            points = Points.of(rings, population.latitude_deg, population.longitude_deg, population.people.astype(np.float64))
        return plan(self._ephemeris, rings, points, start_unix_s, rules)

    async def told(self, made: BroadcastPlan, block: Block | None) -> list[tuple[BeamAssistance, bytes | None]]:
        """What the cell of every beam would tell phones, in the plan's order, as octets where a block is asked for. Raises `LocalError`."""
        async with self._places:
            return await asyncio.to_thread(self._told, made, block)

    def _told(self, made: BroadcastPlan, block: Block | None) -> list[tuple[BeamAssistance, bytes | None]]:
        said = of_plan(made, self._ephemeris.propagator)
        if block is None:
            return [(each, None) for each in said]
        return [(each, sib31(each.assistance) if block == "sib31" else sib19(each.assistance, 17)) for each in said]
