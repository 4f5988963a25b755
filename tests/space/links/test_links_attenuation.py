"""Attenuation and availability: shapes, monotony, inverse, refused input, and the same answers without the compiler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.space import _compile
from tramontana.space.links import LinkError, RainClimate, RainLink, attenuation_db, attenuation_parts, availability
from tramontana.space.links.attenuation import cloud_coefficient, rain_coefficients

ROME = RainClimate.at(41.9, 12.5, 20)
latitudes, longitudes = st.floats(-70, 75), st.floats(-180, 180)
frequencies_hz = st.floats(10.7e9, 52e9)
HIGHLANDS = [(15, 50, 60, 115), (-60, 13, -82, -58), (-12, 20, 28, 50), (12, 45, -122, -92)]
"""Of Asia, the Andes, East Africa, Mexico: sea level is kilometres under their ground, and vapour turns over there (docs/links.md)."""


def test_places_elevations_and_percentages_broadcast() -> None:
    climate = RainClimate.at([41.9, 45.5, 36.0], [12.5, 9.2, 12.0])
    elevation, percent = np.array([25.0, 50.0]), np.array([0.01, 0.1, 1.0, 5.0])
    total = attenuation_db(climate[:, None, None], RainLink(12e9), elevation[:, None], percent)
    assert total.shape == (3, 2, 4)
    assert total[1, 0, 2] == pytest.approx(float(attenuation_db(climate[1], RainLink(12e9), 25.0, 1.0)))
    with pytest.raises(LinkError, match=r"climate\[:, None\]"):
        attenuation_db(climate, RainLink(12e9), elevation, 1.0)


@settings(max_examples=60, deadline=None)
@given(latitude=latitudes, longitude=longitudes, frequency=frequencies_hz, elevation=st.floats(5, 90))
def test_rarer_is_worse(latitude: float, longitude: float, frequency: float, elevation: float) -> None:
    # Nearer to the equator than 36° the Recommendation turns over between 0.001 and 0.01 % at low elevations (docs/links.md).
    percent = np.geomspace(0.001 if abs(latitude) >= 36 else 0.01, 50, 200)
    parts = attenuation_parts(RainClimate.at(latitude, longitude), RainLink(frequency), elevation, percent)
    for values in (parts.rain_db, parts.cloud_db, parts.scintillation_db):
        assert np.all(np.diff(values) <= 1e-9)
    if not any(south <= latitude <= north and west <= longitude <= east for south, north, west, east in HIGHLANDS):
        assert np.all(np.diff(parts.gas_db) <= 1e-9)
        assert np.all(np.diff(parts.total_db) <= 1e-9)
    for values in (parts.rain_db, parts.gas_db, parts.cloud_db, parts.scintillation_db, parts.total_db):
        assert np.all(values >= 0)


@settings(max_examples=60, deadline=None)
@given(latitude=latitudes, longitude=longitudes, elevation=st.floats(5, 90), percent=st.floats(0.001, 5))
def test_higher_frequencies_fade_more_in_rain(latitude: float, longitude: float, elevation: float, percent: float) -> None:
    climate = RainClimate.at(latitude, longitude)
    rain = [float(attenuation_parts(climate, RainLink(f * 1e9), elevation, percent).rain_db) for f in np.arange(10.7, 50, 1.0)]
    assert np.all(np.diff(rain) >= -1e-9)


@settings(max_examples=60, deadline=None)
@given(latitude=st.floats(36, 75), longitude=longitudes, frequency=frequencies_hz, percent=st.floats(0.001, 5))
def test_lower_satellites_fade_more(latitude: float, longitude: float, frequency: float, percent: float) -> None:
    """From 36° of latitude and to 60° of elevation, within 1 %: elsewhere the Recommendation itself rises again (docs/links.md)."""
    elevation = np.linspace(5, 60, 111)
    total = attenuation_parts(RainClimate.at(latitude, longitude), RainLink(frequency), elevation, percent).total_db
    assert np.all(total <= 1.01 * np.minimum.accumulate(total))
    overhead = attenuation_parts(RainClimate.at(latitude, longitude), RainLink(frequency), np.linspace(5, 90, 171), percent)
    assert np.all(np.diff(overhead.gas_db) <= 0)
    assert np.all(np.diff(overhead.cloud_db) <= 0)


@settings(max_examples=60, deadline=None)
@given(latitude=latitudes, longitude=longitudes, frequency=frequencies_hz, elevation=st.floats(5, 90), percent=st.floats(0.01, 49.9))
def test_availability_is_the_inverse(latitude: float, longitude: float, frequency: float, elevation: float, percent: float) -> None:
    climate, link = RainClimate.at(latitude, longitude), RainLink(frequency)
    margin = float(attenuation_db(climate, link, elevation, percent))
    share = float(availability(climate, link, elevation, margin))
    # A hair more margin than what is exceeded for p must hold for at least 1 - p, a hair less for no more.
    assert share >= 1 - percent / 100 - 1e-9
    assert float(availability(climate, link, elevation, margin * (1 - 1e-6))) <= 1 - percent / 100 + 1e-5


def test_where_the_curve_of_rare_rain_falls_again_availability_promises_nothing_more() -> None:
    climate, link = RainClimate.at(0.0, 0.0), RainLink(22_234_008_716.0)
    rarer, rare = attenuation_db(climate, link, 13.0, np.array([0.001, 0.01]))
    assert rarer < rare  # P.618-13 §2.2.1.1, equation 8
    assert float(availability(climate, link, 13.0, rare * 0.999)) < 0.9999


def test_availability_rises_with_the_margin_and_has_ends() -> None:
    margins = np.linspace(0, 60, 400)
    shares = availability(ROME, RainLink(28.5e9), 40.0, margins)
    assert np.all(np.diff(shares) >= 0)
    assert shares[0] == 0.0
    assert shares[-1] == pytest.approx(0.99999)
    assert float(availability(ROME, RainLink(28.5e9), 40.0, -np.inf)) == 0.0
    assert float(availability(ROME, RainLink(28.5e9), 40.0, np.inf)) == pytest.approx(0.99999)


def test_above_the_rain_there_is_none() -> None:
    aircraft = RainClimate.at(41.9, 12.5, 11_000)
    parts = attenuation_parts(aircraft, RainLink(28.5e9), 30.0, 0.01)
    assert float(parts.rain_db) == 0.0
    assert float(parts.cloud_db) == 0.0
    assert 0 < float(parts.gas_db) < float(attenuation_parts(ROME, RainLink(28.5e9), 30.0, 0.01).gas_db)


def test_desert_ice_and_pole_are_finite() -> None:
    climate = RainClimate.at([-90.0, 90.0, -80.0, 23.0], [0.0, 0.0, 100.0, 10.0])
    assert np.all(np.isfinite(attenuation_db(climate[:, None], RainLink(19e9), 5.0, [0.001, 0.1, 50.0])))


def test_polarisation_matters_as_much_as_the_drops_are_flat() -> None:
    horizontal, circular, vertical = (
        float(attenuation_parts(ROME, RainLink(19e9, polarization_tilt_deg=tilt), 20.0, 0.01).rain_db) for tilt in (0.0, 45.0, 90.0)
    )
    assert vertical < circular < horizontal


def test_rain_coefficients_are_the_published_ones() -> None:
    """P.838-3 table 5 prints k and α at whole frequencies to four figures."""
    for frequency_ghz, printed in ((12.0, (0.02386, 0.02455, 1.1825, 1.1216)), (30.0, (0.2403, 0.2291, 0.9485, 0.9129))):
        assert rain_coefficients(frequency_ghz) == pytest.approx(printed, rel=5e-4)


def test_cloud_coefficient_rises_with_frequency() -> None:
    values = [cloud_coefficient(f) for f in (12.0, 20.0, 30.0, 50.0)]
    assert values == sorted(values)
    assert 0.1 < values[0] < 0.2


@pytest.mark.parametrize("frequency_hz", [0.0, 3.9e9, 56e9, float("nan"), 12.0])
def test_frequencies_out_of_range_are_refused(frequency_hz: float) -> None:
    with pytest.raises(LinkError, match="4e9 to 55e9"):
        RainLink(frequency_hz)


@pytest.mark.parametrize(("diameter", "efficiency"), [(0.0, 0.6), (1.0, 0.0), (1.0, 1.1), (float("nan"), 0.6)])
def test_impossible_antennas_are_refused(diameter: float, efficiency: float) -> None:
    with pytest.raises(LinkError, match="diameter"):
        RainLink(12e9, antenna_diameter_m=diameter, antenna_efficiency=efficiency)


@pytest.mark.parametrize(("elevation", "percent"), [(4.99, 1.0), (90.01, 1.0), (np.nan, 1.0), (40.0, 0.0009), (40.0, 51.0), (40.0, np.nan)])
def test_elevations_and_percentages_out_of_range_are_refused(elevation: float, percent: float) -> None:
    with pytest.raises(LinkError, match="give"):
        attenuation_db(ROME, RainLink(12e9), elevation, percent)


def test_words_and_missing_margins_are_refused() -> None:
    with pytest.raises(LinkError, match="must be numbers"):
        attenuation_db(ROME, RainLink(12e9), "high", 1.0)
    with pytest.raises(LinkError, match="margin_db is not a number"):
        availability(ROME, RainLink(12e9), 40.0, np.nan)
    with pytest.raises(LinkError, match="tilt"):
        RainLink(12e9, polarization_tilt_deg=200.0)


def test_kernels_compile_where_nothing_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = numba.njit

    def no_directory(*args: object, **options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", no_directory)
    assert _compile.compiled(lambda x: x + 1)(1) == 2


PROBE = """
import json
import numpy as np
from tramontana.space.links import *
c = RainClimate.at([41.9, 1.35, 47.4], [12.5, 103.8, 11.0], [20.0, 15.0, 2900.0])
link = RainLink(28.5e9)
p = attenuation_parts(c[:, None], link, 30.0, [0.01, 0.3, 7.0])
rain = RainSeries(3, c[0], link).attenuation_db(1.7e9 + 900 * np.arange(300), 35.0)
margins = availability(c, link, 30.0, [3.0, 10.0, 0.1])
print(json.dumps([p.total_db.tolist(), p.rain_db.tolist(), rain.tolist(), margins.tolist()]))
"""


def test_compiled_and_interpreted_kernels_agree() -> None:
    answers = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        out = subprocess.run([sys.executable, "-c", PROBE], env=environment, check=True, capture_output=True, text=True).stdout
        answers.append(json.loads(out))
    for compiled, interpreted in zip(*answers, strict=True):
        assert np.allclose(compiled, interpreted, rtol=1e-9, atol=1e-12)
