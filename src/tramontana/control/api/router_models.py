"""Requests and answers of sites and gateways."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tramontana.control.shapes import DisplayName, Id, Shape, Signature, Unit, UnixSeconds, base64_bytes
from tramontana.internet.overlay import MOST_NETWORKS
from tramontana.internet.report import MAX_REPORT_BYTES, MOST_REPORTS

Network = Annotated[str, Field(max_length=64, description="an address and its prefix length")]
Address = Annotated[str, Field(max_length=45, description="an IP address")]
Address6 = Annotated[Address | None, Field(description="an IPv6 address, for sites with IPv6 alone, where the other is of IPv4")]
Revision = Annotated[str, Field(max_length=120, description="another text whenever a site or gateway joined or changed its place")]


class SiteWish(Shape):
    networks: list[Network] = Field(max_length=MOST_NETWORKS, description="of the site; empty: whatever the server gives, or gave before")


class GatewayPlace(Shape):
    device_id: Id
    display_name: DisplayName
    number: int
    address: Address
    address_6: Address6 = None


class SiteAssigned(Shape):
    """The place of the site that asks."""

    number: int
    networks: list[Network]
    gateways: list[GatewayPlace]


class GatewayWish(Shape):
    address: Address
    address_6: Address6 = None


class GatewayAssigned(Shape):
    """The place of the gateway that asks."""

    number: int


class SitePlace(Shape):
    device_id: Id
    display_name: DisplayName
    unit: Unit
    number: int
    networks: list[Network]


class Places(Shape):
    """Sites and gateways whose certificates are in force."""

    revision: Revision
    sites: list[SitePlace]
    gateways: list[GatewayPlace]


class HandedReport(Shape):
    """What a router reports, signed by its own key: context `tramontana router report 1`, docs/protocols.md."""

    device_id: Id
    report: Annotated[bytes, *base64_bytes(2, MAX_REPORT_BYTES)]
    signature: Signature = Field(repr=False)


class HandedReports(Shape):
    """May be empty: whoever only wants to know whether places changed."""

    reports: list[HandedReport] = Field(max_length=MOST_REPORTS)


class ReportsTaken(Shape):
    refused: int = Field(description="how many were malformed, or not signed by the router that they name")
    revision: Revision


# For the console


class Words(Shape):
    """A sentence of an agent in the console's languages."""

    en: str
    it: str


class RouterPosition(Shape):
    latitude_deg: float
    longitude_deg: float


class SiteTunnel(Shape):
    """delay_ms: round trip; loss: a share; key_age_s: of the post-quantum key in force; handshake_age_s: of WireGuard's session."""

    gateway_id: Id
    uplink: int
    carrier_id: str
    up: bool
    health: str | None
    delay_ms: float | None
    loss: float | None
    key_age_s: float | None
    handshake_age_s: float | None


class SiteSwitch(Shape):
    at: UnixSeconds
    before: str | None
    after: str | None
    reason: Words


class SiteSummary(Shape):
    """What the site said last. `at`: by its clock; `log_size`: of the organisation's log, as it has it; `tunnel`: the one that carries."""

    at: UnixSeconds
    received_at: UnixSeconds
    log_size: int
    tunnel: SiteTunnel | None
    blocked: Words | None
    tunnels: int
    tunnels_up: int
    position: RouterPosition | None


class SiteDetails(Shape):
    """Every tunnel, and the last switches of routine data, the newest first."""

    tunnels: list[SiteTunnel]
    switches: list[SiteSwitch]


class SiteShown(Shape):
    """`state` is null until the first report."""

    device_id: Id
    display_name: DisplayName
    unit: Unit
    number: int
    networks: list[Network]
    state: SiteSummary | None


class GatewayState(Shape):
    at: UnixSeconds
    received_at: UnixSeconds
    log_size: int
    sites: int
    fault: str | None
    position: RouterPosition | None


class GatewayShown(Shape):
    device_id: Id
    display_name: DisplayName
    number: int
    address: Address
    address_6: Address6
    state: GatewayState | None


class CarrierName(Shape):
    carrier_id: str
    name: str


class RoutersShown(Shape):
    """Sites and gateways in force, and what they said last."""

    sites: list[SiteShown]
    gateways: list[GatewayShown]
    carriers: list[CarrierName]
    log_size: int
