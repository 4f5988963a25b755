"""A site with three uplinks and a gateway, over wireguard-go, in namespaces: host – site (underlay apart) – NAT – gateway – internet."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.internet.namespaces import Lab, run

HERE = Path(__file__).parent
UPLINKS = (1, 2, 3)
CARRIERS = {1: "starlink", 2: "fibre", 3: "sicral-2"}
HOST, SERVER, SITE_NETWORK = "10.64.1.2", "10.8.0.2", "10.64.1.0/24"
PATIENCE_S = 60.0
REAL_TIME = ("chrt", "--rr", "5")
"""Agents and tunnels go before everything else that a busy machine does: delays of the machine are not what is tested. In turns: with
SCHED_FIFO a thread of wireguard-go that waits for another one by spinning never lets it run."""


@dataclass
class Tunnels:
    """Built by `build`. `events`: what the site's agent decided, in order."""

    made: Lab
    folder: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    site: subprocess.Popen[str] | None = None
    gateway: subprocess.Popen[str] | None = None
    _lines: queue.Queue[str] = field(default_factory=queue.Queue)

    def device(self, side: str, uplink: int) -> str:
        """Names of WireGuard interfaces are unique on the machine: their control sockets share one folder."""
        return f"{self.made.prefix}{side}{uplink}"

    # ---- faults

    def link(self, uplink: int, up: bool) -> None:
        self.made.run("under", "ip", "link", "set", f"u{uplink}", "up" if up else "down")

    def loss(self, uplink: int, percent: int) -> None:
        """Both directions; 100 is a blackhole without any sign of it, 0 takes it away."""
        self.made.run("under", "nft", "delete", "table", "netdev", f"loss{uplink}", check=False)
        if percent:
            rule = f"numgen random mod 100 < {percent} drop" if percent < 100 else "drop"
            chains = "".join(
                f"chain {hook} {{ type filter hook {hook} device u{uplink} priority 0; meta protocol ip {rule}; }}\n"
                for hook in ("ingress", "egress")
            )
            self.made.run("under", "nft", f"table netdev loss{uplink} {{\n{chains}}}")

    def rebind(self, uplink: int, number: int) -> None:
        """The carrier's NAT forgets the tunnel and gives it another address."""
        outside = f"n{uplink}"
        self.made.run("nat", "ip", "address", "add", f"10.9.{uplink}.{number}/24", "dev", outside)
        (shown,) = json.loads(self.made.run("nat", "ip", "-4", "-j", "address", "show", "dev", outside))
        old = shown["addr_info"][0]["local"]
        self.made.run("nat", "ip", "address", "del", f"{old}/24", "dev", outside)

    # ---- agents

    def start_gateway(self) -> None:
        config = {
            "devices": {u: [self.device("g", u), f"100.64.{u}.1"] for u in UPLINKS},
            "networks": [SITE_NETWORK],
            "addresses": {u: f"100.64.{u}.2" for u in UPLINKS},
        }
        self.gateway = self.made.start("gateway", *REAL_TIME, sys.executable, "-u", str(HERE / "gateway_agent.py"), json.dumps(config))
        assert self.gateway.stdout is not None
        if self.gateway.stdout.readline() != "ready\n":
            raise AssertionError(self.gateway.communicate()[1])

    def start_site(self, **options: Any) -> None:
        config = {
            "tunnels": [[u, self.device("s", u), f"100.64.{u}.2", f"100.64.{u}.1", CARRIERS[u]] for u in UPLINKS],
            "prefer": [CARRIERS[u] for u in UPLINKS],
        }
        self.site = self.made.start(
            "site", *REAL_TIME, sys.executable, "-u", str(HERE / "site_agent.py"), json.dumps({**config, **options})
        )
        threading.Thread(target=self._listen, args=(self.site,), daemon=True).start()

    def tell(self, **command: Any) -> None:
        assert self.site is not None
        assert self.site.stdin is not None
        self.site.stdin.write(json.dumps(command) + "\n")
        self.site.stdin.flush()

    def wait_for(self, uplink: int, after: int = 0) -> dict[str, Any]:
        """The first decision for this uplink (0: blocked) among the events from number `after` on."""
        until = time.monotonic() + PATIENCE_S
        while True:
            for event in self.events[after:]:
                if event["to"] == uplink:
                    return event
            try:
                self.events.append(json.loads(self._lines.get(timeout=max(0.0, until - time.monotonic()))))
            except queue.Empty:
                assert self.site is not None
                raise AssertionError(f"no switch to {uplink}: {self.events}, agent {self.site.poll()}") from None

    def take_events(self) -> None:
        """Whatever was decided meanwhile goes to `events`."""
        while not self._lines.empty():
            self.events.append(json.loads(self._lines.get()))

    def settle(self, *uplinks: int) -> None:
        """Until one of these carries, in both directions, and nothing has been decided for a while. Forgets all events so far."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                self.events.append(json.loads(self._lines.get(timeout=1.5)))
            except queue.Empty:
                to = self.events[-1]["to"] if self.events else 0
                routes = self.made.run("gateway", "ip", "route", "show", SITE_NETWORK)
                if to in uplinks and f"dev {self.device('g', to)}" in routes:
                    self.events.clear()
                    return
        raise AssertionError(f"none of the uplinks {uplinks} carries: {self.events}, agent {self.site and self.site.poll()}")

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._lines.put(line)


def build(made: Lab, folder: Path) -> Tunnels:
    """Everything but the agents."""
    tunnels = Tunnels(made, folder)
    made.add("host", "site", "under", "nat", "gateway", "server")
    made.join("host", "lan", f"{HOST}/24", "site", "lan", "10.64.1.1/24")
    made.join("gateway", "inet", "10.8.0.1/24", "server", "inet", f"{SERVER}/24")
    made.run("host", "ip", "route", "add", "default", "via", "10.64.1.1")
    made.run("server", "ip", "route", "add", "default", "via", "10.8.0.1")
    made.run("nat", "sysctl", "-qw", "net.ipv4.conf.all.promote_secondaries=1")
    made.run("nat", "nft", 'table ip nat { chain post { type nat hook postrouting priority srcnat; oifname "n*" masquerade; }; }')
    for u in UPLINKS:
        made.join("under", f"u{u}", f"10.7.{u}.2/24", "nat", f"i{u}", f"10.7.{u}.1/24")
        made.join("nat", f"n{u}", f"10.9.{u}.2/24", "gateway", f"p{u}", f"10.9.{u}.1/24")
        made.run("under", "ip", "route", "add", f"10.9.{u}.0/24", "via", f"10.7.{u}.1")
    keys = {}
    for side in ("s", "g"):
        private = run("wg", "genkey").strip()
        public = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout.strip()
        file = folder / f"{side}.key"
        file.write_text(private)
        keys[side] = (str(file), public)
    for u in UPLINKS:
        for side, birth, home in (("s", "under", "site"), ("g", "gateway", "gateway")):
            device = tunnels.device(side, u)
            made.start(birth, *REAL_TIME, "wireguard-go", "-f", device)
            _wait_for_device(made, birth, device)
            own, peer = keys[side], keys["g" if side == "s" else "s"]
            allowed, port = ("0.0.0.0/0", 51900 + u) if side == "s" else (f"100.64.{u}.2/32,{SITE_NETWORK}", 51820 + u)
            endpoint = ["endpoint", f"10.9.{u}.1:{51820 + u}", "persistent-keepalive", "5"] if side == "s" else []
            run(
                "wg", "set", device, "private-key", own[0], "listen-port", str(port), "peer", peer[1], "allowed-ips", allowed, *endpoint
            )  # fmt: skip
            if birth != home:
                made.run(birth, "ip", "link", "set", device, "netns", made.real(home))
            made.run(home, "ip", "address", "add", f"100.64.{u}.{2 if side == 's' else 1}/24", "dev", device)
            made.run(home, "ip", "link", "set", device, "mtu", "1400", "up")
    return tunnels


def _wait_for_device(made: Lab, name: str, device: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        shown = subprocess.run(["wg", "show", device], capture_output=True, check=False).returncode == 0
        there = subprocess.run(["ip", "-n", made.real(name), "link", "show", device], capture_output=True, check=False).returncode == 0
        if shown and there:
            return
        time.sleep(0.02)
    raise AssertionError(f"wireguard-go made no {device}")
