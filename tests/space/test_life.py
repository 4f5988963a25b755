"""Phases of life, bands and telephone satellites: by the rule, and how the rule does on the real fleets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tramontana.errors import LocalError
from tramontana.space.elements import parse_elements
from tramontana.space.fleet import Fleet
from tramontana.space.life import (
    Band,
    Phase,
    altitude_rate_km_per_day,
    direct_to_cell,
    in_band,
    mean_altitude_km,
    operating_bands,
    phases_of_life,
)
from tramontana.space.shells import Shell, generate, starlink_gen1_as_filed


def fleet_of(altitudes: list[float], inclination: float, bstar: list[float], prefix: str = "STARLINK-") -> Fleet:
    shells = tuple(Shell(altitude, inclination, 1, 1, 0) for altitude in altitudes)
    fleet = generate(shells, label="t", source="t", name_prefix="t")
    names = tuple(f"{prefix}{n}" for n in range(len(altitudes)))
    return replace(
        fleet, provenance="elements", names=names, catalogue_number=np.arange(1, len(altitudes) + 1), bstar_per_earth_radius=np.array(bstar)
    )


def test_the_rule() -> None:
    fleet = fleet_of([475, 540, 400, 400, 400, 320, 475, 475], 53.1, [1e-4, 0, -0.03, 0.01, 1e-4, 1e-3, -0.02, 5e-3])
    o, r, d, w = Phase.OPERATIONAL, Phase.RAISING, Phase.DECAYING, Phase.DRIFTING
    assert phases_of_life(fleet).tolist() == [o, o, r, d, w, d, r, o]


def test_a_measured_rate_takes_the_place_of_bstar() -> None:
    now = fleet_of([400, 400, 400, 475, 400], 53.1, [0, 0, -0.03, 0, -0.03])
    before = fleet_of([390, 405, 400, 465, 100], 53.1, [0, 0, 0, 0, 0])
    numbers = np.array([1, 2, 3, 4, 77])  # the last one was not known before
    before = replace(before, epoch_days_1949=now.epoch_days_1949 - 1, catalogue_number=numbers)
    rate = altitude_rate_km_per_day(now, before)
    np.testing.assert_allclose(rate[:4], [10, -5, 0, 10], atol=1e-6)
    assert np.isnan(rate[4])
    expected = [Phase.RAISING, Phase.DECAYING, Phase.DRIFTING, Phase.RAISING, Phase.RAISING]
    assert phases_of_life(now, earlier=before).tolist() == expected
    assert np.all(np.isnan(altitude_rate_km_per_day(now, now)))  # no time between


def test_generated_fleets_are_operational() -> None:
    assert not phases_of_life(starlink_gen1_as_filed()).any()


def test_bands() -> None:
    fleet = fleet_of([475, 540, 540.0001, 600], 53.1, [0, 0, 0, 0])
    low = float(mean_altitude_km(fleet)[1])
    np.testing.assert_allclose(mean_altitude_km(fleet), [475, 540, 540.0001, 600], atol=1e-6)
    assert in_band(fleet, Band(50, 55, 500, low)).tolist() == [False, True, False, False]
    assert not in_band(fleet, Band(60, 70, 0, 1000)).any()
    for bad in ((55.0, 50.0, 0.0, 1.0), (0.0, 1.0, 5.0, 4.0), (0.0, np.nan, 0.0, 1.0)):
        with pytest.raises(LocalError, match="band needs finite ends"):
            Band(*bad)


def test_bands_of_an_unknown_constellation_are_found() -> None:
    fleet = generate((Shell(601, 30, 5, 10, 0), Shell(1102, 80, 3, 10, 0)), label="t", source="t", name_prefix="OWN")
    stray = replace(fleet, provenance="elements", mean_motion_rev_per_day=np.where(np.arange(80) == 3, 15.9, fleet.mean_motion_rev_per_day))
    bands = operating_bands(stray)
    assert [(band.low_altitude_km, band.high_altitude_km) for band in bands] == [(600, 605), (1100, 1105)]
    assert np.flatnonzero(phases_of_life(stray)).tolist() == [3]


def test_telephone_satellites_by_name_or_by_band() -> None:
    named = replace(fleet_of([358, 358, 475], 43.0, [0, 0, 0]), names=("STARLINK-1 [DTC]", "STARLINK-2", "STARLINK-3"))
    assert direct_to_cell(named).tolist() == [True, False, False]
    assert direct_to_cell(fleet_of([358, 362, 475], 43.0, [0, 0, 0])).tolist() == [True, False, False]
    assert direct_to_cell(fleet_of([358, 362, 475], 43.0, [0, 0, 0], prefix="OTHER-")).tolist() == [False, False, False]


def read(shared_data: Path, name: str) -> Fleet:
    return parse_elements((shared_data / name).read_bytes(), name=name).fleet


def test_the_real_starlink_fleet(shared_data: Path) -> None:
    """Outside the bands BSTAR must agree with the altitude measured over a day for most satellites, and hardly ever invent a climb."""
    fleet, earlier = (read(shared_data, f"starlink_2026-05-{day}.tle.gz") for day in (21, 20))
    by_bstar, by_rate = phases_of_life(fleet), phases_of_life(fleet, earlier=earlier)
    assert 9400 < np.count_nonzero(by_bstar == Phase.OPERATIONAL) < 9600
    rate = altitude_rate_km_per_day(fleet, earlier)
    known = np.isfinite(rate) & (by_bstar != Phase.OPERATIONAL)
    assert np.mean(by_bstar[known] == by_rate[known]) > 0.85
    assert np.all(rate[known & (by_bstar == Phase.RAISING)] > 0)
    on_station = (by_bstar == Phase.OPERATIONAL) & np.isfinite(rate)
    assert np.mean(np.abs(rate[on_station]) < 0.5) > 0.97


def test_telephone_satellites_of_the_real_fleet(shared_data: Path) -> None:
    fleet = read(shared_data, "starlink_2026-05-21.tle.gz")
    marked = direct_to_cell(fleet)
    bare = replace(fleet, names=tuple(name.replace(" [DTC]", "") for name in fleet.names))
    by_band = direct_to_cell(bare)
    assert np.count_nonzero(marked) == 644
    assert np.count_nonzero(marked & by_band) > 0.98 * 644
    assert np.count_nonzero(by_band & ~marked) < 20


@pytest.mark.parametrize(
    ("name", "operational"), [("oneweb_2026-07-24.tle", 640), ("kuiper_2026-07-24.tle", 240), ("iridium-NEXT_2026-07-24.tle", 66)]
)
def test_other_real_fleets(shared_data: Path, name: str, operational: int) -> None:
    assert np.count_nonzero(phases_of_life(read(shared_data, name)) == Phase.OPERATIONAL) >= operational
