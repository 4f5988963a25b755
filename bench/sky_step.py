"""One 15 s step of the sky for one place: propagate the whole fleet, see what stands ≥ 25°, choose who serves. Beside two peers.

    python bench/sky_step.py                      the built-in fleet, Starlink Gen1 as filed
    python bench/sky_step.py --elements FILE      real elements

Peers, in the same run and for the same instants: the `sgp4` package called satellite by satellite, and skyfield's `EarthSatellite` (which
also does precession, nutation and UT1). Both only propagate and look; neither chooses a satellite. Skyfield runs on a sample of the fleet
and its time is scaled up, because the whole fleet takes seconds a step. All three must see the same satellites, or the run fails.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from skyfield.api import EarthSatellite, load, wgs84

from tramontana.space.elements import parse_elements
from tramontana.space.fleet import Fleet
from tramontana.space.ground import mediterranean
from tramontana.space.orbits import gmst_rad, julian_date, satrecs
from tramontana.space.serving import MINIMUM_ELEVATION_DEG, slot_of, slot_start_unix_s
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.sky import Sky
from tramontana.space.visibility import look_angles

STEPS = 40
PEER_STEPS = 3
SKYFIELD_SAMPLE = 300
BORDER_DEG = 0.02  # satellites this close to the mask may fall on either side of it: the peers turn the Earth differently
PLACE = mediterranean().place("rome")


@dataclass(frozen=True)
class Row:
    """One line of the table: milliseconds a step."""

    what: str
    median_ms: float
    worst_ms: float


def timed(what: str, steps: list[int], work: Callable[[int], object], scale: float = 1.0) -> Row:
    """Run the work once for each step; its time times `scale`."""
    taken = []
    for step in steps:
        before = time.perf_counter()
        work(step)
        taken.append((time.perf_counter() - before) * 1e3 * scale)
    return Row(what, statistics.median(taken), max(taken))


def main() -> int:
    arguments = argparse.ArgumentParser(description="ms per 15 s step of the sky, beside peers")
    arguments.add_argument("--elements", type=Path, default=None, help="an elements file instead of the built-in fleet")
    path: Path | None = arguments.parse_args().elements
    fleet: Fleet = parse_elements(path.read_bytes(), name=path.name).fleet if path else starlink_gen1_as_filed()
    first = slot_of(fleet.epochs.median_unix_s)
    steps = list(range(first, first + STEPS))

    sky = Sky(fleet, seed=1)
    sky.in_view(PLACE, slot_start_unix_s(first))  # libraries are loaded

    def look(slot: int) -> int:
        return sky.in_view(PLACE, slot_start_unix_s(slot))

    def step(slot: int) -> None:
        look(slot)
        sky.assignment(PLACE, slot)

    rows = [timed("tramontana: propagate, see, serve", steps, step)]
    rows.append(timed("  of which propagate and see", steps, look))

    records = satrecs(fleet)

    def sgp4_elevation(slot: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        at = np.array([slot_start_unix_s(slot)])
        (jd,), (fraction,) = julian_date(at)
        teme_m = np.array([record.sgp4(jd, fraction)[1] for record in records]) * 1e3
        cos, sin = np.cos(gmst_rad(at)[0]), np.sin(gmst_rad(at)[0])
        turned = np.stack([cos * teme_m[:, 0] + sin * teme_m[:, 1], cos * teme_m[:, 1] - sin * teme_m[:, 0], teme_m[:, 2]], axis=-1)
        return np.asarray(look_angles(PLACE.latitude_deg, PLACE.longitude_deg, PLACE.height_m, turned)[0])

    rows.append(timed("sgp4, satellite by satellite", steps[:PEER_STEPS], sgp4_elevation))

    timescale = load.timescale(builtin=True)
    sample = np.linspace(0, len(fleet) - 1, min(SKYFIELD_SAMPLE, len(fleet))).astype(int).tolist()
    satellites = [EarthSatellite.from_satrec(records[i], timescale) for i in sample]
    there = wgs84.latlon(PLACE.latitude_deg, PLACE.longitude_deg, elevation_m=PLACE.height_m)

    def skyfield_elevation(slot: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        at = timescale.from_datetime(datetime.fromtimestamp(slot_start_unix_s(slot), UTC))
        return np.array([(satellite - there).at(at).altaz()[0].degrees for satellite in satellites])

    rows.append(timed(f"skyfield (from {len(sample)} satellites)", steps[:PEER_STEPS], skyfield_elevation, len(fleet) / len(sample)))

    position = sky.positions_itrs_m(np.array([slot_start_unix_s(first)]))[0]
    ours = look_angles(PLACE.latitude_deg, PLACE.longitude_deg, PLACE.height_m, position)[0]
    for theirs, mine in ((sgp4_elevation(first), ours), (skyfield_elevation(first), ours[sample])):
        clear = np.abs(mine - MINIMUM_ELEVATION_DEG) > BORDER_DEG
        if not np.array_equal((theirs >= MINIMUM_ELEVATION_DEG)[clear], (mine >= MINIMUM_ELEVATION_DEG)[clear]):
            print("the peers see other satellites: the comparison is void", file=sys.stderr)
            return 1

    print(f"{fleet.label}; {len(fleet):,} satellites, place {PLACE.name}, {look(first)} in view, {STEPS} steps ({PEER_STEPS} of the peers)")
    print(f"{'':<38}{'median ms':>10}{'worst ms':>10}{'ratio':>9}")
    for row in rows:
        print(f"{row.what:<38}{row.median_ms:>10.2f}{row.worst_ms:>10.2f}{row.median_ms / rows[0].median_ms:>8.1f}×")

    half_hour = timed("", [0, 1, 2], lambda n: Sky(fleet, seed=n).path_profile(PLACE, slot_start_unix_s(first), 1800.0))
    print(f"a path profile of 30 minutes with 1 s samples, from nothing: {half_hour.median_ms:.0f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
