"""What a site's and a gateway's TCP proxy decide: which connections they take, out of the packets that begin them, and what they answer.

Each end takes connections apart by itself, without a word to the other: it holds the SYN, connects to the same place in the client's name,
and lets the client in only when that succeeded. So a refused connection is refused, not opened and broken off. Between site and gateway
then runs a connection with BBR, which random loss does not slow down (docs/uplinks.md, "TCP over carriers that lose").
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from pydantic import BaseModel, ConfigDict

from tramontana.errors import RemoteError
from tramontana.internet.addresses import METADATA
from tramontana.internet.checksum import internet_checksum
from tramontana.internet.flow_class import FlowClass

TABLE: Final = "tramontana_tcp"
LOG_GROUP: Final = 5401
"""Of nfnetlink_log: by it the held packets come."""
CAPTURED_MARK: Final = 0x550000
REFUSED_MARK: Final = 0x550001
MARKS: Final = "0x550000/0xffff0000"
ROUTE_PREFERENCE: Final = 5390
"""Before the flow classes. Also the number of the table in which everything is here."""
_SYN_ONLY: Final = "tcp flags & (fin | syn | rst | ack) == syn"
_TCP: Final = 6
_SYN, _ACK = 0x02, 0x10
_MPTCP_OPTION: Final = 30
_MP_CAPABLE, _MP_JOIN = 0, 1
JOIN_ADDRESS: Final = "127.84.77.1"
"""Where a gateway's proxy listens for further ways of connections, at the port that each of them called: Linux joins no other to it."""
# linux/netfilter/nfnetlink.h, nfnetlink_log.h
_SUBSYSTEM: Final = 4
_PACKET, _CONFIG = 0, 1
_CFG_COMMAND, _CFG_MODE, _CFG_THRESHOLD = 1, 2, 5
_BIND: Final = 1
_COPY_PACKET: Final = 2
_MARK, _PAYLOAD = 2, 9
_NLM_F_REQUEST: Final = 1
_LONGEST_SYN: Final = 0xFFFF


class MalformedSyn(RemoteError):
    """A packet that begins a connection is none; it was dropped."""


class Role(StrEnum):
    SITE = "site"
    GATEWAY = "gateway"


class ProxySettings(BaseModel):
    """What the proxy's process is started with."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    role: Role
    inside: tuple[str, ...]
    """Interfaces where clients come from: of the local network at a site, tunnels at a gateway."""
    outside: str | None = None
    """A gateway takes what leaves by this interface, and nothing else."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """A site leaves what goes to these alone: its own."""
    several: tuple[FlowClass, ...] = ()
    """Classes of which a site's connection may use several uplinks at once."""
    status_socket: str


Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Syn:
    """A connection that a client asks for. mark: the class of its packets (flow_marks)."""

    packet: bytes
    client: Endpoint
    server: Endpoint
    mark: int
    is_multipath: bool = False
    """The client offers to use several ways (RFC 8684 §3.1)."""

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.client[0]


class Answer(Enum):
    """What a client hears whose connection could not be made."""

    REFUSED = "a reset"
    UNREACHABLE = "ICMP"
    SILENCE = "nothing"


def answer_to(error: int | None) -> Answer:
    """error: the errno of the failed connection; None if its time was over."""
    match error:
        case errno.ECONNREFUSED | errno.ECONNRESET:
            return Answer.REFUSED
        case errno.EHOSTUNREACH | errno.ENETUNREACH | errno.EACCES | errno.EPERM | errno.EHOSTDOWN | errno.ENETDOWN:
            return Answer.UNREACHABLE
        case _:
            return Answer.SILENCE  # the client asks again, or gives up by its own clock


def parse_syn(packet: bytes, mark: int) -> Syn:
    """An IP packet with a first segment of TCP. Raises `MalformedSyn`."""
    version = packet[0] >> 4 if packet else 0
    try:
        if version == 4:
            protocol, addresses, segment = packet[9], (packet[12:16], packet[16:20]), packet[(packet[0] & 15) * 4 :]
        elif version == 6:
            protocol, addresses, segment = packet[6], (packet[8:24], packet[24:40]), packet[40:]
        else:
            raise MalformedSyn(f"IP version {version}")
        if protocol != _TCP:
            raise MalformedSyn(f"protocol {protocol} after the IP header")
        ports = struct.unpack_from("!HH", segment)
        if segment[13] & (_SYN | _ACK) != _SYN:
            raise MalformedSyn("no SYN")
        client, server = ((str(ip_address(address)), port) for address, port in zip(addresses, ports, strict=True))
    except (IndexError, struct.error, ValueError) as error:
        raise MalformedSyn("cut short") from error
    whole = packet[: -len(segment)] + _with_checksum(segment, addresses)
    return Syn(whole, client, server, mark, _offers_several_ways(segment[20 : (segment[12] >> 4) * 4]))


def _offers_several_ways(options: bytes) -> bool:
    """Options of TCP: RFC 9293 §3.1. Whatever is none ends the list."""
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2:
            break
        if options[at] == _MPTCP_OPTION and length > 2 and at + 2 < len(options):
            return options[at + 2] >> 4 == _MP_CAPABLE
        at += length
    return False


def _with_checksum(segment: bytes, addresses: tuple[bytes, bytes]) -> bytes:
    """RFC 9293 §3.1. Interfaces that compute it themselves leave it out of what is logged."""
    head, tail = segment[:16], segment[18:]
    pseudo = b"".join(addresses) + struct.pack("!II", len(segment), _TCP)
    return head + struct.pack("!H", internet_checksum(pseudo + head + bytes(2) + tail)) + tail


def unreachable(syn: Syn) -> bytes:
    """The ICMP message that tells the client so: RFC 792, RFC 4443 §3.1 (there the kernel adds the checksum)."""
    if syn.is_ipv6:
        return struct.pack("!BBHI", 1, 3, 0, 0) + syn.packet[: 40 + 20]
    message = struct.pack("!BBHI", 3, 1, 0, 0) + syn.packet[: (syn.packet[0] & 15) * 4 + 8]
    return message[:2] + struct.pack("!H", internet_checksum(message)) + message[4:]


def log_requests(group: int = LOG_GROUP) -> list[bytes]:
    """Messages to a netlink socket of NETLINK_NETFILTER: give whole packets of this group, each at once."""
    command = _attribute(_CFG_COMMAND, bytes([_BIND]))
    mode = _attribute(_CFG_MODE, struct.pack("!IBx", _LONGEST_SYN, _COPY_PACKET))
    threshold = _attribute(_CFG_THRESHOLD, struct.pack("!I", 1))
    return [_message(group, attributes) for attributes in (command, mode + threshold)]


def logged(datagram: bytes) -> Iterator[tuple[bytes, int]]:
    """(IP packet, mark) of each packet in a datagram from the netlink socket."""
    at = 0
    while at + 20 <= len(datagram):
        length, kind = struct.unpack_from("=IH", datagram, at)
        if length < 20:
            return
        if kind == _SUBSYSTEM << 8 | _PACKET:
            packet, mark = b"", 0
            for name, value in _attributes(datagram[at + 20 : at + length]):
                if name == _PAYLOAD:
                    packet = value
                elif name == _MARK and len(value) == 4:
                    mark = int.from_bytes(value, "big")
            if packet:
                yield packet, mark
        at += -(-length // 4) * 4


def _message(group: int, attributes: bytes) -> bytes:
    family = 0
    header = struct.pack("=IHHII", 20 + len(attributes), _SUBSYSTEM << 8 | _CONFIG, _NLM_F_REQUEST, 0, 0)
    return header + struct.pack("!BBH", family, 0, group) + attributes


def _attribute(name: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), name) + value + bytes(-len(value) % 4)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, name = struct.unpack_from("=HH", data, at)
        if length < 4:
            return
        yield name & 0x3FFF, data[at + 4 : at + length]
        at += -(-length // 4) * 4


def routes() -> dict[int, list[str]]:
    """For `ip -4 -batch` and `ip -6 -batch`: packets with a mark of the proxy are for this machine, whatever their address."""
    lines = [
        f"rule add pref {ROUTE_PREFERENCE} fwmark {MARKS} lookup {ROUTE_PREFERENCE}",
        f"route replace local default dev lo table {ROUTE_PREFERENCE}",
    ]
    return {4: lines, 6: lines}


def rules(settings: ProxySettings, port_4: int, port_6: int, *, joined: bool = False) -> list[str]:
    """Commands for `nft -i`: a table that exists as long as that process does. Without it connections go through as they are.
    joined: a gateway's connections may come by several uplinks.

    After the classes have been marked (mangle), and before anything else. The table opens nothing: what it does not take is let through to
    the kill switch as before, and what it takes leaves as packets of this machine, which the kill switch lets into tunnels alone. The rule
    that takes connections comes last.
    """
    chains = {
        "intercept": "type filter hook prerouting priority mangle + 1; policy accept;",
        "captured": "",
        "answer": "type filter hook output priority filter - 1; policy accept;",
    }
    if joined:
        chains["further"] = ""
    lines = [f"add table inet {TABLE} {{ flags owner; }}"]
    lines += [f"add chain inet {TABLE} {name} {{ {hook} }}" for name, hook in chains.items()]
    captured = [
        f"meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:{port_4} meta mark set {CAPTURED_MARK:#x} accept",
        f"meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:{port_6} meta mark set {CAPTURED_MARK:#x} accept",
        "drop",
    ]
    further = [f"meta l4proto tcp tproxy ip to {JOIN_ADDRESS} meta mark set {CAPTURED_MARK:#x} accept", "drop"] if joined else []
    answer = [f"meta mark {REFUSED_MARK:#x} meta l4proto tcp reject with tcp reset"]
    intercept = [
        f"meta l4proto {{ tcp, icmp, ipv6-icmp }} socket transparent 1 meta mark set {CAPTURED_MARK:#x} accept",
        f'iifname "lo" fib daddr type != local {_SYN_ONLY} jump captured',
        f"iifname != {_names(settings.inside)} accept",
        "meta l4proto != tcp accept",
        "fib daddr type != unicast accept",
        "ip6 daddr fe80::/10 accept",
        # As the forward chain does (kill_switch.py): what a gateway fetches for a site is not its own.
        *(f"{'ip' if network.version == 4 else 'ip6'} daddr {network} drop" for network in METADATA),
        *([] if settings.outside is None else [f'fib daddr oifname != "{settings.outside}" accept']),
        *(f"{'ip' if network.version == 4 else 'ip6'} daddr {network} accept" for network in settings.networks),
        # A further way of a connection that was taken (RFC 8684 §3.2); the kernel resets one of a connection that it does not know.
        *([f"meta nfproto ipv4 {_SYN_ONLY} tcp option mptcp subtype {_MP_JOIN} jump further"] if joined else []),
        f"{_SYN_ONLY} log group {LOG_GROUP} drop",
    ]
    for chain, each in (("captured", captured), ("further", further), ("answer", answer), ("intercept", intercept)):
        lines += [f"add rule inet {TABLE} {chain} {rule}" for rule in each]
    return lines


def _names(interfaces: Iterable[str] | Sequence[str]) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in sorted(interfaces)) + " }"
