"""What a sky gives to places: more of it is never less, fewer gateways never more, and two are better than each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tramontana.planning.losses import Serving
from tramontana.planning.measures import Demand, Measures, MeasureSky, measure, together, weighted
from tramontana.planning.sky import SkyDesign
from tramontana.space.ground import Place
from tramontana.space.shells import Shell

PLACES = (
    Place("rome", "Rome", "IT", "city", 41.9, 12.5),
    Place("lampedusa", "Lampedusa", "IT", "city", 35.5, 12.6),
    Place("pole", "South Pole", "", "city", -90.0, 0.0),
)
DEMAND = Demand(PLACES, np.array([0.5, 0.5, 0.0]))
FEW = Shell(1200, 48, 6, 8, 1)
MORE = Shell(1200, 48, 12, 10, 1)


def measured(shells: tuple[Shell, ...], landing: tuple[str, ...] = ()) -> Measures:
    return MeasureSky(DEMAND, duration_s=1800.0)(SkyDesign(None, shells, landing))


def test_more_satellites_never_serve_less_and_fewer_gateways_never_more() -> None:
    few, both, at_home = measured((FEW,)), measured((FEW, MORE)), measured((FEW, MORE), ("IT",))
    assert np.all(both.served >= few.served)
    assert np.all(both.served >= at_home.served)
    assert 0.0 < few.served[0] < 1.0


def test_where_no_satellite_comes_nothing_is_claimed() -> None:
    found = measured((MORE,))
    assert found.served[2] == 0.0
    assert found.available[2] == 0.0
    assert np.isnan(found.round_trip_s[2])
    # Two hops of 1,200 km each way, at the speed of light, are the least: 16 ms.
    assert np.all(found.round_trip_s[:2] > 4 * 1_200e3 / 299_792_458)
    assert np.isnan(weighted(found.round_trip_s, np.array([0.4, 0.4, 0.2])))


def test_two_skies_fail_together_as_often_as_chance_has_it() -> None:
    load = np.array([[[0.2, 0.8], [0.9, 0.0]]] * 3)
    one = Measures(
        np.array([0.9, 0.0]), np.array([0.05, np.nan]), np.array([0.08, np.nan]), np.array([0.8, 0.0]), np.array([1.0, np.nan]), load
    )
    other = Measures(np.array([0.5, 0.5]), np.array([0.03, 0.6]), np.array([0.2, 0.7]), np.array([0.5, 0.4]), np.array([0.25, 0.5]), load)
    found = together([one, other])
    assert found.served == pytest.approx([0.95, 0.5])
    assert found.available == pytest.approx([0.9, 0.4])
    assert found.round_trip_s == pytest.approx([0.03, 0.6])
    assert found.slow_round_trip_s == pytest.approx([0.08, 0.7])
    assert found.at_home == pytest.approx([0.25, 0.5])  # traffic goes by the quickest
    assert found.carried[0] == pytest.approx(np.array([[0.4, 1.0], [1.0, 0.0]]))
    unknown = replace(one, carried=np.full_like(load, np.nan))
    assert together([unknown, other]).carried == pytest.approx(load)  # what is not known adds nothing
    assert np.isnan(together([unknown, unknown]).carried).all()


def test_a_sky_that_two_alternatives_share_is_measured_once() -> None:
    asked: list[SkyDesign] = []
    each = np.full(3, 0.5)
    half = Measures(each, each, each, each, each, np.full((3, 1, 3), np.nan))

    def run(_: MeasureSky, skies: object) -> list[Measures]:
        assert isinstance(skies, list)
        asked.extend(skies)
        return [half for _ in skies]

    few, more = SkyDesign(None, (FEW,), ()), SkyDesign(None, (MORE,), ())
    several = {
        "lease": (Serving(few, 1, 4),),
        "late": (Serving(more, 4, 4),),
        "mix": (Serving(few, 1, 3), Serving(more, 3, 4)),
        "relay": (Serving(few, 1, 2), Serving(more, 3, 4)),
        "fibre": (),
    }
    found = measure(several, DEMAND, 4, run)
    assert asked == [few, more]
    assert set(found) == {"lease", "late", "mix", "relay"}
    assert [found[name].first for name in ("lease", "late", "mix")] == [1, 4, 1]
    assert [found[name].complete_from for name in ("lease", "late", "mix", "relay")] == [1, 4, 3, 1]
    assert found["mix"].complete.available == pytest.approx([0.75] * 3)
    assert found["relay"].complete.available == pytest.approx([0.5] * 3)  # never two at once
    assert found["late"].complete.available == pytest.approx([0.5] * 3)
    assert found["late"].available_over_years == pytest.approx([0.125] * 3)  # one year of four
    assert found["mix"].available_over_years == pytest.approx([(0.5 + 0.5 + 0.75 + 0.5) / 4] * 3)
