"""Routes by flow class: a rule for the mark of each class, and a table in which the networks beyond the tunnels have one route.

What has no tunnel is unreachable, not merely without a route: a device that vanishes takes its routes along, and packets must then not
find another way. Packets without a mark (this machine's own) go as routine data, by the main table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final

from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux.flow_marks import MARK, Network, mark
from tramontana.internet.linux.namespace import run

FIRST_TABLE: Final = 5400
"""Of the first class; also the first preference of the rules."""
OTHERS_PREFERENCE: Final = FIRST_TABLE - 1
BEHIND_PREFERENCE: Final = FIRST_TABLE + len(FlowClass)
"""Packets without one of our marks pass over the rules of the classes: by one rule from the first of these preferences to the second."""
MASK: Final = 0xFF0000
LAST_RESORT_METRIC: Final = 4_000_000_000
EVERYTHING: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@dataclass(frozen=True, slots=True)
class Narrow:
    """A device through which packets may have fewer octets than its own MTU says."""

    device: str
    octets: int


Way = str | Narrow | None
"""Through a device, or nowhere."""


def table(flow: FlowClass) -> int:
    """The routing table of a class."""
    return FIRST_TABLE + flow


def prepare() -> None:
    """Put the rules in place, once each, for IPv4 and IPv6. Raises `HostRefused`."""
    for family in ("-4", "-6"):
        there = {rule["priority"] for rule in json.loads(run(["ip", family, "-j", "rule", "show"]) or "[]")}
        wanted = {table(flow): f"fwmark {mark(flow):#x} lookup {table(flow)}" for flow in FlowClass}
        wanted |= {BEHIND_PREFERENCE: "nop", OTHERS_PREFERENCE: f"not fwmark {MARK:#x}/{MASK:#x} goto {BEHIND_PREFERENCE}"}
        lines = [f"rule add pref {preference} {rule}" for preference, rule in wanted.items() if preference not in there]
        if lines:
            run(["ip", family, "-batch", "-"], stdin="\n".join(lines) + "\n")


def secure(networks: Sequence[Network]) -> None:
    """Make sure that the networks are blocked wherever a tunnel's interface vanishes; what is routed stays. Raises `HostRefused`."""
    _replace((networks, flow, f"unreachable {{}} metric {LAST_RESORT_METRIC}") for flow in FlowClass)


def current(networks: Sequence[Network]) -> dict[FlowClass, str | None]:
    """The device of each class, as an agent before this one left it; None if it is blocked, or the networks are not all routed alike."""
    found: dict[FlowClass, str | None] = {}
    for flow in FlowClass:
        devices = set()
        for network in networks:
            shown = json.loads(
                run(["ip", f"-{network.version}", "-j", "route", "show", "exact", str(network), "table", str(table(flow))]) or "[]"
            )
            devices |= {r.get("dev") for r in shown if r.get("metric") == 1 and r.get("type", "unicast") == "unicast"} or {None}
        found[flow] = devices.pop() if len(devices) == 1 else None
    return found


def route(networks: Sequence[Network], devices: Mapping[FlowClass, Way]) -> None:
    """Send each class that is named through its device, or nowhere (None). Classes that are not named stay. Raises `HostRefused`.

    Blocking comes first, so that an error on the way leaves less open than was asked, never more.
    """
    route_all([(networks, devices)])


def route_all(wanted: Iterable[tuple[Sequence[Network], Mapping[FlowClass, Way]]]) -> None:
    """`route` for many, in one go each for IPv4 and IPv6. Raises `HostRefused`."""
    ways = [(networks, flow, _words(way)) for networks, devices in wanted for flow, way in devices.items()]
    _replace(sorted(ways, key=lambda way: not way[2].startswith("unreachable")))


def _words(way: Way) -> str:
    if isinstance(way, Narrow):
        return f"{{}} dev {way.device} metric 1 mtu {way.octets}"
    return f"{{}} dev {way} metric 1" if way else "unreachable {} metric 1"


def _replace(ways: Iterable[tuple[Sequence[Network], FlowClass, str]]) -> None:
    lines: dict[int, list[str]] = {4: [], 6: []}
    for networks, flow, way in ways:
        for network in networks:
            for name in (str(table(flow)), *(["main"] if flow is FlowClass.DATA_ROUTINE else [])):
                lines[network.version].append(f"route replace {way.format(network)} table {name}")
    for version, batch in lines.items():
        if batch:
            run(["ip", f"-{version}", "-batch", "-"], stdin="\n".join(batch) + "\n")


def forget(networks: Sequence[Network]) -> None:
    """Take every route of these networks away (a gateway whose site is gone); nothing if there is none."""
    for network in networks:
        for name in (*(str(table(flow)) for flow in FlowClass), "main"):
            run(["ip", f"-{network.version}", "route", "flush", "exact", str(network), "table", name])
