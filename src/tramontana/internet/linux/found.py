"""What a machine has: interfaces, their addresses, and which of them lead to the internet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface
from typing import Any

from tramontana.internet.linux.namespace import run

_VIRTUAL = ("bridge", "bond", "dummy", "tun", "wireguard", "vxlan", "ipip", "sit", "gre", "docker")


@dataclass(frozen=True, slots=True)
class Interface:
    """addresses: its IPv4 ones; leads_out: it has a default route, by `via` where there is one; leased: its address came by DHCP;
    addresses_6: of IPv6, without link-local ones.
    """

    name: str
    addresses: tuple[IPv4Interface, ...]
    leads_out: bool
    via: IPv4Address | None
    leased: bool
    addresses_6: tuple[IPv6Interface, ...] = ()


def interfaces() -> list[Interface]:
    """Those that can be an uplink or a local network, ways to the internet first, the preferred one foremost. Raises `HostRefused`."""
    routes: list[dict[str, Any]] = json.loads(run(["ip", "-json", "-4", "route", "show", "default"]) or "[]")
    links: list[dict[str, Any]] = json.loads(run(["ip", "-json", "-details", "address", "show"]) or "[]")
    return parse_interfaces(routes, links)


def connected_networks() -> list[IPv4Network | IPv6Network]:
    """In which this machine has an address. Raises `HostRefused`."""
    return parse_connected_networks(json.loads(run(["ip", "-json", "address", "show"]) or "[]"))


def parse_connected_networks(links: list[dict[str, Any]]) -> list[IPv4Network | IPv6Network]:
    """From what `ip -json address show` says."""
    own = [each for link in links for each in link.get("addr_info", []) if each["family"] in ("inet", "inet6")]
    return [ip_interface(f"{each['local']}/{each['prefixlen']}").network for each in own]


def parse_interfaces(routes: list[dict[str, Any]], links: list[dict[str, Any]]) -> list[Interface]:
    """From what `ip -json route show default` and `ip -json -details address show` say."""
    via = {route["dev"]: route.get("gateway") for route in sorted(routes, key=lambda route: route.get("metric", 0), reverse=True)}
    order = {name: place for place, name in enumerate(reversed(via))}
    found = []
    for link in links:
        name, kind = link.get("ifname", ""), link.get("linkinfo", {}).get("info_kind", "")
        if not name or link.get("link_type") not in ("ether", "none", "ppp") or (kind in _VIRTUAL and name not in via):
            continue
        of_all = [each for each in link.get("addr_info", []) if each.get("scope") == "global"]
        own = [each for each in of_all if each["family"] == "inet"]
        addresses = tuple(IPv4Interface(f"{each['local']}/{each['prefixlen']}") for each in own)
        addresses_6 = tuple(IPv6Interface(f"{each['local']}/{each['prefixlen']}") for each in of_all if each["family"] == "inet6")
        gateway = IPv4Address(via[name]) if via.get(name) else None
        found.append(Interface(name, addresses, name in via, gateway, any(each.get("dynamic") for each in own), addresses_6))
    return sorted(found, key=lambda each: order.get(each.name, len(order)))
