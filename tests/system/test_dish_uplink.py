"""A site asks its uplink's Starlink terminal, which is none but speaks its protocol, through the kill switch, and what it says counts."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlink_grpc", reason="reading a Starlink terminal needs the package starlink-grpc-core")

from tests.cli.fake_dish import CAUSES, fake_dish
from tests.system.routers import Routers, missing_for_routers, routers
from tramontana.internet.dish import PORT

MISSING = missing_for_routers()
pytestmark = [pytest.mark.system, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]
TERMINAL = "192.168.100.1"
WELL: dict[str, Any] = {"device_info": {"hardware_version": "rev4"}, "obstruction_stats": {"currently_obstructed": False}}


def _said(network: Routers) -> dict[str, Any]:
    return dict((network.site.status() or {"dishes": [{}]})["dishes"][0])


def _carrying(network: Routers) -> int | None:
    return ((network.site.status() or {}).get("carrying") or {}).get("uplink")


def _reasons(network: Routers) -> list[str]:
    return [each["reason"] for each in (network.site.status() or {})["history"] if each["from"] is not None]


def test_a_terminal_is_asked_through_the_kill_switch_and_believed_where_probes_do_not_know_better(tmp_path: Path) -> None:
    answers = {"dish_get_status": WELL}
    with routers(tmp_path) as network:
        text = network.site.config.read_text()
        network.site.config.write_text(text.replace('interface = "up1"', f'interface = "up1"\ndish = "{TERMINAL}"'))
        network.ip("sky", "address", "add", f"{TERMINAL}/32", "dev", "lo")
        with network.namespace("sky").entered():
            terminal = fake_dish(answers, at=f"{TERMINAL}:{PORT}")
            terminal.__enter__()
        try:
            with network.capture() as capture:
                network.gateway.start()
                network.site.start()
                network.wait_until_up()
                network.wait_for(lambda: _said(network)["state"] == "CONNECTED", "the terminal answers")
                network.wait_for(lambda: _carrying(network) == 1, "the preferred carrier carries")

                answers["dish_get_status"] = {**WELL, "outage": {"cause": CAUSES.index("STOWED")}}
                network.wait_for(lambda: _said(network)["state"] == "STOWED", "the terminal says that it is out")
                moved = _reasons(network)
                assert _carrying(network) == 1  # probes are answered all the same

                network.block("ip daddr 203.0.113.0/24", uplinks=(1,))
                network.wait_for(lambda: _carrying(network) == 2, "traffic has moved")
                assert "Starlink" in _reasons(network)[len(moved)]
                with network.namespace("under").entered(), socket.socket() as stranger:
                    stranger.settimeout(2)
                    with pytest.raises(OSError):  # noqa: PT011 - unreachable, or no answer: the agent alone gets through
                        stranger.connect((TERMINAL, PORT))
            towards = [frame for frame in capture.others if frame[60:68] == socket.inet_aton(TERMINAL).hex()]
            assert towards
            assert len(towards) == len(capture.others)
            assert all(frame[46:48] == "06" for frame in towards)
            words = ["-m", "tramontana.cli.main", "site", "dish", "--address", f"unix:{network.site.state}/dish-1.sock"]
            assert "STOWED" in subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, timeout=120).stdout
        finally:
            terminal.__exit__(None, None, None)
        network.wait_for(lambda: _said(network)["fault"], "a terminal that is gone says nothing")
        assert _said(network)["state"] is None
