"""The choice against what was measured at Louvain in July 2024: elevation p5/p50/p95 42/59.5/77°, the same satellite next slot 0.23."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tramontana.space.elements import parse_elements
from tramontana.space.fleet import Fleet
from tramontana.space.ground import Place, mediterranean
from tramontana.space.life import Phase, direct_to_cell, phases_of_life
from tramontana.space.orbits import Propagator
from tramontana.space.parameters import PathParameters
from tramontana.space.serving import Scheduler, slot_of, slot_start_unix_s
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.visibility import look_angles

LOUVAIN = Place("louvain", "Louvain-la-Neuve", "BE", "city", 50.67, 4.61)
SLOTS = 2880  # twelve hours
MEASURED_DEG = (42.0, 59.5, 77.0)
MEASURED_SAME = 0.23


def statistics(fleet: Fleet, seed: int, may_serve: NDArray[np.bool_] | None = None) -> tuple[list[float], float]:
    """Serving elevation p5, p50, p95 (degrees) and the share of slots that keep the satellite of the slot before."""
    propagator = Propagator(fleet)
    first = slot_of(fleet.epochs.median_unix_s)
    scheduler = Scheduler(fleet, mediterranean(), propagator, PathParameters(), seed, may_serve=may_serve)
    satellites = scheduler.assignments([LOUVAIN], range(first, first + SLOTS))[0][0]
    assert np.all(satellites >= 0)
    assert may_serve is None or np.all(may_serve[satellites])
    elevation = [
        look_angles(
            LOUVAIN.latitude_deg,
            LOUVAIN.longitude_deg,
            LOUVAIN.height_m,
            propagator.track_itrs_m(int(satellite), np.array([slot_start_unix_s(first + k) + 7.5])),
        )[0][0]
        for k, satellite in enumerate(satellites)
    ]
    return np.percentile(elevation, [5, 50, 95]).tolist(), float(np.mean(satellites[1:] == satellites[:-1]))


@pytest.mark.parametrize("seed", [1, 2])
def test_as_filed(seed: int) -> None:
    quantiles_deg, same = statistics(starlink_gen1_as_filed(), seed)
    np.testing.assert_allclose(quantiles_deg, MEASURED_DEG, atol=2.5)
    assert same == pytest.approx(MEASURED_SAME, abs=0.04)


@pytest.mark.parametrize("day", ["2026-05-20", "2026-05-21", "2026-05-30"])
def test_with_real_elements(shared_data: Path, day: str) -> None:
    name = f"starlink_{day}.tle.gz"
    quantiles_deg, same = statistics(parse_elements((shared_data / name).read_bytes(), name=name).fleet, 1)
    np.testing.assert_allclose(quantiles_deg, MEASURED_DEG, atol=2.5)
    assert same == pytest.approx(MEASURED_SAME, abs=0.03)


def test_with_operational_satellites_alone(shared_data: Path) -> None:
    """Those that climb, sink, wait or serve telephones taken out: they never serve, and the statistics stay as measured."""
    name = "starlink_2026-05-30.tle.gz"
    fleet = parse_elements((shared_data / name).read_bytes(), name=name).fleet
    may_serve = (phases_of_life(fleet) == Phase.OPERATIONAL) & ~direct_to_cell(fleet)
    assert 0.7 < np.mean(may_serve) < 0.95
    quantiles_deg, same = statistics(fleet, 1, may_serve)
    np.testing.assert_allclose(quantiles_deg, MEASURED_DEG, atol=2.5)
    assert same == pytest.approx(MEASURED_SAME, abs=0.03)
