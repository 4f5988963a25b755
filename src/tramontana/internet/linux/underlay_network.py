"""In which network an uplink is: by its interface, its prefix and its router, so that what was learned of a network is found again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Any

from tramontana.internet.linux.namespace import Namespace, run


@dataclass(frozen=True, slots=True)
class UnderlayNetwork:
    """Many networks have the same private prefix; their routers have different hardware addresses."""

    interface: str
    prefixes: tuple[str, ...]
    via: tuple[str, ...]
    router: str
    """Hardware address; empty where it is not known yet, or there is none."""

    @property
    def key(self) -> str:
        return " ".join((self.interface, *self.prefixes, "via", *self.via, self.router)).strip()

    def may_be(self, other: UnderlayNetwork) -> bool:
        """Nothing speaks against it."""
        same = (self.interface, self.prefixes, self.via) == (other.interface, other.prefixes, other.via)
        return same and (self.router == other.router or "" in (self.router, other.router))


def network_of(underlay: Namespace, interface: str, table: int) -> UnderlayNetwork:
    """Raises `HostRefused`."""
    addresses = [each for link in _shown(underlay, "address", "show", "dev", interface) for each in link.get("addr_info", [])]
    prefixes = {str(ip_interface(f"{each['local']}/{each['prefixlen']}").network) for each in addresses if each.get("scope") == "global"}
    routes = [
        each
        for family in ("-4", "-6")
        for each in _shown(underlay, family, "route", "show", "table", str(table))
        if each.get("dst") == "default"
    ]
    via = {str(each["gateway"]) for each in routes if "gateway" in each}
    neighbours = {
        str(each["dst"]): str(each["lladdr"]) for each in _shown(underlay, "neighbour", "show", "dev", interface) if "lladdr" in each
    }
    router = next((neighbours[each] for each in sorted(via) if each in neighbours), "")
    return UnderlayNetwork(interface, tuple(sorted(prefixes)), tuple(sorted(via)), router)


def _shown(underlay: Namespace, *words: str) -> list[dict[str, Any]]:
    where = [] if underlay.name is None else ["-n", underlay.name]
    try:
        found: list[dict[str, Any]] = json.loads(run(["ip", *where, "-json", *words]) or "[]")
    except ValueError:  # a table without a route is an error text to some versions of ip
        return []
    return found
