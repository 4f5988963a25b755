"""An nftables table that knows the flow class of every packet: it sets DSCP, the mark that routes by class and the leaf of `tc`.

At a site packets are classified as they come from the local network, by DSCP up to the ceiling of their sender's network and by the
addresses of the phone service. At a gateway they are believed as they come out of a tunnel, and connections remember it for the answers.
The table only marks. What may pass at all is another table's business, so a mistake here opens nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final

from tramontana.internet.flow_class import CONTROL_DSCP, FlowClass, Kind, VoiceService, of_dscp
from tramontana.internet.kill_switch import interface_names
from tramontana.internet.linux.namespace import Namespace, run
from tramontana.internet.linux.traffic_control import leaf_minor
from tramontana.internet.overlay import copy_address
from tramontana.precedence import Precedence

TABLE: Final = "tramontana_flows"
DUPLICATES_TABLE: Final = "tramontana_duplicates"
_SENT, _RECEIVED = "sent_", "received_"
"""Counters of copies, before the name of the interface."""
LONGEST_DUPLICATED: Final = 400
"""Octets of an IP packet that is sent twice: a frame of voice, a text; not a download."""
MARK: Final = 0x540000
CONTROL_MARK: Final = MARK | 0xFF
"""Of the agent's own sockets for probes and SWITCH (SO_MARK)."""
Network = IPv4Network | IPv6Network


def mark(flow: FlowClass) -> int:
    """The mark of a packet of this class; routing rules refer to it."""
    return MARK | flow


@dataclass(frozen=True)
class LocalNetwork:
    """A network whose senders may use precedence up to the ceiling."""

    network: Network
    ceiling: Precedence = Precedence.PRIORITY


@dataclass(frozen=True)
class FlowMarks:
    """What is to be marked. `tunnels`: interface names; `believed`: marks of what comes out of them are taken as they are (a gateway)."""

    tunnels: Sequence[str]
    believed: bool
    local: Sequence[LocalNetwork] = ()
    voice: Sequence[VoiceService] = ()
    branches: Mapping[int, Sequence[Network]] = field(default_factory=dict)
    """A gateway's branches of traffic control: the networks, tunnel address included, of each site. A site has branch 1 for everything."""

    def ruleset(self) -> str:
        """The table as nft reads it; replaced as a whole, in one transaction."""
        devices = interface_names(self.tunnels)
        body = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
        body += self._maps()
        body += ["chain classify {", "type filter hook prerouting priority mangle; policy accept;"]
        if self.believed:
            # What is in no connection out of a tunnel, the tunnels' own datagrams above all, has nothing to be written.
            body += [f"iifname {devices} goto believed", "meta mark set ct mark", "meta mark 0 accept"]
        else:
            body.append(f"iifname {devices} accept")
            for i, local in enumerate(self.local):
                body.append(f"{_family(local.network)} saddr {local.network} jump {_name(i)}")
            for voice in self.voice:
                to_it = f"{_family(voice.network)} daddr {voice.network} udp dport {voice.first_port}-{voice.last_port}"
                body.append(f"{to_it} meta mark != {_voice_marks()} meta mark set {mark(FlowClass.VOICE_ROUTINE):#x}")
        body += ["jump remark", "}"]
        if self.believed:
            usual = f"ct mark set {mark(FlowClass.DATA_ROUTINE):#x} accept"
            believed = [rule for family in ("ip", "ip6") for rule in _by_dscp(family, Precedence.FLASH_OVERRIDE, usual)]
            body += ["chain believed {", *believed, "ct mark set meta mark", "goto remark", "}"]
        for i, local in enumerate(self.local):
            body += [f"chain {_name(i)} {{", *_by_dscp(_family(local.network), local.ceiling, "return" if self.voice else "accept"), "}"]
        for flow in FlowClass:  # written only where it is another one: most packets pass with one look
            own = (f"{family} dscp != {flow.dscp} {family} dscp set {flow.dscp}" for family in ("ip", "ip6"))
            body += [f"chain remark_{flow:d} {{", *own, "}"]
        by_class = ", ".join(f"{mark(flow):#x} : goto remark_{flow:d}" for flow in FlowClass)
        body += [
            "chain remark {",
            f"meta mark vmap {{ {by_class} }}",
            "}",
            "chain shape {",
            "type filter hook postrouting priority mangle; policy accept;",
        ]
        # A number is compared faster than a name is looked up; what has no mark goes by the leaf of `htb default`.
        body += ["meta mark 0 accept", f"oifname != {devices} accept", f"meta mark {CONTROL_MARK:#x} jump control"]
        if self.branches:
            body += ["meta priority set ip daddr . meta mark map @leaf4", "meta priority set ip6 daddr . meta mark map @leaf6"]
        else:
            usual = f"1:{leaf_minor(1, FlowClass.DATA_ROUTINE):x}"
            body.append(f"meta mark {mark(FlowClass.DATA_ROUTINE):#x} meta priority set {usual} accept")
            leaves = ", ".join(f"{m:#x} : 1:{leaf_minor(1, flow):x}" for m, flow in _leaves())
            body.append(f"meta priority set meta mark map {{ {leaves} }}")
        body += ["}", "chain control {", *(f"{family} dscp set {CONTROL_DSCP}" for family in ("ip", "ip6"))]
        return "\n".join([*body, "}", "}", ""])

    def apply(self) -> None:
        """Put the table in place. Raises `HostRefused`; the old one then stays."""
        run(["nft", "-f", "-"], stdin=self.ruleset())

    def _maps(self) -> list[str]:
        if not self.branches:
            return []
        lines = []
        for name, kind, version in (("leaf4", "ipv4_addr", 4), ("leaf6", "ipv6_addr", 6)):
            elements = [
                f"{network} . {m:#x} : 1:{leaf_minor(branch, flow):x}"
                for branch, networks in sorted(self.branches.items())
                for network in networks
                if network.version == version
                for m, flow in _leaves()
            ]
            lines += [f"map {name} {{ type {kind} . mark : classid; flags interval;"]
            lines += [f"elements = {{ {', '.join(elements)} }}"] if elements else []
            lines.append("}")
        return lines


@dataclass(frozen=True, slots=True)
class Copies:
    """Packets of these classes go through `device` as well, to the tunnel's other `end`. networks: only what goes there; empty is all.

    is_counted: what goes and what comes is counted (`copied`); for a site, which has its classes' own packets in another tunnel.
    """

    flows: tuple[FlowClass, ...]
    device: str
    end: str
    networks: tuple[Network, ...] = ()
    is_counted: bool = False

    def rules(self, version: int) -> list[str]:
        family, to = ("ip", self.end) if version == 4 else ("ip6", str(copy_address(IPv4Address(self.end))))
        own = [str(network) for network in self.networks if network.version == version]
        if self.networks and not own:
            return []
        where = f"{family} daddr {{ {', '.join(own)} }} " if own else ""
        marks = ", ".join(f"{mark(flow):#x}" for flow in sorted(self.flows))
        small = f"meta l4proto udp meta length <= {LONGEST_DUPLICATED}"
        sent = f"counter name {_SENT}{self.device} " if self.is_counted else ""
        rules = [f'iifname != "{self.device}" {where}meta mark {{ {marks} }} {small} {sent}dup to {to} device "{self.device}"']
        if self.is_counted:
            dscp = ", ".join(str(flow.dscp) for flow in sorted(self.flows))
            rules.append(f'iifname "{self.device}" {family} dscp {{ {dscp} }} {small} counter name {_RECEIVED}{self.device}')
        return rules

    def counters(self) -> list[str]:
        return [f"counter {name}{self.device} {{ }}" for name in (_SENT, _RECEIVED)] if self.is_counted else []


@dataclass(frozen=True, slots=True)
class Copied:
    """What copies took of a tunnel, in octets of the packets inside it: WireGuard and the headers around it come on top."""

    sent_packets: int = 0
    sent_octets: int = 0
    received_packets: int = 0
    received_octets: int = 0


def duplicate(copies: Iterable[Copies]) -> None:
    """Send small UDP packets a second time, as these say; others no more.

    UDP alone: media and calls discard what they have already, while a doubled acknowledgement would slow TCP down. The classes are
    those that the table of marks has set; addresses are looked at after address translation. Raises `HostRefused`; what was duplicated
    before then stays.
    """
    wanted = list(copies)
    lines = []
    for version, family in ((4, "ip"), (6, "ip6")):
        rules = [rule for each in wanted for rule in each.rules(version)]
        chain = f"{family} {DUPLICATES_TABLE} copy"
        hook = "type filter hook prerouting priority dstnat + 10; policy accept;"
        # The chain is made anew and the table stays, and with it what was counted; no packet passes between the two.
        lines += [f"table {family} {DUPLICATES_TABLE} {{", "chain copy {", hook, "}", "}", f"flush chain {chain}", f"delete chain {chain}"]
        if rules:
            counters = [line for each in wanted for line in each.counters()]
            lines += [f"table {family} {DUPLICATES_TABLE} {{", *counters, "chain copy {", hook, *rules, "}", "}"]
    run(["nft", "-f", "-"], stdin="\n".join([*lines, ""]))


def copied(namespace: Namespace | None = None) -> dict[str, Copied]:
    """What copies took of each tunnel since the machine started, by interface; nothing where none was ever sent. Raises `HostRefused`."""
    found: dict[str, Copied] = {}
    listed = json.loads(run(["nft", "-j", "list", "counters"], namespace=namespace))["nftables"]
    for counter in (each["counter"] for each in listed if each.get("counter", {}).get("table") == DUPLICATES_TABLE):
        name, packets, octets = str(counter["name"]), int(counter["packets"]), int(counter["bytes"])
        is_sent = name.startswith(_SENT)
        device = name.removeprefix(_SENT if is_sent else _RECEIVED)
        so_far = found.get(device, Copied())
        found[device] = (
            replace(so_far, sent_packets=so_far.sent_packets + packets, sent_octets=so_far.sent_octets + octets)
            if is_sent
            else replace(so_far, received_packets=so_far.received_packets + packets, received_octets=so_far.received_octets + octets)
        )
    return found


def remove() -> None:
    """Take the table away; nothing if there is none."""
    run(["nft", "-f", "-"], stdin=f"table inet {TABLE}\ndelete table inet {TABLE}\n")


def _leaves() -> list[tuple[int, FlowClass | None]]:
    return [*((mark(flow), flow) for flow in FlowClass), (CONTROL_MARK, None)]


def _voice_marks() -> str:
    return "{ " + ", ".join(f"{mark(flow):#x}" for flow in FlowClass if flow.kind is Kind.VOICE) + " }"


def _name(number: int) -> str:
    return f"local_{number}"


def _family(network: Network) -> str:
    return "ip" if network.version == 4 else "ip6"


def _by_dscp(family: str, ceiling: Precedence, usual: str) -> list[str]:
    """Nearly every packet is unmarked, which is routine data as it stands: that is asked first. usual: what is done with it then."""
    elements = ", ".join(f"{dscp} : {mark(of_dscp(dscp, ceiling)):#x}" for dscp in range(64))
    unmarked = FlowClass.DATA_ROUTINE
    first = f"{family} dscp {unmarked.dscp} meta mark set {mark(unmarked):#x} {usual}"
    return [first, f"meta mark set {family} dscp map {{ {elements} }}"]
