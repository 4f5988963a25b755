"""Sites and gateways at the server: numbers and networks without collision, and what they report.

A site never speaks to the server after it has joined: its uplinks let nothing out but its tunnels and the control channels to gateways.
Gateways hand its reports on, signed by its own key, and bring it the organisation's log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.control.delivery import Sender
from tramontana.control.problem import Problem
from tramontana.control.store import audit, routers
from tramontana.control.store.database import Store
from tramontana.internet.overlay import MAX_GATEWAY_NUMBER, MAX_SITE_NUMBER, SITE_BLOCK, TUNNEL_NETWORK, site_network

MAX_NETWORKS = 8
FIRST_SITE_NUMBER = 2
"""1 is the gateways' own end."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a site has to know: its number and networks, and the gateways."""

    number: int
    networks: tuple[routers.Network, ...]
    gateways: Sequence[routers.Gateway]


@dataclass(frozen=True, slots=True)
class Places:
    """What a gateway has to know. revision: another text whenever any of it changed."""

    revision: str
    sites: Sequence[routers.Site]
    gateways: Sequence[routers.Gateway]


class Routers:
    """Gives places to sites and gateways that the organisation has certified as such."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def place_site(self, sender: Sender, wanted: Sequence[str]) -> Place:
        """The site's place, made on its first request and kept; networks that it asks for replace the ones before. Raises `Problem`."""
        networks, now = [_network(each) for each in wanted], self._clock()
        async with self._store.write() as connection:
            number = await routers.number_of_site(connection, sender.device_id)
            is_new = number is None
            if number is None:
                number = await routers.free_site_number(connection, FIRST_SITE_NUMBER, MAX_SITE_NUMBER)
            if number is None:
                raise Problem("no_number", f"There are {MAX_SITE_NUMBER} sites already, which is the most. Revoke one first.")
            if is_new or networks:
                chosen = networks or [site_network(number)]
                _check_apart(networks, await routers.networks_of_others(connection, sender.device_id))
                await routers.set_site(connection, sender.device_id, number, chosen, now)
                details = {"number": number, "networks": [str(each) for each in chosen]}
                await self._audit(connection, sender, "site.placed", details, now)
            found = next((each for each in await routers.all_sites(connection, now) if each.device_id == sender.device_id), None)
            if found is None:
                raise Problem("not_certified")
            return Place(number, found.networks, await routers.all_gateways(connection, now))

    async def place_gateway(self, sender: Sender, address: str) -> int:
        """The gateway's number, made on its first request and kept; the address replaces the one before. Raises `Problem`."""
        now = self._clock()
        try:
            text = str(ip_address(address))
        except ValueError as error:
            raise Problem("invalid_request", "The address of a gateway is an IP address that its sites reach.") from error
        async with self._store.write() as connection:
            if any(each.address == text and each.device_id != sender.device_id for each in await routers.all_gateways(connection, now)):
                raise Problem("place_taken", "Another gateway has this address. Revoke it first, or give this one another address.")
            number = await routers.number_of_gateway(connection, sender.device_id)
            if number is None:
                number = await routers.free_gateway_number(connection, 0, MAX_GATEWAY_NUMBER)
            if number is None:
                raise Problem("no_number", f"There are {MAX_GATEWAY_NUMBER + 1} gateways already, which is the most. Revoke one first.")
            await routers.set_gateway(connection, sender.device_id, number, text, now)
            await self._audit(connection, sender, "gateway.placed", {"number": number, "address": text}, now)
        return number

    async def places(self) -> Places:
        """All sites and gateways whose certificates are in force."""
        now = self._clock()
        async with self._store.read() as connection:
            revision = await routers.revision(connection)
            return Places(revision, await routers.all_sites(connection, now), await routers.all_gateways(connection, now))

    async def _audit(self, connection: AsyncConnection, sender: Sender, action: str, details: dict[str, object], now: float) -> None:
        subject = f"device {sender.device_id}"
        actor = audit.device_actor(sender.device_id)
        await audit.append(connection, now=now, actor=actor, action=action, subject=subject, details=details)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise Problem("invalid_request", "A network is an address and a prefix length, without bits of a host.") from error
    own = [block for block in (SITE_BLOCK, TUNNEL_NETWORK) if block.version == network.version and block.overlaps(network)]
    if not network.is_private or network.prefixlen < (8 if network.version == 4 else 40) or own:
        raise Problem(
            "invalid_request", f"A site's network is a private one (RFC 1918, RFC 4193) outside of {SITE_BLOCK} and {TUNNEL_NETWORK}."
        )
    return network


def _check_apart(networks: Sequence[routers.Network], others: Sequence[routers.Network]) -> None:
    """Raises `Problem` where one overlaps another."""
    for place, network in enumerate(networks):
        for other in [*networks[:place], *others]:
            if other.version == network.version and network.overlaps(other):
                raise Problem("place_taken", f"The network {network} overlaps {other}, which a site has already. Choose another one.")
