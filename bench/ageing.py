"""How wrong element sets become with age: positions from an older file beside those of a newer one, satellite by satellite.

    python bench/ageing.py OLDER NEWER [NEWER …]      element files of the same satellites, e.g. of 20, 21 and 30 May

The newer set is taken for the truth at its own epoch, where it is best; so the figures hold the newer set's own error of about a kilometre,
and everything that a manoeuvre did between the two. The table of `tramontana.space.ageing` was measured with this script.
"""

from __future__ import annotations

import argparse
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from tramontana.space.elements import parse_elements
from tramontana.space.fleet import SECONDS_PER_DAY, SGP4_EPOCH_UNIX_S, Fleet, Floats
from tramontana.space.life import Phase, phases_of_life
from tramontana.space.orbits import Propagator

BINS_DAYS = (0.2, 0.5, 0.8, 1.2, 2.0, 4.0, 8.5, 9.2, 10.0, 12.0)
FEWEST = 100


def errors_m(older: Fleet, newer: Fleet) -> tuple[Floats, Floats, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Days between the two sets, distance of the two positions at the newer epoch, whether on station; for the satellites in both."""
    _, first, second = np.intersect1d(older.catalogue_number, newer.catalogue_number, return_indices=True)
    days = newer.epoch_days_1949[second] - older.epoch_days_1949[first]
    keep = days > BINS_DAYS[0]
    first, second, days = first[keep], second[keep], days[keep]
    old, new = Propagator(older), Propagator(newer)
    at = newer.epoch_days_1949[second] * SECONDS_PER_DAY + SGP4_EPOCH_UNIX_S
    apart = np.array(
        [
            np.linalg.norm(old.track_itrs_m(a, np.array([t])) - new.track_itrs_m(b, np.array([t])))
            for a, b, t in zip(first.tolist(), second.tolist(), at.tolist(), strict=True)
        ]
    )
    on_station = (phases_of_life(older) == Phase.OPERATIONAL)[first]
    return days, apart, np.asarray(on_station, dtype=np.bool_)


def main() -> None:
    arguments = argparse.ArgumentParser(description="error of element sets by age")
    arguments.add_argument("files", type=Path, nargs="*", help="element files of the same satellites, oldest first")
    files: list[Path] = arguments.parse_args().files
    if len(files) < 2:
        print("nothing measured: give an older and a newer element file of the same satellites")
        return
    fleets = [parse_elements(path.read_bytes(), name=path.name).fleet for path in files]
    parts = [errors_m(older, newer) for older, newer in combinations(fleets, 2)]
    days, apart, on_station = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    columns = f"{'p50 km':>10}{'p90 km':>10}{'p95 km':>10}"
    print(f"{'age, days':>14}{'median':>9}{'sets':>8}{columns}{'on station:':>14}{'sets':>7}{'p50 km':>10}{'p95 km':>10}")
    for low, high in pairwise(BINS_DAYS):
        here = (days >= low) & (days < high) & np.isfinite(apart)
        if np.count_nonzero(here) < FEWEST:
            continue
        p50, p90, p95 = np.percentile(apart[here], [50, 90, 95]) / 1e3
        line = f"{low:>6.1f} to {high:<4.1f}{np.median(days[here]):>8.2f}{np.count_nonzero(here):>8}{p50:>10.1f}{p90:>10.1f}{p95:>10.1f}"
        station = here & on_station
        s50, s95 = np.percentile(apart[station], [50, 95]) / 1e3
        print(f"{line}{np.count_nonzero(station):>21}{s50:>10.1f}{s95:>10.1f}")


if __name__ == "__main__":
    main()
