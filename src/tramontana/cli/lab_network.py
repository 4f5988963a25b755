"""The laboratory's hosts and their wiring: network namespaces, addresses and routes of one made-up site and of what it reaches.

```
lan ── site ── underlay ═ starlink, o3b-mpower ═════════ internet ── gateway1
                        ═ 4g ═ (4g: operator's NAT) ──── internet ── gateway2
```

Double lines are wires of the path player. Everything bears the laboratory's name, and only that is ever removed. Addresses are those kept
for documentation and benchmarks (RFC 5737, 2544, 3849), so nothing of it can be mistaken for the real internet.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tramontana.emulation.control_protocol import Interface
from tramontana.errors import LocalError
from tramontana.network_namespace import NAMESPACES, within

HOSTS: Final = ("site", "underlay", "lan", "gateway1", "gateway2", "internet", "4g")
"""Each a network namespace `NAME-HOST`."""
INTERNET_HOST: Final = ("203.0.113.10", "2001:db8:203::10")
GATEWAYS: Final = (("192.0.2.2", "2001:db8:a1::2"), ("192.0.2.6", "2001:db8:a2::2"))
NAT_ADDRESSES: Final = tuple(f"198.51.100.{number}" for number in range(2, 10))
"""What the mobile operator puts in the place of a site's address; rebinding takes the next one."""
NETLINK_NETFILTER: Final = 12  # linux/netlink.h
_CT_DELETE: Final = (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE (linux/netfilter/nfnetlink_conntrack.h)
_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,11}")


@dataclass(frozen=True, slots=True)
class Uplink:
    """One carrier at the site: its wire and the site's addresses on it."""

    carrier_id: str
    number: int
    """1 …; also that of its routing table and firewall mark."""
    far_host: str

    @property
    def near_address(self) -> tuple[str, str]:
        return f"198.18.{self.number}.2", f"2001:db8:c{self.number}::2"

    @property
    def far_address(self) -> tuple[str, str]:
        return f"198.18.{self.number}.1", f"2001:db8:c{self.number}::1"


UPLINKS: Final = (Uplink("starlink", 1, "internet"), Uplink("o3b-mpower", 2, "internet"), Uplink("4g", 3, "4g"))


class LabError(LocalError):
    """The laboratory cannot do what was asked; the message says why and what to change."""


@dataclass(frozen=True, slots=True)
class Network:
    """The namespaces of one laboratory, by its name."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LabError(f"a laboratory's name is 1 to 12 small letters and digits, the first a letter, not {self.name!r}")

    def namespace(self, host: str) -> str:
        return f"{self.name}-{host}"

    def ends(self, uplink: Uplink, *, near_host: str = "underlay") -> tuple[Interface, Interface]:
        """The near and the far end of an uplink's wire."""
        near, far = self.namespace(near_host), self.namespace(uplink.far_host)
        return Interface(near, uplink.carrier_id), Interface(far, f"{uplink.carrier_id}-far"[:15])

    def build(self) -> None:
        """Make hosts and cables; wires come from the path player, and `connect` gives them addresses. Raises `LabError`."""
        for host in HOSTS:
            _ip("netns", "add", self.namespace(host))
            self.batch(host, "link set lo up")
            with within(self.namespace(host)):
                for setting in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                    Path("/proc/sys/net", setting).write_text("0" if host == "lan" else "1")
                for which in ("all", "default"):  # several uplinks lead to one place: answers may come by another one
                    Path(f"/proc/sys/net/ipv4/conf/{which}/rp_filter").write_text("0")
        self._cable("lan", "eth0", "site", "lan")
        self.batch(
            "lan",
            *("addr add 10.64.1.10/24 dev eth0", "addr add fd00:64:1::10/64 dev eth0 nodad"),
            *("route add default via 10.64.1.1", "-6 route add default via fd00:64:1::1"),
        )
        self.batch("site", "addr add 10.64.1.1/24 dev lan", "addr add fd00:64:1::1/64 dev lan nodad")
        self.batch("internet", *(f"addr add {address} dev lo" for address in INTERNET_HOST))
        for number, (ipv4, ipv6) in enumerate(GATEWAYS, start=1):
            host = f"gateway{number}"
            self._cable(host, "eth0", "internet", host)
            router = ipv4[:-1] + str(int(ipv4[-1]) - 1)
            self.batch("internet", f"addr add {router}/30 dev {host}", f"addr add {ipv6[:-1]}1/64 dev {host} nodad")
            self.batch(
                host,
                *(f"addr add {ipv4}/30 dev eth0", f"addr add {ipv6}/64 dev eth0 nodad"),
                *(f"route add default via {router}", f"-6 route add default via {ipv6[:-1]}1"),
            )
        self._cable("4g", "eth0", "internet", "mobile")
        self.batch("internet", "addr add 198.51.100.1/24 dev mobile", "addr add 2001:db8:f::1/64 dev mobile nodad")
        self.batch(
            "4g",
            *(f"addr add {address}/24 dev eth0" for address in NAT_ADDRESSES),
            "addr add 2001:db8:f::2/64 dev eth0 nodad",
            *("route add default via 198.51.100.1", "-6 route add default via 2001:db8:f::1"),
        )
        self.translate_to(NAT_ADDRESSES[0])

    def connect_near(self, uplink: Uplink) -> None:
        """Without agents: give the near end of an uplink's wire its addresses and routes. Raises `LabError`."""
        near = self.ends(uplink)[0]
        near4, near6 = uplink.near_address
        table = uplink.number
        self.batch(
            "underlay",
            *(f"addr add {near4}/30 dev {near.name}", f"addr add {near6}/64 dev {near.name} nodad", f"link set {near.name} up"),
            *(f"{family}route add default dev {near.name} table {table}" for family in ("", "-6 ")),
            *(f"{family}route add default dev {near.name} metric {100 + table}" for family in ("", "-6 ")),
            *(f"rule add from {near4} lookup {table}", f"-6 rule add from {near6} lookup {table}"),
        )

    def connect_far(self, uplink: Uplink) -> None:
        """Give the far end of an uplink's wire, which the path player has made, its addresses. Raises `LabError`."""
        far = self.ends(uplink)[1]
        far4, far6 = uplink.far_address
        self.batch(
            uplink.far_host,
            *(f"addr add {far4}/30 dev {far.name}", f"addr add {far6}/64 dev {far.name} nodad", f"link set {far.name} up"),
        )
        if uplink.far_host == "4g":
            self.batch("internet", f"-6 route add 2001:db8:c{uplink.number}::/64 via 2001:db8:f::2")

    def open_plainly(self) -> None:
        """Without agents: join the site to its uplinks by a cable, in the clear, with the addresses translated."""
        self._cable("site", "plain", "underlay", "plain")
        self.batch(
            "site",
            *("addr add 10.255.0.1/30 dev plain", "addr add fd00:255::1/64 dev plain nodad"),
            *("route add default via 10.255.0.2", "-6 route add default via fd00:255::2"),
        )
        self.batch(
            "underlay",
            *("addr add 10.255.0.2/30 dev plain", "addr add fd00:255::2/64 dev plain nodad"),
            *("route add 10.64.1.0/24 via 10.255.0.1", "-6 route add fd00:64:1::/64 via fd00:255::1"),
        )
        self._nft(
            "underlay",
            "table inet plain { chain out { type nat hook postrouting priority 100; iifname plain masquerade; }; }",
        )

    def use(self, uplink: Uplink) -> None:
        """Without agents: send the site's traffic over this uplink. Raises `LabError`."""
        device = self.ends(uplink)[0].name
        self.batch("underlay", *(f"{family}route replace default dev {device} metric 50" for family in ("", "-6 ")))
        self._forget_connections("underlay")

    def translate_to(self, address: str) -> None:
        """The mobile operator translates to this address from now on, and forgets the connections that it knew."""
        self._nft(
            "4g",
            "table ip operator; delete table ip operator; table ip operator { chain out { type nat hook postrouting priority 100; "
            f"oifname eth0 snat to {address}; }}; }}",
        )
        self._forget_connections("4g")

    def leftovers(self) -> list[str]:
        """Hosts of this laboratory that exist."""
        return [host for host in HOSTS if (NAMESPACES / self.namespace(host)).exists()]

    def remove(self) -> None:
        """End what runs in the laboratory's namespaces and remove them; nothing of another name is touched. Idempotent."""
        for host in self.leftovers():
            namespace = self.namespace(host)
            pids = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout.split()
            for pid in pids:
                if int(pid) != os.getpid():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGTERM)
            _ip("netns", "del", namespace)

    def batch(self, host: str, *commands: str) -> None:
        """Commands of ip(8) in a host, then those of them that begin with ``-6``. Raises `LabError` if one fails."""
        six = [command for command in commands if command.startswith("-6 ")]
        rest = [command for command in commands if command not in six]
        for family, mine in ([], rest), (["-6"], six):  # in the rest, ip tells the family by the address
            text = "".join(f"{command.removeprefix('-6 ')}\n" for command in mine)
            if text:
                _run(["ip", *family, "-n", self.namespace(host), "-batch", "-"], text, what=f"{host}: {'; '.join(mine)}")

    def _nft(self, host: str, rules: str) -> None:
        _run(["ip", "netns", "exec", self.namespace(host), "nft", "-f", "-"], rules, what=f"{host}: nft {rules}")

    def _cable(self, host: str, interface: str, other: str, other_interface: str) -> None:
        self.batch(
            host, f"link add {interface} type veth peer name {other_interface} netns {self.namespace(other)}", f"link set {interface} up"
        )
        self.batch(other, f"link set {other_interface} up")

    def _forget_connections(self, host: str) -> None:
        """Delete all entries of the host's connection table, IPv4 and IPv6."""
        with within(self.namespace(host)), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
            for family in (socket.AF_INET, socket.AF_INET6):
                # struct nlmsghdr, struct nfgenmsg: no attribute means every entry
                request = (20).to_bytes(4, "little") + _CT_DELETE.to_bytes(2, "little") + (5).to_bytes(2, "little")
                netlink.send(request + bytes(8) + bytes([family, 0, 0, 0]))
                netlink.recv(4096)


def requirements() -> None:
    """Raise `LabError` unless this process may make network namespaces and has the programs for it."""
    if os.geteuid() != 0:
        raise LabError("the laboratory makes network namespaces and interfaces: run it as root (sudo)")
    missing = [program for program in ("ip", "nft") if not _found(program)]
    if missing:
        raise LabError(f"the laboratory needs {' and '.join(missing)}: apt-get install iproute2 nftables")
    if not Path("/dev/net/tun").exists():
        raise LabError("the laboratory needs /dev/net/tun: load the kernel module tun, or give the container that device")


def _found(program: str) -> bool:
    return any(Path(folder, program).exists() for folder in (*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"))


def _ip(*arguments: str) -> str:
    return _run(["ip", *arguments], "", what=f"ip {' '.join(arguments)}")


def _run(command: list[str], text: str, *, what: str) -> str:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise LabError(f"{what}: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return done.stdout
