"""Calls on two carriers, by the agents themselves: what the status says of it, and what it counts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.system.routers import INTERNET, missing_for_routers, routers
from tramontana.internet.flow_class import FlowClass

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing_for_routers() is not None, reason=str(missing_for_routers())),
]

POLICY = """
prefer = ["starlink", "fibre"]
[[rules]]
name = "calls go twice"
kinds = ["voice"]
copies = "always"
[[rules]]
name = "everything else"
"""
PACKETS, OCTETS = 20, 160


def test_the_status_says_over_what_calls_go_twice_and_counts_it(tmp_path: Path) -> None:
    with routers(tmp_path) as network:
        (tmp_path / "policy.toml").write_text(POLICY)
        network.site.config.write_text(f'policy = "{tmp_path}/policy.toml"\n{network.site.config.read_text()}')
        network.gateway.start()
        network.site.start()
        network.wait_until_up()
        calls = {flow.label for flow in FlowClass if flow.label.startswith("voice")}

        def shown() -> dict[str, object]:
            return network.site.status() or {}

        def go_twice() -> bool:
            copies = shown()["copies"]
            assert isinstance(copies, dict)
            return any(set(each["flows"]) == calls and each["uplink"] == 2 for each in copies["over"]) and copies["paused"] == []

        network.wait_for(lambda: shown().get("carrying") is not None and go_twice(), "calls go twice")

        with network.namespace("host").entered():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            client.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, FlowClass.VOICE_ROUTINE.dscp << 2)

            def counted() -> bool:
                client.sendto(bytes(OCTETS), (INTERNET, 9))
                took = next((each for each in shown()["copied"] if each["uplink"] == 2), None)  # type: ignore[attr-defined]
                return took is not None and took["sent_packets"] >= PACKETS and took["sent_octets"] == took["sent_packets"] * (OCTETS + 28)

            network.wait_for(counted, "copies are counted")
