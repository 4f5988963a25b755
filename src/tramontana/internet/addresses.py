"""IP addresses and networks from text of others: never a number, never with a scope (RFC 4007 §11), whose text Python keeps as it came.

They go on into rules, command lines and configurations, so whatever is accepted here consists of digits, letters a to f, dots and colons.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Annotated, Final, TypeVar

from pydantic import BeforeValidator

PRIVATE: Final = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
"""RFC 1918 §3 and RFC 4193 §3.1. Python's `is_private` counts loopback, link-local and documentation networks as well."""

METADATA: Final = tuple(
    map(ipaddress.ip_network, ("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::/32", "fd20:ce::/32", "fd00:c1::/32"))
)
"""Where machines of cloud providers ask for their own metadata, credentials among them (docs/sources.md). Routers never forward the first,
which are link-local (RFC 3927 §7); the others they would."""

ONE_NETWORK_6: Final = 64
"""Prefix length of what counts as one address in IPv6: whoever has one address has all of those (RFC 6177 §2)."""
LONGEST_NAME: Final = 64
"""Characters that count of an address that is none."""

_KINDS: Final = (IPv4Address, IPv6Address, IPv4Network, IPv6Network)
"""Interfaces are addresses to Python."""

T = TypeVar("T")


def parse_address(text: object) -> IPv4Address | IPv6Address:
    """Raises `ValueError`."""
    return ipaddress.ip_address(_plain(text))


def parse_network(text: object) -> IPv4Network | IPv6Network:
    """Address and prefix length, without bits of a host. Raises `ValueError`."""
    return ipaddress.ip_network(_plain(text))


def parse_interface(text: object) -> IPv4Interface | IPv6Interface:
    """Address and prefix length. Raises `ValueError`."""
    return ipaddress.ip_interface(_plain(text))


def is_private(network: IPv4Network | IPv6Network) -> bool:
    """Whether all of it is for local networks."""
    return any(
        network.subnet_of(block)  # type: ignore[arg-type]
        for block in PRIVATE
        if block.version == network.version
    )


def overlapped(network: IPv4Network | IPv6Network, others: Iterable[IPv4Network | IPv6Network]) -> IPv4Network | IPv6Network | None:
    """The first of the others that it overlaps."""
    return next((other for other in others if other.version == network.version and network.overlaps(other)), None)


def source_of(address: str) -> str:
    """What counts as one sender: an IPv4 address, or the /64 that one IPv6 subscriber gets."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # no IP address: a socket of this machine
        return address[:LONGEST_NAME]
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    if mapped is not None or parsed.version == 4:
        return str(mapped or parsed)
    return str(ipaddress.ip_network((parsed, ONE_NETWORK_6), strict=False))


def _plain(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError("an address is a text")
    if "%" in text:
        raise ValueError("an address with a scope (% and what follows) means nothing to others; leave the scope out")
    return text


def _parsed_by(parse: Callable[[object], T]) -> BeforeValidator:
    """What is parsed already is parsed again: it may carry a scope."""
    return BeforeValidator(lambda value: parse(str(value) if isinstance(value, _KINDS) else value))


Address = Annotated[IPv4Address | IPv6Address, _parsed_by(parse_address)]
Address6 = Annotated[IPv6Address, _parsed_by(parse_address)]
Network = Annotated[IPv4Network | IPv6Network, _parsed_by(parse_network)]
InterfaceAddress = Annotated[IPv4Interface | IPv6Interface, _parsed_by(parse_interface)]
