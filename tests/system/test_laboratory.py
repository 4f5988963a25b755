"""`tramontana lab` as a user has it: real namespaces, a real path player, real packets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tramontana.cli.lab_network import HOSTS, INTERNET_HOST, LabError, Network
from tramontana.cli.lab_run import ask, directory
from tramontana.network_namespace import NAMESPACES, within

PATIENCE_S = 90.0
NETWORK = Network(f"t{os.getpid()}")
COMMAND = [sys.executable, "-m", "tramontana.cli.main", "lab"]

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("nft") or not Path("/dev/net/tun").exists(),
        reason="the laboratory needs root, iproute2, nftables and /dev/net/tun",
    ),
]


@contextmanager
def laboratory(tmp_path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, "up", "--data", str(tmp_path), *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ready"):
                break
        else:
            pytest.fail(f"the laboratory did not come up: {lines}")
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with laboratory(tmp_path_factory.mktemp("lab"), "--plain", "--name", NETWORK.name):
        yield
    assert NETWORK.leftovers() == []
    assert not directory(NETWORK.name).exists()


def asked(op: str, carrier: str | None = None, **more: Any) -> dict[str, Any]:
    return ask(NETWORK.name, {"op": op, "carrier": carrier, **more})


def until(condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while not condition(status := asked("status")):
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    return status


def of(status: dict[str, Any], carrier: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in status["carriers"] if each["carrier"] == carrier)
    return found


def heard(status: dict[str, Any], carrier: str) -> bool:
    return bool(of(status, carrier)["measured"]["heard_last"])


def udp(host: str, address: str, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    with within(NETWORK.namespace(host)):
        opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.bind((address, 0))
    opened.settimeout(0.3)
    return opened


def receive(here: socket.socket, send: Callable[[], object]) -> tuple[bytes, str]:
    """What comes and from where; sent again until something does, because a path loses packets now and then."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        send()
        try:
            data, sender = here.recvfrom(100)
        except TimeoutError:
            assert time.monotonic() < deadline
        else:
            return data, sender[0]


def test_three_carriers_with_the_delay_of_their_paths(lab: None) -> None:
    status = until(lambda s: all(heard(s, c["carrier"]) for c in s["carriers"]) and s["lan_to_internet"]["heard_last"])
    assert [c["carrier"] for c in status["carriers"]] == ["starlink", "o3b-mpower", "4g"]
    for carrier in status["carriers"]:
        # Never faster than its path; the path moves by some milliseconds within the ten seconds that count.
        assert carrier["measured"]["round_trip_ms"] > carrier["path_round_trip_ms"] - 15
        assert "simulated" in carrier["source"]
    trips = {c["carrier"]: c["measured"]["round_trip_ms"] for c in status["carriers"]}
    assert trips["starlink"] < trips["o3b-mpower"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def test_the_lan_reaches_the_internet_over_the_carrier_in_use(lab: None, family: socket.AddressFamily) -> None:
    address = INTERNET_HOST[family == socket.AF_INET6]
    with udp("internet", address, family) as there, udp("lan", "" if family == socket.AF_INET else "::", family) as here:
        data, sender = receive(there, lambda: here.sendto(b"hello", there.getsockname()[:2]))
    assert data == b"hello"
    assert sender == ("198.18.1.2" if family == socket.AF_INET else "2001:db8:c1::2")


def test_a_cut_silences_one_carrier_alone_and_restore_brings_it_back(lab: None) -> None:
    until(lambda s: heard(s, "starlink") and heard(s, "o3b-mpower"))
    asked("cut", "starlink")
    status = until(lambda s: not heard(s, "starlink") and not s["lan_to_internet"]["heard_last"])
    assert of(status, "starlink")["treatment"] == "cut"
    assert heard(status, "4g")
    asked("use", "4g")
    until(lambda s: bool(s["lan_to_internet"]["heard_last"]))
    asked("restore", "starlink")
    asked("use", "starlink")
    until(lambda s: heard(s, "starlink") and s["lan_to_internet"]["heard_last"])


def test_rain_drowns_ka_band_thins_ku_band_and_spares_4g(lab: None) -> None:
    before = of(asked("status"), "starlink")["capacity_down_mbps"]
    assert asked("rain", "o3b-mpower", exceedance=1e-4)["in_outage"]
    assert 0 < asked("rain", "starlink", exceedance=1e-3)["capacity_down_mbps"] < before
    with pytest.raises(LabError, match="no rain"):
        asked("rain", "4g")
    assert of(asked("status"), "4g")["treatment"] == "clear"
    until(lambda s: not heard(s, "o3b-mpower"))
    for carrier in ("starlink", "o3b-mpower"):
        asked("restore", carrier)
    until(lambda s: heard(s, "o3b-mpower"))


def test_the_mobile_operator_rebinds_a_connection_in_use(lab: None) -> None:
    with udp("internet", INTERNET_HOST[0]) as there, udp("underlay", "198.18.3.2") as here:
        _, before = receive(there, lambda: here.sendto(b"a", there.getsockname()))
        asked("rebind")
        while True:  # what was under way before may still come
            _, after = receive(there, lambda: here.sendto(b"b", there.getsockname()))
            if after != before:
                break
    assert before.startswith("198.51.100.")
    assert after.startswith("198.51.100.")


def test_a_pulled_cable_shows_at_the_site(lab: None) -> None:
    asked("unplug", "4g")
    shown = subprocess.run(["ip", "-n", NETWORK.namespace("underlay"), "link", "show", "4g"], capture_output=True, text=True, check=True)
    assert "NO-CARRIER" in shown.stdout
    asked("restore", "4g")
    until(lambda s: heard(s, "4g"))


def test_what_it_cannot_do_it_says(lab: None, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no carrier 'pigeon'"):
        asked("cut", "pigeon")
    second = subprocess.run(
        [*COMMAND, "up", "--plain", "--name", NETWORK.name, "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr
    shown = subprocess.run(
        [*COMMAND, "run", "--name", NETWORK.name, "lan", "ip", "-br", "address"], capture_output=True, text=True, check=True
    )
    assert "10.64.1.10/24" in shown.stdout


def test_a_trial_over_a_carrier_sees_its_path_and_its_outage_and_goes_on_where_it_was_stopped(lab: None, tmp_path: Path) -> None:
    folder, secret = tmp_path / "trial", tmp_path / "secret"
    until(lambda s: heard(s, "starlink"))

    def seconds() -> list[dict[str, Any]]:
        try:
            lines = [json.loads(line) for line in (folder / "record.jsonl").read_text().splitlines()]
        except (FileNotFoundError, ValueError):  # not there yet, or a line is being written
            return []
        return [line for line in lines if "round_trips_ms" in line]

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, seconds()
            time.sleep(0.1)

    trial = [sys.executable, "-m", "tramontana.cli.main", "trial"]
    within_host = ["ip", "netns", "exec"]
    measure = [
        *within_host,
        NETWORK.namespace("underlay"),
        *trial,
        *("run", INTERNET_HOST[0], str(folder), "--secret-file", str(secret), "--interface", "starlink", "--source", "198.18.1.2"),
        *("--place", "rome", "--carrier", "starlink", "--data", str(tmp_path), "--test-seconds", "1", "--data-budget", "40"),
    ]
    serving = subprocess.Popen(
        [*within_host, NETWORK.namespace("internet"), *trial, "serve", "--secret-file", str(secret)], stdout=subprocess.PIPE, text=True
    )
    assert serving.stdout is not None
    try:
        while "Answering" not in serving.stdout.readline():
            assert serving.poll() is None
        measuring = subprocess.Popen(measure, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait(lambda: len(seconds()) >= 3)
        asked("cut", "starlink")
        wait(lambda: any(set(second["round_trips_ms"]) == {None} for second in seconds()))
        asked("restore", "starlink")
        wait(lambda: None not in seconds()[-1]["round_trips_ms"])
        measuring.send_signal(signal.SIGINT)
        said, _ = measuring.communicate(timeout=PATIENCE_S)
        assert measuring.returncode == 0, said
        first = json.loads((folder / "report.json").read_text())
        again = subprocess.run([*measure, "--seconds", "3"], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert again.returncode == 0, again.stderr
        assert "Going on with the trial" in again.stdout
        both = json.loads((folder / "report.json").read_text())
    finally:
        serving.terminate()
        serving.communicate(timeout=PATIENCE_S)
    assert (first["runs"], both["runs"]) == (1, 2)
    assert both["measured_s"] > first["measured_s"]
    assert max(outage["seconds"] for outage in first["outages"]) >= 0.9
    assert abs(first["forecast"]["round_trip_difference_ms_p50"]) < 15
    # Never more than the path has (231 to 250 Mbit/s down), and within the budget of all runs together.
    assert first["down_mbps"]
    assert 1 < first["down_mbps"][0] < 260
    assert [judgement["verdict"] for judgement in both["judgements"]][2] == "too early"
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 1
    assert "http://" not in page.replace("http://www.w3.org/", "")


def test_a_killed_laboratory_is_cleaned_up_by_its_own_names_only(tmp_path: Path) -> None:
    stranger = f"u{os.getpid()}-site"
    network = Network(f"k{os.getpid()}")
    subprocess.run(["ip", "netns", "add", stranger], check=True)
    try:
        for host in HOSTS[:3]:
            subprocess.run(["ip", "netns", "add", network.namespace(host)], check=True)
        inside = subprocess.Popen(["ip", "netns", "exec", network.namespace("lan"), "sleep", "1000"])
        deadline = time.monotonic() + PATIENCE_S
        while not subprocess.run(["ip", "netns", "pids", network.namespace("lan")], capture_output=True, check=True).stdout:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        done = subprocess.run([*COMMAND, "down", "--name", network.name], capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        assert inside.wait(PATIENCE_S) == -signal.SIGTERM
        assert network.leftovers() == []
        assert (NAMESPACES / stranger).exists()
    finally:
        subprocess.run(["ip", "netns", "del", stranger], check=True)
        network.remove()


def test_names_that_could_reach_outside_are_refused() -> None:
    for name in ("", "A", "a-b", "../x", "a" * 13, "1"):
        with pytest.raises(LabError, match="name"):
            Network(name)
