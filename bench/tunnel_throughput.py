"""How fast a site is through its tunnel, beside plain wireguard-go on the same machine in the same run; and what the agents cost.

- *Tramontana*: the product's two agents as they run on real machines, two uplinks: kill switch, marks, classes, probes, keys, routes.
- *Tramontana, nested* (`--nested`): the same with a tunnel in each tunnel (docs/internet.md, "A tunnel in a tunnel").
- *plain wireguard-go*: the same wires with one tunnel each way out, made with `wg`, and address translation at the gateway; nothing else.

One TCP connection (iperf3) from a host in the site's local network to one on the internet, then the other way; the two ways take turns, and
the ratio is the median over the pairs of turns. Agents and WireGuard of both have real-time priority (docs/uplinks.md). Everything of both
ends runs on one machine: what two routers share here is its cores, so whatever the agents take is taken from WireGuard. The processor time
is measured meanwhile, and while nothing is sent. With `--rate` the sender offers so much, below what fills the cores, as a line would that
is slower than the routers.

Run as root: python bench/tunnel_throughput.py [--turns 10] [--seconds 2] [--congestion cubic] [--rate MBPS] [--nested]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.internet.namespaces import Lab, lab, run
from tests.internet.tunnels import REAL_TIME
from tests.system.routers import RENEWAL, Routers, missing_for_routers, routers
from tramontana.internet.linux.namespace import Namespace
from tramontana.internet.linux.wireguard import SOCKETS

IDLE_S = 10.0
SERVER, PLAIN_SERVER = "198.51.100.9", "10.8.0.2"
PLAIN = "plain wireguard-go"
DIRECTIONS = {"up": (), "down": ("-R",)}


def processor_s(pids: list[int]) -> float:
    """User and system time of processes, in seconds (proc_pid_stat(5))."""
    spent = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / os.sysconf("SC_CLK_TCK")


def owner(interface: str) -> int:
    """The wireguard-go process of an interface."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(SOCKETS / f"{interface}.sock"))
        return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


@contextmanager
def listening(namespace: Namespace) -> Iterator[None]:
    process = subprocess.Popen(namespace.command(["iperf3", "-s"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def transfer(namespace: Namespace, server: str, seconds: float, congestion: str, *options: str) -> float:
    """Mbit/s that arrived."""
    command = ["iperf3", "-J", "-c", server, "-t", str(seconds), "-O", "0.5", "-C", congestion, *options]
    done = subprocess.run(namespace.command(command), capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    if "error" in report:
        raise SystemExit(f"iperf3: {report['error']}")
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e6


def plain(made: Lab, folder: Path) -> list[int]:
    """The same wires, with a carrier's router between the two ends as there, and plain WireGuard; the processes."""
    made.add("host", "site", "sky", "gate", "net")
    made.join("host", "eth", "10.65.1.2/24", "site", "lan", "10.65.1.1/24")
    made.join("site", "way", "10.7.1.2/24", "sky", "in", "10.7.1.1/24")
    made.join("sky", "out", "10.7.2.1/24", "gate", "in", "10.7.2.2/24")
    made.run("site", "ip", "route", "add", "10.7.2.0/24", "via", "10.7.1.1")
    made.run("gate", "ip", "route", "add", "10.7.1.0/24", "via", "10.7.2.1")
    made.join("gate", "out", "10.8.0.1/24", "net", "eth", f"{PLAIN_SERVER}/24")
    made.run("host", "ip", "route", "add", "default", "via", "10.65.1.1")
    made.run("gate", "nft", 'table ip nat { chain post { type nat hook postrouting priority srcnat; oifname "out" masquerade; }; }')
    keys = []
    for side in ("site", "gate"):
        private = run("wg", "genkey").strip()
        public = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout.strip()
        (folder / side).write_text(private)
        keys.append(public)
    pids = []
    for side, peer, address, more in (
        ("site", keys[1], "100.99.0.2/24", ["allowed-ips", "0.0.0.0/0", "endpoint", "10.7.2.2:51900", "persistent-keepalive", "10"]),
        ("gate", keys[0], "100.99.0.1/24", ["allowed-ips", "100.99.0.2/32,10.65.1.0/24"]),
    ):
        device = f"{made.prefix}{side}"
        made.start(side, *REAL_TIME, "wireguard-go", "-f", device)
        until = time.monotonic() + 20
        while not (SOCKETS / f"{device}.sock").exists() and time.monotonic() < until:
            time.sleep(0.05)
        run("wg", "set", device, "private-key", str(folder / side), "listen-port", "51900", "peer", peer, *more)
        made.run(side, "ip", "address", "add", address, "dev", device)
        made.run(side, "ip", "link", "set", device, "mtu", "1420", "up")
        pids.append(owner(device))
    made.run("site", "ip", "route", "add", "default", "dev", f"{made.prefix}site")
    made.run("gate", "ip", "route", "add", "10.65.1.0/24", "dev", f"{made.prefix}gate")
    return pids


def usual_renewal(made: Routers) -> None:
    """Keys are renewed every two minutes here, as on a real site, not every second as in the tests."""
    for agent in made.agents.values():
        agent.config.write_text(agent.config.read_text().replace(RENEWAL, ""))


@dataclass
class Subject:
    """One of the ways that are compared."""

    name: str
    host: Namespace
    net: Namespace
    server: str
    processes: dict[str, list[int]]
    """Whose processor time is counted, by what they are."""
    mbps: dict[str, list[float]] = field(default_factory=lambda: {direction: [] for direction in DIRECTIONS})
    spent_s: dict[str, float] = field(default_factory=dict)
    loaded_s: float = 0.0

    def spent(self) -> dict[str, float]:
        return {word: processor_s(pids) for word, pids in self.processes.items()}

    def idle_shares(self) -> dict[str, float]:
        before = self.spent()
        time.sleep(IDLE_S)
        return {word: (spent - before[word]) / IDLE_S for word, spent in self.spent().items()}

    def gigabytes(self, seconds: float) -> float:
        """What was carried in turns of so long."""
        return sum(sum(each) for each in self.mbps.values()) * seconds / 8e3

    def turn(self, direction: str, seconds: float, congestion: str, *, counts: bool, rate_mbps: float = 0.0) -> None:
        began, before = time.monotonic(), self.spent()
        mbps = transfer(self.host, self.server, seconds, congestion, "-b", f"{rate_mbps}M", *DIRECTIONS[direction])
        if counts:
            self.mbps[direction].append(mbps)
            self.loaded_s += time.monotonic() - began
            for word, spent in self.spent().items():
                self.spent_s[word] = self.spent_s.get(word, 0.0) + spent - before[word]


def product(made: Routers, name: str) -> Subject:
    """Site and gateway, running."""
    usual_renewal(made)
    for agent in (made.gateway, made.site):
        agent.start()
        assert agent.process is not None
        run("chrt", "--rr", "-p", "5", str(agent.process.pid))
    made.wait_until_up()
    processes = {word: [agent.process.pid] for word, agent in made.agents.items() if agent.process is not None}
    processes["wireguard-go"] = [owner(path.stem) for path in SOCKETS.glob(f"{made.name}*.sock")]
    return Subject(name, made.namespace("host"), made.namespace("net"), SERVER, processes)


def shares(found: dict[str, float]) -> str:
    return ", ".join(f"{word} {share:.1%}" for word, share in found.items())


def main() -> None:
    options = argparse.ArgumentParser(description="Throughput of a site beside plain wireguard-go.")
    options.add_argument("--turns", type=int, default=10)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--congestion", default="cubic")
    options.add_argument("--rate", type=float, default=0.0, help="Mbit/s that are offered at most; 0 is all that goes.")
    options.add_argument("--nested", action="store_true", help="A site with nested tunnels as well.")
    asked = options.parse_args()
    reason = missing_for_routers()
    if reason:
        raise SystemExit(reason)
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(3)]
        bare = stack.enter_context(lab())
        pids = plain(bare, folders[0])
        theirs = Subject(PLAIN, Namespace(bare.real("host")), Namespace(bare.real("net")), PLAIN_SERVER, {"wireguard-go": pids})
        made = [stack.enter_context(routers(folders[1]))]
        ours = [product(made[0], "Tramontana")]
        if asked.nested:
            made.append(stack.enter_context(routers(folders[2], nested=True, letter="n")))
            ours.append(product(made[1], "Tramontana, nested"))
        subjects = [theirs, *ours]
        idle = {subject.name: subject.idle_shares() for subject in ours}
        for subject in subjects:
            stack.enter_context(listening(subject.net))
        for turn in range(asked.turns + 1):
            for direction in DIRECTIONS:
                for subject in subjects[:: -1 if turn % 2 else 1]:
                    # In the first turn connections of all ways are made once, and shaping finds its rate.
                    subject.turn(direction, asked.seconds, asked.congestion, counts=turn > 0, rate_mbps=asked.rate)
        moves = [len([each for each in (one.site.status() or {}).get("history", []) if each["from"] is not None]) for one in made]
    machine = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    offered = f", {asked.rate:.0f} Mbit/s offered" if asked.rate else ""
    print(f"One TCP connection ({asked.congestion}{offered}), {asked.turns} turns of {asked.seconds:.0f} s; {machine}")
    for direction in DIRECTIONS:
        print(f"{direction:5} {np.median(theirs.mbps[direction]):6.0f} Mbit/s  {theirs.name}")
        for subject in ours:
            ratios = np.asarray(subject.mbps[direction]) / np.asarray(theirs.mbps[direction])
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            print(f"{direction:5} {np.median(subject.mbps[direction]):6.0f} Mbit/s  {subject.name}: ratio {middle:.3f}, ", end="")
            print(f"half of the turns within {low:.2f} and {high:.2f}")
    for subject, switches in zip(ours, moves, strict=True):
        print(f"{subject.name}: share of one core, nothing sent: {shares(idle[subject.name])}; switches meanwhile: {switches}")
    for subject in subjects:
        print(f"{subject.name}: share of one core, under load: ", end="")
        print(shares({word: spent / subject.loaded_s for word, spent in subject.spent_s.items()}))
    print("Processor seconds of these processes for each gigabyte: ", end="")
    print(", ".join(f"{each.name} {sum(each.spent_s.values()) / each.gigabytes(asked.seconds):.1f}" for each in subjects))


if __name__ == "__main__":
    main()
