"""The search for a constellation beside trying all in full: one shell on one grid, and two shells on a small one. As few satellites,
and how much less work.

.venv/bin/python bench/design_search.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tramontana.cli.plan_study import read_study
from tramontana.planning.design_search import AddSecond, Candidate, CoverShells, Grid, Search, cheapest
from tramontana.planning.measures import MeasureSky
from tramontana.planning.sky import SkyDesign

STUDY = Path(__file__).parents[1] / "studies" / "italy-2025.toml"
ORBIT = (1200.0, 48.0)


SECOND_ORBIT = (1200.0, 36.0)
FEW_PLANES = (6, 8, 12)
FEW_SECONDS = (3, 6)


def naive(search: Search) -> list[Candidate]:
    return [search.measure(shell) for shell in search.grid.shells(ORBIT)]


def two(search: Search, second: Grid) -> list[Candidate]:
    alone = search(ORBIT)
    firsts, seconds = CoverShells(search.grid, search)(ORBIT), CoverShells(second, search)(SECOND_ORBIT)
    return [*alone, *AddSecond(search, tuple(seconds), tuple(alone))(firsts)]


def two_naive(search: Search, second: Grid) -> list[Candidate]:
    pairs = [search.measure(first, other) for first in search.grid.shells(ORBIT) for other in second.shells(SECOND_ORBIT)]
    return [*naive(search), *pairs]


def main() -> None:
    task = read_study(STUDY).design
    assert task is not None
    MeasureSky(task.search.demand, duration_s=60.0)(SkyDesign("iris2", (), ()))  # compiles the kernels
    compare("one shell", lambda: task.search(ORBIT), lambda: naive(task.search))
    small = replace(task.search, grid=replace(task.search.grid, planes=FEW_PLANES, satellites_per_plane=FEW_PLANES))
    second = replace(task.search.grid, planes=FEW_SECONDS, satellites_per_plane=FEW_SECONDS)
    compare("two shells", lambda: two(small, second), lambda: two_naive(small, second))
    print(f"load average of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


def compare(what: str, search: Callable[[], list[Candidate]], naive: Callable[[], list[Candidate]]) -> None:
    took: dict[str, float] = {}
    answers: dict[str, Candidate | None] = {}
    for name, work in (("search", search), ("naive", naive)):
        start = time.process_time()
        found = work()
        took[name] = time.process_time() - start
        answers[name] = cheapest(found)
        print(f"{what}, {name:>6}: {len(found):3} measured or screened in {took[name]:6.1f} s of processor")
    counts = {name: answer and answer.satellites for name, answer in answers.items()}
    share = took["search"] / took["naive"]
    print(f"{what}: {counts['search']} satellites by the search, {counts['naive']} by trying all; {share:.2f} of the work")


if __name__ == "__main__":
    main()
