"""Climate of a place: awkward places, refused places, indexing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.space.links import ClimateError, RainClimate
from tramontana.space.links.climate import tables


def test_rome_is_what_the_recommendations_say() -> None:
    rome = RainClimate.at(41.9, 12.5, 20)
    assert rome.shape == ()
    assert float(rome.rain_rate_mm_per_h) == pytest.approx(33.94, abs=0.01)
    assert float(rome.rain_height_m) == pytest.approx(3046.1, abs=1)
    assert float(rome.rain_probability) == pytest.approx(0.0527, abs=0.0005)
    assert rome.vapour_content_kg_per_m2.shape == (8,)
    assert np.all(np.diff(rome.vapour_content_kg_per_m2) < 0)


@settings(deadline=None)
@given(latitude=st.floats(-90, 90), longitude=st.floats(-180, 180), height=st.floats(-500, 20_000))
def test_every_place_on_earth_has_a_climate(latitude: float, longitude: float, height: float) -> None:
    climate = RainClimate.at(latitude, longitude, height)
    for values in (climate.rain_rate_mm_per_h, climate.rain_height_m, climate.vapour_content_kg_per_m2, climate.cloud_liquid_kg_per_m2):
        assert np.all(np.isfinite(values))
        assert np.all(values >= 0)
    assert 0 <= climate.rain_probability <= 0.7  # P.837-7 caps each month at 70 %
    assert 200 < climate.temperature_k < 320


@settings(deadline=None)
@given(latitude=st.floats(-90, 90))
def test_the_date_line_is_no_edge(latitude: float) -> None:
    east, west, wrapped = (RainClimate.at(latitude, longitude) for longitude in (180.0, -180.0, 180.0 + 1e-9))
    for name in ("rain_rate_mm_per_h", "rain_height_m", "temperature_k", "vapour_density_g_per_m3", "cloud_liquid_kg_per_m2"):
        assert np.allclose(getattr(east, name), getattr(west, name), rtol=1e-6, atol=1e-6)
        assert np.allclose(getattr(west, name), getattr(wrapped, name), rtol=1e-6, atol=1e-6)


def test_longitudes_may_be_counted_to_360() -> None:
    assert float(RainClimate.at(10.0, 300.0).rain_rate_mm_per_h) == float(RainClimate.at(10.0, -60.0).rain_rate_mm_per_h)


@pytest.mark.parametrize(
    "place", [(91.0, 0.0, 0.0), (0.0, 361.0, 0.0), (0.0, -181.0, 0.0), (0.0, 0.0, 20_001.0), (np.nan, 0.0, 0.0), (0.0, np.inf, 0.0)]
)
def test_places_that_are_not_on_earth_are_refused(place: tuple[float, float, float]) -> None:
    with pytest.raises(ClimateError, match=r"-90\.\.90"):
        RainClimate.at(*place)


def test_the_error_names_the_place() -> None:
    with pytest.raises(ClimateError, match=r"place \(1,\) is latitude 99"):
        RainClimate.at([41.9, 99.0], [12.5, 0.0])
    with pytest.raises(ClimateError, match="must be numbers"):
        RainClimate.at("Rome", 12.5)


def test_a_climate_is_indexed_like_an_array() -> None:
    climate = RainClimate.at([[41.9, 45.5], [36.0, 60.0]], 12.0)
    assert climate.shape == (2, 2)
    assert climate[1].shape == (2,)
    assert climate[1].vapour_density_g_per_m3.shape == (2, 8)
    assert climate[..., None].shape == (2, 2, 1)
    assert climate[..., None].cloud_liquid_kg_per_m2.shape[-1] == 8
    assert climate[0, 1].shape == ()
    assert float(climate[0, 1].latitude_deg) == 45.5


def test_many_places_at_once_are_the_places_one_by_one() -> None:
    latitude, longitude = np.array([41.9, -33.9, 71.99, 72.01]), np.array([12.5, 18.4, 64.9, 65.1])
    together = RainClimate.at(latitude, longitude, 30.0)
    for i in range(4):
        alone = RainClimate.at(latitude[i], longitude[i], 30.0)
        assert float(alone.rain_rate_mm_per_h) == float(together.rain_rate_mm_per_h[i])
        assert np.array_equal(alone.vapour_content_kg_per_m2, together.vapour_content_kg_per_m2[i])


def test_vapour_thins_out_with_height() -> None:
    contents = RainClimate.at(41.9, 12.5, np.array([0.0, 1000.0, 5000.0, 11_000.0])).vapour_content_kg_per_m2
    assert np.all(np.diff(contents, axis=0) < 0)


def test_every_map_says_where_it_comes_from() -> None:
    sources = tables().sources
    assert set(sources) == set(tables().maps)
    assert all(source.startswith("ITU-R P.") for source in sources.values())
