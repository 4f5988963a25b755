"""Latency: who serves each site in each 15 s slot, and the one-way delay from there to the point of presence."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.serving import SLOT_S, Scheduler, slot_of, slot_start_unix_s
from tramontana.space.studies.instants import Instants
from tramontana.space.studies.sites import Sites
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S, local_frame

Ints = NDArray[np.int32]
NOBODY = -1
PERCENTILES = (5, 50, 95, 99)


@dataclass(frozen=True, eq=False)
class Served:
    """The middle of S slots over P sites, all (P, S); without coverage the indices are -1 and the numbers NaN."""

    satellite: Ints
    gateway: Ints
    one_way_delay_s: NDArray[np.float32]
    """Access, user link, feeder link and backhaul to the point of presence."""
    elevation_deg: NDArray[np.float32]
    range_m: NDArray[np.float32]
    gateway_elevation_deg: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Latency:
    """Statistics of each site over its served slots, (P,); NaN for one that is never served."""

    served_share: Floats
    one_way_s: dict[int, Floats]
    """By percentile of `PERCENTILES`."""
    mean_jump_s: Floats
    """Mean change of the delay from a slot to the next."""
    handovers_per_hour: Floats


def slots_of(instants: Instants) -> range:
    """The slots that begin in the span of the instants; the one that holds its start if none does."""
    first, after = slot_of(instants.start_unix_s), slot_of(instants.end_unix_s)
    if slot_start_unix_s(first) < instants.start_unix_s:
        first += 1
    if slot_start_unix_s(after) < instants.end_unix_s:
        after += 1
    return range(first, after) if after > first else range(first - 1, first)


def cut(slots: range, longest: int) -> tuple[range, ...]:
    """The slots in order, in ranges of at most `longest`."""
    return tuple(slots[at : at + longest] for at in range(0, len(slots), longest))


@dataclass(frozen=True, eq=False)
class Serve:
    """The work of one range of slots, picklable. A pure function of its arguments: ranges join without seam."""

    fleet: Fleet
    ground: Ground
    sites: Sites
    seed: int = 0
    parameters: PathParameters = field(default_factory=PathParameters)

    def __call__(self, slots: range) -> Served:
        propagator = Propagator(self.fleet)
        scheduler = Scheduler(self.fleet, self.ground, propagator, self.parameters, self.seed)
        starts = np.array([slot_start_unix_s(slot) for slot in slots])
        satellite, gateway = _assign(self.sites, scheduler, slots, starts)

        middles = starts + SLOT_S / 2
        used = np.unique(satellite[satellite != NOBODY]).astype(np.intp)
        numbers = [np.full(satellite.shape, np.nan, dtype=np.float32) for _ in range(4)]
        if not used.shape[0]:
            return Served(satellite, gateway, *numbers)
        delay, elevation, range_m, gateway_elevation = numbers
        fixed_s = scheduler.backhaul_s + self.parameters.access_one_way_s.value
        gateway_up = np.stack([local_frame(g.latitude_deg, g.longitude_deg)[2] for g in self.ground.gateways])
        local = np.zeros(len(self.fleet), dtype=np.intp)
        local[used] = np.arange(used.shape[0])
        position_m = propagator.positions_itrs_m(middles, used)
        for column in range(len(slots)):
            site = np.flatnonzero(satellite[:, column] != NOBODY)
            place_m, up = self.sites.frames(middles[column : column + 1])
            there, landing = position_m[column, local[satellite[site, column]]], gateway[site, column]
            up_link_m, up_sine = _seen(there, place_m[0, site], up[0, site])
            down_link_m, down_sine = _seen(there, self.ground.gateway_itrs_m[landing], gateway_up[landing])
            delay[site, column] = (up_link_m + down_link_m) / SPEED_OF_LIGHT_M_PER_S + fixed_s[landing]
            range_m[site, column] = up_link_m
            elevation[site, column] = np.degrees(np.arcsin(up_sine))
            gateway_elevation[site, column] = np.degrees(np.arcsin(down_sine))
        return Served(satellite, gateway, delay, elevation, range_m, gateway_elevation)


def join(pieces: list[Served]) -> Served:
    """Pieces of time in order as one."""
    return Served(**{f.name: np.concatenate([getattr(p, f.name) for p in pieces], axis=1) for f in fields(Served)})


def handovers(served: Served) -> NDArray[np.int64]:
    """(P,) how often satellite or gateway changes from one slot to the next; losing or gaining coverage counts."""
    changed = (np.diff(served.satellite, axis=1) != 0) | (np.diff(served.gateway, axis=1) != 0)
    return np.asarray(np.count_nonzero(changed, axis=1), dtype=np.int64)


def summarise(served: Served) -> Latency:
    """Statistics over the slots."""
    covered = served.satellite != NOBODY
    columns = [d[c].astype(np.float64) for d, c in zip(served.one_way_delay_s, covered, strict=True)]
    rows = np.array([np.percentile(d, PERCENTILES) if d.size else np.full(len(PERCENTILES), np.nan) for d in columns])
    jumps = np.abs(np.diff(served.one_way_delay_s.astype(np.float64), axis=1))
    known = np.isfinite(jumps)
    count = np.count_nonzero(known, axis=1)
    hours = max(served.satellite.shape[1] - 1, 1) * SLOT_S / 3600
    return Latency(
        served_share=np.mean(covered, axis=1),
        one_way_s=dict(zip(PERCENTILES, rows.T, strict=True)),
        mean_jump_s=np.where(count > 0, np.where(known, jumps, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan),
        handovers_per_hour=handovers(served) / hours,
    )


def _assign(sites: Sites, scheduler: Scheduler, slots: range, starts: Floats) -> tuple[Ints, Ints]:
    if not sites.tracks:
        return scheduler.assignments([sites.place(i, float(starts[0])) for i in range(len(sites))], slots)
    satellite, gateway = (np.full((len(sites), len(slots)), NOBODY, dtype=np.int32) for _ in range(2))
    for index in range(len(sites)):
        for column, slot in enumerate(slots):  # who moves is where it is when the slot begins
            serving = scheduler.assignment(sites.place(index, float(starts[column])), slot)
            if serving is not None:
                satellite[index, column], gateway[index, column] = serving.satellite, serving.gateway
    return satellite, gateway


def _seen(target_m: Floats, site_m: Floats, up: Floats) -> tuple[Floats, Floats]:
    """Range (metres) and sine of the elevation of one target from one site each, (K,)."""
    offset = target_m - site_m
    range_m = np.linalg.norm(offset, axis=-1)
    return range_m, np.clip(np.sum(offset * up, axis=-1) / range_m, -1.0, 1.0)
