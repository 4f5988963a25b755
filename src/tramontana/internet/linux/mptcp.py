"""Multipath TCP of the kernel (RFC 8684, Linux 5.6): from which further addresses this machine's own connections go as well."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from tramontana.internet.linux.namespace import HostRefused, run
from tramontana.internet.linux.tcp_relay import adopt
from tramontana.internet.overlay import MAX_GATEWAY_NUMBER, MAX_UPLINK_INDEX, TUNNEL_NETWORK

IPPROTO_MPTCP: Final = 262
"""linux/in.h."""
MOST_SUBFLOWS: Final = 8
"""The kernel's own limit (MPTCP_SUBFLOWS_MAX)."""
_OURS: Final = range(1, (MAX_GATEWAY_NUMBER << 4 | MAX_UPLINK_INDEX) + 1)


def is_supported() -> bool:
    """Whether this kernel has it, with every option that a relay sets (TCP_NOTSENT_LOWAT since Linux 6.9)."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP) as tried:
        adopt(tried)
        return True
    return False


def allow() -> None:
    """Let connections have as many ways as there are, and take none from what the other end says of itself. Raises `HostRefused`."""
    run(["ip", "mptcp", "limits", "set", "subflow", str(MOST_SUBFLOWS), "add_addr_accepted", "0"])


def endpoint_number(gateway_number: int, uplink: int) -> int:
    """1 to 255: the kernel's id of an endpoint."""
    return gateway_number << 4 | uplink


def apply(wanted: Mapping[int, tuple[str, str]]) -> None:
    """(address, device) by endpoint number: connections get a subflow from each, and lose those from others at once. Doing it twice changes
    nothing. Raises `HostRefused`."""
    there = {number: (address, device) for number, address, device in _shown() if _is_ours(number, address)}
    for number, place in there.items():
        if wanted.get(number) != place:
            run(["ip", "mptcp", "endpoint", "delete", "id", str(number)])
    for number, (address, device) in wanted.items():
        if there.get(number) != (address, device):
            run(["ip", "mptcp", "endpoint", "add", address, "dev", device, "id", str(number), "subflow"])


def remove() -> None:
    """All of ours; nothing where the kernel or iproute2 knows none."""
    with suppress(HostRefused, ValueError):
        apply({})


def _shown() -> list[tuple[int, str, str]]:
    found = json.loads(run(["ip", "-j", "mptcp", "endpoint", "show"]) or "[]")
    return [(int(each["id"]), str(each["address"]), str(each.get("dev", ""))) for each in found]


def _is_ours(number: int, address: str) -> bool:
    return number in _OURS and ip_address(address) in TUNNEL_NETWORK
