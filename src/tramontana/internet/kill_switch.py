"""The rule sets behind the structural kill switch, as texts for `nft -f -` (docs/internet.md, "Nothing in the clear").

First the structure: the uplinks are in a namespace of their own, so the site's main namespace has no way out but its tunnels. Behind it
`main_rules` drop whatever is neither local network nor tunnel, and `uplink_rules` let only marked packets to the gateways' ports onto an
uplink, whoever made them: the egress hook sees packets of AF_PACKET sockets as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import ip_address, ip_network
from itertools import product

from tramontana.internet.addresses import METADATA, Address
from tramontana.internet.dish import PORT
from tramontana.internet.overlay import CONTROL_PORT, HTTPS_PORT, MAX_UPLINK_INDEX, WIREGUARD_PORT
from tramontana.internet.probe import PORT as PROBE_PORT
from tramontana.internet.tcp_proxy import CAPTURED_MARK

MAIN_TABLE = "tramontana_site"
UPLINK_TABLE = "tramontana_uplinks"
GATEWAY_TABLE = "tramontana_gateway"
BETWEEN_TABLE = "tramontana_between"
TUNNEL_PORTS = f"{WIREGUARD_PORT + 1}-{WIREGUARD_PORT + MAX_UPLINK_INDEX}"
_NO_METADATA = "\n    ".join(f"{'ip' if network.version == 4 else 'ip6'} daddr {network} drop" for network in METADATA)
"""At the gateway's provider these are the gateway's own."""
_CLAMP = "tcp flags & (syn | rst) == syn jump clamp"
"""First asked of a packet is what hardly any is, so that all others pass by one look."""


def _table(family: str, name: str, body: str) -> str:
    """In place of what it was, in one step."""
    return f"table {family} {name}\ndelete table {family} {name}\ntable {family} {name} {{\n{body}}}\n"


def interface_names(names: Iterable[str]) -> str:
    """As nft matches them: one is compared, several are looked up, which costs three times as much."""
    quoted = [f'"{name}"' for name in sorted(names)]
    return quoted[0] if len(quoted) == 1 else f"{{ {', '.join(quoted)} }}"


def _clamp(tunnels: str) -> str:
    """Segments that fit the tunnel, however the end hosts guess (RFC 4459 §3.4)."""
    size = "tcp option maxseg size set rt mtu"
    return f"  chain clamp {{\n    oifname {tunnels} {size}\n    iifname {tunnels} {size}\n  }}\n"


def main_rules(local: Iterable[str], tunnels: Iterable[str]) -> str:
    """For the site's main namespace. local: interfaces of the local network."""
    inside, outside = sorted({*local, "lo"}), sorted(tunnels)
    pairs = sorted({*product(inside, inside), *product(inside, outside), *product(outside, inside)})
    between = ", ".join(f'"{one}" . "{other}"' for one, other in pairs)  # one look instead of up to six
    tunnels, local = interface_names(outside), interface_names(inside)
    return _table(
        "inet",
        MAIN_TABLE,
        f"""  counter blocked {{ }}
{_clamp(tunnels)}  chain output {{
    type filter hook output priority 0; policy drop;
    oifname {local} accept
    oifname {tunnels} accept
    counter name blocked
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    {_CLAMP}
    iifname . oifname {{ {between} }} accept
    counter name blocked
  }}
""",
    )


def uplink_rules(
    uplinks: dict[int, str], gateways: Iterable[str], dhcp: Collection[int] = (), dishes: Mapping[int, Address] | None = None
) -> str:
    """For the underlay namespace. uplinks: interfaces by index, which is their mark; gateways: IP addresses; dhcp: indexes with it.

    dishes: the address of an uplink's terminal, by index.
    """
    addresses = [ip_address(each) for each in gateways]
    body = "  counter blocked { }\n"
    for index, interface in sorted(uplinks.items()):
        ours = ""
        for version, word in ((4, "ip"), (6, "ip6")):
            own = ", ".join(sorted(str(address) for address in addresses if address.version == version))
            if own:  # first what nearly every packet is, with one port to compare
                ours += f"""    meta mark {index} {word} daddr {{ {own} }} udp dport {WIREGUARD_PORT + index} accept
    meta mark {index} {word} daddr {{ {own} }} udp dport {{ {HTTPS_PORT}, {TUNNEL_PORTS} }} accept
    meta mark {index} {word} daddr {{ {own} }} tcp dport {{ {HTTPS_PORT}, {CONTROL_PORT} }} accept
"""
        if dish := (dishes or {}).get(index):
            ours += f"    meta mark {index} {'ip' if dish.version == 4 else 'ip6'} daddr {dish} tcp dport {PORT} accept\n"
        asks = "    udp sport 68 udp dport 67 accept\n" if index in dhcp else ""
        body += f"""  chain uplink{index} {{
    type filter hook egress device "{interface}" priority 0; policy drop;
{ours}    ether type arp accept
    icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit }} accept
{asks}    counter name blocked
  }}
"""
    return _table("netdev", UPLINK_TABLE, body)


def between_rules(outer: Mapping[str, int], *, serving: bool) -> str:
    """For the namespace between the layers of nested tunnels: datagrams of the inner WireGuard to or from its port, and nothing else.

    outer: by interface, the port of the gateway's inner WireGuard. serving: this end has that port.
    """
    here, there = ("dport", "sport") if serving else ("sport", "dport")
    arriving = "".join(f'    iifname "{name}" udp {here} {port} accept\n' for name, port in sorted(outer.items()))
    leaving = "".join(f'    oifname "{name}" udp {there} {port} accept\n' for name, port in sorted(outer.items()))
    return _table(
        "inet",
        BETWEEN_TABLE,
        f"""  counter blocked {{ }}
  chain input {{
    type filter hook input priority 0; policy drop;
{arriving}    counter name blocked
  }}
  chain output {{
    type filter hook output priority 0; policy drop;
{leaving}    counter name blocked
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    counter name blocked
  }}
""",
    )


def _input(tunnels: str, services: Iterable[tuple[str, int]]) -> str:
    """What sites may have of the gateway itself. Their packets alone are looked at; the doors of its agent are outside, not in tunnels."""
    errors = "destination-unreachable, time-exceeded, parameter-problem"
    opened = "".join(f"    {protocol} dport {port} accept\n" for protocol, port in sorted(services))
    return f"""  chain input {{
    type filter hook input priority 0; policy accept;
    iifname {tunnels} goto of_site
  }}
  chain of_site {{
    ct state established,related accept
    udp dport {PROBE_PORT} accept
    meta mark {CAPTURED_MARK:#x} accept
    icmp type {{ echo-request, {errors} }} accept
    icmpv6 type {{ echo-request, packet-too-big, {errors} }} accept
{opened}    drop
  }}
"""


def gateway_rules(
    tunnels: Iterable[str], outside: str, networks: Iterable[str], *, site_to_site: bool, services: Iterable[tuple[str, int]] = ()
) -> str:
    """For a gateway: sites' private networks reach the internet by its address, each other if they may; nobody reaches a site unasked, and
    no site the gateway.

    services: protocol and port of what sites may have of this machine all the same.
    """
    tunnels = interface_names(tunnels)
    masqueraded = ""
    for word, version in (("ip", 4), ("ip6", 6)):
        private = ", ".join(sorted(str(each) for each in map(ip_network, networks) if each.version == version and not each.is_global))
        if private:
            masqueraded += f'    oifname "{outside}" {word} saddr {{ {private} }} masquerade\n'
    between = f"    iifname {tunnels} oifname {tunnels} accept\n" if site_to_site else ""
    return _table(
        "inet",
        GATEWAY_TABLE,
        f"""{_clamp(tunnels)}  chain forward {{
    type filter hook forward priority 0; policy drop;
    {_NO_METADATA}
    {_CLAMP}
    oifname "{outside}" iifname {tunnels} accept
    iifname "{outside}" oifname {tunnels} ct state established,related accept
{between}  }}
{_input(tunnels, services)}  chain postrouting {{
    type nat hook postrouting priority srcnat;
{masqueraded}  }}
""",
    )
