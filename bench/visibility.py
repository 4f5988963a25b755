"""Positions of a whole fleet, and who is in view of 1,000 and 8,000 places, beside peers in the same run.

    python bench/visibility.py                      the as-filed fleet, Starlink Gen1
    python bench/visibility.py --elements FILE      real elements
    python bench/visibility.py --places-in world    places all over the Earth instead of Italy
    python bench/visibility.py --day                a whole day for 8,000 places instead of a projection

Peers for positions: `sgp4`'s SatrecArray (which gives TEME, not yet turned), skyfield's EarthSatellite on a sample of the fleet. For
visibility: the same test of every pair as a numpy broadcast, for one instant, in slices that fit into memory. Positions must agree within
30 m and the counts must be equal, or the run fails. The day for 8,000 places is projected from a measured part unless --day is given.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from sgp4.api import SatrecArray
from skyfield.api import EarthSatellite, load

from tramontana.space.coverage import CoverageOfChunk, coverage_study
from tramontana.space.elements import parse_elements
from tramontana.space.ephemeris import NODE_STEP_S, Ephemeris
from tramontana.space.fleet import Fleet, Floats
from tramontana.space.in_view import Look
from tramontana.space.observers import STARLINK_ARC_AVOIDANCE_DEG, Obstruction, Places
from tramontana.space.orbits import Propagator, julian_date, satrecs
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.sweep import map_chunks
from tramontana.space.visibility import itrs_positions_m, local_frames

STEP_S = 15.0
INSTANTS = 120
MASK_DEG = 25.0
SKYFIELD_SAMPLE = 200
WORKERS = 2
DAY_S = 86_400.0
PROJECTED_FROM_S = 7200.0
NUMPY_SLICE = 250  # places a broadcast, 8 bytes × satellites × places a temporary
AREAS = {"italy": ((36.0, 47.1), (6.6, 18.6)), "world": ((-90.0, 90.0), (-180.0, 180.0))}


def seconds(work: Callable[[], object], repeat: int = 1) -> float:
    """The least wall-clock time of several runs."""
    taken = []
    for _ in range(repeat):
        before = time.perf_counter()
        work()
        taken.append(time.perf_counter() - before)
    return min(taken)


def coordinates(count: int, area: str) -> tuple[Floats, Floats]:
    """Random places, evenly over the area."""
    rng = np.random.default_rng(1)
    (south, north), (west, east) = AREAS[area]
    sine = rng.uniform(np.sin(np.radians(south)), np.sin(np.radians(north)), count)
    return np.degrees(np.arcsin(sine)), rng.uniform(west, east, count)


def positions(fleet: Fleet) -> None:
    """States per second: ours from nothing (nodes and interpolation), interpolation alone, and the peers."""
    start = fleet.epochs.median_unix_s
    times: Floats = start + np.arange(INSTANTS, dtype=np.float64) * STEP_S
    states = INSTANTS * len(fleet)
    propagator = Propagator(fleet)
    ephemeris = Ephemeris(fleet, propagator=propagator)
    ephemeris.positions_itrs_m(times[:2])  # compiled
    nodes = ephemeris.nodes(times[0], times[-1])
    out = np.empty((INSTANTS, len(fleet), 3))
    records = satrecs(fleet)
    array = SatrecArray(records)
    jd, fraction = julian_date(times)
    timescale = load.timescale(builtin=True)
    sample = np.linspace(0, len(fleet) - 1, SKYFIELD_SAMPLE).astype(int).tolist()
    satellites = [EarthSatellite.from_satrec(records[i], timescale) for i in sample]
    instants = timescale.from_datetimes([datetime.fromtimestamp(t, UTC) for t in times.tolist()])

    rows = [
        ("interpolation between nodes", states / seconds(lambda: nodes.positions_itrs_m(times, out), 3)),
        (f"with its SGP4 nodes, {NODE_STEP_S:.0f} s apart", states / seconds(lambda: ephemeris.positions_itrs_m(times))),
        ("sgp4 SatrecArray (TEME)", states / seconds(lambda: array.sgp4(jd, fraction))),
        (
            f"skyfield, {SKYFIELD_SAMPLE} satellites",
            INSTANTS * SKYFIELD_SAMPLE / seconds(lambda: [satellite.at(instants).position.m for satellite in satellites]),
        ),
    ]
    error: Floats = np.linalg.norm(nodes.positions_itrs_m(times) - propagator.positions_itrs_m(times), axis=-1)
    median, usual, worst = np.nanpercentile(error, [50, 99.5, 100])
    if worst > 30.0:
        raise SystemExit(f"positions are off by {worst:.1f} m: the comparison is void")
    print(f"\npositions, {INSTANTS} instants {STEP_S:.0f} s apart      M states/s   interpolation, and all of ours, are × as fast")
    for what, rate in rows:
        print(f"  {what:<38}{rate / 1e6:>10.2f}{rows[0][1] / rate:>14.1f}×{rows[1][1] / rate:>10.2f}×")
    print(f"  error against SGP4: median {median:.1f} m, 99.5 % {usual:.1f} m, worst {worst:.1f} m")


def broadcast(position: Floats, latitude: Floats, longitude: Floats) -> Floats:
    """How many satellites each place sees, with plain numpy and without prefilter."""
    site = itrs_positions_m(latitude, longitude, np.zeros_like(latitude))
    up = local_frames(latitude, longitude)[:, 2]
    count = np.empty(latitude.shape[0])
    for first in range(0, latitude.shape[0], NUMPY_SLICE):
        rows = slice(first, first + NUMPY_SLICE)
        offset = position[None] - site[rows, None]
        sine = np.einsum("psk,pk->ps", offset, up[rows]) / np.linalg.norm(offset, axis=-1)
        count[rows] = np.count_nonzero(sine >= np.sin(np.radians(MASK_DEG)), axis=1)
    return count


def visibility(fleet: Fleet, area: str) -> None:
    """Milliseconds a step for more and more satellites and places, beside the broadcast."""
    start = fleet.epochs.median_unix_s
    times: Floats = start + np.arange(40, dtype=np.float64) * STEP_S
    position = Ephemeris(fleet).positions_itrs_m(times)
    print(f"\nin view over {MASK_DEG:.0f}°, one step, {area}        ms counts   ms lists   ms numpy      ratio   in view")
    for share in (0.25, 0.5, 1.0):
        some = np.ascontiguousarray(position[:, :: round(1 / share)])
        for count in (1000, 8000):
            latitude, longitude = coordinates(count, area)
            look = Look(Places(latitude, longitude, minimum_elevation_deg=MASK_DEG))
            look.tally(some[0])
            look.list(some[0])
            ours = seconds(lambda look=look, some=some: [look.tally(at) for at in some], 2) / some.shape[0]  # type: ignore[misc]
            lists = seconds(lambda look=look, some=some: [look.list(at) for at in some[:10]], 2) / 10  # type: ignore[misc]
            result: list[Floats] = []
            theirs = seconds(lambda r=result, s=some, a=latitude, o=longitude: r.append(broadcast(s[-1], a, o)))  # type: ignore[misc]
            look.tally(some[-1])
            if not np.array_equal(look.count[look.places.rank], result[0]):
                raise SystemExit("numpy counts other satellites: the comparison is void")
            what = f"{some.shape[1]:,} satellites × {count:,} places"
            print(
                f"  {what:<36}{ours * 1e3:>10.2f}{lists * 1e3:>11.2f}{theirs * 1e3:>11.0f}{theirs / ours:>10.0f}×{look.count.mean():>10.1f}"
            )


def with_obstructions(fleet: Fleet, area: str) -> None:
    """What obstructions and keeping away from the geostationary arc cost, for 8,000 places."""
    position = Ephemeris(fleet).positions_itrs_m(np.array([fleet.epochs.median_unix_s]))[0]
    latitude, longitude = coordinates(8000, area)
    wall = Obstruction(np.where(np.arange(36) < 9, 50.0, MASK_DEG))
    look = Look(
        Places(
            latitude,
            longitude,
            minimum_elevation_deg=MASK_DEG,
            obstructions=dict.fromkeys(range(8000), wall),
            arc_avoidance_deg=STARLINK_ARC_AVOIDANCE_DEG,
        )
    )
    look.tally(position)
    taken = seconds(lambda: look.tally(position), 3)
    print(f"  the last, each place with obstructions and {STARLINK_ARC_AVOIDANCE_DEG:.0f}° from the arc: {taken * 1e3:.1f} ms counts")


def day(fleet: Fleet, area: str, whole: bool) -> None:
    """Coverage of 8,000 places in 15 s steps on two processes, the processes' start included."""
    latitude, longitude = coordinates(8000, area)
    places = Places(latitude, longitude, minimum_elevation_deg=MASK_DEG)
    start = fleet.epochs.median_unix_s
    covered: list[float] = []

    def study(duration_s: float) -> float:
        return seconds(lambda: covered.append(float(coverage_study(fleet, places, start, duration_s, workers=WORKERS).fraction.mean())))

    steps = DAY_S / STEP_S
    if whole:
        taken = study(DAY_S)
        print(f"\na day × 8,000 places, {steps:,.0f} steps, {WORKERS} processes: {taken:.1f} s, measured (covered: {covered[-1]:.1%})")
    else:
        least, part = study(4 * STEP_S), study(PROJECTED_FROM_S)
        projected = least + (part - least) * DAY_S / PROJECTED_FROM_S
        measured = f"{PROJECTED_FROM_S / 3600:.0f} h in {part:.1f} s, of which {least:.1f} s to start; covered: {covered[-1]:.1%}"
        print(f"\na day × 8,000 places, {steps:,.0f} steps, {WORKERS} processes: {projected:.1f} s, projected ({measured})")
    work = CoverageOfChunk(fleet, places, start, STEP_S, 1, NODE_STEP_S)
    peaks = map_chunks(partial(peak_memory_mb, work), [(0, 720), (720, 720)], workers=WORKERS)
    print(f"memory of a worker at most: {max(peaks):,.0f} MB, places, satellites and compiled code included")


def peak_memory_mb(work: CoverageOfChunk, chunk: tuple[int, int]) -> float:
    """The greatest memory of this process once the chunk is done. `resource` would count the process that started it, too."""
    work(chunk)
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description="positions and visibility of a fleet, beside peers")
    parser.add_argument("--elements", type=Path, default=None, help="an elements file instead of the as-filed fleet")
    parser.add_argument("--places-in", choices=sorted(AREAS), default="italy")
    parser.add_argument("--day", action="store_true", help="run the whole day instead of projecting it")
    arguments = parser.parse_args()
    path: Path | None = arguments.elements
    fleet = parse_elements(path.read_bytes(), name=path.name).fleet if path else starlink_gen1_as_filed()
    print(f"{fleet.label}; {len(fleet):,} satellites")
    positions(fleet)
    visibility(fleet, arguments.places_in)
    with_obstructions(fleet, arguments.places_in)
    day(fleet, arguments.places_in, arguments.day)
    return 0


if __name__ == "__main__":
    sys.exit(main())
