"""What is foreseen of carriers: announced by operators, forecast by a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from tramontana.internet.linux import outlook_process
from tramontana.internet.outlook import (
    AnnouncementsRefused,
    Foreseen,
    Lookout,
    OutlookRequest,
    encode_outlook,
    parse_announcements,
    parse_outlook,
    planned,
)
from tramontana.internet.uplink_choice import SHORTEST_OUTAGE_S, PlannedOutage

CARRIERS = ("starlink", "fibre")
WINDOW = """
[[outage]]
carrier = "fibre"
from = 2026-03-01T02:00:00+01:00
until = 2026-03-01T02:30:00+01:00
reason = "works in the street"
"""


def test_announced_outages_become_plans_on_the_clock_of_the_choice() -> None:
    outlook = parse_announcements(WINDOW, CARRIERS, "announced.toml")
    start = datetime.fromisoformat("2026-03-01T01:00:00+00:00").timestamp()
    assert outlook == {"starlink": (), "fibre": (Foreseen(start=start, end=start + 1800, reason="works in the street"),)}
    handover = {"fibre": (Foreseen(start=start - 5, end=start - 4.95, reason="handover"),)}
    first, second = planned([outlook, handover], "fibre", 100 - start)
    assert (first.start, first.reason, first.is_brief) == (95.0, "handover", True)
    assert second == PlannedOutage(100.0, 1900.0, "works in the street")
    assert planned([outlook, handover], "starlink", 0.0) == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[outage]\n", "is not TOML"),
        (WINDOW.replace("fibre", "sicral-2"), "has no carrier 'sicral-2': use one of fibre, starlink"),
        (WINDOW.replace("02:30", "01:30"), "it ends before it begins"),
        (WINDOW.replace("+01:00", ""), "timezone"),
        (WINDOW + "cause = 1\n", "outage.1.cause is not known here"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_fault(text: str, complaint: str) -> None:
    with pytest.raises(AnnouncementsRefused, match=complaint):
        parse_announcements(text, CARRIERS, "announced.toml")


def test_an_outlook_survives_its_line() -> None:
    outlook = parse_announcements(WINDOW, CARRIERS, "announced.toml")
    assert parse_outlook(encode_outlook(outlook)) == outlook
    with pytest.raises(ValueError, match="JSON"):
        parse_outlook(b"there are no orbital elements\n")


def start(folder: Path, *, simulated: bool) -> subprocess.Popen[bytes]:
    lookout = Lookout(latitude_deg=41.9, longitude_deg=12.5, data=folder, simulated=simulated)
    request = OutlookRequest(lookout=lookout, carriers=("starlink", "4g"))
    command = [sys.executable, "-m", outlook_process.__name__, request.model_dump_json()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_the_process_foresees_handovers_and_ends_with_its_agent(tmp_path: Path) -> None:
    process = start(tmp_path, simulated=True)
    assert process.stdout is not None
    assert process.stdin is not None
    before = time.time()
    outlook = parse_outlook(process.stdout.readline())
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()
    assert "4g" not in outlook
    changes = outlook["starlink"]
    assert {each.reason for each in changes} <= {"handover", "route change"}  # a satellite may land at another gateway as well
    handovers = [each for each in changes if each.reason == "handover"]
    assert len(handovers) >= 3  # a slot is 15 s, and most end with another satellite
    assert all(0 < each.end - each.start < SHORTEST_OUTAGE_S for each in handovers)
    assert all(before - 1 < each.start < time.time() + 301 for each in changes)


def test_real_carriers_are_not_forecast_from_a_constellation_as_filed(tmp_path: Path) -> None:
    process = start(tmp_path, simulated=False)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.startswith(f"there are no orbital elements in {tmp_path}".encode())
