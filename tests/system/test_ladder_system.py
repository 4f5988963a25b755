"""Networks that block what tunnels use: the site finds the way that is left, and goes on over a change of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.routers import Routers, missing_for_routers, routers, wait_for
from tramontana.internet.ladder import Rung

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing_for_routers() is not None, reason=str(missing_for_routers())),
]

UDP, UDP_443, CONTROL = "udp dport != 443", "udp dport 443", "tcp dport 51819"


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Routers]:
    with routers(tmp_path, uplinks=1) as made:
        yield made


def test_tunnel_and_control_channel_find_the_way_that_a_network_leaves_and_remember_it(network: Routers) -> None:
    def rung() -> object:
        return network.tunnel(network.site, 1).get("rung")

    network.block(UDP, UDP_443, CONTROL)
    network.gateway.start()
    with network.capture() as capture:
        network.site.start()
        network.wait_until_up()
        assert rung() == "tls/443"
        assert (network.site.status() or {})["gateways"][0]["inside_tls"]

        remembered = json.loads((network.folder / "site" / "networks.json").read_text())
        assert [rung for _, _, rung, _ in remembered] == [Rung.TLS_443]

        network.block(UDP, CONTROL)
        network.site.stop(signal.SIGKILL)
        network.site.start()
        network.wait_for(lambda: rung() == "udp/443", "a better way is found at the start")
        with network.traffic() as traffic:
            wait_for(lambda: len(traffic.answered) > 50, "traffic by UDP/443")
            network.block(UDP, UDP_443, CONTROL)
            network.wait_for(lambda: rung() == "tls/443", "the tunnel goes down to TLS")
            answered = len(traffic.answered)
            wait_for(lambda: len(traffic.answered) > answered + 100, "traffic by TLS")
        assert network.tunnel(network.site, 1)["keyed"]
    assert capture.allowed > 100
    assert capture.others == []
    assert capture.marks == 0
