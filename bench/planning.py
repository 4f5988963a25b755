"""Study time by alternatives, places, days and regions, as ratios to one alternative, ten places and an hour; and what draws cost.

.venv/bin/python bench/planning.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tramontana.cli.plan_study import read_study
from tramontana.planning.figure import Draws, evaluate
from tramontana.planning.losses import Serving
from tramontana.planning.measures import Demand, MeasureSky, measure
from tramontana.planning.sky import SkyDesign
from tramontana.space.ground import Place
from tramontana.space.shells import Shell

STUDY = Path(__file__).parents[1] / "studies" / "italy-2025.toml"
HOUR_S = 3600.0
LATTICE = 12_000
"""Places over the globe, evenly: about 200 km from one to the next."""
REGIONS = {"Italy": (35.5, 47.5, 6.5, 18.6), "Europe": (35.0, 71.0, -10.0, 40.0), "the globe": (-90.0, 90.0, -180.0, 180.0)}
"""South, north, west, east."""


def demand(count: int) -> Demand:
    """Places over Italy, from a fixed seed."""
    rng = np.random.default_rng(1)
    return _demand(list(zip(rng.uniform(36, 46, count).tolist(), rng.uniform(8, 18, count).tolist(), strict=True)))


def region(name: str) -> Demand:
    """Places of a Fibonacci lattice over the globe that lie in a region: as dense in each."""
    south, north, west, east = REGIONS[name]
    step = np.arange(LATTICE) + 0.5
    lat = np.degrees(np.arcsin(1 - 2 * step / LATTICE))
    lon = np.mod(step * 180.0 * (3.0 - np.sqrt(5.0)), 360.0) - 180.0
    inside = (lat >= south) & (lat <= north) & (lon >= west) & (lon <= east)
    return _demand(list(zip(lat[inside].tolist(), lon[inside].tolist(), strict=True)))


def _demand(where: list[tuple[float, float]]) -> Demand:
    places = tuple(Place(f"p{number}", f"p{number}", "IT", "city", lat, lon) for number, (lat, lon) in enumerate(where))
    return Demand(places, np.full(len(places), 1 / len(places)), home="IT")


def seconds(work: Callable[[], object]) -> float:
    """Of processor, the least of two."""
    took = []
    for _ in range(2):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return min(took)


def studied(alternatives: int, places: int, hours: float) -> float:
    return _studied(alternatives, demand(places), hours, ("IT",))


def _studied(alternatives: int, asked: Demand, hours: float, landing: tuple[str, ...]) -> float:
    # Each alternative flies a plane more than the one before: no two share a sky.
    servings = {n: [Serving(SkyDesign(None, (Shell(1200, 48, 10 + n, 12, 1),), landing), 1, 1)] for n in range(alternatives)}

    def run(work: MeasureSky, skies: object) -> list[object]:
        longer = MeasureSky(work.demand, duration_s=hours * HOUR_S)
        return [longer(sky) for sky in skies]  # type: ignore[attr-defined]

    return seconds(lambda: measure(servings, asked, 1, run))  # type: ignore[arg-type]


def main() -> None:
    studied(1, 10, 0.1)  # compiles the kernels
    one = studied(1, 10, 1)
    print(f"one alternative, 10 places, 1 h: {one:.2f} s of processor; everything below as a multiple of it")
    for what, values in (("alternatives", (2, 4)), ("places", (100, 1000)), ("hours", (6, 24))):
        for value in values:
            given = {"alternatives": 1, "places": 10, "hours": 1} | {what: value}
            print(f"{value:>5} {what:<13} {studied(**given) / one:6.1f}")
    for name in REGIONS:
        asked = region(name)
        took = _studied(1, asked, 1, ())  # every gateway of the built-in ground
        print(f"{name}: {len(asked.places):,} places 200 km apart, 1 h, in {took:.1f} s of processor")
    study = read_study(STUDY)
    roots = [each.costs.present_value for each in study.alternatives]
    draws = [seconds(lambda count=count: evaluate(roots, Draws.random(roots, count, 1))) for count in (10_000, 100_000)]  # type: ignore[misc]
    print(f"draws of {STUDY.name}: 10,000 in {draws[0]:.2f} s; 100,000 take {draws[1] / draws[0]:.1f} times as long")
    print(f"load average of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
