"""Sites and gateways at the server: numbers and networks without collision, and what they report.

A site never speaks to the server after it has joined: its uplinks let nothing out but its tunnels and the control channels to gateways.
Gateways hand its reports on, signed by its own key, and bring it the organisation's log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import Field, TypeAdapter
from sqlalchemy.ext.asyncio import AsyncConnection

from tramontana.carrier_hours import HOUR_S, CarrierHour
from tramontana.control import frames
from tramontana.control.delivery import Sender
from tramontana.control.hub import Hub
from tramontana.control.problem import Problem
from tramontana.control.store import audit, carrier_hours, routers
from tramontana.control.store.database import Store
from tramontana.internet.addresses import is_private, overlapped, parse_address, parse_network
from tramontana.internet.overlay import (
    COPY_NETWORK,
    MAX_GATEWAY_NUMBER,
    MAX_SITE_NUMBER,
    SITE_BLOCK,
    TUNNEL_NETWORK,
    organisation_block,
    site_network,
    site_network_6,
)
from tramontana.internet.report import GatewayReport, ReportRefused, SignedReport, SiteReport, verify_report
from tramontana.keys.identity import SignatureRefused

CLOCKS_DIFFER_S = 300.0
KINDS: Mapping[str, type[SiteReport] | type[GatewayReport]] = {"site": SiteReport, "gateway": GatewayReport}
_REPORT: TypeAdapter[SiteReport | GatewayReport] = TypeAdapter(Annotated[SiteReport | GatewayReport, Field(discriminator="role")])
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
    """What a gateway has to know. revision: another text whenever one joined or changed its place; certificates are not in it."""

    revision: str
    sites: Sequence[routers.Site]
    gateways: Sequence[routers.Gateway]


@dataclass(frozen=True, slots=True)
class Reported:
    """A router's last report. received_at: by the server's clock; `report.at` is by its own."""

    received_at: float
    report: SiteReport | GatewayReport


class Routers:
    """Gives places to sites and gateways that the organisation has certified as such."""

    def __init__(self, store: Store, hub: Hub, clock: Callable[[], float]) -> None:
        self._store = store
        self._hub = hub
        self._clock = clock
        self._read: dict[str, Reported] = {}

    async def place_site(self, sender: Sender, wanted: Sequence[str], organisation_id: str) -> Place:
        """The site's place, made on its first request and kept; networks that it asks for replace the ones before. It gets its own
        of whichever version of IP it neither asked for nor has. Raises `Problem`.
        """
        networks, now = [_network(each, organisation_id) for each in wanted], self._clock()
        async with self._store.write() as connection:
            number = await routers.number_of_site(connection, sender.device_id)
            if number is None:
                number = await routers.free_site_number(connection, FIRST_SITE_NUMBER, MAX_SITE_NUMBER)
            if number is None:
                raise Problem("no_number", f"There are {MAX_SITE_NUMBER} sites already, which is the most. Revoke one first.")
            kept = await routers.networks_of_site(connection, sender.device_id)
            chosen = networks or list(kept)
            own = (site_network(number), site_network_6(organisation_id, number))
            chosen += [each for each in own if each.version not in {other.version for other in chosen}]
            is_other = tuple(chosen) != kept
            if is_other:
                if networks:
                    _check_apart(networks, await routers.networks_of_others(connection, sender.device_id))
                await routers.set_site(connection, sender.device_id, number, chosen, now)
                details = {"number": number, "networks": [str(each) for each in chosen]}
                await self._audit(connection, sender, "site.placed", details, now)
            found = await routers.site(connection, sender.device_id, now)
            if found is None:
                raise Problem("not_certified")
            gateways = await routers.all_gateways(connection, now)
        if is_other:
            self._tell(gateways)
        return Place(number, found.networks, gateways)

    async def place_gateway(self, sender: Sender, address: str, address_6: str | None = None) -> int:
        """The gateway's number, made on its first request and kept; its addresses replace those before. Raises `Problem`."""
        now = self._clock()
        text, text_6 = _address(address), None if address_6 is None else _address(address_6)
        if text_6 is not None and (":" in text or ":" not in text_6):
            raise Problem("invalid_request", "A gateway's second address is one of IPv6, beside one of IPv4.")
        async with self._store.write() as connection:
            others = [each for each in await routers.all_gateways(connection, now) if each.device_id != sender.device_id]
            if {text, text_6} & {address for each in others for address in (each.address, each.address_6) if address is not None}:
                raise Problem("place_taken", "Another gateway has this address. Revoke it first, or give this one another address.")
            number = await routers.number_of_gateway(connection, sender.device_id)
            if number is None:
                number = await routers.free_gateway_number(connection, 0, MAX_GATEWAY_NUMBER)
            if number is None:
                raise Problem("no_number", f"There are {MAX_GATEWAY_NUMBER + 1} gateways already, which is the most. Revoke one first.")
            await routers.set_gateway(connection, sender.device_id, number, text, text_6, now)
            details = {"number": number, "address": text, "address_6": text_6}
            await self._audit(connection, sender, "gateway.placed", details, now)
            gateways = await routers.all_gateways(connection, now)
        self._tell(gateways)
        return number

    def _tell(self, gateways: Sequence[routers.Gateway]) -> None:
        """Those that are not connected ask by themselves."""
        self._hub.push([each.device_id for each in gateways], frames.encode(frames.PlacesChanged()))

    async def places(self, since: str = "") -> Places:
        """The sites and gateways whose certificates are in force. since: of sites, those only that may not be in that revision."""
        now = self._clock()
        async with self._store.read() as connection:
            revision = await routers.revision(connection)
            sites = await routers.all_sites(connection, now, routers.back_to(since))
            return Places(revision, sites, await routers.all_gateways(connection, now))

    async def take_reports(self, gateway: Sender, organisation_id: str, given: Sequence[SignedReport]) -> int:
        """Keep the newest of each router, as far as its own key signed it; how many were refused."""
        now = self._clock()
        async with self._store.read() as connection:
            known = await routers.reporters(connection, {each.device_id for each in given}, now)
        newest: dict[str, routers.Report] = {}
        read: dict[str, Reported] = {}
        hours: dict[tuple[str, int, str], CarrierHour] = {}
        refused = 0
        for signed in given:
            reporter = known.get(signed.device_id)
            try:
                if reporter is None:
                    raise ReportRefused("its certificate does not count")
                kind = next((kind for role, kind in KINDS.items() if role in reporter.roles), None)
                if kind is None:
                    raise ReportRefused("it is no router")
                report = verify_report(signed, kind, organisation_id, reporter.signature_public_key)
            except (ReportRefused, SignatureRefused):
                refused += 1
                continue
            if isinstance(report, SiteReport):
                over = [each for each in report.hours if (each.hour + 1) * HOUR_S <= now + CLOCKS_DIFFER_S]
                hours |= {(signed.device_id, each.hour, each.carrier): each for each in over}
            last = newest[signed.device_id].at if signed.device_id in newest else reporter.last_at
            if report.at <= now + CLOCKS_DIFFER_S and (last is None or report.at > last):
                text = signed.report.decode("utf-8")
                newest[signed.device_id] = routers.Report(signed.device_id, report.at, now, gateway.device_id, text)
                read[signed.device_id] = Reported(now, _for_console(report))
        if newest or hours:
            async with self._store.write() as connection:
                await routers.keep_reports(connection, list(newest.values()))
                await carrier_hours.keep(connection, [(device_id, each) for (device_id, _, _), each in hours.items()])
        self._read |= read
        return refused

    async def revision(self) -> str:
        """As in `Places`."""
        async with self._store.read() as connection:
            return await routers.revision(connection)

    async def reported(self) -> Mapping[str, Reported]:
        """The last report of each router, by device id."""
        async with self._store.read() as connection:
            instants = await routers.reported_at(connection)
            # Most came by this process: reading ten thousand takes seconds that everybody else would wait.
            known = {each: read for each, at in instants.items() if (read := self._read.get(each)) and read.report.at == at}
            rows = await routers.reports(connection, [each for each in instants if each not in known])
        self._read = known | {device_id: _reported(row) for device_id, row in rows.items()}
        return self._read

    async def _audit(self, connection: AsyncConnection, sender: Sender, action: str, details: dict[str, object], now: float) -> None:
        subject = f"device {sender.device_id}"
        actor = audit.device_actor(sender.device_id)
        await audit.append(connection, now=now, actor=actor, action=action, subject=subject, details=details)


def _reported(row: routers.Report) -> Reported:
    return Reported(row.received_at, _for_console(_REPORT.validate_json(row.report)))


def _for_console(report: SiteReport | GatewayReport) -> SiteReport | GatewayReport:
    """Without the hours, which are most of it and are kept elsewhere."""
    return report.model_copy(update={"hours": ()}) if isinstance(report, SiteReport) else report


def _address(text: str) -> str:
    try:
        return str(parse_address(text))
    except ValueError as error:
        raise Problem("invalid_request", "The address of a gateway is an IP address that its sites reach.") from error


def _network(text: str, organisation_id: str) -> IPv4Network | IPv6Network:
    try:
        network = parse_network(text)
    except ValueError as error:
        raise Problem("invalid_request", "A network is an address and a prefix length, without bits of a host.") from error
    own = (SITE_BLOCK, TUNNEL_NETWORK) if network.version == 4 else (organisation_block(organisation_id), COPY_NETWORK)
    if not is_private(network) or network.prefixlen < (8 if network.version == 4 else 40) or overlapped(network, own) is not None:
        raise Problem(
            "invalid_request", f"A site's network is a private one (RFC 1918, RFC 4193) outside of {' and '.join(map(str, own))}."
        )
    return network


def _check_apart(networks: Sequence[routers.Network], others: Sequence[routers.Network]) -> None:
    """Raises `Problem` where one overlaps another."""
    for place, network in enumerate(networks):
        if (other := overlapped(network, [*networks[:place], *others])) is not None:
            raise Problem("place_taken", f"The network {network} overlaps {other}, which a site has already. Choose another one.")
