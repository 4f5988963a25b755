"""A site and a gateway that are certified for nested tunnels: a WireGuard in a WireGuard, and nothing while either has no key."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.routers import ETH_P_ALL, MARK, Routers, missing_for_routers, routers
from tramontana.internet.linux.namespace import Namespace, run
from tramontana.internet.linux.wireguard import SOCKETS, UserspaceWireGuard
from tramontana.internet.overlay import LAYER_OCTETS, Layer

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing_for_routers() is not None, reason=str(missing_for_routers())),
]


class Between:
    """What can be seen between the layers of the site: IP packets of an outer tunnel before it encrypts them."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets, self._runs = sockets, True
        self.wireguard = 0
        self.others: list[str] = []
        self.marks = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._runs = False
        self._thread.join()
        for each in self._sockets:
            each.close()

    def _run(self) -> None:
        while self._runs:
            for each in select.select(self._sockets, [], [], 0.1)[0]:
                packet = each.recv(1 << 16)
                self.marks += MARK in packet
                transport = packet[(packet[0] & 15) * 4 :]
                if packet[9] == 17 and transport[8] in (1, 2, 3, 4) and transport[9:12] == bytes(3):  # WireGuard's message types
                    self.wireguard += 1
                else:
                    self.others.append(packet[:60].hex())


@contextmanager
def seen_between(network: Routers) -> Iterator[Between]:
    names = [network.interface(uplink, Layer.OUTER) for uplink in (1, 2)]
    with network.between("site").entered():
        sockets = [socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) for _ in names]
    for each, name in zip(sockets, names, strict=True):
        each.bind((name, ETH_P_ALL))
    found = Between(sockets)
    try:
        yield found
    finally:
        time.sleep(0.2)  # what is on its way to us
        found.stop()


def kill_wireguard(interface: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(SOCKETS / f"{interface}.sock"))
        pid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    os.kill(pid, signal.SIGKILL)


def forget_peer(interface: str) -> None:
    """As if this layer had no key."""
    tool = UserspaceWireGuard()
    for key in tool.peers(interface, Namespace()):
        tool.remove_peer(interface, Namespace(), key)


def test_a_tunnel_in_a_tunnel_and_nothing_while_either_has_no_key(tmp_path: Path) -> None:
    with routers(tmp_path, nested=True) as network, network.capture() as capture:
        network.site.start()
        network.wait_for(lambda: network.site.status() is not None, "the site answers")
        assert not network.reaches()

        network.gateway.start()
        network.wait_until_up()
        assert network.reaches()
        with seen_between(network) as between, network.traffic() as traffic:
            network.renew(2)
            network.wait_for(lambda: len(traffic.answered) > 200, "traffic flows")
        assert traffic.lost == 0
        assert between.wireguard > 200
        assert between.others == []
        assert between.marks == 0

        status = network.site.status()
        assert status is not None
        assert len(status["layers"]) == 2
        tunnel, at_gateway = network.tunnel(network.site, 1), network.tunnel(network.gateway, 1)
        assert tunnel["outer"]["key_number"] >= 3
        assert at_gateway["outer"]["up"]
        with network.namespace("site").entered():
            inner_mtu = int(Path(f"/proc/sys/net/ipv6/conf/{network.interface(1)}/mtu").read_text())
        assert inner_mtu == tunnel["mtu"] == 1420 - LAYER_OCTETS

        # An outer layer whose process dies takes everything down with it; then it is there again.
        before = capture.allowed
        for uplink in (1, 2):
            kill_wireguard(network.interface(uplink, Layer.OUTER))
        network.wait_until_up()
        network.wait_for(network.reaches, "traffic over outer tunnels that were made anew")
        assert capture.allowed > before

        # A broken inner layer blocks, although the outer one stands.
        broken = "table inet broken"
        drop = f"{broken} {{ chain out {{ type filter hook output priority 10; policy drop; }}\n}}\n"
        run(["nft", "-f", "-"], stdin=drop, namespace=network.between("site"))
        network.wait_for(lambda: (network.site.status() or {}).get("blocked"), "the site is blocked")
        assert not network.reaches()
        assert network.tunnel(network.site, 1)["outer"]["up"]
        run(["nft", "-f", "-"], stdin=f"delete {broken}\n", namespace=network.between("site"))
        network.wait_for(network.reaches, "traffic through the inner layer that works again")

        # So does one without a key: here nobody is there who could give it another.
        for agent in (network.site, network.gateway):
            agent.stop(signal.SIGKILL)
        assert network.reaches()
        for uplink in (1, 2):
            forget_peer(network.interface(uplink))
        assert not network.reaches()
    assert capture.allowed > 500
    assert capture.others == []
    assert capture.marks == 0
