"""The path profile: reading an instant, the JSON form, and what it refuses."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tramontana.path_profile import PathProfile, PathProfileError


def profile() -> PathProfile:
    """Two satellites, a handover with a 0.1 s outage at t=115, and no coverage from t=130 on."""
    return PathProfile(
        place="rome",
        carrier="starlink",
        source="simulated, test",
        point_of_presence="Milan",
        satellite_names=("A", "B"),
        gateway_names=("G",),
        time_unix_s=np.array([100.0, 110.0, 115.0, 130.0]),
        one_way_delay_s=np.array([0.020, 0.022, 0.030, np.nan]),
        capacity_down_bps=np.array([2e8, 2e8, 1e8, 0.0]),
        capacity_up_bps=np.array([2e7, 2e7, 1e7, 0.0]),
        loss=np.array([0.01, 0.01, 0.02, 1.0]),
        elevation_deg=np.array([50.0, 51.0, 60.0, np.nan]),
        serving=np.array([0, 0, 1, -1], dtype=np.int32),
        gateway=np.array([0, 0, 0, -1], dtype=np.int32),
        outage_start_unix_s=np.array([115.0, 130.0]),
        outage_end_unix_s=np.array([115.1, 145.0]),
        handover_unix_s=np.array([115.0]),
    )


def test_delay_is_linear_under_one_satellite_and_jumps_at_a_handover() -> None:
    path = profile()
    assert path.at(105.0).one_way_delay_s == pytest.approx(0.021)
    assert path.at(114.999).one_way_delay_s == pytest.approx(0.022)
    assert path.at(115.0).one_way_delay_s == pytest.approx(0.030)
    assert path.at(115.0).serving == "B"


def test_the_last_sample_before_coverage_ends_holds() -> None:
    path = replace(profile(), serving=np.array([0, 0, 1, 1], dtype=np.int32))
    assert path.at(129.9).one_way_delay_s == pytest.approx(0.030)
    assert path.at(129.9).in_outage is False


def test_outside_the_samples_the_ends_hold() -> None:
    path = profile()
    assert path.at(0.0).one_way_delay_s == pytest.approx(0.020)
    assert path.at(0.0).in_outage is False
    assert path.at(1e6).in_outage is True
    assert path.at(1e6).serving is None


def test_outage_windows_are_half_open() -> None:
    path = profile()
    assert [path.in_outage(t) for t in (114.99, 115.0, 115.05, 115.1)] == [False, True, True, False]


def test_next_handover() -> None:
    path = profile()
    assert path.next_handover_unix_s(100.0) == 115.0
    assert path.next_handover_unix_s(115.0) is None


def test_json_round_trip_keeps_every_field() -> None:
    path = profile()
    again = PathProfile.parse(path.to_json())
    for name in PathProfile.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(path, name))
    assert json.loads(path.to_json())["one_way_delay_s"][3] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time_unix_s", np.array([])),
        ("time_unix_s", np.array([100.0, 100.0, 115.0, 130.0])),
        ("time_unix_s", np.array([100.0, 110.0, np.nan, 130.0])),
        ("one_way_delay_s", np.array([0.02, -0.01, 0.03, 0.02])),
        ("loss", np.array([0.0, 0.0, 1.5, 0.0])),
        ("loss", np.array([0.0, 0.0, np.nan, 0.0])),
        ("capacity_up_bps", np.array([1.0, 1.0, -1.0, 1.0])),
        ("serving", np.array([0, 0, 2, -1], dtype=np.int32)),
        ("gateway", np.array([0, 0, 0], dtype=np.int32)),
        ("outage_end_unix_s", np.array([115.1])),
        ("outage_end_unix_s", np.array([131.0, 145.0])),
    ],
)
def test_a_malformed_profile_names_its_field(field: str, value: object) -> None:
    with pytest.raises(PathProfileError, match=field.split("_")[0]):
        replace(profile(), **{field: value})  # type: ignore[arg-type]


@given(
    st.text() | st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)).map(json.dumps)
)
def test_parsing_anything_else_is_refused(text: str) -> None:
    with pytest.raises(PathProfileError):
        PathProfile.parse(text)
