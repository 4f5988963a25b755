"""Requests and answers of sites and gateways."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tramontana.control.shapes import DisplayName, Id, Shape, Unit

Network = Annotated[str, Field(max_length=64, description="an address and its prefix length")]
Address = Annotated[str, Field(max_length=45, description="an IP address")]
Revision = Annotated[str, Field(max_length=120, description="another text whenever a site or gateway joined or changed its place")]


class SiteWish(Shape):
    networks: list[Network] = Field(max_length=8, description="of the site; empty: whatever the server gives, or gave before")


class GatewayPlace(Shape):
    device_id: Id
    display_name: DisplayName
    number: int
    address: Address


class SiteAssigned(Shape):
    """The place of the site that asks."""

    number: int
    networks: list[Network]
    gateways: list[GatewayPlace]


class GatewayWish(Shape):
    address: Address


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
    """Every site and gateway whose certificate is in force."""

    revision: Revision
    sites: list[SitePlace]
    gateways: list[GatewayPlace]
