"""The machine of a gateway after its agent: as it was, or without its keys."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tramontana.internet import kill_switch, zeroise
from tramontana.internet.linux import firewall, flow_marks, tcp_proxy
from tramontana.internet.linux.gateway_front import remove_rules
from tramontana.internet.linux.namespace import Namespace
from tramontana.internet.linux.wireguard import WireGuard, remove_outer, wireguard_here
from tramontana.internet.overlay import Layer, between, gateway_interface
from tramontana.internet.settings import GatewaySettings


def remove_tunnels(settings: GatewaySettings, wireguard: WireGuard, *, nested: bool) -> None:
    """Those of one profile. Raises `HostRefused`."""
    for uplink in settings.uplinks:
        wireguard.remove(gateway_interface(settings.tag, uplink, Layer.INNER if nested else Layer.PLAIN), Namespace())
    if nested:
        outer = [gateway_interface(settings.tag, uplink, Layer.OUTER) for uplink in settings.uplinks]
        remove_outer(between(settings.tag), outer)


def take_down(settings: GatewaySettings, wireguard: WireGuard | None = None) -> None:
    """Remove interfaces and rules. Raises `HostRefused`."""
    tool, here = wireguard or wireguard_here(), Namespace()
    tcp_proxy.stop(settings.state / tcp_proxy.STATUS_SOCKET)
    for nested in (False, True):
        remove_tunnels(settings, tool, nested=nested)
    remove_rules()
    table = f"inet {kill_switch.GATEWAY_TABLE}"
    firewall.apply_rules(here, f"table {table}\ndelete table {table}\n")


def destroy_keys(settings: GatewaySettings, config: Path, wireguard: WireGuard | None = None) -> None:
    """`zeroise.finish` of a gateway. Raises `LocalError`."""
    tool = wireguard or wireguard_here()
    # No interface has this name: nothing is forwarded.
    rules = kill_switch.gateway_rules((zeroise.MARK,), settings.outside, (), site_to_site=False)
    tunnels = [partial(remove_tunnels, settings, tool, nested=nested) for nested in (False, True)]
    # The marks name the sites' networks, and so do the copies that sites asked for.
    named: list[zeroise.Step] = [remove_rules, flow_marks.remove, partial(flow_marks.duplicate, [])]
    zeroise.finish(settings, config, partial(firewall.apply_rules, Namespace(), rules), [*tunnels, *named])
