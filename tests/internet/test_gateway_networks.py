"""Which networks of sites a gateway routes: private ones that are not next to it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from tramontana.internet.gateway.driver import network_fault
from tramontana.internet.linux.found import parse_connected_networks


def _address(family: str, local: str, length: int) -> dict[str, Any]:
    return {"family": family, "local": local, "prefixlen": length, "scope": "global"}


LINKS: list[dict[str, Any]] = [
    {"ifname": "lo", "addr_info": [_address("inet", "127.0.0.1", 8), _address("inet6", "::1", 128)]},
    {"ifname": "eth0", "addr_info": [_address("inet", "10.3.0.7", 16), _address("inet6", "fd00:3::7", 64)]},
    {"ifname": "eth1"},
]


@pytest.mark.parametrize(
    ("networks", "word"),
    [
        (["10.64.2.0/24", "fd00:2::/64", "172.16.0.0/16"], None),
        (["10.64.2.0/24", "10.3.9.0/24"], "10.3.0.0/16"),
        (["10.0.0.0/8"], "10.3.0.0/16"),
        (["fd00:3::/48"], "fd00:3::/64"),
        (["192.168.7.0/24"], "192.168.7.1/32"),
        (["203.0.113.0/24"], "private"),
        (["169.254.0.0/16"], "private"),
        (["0.0.0.0/0"], "private"),
        (["fe80::/64"], "private"),
    ],
)
def test_a_site_gets_no_network_that_is_the_gateways_own(networks: list[str], word: str | None) -> None:
    own = [*parse_connected_networks(LINKS), ip_network("192.168.7.1")]
    fault = network_fault(map(ip_network, networks), own)
    assert (fault is None) if word is None else (fault is not None and word in fault)
