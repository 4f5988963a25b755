"""The facade: serving now and next, path profiles that are whole, seamless and true to the geometry."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tramontana.errors import LocalError
from tramontana.path_profile import PathProfile
from tramontana.space.elements import parse_elements
from tramontana.space.ground import Ground, Place, mediterranean
from tramontana.space.parameters import Parameter, PathParameters
from tramontana.space.path_options import PathOptions
from tramontana.space.serving import slot_of, slot_start_unix_s
from tramontana.space.shells import FILED_EPOCH_UNIX_S, starlink_gen1_as_filed
from tramontana.space.sky import LOOKAHEAD_SLOTS, Sky
from tramontana.space.visibility import itrs_position_m

START = FILED_EPOCH_UNIX_S + 12345.25
ROME = mediterranean().place("rome")
BENT_PIPE = PathOptions(lasers=False)
NOWHERE = Place("atlantic", "Ship, mid-Atlantic", "", "ship", 30.0, -40.0)


@pytest.fixture(scope="module")
def profile(filed_sky: Sky) -> PathProfile:
    return filed_sky.path_profile(ROME, START, 1800.0)


def test_the_face_of_the_sky(filed_sky: Sky) -> None:
    assert filed_sky.label == "Starlink Gen1 as filed"
    assert filed_sky.provenance == "filed"
    assert filed_sky.satellite_count == 4408
    assert filed_sky.elements_epoch_unix_s == FILED_EPOCH_UNIX_S
    assert filed_sky.age_s(START) is None
    positions = filed_sky.positions_itrs_m(np.array([START, START + 5]))
    assert positions.shape == (2, 4408, 3)
    assert np.all(np.linalg.norm(positions[1] - positions[0], axis=-1) < 5 * 8000)


def test_age_of_real_elements() -> None:
    lines = (
        "1 25544U 98067A   08264.51782528 -.00002182  00000-0 -11606-4 0  2927\n"
        "2 25544  51.6416 247.4627 0006703 130.5360 325.0288 15.72125391563537"
    )
    sky = Sky(parse_elements(lines.encode(), name="iss").fleet)
    assert sky.provenance == "elements"
    assert sky.age_s(sky.elements_epoch_unix_s + 86400) == pytest.approx(86400, abs=1e-3)
    assert sky.elements_epoch_unix_s == pytest.approx(1221913540.104192, abs=1e-3)


def test_serving_is_consistent_with_geometry_and_the_profile(filed_sky: Sky, profile: PathProfile) -> None:
    for at in START + np.arange(0, 600, 37.0):
        serving = filed_sky.serving(ROME, at)
        assert serving is not None
        state = profile.at(at)
        assert state.serving == serving.satellite
        assert state.gateway == serving.gateway
        assert state.one_way_delay_s == pytest.approx(serving.one_way_delay_s, abs=2e-5)
        position = filed_sky.positions_itrs_m(np.array([at]))[0, serving.satellite_index]
        user = np.linalg.norm(position - itrs_position_m(ROME.latitude_deg, ROME.longitude_deg))
        assert serving.slant_range_m == pytest.approx(float(user), abs=0.01)
        site = next(g for g in filed_sky.ground.gateways if g.id == serving.gateway_id)
        air = user + np.linalg.norm(position - itrs_position_m(site.latitude_deg, site.longitude_deg))
        index = filed_sky.ground.gateways.index(site)
        fibre = filed_sky.ground.backhaul_m[index] * 1.6 / (299792458 * 2 / 3)
        access = PathParameters().access_one_way_s.value
        assert serving.one_way_delay_s == pytest.approx(air / 299792458 + fibre + access, abs=1e-9)
        assert serving.slot_start_unix_s <= at < serving.next_slot_unix_s
        assert serving.next_handover_unix_s == profile.next_handover_unix_s(at)
        if serving.next_handover_unix_s is not None:
            following = filed_sky.serving(ROME, serving.next_handover_unix_s)
            assert serving.next_satellite_index == (following.satellite_index if following else None)


def test_a_handover_beyond_the_lookahead_is_none() -> None:
    """A geostationary-like fleet of one: its satellite never changes."""
    row = (
        '[{"OBJECT_NAME":"GEO","NORAD_CAT_ID":1,"EPOCH":"2026-01-01T00:00:00","MEAN_MOTION":1.00273791,"ECCENTRICITY":0.0,'
        '"INCLINATION":0.01,"RA_OF_ASC_NODE":113.0,"ARG_OF_PERICENTER":0,"MEAN_ANOMALY":0,"BSTAR":0}]'
    )
    sky = Sky(parse_elements(row.encode(), name="geo").fleet)
    serving = sky.serving(ROME, FILED_EPOCH_UNIX_S)
    assert serving is not None
    assert serving.next_handover_unix_s is None
    assert serving.next_satellite_index is None
    assert LOOKAHEAD_SLOTS * 15 == 360
    quiet = sky.path_profile(ROME, FILED_EPOCH_UNIX_S, 120)
    assert quiet.handover_unix_s.shape == (0,)
    assert np.all(quiet.capacity_down_bps == 0), "a low orbit's link budget does not close over 37,000 km"


def test_the_profile_is_whole(profile: PathProfile) -> None:
    assert profile.source == "simulated, Starlink Gen1 as filed"
    assert profile.time_unix_s[0] == START
    assert profile.end_unix_s < START + 1800
    assert np.max(np.diff(profile.time_unix_s)) <= 1.0 + 1e-6
    boundaries = [slot_start_unix_s(s) for s in range(slot_of(START) + 1, slot_of(START + 1800) + 1)]
    assert np.isin(boundaries, profile.time_unix_s).all()
    assert np.isin(profile.handover_unix_s, boundaries).all()
    assert 60 < profile.handover_unix_s.shape[0] < 120
    milliseconds = profile.one_way_delay_s * 1e3
    assert np.all((milliseconds > 10) & (milliseconds < 30))
    assert np.all((profile.elevation_deg >= 25) & (profile.elevation_deg <= 90))
    assert np.all(profile.loss == 0.005)
    assert any("assumption" in note for note in profile.notes)
    parsed = PathProfile.parse(profile.to_json())
    np.testing.assert_array_equal(parsed.one_way_delay_s, profile.one_way_delay_s)


def test_every_handover_has_its_outage_and_nothing_else_has(profile: PathProfile) -> None:
    np.testing.assert_array_equal(profile.outage_start_unix_s, profile.handover_unix_s)
    np.testing.assert_allclose(profile.outage_end_unix_s - profile.outage_start_unix_s, 0.05, atol=1e-6)
    who = list(zip(profile.serving.tolist(), profile.gateway.tolist(), strict=True))
    changes = [t for t, a, b in zip(profile.time_unix_s[1:].tolist(), who, who[1:], strict=False) if a != b]
    assert changes == profile.handover_unix_s.tolist()


@given(cut=st.integers(1, 599), slack=st.floats(0, 0.99))
@settings(max_examples=25, deadline=None)
def test_windows_join_without_seam(filed_sky: Sky, cut: int, slack: float) -> None:
    start = START + slack
    whole = filed_sky.path_profile(ROME, start, 600.0)
    left, right = filed_sky.path_profile(ROME, start, float(cut)), filed_sky.path_profile(ROME, start + cut, 600.0 - cut)
    for name in ("time_unix_s", "one_way_delay_s", "elevation_deg", "gateway", "handover_unix_s"):
        joined = np.concatenate([getattr(left, name), getattr(right, name)])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=0, atol=1e-6, err_msg=name)
    served = [p.satellite_names[i] for p in (left, right) for i in p.serving.tolist()]
    assert served == [whole.satellite_names[i] for i in whole.serving.tolist()]
    for at in np.linspace(start, start + 599, 500):
        part = left if at < start + cut else right
        assert part.in_outage(at) == whole.in_outage(at)


def test_without_coverage_the_profile_is_one_outage(filed_sky: Sky) -> None:
    profile = filed_sky.path_profile(NOWHERE, START, 100.0, options=BENT_PIPE)
    assert np.all(np.isnan(profile.one_way_delay_s))
    assert np.all(profile.serving == -1)
    assert np.all(profile.loss == 1.0)
    assert np.all(profile.capacity_down_bps == 0)
    assert profile.outage_start_unix_s.tolist() == [START]
    assert profile.outage_end_unix_s.tolist() == [START + 100]
    assert profile.handover_unix_s.shape == (0,)
    assert profile.point_of_presence == ""
    assert profile.at(START + 50).in_outage


def test_coverage_that_comes_and_goes(filed_sky: Sky) -> None:
    """Far to the south of the gateways satellites that also see one are rare: both kinds of slots occur, and the outages cover the gaps."""
    edge = Place("edge", "Sahara", "LY", "city", 24.5, 14.0)
    profile = filed_sky.path_profile(edge, START, 3600.0, options=BENT_PIPE)
    covered = np.isfinite(profile.one_way_delay_s)
    assert 0.05 < np.mean(covered) < 0.95
    for at, fine in zip(profile.time_unix_s.tolist(), covered.tolist(), strict=True):
        assert fine or profile.in_outage(at)
    starts, ends = profile.outage_start_unix_s, profile.outage_end_unix_s
    assert np.all(starts[1:] > ends[:-1])


def test_parameters_are_used() -> None:
    zero = Parameter(0.0, 0.0, 1.0, "s", "test")
    quick = replace(PathParameters(), access_one_way_s=zero, handover_outage_s=zero, random_loss=zero)
    fleet = starlink_gen1_as_filed()
    slow, fast = Sky(fleet).path_profile(ROME, START, 60), Sky(fleet, parameters=quick).path_profile(ROME, START, 60)
    np.testing.assert_allclose(slow.one_way_delay_s - fast.one_way_delay_s, PathParameters().access_one_way_s.value, atol=1e-9)
    assert fast.outage_start_unix_s.shape == (0,)
    assert fast.handover_unix_s.shape == slow.handover_unix_s.shape
    assert not any(note.startswith(("access_one_way_s", "random_loss", "handover_outage_s")) for note in fast.notes)


@pytest.mark.parametrize(("start", "duration"), [(math.nan, 10), (math.inf, 10), (START, 0), (START, -1), (START, math.nan), (START, 1e9)])
def test_bad_spans_are_refused(filed_sky: Sky, start: float, duration: float) -> None:
    with pytest.raises(LocalError, match="finite start and a duration"):
        filed_sky.path_profile(ROME, start, duration)


def test_bad_instants_are_refused(filed_sky: Sky) -> None:
    with pytest.raises(LocalError, match="finite"):
        filed_sky.serving(ROME, math.nan)
    with pytest.raises(LocalError, match="finite"):
        filed_sky.positions_itrs_m(np.array([START, math.inf]))


def test_a_value_outside_its_range_is_refused() -> None:
    with pytest.raises(LocalError, match="outside its own range"):
        Parameter(2.0, 0.0, 1.0, "s", "test")


def test_every_figure_names_its_source() -> None:
    parameters = PathParameters()
    for name in parameters.__dataclass_fields__:
        assert len(getattr(parameters, name).source) > 10
    assert {note.split()[0] for note in parameters.assumptions()} == {"random_loss", "handover_outage_s"}


def test_the_ground_is_well_formed() -> None:
    ground = mediterranean()
    assert ground.places[0].id == "rome"
    assert {g.id for g in ground.gateways if g.country == "IT"} == {"milano", "marsala", "foggia"}
    assert all(g.minimum_elevation_deg == 25 and g.source for g in ground.gateways)
    assert all("peeringdb.com/fac/" in p.source for p in ground.points_of_presence)
    for gateway, index in zip(ground.gateways, ground.point_of_presence_of_gateway, strict=True):
        assert ground.points_of_presence[index].country == {"FR": "ES", "TR": "BG"}.get(gateway.country, gateway.country), gateway.id
    assert ground.backhaul_m.shape == (len(ground.gateways),)
    assert {p.kind for p in ground.places} == {"city", "embassy", "ship"}
    with pytest.raises(LocalError, match=r"unknown place 'atlantis': use one of rome, milan"):
        ground.place("atlantis")
    with pytest.raises(LocalError, match="at least one gateway"):
        Ground(ground.places, (), ground.points_of_presence)
    with pytest.raises(LocalError, match="unique: rome"):
        Ground((ROME, ROME), ground.gateways, ground.points_of_presence)
    for bad in ((91.0, 0.0, 0.0), (0.0, 181.0, 0.0), (math.nan, 0.0, 0.0), (0.0, 0.0, 1e6)):
        with pytest.raises(LocalError, match="latitude"):
            Place("x", "X", "", "city", *bad)


def test_half_an_hour_of_profile_takes_little_processor_time() -> None:
    """About 0.06 s; the bound of 2 s of processor time only catches a lost prefilter (which costs 10 times as much on a larger fleet)."""
    sky = Sky(starlink_gen1_as_filed(), seed=99)
    before = time.process_time()
    sky.path_profile(ROME, START + 86400, 1800.0)
    assert time.process_time() - before < 2.0
