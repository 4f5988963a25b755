"""The carrier that a fleet flies as, states, forecasts, policies, and rain on a geostationary path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tramontana.carriers.carrier import Carrier
from tramontana.carriers.catalogue import CARRIERS, FIBRE, IRIDIUM, IRIS2, KNOWN, KUIPER, ONEWEB, SICRAL_2, STARLINK, carrier_of, offered
from tramontana.carriers.paths import GEOSTATIONARY_OF_CARRIER, forecast, path_profile, state_now
from tramontana.errors import LocalError
from tramontana.forecast import EventKind
from tramontana.space.designs import DESIGNS, design
from tramontana.space.fleet import Fleet
from tramontana.space.forecast import Measurements
from tramontana.space.ground import Place, mediterranean
from tramontana.space.links import RainClimate, RainLink
from tramontana.space.parameters import Parameter
from tramontana.space.path_options import PathOptions
from tramontana.space.routing.policy import Policy
from tramontana.space.shells import FILED_EPOCH_UNIX_S, Shell, generate, starlink_gen1_as_filed
from tramontana.space.sky import Sky

START = FILED_EPOCH_UNIX_S + 1000.5
ROME = mediterranean().place("rome")
RAIN = PathOptions(rain=True)


@pytest.fixture(scope="module")
def sky() -> Sky:
    return Sky(starlink_gen1_as_filed(), seed=3)


def small(prefix: str) -> Fleet:
    shell = Shell(altitude_km=1200.0, inclination_deg=50.0, planes=8, satellites_per_plane=8, phasing=1)
    return generate((shell,), label=f"{prefix} of a test", source="test", name_prefix=prefix)


# Whose fleet


@pytest.mark.parametrize(
    ("prefix", "known"),
    [("STARLINK", STARLINK), ("ONEWEB", ONEWEB), ("KUIPER", KUIPER), ("IRIDIUM", IRIDIUM), ("IRIS2", IRIS2), ("Starlink", STARLINK)],
)
def test_a_fleet_flies_as_its_own_carrier(prefix: str, known: Carrier) -> None:
    fleet = small(prefix)
    assert carrier_of(fleet) is known
    assert offered(fleet) == (known, SICRAL_2, FIBRE)
    sky = Sky(fleet)
    asked_for_another = path_profile(STARLINK, ROME, sky, START, 30.0)
    assert asked_for_another.carrier == known.id
    assert state_now(STARLINK, ROME, sky, START).carrier is known
    assert forecast(STARLINK, ROME, sky, START, 30.0).carrier == known.id


def test_every_design_and_the_built_in_fleet_have_a_carrier() -> None:
    assert carrier_of(starlink_gen1_as_filed()) is STARLINK
    owners = {one: carrier_of(design(one).fleet()).id for one in DESIGNS if design(one).satellite_count < 8000}
    assert all(owner == one.partition("-")[0] for one, owner in owners.items())


def test_a_fleet_of_nobody_known_is_a_carrier_of_its_own() -> None:
    fleet = small("SICURA")
    unknown = carrier_of(fleet)
    assert (unknown.id, unknown.name, unknown.jurisdiction) == ("loaded-fleet", "SICURA of a test", "")
    assert unknown not in KNOWN
    profile = path_profile(unknown, ROME, Sky(fleet), START, 30.0)
    assert any("stand in for those of SICURA" in note for note in profile.notes)
    lawful = PathOptions(policy=Policy(jurisdictions=frozenset({"IT", "US"})))
    assert not np.isfinite(path_profile(unknown, ROME, Sky(fleet), START, 30.0, options=lawful).one_way_delay_s).any()


def test_a_mixed_fleet_is_nobodys() -> None:
    names = ("ONEWEB 1", "STARLINK 1", "ONEWEB 2", "KUIPER 1")
    fleet = small("X").take(np.arange(4))
    assert carrier_of(replace(fleet, names=names)).id == "loaded-fleet"


def test_narrow_links_stay_narrow() -> None:
    """Iridium's links are some hundred kbit/s whatever the weather; Starlink's budgets must not stand in for them."""
    sky = Sky(design("iridium").fleet(), seed=1)
    profiles = [path_profile(IRIDIUM, ROME, sky, START, 3600.0, options=options) for options in (PathOptions(), RAIN)]
    for profile in profiles:
        assert np.isfinite(profile.one_way_delay_s).any()
        assert np.max(profile.capacity_down_bps) < 1e6
        assert any("L band" in note for note in profile.notes)
        assert "rain" not in profile.source
    np.testing.assert_array_equal(profiles[0].capacity_down_bps, profiles[1].capacity_down_bps)


def test_satellites_without_links_between_them_pass_nothing_on() -> None:
    atlantic = Place("atlantic", "Ship, mid-Atlantic", "", "ship", 30.0, -40.0)
    covered = {
        known.id: np.isfinite(path_profile(known, atlantic, Sky(design(one).fleet()), START, 120.0).one_way_delay_s).any()
        for known, one in ((ONEWEB, "oneweb"), (KUIPER, "kuiper"))
    }
    assert covered == {"oneweb": False, "kuiper": True}


def test_satellites_in_middle_orbit_carry_as_well() -> None:
    sky = Sky(design("iris2").fleet(), seed=1)
    profile = path_profile(IRIS2, ROME, sky, START, 1800.0)
    covered = np.isfinite(profile.one_way_delay_s)
    assert np.mean(covered) > 0.9
    assert np.all(profile.capacity_down_bps[covered] > 0)
    assert any("not known" in note for note in profile.notes)


# State and forecast of every carrier


@pytest.mark.parametrize("known", CARRIERS, ids=lambda c: c.id)
@pytest.mark.parametrize("options", [PathOptions(), RAIN], ids=["clear", "rain"])
def test_state_and_forecast_agree_with_the_profile(sky: Sky, known: Carrier, options: PathOptions) -> None:
    profile = path_profile(known, ROME, sky, START, 120.0, options=options)
    state = state_now(known, ROME, sky, START, options=options)
    ahead = forecast(known, ROME, sky, START, 120.0, options=options)
    assert state.is_up
    assert state.path == profile.at(START)
    assert ahead.delay_s.p50[0] == pytest.approx(state.path.one_way_delay_s, abs=1e-9)
    assert ahead.time_unix_s.shape == (120,)
    assert "simulated" in ahead.source
    assert "simulated" in state.source
    assert ahead.capacity_up_bps.p50[0] == pytest.approx(state.path.capacity_up_bps, rel=0.05)
    with pytest.raises(LocalError, match="finite start and a duration"):
        forecast(known, ROME, sky, START, 4000.0)


def test_measurements_move_the_forecast_of_a_line(sky: Sky) -> None:
    plain = forecast(FIBRE, ROME, sky, START, 30.0)
    assert np.array_equal(plain.delay_s.p10, plain.delay_s.p90)
    assert np.all(plain.outage_probability == 0)
    times = START - np.arange(1.0, 31.0)
    slower = Measurements(times, np.full(30, 2 * (plain.delay_s.p50[0] + 0.003)))
    np.testing.assert_allclose(forecast(FIBRE, ROME, sky, START, 30.0, measured=slower).delay_s.p50, plain.delay_s.p50 + 0.003)
    lost = Measurements(times, np.full(30, np.nan))
    assert forecast(FIBRE, ROME, sky, START, 30.0, measured=lost).outage_probability[0] == 1.0


def test_out_of_reach_is_certain(sky: Sky) -> None:
    ship = mediterranean().place("ship-ionian")
    ahead = forecast(FIBRE, ship, sky, START, 30.0)
    assert np.all(ahead.outage_probability == 1.0)
    assert np.all(np.isnan(ahead.delay_s.p50))
    (gap,) = ahead.events
    assert (gap.kind, gap.confidence) == (EventKind.COVERAGE_GAP, 1.0)
    assert not state_now(FIBRE, ship, sky, START).is_up


# Policy


@pytest.mark.parametrize(
    ("known", "allowed", "forbidden"),
    [
        (STARLINK, Policy(jurisdictions=frozenset({"US"})), Policy(jurisdictions=frozenset({"IT"}))),
        (SICRAL_2, Policy(landing_countries=frozenset({"IT"})), Policy(avoided_countries=frozenset({"IT"}))),
        (FIBRE, Policy(landing_countries=frozenset({"IT"})), Policy(jurisdictions=frozenset({"FR"}))),
    ],
    ids=["starlink", "sicral-2", "fibre"],
)
def test_a_policy_binds_every_carrier(sky: Sky, known: Carrier, allowed: Policy, forbidden: Policy) -> None:
    yes = path_profile(known, ROME, sky, START, 60.0, options=PathOptions(policy=allowed))
    assert np.isfinite(yes.one_way_delay_s).all()
    no = path_profile(known, ROME, sky, START, 60.0, options=PathOptions(policy=forbidden))
    assert not np.isfinite(no.one_way_delay_s).any()
    assert (no.outage_start_unix_s.tolist(), no.outage_end_unix_s.tolist()) == ([START], [START + 60.0])
    assert no.point_of_presence == ""
    lied = PathOptions(policy=forbidden, jurisdiction="IT")  # the carrier's own law counts, not what the options say
    assert not np.isfinite(path_profile(known, ROME, sky, START, 60.0, options=lied).one_way_delay_s).any()


# Rain on a geostationary path


@pytest.fixture
def thin(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """SICRAL 2 with so little margin, and at so high a frequency, that rain matters."""

    def apply() -> None:
        geo = replace(
            GEOSTATIONARY_OF_CARRIER["sicral-2"],
            link=RainLink(30e9, antenna_diameter_m=1.2),
            clear_es_n0_db=Parameter(8.0, 0.0, 15.0, "dB", "test"),
        )
        monkeypatch.setitem(GEOSTATIONARY_OF_CARRIER, "sicral-2", geo)

    return apply


def test_rain_on_a_geostationary_path(sky: Sky, thin: Callable[[], None]) -> None:
    clear = path_profile(SICRAL_2, ROME, sky, START, 86400.0)
    usual = path_profile(SICRAL_2, ROME, sky, START, 86400.0, options=RAIN)
    assert np.all(usual.capacity_down_bps <= clear.capacity_down_bps)
    assert np.all(usual.one_way_delay_s == clear.one_way_delay_s)
    thin()
    tropical = replace(RAIN, climate=RainClimate.at(1.3, 103.8))
    month = path_profile(SICRAL_2, ROME, sky, START, 30 * 86400.0, options=tropical)
    out = month.capacity_down_bps == 0
    assert 0.0005 < np.mean(out) < 0.2
    assert np.all(month.loss[out] == 1)
    assert np.isfinite(month.one_way_delay_s).all()
    for at in month.time_unix_s[out][:50].tolist():
        assert month.in_outage(at)
    halves = [path_profile(SICRAL_2, ROME, sky, START + k * 43200.0, 43200.0, options=tropical) for k in range(2)]
    np.testing.assert_array_equal(
        np.concatenate([half.capacity_up_bps for half in halves]), month.capacity_up_bps[: 2 * halves[0].loss.shape[0]]
    )


def test_a_storm_over_a_geostationary_path_is_foretold(sky: Sky, thin: Callable[[], None]) -> None:
    thin()
    tropical = replace(RAIN, climate=RainClimate.at(1.3, 103.8))
    month = path_profile(SICRAL_2, ROME, sky, START, 30 * 86400.0, options=tropical)
    at = float(month.time_unix_s[int(np.argmax(month.capacity_down_bps == 0))])
    ahead = forecast(SICRAL_2, ROME, sky, at, 1800.0, options=tropical)
    assert ahead.outage_probability[0] == pytest.approx(1.0, abs=1e-6)
    assert 0.0 < ahead.outage_probability[-1] < 0.95
    assert ahead.capacity_down_bps.p90[-1] > 0
    assert [event.kind for event in ahead.events] == [EventKind.RAIN]
    dry = forecast(SICRAL_2, ROME, sky, at, 1800.0)
    assert dry.events == ()
    assert np.all(dry.capacity_down_bps.p10 >= ahead.capacity_down_bps.p90 - 1e-6)


def test_load_is_felt_on_every_satellite(sky: Sky) -> None:
    busy = PathOptions(load=Parameter(2.0, 0.3, 10.0, "× usual", "test"))
    for known in (STARLINK, SICRAL_2):
        one, two = path_profile(known, ROME, sky, START, 30.0), path_profile(known, ROME, sky, START, 30.0, options=busy)
        np.testing.assert_allclose(one.capacity_down_bps, 2 * two.capacity_down_bps)


def test_places_on_the_other_side_are_not_reached(sky: Sky) -> None:
    far = Place("far", "Far", "US", "city", 38.9, -77.0)
    assert not state_now(SICRAL_2, far, sky, START).is_up
    assert np.all(forecast(SICRAL_2, far, sky, START, 30.0, options=RAIN).outage_probability == 1.0)
