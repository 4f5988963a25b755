"""The real fleets of 2026, where they lie beside the repository: nothing is rejected, and serving looks as measured."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tramontana.space.elements import parse_elements
from tramontana.space.fleet_file import decode_fleet, encode_fleet
from tramontana.space.ground import Place
from tramontana.space.serving import slot_of, slot_start_unix_s
from tramontana.space.sky import Sky
from tramontana.space.visibility import look_angles


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("starlink_2026-05-20.tle.gz", 10_360),
        ("starlink_2026-05-30.tle.gz", 10_395),
        ("oneweb_2026-07-24.tle", 651),
        ("kuiper_2026-07-24.tle", 393),
        ("iridium-NEXT_2026-07-24.tle", 80),
        ("o3b_2026-07-24.tle", 30),
        ("globalstar_2026-07-24.tle", 28),
    ],
)
def test_real_files_are_taken_over_whole(shared_data: Path, name: str, count: int) -> None:
    loaded = parse_elements((shared_data / name).read_bytes(), name=name)
    assert len(loaded.fleet) == count
    assert loaded.rejections == ()
    assert decode_fleet(encode_fleet(loaded.fleet)).equals(loaded.fleet)


def test_two_days_in_one_file_keep_the_newer_sets(shared_data: Path) -> None:
    newer = (shared_data / "starlink_2026-05-21.tle.gz").read_bytes()
    both = newer + (shared_data / "starlink_2026-05-20.tle.gz").read_bytes()  # gzip members may follow each other
    alone, joined = parse_elements(newer, name="newer"), parse_elements(both, name="both")
    assert len(joined.rejections) + len(joined.fleet) == 10_359 + 10_360
    assert len(joined.fleet) >= len(alone.fleet)
    epoch = dict(zip(joined.fleet.catalogue_number.tolist(), joined.fleet.epoch_days_1949.tolist(), strict=True))
    newer_sets = zip(alone.fleet.catalogue_number.tolist(), alone.fleet.epoch_days_1949.tolist(), strict=True)
    assert all(epoch[number] >= day for number, day in newer_sets)


def test_serving_statistics_with_real_elements(shared_data: Path) -> None:
    """Measured at Louvain in July 2024: elevation p5/p50/p95 42/59.5/77°, the same satellite in the next slot with 0.23."""
    name = "starlink_2026-05-21.tle.gz"
    sky = Sky(parse_elements((shared_data / name).read_bytes(), name=name).fleet, seed=1)
    louvain = Place("louvain", "Louvain-la-Neuve", "BE", "city", 50.67, 4.61)
    first = slot_of(sky.elements_epoch_unix_s)
    chosen = [sky.assignment(louvain, first + k) for k in range(960)]
    elevation = []
    for k, assignment in enumerate(chosen):
        assert assignment is not None
        position = sky._propagator.track_itrs_m(assignment.satellite, np.array([slot_start_unix_s(first + k) + 7.5]))[0]
        elevation.append(look_angles(louvain.latitude_deg, louvain.longitude_deg, 0.0, position)[0])
    np.testing.assert_allclose(np.percentile(elevation, [5, 50, 95]), [42, 59.5, 77], atol=3)
    same = np.mean([a.satellite == b.satellite for a, b in pairwise(chosen) if a and b])
    assert same == pytest.approx(0.23, abs=0.05)
