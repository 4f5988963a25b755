"""The laboratory with the real agents of site and gateways: what comes out of the LAN crosses the carriers in tunnels alone."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system import test_laboratory as plain
from tramontana.cli.lab_agents import WIREGUARD_SOCKETS, tag
from tramontana.cli.lab_network import GATEWAYS, INTERNET_HOST, UPLINKS, LabError
from tramontana.network_namespace import within

MARK = b"only in a tunnel "
ETH_P_ALL = 3

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("ip", "nft", "wireguard-go"))) or not Path("/dev/net/tun").exists(),
        reason="the laboratory's tunnels need root, iproute2, nftables, wireguard-go and /dev/net/tun",
    ),
]


def test_traffic_of_the_lan_crosses_every_carrier_in_tunnels_alone_and_nothing_stays(tmp_path: Path) -> None:
    with plain.laboratory(tmp_path, "--name", plain.NETWORK.name):
        status = plain.until(lambda s: s["uses"] and s["lan_to_internet"]["heard_last"])
        assert status["protected"]
        assert status["blocked"] is None
        status = plain.until(lambda s: all(len(c["tunnels"]) == 2 and all(t["up"] for t in c["tunnels"]) for c in s["carriers"]))
        assert {tunnel["keyed"] for carrier in status["carriers"] for tunnel in carrier["tunnels"]} == {True}
        plain.until(lambda s: all(t["round_trip_s"] for c in s["carriers"] for t in c["tunnels"]) and len(s["changes"]) > 0)
        with pytest.raises(LabError, match="the site's agent chooses"):
            plain.asked("use", "4g")
        with within(plain.NETWORK.namespace("site")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as clear, suppress(OSError):
            clear.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"starlink")  # moved away: there is no such interface
            pytest.fail("an uplink stands in the site's own namespace")
        captures = []
        for uplink in UPLINKS:
            with within(plain.NETWORK.namespace(uplink.far_host)):
                captures.append(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)))
            captures[-1].bind((plain.NETWORK.ends(uplink)[1].name, ETH_P_ALL))
            captures[-1].setblocking(False)
        with plain.udp("internet", INTERNET_HOST[0]) as there, plain.udp("lan", "") as here:
            data, sender = plain.receive(there, lambda: here.sendto(MARK, there.getsockname()))
        assert data == MARK
        assert sender in {address for address, _ in GATEWAYS}
        seen: list[bytes] = []
        for capture in captures:
            with capture, suppress(BlockingIOError):
                seen.extend(capture.recv(4096) for _ in range(10_000))  # probes never pause: what had come, not what comes
        assert seen, "not even the tunnels' packets were captured"
        assert not any(MARK in packet for packet in seen)
    assert plain.NETWORK.leftovers() == []
    own = [path for host in ("site", "gateway1", "gateway2") for path in WIREGUARD_SOCKETS.glob(f"{tag(plain.NETWORK, host)}*")]
    assert own == []
