"""The disaster world: simulated hours a second, and the plan of an event with a million phones beside a loop over single phones.

The plan is what a warning needs: phones counted by small cells, the beams of one satellite plan, who hears it from the ground and who
from a satellite. The loop does the same for one phone after the other on a sample in the same run, with Python floats; its time is
scaled to all. Run: `python bench/exercise.py [--phones 1000000] [--sample 2000] [--hours 2] [--world amatrice-2016]`
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import h3
import numpy as np

from tramontana.cell import area as areas
from tramontana.cell.broadcast_plan import POINT_RESOLUTION, PlanRules, Points, plan
from tramontana.exercise import alerting, catalogue, satellites, timeline
from tramontana.exercise.phones import chance
from tramontana.exercise.terrestrial import TICK_S
from tramontana.exercise.timeline import Ground
from tramontana.exercise.world import World
from tramontana.space.beams.held import DWELL_S
from tramontana.space.ephemeris import Ephemeris

DESIGN = "starlink-direct-to-cell"


def hours_a_second(world: World) -> None:
    began = time.perf_counter()
    ground = timeline.prepare(world, 1)
    print(f"{world.head.title}: {len(ground.phones):,} phones, {world.head.hours:g} h; prepared in {time.perf_counter() - began:.1f} s")
    for overhead in (None, satellites.of_design(DESIGN, world)):
        cpu, began = time.process_time(), time.perf_counter()
        run = timeline.run(ground, overhead)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        print(
            f"  {run.label}: {took:.1f} s ({cpu:.1f} s of processor), {world.head.hours / took:.2f} simulated hours a second "
            f"({world.head.hours / cpu:.2f} a second of processor), {len(run.texts):,} texts"
        )


def million(world: World, count: int, sample: int) -> None:
    people = float(world.places.population.sum()) * world.figures.phones_per_person.value
    grown = replace(world.places, population=np.rint(world.places.population * count / people).astype(np.int64))
    world = replace(world, places=grown)
    ground = timeline.prepare(world, 1)
    overhead = satellites.of_design(DESIGN, world)
    ephemeris = Ephemeris(overhead.fleet)
    entry = world.warnings[0]

    def counted() -> Points:
        return Points.of(entry.rings(), ground.phones.latitude_deg, ground.phones.longitude_deg)

    start = world.start_unix_s + entry.approved_min * 60.0
    plan(ephemeris, entry.rings(), counted(), start, PlanRules(horizon_s=60.0))  # compiles
    cpu, began = time.process_time(), time.perf_counter()
    approved = alerting.approve(entry, 1, ground.network, ground.phones, ())
    made = plan(ephemeris, entry.rings(), counted(), start, PlanRules())
    by_ground = alerting.warned_by_ground(approved, ground.network, ground.reach, ground.phones, world.figures, 1)
    first = round(entry.approved_min * 60.0 / DWELL_S)
    carried = [(first + dwell, cell) for dwell in np.unique(made.dwell).tolist() for cell in range(len(ground.phones.cells))]
    nothing = satellites.no_service(world, len(ground.phones.cells))
    alerting.warned_by_satellite(approved, carried, nothing, ground.reach, ground.phones, world.figures, by_ground)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    loop = one_by_one(ground, sample, len(np.unique(made.dwell)))
    ratio = loop * len(ground.phones) / cpu
    print(
        f"plan of {len(ground.phones):,} phones ({approved.inside.size:,} inside): {took:.2f} s ({cpu:.2f} s of processor); "
        f"one phone after the other {loop * 1e6:.0f} µs each on a sample of {sample:,}, "
        f"{loop * len(ground.phones):.0f} s for all → ratio {ratio:.0f} by processor time"
    )


def one_by_one(ground: Ground, sample: int, dwells: int) -> float:
    """Seconds of processor a phone."""
    world, people, reach = ground.world, ground.phones, ground.reach
    entry, figures = world.warnings[0], world.figures
    asked = set(ground.warnings[0].sites.tolist())
    ticks = range(int(entry.approved_min * 60 // TICK_S), reach.serving.shape[0])
    random = np.random.default_rng(1)
    chosen = random.choice(len(people), sample, replace=False).tolist()
    points: dict[str, int] = {}
    began = time.process_time()
    for phone in chosen:
        latitude, longitude = float(people.latitude_deg[phone]), float(people.longitude_deg[phone])
        if not areas.contains(entry.rings(), np.array([latitude]), np.array([longitude]))[0]:
            continue
        name = h3.latlng_to_cell(latitude, longitude, POINT_RESOLUTION)
        points[name] = points.get(name, 0) + 1
        needs = (random.geometric(figures.page_heard.value) - random.random()) * entry.repetition_s
        for tick in ticks:
            if int(reach.serving[tick, people.group[phone]]) in asked:
                needs -= TICK_S
                if needs <= 0:
                    break
        else:
            for dwell in range(dwells):
                if chance(people.seed, np.array([phone]), dwell, 2)[0] >= figures.sky_blocked.value:
                    break
    return (time.process_time() - began) / sample


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", default="amatrice-2016")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--phones", type=int, default=1_000_000)
    parser.add_argument("--sample", type=int, default=2_000)
    given = parser.parse_args()
    chosen_world = catalogue.world(given.world)
    hours_a_second(chosen_world.first_hours(given.hours))
    million(chosen_world, given.phones, given.sample)
