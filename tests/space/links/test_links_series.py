"""Rain over time: determinism, chunks without seam, exceedance, correlation in time and space; availability of paths."""

from __future__ import annotations

import importlib.util
import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tramontana.space.links import (
    KA_FEEDER_DOWN,
    KU_USER_DOWN,
    LinkError,
    RainClimate,
    RainLink,
    RainSeries,
    attenuation_parts,
    diverse_availability,
    link_availability,
    path_availability,
    rain_correlation,
    slant_range_m,
)
from tramontana.space.links.normal import deviate_of, joint_upper_tail, upper_tail
from tramontana.space.links.series import BLOCK_S, RAIN_DECAY_PER_S
from tramontana.space.visibility import great_circle_m

ROME, MILAN, MARSALA = (RainClimate.at(*place) for place in ((41.9, 12.5, 20), (45.46, 9.19, 120), (37.79, 12.49, 10)))
KA = KA_FEEDER_DOWN.link
FAR_APART_S = 20_000.0 * np.arange(400_000)  # correlation between samples 0.02


def correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * b.std()))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**70),
    start=st.integers(-(10**10), 10**11),
    step=st.integers(1, 900),
    cuts=st.lists(st.integers(1, 499), min_size=1, max_size=6, unique=True),
)
def test_chunks_join_without_seam(seed: int, start: int, step: int, cuts: list[int]) -> None:
    series = RainSeries(seed, ROME, KA)
    times = float(start) + float(step) * np.arange(500)
    whole = series.attenuation_db(times, 40.0)
    chunks = [series.attenuation_db(chunk, 40.0) for chunk in np.split(times, sorted(cuts))]
    assert np.array_equal(np.concatenate(chunks), whole)
    order = np.random.default_rng(1).permutation(500)
    assert np.array_equal(series.attenuation_db(times[order], 40.0), whole[order])


def test_a_seed_is_a_weather_and_a_place_has_its_own() -> None:
    times = 1.7e9 + 60.0 * np.arange(5000)
    first = RainSeries(1, ROME, KA)
    assert np.array_equal(first.normal(times), RainSeries(1, ROME, KU_USER_DOWN.link).normal(times))
    for other in (RainSeries(2, ROME, KA), RainSeries(1, MILAN, KA)):
        assert abs(correlation(first.normal(FAR_APART_S[:50_000]), other.normal(FAR_APART_S[:50_000]))) < 0.02


def test_the_state_is_standard_normal() -> None:
    values = RainSeries(11, ROME, KA).normal(FAR_APART_S)
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01
    for deviate in (1.0, 2.0, 3.0):
        expected = upper_tail(deviate)
        assert (values > deviate).mean() == pytest.approx(expected, abs=5 * math.sqrt(expected / values.size))


@pytest.mark.parametrize("lag_s", [1.0, 15.0, 600.0, 3600.0, 10_800.0])
@pytest.mark.parametrize("offset_s", [0.0, BLOCK_S - 7.0, 12_345.0])
def test_correlation_in_time_is_that_of_p1853(lag_s: float, offset_s: float) -> None:
    series = RainSeries(5, ROME, KA)
    times = FAR_APART_S[:100_000] * 6.5536 + offset_s  # one sample a block, always at the same place of the block
    found = correlation(series.normal(times), series.normal(times + lag_s))
    assert found == pytest.approx(math.exp(-RAIN_DECAY_PER_S * lag_s), abs=0.01)


@pytest.mark.parametrize("climate", [ROME, MILAN, RainClimate.at(30.04, 31.24, 25), RainClimate.at(1.35, 103.82, 15)])
@pytest.mark.parametrize("link", [KU_USER_DOWN.link, KA])
def test_long_run_exceedance_is_that_of_p618(climate: RainClimate, link: RainLink) -> None:
    """Within 3 % of the percentage and four sigma of sampling, from 0.03 % to half the probability of rain."""
    series = RainSeries(3, climate, link)
    fades = series.attenuation_db(FAR_APART_S, 40.0)
    rainy_percent = 100 * float(climate.rain_probability)

    def close(share: float, percent: float) -> bool:
        return abs(100 * share - percent) < 0.03 * percent + 4 * 100 * math.sqrt(percent / 100 / FAR_APART_S.size)

    assert close(float((fades > 0).mean()), rainy_percent)
    for percent in (0.03, 0.1, 0.3, 1.0, 2.0):
        if percent < rainy_percent / 2:
            level = float(attenuation_parts(climate, series.link, 40.0, percent).rain_db)
            assert close(float((fades > level).mean()), percent)


def test_rain_is_continuous_and_lasts() -> None:
    """Minutes, not seconds: at 15 s steps a fade above 1 dB changes by less than 20 % of itself almost always."""
    fades = RainSeries(8, MILAN, KA).attenuation_db(1.7e9 + 15.0 * np.arange(400_000), 40.0)
    heavy = fades[:-1] > 1
    assert heavy.sum() > 200
    change = np.abs(np.diff(fades))[heavy] / fades[:-1][heavy]
    assert np.quantile(change, 0.9) < 0.25
    onset = (fades[:-1] == 0) & (fades[1:] > 0)
    assert fades[1:][onset].max() < 0.5


def test_elevation_follows_the_satellite() -> None:
    series = RainSeries(3, ROME, KA)
    times = FAR_APART_S[:20_000]
    low, high = series.attenuation_db(times, 25.0), series.attenuation_db(times, 60.0)
    assert np.all(low[low > 0] > high[low > 0])
    both = series.attenuation_db(times, np.where(np.arange(times.size) % 2 == 0, 25.0, 60.0))
    assert np.array_equal(both[::2], low[::2])
    assert np.array_equal(both[1::2], high[1::2])


def test_places_together_are_correlated_by_distance() -> None:
    near = RainClimate.at(41.9, 12.62, 20)  # 10 km east of Rome
    series = RainSeries.of_places(4, [ROME, near, MILAN], [KA, KA, KA])
    states = np.stack([s.normal(FAR_APART_S[:100_000]) for s in series])
    expected = rain_correlation(great_circle_m(41.9, 12.5, 41.9, 12.62))
    assert 0.6 < expected < 0.8
    assert correlation(states[0], states[1]) == pytest.approx(expected, abs=0.01)
    assert correlation(states[0], states[2]) == pytest.approx(rain_correlation(great_circle_m(41.9, 12.5, 45.46, 9.19)), abs=0.01)
    assert np.allclose(states.std(axis=1), 1, atol=0.01)
    twins = RainSeries.of_places(4, [ROME, ROME], [KA, KU_USER_DOWN.link])
    assert np.allclose(twins[0].normal(FAR_APART_S[:100]), twins[1].normal(FAR_APART_S[:100]), atol=1e-9)


def test_nonsense_is_refused() -> None:
    series = RainSeries(1, ROME, KA)
    with pytest.raises(LinkError, match="finite POSIX seconds"):
        series.normal([0.0, np.nan])
    with pytest.raises(LinkError, match=r"5\.\.90"):
        series.attenuation_db([0.0, 1.0], [40.0, np.nan])
    with pytest.raises(LinkError, match="one place"):
        RainSeries(1, RainClimate.at([41.9, 45.0], 12.5), KA)
    with pytest.raises(LinkError, match="one link for each"):
        RainSeries.of_places(1, [ROME], [])


def test_normal_tails() -> None:
    for probability in (1e-5, 0.01, 0.5, 0.97):
        assert upper_tail(deviate_of(probability)) == pytest.approx(probability, rel=1e-9)
    assert deviate_of(1.0) == -math.inf
    assert deviate_of(0.0) == math.inf
    assert joint_upper_tail(0.0, 0.0, 0.5) == pytest.approx(0.25 + math.asin(0.5) / (2 * math.pi), abs=1e-12)
    assert joint_upper_tail(1.2, 2.0, 0.0) == pytest.approx(upper_tail(1.2) * upper_tail(2.0), abs=1e-12)
    assert joint_upper_tail(-math.inf, 2.0, 0.4) == upper_tail(2.0)
    assert joint_upper_tail(math.inf, 0.0, 0.4) == 0.0


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9, 0.99])
@pytest.mark.parametrize(("first", "second"), [(1.0, 1.5), (2.5, 2.5), (-0.5, 3.0)])
def test_joint_tail_against_scipy(first: float, second: float, correlation: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    expected = float(stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]]).cdf([-first, -second]))
    assert joint_upper_tail(first, second, correlation) == pytest.approx(expected, abs=2e-7)


def test_a_second_gateway_helps_the_more_the_farther_it_is() -> None:
    outage = 1e-3
    answers = [
        1 - diverse_availability(ROME, 1 - outage, RainClimate.at(41.9, 12.5 + east, 20), 1 - outage) for east in (0.0, 0.05, 0.3, 1.0, 6.0)
    ]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(answers))
    assert answers[0] == pytest.approx(outage, rel=0.12)
    assert answers[-1] < 5 * outage**2
    assert 1 - diverse_availability(ROME, 0.5, MILAN, 1.0) == 0.0


@pytest.mark.skipif(importlib.util.find_spec("itur") is None, reason="itur is not installed: nothing to compare site diversity with")
@pytest.mark.parametrize("east_deg", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("percent", [0.05, 0.3])
def test_site_diversity_against_itur(east_deg: float, percent: float) -> None:
    """The Recommendation reads each site's outage off a log-normal fit; given the same single outages, the joint one is the same."""
    other = RainClimate.at(41.9, 12.5 + east_deg, 20)
    fades = [float(attenuation_parts(c, KA, 40.0, percent).rain_db) for c in (ROME, other)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from itur.models import itu618

        # On the class: the public wrapper of itur 0.4.0 hands elevations and places over in the wrong order.
        reference = itu618._ITU618_13
        joint_percent = float(
            reference.site_diversity_rain_outage_probability(
                41.9, 12.5, fades[0], 41.9, 12.5 + east_deg, fades[1], 18.5, 40.0, 40.0, 45.0, 0.02, 0.02
            )
        )
        fits = [
            reference.fit_rain_attenuation_to_lognormal(41.9, longitude, 18.5, 40.0, 0.02, 100 * float(c.rain_probability), 45.0)
            for c, longitude in ((ROME, 12.5), (other, 12.5 + east_deg))
        ]
    outages = [
        float(c.rain_probability) * upper_tail((math.log(fade) - mean) / sigma)
        for c, fade, (sigma, mean) in zip((ROME, other), fades, fits, strict=True)
    ]
    found_percent = 100 * (1 - diverse_availability(ROME, 1 - outages[0], other, 1 - outages[1]))
    assert found_percent == pytest.approx(joint_percent, rel=0.02)


def test_paths_hold_when_both_links_hold() -> None:
    elevation = np.array([30.0, 50.0, 80.0])
    ranges = slant_range_m(550e3, elevation)
    user = link_availability(KU_USER_DOWN, ROME, elevation, ranges)
    feeder = link_availability(KA_FEEDER_DOWN, MARSALA, elevation, ranges)
    path = path_availability(user, feeder)
    assert np.all(path <= np.minimum(user, feeder))
    assert np.all((path > 0.999) & (path < 1))
    demanding = link_availability(KU_USER_DOWN, ROME, elevation, ranges, least_bps=250e6)
    assert np.all(demanding <= user)
    with pytest.raises(LinkError, match="between 0 and 1"):
        path_availability(1.1, 0.5)
    with pytest.raises(LinkError, match="single places"):
        diverse_availability(RainClimate.at([41.9], [12.5]), 0.9, ROME, 0.9)
