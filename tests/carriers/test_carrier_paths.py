"""The catalogue, and a valid, labelled path profile for every carrier and place."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tramontana.carriers.carrier import Carrier, CarrierKind
from tramontana.carriers.catalogue import CARRIERS, FIBRE, KNOWN, SICRAL_2, STARLINK, carrier
from tramontana.carriers.paths import GEOSTATIONARY_OF_CARRIER, GEOSTATIONARY_RADIUS_M, path_profile
from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.ground import Place, mediterranean
from tramontana.space.shells import FILED_EPOCH_UNIX_S, starlink_gen1_as_filed
from tramontana.space.sky import Sky
from tramontana.space.visibility import great_circle_m

START = FILED_EPOCH_UNIX_S + 1000.5
LIGHT_M_PER_S = 299_792_458.0
FIBRE_M_PER_S = LIGHT_M_PER_S * 2 / 3


@pytest.fixture(scope="module")
def sky() -> Sky:
    return Sky(starlink_gen1_as_filed(), seed=3)


@pytest.mark.parametrize("place", [p.id for p in mediterranean().places])
@pytest.mark.parametrize("known", CARRIERS, ids=lambda c: c.id)
def test_every_place_over_every_carrier(sky: Sky, known: Carrier, place: str) -> None:
    profile = path_profile(known, sky.ground.place(place), sky, START, 90.0)
    assert "simulated" in profile.source
    assert (profile.place, profile.carrier) == (place, known.id)
    assert profile.start_unix_s == START
    assert START + 75 <= profile.end_unix_s < START + 90
    assert np.array_equal(PathProfile.parse(profile.to_json()).loss, profile.loss)
    covered = np.isfinite(profile.one_way_delay_s)
    assert np.array_equal(covered, profile.capacity_down_bps > 0)
    reached_by_fibre = known is not FIBRE or not place.startswith("ship")
    assert bool(covered.any()) == reached_by_fibre


def test_geostationary_delay_is_geometry_plus_stated_figures(sky: Sky) -> None:
    """At the point below the satellite the range is its height above the equator: a case that needs no look-angle code."""
    geo = GEOSTATIONARY_OF_CARRIER["sicral-2"]
    below = Place("below", "Below", "", "ship", 0.0, geo.longitude_deg)
    profile = path_profile(SICRAL_2, below, sky, START, 60.0)
    up_m = GEOSTATIONARY_RADIUS_M - 6_378_137.0
    # Law of cosines to the hub, on the ellipsoid's local radius.
    latitude, away = math.radians(geo.hub_latitude_deg), math.radians(geo.hub_longitude_deg - geo.longitude_deg)
    geocentric = math.atan(math.tan(latitude) * (1 - 1 / 298.257223563) ** 2)
    radius = 6_378_137.0 * (1 - math.sin(geocentric) ** 2 / 298.257)
    cosine = math.cos(geocentric) * math.cos(away)
    down_m = math.sqrt(GEOSTATIONARY_RADIUS_M**2 + radius**2 - 2 * GEOSTATIONARY_RADIUS_M * radius * cosine)
    milan = next(p for p in sky.ground.points_of_presence if p.id == "mlnnita1")
    tail_m = great_circle_m(geo.hub_latitude_deg, geo.hub_longitude_deg, milan.latitude_deg, milan.longitude_deg)
    expected = (up_m + down_m) / LIGHT_M_PER_S + tail_m * 1.6 / FIBRE_M_PER_S + geo.access_one_way_s.value
    assert profile.point_of_presence == "Milan"
    np.testing.assert_allclose(profile.one_way_delay_s, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(profile.elevation_deg, 90.0, atol=1e-6)
    assert profile.satellite_names == ("SICRAL 2 (37° E)",)
    assert profile.handover_unix_s.shape == (0,)


def test_a_geostationary_satellite_below_the_horizon_gives_an_outage(sky: Sky) -> None:
    far = Place("far", "Far", "US", "city", 38.9, -77.0)
    profile = path_profile(SICRAL_2, far, sky, START, 60.0)
    assert np.all(np.isnan(profile.one_way_delay_s))
    assert profile.at(START + 30).in_outage
    assert profile.outage_end_unix_s.tolist() == [START + 60]


def test_fibre_delay_grows_with_distance(sky: Sky) -> None:
    delays = {p: path_profile(FIBRE, sky.ground.place(p), sky, START, 30.0).one_way_delay_s[0] for p in ("milan", "rome", "palermo")}
    assert delays["milan"] < delays["rome"] < delays["palermo"] < 0.02
    rome, milan = sky.ground.place("rome"), sky.ground.points_of_presence[0]
    distance = great_circle_m(rome.latitude_deg, rome.longitude_deg, milan.latitude_deg, milan.longitude_deg)
    assert delays["rome"] == pytest.approx(distance * 1.6 / FIBRE_M_PER_S + 0.002, abs=1e-9)


def test_assumptions_travel_with_the_profile(sky: Sky) -> None:
    rome = sky.ground.place("rome")
    for known in CARRIERS:
        assert any("assumption" in note for note in path_profile(known, rome, sky, START, 30.0).notes), known.id


@pytest.mark.parametrize("kind", [CarrierKind.MEO, CarrierKind.DIRECT_TO_CELL])
def test_kinds_without_a_path_model_are_refused(sky: Sky, kind: CarrierKind) -> None:
    with pytest.raises(LocalError, match="no path model for the carrier"):
        path_profile(replace(STARLINK, id="other", kind=kind), sky.ground.place("rome"), sky, START, 30.0)


@pytest.mark.parametrize("known", CARRIERS, ids=lambda c: c.id)
@pytest.mark.parametrize(("start", "duration"), [(START, 0.0), (math.nan, 10.0), (START, math.inf)])
def test_bad_spans_are_refused(sky: Sky, known: Carrier, start: float, duration: float) -> None:
    with pytest.raises(LocalError, match="finite start and a duration"):
        path_profile(known, sky.ground.place("rome"), sky, start, duration)


def test_the_catalogue_agrees_with_the_ground() -> None:
    assert set(STARLINK.landing_countries) == {g.country for g in mediterranean().gateways} >= {"IT", "FR", "ES", "DE", "PL", "TR"}
    assert {c.id for c in CARRIERS if c.kind is CarrierKind.GEO} == set(GEOSTATIONARY_OF_CARRIER)
    assert all(set(c.landing_countries) == set(STARLINK.landing_countries) for c in KNOWN if c.kind is CarrierKind.LEO)
    assert len({c.id for c in KNOWN}) == len(KNOWN)
    assert all(c.source and c.jurisdiction for c in KNOWN)
    assert set(CARRIERS) < set(KNOWN)
    assert all(c.price is None or c.price.source for c in KNOWN)
    assert carrier("fibre") is FIBRE
    with pytest.raises(
        LocalError, match="unknown carrier 'pigeon': use one of starlink, oneweb, kuiper, iridium, iris2, o3b-mpower, sicral-2, fibre, 4g"
    ):
        carrier("pigeon")
