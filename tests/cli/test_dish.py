"""The Starlink terminal as the site reads it: a real gRPC server that speaks its protocol, of today's and of poorer firmware."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("starlink_grpc", reason="reading a Starlink terminal needs the package starlink-grpc-core")

import starlink_grpc

from tests.cli.fake_dish import TODAY, fake_dish, poorer
from tramontana.cli.dish import dish
from tramontana.errors import LocalError
from tramontana.internet.dish import DishOutage, read_dish
from tramontana.internet.linux.dish_process import ask_dish

STATUS: dict[str, Any] = {
    "device_info": {"id": "ut0", "hardware_version": "rev4_prod1", "software_version": "2026.11.1"},
    "device_state": {"uptime_s": 7200},
    "obstruction_stats": {"currently_obstructed": False, "fraction_obstructed": 0.0125},
    "alerts": {"thermal_throttle": True},
    "pop_ping_drop_rate": 0.25,
    "pop_ping_latency_ms": 31.5,
    "downlink_throughput_bps": 2.5e6,
    "uplink_throughput_bps": 1e6,
    "boresight_azimuth_deg": 10.5,
    "boresight_elevation_deg": 70.25,
}
ANSWERS = {
    "dish_get_status": STATUS,
    "dish_get_history": {
        "current": 9,
        "outages": [
            {"cause": 4, "duration_ns": 1_500_000_000},
            {"cause": 5, "duration_ns": 500_000_000},
            {"cause": 4, "duration_ns": 10**9},
        ],
    },
    "dish_get_obstruction_map": {"num_rows": 2, "num_cols": 3, "snr": [1.0, 0.0, -1.0, 0.75, 1.0, -1.0]},
}


@pytest.fixture(autouse=True)
def _reflect_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package keeps the protocol that it saw first; each terminal here has its own."""
    monkeypatch.setattr(starlink_grpc, "imports_pending", True)


def test_everything_that_todays_firmware_says_is_read() -> None:
    with fake_dish(ANSWERS) as address:
        found = ask_dish(address)
    assert (found.state, found.is_connected) == ("CONNECTED", True)
    assert (found.hardware, found.software, found.uptime_s) == ("rev4_prod1", "2026.11.1", 7200)
    assert found.round_trip_s == pytest.approx(0.0315)
    assert (found.loss, found.down_bps, found.up_bps) == (0.25, 2.5e6, 1e6)
    assert (found.boresight_azimuth_deg, found.boresight_elevation_deg) == (10.5, 70.25)
    assert found.obstructed_share == pytest.approx(0.0125)
    assert found.is_obstructed is False
    assert found.alerts == ("thermal_throttle",)
    assert found.outages == (DishOutage("OBSTRUCTED", 1.5), DishOutage("NO_DOWNLINK", 0.5), DishOutage("OBSTRUCTED", 1.0))
    assert found.obstruction_map is not None
    assert found.obstruction_map.rows == ((1.0, 0.0, None), (0.75, 1.0, None))
    assert found.obstruction_map.seen_share == pytest.approx(4 / 6)
    assert found.obstruction_map.blocked_share == 0.25
    assert found.missing == ()


def test_an_outage_is_the_state_in_the_operators_words() -> None:
    with fake_dish({**ANSWERS, "dish_get_status": {**STATUS, "outage": {"cause": 1}}}) as address:
        assert ask_dish(address).state == "BOOTING"


def test_fields_that_firmware_removed_are_missing_and_the_rest_stays() -> None:
    protocol = poorer(
        "DishGetStatusResponse.obstruction_stats",
        "DishGetStatusResponse.pop_ping_latency_ms",
        "DishGetStatusResponse.alerts",
        "DishGetHistoryResponse.outages",
    )
    status = {name: value for name, value in STATUS.items() if name in protocol["DishGetStatusResponse"]}
    with fake_dish({"dish_get_status": status, "dish_get_history": {"current": 1}}, protocol) as address:
        found = ask_dish(address)
        shown = CliRunner().invoke(dish, ["--address", address], standalone_mode=False)
    assert set(found.missing) == {"obstructed_share", "is_obstructed", "round_trip_s", "outages", "obstruction_map"}
    assert found.is_connected
    assert found.down_bps == 2.5e6
    assert found.alerts == ()
    assert shown.exception is None
    assert "Not told" in shown.output


def test_a_terminal_for_people_and_for_programs() -> None:
    with fake_dish(ANSWERS) as address:
        text = CliRunner().invoke(dish, ["--address", address], standalone_mode=False).output
        document = json.loads(CliRunner().invoke(dish, ["--address", address, "--json"], standalone_mode=False).output)
    assert "CONNECTED, up for 2.0 h" in text
    assert "2 × OBSTRUCTED (2.5 s), 1 × NO_DOWNLINK (0.5 s)" in text
    assert "25.0% of the directions seen (67% of all)" in text
    assert document["alerts"] == ["thermal_throttle"]
    assert document["obstruction_map"]["rows"][0] == [1.0, 0.0, None]


def test_where_no_terminal_answers_it_says_so() -> None:
    with fake_dish({}, TODAY) as address, pytest.raises(LocalError, match="no Starlink terminal answers"):
        ask_dish(address)


def test_nonsense_is_nothing() -> None:
    found = read_dish(
        {"uptime": float("nan"), "pop_ping_drop_rate": True, "state": 7, "currently_obstructed": 1}, {"alert_x": 1}, None, [[2.0]]
    )
    assert (found.uptime_s, found.loss, found.state, found.is_obstructed, found.alerts) == (None, None, None, None, ())
    assert found.obstruction_map is not None
    assert found.obstruction_map.blocked_share is None
