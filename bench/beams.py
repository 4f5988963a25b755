"""Beams over the box of Italy, and serving of many places at once, beside simpler ways: `python bench/beams.py [elements file]`.

Beams: H3 cells of resolution 5 over 35.5 to 47.1° N, 6.6 to 18.5° E; the greedy plan, the greatest plan by augmenting paths, and scipy's
maximum flow over the same network. Serving: the compiled batch beside one question at a time. Quote the ratios: the machine may be shared.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from tramontana.space.beams.assignment import BeamPlan, BeamRules, greatest_plan, greedy_plan
from tramontana.space.beams.cells import Cells, Pairs, pairs_in_view
from tramontana.space.elements import parse_elements
from tramontana.space.fleet import Fleet
from tramontana.space.ground import Place, mediterranean
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.serving import Scheduler, slot_of, slot_start_unix_s
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.studies.area import cells_of
from tramontana.space.studies.countries import Polygon

SOUTH_DEG, NORTH_DEG, WEST_DEG, EAST_DEG = 35.5, 47.1, 6.6, 18.5
INSTANTS = 15
BATCH_SLOTS, SINGLE_PLACES, SINGLE_SLOTS = 64, 40, 16


def milliseconds(what: Callable[[], object]) -> float:
    start = time.perf_counter()
    what()
    return (time.perf_counter() - start) * 1e3


def maximum_by_scipy(plan: BeamPlan) -> int:
    pairs, rules = plan.pairs, plan.rules
    sink, source = pairs.cells + pairs.satellites, pairs.cells + pairs.satellites + 1
    satellite = pairs.cells + np.arange(pairs.satellites)
    tail = np.concatenate([np.full(pairs.satellites, source), pairs.cells + pairs.satellite, np.arange(pairs.cells)])
    head = np.concatenate([satellite, pairs.cell, np.full(pairs.cells, sink)])
    per_pair = np.full(pairs.satellite.shape[0], rules.channels)
    room = np.concatenate([np.full(pairs.satellites, rules.beams_per_satellite), per_pair, plan.wanted]).astype(np.int32)
    return int(maximum_flow(csr_array((room, (tail, head)), shape=(source + 1, source + 1)), source, sink).flow_value)


def beams(fleet: Fleet, propagator: Propagator) -> bool:
    ring = np.array([(WEST_DEG, SOUTH_DEG), (EAST_DEG, SOUTH_DEG), (EAST_DEG, NORTH_DEG), (WEST_DEG, NORTH_DEG), (WEST_DEG, SOUTH_DEG)])
    cells = Cells.of(cells_of([Polygon(ring, ())], 5).ids)
    start = fleet.epochs.median_unix_s
    positions = [propagator.positions_itrs_m(np.array([start + 60.0 * k]))[0] for k in range(INSTANTS)]
    greatest_plan(greedy_plan(pairs_in_view(cells, positions[0])))  # kernels are compiled
    print(f"{len(cells):,} cells, {INSTANTS} instants a minute apart, {BeamRules().beams_per_satellite} beams a satellite; medians")
    titles = ("satellites", "greedy", "bound", "share", "see ms", "greedy ms", "bound ms", "scipy ms")
    print(f"{'beams wanted a cell':<20}" + "".join(f"{title:>11}" for title in titles))
    for wanted in (1, 2, 8):
        rows = []
        for position in positions:
            seen: list[Pairs] = []
            plans: list[BeamPlan] = []
            oracle: list[int] = []
            see_ms = milliseconds(lambda p=position, s=seen: s.append(pairs_in_view(cells, p)))  # type: ignore[misc]
            greedy_ms = milliseconds(lambda s=seen, p=plans, w=wanted: p.append(greedy_plan(s[0], w)))  # type: ignore[misc]
            bound_ms = milliseconds(lambda p=plans: p.append(greatest_plan(p[0])))  # type: ignore[misc]
            scipy_ms = milliseconds(lambda p=plans, o=oracle: o.append(maximum_by_scipy(p[0])))  # type: ignore[misc]
            if plans[1].total != oracle[0]:
                print("the greatest plan is not scipy's maximum flow: the comparison is void", file=sys.stderr)
                return False
            satellites = np.unique(seen[0].satellite).shape[0]
            rows.append(
                (satellites, plans[0].total, plans[1].total, plans[0].total / plans[1].total, see_ms, greedy_ms, bound_ms, scipy_ms)
            )
        some, greedy, bound, share, *spent = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{wanted:<20}{some:>11.0f}{greedy:>11.0f}{bound:>11.0f}{share:>11.1%}" + "".join(f"{ms:>11.2f}" for ms in spent))
    return True


def serving(fleet: Fleet, propagator: Propagator) -> bool:
    random = np.random.default_rng(1)
    first = slot_of(fleet.epochs.median_unix_s)

    def places(count: int) -> list[Place]:
        spots = zip(random.uniform(SOUTH_DEG, NORTH_DEG, count), random.uniform(WEST_DEG, EAST_DEG, count), strict=True)
        return [Place(f"p{k}", "point", "", "city", float(la), float(lo)) for k, (la, lo) in enumerate(spots)]

    def scheduler() -> Scheduler:
        return Scheduler(fleet, mediterranean(), propagator, PathParameters(), seed=1)

    few = places(SINGLE_PLACES)
    slots = range(first, first + SINGLE_SLOTS)
    batch, _ = scheduler().assignments(few, slots)  # kernels are compiled
    single = scheduler()
    answers: list[list[int]] = []
    loop_ms = milliseconds(
        lambda: answers.extend([a.satellite if (a := single.assignment(place, slot)) else -1 for slot in slots] for place in few)
    )
    if not np.array_equal(batch, np.array(answers)):
        print("the batch and the single answers differ: the comparison is void", file=sys.stderr)
        return False
    each_ms = loop_ms / SINGLE_SLOTS / SINGLE_PLACES
    print(f"one place at a time: {each_ms:.3f} ms a place and slot ({SINGLE_PLACES} places, {SINGLE_SLOTS} slots, positions shared)")
    print(f"{'places at once':<22}{'ms a slot':>11}{'one by one, ms':>16}{'ratio':>9}{'a day, s':>10}")
    for count in (100, 1000, 8000):
        many, batcher = places(count), scheduler()
        batch_ms = milliseconds(lambda b=batcher, m=many: b.assignments(m, range(first, first + BATCH_SLOTS))) / BATCH_SLOTS  # type: ignore[misc]
        print(f"{count:<22,}{batch_ms:>11.2f}{each_ms * count:>16.0f}{each_ms * count / batch_ms:>8.0f}×{batch_ms * 5.76:>10.0f}")
    print(f"one by one is measured with {SINGLE_PLACES} places and projected; a day is projected from {BATCH_SLOTS} slots, one process")
    return True


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    fleet = parse_elements(path.read_bytes(), name=path.name).fleet if path else starlink_gen1_as_filed()
    propagator = Propagator(fleet)
    print(f"{fleet.label}; {len(fleet):,} satellites; at {slot_start_unix_s(slot_of(fleet.epochs.median_unix_s)):.0f}")
    fine = beams(fleet, propagator) and serving(fleet, propagator)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
