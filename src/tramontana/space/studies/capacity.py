"""Capacity under load: what the beams of the satellites in view give to cells that all ask at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import h3
import numpy as np
from numpy.typing import NDArray

from tramontana.errors import LocalError
from tramontana.space.beams.assignment import BeamRules
from tramontana.space.beams.capacity import CHANNEL_HZ, EFFICIENCY_BPS_PER_HZ, serve
from tramontana.space.beams.cells import Cells, pairs_in_view
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground
from tramontana.space.studies import _kernels
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites
from tramontana.space.visibility import local_frame

_INSTANTS_A_TURN = 60
MOST_CELLS = 50_000


@dataclass(frozen=True, eq=False)
class Load:
    """Who asks for how much: C cells, of which the sites are `of_site`; the others only compete."""

    cells: tuple[str, ...]
    demand_bps: Floats
    """(C,)"""
    of_site: NDArray[np.int64]
    """(P,) index of each site's cell; two places in one cell share it."""

    @classmethod
    def of(cls, sites: Sites, demand_bps: float, *, resolution: int, rings: int) -> Load:
        """The same demand in every cell: the sites' own if they are cells, else those around the places, `rings` deep.

        Raises `LocalError` for tracks and for more than `MOST_CELLS`.
        """
        if sites.kind == "track":
            raise LocalError("capacity is shared by cells that stay: give places or an area, not a track")
        own = (
            list(sites.ids)
            if sites.kind == "cell"
            else [
                h3.latlng_to_cell(lat, lon, resolution)
                for lat, lon in zip(sites.latitude_deg.tolist(), sites.longitude_deg.tolist(), strict=True)
            ]
        )
        around = set(own) if sites.kind == "cell" else {cell for centre in own for cell in h3.grid_disk(centre, rings)}
        if len(around) > MOST_CELLS:
            raise LocalError(f"{len(around):,} cells are more than {MOST_CELLS:,}: choose a lower --resolution or a smaller area")
        cells = tuple(sorted(around))
        index = {cell: at for at, cell in enumerate(cells)}
        return cls(cells, np.full(len(cells), float(demand_bps)), np.array([index[cell] for cell in own], dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Loaded:
    """T instants of P sites and of the whole area."""

    beams: NDArray[np.uint8]
    """(T, P) beams on each site's cell."""
    all_share: Floats
    """(T,) of the demand of all cells that is served."""
    all_bps: Floats
    """(T,) that the plan's beams carry, whether asked for or not."""
    bound_share: Floats
    """(T,) beams of the plan over those of the greatest plan."""


@dataclass(frozen=True, eq=False)
class PlanBeams:
    """The work of one piece of time, picklable; instants are planned one by one, so pieces join without seam."""

    fleet: Fleet
    ground: Ground
    load: Load
    minimum_elevation_deg: float
    rules: BeamRules
    efficiency_bps_per_hz: float = EFFICIENCY_BPS_PER_HZ.value

    @property
    def beam_bps(self) -> float:
        """What one beam carries."""
        return CHANNEL_HZ.value * self.efficiency_bps_per_hz

    def __call__(self, instants: Instants) -> Loaded:
        gateways = self.ground.gateways
        gateway_up = np.stack([local_frame(g.latitude_deg, g.longitude_deg)[2] for g in gateways])
        gateway_sine = np.sin(np.radians([g.minimum_elevation_deg for g in gateways]))
        cells = Cells.of(self.load.cells, minimum_elevation_deg=self.minimum_elevation_deg)
        beams = np.zeros((instants.count, self.load.of_site.shape[0]), dtype=np.uint8)
        share, rate, bound = (np.zeros(instants.count) for _ in range(3))
        row = 0
        for times, nodes in Ephemeris(self.fleet).chunks(instants.times_unix_s, _INSTANTS_A_TURN):
            for position in nodes.positions_itrs_m(times):
                _kernels.hide_unlanded(position, self.ground.gateway_itrs_m, gateway_up, gateway_sine)
                answer = serve(
                    pairs_in_view(cells, position),
                    self.load.demand_bps,
                    rules=self.rules,
                    efficiency_bps_per_hz=self.efficiency_bps_per_hz,
                )
                beams[row] = answer.plan.beams_of_cell[self.load.of_site]
                share[row], rate[row] = answer.served_share_of_all, float(answer.capacity_bps.sum())
                bound[row] = answer.plan.total / answer.bound.total if answer.bound.total else 1.0
                row += 1
        return Loaded(beams, share, rate, bound)


def join(pieces: Sequence[Loaded]) -> Loaded:
    """Pieces of time in order as one."""
    return Loaded(**{f.name: np.concatenate([getattr(p, f.name) for p in pieces]) for f in fields(Loaded)})
