"""The machine of a site before and after its agent: closed at the start whatever is wrong; as it was, or without its keys, in the end."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path

from tramontana.errors import LocalError, TramontanaError
from tramontana.internet import kill_switch, zeroise
from tramontana.internet.linux import firewall, links, mptcp, tcp_proxy
from tramontana.internet.linux.dhcp import DhcpClient
from tramontana.internet.linux.namespace import Namespace
from tramontana.internet.linux.wireguard import WireGuard, remove_outer, wireguard_here
from tramontana.internet.overlay import Layer, between, site_interface
from tramontana.internet.settings import SiteSettings, Uplink
from tramontana.internet.site.known_gateways import with_known_gateways


def dhcp_clients(settings: SiteSettings) -> list[DhcpClient]:
    """Of the uplinks that ask the network for their address."""
    underlay = Namespace(settings.underlay)
    gateways = [address for gateway in settings.gateway for address in gateway.addresses]
    return [DhcpClient(underlay, uplink.interface, uplink.index, settings.state, gateways) for uplink in settings.uplink if uplink.dhcp]


def close(settings: SiteSettings) -> None:
    """Let nothing out of the main namespace but into tunnels, whatever else is wrong: a revoked or damaged site starts closed.

    Raises `HostRefused`.
    """
    interfaces = [name for layer in (Layer.PLAIN, Layer.INNER) for name in _interfaces(settings, layer)]
    firewall.apply_rules(Namespace(), kill_switch.main_rules(settings.local, interfaces))


def _interfaces(settings: SiteSettings, layer: Layer) -> list[str]:
    return [site_interface(settings.tag, gateway.number, uplink.index, layer) for gateway in settings.gateway for uplink in settings.uplink]


def remove_tunnels(settings: SiteSettings, wireguard: WireGuard, *, nested: bool) -> None:
    """Those of one profile. Raises `HostRefused`."""
    for name in _interfaces(settings, Layer.INNER if nested else Layer.PLAIN):
        wireguard.remove(name, Namespace())
    if nested:
        remove_outer(between(settings.tag), _interfaces(settings, Layer.OUTER))


def destroy_keys(settings: SiteSettings, config: Path, wireguard: WireGuard | None = None) -> None:
    """`zeroise.finish` of a site. Raises `LocalError`."""
    with suppress(LocalError):  # damaged: those of the configuration
        settings = with_known_gateways(settings)
    tool = wireguard or wireguard_here()
    # No interface has this name: nothing is let out to anywhere but the local network.
    rules = kill_switch.main_rules(settings.local, (zeroise.MARK,))
    tunnels = [partial(remove_tunnels, settings, tool, nested=nested) for nested in (False, True)]
    zeroise.finish(settings, config, partial(firewall.apply_rules, Namespace(), rules), tunnels)


def take_down(settings: SiteSettings, wireguard: WireGuard | None = None) -> None:
    """Make the machine as it was: tunnels first, then the uplinks' namespace, the kill switch last. Raises `HostRefused`."""
    settings = with_known_gateways(settings)
    tool, main, underlay = wireguard or wireguard_here(), Namespace(), Namespace(settings.underlay)
    tcp_proxy.stop(settings.state / tcp_proxy.STATUS_SOCKET)
    mptcp.remove()
    for nested in (False, True):
        remove_tunnels(settings, tool, nested=nested)
    for client in dhcp_clients(settings):
        client.stop()
    if underlay.exists:
        with suppress(TramontanaError):
            links.batch(underlay, [f"link set {uplink.interface} down" for uplink in settings.uplink])
        for uplink in settings.uplink:
            if links.has_link(underlay, uplink.interface):
                links.move_link(uplink.interface, underlay, main)
        underlay.remove()
    firewall.apply_rules(main, f"table inet {kill_switch.MAIN_TABLE}\ndelete table inet {kill_switch.MAIN_TABLE}\n")


def uplink_lines(uplink: Uplink) -> list[str]:
    """Commands of ip(8) that give an uplink its address and its way out."""
    lines = [f"link set {uplink.interface} up"]
    if uplink.address is not None:
        lines.append(f"address replace {uplink.address} dev {uplink.interface}{' nodad' if uplink.address.version == 6 else ''}")
    if uplink.via is not None:
        lines.append(f"route replace default via {uplink.via} dev {uplink.interface} table {uplink.index}")
    return lines
