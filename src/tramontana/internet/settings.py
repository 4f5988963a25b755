"""What a site and a gateway are configured with: TOML files, refused whole with a sentence for each fault (docs/internet.md)."""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tramontana.complaints import complaints
from tramontana.errors import LocalError
from tramontana.internet.addresses import Address, Address6, InterfaceAddress, Network, overlapped
from tramontana.internet.key_renewal import Timing
from tramontana.internet.outlook import Lookout
from tramontana.internet.overlay import MAX_GATEWAY_NUMBER, MAX_SITE_NUMBER, MAX_UPLINK_INDEX
from tramontana.precedence import PrecedenceLabel

_USUAL = Timing()
DEFAULT_MTU = 1420
"""IPv6 around WireGuard within 1500 octets."""

Tag = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,5}$")]
Interface = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,15}$")]
DeviceId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
SiteNumber = Annotated[int, Field(strict=True, ge=2, le=MAX_SITE_NUMBER)]
GatewayNumber = Annotated[int, Field(strict=True, ge=0, le=MAX_GATEWAY_NUMBER)]
UplinkIndex = Annotated[int, Field(ge=1, le=MAX_UPLINK_INDEX)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Service = Annotated[str, Field(pattern=r"^(tcp|udp)/[1-9][0-9]{0,4}$")]


class SettingsRefused(LocalError):
    """A configuration is not one; the message says where and why."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Renewal(_Strict):
    """Times of the renewal of keys. The defaults fit WireGuard; shorter ones are for trials."""

    interval_s: Seconds = _USUAL.interval_s
    fresh_s: Seconds = _USUAL.fresh_s
    proof_s: Seconds = _USUAL.proof_s
    guard_s: Seconds = _USUAL.guard_s
    resend_s: Seconds = _USUAL.resend_s

    def timing(self) -> Timing:
        return Timing(
            self.interval_s,
            self.fresh_s,
            self.proof_s,
            min(self.proof_s, _USUAL.first_proof_s),
            guard_s=self.guard_s,
            resend_s=self.resend_s,
        )


class _Router(_Strict):
    tag: Tag
    """Begins the names of its interfaces; unique on the machine."""
    state: Path
    """A directory for keys and the status socket."""
    device_key: Path
    """32 secret octets."""
    certificate: Path
    """As the organisation signed it."""
    log: Path
    """The organisation's log: signed statements, each behind its length in 4 octets."""
    organisation: str
    """The fingerprint of the organisation, as in invitations."""
    joined: bool = False
    """It has joined over the server: the log and the other routers' places come from there, for a site through its gateways. False: the
    log is a file that somebody else adds to, and the other routers are those of this configuration."""
    latitude_deg: Annotated[float, Field(ge=-90, le=90)] | None = None
    longitude_deg: Annotated[float, Field(ge=-180, le=180)] | None = None
    """Where it stands, for the console's map."""
    mtu: Annotated[int, Field(ge=1280, le=9000)] = DEFAULT_MTU
    tcp_proxy: bool = False
    """Take TCP connections apart at this end, so that what it sends over the carriers goes by BBR (docs/uplinks.md)."""
    renewal: Renewal = Renewal()


class Uplink(_Strict):
    index: UplinkIndex
    interface: Interface
    address: InterfaceAddress | None = None
    """None: whatever the interface gets by itself in the underlay namespace."""
    via: Address | None = None
    dhcp: bool = False
    """Ask the network for both."""
    carrier: str
    """The id of its carrier, as policies name it."""
    up_mbps: Annotated[float, Field(gt=0)] | None = None
    down_mbps: Annotated[float, Field(gt=0)] | None = None
    """What the carrier sells: traffic is never shaped to more. None: what is measured."""
    dish: Address | None = None
    """At which its Starlink terminal answers, usually 192.168.100.1: it is asked every second (docs/dish.md). None: it is not asked."""
    metered: bool = False
    """Probing keeps to a budget; so it does wherever the policy has a cap."""

    @model_validator(mode="after")
    def _from_one_source(self) -> Self:
        if self.dhcp and (self.address or self.via):
            raise ValueError("with `dhcp = true` the network gives `address` and `via`; leave them out")
        return self

    @property
    def version(self) -> int | None:
        """Of the Internet Protocol of its addresses; None where only the network will tell."""
        given = self.address or self.via
        return None if given is None else given.version


class VoicePlace(_Strict):
    """Where media of the phone service go: a relay or forwarder, and its UDP ports."""

    network: Network
    first_port: Annotated[int, Field(ge=1, le=65535)]
    last_port: Annotated[int, Field(ge=1, le=65535)]


class GatewayPlace(_Strict):
    """A gateway as a site knows it."""

    id: DeviceId
    number: GatewayNumber
    address: Address
    address_6: Address6 | None = None
    """For uplinks with IPv6 alone, if `address` is of IPv4."""

    def reached_over(self, uplink: Uplink) -> str:
        """Its address for this uplink."""
        return str(self.address_6 if uplink.version == 6 and self.address_6 is not None else self.address)

    @property
    def addresses(self) -> list[str]:
        return [str(each) for each in (self.address, self.address_6) if each is not None]


class SiteSettings(_Router):
    number: SiteNumber
    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    """Its local networks: what the gateways route to it."""
    underlay: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    """The name of the namespace for the uplinks; it is made."""
    local: Annotated[tuple[Interface, ...], Field(min_length=1)]
    """Interfaces of the local network."""
    local_address: InterfaceAddress | None = None
    """Given to the first of them. None: they have theirs already."""
    local_address_6: InterfaceAddress | None = None
    """The same of IPv6."""
    page_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """TCP port of the site's page, on the local interfaces alone. None: there is none."""
    policy: Path | None = None
    """Which carriers which traffic may use (docs/uplinks.md). None: all, in the order of the uplinks."""
    uplink: Annotated[tuple[Uplink, ...], Field(min_length=1)]
    gateway: Annotated[tuple[GatewayPlace, ...], Field(min_length=1)]
    """The first is preferred."""
    lookout: Lookout | None = None
    """Where it stands, so that its carriers can be forecast. None: they are not."""
    announced: Path | None = None
    """A file with outages that carriers announced (docs/uplinks.md), read whenever it changes; it need not be there."""
    ceiling: PrecedenceLabel = "priority"
    """The highest precedence that marks of its local networks may claim."""
    voice: tuple[VoicePlace, ...] = ()

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        _different("index of an uplink", [each.index for each in self.uplink])
        _different("interface", [*(each.interface for each in self.uplink), *self.local])
        _different("number of a gateway", [each.number for each in self.gateway])
        _different("id of a gateway", [each.id for each in self.gateway])
        return self


class SitePlace(_Strict):
    """A site as a gateway knows it."""

    id: DeviceId
    number: SiteNumber
    networks: Annotated[tuple[Network, ...], Field(min_length=1)]


class GatewaySettings(_Router):
    number: GatewayNumber
    address: Address
    """At which sites reach it."""
    address_6: Address6 | None = None
    """At which sites with IPv6 alone reach it, if `address` is of IPv4."""
    port_443: bool = True
    """Serve UDP/443 and TLS/443 as well, for sites in networks that block the rest; false where another service has that port."""
    outside: Interface
    """The interface towards the internet."""
    uplinks: Annotated[tuple[UplinkIndex, ...], Field(min_length=1)]
    """Indexes of the sites' uplinks that it serves; it listens at UDP 51820 + index."""
    site_to_site: bool = False
    open_to_sites: tuple[Service, ...] = ()
    """Services of this machine that sites may reach through their tunnels, such as `tcp/443` of a server beside the gateway."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Of 127.0.0.1, where Prometheus may ask for `/metrics` (docs/internet.md). None: nowhere."""

    @property
    def addresses(self) -> list[str]:
        return [str(each) for each in (self.address, self.address_6) if each is not None]

    site: tuple[SitePlace, ...] = ()

    @property
    def services(self) -> list[tuple[str, int]]:
        """Protocol and port of each of `open_to_sites`."""
        named = (each.partition("/") for each in self.open_to_sites)
        return [(protocol, int(port)) for protocol, _, port in named]

    @model_validator(mode="after")
    def _ports_there_are(self) -> Self:
        for protocol, port in self.services:
            if port > 65535:
                raise ValueError(f"open_to_sites: there is no port {port} of {protocol}")
        return self

    @model_validator(mode="after")
    def _all_different(self) -> Self:
        _different("number of a site", [each.number for each in self.site])
        _different("id of a site", [each.id for each in self.site])
        networks = sorted((network for each in self.site for network in each.networks), key=_place)
        for before, network in pairwise(networks):  # in this order whatever overlaps stands next to something that it overlaps
            if overlapped(network, (before,)) is not None:
                raise ValueError(f"the networks {before} and {network} of sites overlap")
        return self


S = TypeVar("S", bound=_Router)


def parse_settings(text: str, kind: type[S], origin: str) -> S:
    """origin: names the file in errors. Raises `SettingsRefused`."""
    try:
        return kind.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise SettingsRefused(f"{origin} is not TOML: {error}") from error
    except ValidationError as error:
        raise SettingsRefused(f"{origin} is refused. {complaints(error)}") from error


def _place(network: IPv4Network | IPv6Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _different(what: str, values: list[object] | list[int] | list[str]) -> None:
    twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
    if twice is not None:
        raise ValueError(f"the {what} {twice} stands there twice")
