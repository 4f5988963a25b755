"""A warning in the simulated world: decided by the product's own rules, sent to the cells that its network core names, heard by phones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tramontana.cell import area as areas
from tramontana.cell import warning as rules
from tramontana.cell.area import Floats
from tramontana.cell.broadcast_network import ControllerSite
from tramontana.cell.cbsp import Cell
from tramontana.cell.cell_broadcast import PAGE_OCTETS
from tramontana.cell.warning import OnAir, Person
from tramontana.exercise.figures import Figures
from tramontana.exercise.phones import Phones, Reach, chance
from tramontana.exercise.satellites import Service
from tramontana.exercise.terrestrial import TICK_S, Network
from tramontana.exercise.world import WarningEntry, WorldError
from tramontana.space.beams.held import DWELL_S

WARNED = 5
PAGE_S = 1.9
"""A cell of GSM sends a page in so long (docs/warnings.md); other generations are faster, so this is the slow end."""
SMS_OCTETS = 140


@dataclass(frozen=True, eq=False)
class Approved:
    """A warning that two persons decided on."""

    entry: WarningEntry
    on_air: tuple[OnAir, ...]
    begin_s: float
    end_s: float
    sites: NDArray[np.int64]
    """Those that are asked to broadcast it."""
    inside: NDArray[np.int64]
    """Phones in the area."""

    @property
    def pages(self) -> int:
        """In all its languages."""
        return sum(len(each.message.pages) for each in self.on_air)

    @property
    def beam_messages(self) -> int:
        """How many short messages' time its pages take in a beam."""
        return -(-self.pages * PAGE_OCTETS // SMS_OCTETS)


def approve(entry: WarningEntry, number: int, network: Network, phones: Phones, used: Iterable[int]) -> Approved:
    """Submit and approve it by the rules, and choose its cells. Raises `LocalError`."""
    author = Person("author", "author-device", frozenset({"operator"}))
    approver = Person("approver", "approver-device", frozenset({"approver"}))
    submitted = rules.submit(f"{number:032x}", entry.content(), author, None, entry.submitted_min * 60.0)
    outcome = rules.approve(submitted, approver, None, list(used), 0, entry.approved_min * 60.0)
    warning = outcome.warning
    assert warning.expires_at is not None
    cells = tuple(Cell(1 + site // 65_536, site % 65_536) for site in range(len(network)))
    reach_m = np.full(len(network), phones.site_range_km * 1000.0)
    controller = ControllerSite("synthetic", "127.0.0.1", 48049, cells, network.latitude_deg, network.longitude_deg, reach_m)
    index = {cell: site for site, cell in enumerate(cells)}
    asked = np.array(sorted(index[cell] for cell in controller.cells_for(entry.rings())), dtype=np.int64)
    inside = np.flatnonzero(areas.contains(entry.rings(), phones.latitude_deg, phones.longitude_deg))
    if not inside.size:
        raise WorldError(f"no phone is in the area of the warning {entry.name!r}: make it larger")
    return Approved(entry, rules.broadcasts(warning), entry.approved_min * 60.0, warning.expires_at, asked, inside)


def warned_by_ground(approved: Approved, network: Network, reach: Reach, phones: Phones, figures: Figures, seed: int) -> Floats:
    """(I,) when each phone inside shows it over the ground network, seconds; inf for never.

    A phone shows it after the whole of one repetition that it hears, counted over the time in which it is on and hears a cell that
    broadcasts it.
    """
    random = np.random.default_rng([seed, WARNED, int(approved.begin_s)])
    inside = approved.inside
    needs_s = random.geometric(figures.page_heard.value, inside.shape[0]) - random.random(inside.shape[0])
    needs_s = needs_s * approved.entry.repetition_s + approved.pages * PAGE_S / max(1, len(approved.on_air))
    asked = np.zeros(len(network) + 1, dtype=np.bool_)
    asked[approved.sites] = True
    heard = asked[reach.serving]  # (K, G); -1 is the last one, never asked
    ticks = heard.shape[0]
    edges = np.arange(ticks + 1) * TICK_S
    length = np.clip(np.minimum(edges[1:], approved.end_s) - np.maximum(edges[:-1], approved.begin_s), 0.0, None)
    passed = np.concatenate([np.zeros((1, heard.shape[1])), np.cumsum(heard * length[:, None], axis=0)])  # (K + 1, G)
    group = phones.group[inside]
    # Before it is switched on a phone hears nothing: what had passed by then does not count.
    start = np.minimum(phones.on_from_s[inside], edges[-1])
    tick = np.minimum((start // TICK_S).astype(np.int64), ticks - 1)
    share = (start - tick * TICK_S) / TICK_S
    before = passed[tick, group] + (passed[tick + 1, group] - passed[tick, group]) * share
    wanted = before + needs_s
    at = _crossing(passed, group, wanted, edges)
    ok = np.isfinite(at)
    found = np.full(inside.shape, np.inf)
    found[ok] = np.where(reach.on(phones, inside[ok], at[ok]), at[ok], np.inf)
    return found


def _crossing(passed: Floats, group: NDArray[np.int32], wanted: Floats, edges: Floats) -> Floats:
    """When each phone's group has heard for so long. One search for all: groups are laid behind each other."""
    last = passed[-1]
    step = float(last.max(initial=0.0)) + 1.0
    flat = (passed + np.arange(passed.shape[1])[None, :] * step).T.reshape(-1)
    ticks = passed.shape[0]
    possible = wanted <= last[group]
    place = np.searchsorted(flat, np.where(possible, wanted, 0.0) + group * step, side="left") - group.astype(np.int64) * ticks
    place = np.clip(place, 1, ticks - 1)
    # A tick counts as a whole or not at all, but for those in which the warning begins and ends: what is missing lies at their rim.
    high = passed[place, group]
    return np.where(possible, edges[place] - (high - wanted), np.inf)


def warned_by_satellite(
    approved: Approved, carried: Iterable[tuple[int, int]], service: Service, reach: Reach, phones: Phones, figures: Figures, until: Floats
) -> Floats:
    """(I,) when each phone inside shows it over a satellite; inf for never.

    carried: dwell and cell of the broadcasts whose pages all went out. A phone that hears the ground network listens there, one indoors
    hears a beam that is strong enough for its place, and any misses a dwell now and then. until: (I,) when it knew already.
    """
    inside = approved.inside
    found = np.full(inside.shape, np.inf)
    able = phones.satellite[inside]
    of_cell = {int(cell): np.flatnonzero((phones.cell[inside] == cell) & able) for cell in np.unique(phones.cell[inside]).tolist()}
    for dwell, cell in sorted(carried):
        mine = of_cell.get(cell)
        if mine is None or not mine.size:
            continue
        at = (dwell + 1) * DWELL_S
        waiting = mine[until[mine] > at]
        if not waiting.size:
            continue
        which = inside[waiting]
        hears = ~reach.hears_ground(phones, which, at - 1e-6) & reach.on(phones, which, at)
        hears &= phones.outdoors(which, at) | (phones.house(which) < service.indoors[dwell, cell])
        hears &= chance(phones.seed, which, dwell, 2) >= figures.sky_blocked.value
        found[waiting[hears]] = at
        of_cell[cell] = mine[np.isinf(found[mine])]
    return found
