"""Which satellites of a loaded fleet serve dishes."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tramontana.space.elements import parse_elements
from tramontana.space.life import Phase, carries_traffic, direct_to_cell, phases_of_life
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.sky import Sky

REAL = Path(__file__).parents[3] / "shared" / "data" / "space" / "starlink_2026-05-21.tle.gz"


def test_a_filed_fleet_serves_as_a_whole() -> None:
    assert carries_traffic(starlink_gen1_as_filed()).all()


@pytest.mark.skipif(not REAL.exists(), reason="real elements are not at hand")
def test_in_a_real_fleet_only_operating_satellites_for_dishes_serve() -> None:
    fleet = parse_elements(gzip.decompress(REAL.read_bytes()), name=REAL.name).fleet
    mask = carries_traffic(fleet)
    assert 0.8 < mask.mean() < 0.97
    assert not (mask & direct_to_cell(fleet)).any()
    assert (phases_of_life(fleet)[mask] == Phase.OPERATIONAL).all()

    sky = Sky(fleet)
    start = fleet.epochs.median_unix_s
    served = {serving.satellite_index for slot in range(40) if (serving := sky.serving(sky.ground.place("rome"), start + 15 * slot))}
    assert len(served) > 10
    assert mask[list(served)].all()

    telephones = fleet.take(np.flatnonzero(direct_to_cell(fleet)))
    assert carries_traffic(telephones).all()
