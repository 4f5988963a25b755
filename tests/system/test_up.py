"""`tramontana up` as a newcomer meets it: what it prints, how it stops, and what it says when something is wrong."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.system.service import Service, free_port, running

pytestmark = pytest.mark.system


def refused(data: Path, *arguments: str, port: int | None = None) -> str:
    """Run `up` where it must fail; returns what it printed, which is never a traceback."""
    service = Service(data, port or free_port(), arguments)
    try:
        assert service.process.wait(60) == 1
    finally:
        service.stop()
    assert "Traceback" not in service.output
    return service.output


def test_it_prints_address_links_and_live_lines_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path / "data") as up:
        assert re.search(rf"Address\s+http://127\.0\.0\.1:{up.port}", up.output)
        assert "simulated" in up.output
        invitations = up.invitations()
        assert len(set(invitations)) == 2
        assert up.administrator_link()
        for expected in (
            r"Starlink Gen1 as filed",
            r"elements as filed, without age",
            r"\d+ satellites in view of Rome",
            r"served by .*elevation \d+°",
            r"one-way delay \d+\.\d ms",
            r"next handover",
            r"0 calls in progress",
        ):
            up.wait_for_line(expected, timeout_s=40)
        children = [up.child_pid(name) for name in ("serve", "relay", "player")]
        assert up.stop() == 0
        for pid in children:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    assert "Accounts and messages are kept" in up.output


def test_a_second_start_keeps_what_was_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data) as first:
        service_id = httpx.get(f"http://127.0.0.1:{first.port}/api/v1/service").json()["service_id"]
    with running(data) as second:
        assert httpx.get(f"http://127.0.0.1:{second.port}/api/v1/service").json()["service_id"] == service_id
        assert set(second.invitations()).isdisjoint(first.invitations())


def test_a_dead_part_is_started_again(tmp_path: Path) -> None:
    with running(tmp_path / "data") as up:
        for name in ("relay", "player", "serve"):
            seen = len(up.lines)
            up.kill_child(name)
            up.wait_for_line(r"ended unexpectedly", after=seen)
            up.wait_for_line(r"runs again", after=seen)
        assert httpx.get(f"http://127.0.0.1:{up.port}/api/v1/service").status_code == 200


def test_parts_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    with running(tmp_path / "data") as up:
        children = [up.child_pid(name) for name in ("serve", "relay", "player")]
        up.process.kill()
        up.process.wait()
        for pid in children:
            subprocess.run(["timeout", "20", "tail", f"--pid={pid}", "-f", "/dev/null"], check=True)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        output = refused(tmp_path / "data", port=port)
    assert str(port) in output
    assert "--port" in output


def test_two_services_do_not_share_a_data_directory(tmp_path: Path) -> None:
    with running(tmp_path / "data"):
        output = refused(tmp_path / "data")
    assert "already" in output


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    output = refused(tmp_path / "file" / "data")
    assert "--data" in output


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o500)
    output = refused(data)
    assert "cannot be written" in output
    assert list(data.iterdir()) == []


def test_a_corrupt_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data):
        pass
    database = data / "tramontana.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(database.read_bytes())
    content[4096 : len(content) // 2] = b"\xa5" * (len(content) // 2 - 4096)
    database.write_bytes(content)
    output = refused(data)
    assert "damaged" in output
    assert database.read_bytes() == bytes(content)


def test_a_malformed_elements_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data):
        pass
    elements = tmp_path / "elements.tle"
    elements.write_text("this is no element set\n")
    load = [sys.executable, "-m", "tramontana.cli.main", "sky", "load", "--data", str(data), str(elements)]
    result = subprocess.run(load, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert elements.name in result.stderr
    with running(data) as up:
        up.wait_for_line(r"as filed", timeout_s=40)
