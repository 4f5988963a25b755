"""One TCP connection over several uplinks at once, where the policy says so: what two carry together, and what remains when one is cut."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.system.routers import INTERNET, Routers, missing_for_routers, routers
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux import mptcp, tcp_proxy
from tramontana.internet.linux.namespace import run

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing_for_routers() is not None, reason=str(missing_for_routers())),
    pytest.mark.skipif(not mptcp.is_supported(), reason="this kernel has no MPTCP: one connection over several uplinks is not tested"),
]

UPLINK_MBPS = 20
POLICY = """
[[rules]]
name = "downloads by whatever there is"
kinds = ["bulk"]
several_uplinks = true

[[rules]]
name = "everything else"
"""


class Download:
    """One connection from the host behind the site, of a class; the server sends until it is closed."""

    def __init__(self, network: Routers, flow: FlowClass) -> None:
        with network.namespace("net").entered():
            listener = socket.create_server((INTERNET, 0))
        with network.namespace("host").entered():
            self._client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._client.settimeout(60)
        self._client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, flow.dscp << 2)
        with listener:
            listener.settimeout(60)
            self._client.connect(listener.getsockname())
            self._server, _ = listener.accept()
        self.octets = 0
        self.has_ended = False
        self._threads = [threading.Thread(target=each) for each in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with suppress(OSError):
            while True:
                self._server.sendall(bytes(1 << 16))

    def _receive(self) -> None:
        with suppress(OSError):
            while got := len(self._client.recv(1 << 16)):
                self.octets += got
        self.has_ended = True

    def rate(self, seconds: float) -> float:
        before, began = self.octets, time.monotonic()
        time.sleep(seconds)
        return (self.octets - before) / (time.monotonic() - began)

    def close(self) -> None:
        for each in (self._client, self._server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._server.close()


@contextmanager
def download(network: Routers, flow: FlowClass) -> Iterator[Download]:
    made = Download(network, flow)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def two_carriers(folder: Path) -> Iterator[Routers]:
    """Of 20 Mbit/s towards the site each, and proxies at both ends."""
    with routers(folder) as network:
        (folder / "policy.toml").write_text(POLICY)
        for agent in (network.site, network.gateway):
            policy = f'policy = "{folder}/policy.toml"\n' if agent is network.site else ""
            agent.config.write_text(f"tcp_proxy = true\n{policy}{agent.config.read_text()}")
        for uplink in (1, 2):
            shape = ["root", "tbf", "rate", f"{UPLINK_MBPS}mbit", "burst", "32k", "latency", "60ms"]
            run(["tc", "qdisc", "add", "dev", f"in{uplink}", *shape], namespace=network.namespace("sky"))
        network.gateway.start()
        network.site.start()
        network.wait_until_up()
        sockets = [agent.state / tcp_proxy.STATUS_SOCKET for agent in (network.site, network.gateway)]
        try:
            network.wait_for(lambda: all(tcp_proxy.read_status(each) for each in sockets), "the proxies run")
            network.wait_for(lambda: uses_several(network), "a second way for bulk")
            yield network
        finally:
            for agent in (network.site, network.gateway):  # a proxy outlives its agent, and an agent would start it again
                if agent.process is not None:
                    agent.stop(signal.SIGKILL)
                tcp_proxy.stop(agent.state / tcp_proxy.STATUS_SOCKET)


def uses_several(network: Routers) -> bool:
    return bool((network.site.status() or {}).get("several"))


def outlives_cut(network: Routers, running: Download, uplink: int) -> None:
    network.block("meta l4proto udp", uplinks=[uplink])
    network.wait_for(lambda: not network.tunnel_lives(uplink), "the site sees that it is cut")
    before = running.octets
    network.wait_for(lambda: running.octets > before + (4 << 20), "it goes on over the other")
    network.block()
    network.wait_for(lambda: network.tunnel_lives(uplink), "the uplink is back")


def test_two_uplinks_carry_one_download_together_and_it_outlives_either(tmp_path: Path) -> None:
    with two_carriers(tmp_path) as network, network.capture() as capture:
        several: list[float] = []
        one: list[float] = []
        for _ in range(2):
            for flow, rates in ((FlowClass.BULK, several), (FlowClass.DATA_ROUTINE, one)):
                with download(network, flow) as running:
                    running.rate(1.5)  # it finds its speed
                    rates.append(running.rate(2.5))
        assert sum(several) > 1.5 * sum(one), (several, one)

        with download(network, FlowClass.BULK) as running:
            network.wait_for(lambda: running.octets > 4 << 20, "the download runs")
            outlives_cut(network, running, 2)
            outlives_cut(network, running, 1)
            assert not running.has_ended
    assert capture.others == []
