"""How fast a site is through its tunnel, beside plain wireguard-go on the same machine in the same run; and what the agents cost.

- *Tramontana*: the product's two agents as they run on real machines, two uplinks: kill switch, marks, classes, probes, keys, routes.
- *plain wireguard-go*: the same wires with one tunnel each way out, made with `wg`, and address translation at the gateway; nothing else.

One TCP connection (iperf3) from a host in the site's local network to one on the internet, then the other way; the two ways take turns, and
the ratio is the median over the pairs of turns. Agents and WireGuard of both have real-time priority (docs/uplinks.md). Everything of both
ends runs on one machine: what two routers share here is its cores, so whatever the agents take is taken from WireGuard. The processor time
is measured meanwhile, and while nothing is sent.

Run as root: python bench/tunnel_throughput.py [--turns 10] [--seconds 2] [--congestion cubic]
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
from contextlib import contextmanager
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
    """The same wires with plain WireGuard; the processes."""
    made.add("host", "site", "gate", "net")
    made.join("host", "eth", "10.65.1.2/24", "site", "lan", "10.65.1.1/24")
    made.join("site", "way", "10.7.1.2/24", "gate", "in", "10.7.1.1/24")
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
        ("site", keys[1], "100.99.0.2/24", ["allowed-ips", "0.0.0.0/0", "endpoint", "10.7.1.1:51900", "persistent-keepalive", "10"]),
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


def main() -> None:
    options = argparse.ArgumentParser(description="Throughput of a site beside plain wireguard-go.")
    options.add_argument("--turns", type=int, default=10)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--congestion", default="cubic")
    asked = options.parse_args()
    reason = missing_for_routers()
    if reason:
        raise SystemExit(reason)
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other, lab() as bare, routers(Path(one)) as made:
        pids_plain = plain(bare, Path(other))
        usual_renewal(made)
        for agent in (made.gateway, made.site):
            agent.start()
            assert agent.process is not None
            run("chrt", "--fifo", "-p", "5", str(agent.process.pid))
        made.wait_until_up()
        agents = {word: agent.process.pid for word, agent in made.agents.items() if agent.process is not None}
        tunnels = [owner(path.stem) for path in SOCKETS.glob(f"{made.name}*.sock")]
        before = {word: processor_s([pid]) for word, pid in agents.items()} | {"wireguard-go": processor_s(tunnels)}
        time.sleep(IDLE_S)
        idle = {word: (processor_s([pid]) - before[word]) / IDLE_S for word, pid in agents.items()}
        idle["wireguard-go"] = (processor_s(tunnels) - before["wireguard-go"]) / IDLE_S
        places = {
            "Tramontana": (made.namespace("host"), SERVER),
            "plain wireguard-go": (Namespace(bare.real("host")), PLAIN_SERVER),
        }
        loaded_s = plain_s = 0.0
        spent = dict.fromkeys((*agents, "wireguard-go", "plain wireguard-go"), 0.0)
        with listening(made.namespace("net")), listening(Namespace(bare.real("net"))):
            for turn in range(asked.turns + 1):
                for direction, more in DIRECTIONS.items():
                    for name, (namespace, server) in sorted(places.items(), reverse=bool(turn % 2)):
                        began = time.monotonic()
                        pids = {**{word: [pid] for word, pid in agents.items()}, "wireguard-go": tunnels, "plain wireguard-go": pids_plain}
                        start = {word: processor_s(each) for word, each in pids.items()}
                        mbps = transfer(namespace, server, asked.seconds, asked.congestion, *more)
                        if turn == 0:
                            continue  # connections of both ways have been made once, shaping has found its rate
                        used = {word: processor_s(each) - start[word] for word, each in pids.items()}
                        found.setdefault((name, direction), []).append(mbps)
                        if name == "Tramontana":
                            loaded_s += time.monotonic() - began
                            for word in (*agents, "wireguard-go"):
                                spent[word] += used[word]
                        else:
                            plain_s += time.monotonic() - began
                            spent["plain wireguard-go"] += used["plain wireguard-go"]
        status = made.site.status() or {}
    machine = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"One TCP connection ({asked.congestion}), {asked.turns} turns of {asked.seconds:.0f} s; {machine}")
    for direction in DIRECTIONS:
        ours, theirs = (np.asarray(found[name, direction]) for name in places)
        ratio = np.median(ours / theirs)
        print(f"{direction:5} {np.median(ours):6.0f} Mbit/s, plain wireguard-go {np.median(theirs):6.0f}: ratio {ratio:.3f}   ", end="")
        print("each turn " + " ".join(f"{each:.2f}" for each in ours / theirs))
    print("Share of one core, nothing sent:  " + ", ".join(f"{word} {share:.1%}" for word, share in idle.items()))
    shares = {word: spent[word] / (plain_s if word.startswith("plain") else loaded_s) for word in spent}
    print("Share of one core, under load:    " + ", ".join(f"{word} {share:.1%}" for word, share in shares.items()))
    moves = [each for each in status.get("history", []) if each["from"] is not None]
    print(f"Switches of the site meanwhile: {len(moves)}")


if __name__ == "__main__":
    main()
