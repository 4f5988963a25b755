"""One forwarding step of satgenpy, timed, in an environment of its own; `bench/routes.py` runs this.

    .venv-peers/bin/python bench/peers/satgenpy_step.py PLANES SATELLITES_PER_PLANE SECONDS DIRECTORY

Writes to the directory the elements (`tles.txt`) and what the forwarding state means for round trips (`length_m.npy`, metres of the route
between any two of the 100 cities), and prints one line of JSON: CPU seconds of the step, peak memory.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "vectors" / "satgenpy" / "regenerate.py"


def golden_program() -> Any:
    """The program that made the golden values: it holds the constellation, the cities and the calls of satgenpy."""
    spec = importlib.util.spec_from_file_location("satgenpy_golden", GOLDEN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    warnings.filterwarnings("ignore")
    planes, satellites, at_s = (int(word) for word in sys.argv[1:4])
    directory = Path(sys.argv[4])
    golden = golden_program()
    cities = golden.stations()
    world, isls = golden.constellation(directory, planes, satellites)
    began = time.process_time()
    fstate = golden.forwarding(directory, world, isls, cities, at_s)
    seconds = time.process_time() - began
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    isl, gsl = golden.link_lengths_m(world, isls, cities, at_s)
    np.save(directory / "length_m.npy", golden.route_lengths_m(fstate, planes * satellites, len(cities), isl, gsl))
    print(json.dumps({"seconds": seconds, "peak_bytes": peak_bytes}))


if __name__ == "__main__":
    main()
