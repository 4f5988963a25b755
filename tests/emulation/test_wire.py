"""Wires of the path player: real packets between two network namespaces that the test makes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulation.sample_profiles import steady
from tests.emulation.test_path_player import PATIENCE_S, Controller, playing
from tramontana.emulation.control_protocol import Interface, MalformedRequest, Wire, parse_request
from tramontana.emulation.link import Direction, loss_draw
from tramontana.emulation.tun.driver import Tun, TunError
from tramontana.network_namespace import within
from tramontana.path_profile import PathProfile

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or not Path("/dev/net/tun").exists(),
    reason="wires between namespaces need root, iproute2 and /dev/net/tun",
)
NEAR, FAR = f"trtest-{os.getpid()}-near", f"trtest-{os.getpid()}-far"
ENDS = Interface(NEAR, "near"), Interface(FAR, "far")


def ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def namespaces() -> Iterator[None]:
    try:
        for name in (NEAR, FAR):
            ip("netns", "add", name)
        yield
    finally:
        for name in (NEAR, FAR):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture
def controller(namespaces: None, tmp_path: Path) -> Iterator[Controller]:
    with playing(tmp_path / "player.sock"), Controller(tmp_path / "player.sock") as asked:
        yield asked


def played(**what: object) -> PathProfile:
    return steady(start=time.time() - 1, **what)  # type: ignore[arg-type]


def wire(controller: Controller, profile: PathProfile, *, seed: int = 1, plugged: bool = True) -> None:
    answer = controller.ask(Wire("w", profile, seed, *ENDS, plugged).encode())
    assert answer == {"ok": True}


def address(namespace: str, name: str, number: int) -> None:
    ip("-n", namespace, "addr", "add", f"198.18.0.{number}/24", "dev", name)
    ip("-n", namespace, "addr", "add", f"2001:db8::{number}/64", "dev", name, "nodad")
    ip("-n", namespace, "link", "set", name, "up")


def udp(namespace: str, family: socket.AddressFamily, host: str) -> socket.socket:
    with within(namespace):
        opened = socket.socket(family, socket.SOCK_DGRAM)
    opened.bind((host, 0))
    opened.settimeout(PATIENCE_S)
    return opened


@needs_root
@pytest.mark.parametrize(("family", "hosts"), [(socket.AF_INET, "198.18.0.{}"), (socket.AF_INET6, "2001:db8::{}")], ids=["IPv4", "IPv6"])
def test_packets_of_both_families_cross_both_ways_and_meet_the_fates_of_the_core(
    controller: Controller, family: socket.AddressFamily, hosts: str
) -> None:
    wire(controller, played(delay_s=0.005))
    for namespace, name, number in ((NEAR, "near", 1), (FAR, "far", 2)):
        address(namespace, name, number)
    with udp(NEAR, family, hosts.format(1)) as near, udp(FAR, family, hosts.format(2)) as far:
        for number in range(50):
            near.sendto(b"up %d" % number, far.getsockname())
        assert [far.recv(100) for _ in range(50)] == [b"up %d" % number for number in range(50)]
        far.sendto(b"down", near.getsockname())
        assert near.recv(100) == b"down"

        wire(controller, played(), seed=1)
        before = controller.stats("w")["up"]["received"]
        wire(controller, played(loss=0.4))
        for number in range(200):
            near.sendto(b"%d" % number, far.getsockname())
        while controller.stats("w")["up"]["received"] < before + 200:
            time.sleep(0.01)
        expected = sum(loss_draw(1, Direction.UP, before + number) < 0.4 for number in range(200))
        # The kernel may send a packet of its own in between, such as a router solicitation: then one draw moves.
        assert abs(controller.stats("w")["up"]["lost"] - expected) <= 3


@needs_root
def test_an_outage_swallows_everything_and_the_next_profile_restores_the_wire(controller: Controller) -> None:
    wire(controller, played(outages=[(0.0, 3600.0)]))
    for namespace, name, number in ((NEAR, "near", 1), (FAR, "far", 2)):
        address(namespace, name, number)
    with udp(NEAR, socket.AF_INET, "198.18.0.1") as near, udp(FAR, socket.AF_INET, "198.18.0.2") as far:
        near.sendto(b"lost", far.getsockname())
        while controller.stats("w")["up"]["lost_in_outage"] == 0:
            time.sleep(0.01)
        wire(controller, played())
        near.sendto(b"heard", far.getsockname())
        assert far.recv(100) == b"heard"


@needs_root
def test_a_pulled_cable_takes_the_carrier_away_and_comes_back(controller: Controller) -> None:
    wire(controller, played())
    address(NEAR, "near", 1)

    def has_carrier() -> bool:
        return "LOWER_UP" in json.loads(ip("-n", NEAR, "-j", "link", "show", "near"))[0]["flags"]

    assert has_carrier()
    wire(controller, played(), plugged=False)
    assert not has_carrier()
    assert controller.stats("w")["plugged"] is False
    wire(controller, played())
    assert has_carrier()


@needs_root
def test_interfaces_go_with_their_flow_and_one_that_is_deleted_ends_it(controller: Controller) -> None:
    wire(controller, played())
    refused = controller.ask(Wire("w", played(), 1, ENDS[0], Interface(FAR, "other")).encode())
    assert not refused["ok"]
    assert "other ends" in refused["error"]
    taken = controller.ask(Wire("second", played(), 1, ENDS[0], Interface(FAR, "other")).encode())
    assert not taken["ok"]
    assert "near" in taken["error"]
    assert controller.ask(b'{"op":"detach","flow":"w"}\n')["ok"]
    assert json.loads(ip("-n", NEAR, "-j", "link", "show"))[-1]["ifname"] == "lo"
    wire(controller, played())
    ip("-n", FAR, "link", "del", "far")
    deadline = time.monotonic() + PATIENCE_S
    while controller.ask(b'{"op":"stats"}\n')["flows"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@needs_root
def test_a_namespace_that_is_not_there_is_named(namespaces: None) -> None:
    with pytest.raises(TunError, match="x in trtest-nowhere"):
        Tun("trtest-nowhere", "x")


def test_what_is_no_interface_is_refused() -> None:
    good = json.loads(Wire("w", steady(), 7, *ENDS).encode())
    parsed = parse_request(json.dumps(good).encode())
    assert isinstance(parsed, Wire)
    assert (parsed.flow, parsed.seed, parsed.near, parsed.far, parsed.plugged) == ("w", 7, *ENDS, True)
    for change in (
        {"near": [None, "../x"]},
        {"near": [None, ".."]},
        {"near": [None, "sixteen-letters-"]},
        {"near": ["../a", "x"]},
        {"far": good["near"]},
        {"far": "x"},
        {"plugged": 1},
        {"seed": -1},
        {"profile": None},
        {"more": 1},
    ):
        with pytest.raises(MalformedRequest):
            parse_request(json.dumps({**good, **change}).encode())
