"""The rule sets that put a tunnel on a rung of the ladder, below WireGuard, as texts for `nft -f -`.

At the site WireGuard always speaks with the gateway's own port for the uplink. Rules in the underlay turn that into port 443, or into the
socket of the TLS relay, and turn whatever comes back, by any rung, into what WireGuard expects: so a change of the rung is one
transaction, and what is under way on the rung before still arrives. At the gateway the first packet of a flow to port 443 is a knock
(`knock.py`); the flow follows it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from tramontana.internet.kill_switch import TUNNEL_PORTS, interface_names
from tramontana.internet.knock import SCOUT_INDEX, TYPE
from tramontana.internet.ladder import Rung
from tramontana.internet.overlay import HTTPS_PORT, SCOUT_PORT, WIREGUARD_PORT

SITE_TABLE = "tramontana_rungs"
GATEWAY_TABLE = "tramontana_front"


@dataclass(frozen=True, slots=True)
class TunnelRung:
    """Where the packets of one tunnel of a site go."""

    uplink: int
    interface: str
    """The uplink's."""
    gateway: str
    site_port: int
    """From which WireGuard sends."""
    rung: Rung
    relay_port: int | None = None
    """Of the TLS relay's socket on loopback, while there is one."""


def site_rules(tunnels: Iterable[TunnelRung]) -> str:
    """For the underlay namespace."""
    out, back, arriving = "", "", ""
    for each in tunnels:
        ip, loopback = ("ip", "127.0.0.1") if ip_address(each.gateway).version == 4 else ("ip6", "::1")
        port = WIREGUARD_PORT + each.uplink
        ours = f"    meta mark {each.uplink} {ip} daddr {each.gateway} udp sport {each.site_port} udp dport {port}"
        if each.rung is Rung.UDP_443:
            out += f"{ours} udp dport set {HTTPS_PORT}\n"
        elif each.rung is Rung.TLS_443:
            aim = "drop" if each.relay_port is None else f"{ip} daddr set {loopback} udp dport set {each.relay_port}"
            out += f"{ours} {aim}\n"
        if each.relay_port is not None:
            by_relay = f"    {ip} saddr {loopback} udp sport {each.relay_port} udp dport {each.site_port}"
            back += f"{by_relay} {ip} saddr set {each.gateway} udp sport set {port}\n"
        came = f'    iifname "{each.interface}" {ip} saddr {each.gateway} udp dport {each.site_port}'
        arriving += f"{came} udp sport set {port}\n"
    return f"""table inet {SITE_TABLE}
delete table inet {SITE_TABLE}
table inet {SITE_TABLE} {{
  chain back {{
{back}  }}
  chain by_https {{
{arriving}  }}
  chain out {{
    type route hook output priority mangle; policy accept;
{out}    oif lo jump back
  }}
  chain arriving {{
    type filter hook prerouting priority mangle; policy accept;
    udp sport {HTTPS_PORT} jump by_https
  }}
}}
"""


def gateway_rules(uplinks: Iterable[int], tunnels: Iterable[str]) -> str:
    """For a gateway's namespace. tunnels: interfaces out of which sites' own traffic to port 443 comes; it is left alone."""
    heads = {index: f"0x{TYPE.hex()}{index:02x}" for index in (SCOUT_INDEX, *uplinks)}
    # After the port: looking up an address costs every packet more than that.
    to_here = f"iifname != {interface_names(tunnels)} fib daddr type local"
    lead = "".join(
        f"    udp dport {HTTPS_PORT} {to_here} @th,64,40 {head} redirect to :{WIREGUARD_PORT + index}\n"
        for index, head in heads.items()
        if index != SCOUT_INDEX
    )
    known = ", ".join(heads.values())
    return f"""table inet {GATEWAY_TABLE}
delete table inet {GATEWAY_TABLE}
table inet {GATEWAY_TABLE} {{
  chain arriving {{
    type filter hook prerouting priority mangle; policy accept;
    udp dport {HTTPS_PORT} {to_here} ct status & dnat == 0 @th,64,40 != {{ {known} }} drop
  }}
  chain lead {{
    type nat hook prerouting priority dstnat; policy accept;
    udp dport {{ {HTTPS_PORT}, {TUNNEL_PORTS} }} {to_here} @th,64,40 {heads[SCOUT_INDEX]} redirect to :{SCOUT_PORT}
{lead}  }}
}}
"""
