"""One forwarding step: where all satellites are, which links stand, the shortest way from every satellite and city to each of 100 cities.

    python bench/routes.py                      generated constellations
    python bench/routes.py --elements FILE      a real fleet as well

Peers, in the same run and for the same instant: satgenpy 0.4.0 (Hypatia) does the whole step, in an environment of its own
(`make .venv-peers`); scipy's Dijkstra does the shortest paths on our graph. All must give the same delays, or the run fails.
`--satgenpy-large` also runs satgenpy on 72×44, which takes minutes.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra

from tramontana.space.elements import parse_elements
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.ground import Ground, Place, mediterranean
from tramontana.space.routing.options import GroundRule, RouterOptions
from tramontana.space.routing.router import Router
from tramontana.space.routing.shortest import searched_delays_s, shortest_delays_s
from tramontana.space.routing.stations import StationLinks, Stations
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate, starlink_gen1_as_filed
from tramontana.space.visibility import SPEED_OF_LIGHT_M_PER_S

HERE = Path(__file__).resolve().parent
PEER_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"  # `make .venv-peers`
CITIES = HERE.parent / "tests" / "vectors" / "satgenpy" / "cities.csv"
SATGENPY_EPOCH_UNIX_S = 946684800.0
AT_S = 1800
STEP_S = 15.0
STEPS = 20
RTT_TOLERANCE_S = 2e-6  # what pyephem's single precision and its own earth leave; see tests/vectors/satgenpy


def cities() -> list[Place]:
    with CITIES.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Place(str(i), r["name"], "", "city", float(r["latitude_deg"]), float(r["longitude_deg"])) for i, r in enumerate(rows)]


def median_ms(work: Callable[[int], object], steps: int = STEPS) -> float:
    """Median CPU time over steps, after one to compile and warm up. CPU, because the machine may have other work."""
    work(0)
    taken = []
    for step in range(1, steps + 1):
        before = time.process_time()
        work(step)
        taken.append((time.process_time() - before) * 1e3)
    return statistics.median(taken)


def satgenpy_rules(planes: int, satellites: int) -> RouterOptions:
    """Its lasers, slot to equal slot, and its limit of the slant range."""
    pairs = []
    for plane in range(planes):
        for slot in range(satellites):
            here = plane * satellites + slot
            pairs += [(here, plane * satellites + (slot + 1) % satellites), (here, (plane + 1) % planes * satellites + slot)]
    longest_m = float(np.hypot(550e3 / np.tan(np.radians(25.0)), 550e3))
    return RouterOptions(user=GroundRule(-90.0, longest_m), laser_pairs=tuple(pairs))


def beside_satgenpy(peer_python: Path, planes: int, satellites: int, ground: Ground, places: list[Place]) -> bool:
    """One row: satgenpy's step, ours, the ratio, and the largest difference of a round trip. False if that is too large."""
    with tempfile.TemporaryDirectory() as directory:
        words = [str(peer_python), str(HERE / "peers" / "satgenpy_step.py"), str(planes), str(satellites), str(AT_S), directory]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            print(f"  {planes}×{satellites}: satgenpy failed: {done.stderr.strip().splitlines()[-1]}")
            return False
        peer = json.loads(done.stdout.splitlines()[-1])
        text = (Path(directory) / "tles.txt").read_text().split("\n", 1)[1]
        theirs_s = np.load(Path(directory) / "length_m.npy") / SPEED_OF_LIGHT_M_PER_S
    fleet = parse_elements(text.encode(), name="satgenpy").fleet
    router = Router(fleet, ground, satgenpy_rules(planes, satellites))
    at = SATGENPY_EPOCH_UNIX_S + AT_S
    ours_ms = median_ms(lambda step: router.forwarding(at + step * STEP_S, places))
    ours_s, _, _ = router.forwarding(at, places)
    connected = np.isfinite(theirs_s)
    worst_s = 2 * float(np.abs(ours_s - theirs_s)[connected].max())
    equal = np.array_equal(np.isfinite(ours_s), connected) and worst_s < RTT_TOLERANCE_S
    theirs_ms = peer["seconds"] * 1e3
    print(
        f"  {planes}×{satellites}: satgenpy {theirs_ms:7,.0f} CPU ms ({peer['peak_bytes'] / 2**20:,.0f} MiB), ours {ours_ms:6.2f} ms: "
        f"{theirs_ms / ours_ms:7,.0f}×; round trips differ by at most {worst_s * 1e6:.2f} µs{'' if equal else '  NOT EQUAL'}"
    )
    return equal


def scipy_delays_s(router: Router, at: float, seeds_s: Floats) -> Callable[[], Floats]:
    """The same shortest delays by scipy; building its matrix is not part of the time."""
    lasers = router.lasers(at)
    n, sources = seeds_s.shape
    tail = np.repeat(np.arange(n), np.diff(lasers.indptr))
    up = np.isfinite(lasers.delay_s)
    satellite, source = np.nonzero(np.isfinite(seeds_s))
    graph = csr_matrix(
        (
            np.concatenate([lasers.delay_s[up], seeds_s[satellite, source]]),
            (np.concatenate([tail[up], n + source]), np.concatenate([lasers.neighbour[up], satellite])),
        ),
        shape=(n + sources, n + sources),
    )
    return lambda: np.asarray(dijkstra(graph, indices=n + np.arange(sources))[:, :n].T)


def growth(name: str, fleet: Fleet, ground: Ground, places: list[Place]) -> bool:
    """One row of our own step, and its shortest paths beside scipy's. False if they differ in a single bit."""
    router = Router(fleet, ground)
    at = fleet.epochs.median_unix_s + 3600.0
    step_ms = median_ms(lambda step: router.forwarding(at + step * STEP_S, places))
    lasers = router.lasers(at)
    position_m = router.positions_itrs_m(at)
    seeds_s = StationLinks.of(Stations.users(places, router.options), position_m).seeds(len(fleet))
    sweeps_ms = median_ms(lambda _: shortest_delays_s(lasers, seeds_s), 7)
    heap_ms = median_ms(lambda _: searched_delays_s(lasers, seeds_s), 2)
    by_scipy = scipy_delays_s(router, at, seeds_s)
    scipy_ms = median_ms(lambda _: by_scipy(), 2)
    equal = np.array_equal(by_scipy(), shortest_delays_s(lasers, seeds_s))
    gateways_ms = median_ms(lambda step: router.distances(at + step * STEP_S, (ground.gateways * 3)[:24]))
    times = " ".join(f"{ms:8.1f}" for ms in (step_ms, gateways_ms, sweeps_ms, heap_ms, scipy_ms))
    ratio = f"{scipy_ms / sweeps_ms:5.0f}×{'' if equal else '  NOT EQUAL'}"
    print(f"  {name[:20]:20} {len(fleet):7,} {lasers.standing:7,} {times} {ratio}")
    return equal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=Path, help="a file of real elements (TLE or OMM)")
    parser.add_argument("--peer-python", type=Path, default=PEER_PYTHON, help="the interpreter that has satgenpy")
    parser.add_argument("--satgenpy-large", action="store_true", help="run satgenpy on 72×44 too (minutes)")
    arguments = parser.parse_args()
    ground, places = mediterranean(), cities()
    good = True
    print(f"A forwarding step towards {len(places)} cities beside satgenpy 0.4.0, +grid, equal elements:")
    if arguments.peer_python.exists():
        for planes, satellites in ((36, 22), (72, 22)) + (((72, 44),) if arguments.satgenpy_large else ()):
            good &= beside_satgenpy(arguments.peer_python, planes, satellites, ground, places)
    else:
        print("  left out: satgenpy is not installed; `make .venv-peers` puts it into an environment of its own.")
    print(
        "Growth with satellites, +grid from inferred planes, CPU ms: the step towards the cities, distances from 24 gateways alone, and of"
    )
    print("the step the shortest paths by sweeps, by heap search, by scipy's Dijkstra on the same graph; scipy over sweeps:")
    print(f"  {'':20} {'sats':>7} {'lasers':>7} {'step':>8} {'24 gw':>8} {'sweeps':>8} {'heap':>8} {'scipy':>8}")
    for planes, satellites in ((36, 22), (72, 22), (72, 44)):
        shell = Shell(550.0, 53.0, planes, satellites, 65 % planes)
        fleet = generate((shell,), label="bench", source="bench", name_prefix="B", epoch_unix_s=FILED_EPOCH_UNIX_S)
        good &= growth(f"{planes}×{satellites}", fleet, ground, places)
    good &= growth("Gen1 as filed", starlink_gen1_as_filed(), ground, places)
    if arguments.elements:
        loaded = parse_elements(arguments.elements.read_bytes(), name=arguments.elements.name)
        good &= growth(arguments.elements.name, loaded.fleet, ground, places)
    else:
        print("  a real fleet is left out: give its elements with --elements FILE.")
    print(f"Peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
