"""The search for a constellation beside trying every shell in full, on one grid: as few satellites, and how much less work.

.venv/bin/python bench/design_search.py
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from tramontana.cli.plan_study import read_study
from tramontana.planning.design_search import Candidate, Search, cheapest
from tramontana.planning.measures import MeasureSky, weighted
from tramontana.planning.sky import SkyDesign
from tramontana.space.shells import Shell, usual_phasing

STUDY = Path(__file__).parents[1] / "studies" / "italy-2025.toml"
ORBIT = (1200.0, 48.0)


def naive(search: Search, orbit: tuple[float, float]) -> list[Candidate]:
    found: list[Candidate] = []
    for planes, each in search.grid.sizes():
        shell = Shell(*orbit, planes, each, usual_phasing(Shell(*orbit, planes, each, 0)))
        full = MeasureSky(search.demand, seed=search.seed)(SkyDesign(None, (shell,), search.grid.landing_countries))
        shares = search.demand.shares
        available, trip = weighted(full.available, shares), weighted(full.round_trip_s, shares)
        meets = available >= search.target.available and trip <= search.target.round_trip_s
        found.append(Candidate(shell, weighted(full.served, shares), available, trip, is_screened=False, meets=meets))
    return found


def main() -> None:
    task = read_study(STUDY).design
    assert task is not None
    MeasureSky(task.search.demand, duration_s=60.0)(SkyDesign("iris2", (), ()))  # compiles the kernels
    took: dict[str, float] = {}
    answers: dict[str, Candidate | None] = {}
    for name, work in (("search", task.search), ("naive", lambda orbit: naive(task.search, orbit))):
        start = time.process_time()
        found = work(ORBIT)
        took[name] = time.process_time() - start
        answers[name] = cheapest(found)
        print(f"{name:>7}: {len(found):3} shells in {took[name]:6.1f} s of processor, {len(found) / took[name]:5.1f} shells/s")
    counts = {name: answer and answer.shell.satellite_count for name, answer in answers.items()}
    print(f"satellites needed: {counts['search']} by the search, {counts['naive']} by trying all")
    print(f"the search takes {took['search'] / took['naive']:.2f} of the work of trying all")
    print(f"load average of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
