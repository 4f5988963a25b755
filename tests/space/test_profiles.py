"""What fills a path profile: lasers, policy, failures, rain, load, obstructions; and that its pieces join."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.fleet import Floats
from tramontana.space.ground import Ground, Place, mediterranean
from tramontana.space.links import RainClimate, RainLink
from tramontana.space.observers import Obstruction
from tramontana.space.parameters import Parameter, PathParameters
from tramontana.space.path_options import LIVE, PathOptions
from tramontana.space.profiles import merge
from tramontana.space.radio import STARLINK_LIKE
from tramontana.space.routing.failures import Failures
from tramontana.space.routing.policy import Policy
from tramontana.space.routing.routes import Route
from tramontana.space.serving import slot_of, slot_start_unix_s
from tramontana.space.shells import FILED_EPOCH_UNIX_S, starlink_gen1_as_filed
from tramontana.space.sky import Sky
from tramontana.space.weather import Fade, Weather

START = FILED_EPOCH_UNIX_S + 12345.25
GROUND = mediterranean()
ROME = GROUND.place("rome")
ATLANTIC = Place("atlantic", "Ship, mid-Atlantic", "", "ship", 30.0, -40.0)
DESERT = Place("desert", "Sahara", "NE", "city", 19.0, 8.0)
FINLAND = Place("finland", "Finland", "FI", "city", 62.0, 25.0)
SINGAPORE = Place("singapore", "Singapore", "SG", "city", 1.3, 103.8)
ITALY_ONLY = Policy(landing_countries=frozenset({"IT"}))
RAIN = PathOptions(rain=True)
SOMEWHERE = st.builds(lambda lat, lon: Place(f"p{lat:.3f},{lon:.3f}", "P", "", "ship", lat, lon), st.floats(25, 60), st.floats(-40, 45))


class Flooded(Fade):
    """So much rain that no coding bridges it."""

    def total_db(self, times_unix_s: Floats, elevation_deg: Floats) -> Floats:
        return np.full(times_unix_s.shape, 99.0)


def countries(profile: PathProfile) -> set[str]:
    by_name = {gateway.name: gateway.country for gateway in GROUND.gateways}
    return {by_name[profile.gateway_names[g]] for g in set(profile.gateway.tolist()) if g >= 0}


def stormy(sky: Sky, place: Place, start: float = START, days: float = 60.0, options: PathOptions = RAIN) -> float:
    """An instant of heavy rain on the user link of a place."""
    times = start + np.arange(0.0, days * 86400, 120.0)
    fade = sky.weather.at_place(place, STARLINK_LIKE.user_down.link, options.climate)
    return float(times[int(np.argmax(fade.series.normal(times)))])


# Lasers


@pytest.mark.parametrize("place", [ATLANTIC, DESERT], ids=lambda p: p.id)
def test_lasers_carry_where_no_satellite_sees_a_gateway(filed_sky: Sky, place: Place) -> None:
    without = filed_sky.path_profile(place, START, 300.0, options=PathOptions(lasers=False))
    assert np.mean(np.isfinite(without.one_way_delay_s)) < 0.5
    profile = filed_sky.path_profile(place, START, 300.0)
    covered = np.isfinite(profile.one_way_delay_s)
    assert np.mean(covered) > 0.9
    assert profile.source == "simulated, Starlink Gen1 as filed, partly over lasers"
    # Longer than light needs along the ground to the nearest gateway, shorter than a tour of the hemisphere.
    assert np.all((profile.one_way_delay_s[covered] > 0.012) & (profile.one_way_delay_s[covered] < 0.080))
    assert np.all(profile.elevation_deg[covered] >= 24.9)


def test_a_laser_way_agrees_with_the_router(filed_sky: Sky) -> None:
    """At the instant for which the router was asked, satellites, gateway and delay are the router's own."""
    router, compared = filed_sky._router("US"), 0
    for slot in range(slot_of(START), slot_of(START) + 20):
        way, at = filed_sky.way(ATLANTIC, slot), slot_start_unix_s(slot)
        if way is None:
            continue
        route = router.route(ATLANTIC, None, at, serving=way.entry)
        assert isinstance(route, Route)
        if route.satellites == way.satellites:  # else that of the slot's end was taken, because that of its start would not last
            compared += 1
            profile = filed_sky.path_profile(ATLANTIC, at, 1.0)
            assert profile.one_way_delay_s[0] == pytest.approx(route.delay_s, abs=1e-6)
            assert GROUND.gateways[way.gateway].id == route.gateway_id
    assert compared >= 10


def test_serving_tells_of_lasers_and_agrees_with_the_profile(filed_sky: Sky) -> None:
    profile = filed_sky.path_profile(ATLANTIC, START, 60.0)
    for at in (START, START + 20, START + 40):
        serving = filed_sky.serving(ATLANTIC, at)
        state = profile.at(at)
        assert serving is not None
        assert serving.lasers > 0
        assert (serving.satellite, serving.gateway) == (state.serving, state.gateway)
        assert serving.one_way_delay_s == pytest.approx(state.one_way_delay_s, abs=2e-5)
    rome = filed_sky.serving(ROME, START)
    assert rome is not None
    assert rome.lasers == 0


# Policy


@given(place=SOMEWHERE, allowed=st.sets(st.sampled_from(["IT", "FR", "ES", "DE", "PL", "TR", "BG"]), max_size=4), slot=st.integers(0, 5000))
@settings(max_examples=40, deadline=None)
def test_a_policy_is_never_violated(filed_sky: Sky, place: Place, allowed: set[str], slot: int) -> None:
    options = PathOptions(policy=Policy(landing_countries=frozenset(allowed)))
    way = filed_sky.way(place, slot_of(START) + slot, options)
    if way is not None:
        gateway = GROUND.gateways[way.gateway]
        point = GROUND.points_of_presence[GROUND.point_of_presence_of_gateway[way.gateway]]
        assert {gateway.country, point.country} <= allowed
    avoiding = PathOptions(policy=Policy(avoided_countries=frozenset(allowed)))
    way = filed_sky.way(place, slot_of(START) + slot, avoiding)
    if way is not None:
        assert GROUND.gateways[way.gateway].country not in allowed


def test_finland_may_land_in_italy_alone_only_over_lasers(filed_sky: Sky) -> None:
    options = PathOptions(policy=ITALY_ONLY)
    profile = filed_sky.path_profile(FINLAND, START, 120.0, options=options)
    assert countries(profile) == {"IT"}
    assert np.mean(np.isfinite(profile.one_way_delay_s)) > 0.9
    assert profile.point_of_presence == "Milan"
    free = filed_sky.path_profile(FINLAND, START, 120.0)
    assert np.nanmedian(free.one_way_delay_s) < np.nanmedian(profile.one_way_delay_s)  # what the policy costs
    bent = filed_sky.path_profile(FINLAND, START, 120.0, options=replace(options, lasers=False))
    assert countries(bent) <= {"IT"}
    assert not np.isfinite(bent.one_way_delay_s).any()  # rather no path than one that the policy forbids


def test_a_policy_about_jurisdictions_forbids_the_operator_itself(filed_sky: Sky) -> None:
    options = PathOptions(policy=Policy(jurisdictions=frozenset({"IT"})))
    profile = filed_sky.path_profile(ROME, START, 60.0, options=options)
    assert profile.outage_start_unix_s.tolist() == [START]
    assert profile.outage_end_unix_s.tolist() == [START + 60.0]
    own = filed_sky.path_profile(ROME, START, 60.0, options=replace(options, jurisdiction="IT"))
    assert np.isfinite(own.one_way_delay_s).all()


# Failures


@given(place=st.sampled_from([ROME, ATLANTIC, GROUND.place("kyiv")]), start=st.floats(0, 1e5))
@settings(max_examples=8, deadline=None)
def test_removed_satellites_never_serve(filed_sky: Sky, place: Place, start: float) -> None:
    first = slot_of(START + start)
    used = {s for slot in range(first, first + 8) if (way := filed_sky.way(place, slot)) for s in way.satellites}
    options = PathOptions(failures=Failures(satellites=frozenset(used)))
    for slot in range(first, first + 8):
        way = filed_sky.way(place, slot, options)
        assert way is None or not used & set(way.satellites)


def test_a_failed_gateway_or_point_of_presence_is_not_used(filed_sky: Sky) -> None:
    free = filed_sky.path_profile(ROME, START, 300.0)
    assert "Milano" in {free.gateway_names[g] for g in free.gateway.tolist()}
    for failures in (Failures(gateways=frozenset({"milano"})), Failures(points_of_presence=frozenset({"mlnnita1"}))):
        profile = filed_sky.path_profile(ROME, START, 300.0, options=PathOptions(failures=failures))
        assert "Milano" not in {profile.gateway_names[g] for g in profile.gateway.tolist()}
        assert np.isfinite(profile.one_way_delay_s).all()
    assert profile.point_of_presence.find("Milan") < 0


def test_everything_failed_is_an_outage_and_no_error(filed_sky: Sky) -> None:
    everything = (
        Failures(satellites=frozenset(range(filed_sky.satellite_count))),
        Failures(gateways=frozenset(g.id for g in GROUND.gateways)),
    )
    for failures in everything:
        profile = filed_sky.path_profile(ROME, START, 30.0, options=PathOptions(failures=failures))
        assert profile.outage_end_unix_s.tolist() == [START + 30.0]
        assert np.all(profile.capacity_up_bps == 0)


def test_failures_of_what_does_not_exist_are_refused(filed_sky: Sky) -> None:
    for failures in (Failures(satellites=frozenset({4408})), Failures(gateways=frozenset({"rom"}))):
        with pytest.raises(LocalError, match=r"0 to 4407|use one of milano"):
            filed_sky.path_profile(ROME, START, 30.0, options=PathOptions(failures=failures))
    with pytest.raises(LocalError, match="name their satellites"):
        PathOptions(failures=Failures(planes=frozenset({1})))


# Capacity, load, rain


def test_at_the_usual_elevation_a_user_gets_the_published_median(filed_sky: Sky) -> None:
    profile = filed_sky.path_profile(ROME, START, 3600.0)
    usual = np.abs(profile.elevation_deg - 59.5) < 2
    np.testing.assert_allclose(profile.capacity_down_bps[usual], 250e6, rtol=0.1)
    np.testing.assert_allclose(profile.capacity_up_bps[usual], 37e6, rtol=0.1)
    low, high = profile.elevation_deg < 45, profile.elevation_deg > 70
    assert np.mean(profile.capacity_down_bps[low]) < np.mean(profile.capacity_down_bps[high])


def test_load_divides_the_capacity(filed_sky: Sky) -> None:
    busy = PathOptions(load=Parameter(4.0, 0.3, 10.0, "× usual", "test"))
    one, four = filed_sky.path_profile(ROME, START, 60.0), filed_sky.path_profile(ROME, START, 60.0, options=busy)
    np.testing.assert_allclose(one.capacity_down_bps, 4 * four.capacity_down_bps)
    assert any(note.startswith("load 4 × usual") for note in four.notes)
    with pytest.raises(LocalError, match="above 0"):
        PathOptions(load=Parameter(0.0, 0.0, 1.0, "× usual", "test"))


@given(place=st.sampled_from([*GROUND.places[:12], SINGAPORE]), day=st.integers(0, 60))
@settings(max_examples=15, deadline=None)
def test_rain_never_adds_capacity_and_never_lowers_loss(filed_sky: Sky, place: Place, day: int) -> None:
    start = START + day * 86400.0
    clear, rainy = filed_sky.path_profile(place, start, 120.0), filed_sky.path_profile(place, start, 120.0, options=RAIN)
    np.testing.assert_array_equal(clear.serving, rainy.serving)  # the satellite is drawn before the weather is known
    assert np.all(rainy.capacity_down_bps <= clear.capacity_down_bps)
    assert np.all(rainy.capacity_up_bps <= clear.capacity_up_bps)
    assert np.all(rainy.loss >= clear.loss)


@given(elevation=st.floats(25, 90), wet=st.floats(0, 40), wetter=st.floats(0, 40))
def test_more_attenuation_is_never_more_capacity(elevation: float, wet: float, wetter: float) -> None:
    less, more = sorted((wet, wetter))
    parameters, load = PathParameters(), LIVE.load
    at, range_m = np.array([elevation]), np.array([900e3])
    for direction in range(2):
        dry = STARLINK_LIKE.user_bps(parameters, load, at, range_m, (less, less))[direction]
        soaked = STARLINK_LIKE.user_bps(parameters, load, at, range_m, (more, more))[direction]
        assert soaked[0] <= dry[0]
        shares = [STARLINK_LIKE.feeder_share(at, range_m, (0.0, 0.0), (fade, fade))[direction][0] for fade in (less, more)]
        assert 0 <= shares[1] <= shares[0] <= 1


def test_a_storm_over_the_place_is_an_outage_with_a_reason(filed_sky: Sky) -> None:
    tropical = replace(RAIN, climate=RainClimate.at(SINGAPORE.latitude_deg, SINGAPORE.longitude_deg))
    peak = stormy(filed_sky, ROME, options=tropical)
    profile = filed_sky.path_profile(ROME, peak - 900, 1800.0, options=tropical)
    raining = profile.capacity_down_bps == 0
    assert raining.any()
    assert np.isfinite(profile.one_way_delay_s[raining]).all()  # the satellite is there, the link is not
    assert np.all(profile.loss[raining] == 1)
    assert all(profile.in_outage(t) for t in profile.time_unix_s[raining].tolist())
    assert "seeded rain of the climate" in profile.source
    assert any("not the weather of a real day" in note for note in profile.notes)


def test_a_gateway_in_rain_gives_way_to_a_dry_one(filed_sky: Sky) -> None:
    """The weather over Milano is made worse than any; the satellites then land elsewhere, and the same satellites serve."""
    sky = Sky(starlink_gen1_as_filed(), seed=7)
    model = sky.path_model(ROME, options=RAIN)
    first = slot_of(START)
    slots = range(first, first + 40)
    dry = [way for way in model.ways(slots) if way]
    wet_gateway = dry[0].gateway

    class Deluge(Weather):
        """The sky's weather, but no feeder link to one gateway carries anything."""

        def at_gateway(self, index: int, link: RainLink) -> Fade:
            fade = super().at_gateway(index, link)
            return Flooded(fade.series, fade.clear_zenith_db) if index == wet_gateway else fade

    flooded = replace(model, weather=Deluge(GROUND, 7))
    ways = flooded.ways(slots)
    assert [w.entry for w in ways if w] == [w.entry for w in dry]
    moved = [w for w, d in zip(ways, dry, strict=True) if w and d.gateway == wet_gateway]
    assert moved
    assert any(w.gateway != wet_gateway for w in moved)
    assert all(w.gateway == wet_gateway or w.gateway in sky._reach_of(RAIN).gateways for w in moved)


def test_two_users_see_the_same_rain_at_a_gateway(filed_sky: Sky) -> None:
    link = STARLINK_LIKE.feeder_up.link
    times = START + np.arange(0, 86400.0, 60.0)
    here = filed_sky.weather.at_gateway(0, link).series.normal(times)
    filed_sky.weather.at_place(GROUND.place("milan"), link)
    other = Sky(starlink_gen1_as_filed(), seed=filed_sky.seed)
    np.testing.assert_array_equal(here, other.weather.at_gateway(0, link).series.normal(times))
    many = START + np.arange(0, 2e8, 20_000.0)
    milan = filed_sky.weather.at_place(GROUND.place("milan"), link).series.normal(many)
    kyiv = filed_sky.weather.at_place(GROUND.place("kyiv"), link).series.normal(many)
    gateway = filed_sky.weather.at_gateway(0, link).series.normal(many)
    assert np.corrcoef(milan, gateway)[0, 1] == pytest.approx(0.60, abs=0.04)  # 16 km apart
    assert abs(np.corrcoef(kyiv, gateway)[0, 1]) < 0.05


# Obstructions


@given(
    low=st.lists(st.floats(0, 90), min_size=4, max_size=4),
    extra=st.lists(st.floats(0, 40), min_size=4, max_size=4),
    start=st.floats(0, 1e5),
)
@settings(max_examples=15, deadline=None)
def test_a_higher_mask_never_has_fewer_outages(filed_sky: Sky, low: list[float], extra: list[float], start: float) -> None:
    begin = START + start
    small = Obstruction(np.array(low))
    large = Obstruction(np.minimum(90.0, np.array(low) + np.array(extra)))
    less, more = (filed_sky.path_profile(ROME, begin, 120.0, options=PathOptions(obstructions=m)) for m in (small, large))
    np.testing.assert_array_equal(less.serving, more.serving)
    for at in np.linspace(begin, begin + 119, 300):
        assert more.in_outage(at) or not less.in_outage(at)


def test_sectors_of_a_mask(filed_sky: Sky) -> None:
    mask = Obstruction(np.array([30.0, 0.0, 0.0, 60.0]))
    model = filed_sky.path_model(ROME, options=PathOptions(obstructions=mask))
    azimuth, elevation = np.array([0.0, 89.9, 90.0, 269.0, 270.0, 359.9, 10.0, np.nan]), np.array([20.0] * 6 + [40.0, np.nan])
    np.testing.assert_array_equal(model.hidden(azimuth, elevation), [True, True, False, False, True, True, False, False])
    open_sky = filed_sky.path_model(ROME)
    assert not open_sky.hidden(azimuth, elevation).any()


# Pieces and seeds


@given(cuts=st.lists(st.integers(1, 899), min_size=1, max_size=3, unique=True), rain=st.booleans(), place=st.sampled_from([ROME, ATLANTIC]))
@settings(max_examples=12, deadline=None)
def test_pieces_join_without_seam_whatever_the_options(filed_sky: Sky, cuts: list[int], rain: bool, place: Place) -> None:
    options = PathOptions(rain=rain, obstructions=Obstruction(np.array([55.0, 0.0])))
    whole = filed_sky.path_profile(place, START, 900.0, options=options)
    edges = [0, *sorted(cuts), 900]
    parts = [filed_sky.path_profile(place, START + a, float(b - a), options=options) for a, b in pairwise(edges)]
    for name in ("time_unix_s", "one_way_delay_s", "capacity_down_bps", "capacity_up_bps", "loss", "gateway", "handover_unix_s"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-9, atol=1e-6, err_msg=name)
    windows = [w for p in parts for w in zip(p.outage_start_unix_s.tolist(), p.outage_end_unix_s.tolist(), strict=True)]
    joined = merge(windows, START, START + 900)
    np.testing.assert_allclose(joined[:, 0], whole.outage_start_unix_s, atol=1e-6)
    np.testing.assert_allclose(joined[:, 1], whole.outage_end_unix_s, atol=1e-6)


def test_days_come_in_pieces(filed_sky: Sky) -> None:
    pieces = list(filed_sky.path_profiles(ROME, START, 1000.5, piece_s=400.0, options=RAIN))
    assert [p.start_unix_s for p in pieces] == [START, START + 400, START + 800]
    whole = filed_sky.path_profile(ROME, START, 1000.5, options=RAIN)
    np.testing.assert_array_equal(np.concatenate([p.one_way_delay_s for p in pieces]), whole.one_way_delay_s)
    for duration_s, piece_s in ((100.0, 0.5), (100.0, -1.0), (np.nan, 100.0)):
        with pytest.raises(LocalError, match="path profile"):
            next(filed_sky.path_profiles(ROME, START, duration_s, piece_s=piece_s))


@pytest.mark.parametrize("options", [LIVE, RAIN, PathOptions(policy=ITALY_ONLY)], ids=["live", "rain", "italy"])
def test_a_seed_reproduces_and_another_differs(filed_sky: Sky, options: PathOptions) -> None:
    again = Sky(starlink_gen1_as_filed(), seed=7).path_profile(ROME, START, 600.0, options=options)
    other = Sky(starlink_gen1_as_filed(), seed=8).path_profile(ROME, START, 600.0, options=options)
    first = filed_sky.path_profile(ROME, START, 600.0, options=options)
    assert first.to_json() == again.to_json()
    assert first.to_json() != other.to_json()


def test_nothing_is_unsaid(filed_sky: Sky) -> None:
    notes = filed_sky.path_profile(ROME, START, 10.0).notes
    for start in ("weather: a clear sky", "capacity: the published median", "load 1", "handover_outage_s", "random_loss", "Ku user uplink"):
        assert any(note.startswith(start) for note in notes), start


def test_a_ground_of_one_gateway_still_works() -> None:
    one = Ground(GROUND.places, GROUND.gateways[1:2], GROUND.points_of_presence)
    profile = Sky(starlink_gen1_as_filed(), one, seed=1).path_profile(GROUND.place("palermo"), START, 60.0, options=RAIN)
    assert set(profile.gateway.tolist()) <= {0, -1}
