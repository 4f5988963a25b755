"""O3b mPOWER, 4G, and rain on demand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tramontana.carriers.catalogue import MOBILE_4G, O3B_MPOWER, SICRAL_2, STARLINK
from tramontana.carriers.downpour import in_rain
from tramontana.carriers.paths import RING_OF_CARRIER, forecast, path_profile
from tramontana.carriers.ring import EQUATORIAL_RADIUS_M
from tramontana.errors import LocalError
from tramontana.forecast import EventKind
from tramontana.space.ground import Place
from tramontana.space.shells import FILED_EPOCH_UNIX_S, starlink_gen1_as_filed
from tramontana.space.sky import Sky

START = FILED_EPOCH_UNIX_S + 1000.5
HOUR = 3600.0


@pytest.fixture(scope="module")
def sky() -> Sky:
    return Sky(starlink_gen1_as_filed(), seed=3)


def test_the_ring_turns_as_kepler_has_it_and_keeps_its_height() -> None:
    ring = RING_OF_CARRIER["o3b-mpower"].ring
    radius_m = EQUATORIAL_RADIUS_M + 8_062e3
    # Period of the orbit, then of its return over the same meridian of the turning Earth.
    period_s = 2 * math.pi * math.sqrt(radius_m**3 / 3.986004418e14)
    again_s = 1 / (1 / period_s - 7.292115e-5 / (2 * math.pi))
    at = ring.positions_itrs_m(np.array([START, START + again_s, START + again_s / ring.count]))
    np.testing.assert_allclose(np.linalg.norm(at, axis=-1), radius_m)
    np.testing.assert_allclose(at[1], at[0], atol=1.0)
    np.testing.assert_allclose(at[2], np.roll(at[0], -1, axis=0), atol=1.0)
    assert 5.9 * HOUR < again_s < 6.1 * HOUR


def test_medium_orbit_has_its_round_trip_and_hands_over_twice_an_hour(sky: Sky) -> None:
    path = path_profile(O3B_MPOWER, sky.ground.place("rome"), sky, START, 6 * HOUR)
    # The air alone: twice the range to a satellite at 24° to 40° above Rome and Thermopylae, both ways.
    round_trip_s = 2 * path.one_way_delay_s
    assert np.all((round_trip_s > 0.125) & (round_trip_s < 0.185))
    assert path.outage_start_unix_s.shape == (0,)
    assert 12 <= path.handover_unix_s.shape[0] <= 14
    assert "simulated" in path.source
    changes = np.flatnonzero(np.diff(path.serving)) + 1
    np.testing.assert_array_equal(path.time_unix_s[changes], path.handover_unix_s)


def test_medium_orbit_does_not_reach_the_far_north_and_says_so(sky: Sky) -> None:
    pole = Place("north", "North", "", "ship", 80.0, 15.0)
    path = path_profile(O3B_MPOWER, pole, sky, START, 60.0)
    assert path.at(START + 30).in_outage
    assert np.all(np.isnan(path.one_way_delay_s))
    assert path.outage_end_unix_s.tolist() == [START + 60]


def test_the_forecast_of_medium_orbit_knows_the_handover(sky: Sky) -> None:
    rome = sky.ground.place("rome")
    at = float(path_profile(O3B_MPOWER, rome, sky, START, HOUR).handover_unix_s[0])
    looked = forecast(O3B_MPOWER, rome, sky, at - 60, 120.0)
    event = looked.next_event(at - 60, frozenset({EventKind.HANDOVER}))
    assert event is not None
    assert abs(event.at_unix_s - at) <= 5.0
    assert looked.outage_within(at - 60, at + 60) == 0.0


def test_a_mobile_network_reaches_the_land_and_no_ship(sky: Sky) -> None:
    rome = path_profile(MOBILE_4G, sky.ground.place("rome"), sky, START, 60.0)
    assert 0.02 < rome.one_way_delay_s[0] < 0.05
    assert rome.capacity_down_bps[0] == 31e6
    ship = next(place for place in sky.ground.places if place.kind == "ship")
    assert path_profile(MOBILE_4G, ship, sky, START, 60.0).at(START).in_outage


@pytest.mark.parametrize("known", [STARLINK, O3B_MPOWER, SICRAL_2], ids=lambda c: c.id)
def test_rain_on_demand_takes_more_the_rarer_it_is(sky: Sky, known: object) -> None:
    rome = sky.ground.place("rome")
    clear = path_profile(known, rome, sky, START, 120.0)  # type: ignore[arg-type]
    left = [
        float(np.mean(in_rain(clear, known, rome, sky, exceedance=share).capacity_up_bps / np.max(clear.capacity_up_bps)))  # type: ignore[arg-type]
        for share in (0.2, 0.01, 1e-4, 1e-5)
    ]
    assert left == sorted(left, reverse=True)
    assert left[-1] < left[0]
    drowned = in_rain(clear, known, rome, sky, exceedance=1e-5)  # type: ignore[arg-type]
    assert "rain on demand" in drowned.source
    out = (drowned.capacity_down_bps <= 0) | (drowned.capacity_up_bps <= 0)
    assert [drowned.in_outage(at) for at in drowned.time_unix_s.tolist()] == [
        bool(o) or clear.in_outage(at) for o, at in zip(out, drowned.time_unix_s.tolist(), strict=True)
    ]


def test_rain_does_not_touch_a_mobile_network(sky: Sky) -> None:
    rome = sky.ground.place("rome")
    clear = path_profile(MOBILE_4G, rome, sky, START, 60.0)
    with pytest.raises(LocalError, match="no rain is modelled"):
        in_rain(clear, MOBILE_4G, rome, sky)
    with pytest.raises(LocalError, match="share of the year"):
        in_rain(path_profile(STARLINK, rome, sky, START, 15.0), STARLINK, rome, sky, exceedance=0.7)
