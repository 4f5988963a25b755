"""Faults of everyday: carriers, gateways and machines that fail, and what a site does about it. Nothing may ever leave in the clear."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.system.routers import (
    INTERNET,
    INTERNET_6,
    PATIENCE_S,
    Routers,
    Traffic,
    missing_for_routers,
    nothing_in_the_clear,
    routers,
    wait_for,
)
from tramontana.internet.linux.dhcp import DhcpClient
from tramontana.internet.linux.namespace import HostRefused, Namespace, run
from tramontana.internet.path_mtu import GRAIN, inner_mtu

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing_for_routers() is not None, reason=str(missing_for_routers())),
]


def start(network: Routers) -> None:
    for agent in network.agents.values():
        agent.start()
    network.wait_until_up()


def goes_on(traffic: Traffic, more: int = 100) -> None:
    answered = len(traffic.answered)
    wait_for(lambda: len(traffic.answered) > answered + more, "traffic goes on")


def carrying(network: Routers, what: str) -> object:
    return ((network.site.status() or {}).get("carrying") or {}).get(what)


def test_uplinks_with_ipv6_alone_carry_both_on_every_rung(tmp_path: Path) -> None:
    with routers(tmp_path, uplinks=1, is_6=True) as network, nothing_in_the_clear(network):
        network.site.start()
        wait_for(lambda: network.site.status() is not None, "the site answers")
        assert not network.reaches(INTERNET_6)  # no tunnel yet
        network.gateway.start()
        network.wait_until_up()
        assert network.reaches(INTERNET)
        assert network.reaches(INTERNET_6)

        def is_on(rung: str) -> None:
            network.wait_for(lambda: network.tunnel(network.site, 1).get("rung") == rung, f"the tunnel goes by {rung}")
            goes_on(traffic, 50)

        with network.traffic(INTERNET_6) as traffic:
            network.block("udp dport != 443")
            is_on("udp/443")
            network.block("meta l4proto udp")
            is_on("tls/443")


def test_a_gateway_dies_and_the_site_goes_on_by_its_standby(tmp_path: Path) -> None:
    with routers(tmp_path, uplinks=1, gateways=2) as network, nothing_in_the_clear(network):
        start(network)
        first = carrying(network, "gateway")
        word, tag = ("gateway", "g") if first == network.rome.device_id else ("gateway2", "h")
        with network.traffic() as traffic:
            goes_on(traffic, 50)
            network.agents[word].stop(signal.SIGKILL)
            network.end_wireguard(tag)
            network.wait_for(lambda: carrying(network, "gateway") not in (None, first), "the site moves to the other gateway")
            goes_on(traffic)


def test_a_carrier_goes_silent_and_another_ones_cable_is_pulled(tmp_path: Path) -> None:
    with routers(tmp_path) as network, nothing_in_the_clear(network):
        start(network)
        first = carrying(network, "uplink")
        assert first in (1, 2)
        other = 3 - first
        with network.traffic() as traffic:
            network.block("meta l4proto { tcp, udp, icmp }", uplinks=[first])
            network.wait_for(lambda: carrying(network, "uplink") == other, "traffic leaves the carrier that has gone silent")
            goes_on(traffic, 50)
            network.block()
            network.wait_for(lambda: network.tunnel_lives(first), "the silent carrier is back")
            network.ip("sky", "link", "set", f"in{other}", "down")
            network.wait_for(lambda: carrying(network, "uplink") == first, "traffic leaves the carrier whose cable is pulled")
            goes_on(traffic)


def pushed(network: Routers, octets: int) -> int:
    """How much of so many octets comes through a TCP connection from the host behind the site to the internet."""
    with network.namespace("net").entered():
        listener = socket.create_server((INTERNET, 0))
    with network.namespace("host").entered():
        sender = socket.socket()
    with listener, sender:
        listener.settimeout(PATIENCE_S)
        sender.settimeout(PATIENCE_S)
        sender.connect(listener.getsockname())
        receiver, _ = listener.accept()

        def push() -> None:
            sender.sendall(bytes(octets))
            sender.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=push)
        thread.start()
        came = 0
        with receiver:
            receiver.settimeout(PATIENCE_S)
            while data := receiver.recv(1 << 16):
                came += len(data)
        thread.join()
    return came


def test_a_site_that_was_switched_off_comes_back_with_what_it_stored(tmp_path: Path) -> None:
    """Also how long packets may be: its carrier silently drops those above 1400 octets."""
    with routers(tmp_path, uplinks=1) as network:

        def has_found_the_length() -> bool:
            found = network.tunnel(network.site, 1).get("mtu") or 0
            return inner_mtu(1400 - GRAIN, 4) <= found <= inner_mtu(1400, 4)

        with nothing_in_the_clear(network):
            network.block("ip length > 1400")
            start(network)
            network.wait_for(has_found_the_length, "the site finds how long packets may be")
            assert pushed(network, 500_000) == 500_000
            route = str(run(["ip", "route", "show", "10.64.2.0/24"], namespace=network.namespace("gate")))
            assert f"mtu {network.tunnel(network.site, 1)['mtu']}" in route
            network.renew(1)
        number = network.tunnel(network.site, 1)["agreed_number"]
        network.reboot_site()
        with nothing_in_the_clear(network):
            network.block("ip length > 1400")
            network.site.start()
            network.wait_until_up()
            assert has_found_the_length()
            assert pushed(network, 500_000) == 500_000
        assert network.tunnel(network.site, 1)["agreed_number"] >= number  # the same conversation of keys, not a new one


def test_carriers_that_change_the_translation_of_addresses_are_no_reason_to_leave(tmp_path: Path) -> None:
    with routers(tmp_path, uplinks=1) as network, nothing_in_the_clear(network):
        network.translate()
        start(network)
        with network.traffic() as traffic:
            for rung, drops in (("udp", []), ("udp/443", ["udp dport != 443"])):
                network.block(*drops)
                network.wait_for(lambda rung=rung: network.tunnel(network.site, 1).get("rung") == rung, f"the tunnel goes by {rung}")  # type: ignore[misc]
                goes_on(traffic, 50)
                network.translate()
                goes_on(traffic)
                assert network.tunnel(network.site, 1)["rung"] == rung


def test_a_carrier_that_loses_three_of_ten_packets_is_left_and_its_tunnel_kept(tmp_path: Path) -> None:
    with routers(tmp_path) as network, nothing_in_the_clear(network):
        start(network)
        used = carrying(network, "uplink")  # whichever was ready first
        assert used in (1, 2)
        with network.traffic() as traffic:
            network.block("numgen random mod 100 < 30", uplinks=[used])
            network.wait_for(lambda: carrying(network, "uplink") == 3 - used, "traffic leaves the carrier that loses")
            before = traffic.lost
            goes_on(traffic)
            assert traffic.lost - before < 10
            network.renew(used)  # keys of both tunnels, over both carriers


@pytest.mark.skipif(
    not all(map(shutil.which, ("udhcpc", "dnsmasq"))), reason="the test of DHCP needs udhcpc and dnsmasq (scripts/requirements tests)"
)
def test_an_uplink_gets_its_address_from_the_network_and_nothing_else_of_the_machine_does(tmp_path: Path) -> None:
    with routers(tmp_path, uplinks=1, dhcp=True) as network, network.dhcp_server(), nothing_in_the_clear(network):
        start(network)
        assert network.reaches()
        pid = (network.folder / "site" / "dhcp-up1.pid").read_text()
        network.site.stop(signal.SIGKILL)
        assert network.reaches()
        network.site.start()
        network.wait_until_up()
        assert (network.folder / "site" / "dhcp-up1.pid").read_text() == pid
        assert "192.0.2" not in str(run(["ip", "address"], namespace=network.namespace("site")))
        network.site.stop(signal.SIGTERM)
        command = [sys.executable, "-m", "tramontana.cli.main", "site", "down", "--config", str(network.site.config)]
        run(command, namespace=network.site.namespace)
        wait_for(lambda: not Path(f"/proc/{pid.strip()}/exe").exists(), "the client ended with the site")


def test_where_there_is_no_client_for_dhcp_the_site_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostRefused, match="install it"):
        DhcpClient(Namespace(), "up1", 1, tmp_path, []).ensure()
