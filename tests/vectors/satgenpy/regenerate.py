"""Golden values from satgenpy 0.4.0 (Hypatia, MIT licence): 72×22 +grid, 100 cities, three instants.

Run in an environment with requirements-peers.lock (`make .venv-peers`), about four minutes:

    .venv-peers/bin/python tests/vectors/satgenpy/regenerate.py

Writes beside itself `elements.tle.gz`, the satellites as satgenpy makes them, and `golden.npz`:
`at_s` (T,) seconds after the epoch; `length_m` (T, P, P) metres of the route that satgenpy's forwarding state takes between two cities,
infinite without one; `isl` (E, 2) the lasers; `isl_m` (E,), `gsl` (L, 2) satellite and city, `gsl_m` (L,) lengths at the first instant.

cities.csv: the hundred urban areas with the most inhabitants in 2025 by the estimate of the United Nations, in the order of Hypatia's own
input file, coordinates rounded to 0.01°.
"""

from __future__ import annotations

import csv
import gzip
import importlib
import math
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from satgen.distance_tools import distance_m_between_satellites, distance_m_ground_station_to_satellite
from satgen.dynamic_state.generate_dynamic_state import generate_dynamic_state_at
from satgen.isls import generate_plus_grid_isls
from satgen.tles import generate_tles_from_scratch_manual, read_tles

HERE = Path(__file__).parent
PLANES, SATELLITES = 72, 22
ALTITUDE_M = 550_000.0
MEAN_MOTION_REV_PER_DAY = 15.19  # Hypatia's Starlink shell
INCLINATION_DEG = 53.0
EARTH_RADIUS_M = 6378135.0
LONGEST_GROUND_LINK_M = math.hypot(ALTITUDE_M / math.tan(math.radians(25.0)), ALTITUDE_M)  # Hypatia: 25° over a flat Earth
LONGEST_LASER_M = 2 * math.sqrt((EARTH_RADIUS_M + ALTITUDE_M) ** 2 - (EARTH_RADIUS_M + 80_000.0) ** 2)
AT_S = (0, 1800, 5415)


def constellation(directory: Path, planes: int = PLANES, satellites: int = SATELLITES) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """What satgenpy reads back from its own files, and its +grid."""
    tles, isls = directory / "tles.txt", directory / "isls.txt"
    generate_tles_from_scratch_manual(str(tles), "S", planes, satellites, True, INCLINATION_DEG, 1e-7, 0.0, MEAN_MOTION_REV_PER_DAY)
    return read_tles(str(tles)), generate_plus_grid_isls(str(isls), planes, satellites, 0)


def stations() -> list[dict[str, Any]]:
    """The cities as satgenpy wants them."""
    with (HERE / "cities.csv").open(encoding="utf-8", newline="") as file:
        return [
            {
                "gid": gid,
                "name": row["name"],
                "latitude_degrees_str": row["latitude_deg"],
                "longitude_degrees_str": row["longitude_deg"],
                "elevation_m_float": 0.0,
            }
            for gid, row in enumerate(csv.DictReader(file))
        ]


def forwarding(directory: Path, world: dict[str, Any], isls: list[tuple[int, int]], cities: list[dict[str, Any]], at_s: int) -> Any:
    """One step of satgenpy: the forwarding state at an instant."""
    interfaces = [{"number_of_interfaces": 1, "aggregate_max_bandwidth": 1.0}] * (len(world["satellites"]) + len(cities))
    return generate_dynamic_state_at(
        str(directory),
        world["epoch"],
        at_s * 10**9,
        world["satellites"],
        cities,
        isls,
        interfaces,
        LONGEST_GROUND_LINK_M,
        LONGEST_LASER_M,
        "algorithm_free_one_only_over_isls",
        None,
        False,
    )["fstate"]


def route_lengths_m(
    fstate: Any, satellites: int, cities: int, isl: dict[tuple[int, int], float], gsl: dict[tuple[int, int], float]
) -> np.ndarray[Any, Any]:
    """Follow the forwarding state from city to city and add up the links, (P, P)."""
    length = np.full((cities, cities), np.inf)
    np.fill_diagonal(length, 0.0)
    for source in range(cities):
        for target in range(cities):
            if source == target:
                continue
            entry = fstate[satellites + source, satellites + target][0]
            if entry < 0:
                continue
            total, here = gsl[entry, source], entry
            while True:
                following = fstate[here, satellites + target][0]
                if following >= satellites:
                    total += gsl[here, target]
                    break
                total += isl[min(here, following), max(here, following)]
                here = following
            length[source, target] = total
    return length


def link_lengths_m(
    world: dict[str, Any], isls: list[tuple[int, int]], cities: list[dict[str, Any]], at_s: int
) -> tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]]:
    """satgenpy's lengths of the lasers and of the ground links in range at an instant: by two satellites, by satellite and city."""
    units = importlib.import_module("astropy.units")
    epoch, at, bodies = str(world["epoch"]), str(world["epoch"] + at_s * units.s), world["satellites"]
    isl = {(a, b): distance_m_between_satellites(bodies[a], bodies[b], epoch, at) for a, b in isls}
    ranges = {
        (number, city["gid"]): distance_m_ground_station_to_satellite(city, body, epoch, at)
        for city in cities
        for number, body in enumerate(bodies)
    }
    return isl, {pair: range_m for pair, range_m in ranges.items() if range_m <= LONGEST_GROUND_LINK_M}


def main() -> None:
    warnings.filterwarnings("ignore")
    cities = stations()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        world, isls = constellation(directory)
        text = (directory / "tles.txt").read_text().split("\n", 1)[1]
        (HERE / "elements.tle.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))
        lengths, first = [], None
        for at_s in AT_S:
            fstate = forwarding(directory, world, isls, cities, at_s)
            isl, gsl = link_lengths_m(world, isls, cities, at_s)
            first = first or (isl, gsl)
            lengths.append(route_lengths_m(fstate, len(world["satellites"]), len(cities), isl, gsl))
            print(f"{at_s} s: {np.isfinite(lengths[-1]).mean():.3f} of the pairs connected")
    assert first is not None
    np.savez_compressed(
        HERE / "golden.npz",
        at_s=np.array(AT_S),
        length_m=np.round(lengths, 3),
        isl=np.array(list(first[0]), dtype=np.int32),
        isl_m=np.array(list(first[0].values())),
        gsl=np.array(list(first[1]), dtype=np.int32),
        gsl_m=np.array(list(first[1].values())),
    )


if __name__ == "__main__":
    main()
