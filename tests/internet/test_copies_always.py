"""Calls on two carriers at all times, over real WireGuard in namespaces: what a cut loses of a paced flow, both ways, and what it costs."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.internet.namespaces import lab, require_namespaces
from tests.internet.tunnels import PATIENCE_S, SERVER, UPLINKS, Tunnels, build
from tramontana.internet.flow_class import FlowClass

pytestmark = [pytest.mark.system]

SECONDS, RATE, OCTETS = 4.0, 50, 160
"""A call: a packet every 20 ms."""
PACKET_OCTETS = OCTETS + 28
"""With the headers of IPv4 and UDP, inside the tunnel."""
VOICE = str(FlowClass.VOICE_ROUTINE.dscp)
SPENT = 2e9
POLICY = """
prefer = ["starlink", "fibre", "sicral-2"]
[[rules]]
name = "calls"
kinds = ["voice"]
never = ["fibre"]
copies = "{copies}"
[[rules]]
name = "rest"
[caps.sicral-2]
gigabytes_a_month = 1
"""
MARKS = """
import sys
from ipaddress import ip_network
from tramontana.internet.linux.flow_marks import FlowMarks, LocalNetwork
local = [LocalNetwork(ip_network("10.64.1.0/24"))] if sys.argv[1] == "site" else []
FlowMarks(sys.argv[2:], believed=sys.argv[1] == "gateway", local=local).apply()
"""
COPIED = "import json; from dataclasses import asdict; from tramontana.internet.linux.flow_marks import copied; "
COPIED += "print(json.dumps({device: asdict(took) for device, took in copied().items()}))"
ECHO = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.bind((sys.argv[1], 5006))
    print("ready", flush=True)
    while True:
        packet, sender = s.recvfrom(2048)
        s.sendto(packet, sender)
"""
CALL = """
import json, socket, sys, threading, time
server, seconds, rate, octets, dscp = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    s.settimeout(1.0)
    s.connect((server, 5006))
    heard = []
    def hear():
        while True:
            try:
                heard.append(int.from_bytes(s.recv(2048)[:4]))
            except OSError:
                if over.is_set():
                    return
    over = threading.Event()
    hearing = threading.Thread(target=hear)
    hearing.start()
    began = time.monotonic()
    for number in range(round(seconds * rate)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        s.send(number.to_bytes(4).ljust(octets, b"\\0"))
        if number == 10:
            print("calling", flush=True)
    over.set()
    hearing.join()
print(json.dumps(heard))
"""


@pytest.fixture(scope="module")
def tunnels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnels]:
    require_namespaces("wireguard-go", "wg")
    with lab() as made:
        built = build(made, Path(tmp_path_factory.mktemp("tunnels")))
        for side in ("site", "gateway"):
            _run(built, side, MARKS, side, *(built.device(side[0], u) for u in UPLINKS))
        built.start_gateway()
        echo = made.python("server", "-c", ECHO, SERVER)
        assert echo.stdout is not None
        assert echo.stdout.readline() == "ready\n"
        yield built


def _run(tunnels: Tunnels, where: str, program: str, *arguments: str) -> str:
    process = tunnels.made.python(where, "-c", program, *arguments)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    return str(output)


def _copied(tunnels: Tunnels, uplink: int) -> dict[str, int]:
    found: dict[str, dict[str, int]] = json.loads(_run(tunnels, "site", COPIED))
    return found.get(tunnels.device("s", uplink), dict.fromkeys(("sent_packets", "sent_octets", "received_packets", "received_octets"), 0))


class _Site:
    """The site's agent under a policy, with all links whole; it carries over uplink 1."""

    def __init__(self, tunnels: Tunnels, copies: str) -> None:
        self.tunnels = tunnels
        for uplink in UPLINKS:
            tunnels.loss(uplink, 0)
        for table in ("main", *map(str, range(5400, 5411))):
            tunnels.made.run("site", "ip", "route", "flush", "table", table, "exact", "default", check=False)
        tunnels.start_site(sequence_file=str(tunnels.folder / "sequence"), policy=POLICY.format(copies=copies))
        tunnels.settle(1)

    def call(self) -> subprocess.Popen[str]:
        calling = self.tunnels.made.python("host", "-c", CALL, SERVER, str(SECONDS), str(RATE), str(OCTETS), VOICE)
        assert calling.stdout is not None
        assert calling.stdout.readline() == "calling\n"
        return calling

    def heard(self, calling: subprocess.Popen[str]) -> list[int]:
        output, errors = calling.communicate(timeout=PATIENCE_S)
        assert calling.returncode == 0, errors
        return list(json.loads(output))

    def wait_for_copies(self, *, wanted: bool) -> None:
        """Until the gateway copies calls into uplink 3, or into none."""
        until = time.monotonic() + PATIENCE_S
        there = f'device "{self.tunnels.device("g", 3)}"'
        while wanted != (there in self.tunnels.made.run("gateway", "nft", "list", "table", "ip", "tramontana_duplicates", check=False)):
            assert time.monotonic() < until, f"copies at the gateway: not {wanted}"
            time.sleep(0.1)

    def end(self) -> None:
        assert self.tunnels.site is not None
        _, errors = self.tunnels.site.communicate(timeout=PATIENCE_S)
        assert self.tunnels.site.returncode == 0, errors


def _cut_call(tunnels: Tunnels, copies: str) -> set[int]:
    """Numbers that went to the server and came back while the carrier of calls was cut in the middle."""
    site = _Site(tunnels, copies)
    site.wait_for_copies(wanted=copies == "always")
    calling = site.call()
    tunnels.loss(1, 100)
    heard = set(site.heard(calling))
    assert "Starlink is dead" in tunnels.wait_for(2)["reason"]  # what is no call
    site.end()
    return heard


def test_a_cut_carrier_loses_nothing_of_a_call_that_goes_over_two_and_some_of_one_that_does_not(tunnels: Tunnels) -> None:
    sent = set(range(round(SECONDS * RATE)))
    assert sent - _cut_call(tunnels, "always") == set()
    assert sent - _cut_call(tunnels, "on suspicion") != set()


def test_the_second_carrier_is_the_allowed_one_its_octets_are_counted_and_a_cap_that_is_used_up_pauses_it(tunnels: Tunnels) -> None:
    site = _Site(tunnels, "always")
    site.wait_for_copies(wanted=True)
    before, refused = _copied(tunnels, 3), _copied(tunnels, 2)
    count = round(SECONDS * RATE)
    heard = site.heard(site.call())
    took = {name: number - before[name] for name, number in _copied(tunnels, 3).items()}
    # Two came of each to the server, each was answered, and each answer came over both carriers.
    assert took == {
        "sent_packets": count,
        "sent_octets": count * PACKET_OCTETS,
        "received_packets": 2 * count,
        "received_octets": 2 * count * PACKET_OCTETS,
    }
    assert sorted(heard) == sorted([*range(count)] * 4)
    assert _copied(tunnels, 2) == refused
    tunnels.tell(used=[3, SPENT])
    site.wait_for_copies(wanted=False)
    spent = _copied(tunnels, 3)
    assert sorted(site.heard(site.call())) == [*range(count)]
    assert _copied(tunnels, 3) == spent
    site.end()
