"""`tramontana site join` and `tramontana gateway join`: a machine becomes a router of the organisation, as a phone becomes a member."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import click
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tramontana.carriers.catalogue import carrier
from tramontana.cli.beside import beside
from tramontana.complaints import complaints
from tramontana.device.device import Device
from tramontana.device.driver import OnlineDevice, ask_once
from tramontana.device.enrolment import KEY_ROW, TABLE, Enrolment, Invitation, enrol
from tramontana.device.requests import Request
from tramontana.device.storage.driver import SealedStore
from tramontana.errors import LocalError, RemoteError
from tramontana.internet.addresses import Address, Address6, Network, is_private, overlapped, parse_address, parse_interface, parse_network
from tramontana.internet.linux import dhcp
from tramontana.internet.linux.found import Interface
from tramontana.internet.log_file import EntryFile
from tramontana.internet.overlay import SITE_BLOCK, organisation_block
from tramontana.internet.settings import DeviceId, GatewayNumber, GatewaySettings, SiteNumber, SiteSettings, parse_settings
from tramontana.private_file import make_private

Role = Literal["site", "gateway"]
T = TypeVar("T")
PAGE_PORT = 80
LOOK_AGAIN_S = 5.0
SAY_AGAIN_S = 30.0
SYSTEMD = Path("/run/systemd/system")
UNITS = Path("/etc/systemd/system")


@dataclass(frozen=True, slots=True)
class Uplink:
    interface: str
    carrier: str
    address: str | None
    via: str | None

    @property
    def asks(self) -> bool:
        """Whether it gets its address by DHCP. That of a ppp interface comes with the connection."""
        return self.address is None and not self.interface.startswith("ppp")


def _local(network: Network) -> Network:
    if not is_private(network):
        raise ValueError(f"{network} is no private network (RFC 1918, RFC 4193)")
    return network


class _Answer(BaseModel):
    """Of the server, which is not believed: what it says ends up in a configuration that root acts on."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class GatewayThere(_Answer):
    device_id: DeviceId
    number: GatewayNumber
    address: Address
    address_6: Address6 | None = None


class SiteGiven(_Answer):
    number: SiteNumber
    networks: Annotated[tuple[Annotated[Network, AfterValidator(_local)], ...], Field(min_length=1)]
    gateways: tuple[GatewayThere, ...]


class GatewayGiven(_Answer):
    number: GatewayNumber


Given = TypeVar("Given", bound=_Answer)


class AnswerRefused(RemoteError):
    """The server gave a place that is none; nothing was written."""


def parse_answer(answer: object, kind: type[Given]) -> Given:
    """Raises `AnswerRefused`."""
    try:
        return kind.model_validate(answer)
    except ValidationError as error:
        raise AnswerRefused(
            f"the server's answer is refused, and nothing was written. {complaints(error)}. "
            "Use programs of one version; else ask who runs the server"
        ) from error


@dataclass(frozen=True, slots=True)
class Certified:
    """What a site or gateway has once custodians let it in."""

    role: Role
    fingerprint: str
    directory: Path

    @property
    def device_key(self) -> Path:
        return self.directory / "device.key"

    @property
    def certificate(self) -> Path:
        return self.directory / "certificate"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    def common_lines(self, tag: str, position: tuple[float, float] | None = None) -> list[str]:
        """Of its configuration. position: degrees north and east."""
        values: dict[str, object] = {
            "tag": tag,
            "state": str(self.directory),
            "device_key": str(self.device_key),
            "certificate": str(self.certificate),
            "log": str(self.log),
            "organisation": self.fingerprint,
            "joined": True,
        }
        if position is not None:
            values |= {"latitude_deg": position[0], "longitude_deg": position[1]}
        return toml_lines(**values)


def given_link(link: str | None) -> str | None:
    """The link itself; `-`: a line of standard input, as other users of the machine see the words of a command. Raises `LocalError`."""
    if link != "-":
        return link
    read = sys.stdin.readline().strip()
    if not read:
        raise LocalError("no link came by standard input; for example `tramontana site join - < ship.link`")
    return read


def join_router(
    role: Role, link: str | None, name: str, directory: Path, place: Callable[[OnlineDevice], Awaitable[T]]
) -> tuple[Certified, T]:
    """Enrol, wait for the custodians, get a place of the server: (what it has, the server's answer). Begun before, it goes on.

    Raises what a user has to read.
    """
    store = SealedStore.of_machine(directory)
    try:
        if Enrolment.read(store) is None:
            if link is None:
                raise LocalError(f"there is no device in {directory} yet: give the link of an invitation with the role {role}")
            invitation = Invitation.parse(given_link(link) or "")
            asyncio.run(ask_once(invitation.origin, enrol(store, invitation, name)))
        certified = Certified(role, Enrolment.read(store)[0].fingerprint, directory)  # type: ignore[index]
        file = EntryFile(certified.log)
        if certified.log.exists():
            file.read_new()
        device = Device(store, lambda start, entries: file.append(file.missing(start, entries)))
        answer = asyncio.run(_certified_and_placed(device, role, place))
        with suppress(FileExistsError):
            make_private(certified.device_key, store.read(TABLE)[KEY_ROW])
        certificate = device.membership.certificate(device.enrolment.device_id)
        assert certificate is not None
        certified.certificate.write_bytes(certificate.encoded)
        return certified, answer
    finally:
        store.close()


async def _certified_and_placed(device: Device, role: Role, place: Callable[[OnlineDevice], Awaitable[T]]) -> T:
    connected = OnlineDevice(device)

    async def work() -> T:
        began = time.monotonic()
        said = False
        while device.standing(connected.now()) != "certified":
            waited = int(time.monotonic() - began)
            if not said:
                click.echo(
                    f"Enrolled at {device.membership.root.name}. Device code {device.code}: read it to the custodian who certifies it."
                )
            click.echo(f"Waiting for the custodians{f', for {waited} s' if said else ''} …")
            said = True
            with suppress(TimeoutError):
                async with asyncio.timeout(SAY_AGAIN_S):
                    await connected.until_certified()
        certificate = device.membership.certificate(device.enrolment.device_id)
        assert certificate is not None
        if role not in certificate.grant.roles:
            raise LocalError(
                f"the custodians certified {certificate.grant.display_name} without the role {role}; "
                f"have them change its certificate (tramontana custodian change --role {role}), then join again"
            )
        click.echo(f"Certified as {certificate.grant.display_name}.")
        return await place(connected)

    try:
        return await beside(connected.run(), work())
    finally:
        await connected.close()


async def site_place(connected: OnlineDevice, networks: Sequence[str], found: Sequence[Network] = ()) -> SiteGiven:
    """Number, networks and gateways, as soon as there is a gateway. networks: asked for; else those `found` that no server gave.

    Raises `AnswerRefused`.
    """
    if not networks and found:
        given_ones = (SITE_BLOCK, organisation_block(connected.device.membership.root.organisation_id))
        networks = [str(network) for network in found if overlapped(network, given_ones) is None]
    said = False
    while True:
        given = parse_answer(await connected.request(Request("PUT", "/me/site", {"networks": list(networks)})), SiteGiven)
        if given.gateways:
            return given
        if not said:
            click.echo("Waiting for the first gateway to join …")
            said = True
        await asyncio.sleep(LOOK_AGAIN_S)


async def gateway_place(connected: OnlineDevice, address: str, address_6: str | None = None) -> GatewayGiven:
    """Raises `AnswerRefused`."""
    more = {} if address_6 is None else {"address_6": address_6}
    return parse_answer(await connected.request(Request("PUT", "/me/gateway", {"address": address, **more})), GatewayGiven)


# What the machine has


def find_uplinks(given: Sequence[str], found: Sequence[Interface], local: Sequence[str]) -> list[Uplink]:
    """From `INTERFACE=CARRIER[,ADDRESS/LENGTH[,VIA]]`, or every interface with a way to the internet. Raises `LocalError`."""
    by_name = {each.name: each for each in found}
    if given:
        made = [_given_uplink(text, by_name) for text in given]
    else:
        made = [_uplink(each, guessed_carrier(each.name)) for each in found if each.leads_out and each.name not in local]
    if not made:
        raise LocalError("no interface has a way to the internet; name the uplinks, for example --uplink eth1=starlink")
    for each in made:
        carrier(each.carrier)
    return made


def _given_uplink(text: str, by_name: dict[str, Interface]) -> Uplink:
    interface, equals, rest = text.partition("=")
    if not equals or interface not in by_name:
        known = ", ".join(sorted(by_name)) or "none"
        raise LocalError(f"--uplink {text}: say INTERFACE=CARRIER, such as eth1=starlink; this machine's interfaces: {known}")
    name, *address = rest.split(",")
    if not address:
        return _uplink(by_name[interface], name)
    try:
        own, via = str(parse_interface(address[0])), str(parse_address(address[1])) if len(address) > 1 else None
    except ValueError as error:
        raise LocalError(f"--uplink {text}: {error}") from error
    return Uplink(interface, name, own, via)


def _uplink(found: Interface, carrier_id: str) -> Uplink:
    if found.leased or not found.addresses:  # whatever it gets again, where it will be
        return Uplink(found.name, carrier_id, None, None)
    return Uplink(found.name, carrier_id, str(found.addresses[0]), None if found.via is None else str(found.via))


def guessed_carrier(interface: str) -> str:
    """A modem is a mobile network, anything else a line, until somebody says better."""
    return "4g" if interface.startswith(("ww", "ppp", "usb")) else "fibre"


def check_dhcp(uplinks: Sequence[Uplink]) -> None:
    """Raises `LocalError` where the DHCP client is missing: once the site runs, nothing could be fetched to install it."""
    asking = [each.interface for each in uplinks if each.asks]
    if asking and dhcp.client_program() is None:
        raise LocalError(
            f"{dhcp.CLIENT} is missing, by which {', '.join(asking)} would get an address, and once the site runs it cannot be fetched: "
            f"install it first (Debian: apt install udhcpc), or say --uplink {asking[0]}=CARRIER,ADDRESS/LENGTH,VIA. Nothing was changed"
        )


def find_local(given: Sequence[str], found: Sequence[Interface], uplinks: Sequence[str]) -> list[str]:
    """The interfaces of the local network. Raises `LocalError`."""
    names = {each.name for each in found}
    if unknown := [name for name in given if name not in names]:
        raise LocalError(f"there is no interface {unknown[0]}; this machine's: {', '.join(sorted(names)) or 'none'}")
    local = list(given) or [each.name for each in found if not each.leads_out and each.name not in uplinks]
    if not local:
        raise LocalError("which interface leads to the local network? Name it, for example --local eth0")
    return local


def asked_networks(given: Sequence[str]) -> list[str]:
    """Raises `LocalError`."""
    try:
        return [str(parse_network(each)) for each in given]
    except ValueError as error:
        raise LocalError(f"--network: {error}") from error


def local_networks(local: Sequence[str], found: Sequence[Interface]) -> list[Network]:
    """The private ones that the local interfaces are in already."""
    own = [each for each in found if each.name in local]
    there: list[Network] = [address.network for each in own for address in each.addresses]
    there += [address.network for each in own for address in each.addresses_6]
    longest = {4: 30, 6: 64}
    return [network for network in dict.fromkeys(there) if is_private(network) and network.prefixlen <= longest[network.version]]


def local_address(version: int, networks: Sequence[Network], local: Sequence[str], found: Sequence[Interface]) -> str | None:
    """The first address of the first network of this version of IP, unless a local interface has one of it."""
    first = next((network for network in networks if network.version == version), None)
    here = [each for each in found if each.name in local]
    if first is None or any(address.ip in first for each in here for address in (each.addresses if version == 4 else each.addresses_6)):
        return None
    return str(ip_interface((first.network_address + 1, first.prefixlen)))


def outside_of(found: Sequence[Interface], interface: str | None, address: str | None) -> tuple[str, str]:
    """(interface, address) of a gateway towards the internet. Raises `LocalError`."""
    candidates = [each for each in found if (each.name == interface if interface else each.leads_out)]
    if not candidates:
        raise LocalError(
            f"{'there is no interface ' + interface if interface else 'no interface has a way to the internet'}; use --outside"
        )
    chosen = candidates[0]
    if address is None and not chosen.addresses:
        raise LocalError(f"{chosen.name} has no address; say at which address sites reach this gateway with --address")
    given = address or str(chosen.addresses[0].ip)
    try:
        told = parse_address(given)
    except ValueError as error:
        raise LocalError(f"--address: {error}") from error
    if address is None and is_private(ip_network(told)):
        click.echo(f"{given} is a private address: if sites come over the internet, say the public one with --address.", err=True)
    return chosen.name, str(told)


# Configuration


def toml_lines(**values: object) -> list[str]:
    """A line for each value but None."""
    return [f"{name} = {_toml(value)}" for name, value in values.items() if value is not None]


def _toml(value: object) -> str:
    """A value as TOML (v1.0.0): whatever is no number, truth or list is a string, quoted, with everything escaped that could end it."""
    match value:
        case bool() | int() | float():
            return str(value).lower()
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def site_config(
    common: Sequence[str], underlay: str, place: SiteGiven, uplinks: Sequence[Uplink], local: Sequence[str], found: Sequence[Interface]
) -> str:
    lines = ["# Written by `tramontana site join`. Format: docs/internet.md", *common]
    lines += toml_lines(
        number=place.number,
        networks=place.networks,
        underlay=underlay,
        local=local,
        page_port=PAGE_PORT,
        local_address=local_address(4, place.networks, local, found),
        local_address_6=local_address(6, place.networks, local, found),
    )
    for index, uplink in enumerate(uplinks, start=1):
        lines += ["", "[[uplink]]"]
        lines += toml_lines(
            index=index,
            interface=uplink.interface,
            carrier=uplink.carrier,
            address=uplink.address,
            dhcp=True if uplink.asks else None,
            via=uplink.via,
        )
    for gateway in place.gateways:
        lines += ["", "[[gateway]]"]
        lines += toml_lines(id=gateway.device_id, number=gateway.number, address=gateway.address, address_6=gateway.address_6)
    return "\n".join(lines) + "\n"


def address_of_6(given: str | None, address: str) -> str | None:
    """A gateway's second address. Raises `LocalError`."""
    if given is None:
        return None
    try:
        told = parse_address(given)
    except ValueError as error:
        raise LocalError(f"--address-6: {error}") from error
    if told.version != 6 or ":" in address:
        raise LocalError(f"--address-6 {given}: say an IPv6 address here, beside an IPv4 address with --address")
    return str(told)


def gateway_config(
    common: Sequence[str], number: int, address: str, address_6: str | None, outside: str, uplinks: int, *, site_to_site: bool
) -> str:
    lines = ["# Written by `tramontana gateway join`. Format: docs/internet.md", *common]
    served = list(range(1, uplinks + 1))
    lines += toml_lines(number=number, address=address, address_6=address_6, outside=outside, uplinks=served, site_to_site=site_to_site)
    return "\n".join(lines) + "\n"


def write_config(path: Path, text: str, role: Role) -> None:
    """Checked first. Raises `SettingsRefused`, `LocalError`."""
    parse_settings(text, SiteSettings if role == "site" else GatewaySettings, str(path))
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LocalError(f"cannot write {path} ({error.strerror})") from error
    click.echo(f"Configuration: {path}")


# The service


def unit_text(role: Role, config: Path) -> str:
    """A systemd unit. A site's comes up before the network does, so that nothing leaves before its kill switch stands."""
    order = (
        "DefaultDependencies=no\nAfter=local-fs.target systemd-udevd.service\nBefore=network-pre.target shutdown.target\n"
        "Wants=network-pre.target\nConflicts=shutdown.target\n"
        if role == "site"
        else "After=network-online.target\nWants=network-online.target\n"
    )
    command = f"{_unit_word(sys.executable)} -P -m tramontana.cli.main {role} run --config {_unit_word(str(config)).replace('$', '$$')}"
    return (
        f"[Unit]\nDescription=Tramontana {role}\n{order}StartLimitIntervalSec=0\n\n"
        f"[Service]\nType=exec\nExecStart={command}\nRestart=always\nRestartSec=2\n"
        "# Tunnels, routes and the kill switch outlive the agent.\nKillMode=process\n"
        "CPUSchedulingPolicy=rr\nCPUSchedulingPriority=5\nUMask=0077\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def _unit_word(text: str) -> str:
    """One word of a command line, whatever is in it (systemd.service(5), "Command lines"; `%` as in systemd.unit(5), "Specifiers")."""
    return json.dumps(text, ensure_ascii=False).replace("%", "%%")


def install_service(role: Role, config: Path) -> bool:
    """Whether there is systemd here; the unit runs then. Raises `LocalError`."""
    if not SYSTEMD.exists() or shutil.which("systemctl") is None:
        return False
    name = f"tramontana-{role}.service"
    try:
        (UNITS / name).write_text(unit_text(role, config))
        for words in (["daemon-reload"], ["enable", name], ["restart", name]):
            subprocess.run(["systemctl", *words], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise LocalError(
            f"the service {name} cannot be installed ({said.strip()}); run `tramontana {role} run --config {config}`"
        ) from error
    click.echo(f"Service {name} runs, and starts with the machine. What it says: journalctl -u {name}")
    return True


def check_root(role: Role) -> None:
    if os.geteuid() != 0:
        raise LocalError(f"a {role} changes interfaces, routes and rules of this machine: run this as root")
