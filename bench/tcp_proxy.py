"""What the TCP proxy is worth on a carrier that loses packets at random: beside hosts that do without it, in one run.

A carrier of 150 Mbit/s, 20 ms each way, is played between a site and a gateway by the path player. One connection a turn (iperf3):

- *cubic, end to end*: what the hosts of a local network do by themselves;
- *cubic, proxy*: the same hosts, with the product's proxies at site and gateway;
- *BBR, end to end*: the bound, if every host on both sides could be changed.

Without WireGuard: a packet that it loses is the same packet. Run as root: python bench/tcp_proxy.py [--turns 3] [--seconds 6]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.tunnel_throughput import DIRECTIONS, listening, processor_s, transfer
from tests.internet.namespaces import why_not
from tests.internet.proxied import SERVER, Proxied, proxied
from tests.internet.tunnels import REAL_TIME
from tramontana.emulation.control_protocol import Interface, Wire
from tramontana.internet.linux.namespace import Namespace
from tramontana.path_profile import PathProfile

CAPACITY_BPS, DELAY_S = 150e6, 0.020
LOSSES = (0.0, 0.005, 0.02)
WAYS = {"cubic, end to end": ("cubic", False), "cubic, proxy": ("cubic", True), "BBR, end to end": ("bbr", False)}


def profile(loss: float) -> PathProfile:
    pair, none = np.ones(2), np.asarray([], dtype=np.float64)
    start = time.time() - 1
    nobody = np.full(2, -1, np.int32)
    return PathProfile(
        "bench", "bench", "simulated, for a benchmark", "bench", (), (), np.asarray([start, start + 86_400.0]), pair * DELAY_S,
        pair * CAPACITY_BPS, pair * CAPACITY_BPS, pair * loss, pair * 50, nobody, nobody, none, none, none,
    )  # fmt: skip


class Carrier:
    """The wire between site and gateway, played by a process of the path player."""

    def __init__(self, ends: Proxied, folder: Path) -> None:
        self._ends = ends
        path = folder / "player.sock"
        command = [*REAL_TIME, sys.executable, "-m", "tramontana.cli.main", "player", "--control", str(path)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        self._control = socket.socket(socket.AF_UNIX)
        self._control.connect(str(path))
        self._answers = self._control.makefile("rb")
        self.lose(0.0)
        for name, end in (("site", 2), ("gateway", 1)):
            ends.made.run(name, "ip", "address", "add", f"100.64.3.{end}/24", "dev", "w3")
            ends.made.run(name, "ip", "address", "add", f"fd99:3::{end}/64", "dev", "w3", "nodad")
            ends.made.run(name, "ip", "link", "set", "w3", "up")
        ends.use(3)

    def lose(self, loss: float) -> None:
        near, far = (Interface(self._ends.made.real(name), "w3") for name in ("site", "gateway"))
        self._control.sendall(Wire("bench", profile(loss), 1, near, far).encode())
        answer = json.loads(self._answers.readline())
        if not answer["ok"]:
            raise SystemExit(answer["error"])

    def close(self) -> None:
        self._control.close()
        self.process.terminate()
        self.process.wait()


def main() -> None:
    options = argparse.ArgumentParser(description="TCP over a carrier that loses, with and without the proxy.")
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--seconds", type=float, default=6.0)
    asked = options.parse_args()
    reason = why_not()
    if reason:
        raise SystemExit(reason)
    found: dict[tuple[float, str, str], list[float]] = {}
    spent, proxied_s = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder, proxied(Path(folder), extra_inside=("w3",)) as ends:
        carrier = Carrier(ends, Path(folder))
        try:
            with listening(Namespace(ends.made.real("server"))):
                for loss in LOSSES:
                    carrier.lose(loss)
                    for _ in range(asked.turns):
                        for name, (congestion, is_proxied) in WAYS.items():
                            if is_proxied:
                                ends.start("gateway", "site")
                            pids = [ends.status(role)["pid"] for role in ("site", "gateway")] if is_proxied else []
                            before, began = processor_s(pids), time.monotonic()
                            for direction, more in DIRECTIONS.items():
                                client = Namespace(ends.made.real("client"))
                                mbps = transfer(client, SERVER, asked.seconds, congestion, *more)
                                found.setdefault((loss, direction, name), []).append(mbps)
                            if is_proxied:
                                spent += processor_s(pids) - before
                                proxied_s += time.monotonic() - began
                                ends.stop()
        finally:
            carrier.close()
    print(f"{CAPACITY_BPS / 1e6:.0f} Mbit/s, {2e3 * DELAY_S:.0f} ms; median of {asked.turns} turns of {asked.seconds:.0f} s; ", end="")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'loss':>6} {'':5}" + "".join(f"{name:>20}" for name in WAYS) + f"{'proxy / cubic':>16}{'proxy / BBR':>14}")
    for loss in LOSSES:
        for direction in DIRECTIONS:
            plain, ours, bound = (float(np.median(found[loss, direction, name])) for name in WAYS)
            rates = "".join(f"{mbps:>13.0f} Mbit/s" for mbps in (plain, ours, bound))
            print(f"{loss:>6.1%} {direction:5}{rates}{ours / plain:>16.1f}{ours / bound:>14.2f}")
    print(f"Both proxies together took {spent / proxied_s:.0%} of one core.")


if __name__ == "__main__":
    main()
