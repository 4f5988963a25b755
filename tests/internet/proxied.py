"""A client, a site and a gateway that each run a TCP proxy, and a server, in namespaces; two links between site and gateway."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

from tests.internet.namespaces import Lab, lab
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.kill_switch import GATEWAY_TABLE, gateway_rules
from tramontana.internet.linux import tcp_proxy
from tramontana.internet.linux.firewall import apply_rules
from tramontana.internet.linux.namespace import Namespace
from tramontana.internet.tcp_proxy import TABLE, ProxySettings, Role

CLIENT, SERVER = "10.64.1.2", "10.8.0.2"
CLIENT_6, SERVER_6 = "fd64::2", "2001:db8:8::2"


class Proxied:
    """What a test sees."""

    def __init__(self, made: Lab, folder: Path, extra_inside: Sequence[str] = ()) -> None:
        self.made, self.folder = made, folder
        self._inside = ("w1", "w2", *extra_inside)
        self.processes: dict[str, Popen[str]] = {}
        made.add("client", "site", "gateway", "server")
        made.join("client", "eth", f"{CLIENT}/24", "site", "lan", "10.64.1.1/24")
        for link in (1, 2):
            made.join("site", f"w{link}", f"100.64.{link}.2/24", "gateway", f"w{link}", f"100.64.{link}.1/24")
        made.join("gateway", "out", "10.8.0.1/24", "server", "eth", f"{SERVER}/24")
        for name, device, address in (
            ("client", "eth", f"{CLIENT_6}/64"),
            ("site", "lan", "fd64::1/64"),
            ("gateway", "out", "2001:db8:8::1/64"),
            ("server", "eth", f"{SERVER_6}/64"),
            *((side, f"w{link}", f"fd99:{link}::{end}/64") for link in (1, 2) for side, end in (("site", 2), ("gateway", 1))),
        ):
            made.run(name, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
            made.run(name, "ip", "address", "add", address, "dev", device, "nodad")
        for version, via in (("-4", "10.64.1.1"), ("-6", "fd64::1")):
            made.run("client", "ip", version, "route", "add", "default", "via", via)
        for version, via in (("-4", "10.8.0.1"), ("-6", "2001:db8:8::1")):
            made.run("server", "ip", version, "route", "add", "default", "via", via)
        self.use(1)
        rules = gateway_rules(self._inside, "out", ["10.64.1.0/24", "100.64.0.0/10", "fd64::/64", "fd99::/16"], site_to_site=False)
        apply_rules(Namespace(made.real("gateway")), rules)
        neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"  # of veth pairs; WireGuard has none
        made.run("gateway", "nft", f"insert rule inet {GATEWAY_TABLE} of_site {neighbours}")

    def use(self, link: int) -> None:
        """Everything goes over this link, both ways."""
        for version, onward, back, network in (
            ("-4", f"100.64.{link}.1", f"100.64.{link}.2", "10.64.1.0/24"),
            ("-6", f"fd99:{link}::1", f"fd99:{link}::2", "fd64::/64"),
        ):
            self.made.run("site", "ip", version, "route", "replace", "default", "via", onward)
            self.made.run("gateway", "ip", version, "route", "replace", network, "via", back)

    def start(self, *roles: str, several: Sequence[FlowClass] = ()) -> None:
        """several: classes whose connections a site may send over several links."""
        for role in roles:
            ends: dict[str, Any] = {"inside": self._inside, "outside": "out"} if role == "gateway" else {"inside": ("lan",)}
            if role == "site":
                ends["networks"], ends["several"] = ("10.64.1.0/24", "fd64::/64"), tuple(several)
            settings = ProxySettings(role=Role(role), status_socket=str(self.folder / f"{role}.sock"), **ends)
            process = self.made.start(role, sys.executable, "-m", tcp_proxy.__name__, settings.model_dump_json())
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said == "ready\n", said + process.communicate()[1]
            self.processes[role] = process

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
            process.communicate()
        self.processes.clear()

    def status(self, role: str) -> dict[str, Any]:
        found = tcp_proxy.read_status(self.folder / f"{role}.sock")
        assert found is not None
        return found

    def connections(self, name: str, port: int) -> list[str]:
        """Those of a namespace that have this port, a line each, as ss(8) shows them."""
        return self.made.run(name, "ss", "-tinHO", f"( dport = :{port} or sport = :{port} )").splitlines()

    def takes(self, role: str) -> bool:
        """Whether the rules that take connections are there."""
        command = ["ip", "netns", "exec", self.made.real(role), "nft", "list", "tables"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode != 0 or f"table inet {TABLE}\n" in done.stdout  # nft 1.0.6 may crash while tables change: look again


@contextmanager
def proxied(folder: Path, *, extra_inside: Sequence[str] = ()) -> Iterator[Proxied]:
    """extra_inside: names of further links between site and gateway, which the caller makes."""
    with lab() as made:
        yield Proxied(made, folder, extra_inside)
