"""Attenuation against what the `itur` package computes: always against the golden file, and directly where `itur` is installed."""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tramontana.space.links import Attenuation, RainClimate, RainLink, attenuation_parts

Floats = NDArray[np.float64]

HERE = Path(__file__).parent
TOLERANCE_DB = 0.1
PARTS = ("rain_db", "gas_db", "cloud_db", "scintillation_db", "total_db")


def golden() -> dict[str, Floats]:
    with (HERE / "golden.csv").open() as stream:
        header, *rows = csv.reader(stream)
    return dict(zip(header, np.array(rows, dtype=np.float64).T, strict=True))


def in_the_fine_region(latitude_deg: Floats, longitude_deg: Floats) -> NDArray[np.bool_]:
    return (latitude_deg >= 15) & (latitude_deg <= 72) & (longitude_deg >= -30) & (longitude_deg <= 65)


def computed(table: dict[str, Floats]) -> dict[str, Floats]:
    """The golden rows as this package computes them, in the same order."""
    found = {name: np.full(table["rain_db"].shape, np.nan) for name in PARTS}
    for frequency in np.unique(table["frequency_ghz"]):
        rows = table["frequency_ghz"] == frequency
        climate = RainClimate.at(table["latitude_deg"][rows], table["longitude_deg"][rows], table["height_m"][rows])
        link = RainLink(float(frequency) * 1e9, antenna_diameter_m=0.6, antenna_efficiency=0.65)
        parts = attenuation_parts(climate, link, table["elevation_deg"][rows], table["exceeded_percent"][rows])
        for name in PARTS:
            found[name][rows] = getattr(parts, name)
    return found


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_within_a_tenth_of_a_decibel_of_the_reference(name: str) -> None:
    table = golden()
    rows = in_the_fine_region(table["latitude_deg"], table["longitude_deg"])
    assert rows.sum() > 3000
    difference = np.abs(computed(table)[name] - table[name])[rows]
    # Cloud and gas between the levels of the maps are interpolated here as attenuation, there as vapour: it stays within the same 0.1 dB.
    assert difference.max() < TOLERANCE_DB


def test_elsewhere_the_thinned_rain_map_costs_little() -> None:
    table = golden()
    rows = ~in_the_fine_region(table["latitude_deg"], table["longitude_deg"]) & (table["rain_db"] > 0.1)
    assert rows.sum() > 500
    found = computed(table)
    relative = np.abs(found["rain_db"][rows] / table["rain_db"][rows] - 1)
    assert relative.max() < 0.1  # docs/links.md: R0.01 outside the fine region is within 9 % in 99 of 100 places
    gas = np.abs(found["gas_db"][rows] - table["gas_db"][rows])
    assert gas.max() < TOLERANCE_DB


def test_the_golden_file_reaches_every_band_and_corner() -> None:
    table = golden()
    assert table["frequency_ghz"].min() <= 11.7
    assert table["frequency_ghz"].max() >= 50
    assert set(table["elevation_deg"]) == {5.0, 25.0, 55.0, 90.0}
    assert table["exceeded_percent"].min() == 0.001
    assert table["rain_db"].max() > 100


has_itur = importlib.util.find_spec("itur") is not None


@pytest.mark.skipif(not has_itur, reason="itur is not installed: the golden file stands in for it")
def test_random_places_agree_with_itur_itself() -> None:
    rng = np.random.default_rng(20260922)
    places = 60
    latitude, longitude = rng.uniform(15.0, 72.0, places), rng.uniform(-30.0, 65.0, places)
    height_m = rng.uniform(0.0, 1500.0, places)
    climate = RainClimate.at(latitude, longitude, height_m)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import itur

        for frequency_ghz in (10.7, 12.7, 17.7, 30.0, 37.5, 52.0):
            for tilt_deg in (0.0, 45.0, 90.0):
                elevation, percent = float(rng.uniform(5, 90)), float(10 ** rng.uniform(-3, np.log10(5)))
                expected = itur.models.itu618.rain_attenuation(
                    latitude, longitude, frequency_ghz, elevation, hs=height_m / 1000, p=percent, tau=tilt_deg
                ).value
                link = RainLink(frequency_ghz * 1e9, polarization_tilt_deg=tilt_deg)
                found: Attenuation = attenuation_parts(climate, link, elevation, percent)
                # A station above the rain has no rain here (P.618: the prediction is zero); itur carries a negative path on.
                assert np.abs(found.rain_db - np.where(climate.rain_height_m > height_m, expected, 0)).max() < TOLERANCE_DB


def test_the_product_never_imports_itur() -> None:
    code = "import sys, tramontana.space.links; assert 'itur' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
