"""What cells of satellites tell phones: within the standard's steps of where the satellites are, at the epoch and when it stops to hold."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cell.test_warning_tshark import read
from tramontana.cell import area as areas
from tramontana.cell.area import Floats
from tramontana.cell.asn1_directory import directory
from tramontana.cell.broadcast_plan import BroadcastPlan, PlanRules, Pointing, Points, plan
from tramontana.cell.ntn_assistance import (
    ANGLE_STEP_RAD,
    AXIS_STEP_M,
    ECCENTRICITY_STEP,
    GPS_TIME_ZERO_UNIX_S,
    SPEED_OF_LIGHT_M_PER_S,
    VALIDITIES_S,
    Assistance,
    BeamAssistance,
    CommonDelay,
    EpochTime,
    Form,
    Orbital,
    ReferenceCell,
    StateVectors,
    of_plan,
    position_after_m,
    worst_position_m,
    worst_velocity_m_per_s,
)
from tramontana.cell.ntn_assistance_asn1 import LTE_DELAY, NR_DELAY, UNIX_SINCE_1900_S, DelaySteps, reference_location, sib19, sib31
from tramontana.errors import LocalError
from tramontana.space.designs import design
from tramontana.space.ephemeris import Ephemeris
from tramontana.space.visibility import itrs_position_m

RINGS = areas.checked([[(42.2, 12.8), (42.2, 13.9), (43.3, 13.9), (43.3, 12.8)]])
START = 1_790_000_000.0
GATEWAY = 42.0, 12.6
LEO_M = 7.4e6
ORBITAL_BOUND_M = LEO_M * (4 * ANGLE_STEP_RAD + 2 * ECCENTRICITY_STEP) / 2 + AXIS_STEP_M
"""Half a step of four angles and of the eccentricity, seen from the Earth's centre."""
MODEL_M_PER_S2 = 2e-4
"""What SGP4 has beside Newton and the Earth's flattening (drag, further harmonics, its own averaging): 1.2e-4 at most was seen on the
design and on the real satellites of May 2026."""
GROWTH = 1.1
"""By how much an error grows beside its own course in four minutes: the pull of the Earth changes with height."""
PARABOLA_US = 0.15
"""A parabola through three distances of ten seconds misses the true one by 8 s³ of its third derivative, at most 0.86 v³/h² where a
satellite passes overhead at h = 358 km with v = 7.3 km/s: 21 m, and 0.14 µs there and back. A cyclic prefix lasts 4.7 µs."""


@pytest.fixture(scope="module")
def ephemeris() -> Ephemeris:
    return Ephemeris(design("starlink-direct-to-cell").fleet())


@pytest.fixture(scope="module", params=list(Pointing))
def made(request: pytest.FixtureRequest, ephemeris: Ephemeris) -> BroadcastPlan:
    return plan(ephemeris, RINGS, Points.of(RINGS), START, PlanRules(pointing=request.param, horizon_s=900.0))


def told(made: BroadcastPlan, ephemeris: Ephemeris, form: Form = "state-vectors") -> tuple[BeamAssistance, ...]:
    """With a gateway where it sees the satellites: beams that are dragged along come from farther away."""
    gateway = GATEWAY if made.rules.pointing is Pointing.EARTH_FIXED else None
    return of_plan(made, ephemeris.propagator, form=form, gateway=gateway)


def true_m(ephemeris: Ephemeris, satellite: int, unix_s: float) -> Floats:
    found: Floats = ephemeris.propagator.positions_itrs_m(np.array([unix_s]), np.array([satellite]))[0, 0]
    return found


metres = st.floats(-43e6, 43e6)
speeds = st.floats(-7800.0, 7800.0)


@given(st.tuples(metres, metres, metres), st.tuples(speeds, speeds, speeds))
def test_steps_cost_no_more_than_half_of_each(position: tuple[float, float, float], velocity: tuple[float, float, float]) -> None:
    found = StateVectors.of(np.array(position), np.array(velocity)).state_itrs()
    assert np.linalg.norm(found[0] - position) <= worst_position_m() * (1 + 1e-9)
    assert np.linalg.norm(found[1] - velocity) <= worst_velocity_m_per_s() * (1 + 1e-9)


@pytest.mark.parametrize(("position", "velocity"), [((5e7, 0, 0), (0, 0, 0)), ((7e6, 0, 0), (0, 8000.0, 0)), ((math.nan, 0, 0), (0, 0, 0))])
def test_a_satellite_that_the_fields_cannot_hold_is_refused(position: tuple[float, ...], velocity: tuple[float, ...]) -> None:
    with pytest.raises(LocalError, match=r"43,600 km"):
        StateVectors.of(np.array(position, dtype=np.float64), np.array(velocity, dtype=np.float64))


@settings(max_examples=60, deadline=None)
@given(
    axis_m=st.floats(6.7e6, LEO_M),
    eccentricity=st.floats(0, 0.014),
    inclination=st.floats(0.01, 1.56),
    node=st.floats(0, 6.28),
    periapsis=st.floats(0, 6.28),
    anomaly=st.floats(0, 6.28),
)
def test_orbital_parameters_lead_back_to_the_state(
    axis_m: float, eccentricity: float, inclination: float, node: float, periapsis: float, anomaly: float
) -> None:
    steps = (axis_m - 6.5e6) / AXIS_STEP_M, eccentricity / ECCENTRICITY_STEP
    given_orbit = Orbital(*(round(x) for x in steps), *(round(x / ANGLE_STEP_RAD) for x in (periapsis, node, inclination, anomaly)))
    position, velocity = given_orbit.state_itrs()
    again, rate = Orbital.of(position, velocity).state_itrs()
    assert np.linalg.norm(again - position) <= ORBITAL_BOUND_M
    assert np.linalg.norm(rate - velocity) <= ORBITAL_BOUND_M * 1.2e-3 * 2  # a low orbit turns by less than 1.2 mrad a second


def test_an_orbit_over_the_poles_has_no_orbital_parameters() -> None:
    state = np.array([7e6, 0.0, 0.0]), np.array([0.0, -1500.0, 7300.0])
    with pytest.raises(LocalError, match="use state vectors"):
        Orbital.of(*state)
    assert StateVectors.of(*state)


@pytest.mark.parametrize("form", ["state-vectors", "orbital"])
def test_what_a_phone_works_out_is_where_the_satellite_is(made: BroadcastPlan, ephemeris: Ephemeris, form: Form) -> None:
    """At the epoch within the steps; later within what the steps grow to and what SGP4 has beside the phone's own sums."""
    beams = told(made, ephemeris, form)
    assert len(beams) == made.dwell.size > 20
    position_m, rate = (
        (worst_position_m(), worst_velocity_m_per_s()) if form == "state-vectors" else (ORBITAL_BOUND_M, ORBITAL_BOUND_M * 2.4e-3)
    )
    for beam in beams[:: max(1, len(beams) // 20)]:
        assert beam.epoch_error_m <= position_m
        for seconds in (0.0, 10.0, 60.0, 240.0):
            found = position_after_m(beam.assistance.ephemeris, seconds)
            error = np.linalg.norm(found - true_m(ephemeris, beam.satellite, beam.begin_unix_s + seconds))
            assert error <= GROWTH * (position_m + rate * seconds) + MODEL_M_PER_S2 * seconds**2 / 2
            if seconds == beam.assistance.validity_s:
                assert error == pytest.approx(beam.error_m, abs=1e-6)


def test_signals_are_back_within_the_offset_from_everywhere_in_the_beam(made: BroadcastPlan, ephemeris: Ephemeris) -> None:
    for beam in told(made, ephemeris)[::5]:
        cell, block = beam.assistance.cell, beam.assistance
        assert cell is not None
        assert cell.moves is (made.rules.pointing is Pointing.EARTH_MOVING)
        slowest = 0.0
        for seconds, bearing in itertools.product((0.0,) if cell.moves else (0.0, block.validity_s), range(0, 360, 45)):
            rim = areas.circle((cell.latitude_deg, cell.longitude_deg), cell.radius_m)[bearing // 10]
            satellite = true_m(ephemeris, beam.satellite, beam.begin_unix_s + seconds)
            away = float(np.linalg.norm(satellite - itrs_position_m(*rim, 0.0)))
            if block.common is not None:
                away += float(np.linalg.norm(satellite - itrs_position_m(*GATEWAY, 0.0)))
            slowest = max(slowest, 2e3 * away / SPEED_OF_LIGHT_M_PER_S)
        assert slowest <= block.k_offset_ms < slowest + 1.3  # rounded up, and the rim taken straight away


@pytest.mark.parametrize("steps", [NR_DELAY, LTE_DELAY])
def test_the_common_delay_is_that_of_the_gateway(steps: DelaySteps, ephemeris: Ephemeris) -> None:
    made = plan(ephemeris, RINGS, Points.of(RINGS), START, PlanRules(horizon_s=300.0))
    ground = itrs_position_m(*GATEWAY, 0.0)
    for beam in told(made, ephemeris)[::3]:
        block = beam.assistance
        assert block.common is not None
        first, drift, variation = steps.of(block.common)
        for seconds in np.linspace(0.0, block.validity_s, 5).tolist():
            phone_us = first * steps.us + drift * steps.us_per_s * seconds + variation * steps.us_per_s2 * seconds**2
            away = np.linalg.norm(true_m(ephemeris, beam.satellite, beam.begin_unix_s + seconds) - ground)
            bound = (steps.us + steps.us_per_s * seconds + steps.us_per_s2 * seconds**2) / 2 + PARABOLA_US
            assert abs(phone_us - 2e6 * float(away) / SPEED_OF_LIGHT_M_PER_S) <= bound


def test_a_gateway_that_sees_no_satellite_is_refused(made: BroadcastPlan, ephemeris: Ephemeris) -> None:
    with pytest.raises(LocalError, match="the gateway does not see every satellite"):
        of_plan(made, ephemeris.propagator, gateway=(-42.0, -167.0))


def test_a_cell_is_told_when_its_satellite_leaves_and_which_one_follows(ephemeris: Ephemeris) -> None:
    made = plan(ephemeris, RINGS, Points.of(RINGS), START, PlanRules(horizon_s=900.0, repetitions=12))
    beams = told(made, ephemeris)
    at = {(beam.begin_unix_s, beam.latitude_deg, beam.longitude_deg): beam for beam in beams}
    followed = 0
    for beam in beams:
        stops = beam.assistance.stops_unix_s
        assert stops is not None
        within = np.arange(beam.begin_unix_s, stops, made.rules.dwell_s).tolist()
        assert {at[moment, beam.latitude_deg, beam.longitude_deg].satellite for moment in within} == {beam.satellite}
        after = at.get((stops, beam.latitude_deg, beam.longitude_deg))
        assert after is None or after.satellite != beam.satellite
        follows = beam.assistance.follows
        assert (follows is None) is (after is None)
        if follows is not None and after is not None:
            followed += 1
            assert follows.ephemeris == after.assistance.ephemeris
    assert followed > 5
    assert made.rules.dwell_s <= beams[0].assistance.validity_s in VALIDITIES_S


def test_an_epoch_is_counted_in_frames_of_ten_milliseconds() -> None:
    zero = GPS_TIME_ZERO_UNIX_S
    assert EpochTime.at(zero, zero) == EpochTime(0, 0)
    assert EpochTime.at(zero + 10.239, zero) == EpochTime(1023, 9)
    assert EpochTime.at(zero + 10.24, zero) == EpochTime(0, 0)
    assert EpochTime.at(1_790_000_000.0, zero) == EpochTime(((1_790_000_000 - 315_964_800 + 18) * 100) % 1024, 0)


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_a_reference_location_is_within_three_metres(latitude: float, longitude: float) -> None:
    octets = reference_location(ReferenceCell(latitude, longitude, 1.0))
    assert len(octets) == 6
    first, second = int.from_bytes(octets[:3], "big"), int.from_bytes(octets[3:], "big") - (1 << 23)
    sign = -1 if first >> 23 else 1
    assert sign * (first & 0x7FFFFF) * 90 / (1 << 23) == pytest.approx(latitude, abs=90 / (1 << 23) + 1e-9)
    assert second * 360 / (1 << 24) == pytest.approx(longitude, abs=360 / (1 << 24) + 1e-9)


def fields(packet: str) -> dict[str, str]:
    """Every field of a dissected packet by its name, the last one of a name."""
    found: dict[str, str] = {}

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            for name, value in part.items():
                if isinstance(value, str):
                    found[name.split(".", 1)[-1]] = value
                walk(value)
        elif isinstance(part, list):
            for each in part:
                walk(each)

    walk(json.loads(packet))
    return found


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing (Debian: apt-get install tshark)")
@pytest.mark.parametrize("form", ["state-vectors", "orbital"])
def test_wireshark_reads_where_the_satellites_are(tmp_path: Path, ephemeris: Ephemeris, made: BroadcastPlan, form: Form) -> None:
    """Its dissectors find nothing malformed, and a satellite worked out from what they read is where SGP4 has it."""
    beams = told(made, ephemeris, form)[::9]
    nr = read(tmp_path, "nr-rrc.bcch.dl.sch", [sib19(beam.assistance, 17) for beam in beams])
    lte = read(tmp_path, "lte_rrc.bcch_dl_sch", [sib31(beam.assistance) for beam in beams])
    for beam, packets in zip(beams, zip(nr, lte, strict=True), strict=True):
        block = beam.assistance
        for shown in map(fields, packets):

            def value(*names: str, shown: dict[str, str] = shown) -> int:
                return next(int(shown[name]) for name in names if name in shown)

            if form == "state-vectors":
                x, y, z = (value(f"position{axis}_r17") for axis in "XYZ")
                vx, vy, vz = (value(f"velocityV{axis}_r17") for axis in "XYZ")
                heard: StateVectors | Orbital = StateVectors((x, y, z), (vx, vy, vz))
            else:
                heard = Orbital(
                    value("semiMajorAxis_r17"),
                    value("eccentricity_r17"),
                    value("periapsis_r17"),
                    value("longitude_r17"),
                    value("inclination_r17"),
                    value("meanAnomaly_r17", "anomaly_r17"),
                )
            end = beam.begin_unix_s + block.validity_s
            error = np.linalg.norm(position_after_m(heard, block.validity_s) - true_m(ephemeris, beam.satellite, end))
            assert error <= GROWTH * (worst_position_m() + worst_velocity_m_per_s() * block.validity_s) + 0.1
            assert value("cellSpecificKoffset_r17", "k_Offset_r17") == block.k_offset_ms
            assert block.epoch is not None
            assert value("sfn_r17", "startSFN_r17") == block.epoch.frame
            assert VALIDITIES_S[value("ntn_UlSyncValidityDuration_r17", "ul_SyncValidityDuration_r17")] == block.validity_s
        if block.stops_unix_s is not None:
            stops = int(fields(packets[0])["t_Service_r17"]) / 100 - UNIX_SINCE_1900_S
            assert stops == pytest.approx(block.stops_unix_s, abs=0.011)


def test_release_18_tells_of_the_next_satellite_and_of_beams_that_move(ephemeris: Ephemeris) -> None:
    vectors = [StateVectors((4_000_000 + step, 900_000, 3_100_000), (5_000, 110_000, -40_000)) for step in (0, 77)]
    after = Assistance(vectors[1], 10, 6, EpochTime(5, 0))
    block = Assistance(vectors[0], 10, 6, None, CommonDelay(4000.0, -20.0, 0.3), ReferenceCell(-42.0, 13.0, 4e4), START, after)
    moving = Assistance(vectors[0], 10, 6, cell=ReferenceCell(42.0, 13.0, 4e4, moves=True))
    pdu = directory("RRCNR").NR_RRC_Definitions.BCCH_DL_SCH_Message

    def heard(octets: bytes) -> dict[str, Any]:
        pdu.from_uper(octets)
        kind, found = pdu.get_val()["message"][1][1]["criticalExtensions"][1]["sib-TypeAndInfo"][0]
        assert kind == "sib19-v1700"
        return dict(found)

    switch = heard(sib19(block, 18))["satSwitchWithReSync-r18"]
    assert switch["ntn-Config-r18"]["ephemerisInfo-r17"][1]["positionX-r17"] == 4_000_077
    assert switch["t-ServiceStart-r18"] == heard(sib19(block, 17))["t-Service-r17"]
    assert "movingReferenceLocation-r18" in heard(sib19(moving, 18))
    assert not {"movingReferenceLocation-r18", "referenceLocation-r17", "satSwitchWithReSync-r18"} & heard(sib19(moving, 17)).keys()
    with pytest.raises(LocalError, match="holds for one of"):
        Assistance(vectors[0], 7, 6)
    with pytest.raises(LocalError, match="1023 ms"):
        Assistance(vectors[0], 10, 1024)
