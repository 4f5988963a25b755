"""Adaptive coding and link budgets."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.space.links import (
    ALL_BUDGETS,
    KA_FEEDER_UP,
    KU_USER_DOWN,
    KU_USER_UP,
    MODCODS,
    LinkBudget,
    LinkError,
    ModCod,
    bits_per_symbol,
    capacity_bps,
    carrier_to_noise_db,
    free_space_loss_db,
    margin_db,
    required_es_n0_db,
    slant_range_m,
)
from tramontana.space.links.coding import ALL_MODCODS
from tramontana.space.parameters import Parameter

_CODED_BITS = 64_800
_BITS_A_SYMBOL = {"QPSK": 2, "8PSK": 3, "8APSK": 3, "16APSK": 4, "32APSK": 5, "64APSK": 6, "128APSK": 7, "256APSK": 8}


@pytest.mark.parametrize("step", ALL_MODCODS, ids=lambda m: m.name)
def test_efficiencies_follow_from_the_frame(step: ModCod) -> None:
    """Payload over symbols: BBHEADER of 80 bits, BCH of 16 bits an error corrected, slots of 90 symbols, one of them the PLHEADER."""
    modulation, rate = step.name.removesuffix("-L").split(" ")
    numerator, denominator = (int(n) for n in rate.split("/"))
    slots = math.ceil(_CODED_BITS / _BITS_A_SYMBOL[modulation] / 90)
    bch_input = _CODED_BITS * numerator // denominator
    # EN 302 307-1 table 5a: 12 errors corrected, but 10 at 2/3 and 5/6, 8 at 8/9 and 9/10; part 2 corrects 12.
    efficiencies = [(bch_input - 16 * errors - 80) / (90 * slots + 90) for errors in (12, 10, 8)]
    assert min(abs(e - step.bits_per_symbol) for e in efficiencies) < 2e-6


def test_no_step_beats_shannon() -> None:
    for step in ALL_MODCODS:
        assert step.bits_per_symbol < math.log2(1 + 10 ** (step.es_n0_db / 10))


def test_the_ladder_rises_in_both() -> None:
    assert all(a.es_n0_db < b.es_n0_db and a.bits_per_symbol < b.bits_per_symbol for a, b in itertools.pairwise(MODCODS))
    assert MODCODS[0].name == "QPSK 2/9"
    assert MODCODS[-1].name == "256APSK 3/4"


@settings(deadline=None)
@given(st.floats(-40, 60), st.floats(0, 20))
def test_more_signal_never_carries_less(es_n0: float, more: float) -> None:
    assert float(bits_per_symbol(es_n0 + more)) >= float(bits_per_symbol(es_n0))


def test_thresholds_are_inclusive_and_below_the_first_there_is_nothing() -> None:
    for step in MODCODS:
        assert float(bits_per_symbol(step.es_n0_db)) == step.bits_per_symbol
        assert required_es_n0_db(step.bits_per_symbol) == step.es_n0_db
    assert bits_per_symbol([-2.86, np.nan, -np.inf]).tolist() == [0.0, 0.0, 0.0]
    assert required_es_n0_db(6.0) == math.inf


def test_slant_range_and_free_space_loss() -> None:
    assert float(slant_range_m(550e3, 90.0)) == pytest.approx(550e3)
    assert float(slant_range_m(550e3, 25.0)) == pytest.approx(1.123e6, rel=2e-3)
    assert float(free_space_loss_db(12e9, 1e6)) == pytest.approx(174.03, abs=0.01)


def test_a_budget_by_hand() -> None:
    """The downlink of the 2018 comparison: 36.7 dBW, 13.5 GHz, 1684 km, 37.7 dBi, 362.9 K, 250 MHz: 12.0 dB of C/N0 a hertz of band."""
    budget = LinkBudget(
        name="by hand",
        direction="down",
        link=dataclasses.replace(KU_USER_DOWN.link, frequency_hz=13.5e9),
        bandwidth_hz=Parameter(250e6, 250e6, 250e6, "Hz", "comparison"),
        symbols_per_hz=Parameter(1.0, 0.5, 1.0, "", "comparison"),
        eirp_dbw=Parameter(36.7, 36.7, 36.7, "dBW", "comparison"),
        receive_gain_dbi=Parameter(37.7, 37.7, 37.7, "dBi", "comparison"),
        noise_temperature_k=Parameter(362.9, 362.9, 362.9, "K", "comparison"),
        losses_db=Parameter(0.53, 0.0, 1.0, "dB", "comparison"),
        carrier_to_interference_db=Parameter(99.0, 0.0, 99.0, "dB", "none"),
        implementation_margin_db=Parameter(0.0, 0.0, 1.0, "dB", "none"),
    )
    assert float(carrier_to_noise_db(budget, 40.0, 1.684e6, 0.0)) == pytest.approx(12.7, abs=0.8)


@pytest.mark.parametrize("budget", ALL_BUDGETS, ids=lambda b: b.name)
def test_every_budget_closes_under_a_clear_sky_and_fails_in_the_end(budget: LinkBudget) -> None:
    elevation = np.array([25.0, 40.0, 60.0, 90.0])
    distance = slant_range_m(550e3, elevation)
    fades = np.linspace(0, 60, 300)[:, None]
    capacity = capacity_bps(budget, elevation, distance, fades)
    assert capacity.shape == (300, 4)
    assert np.all(capacity[0] > 0)
    assert np.all(capacity[-1] == 0)
    assert np.all(np.diff(capacity, axis=0) <= 0)
    assert np.all(np.diff(capacity, axis=1) >= 0)
    assert capacity.max() <= budget.top_bps


@pytest.mark.parametrize("budget", ALL_BUDGETS, ids=lambda b: b.name)
@pytest.mark.parametrize("megabits", [1e-6, 60.0])
def test_the_margin_is_where_the_capacity_ends(budget: LinkBudget, megabits: float) -> None:
    elevation, least = 55.0, megabits * 1e6
    distance = float(slant_range_m(550e3, elevation))
    margin = float(margin_db(budget, elevation, distance, least))
    assert margin > 0
    assert float(capacity_bps(budget, elevation, distance, margin)) >= least
    assert float(capacity_bps(budget, elevation, distance, margin + 1e-4)) < least


@pytest.mark.parametrize("budget", ALL_BUDGETS, ids=lambda b: b.name)
def test_what_is_known_lies_between_the_ends_of_the_ranges(budget: LinkBudget) -> None:
    worst, best = budget.extreme(best=False), budget.extreme(best=True)
    capacities = [float(capacity_bps(b, 40.0, slant_range_m(550e3, 40.0), 1.0)) for b in (worst, budget, best)]
    assert capacities == sorted(capacities)
    assert capacities[0] < capacities[2]
    assert worst.assumptions() != budget.assumptions() or not budget.assumptions()


def test_the_density_is_that_of_the_grant() -> None:
    assert KA_FEEDER_UP.eirp_density_dbw_per_4khz == pytest.approx(9.7, abs=0.05)


def test_a_link_that_does_not_close_has_no_margin() -> None:
    assert float(margin_db(KU_USER_DOWN, 25.0, 4e7, KU_USER_DOWN.top_bps * 0.9)) == -np.inf
    with pytest.raises(LinkError, match="carries at most"):
        margin_db(KU_USER_DOWN, 25.0, 1e6, 1e12)


def test_the_satellite_holds_its_flux_until_its_power_ends() -> None:
    near, far, too_far = (float(carrier_to_noise_db(KU_USER_DOWN, 60.0, d, 0.0)) for d in (6e5, 1.2e6, 5e6))
    assert near == pytest.approx(far, abs=1e-9)
    assert too_far < far - 5


def test_rain_costs_a_downlink_twice() -> None:
    """A fade takes its decibels and warms the receiver (P.618-13 §3)."""
    clean = dataclasses.replace(KU_USER_DOWN, carrier_to_interference_db=Parameter(99.0, 0.0, 99.0, "dB", "none"))
    lost = float(carrier_to_noise_db(clean, 60.0, 6e5, 0.0) - carrier_to_noise_db(clean, 60.0, 6e5, 3.0))
    assert lost == pytest.approx(3.0 + 10 * math.log10(1 + 275 * (1 - 10**-0.3) / 362.9), abs=1e-6)


def test_a_fade_of_the_uplink_does_not_fade_the_interference() -> None:
    for fade in (0.0, 5.0, 10.0):
        ceiling = KA_FEEDER_UP.carrier_to_interference_db.value - fade
        assert float(carrier_to_noise_db(KA_FEEDER_UP, 60.0, 6e5, fade)) < ceiling


def test_an_array_loses_gain_away_from_its_zenith() -> None:
    still = dataclasses.replace(KU_USER_UP, scan_exponent=Parameter(0.0, 0.0, 1.5, "", "none"))
    loss = carrier_to_noise_db(still, [90.0, 40.0], 6e5, 0.0) - carrier_to_noise_db(KU_USER_UP, [90.0, 40.0], 6e5, 0.0)
    assert loss[0] == pytest.approx(0.0, abs=1e-12)
    assert 0 < loss[1] <= 2.6


@pytest.mark.parametrize(
    "arguments", [(0.0, 1e6, 0.0), (np.nan, 1e6, 0.0), (40.0, -1.0, 0.0), (40.0, np.inf, 0.0), (40.0, 1e6, -0.1), (40.0, 1e6, np.nan)]
)
def test_nonsense_is_refused(arguments: tuple[float, float, float]) -> None:
    with pytest.raises(LinkError):
        capacity_bps(KU_USER_DOWN, *arguments)


def test_every_figure_has_a_range_and_a_source_and_assumptions_are_listed() -> None:
    for budget in ALL_BUDGETS:
        figures = [value for f in dataclasses.fields(budget) if isinstance(value := getattr(budget, f.name), Parameter)]
        assert len(figures) >= 8
        assert all(figure.source for figure in figures)
        assert len(budget.assumptions()) == sum(figure.is_assumption for figure in figures)
        assert all(budget.name in line and "assumption" in line for line in budget.assumptions())
