"""What makes a site quick, with the real agents: the TCP proxy through real tunnels, copies both ways, and the gateway's metrics."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.system.routers import PATIENCE_S, Agent, Routers, missing_for_routers, routers
from tramontana.internet.linux import tcp_proxy
from tramontana.internet.linux.namespace import run

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing_for_routers() is not None, reason=str(missing_for_routers())),
]

SERVER = "198.51.100.9"
METRICS_PORT = 9120
VOICE_TOS = 46 << 2


def proxy_of(agent: Agent) -> dict[str, object]:
    return tcp_proxy.read_status(agent.state / tcp_proxy.STATUS_SOCKET) or {}


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Routers]:
    with routers(tmp_path) as made:
        for agent in made.agents.values():
            own = f"metrics_port = {METRICS_PORT}\n" if agent.word == "gateway" else f'announced = "{tmp_path}/announced.toml"\n'
            agent.config.write_text(f"tcp_proxy = true\n{own}{agent.config.read_text()}")
        made.gateway.start()
        made.site.start()
        made.wait_until_up()
        made.wait_for(lambda: all(proxy_of(agent) for agent in made.agents.values()), "both proxies run")
        try:
            yield made
        finally:
            for agent in made.agents.values():
                tcp_proxy.stop(agent.state / tcp_proxy.STATUS_SOCKET)


def dial(made: Routers, port: int) -> socket.socket:
    with made.namespace("host").entered():
        client = socket.socket()
    client.settimeout(PATIENCE_S)
    try:
        client.connect((SERVER, port))
    except OSError:
        client.close()
        raise
    return client


def link(made: Routers, uplink: int, state: str) -> None:
    made.ip("sky", "link", "set", f"in{uplink}", state)


def test_a_proxied_connection_survives_its_carrier_and_without_any_there_is_none(network: Routers) -> None:
    with network.namespace("net").entered():
        listener = socket.create_server((SERVER, 0))
    with closing(listener):
        port = listener.getsockname()[1]
        client = dial(network, port)
        server, _ = listener.accept()
        with closing(client), closing(server):
            shown = run(["ss", "-tinHO", f"dport = :{port}"], namespace=network.namespace("site"))
            assert " bbr " in shown
            link(network, 1, "down")
            client.sendall(b"over the other carrier")
            assert server.recv(64) == b"over the other carrier"
            server.sendall(b"and back")
            assert client.recv(64) == b"and back"
        assert [proxy_of(agent)["carried"] for agent in network.agents.values()] == [1, 1]
        with network.namespace("gate").entered(), httpx.Client() as there:  # its socket is made at the first request
            metrics = there.get(f"http://127.0.0.1:{METRICS_PORT}/metrics").text.splitlines()
        site = network.ship.device_id
        assert f'tramontana_site_carrying_uplink{{site="{site}"}} 2' in metrics
        assert "tramontana_tcp_proxy_carried_total 1" in metrics
        assert any(line.startswith(f'tramontana_tunnel_received_octets_total{{site="{site}",uplink="2"}} ') for line in metrics)
        link(network, 2, "down")
        network.wait_for(lambda: (network.site.status() or {})["blocked"], "everything is blocked")
        with pytest.raises(OSError, match="No route to host"):
            dial(network, port)


def test_voice_goes_twice_both_ways_around_short_outages_that_are_predicted(network: Routers) -> None:
    now = datetime.now(UTC)
    text = ""
    for number in range(600):  # for as long as the test may take: windows that follow one another
        start = now + timedelta(seconds=0.5 * number)
        span = f"from = {start.isoformat()}\nuntil = {(start + timedelta(seconds=0.1)).isoformat()}\n"
        text += "".join(f'[[outage]]\ncarrier = "{carrier}"\n{span}' for carrier in ("starlink", "fibre"))
    (network.folder / "announced.toml").write_text(text)
    with network.namespace("net").entered():
        there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with network.namespace("host").entered():
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    counts: dict[str, dict[bytes, int]] = {"there": {}, "here": {}}
    ends = threading.Event()

    def listen() -> None:
        """The server answers each datagram when it hears it for the first time."""
        while not ends.is_set():
            for name, sock in (("there", there), ("here", here)):
                with suppress(TimeoutError):
                    data, sender = sock.recvfrom(64)
                    counts[name][data] = counts[name].get(data, 0) + 1
                    if name == "there" and counts[name][data] == 1:
                        sock.sendto(data, sender)

    with closing(there), closing(here):
        there.bind((SERVER, 0))
        for sock in (there, here):
            sock.settimeout(0.02)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, VOICE_TOS)
        listener = threading.Thread(target=listen)
        listener.start()
        try:
            until = time.monotonic() + PATIENCE_S
            number = 0
            while any(2 not in heard.values() for heard in counts.values()):
                assert time.monotonic() < until, counts
                here.sendto(b"%d" % number, there.getsockname())
                number += 1
                time.sleep(0.05)
        finally:
            ends.set()
            listener.join()
    assert max(count for heard in counts.values() for count in heard.values()) == 2
    history = (network.site.status() or {})["history"]
    assert not any("predicted" in change["reason"] for change in history)  # for so short a time nothing moves
