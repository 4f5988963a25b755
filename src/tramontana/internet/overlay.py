"""Names and addresses of tunnels, the same at both ends.

A tunnel is a WireGuard connection of one site with one gateway over one uplink. Its two ends have addresses of 100.64.0.0/10
(RFC 6598), in which the gateway's number, the uplink's index and the site's number stand.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from tramontana.internet.addresses import METADATA, overlapped

TUNNEL_BLOCK = IPv4Address("100.64.0.0")
TUNNEL_NETWORK = IPv4Network("100.64.0.0/10")
SITE_BLOCK = IPv4Network("10.64.0.0/10")
"""Of local networks that sites get unless they ask for others: a /24 for each number."""
COPY_BLOCK = IPv6Address("fd74:7261:6d6f:6e74::")
COPY_NETWORK = IPv6Network((COPY_BLOCK, 64))
MAX_GATEWAY_NUMBER = 15
MAX_UPLINK_INDEX = 15
OUTER = MAX_UPLINK_INDEX + 1
"""Added to an uplink's index in the id of the outer tunnel of a nested pair; the pair itself has the id of its inner one."""
LAYER_OCTETS = 20 + 8 + 32
"""What an outer layer adds to a packet: IPv4, UDP, and WireGuard's header and tag (whitepaper §5.4.6)."""
LEAST_OUTER_MTU = 1280 + LAYER_OCTETS
"""IPv6 wants 1280 octets inside the inner tunnel (RFC 8200 §5)."""
MAX_SITE_NUMBER = (1 << 14) - 2
MOST_NETWORKS = 8
"""That a site may ask the server for."""
GATEWAY_END = 1
"""The host number of a gateway's own end; sites have 2 and above."""
WIREGUARD_PORT = 51820
"""The gateway listens at this port plus the uplink's index."""
CONTROL_PORT = 51819
FIRST_SITE_PORT = 51836
SCOUT_PORT = 51818
"""Of the gateway's agent; scouts come to it by way of every rung's port."""
HTTPS_PORT = 443
"""Of UDP and TLS where a network blocks the others; all tunnels of all sites share it."""


class TunnelId(NamedTuple):
    """Device ids of the site and the gateway, of their certificates, and the site's uplink."""

    site: str
    gateway: str
    uplink: int
    """Its index; with `OUTER` added for the outer tunnel of a nested pair."""

    @property
    def outer(self) -> TunnelId:
        """The outer tunnel around this one, where tunnels are nested."""
        return self._replace(uplink=self.uplink + OUTER)

    @property
    def is_outer(self) -> bool:
        return self.uplink > MAX_UPLINK_INDEX

    @property
    def carried(self) -> TunnelId:
        """What carries traffic: itself, or the tunnel inside this outer one."""
        return self._replace(uplink=self.uplink % OUTER)

    def encode(self) -> bytes:
        """33 bytes: what keys of this tunnel are bound to."""
        return bytes.fromhex(self.site) + bytes.fromhex(self.gateway) + self.uplink.to_bytes(1, "big")


def tunnel_address(gateway_number: int, uplink: int, site_number: int) -> IPv4Address:
    """The end of a site in its tunnel, or of the gateway with `GATEWAY_END`."""
    return TUNNEL_BLOCK + (gateway_number << 18) + (uplink << 14) + site_number


def site_network(number: int) -> IPv4Network:
    """The local network of the site with this number, unless it asked for another."""
    return IPv4Network((SITE_BLOCK.network_address + (number << 8), 24))


def organisation_block(organisation_id: str) -> IPv6Network:
    """Of local IPv6 networks that sites of an organisation get unless they ask for others: a /64 of this /48 for each number.

    The Global ID (RFC 4193 §3.2) is a part of the organisation's fingerprint: as good as random, and the same wherever it is asked for.
    """
    digest = bytes.fromhex(organisation_id)
    blocks = (IPv6Network((b"\xfd" + digest[start : start + 5] + bytes(10), 48)) for start in range(len(digest) - 4))
    return next(block for block in blocks if overlapped(block, (COPY_NETWORK, *METADATA)) is None)


def site_network_6(organisation_id: str, number: int) -> IPv6Network:
    """As `site_network`."""
    return IPv6Network((organisation_block(organisation_id).network_address + (number << 64), 64))


def site_port(gateway_number: int, uplink: int) -> int:
    """From which the site's end of a tunnel sends: a dynamic port (RFC 6335 §6), the same after every restart."""
    return FIRST_SITE_PORT + (gateway_number << 4) + uplink


def copy_address(tunnel_end: IPv4Address) -> IPv6Address:
    """Nobody has it. Its route leads into the tunnel of that end, and by it nftables sends copies of IPv6 packets there."""
    return COPY_BLOCK + int(tunnel_end)


class Layer(StrEnum):
    """What an interface of WireGuard is. Each has names of its own: its socket is in another namespace."""

    PLAIN = "plain"
    INNER = "inner"
    OUTER = "outer"


def site_interface(tag: str, gateway_number: int, uplink: int, layer: Layer = Layer.PLAIN) -> str:
    """At most 15 characters, as Linux wants: unique on the machine, because the sockets of wireguard-go are."""
    return f"{tag}{_SITE_LETTERS[layer]}{gateway_number}u{uplink}"


def gateway_interface(tag: str, uplink: int, layer: Layer = Layer.PLAIN) -> str:
    return f"{tag}{_GATEWAY_LETTERS[layer]}{uplink}"


def between(tag: str) -> str:
    """The name of the namespace between the layers of nested tunnels."""
    return f"{tag}-between"


_SITE_LETTERS = {Layer.PLAIN: "g", Layer.INNER: "n", Layer.OUTER: "o"}
_GATEWAY_LETTERS = {Layer.PLAIN: "u", Layer.INNER: "i", Layer.OUTER: "o"}
