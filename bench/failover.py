"""How long traffic stands still when a carrier is cut without any sign: beside two usual ways, in one run, over the same tunnels.

- *Tramontana*: a tunnel an uplink, probes every 20 ms, `UplinkChoice`, SWITCH; cut without warning, and cut a second after the agent was
  told of the outage (it moves half a second ahead).
- *one WireGuard, route script*: one tunnel whose underlay route a script moves after one probe a second failed; WireGuard roams.
- *mwan3's rule*: a tunnel an uplink, one probe a second, dead after two failures; routes are then moved at both ends at once, which mwan3
  itself could not do.

A stream of 500 packets a second runs from site to server, a TCP download from server to site, 20 Mbit/s an uplink, without added delay: a
real carrier adds its round trip to every figure. The gap is the longest pause at the receiver after a cut; mean and worst over all cuts.

Run as root: python bench/failover.py [CUTS]
"""

from __future__ import annotations

import json
import os
import select
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.internet.namespaces import Lab, lab, run, why_not
from tests.internet.tunnels import HERE, REAL_TIME, SERVER, SITE_NETWORK, Tunnels, build

CUTS = 10
PAUSE_S = 4.0
UDP_RATE = 500
LINK_BPS = 20e6
PROBE_PORT, TCP_PORT, UDP_PORT = 7000, 7001, 7002
ONE_ENDPOINT = "10.9.9.1"
WARNING_S = 1.0


# ---- processes of the bench


def serve_echo() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", PROBE_PORT))
        while True:
            datagram, sender = sock.recvfrom(64)
            sock.sendto(datagram, sender)


def watch(fails: int, addresses: list[str], commands: list[str]) -> None:
    """A probe a second to the address in use; after `fails` without an answer within the second, the other one's command is run."""
    current, failed = 0, 0
    subprocess.run(commands[0], shell=True, check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        number = 0
        while True:
            number += 1
            began = time.monotonic()
            answered = False
            try:
                sock.sendto(number.to_bytes(8, "big"), (addresses[current], PROBE_PORT))
                while not answered and select.select([sock], [], [], max(0.0, began + 1.0 - time.monotonic()))[0]:
                    answered = sock.recv(64) == number.to_bytes(8, "big")
            except OSError:
                pass
            failed = 0 if answered else failed + 1
            if failed >= fails:
                current, failed = 1 - current, 0
                subprocess.run(commands[current], shell=True, check=True)
            time.sleep(max(0.0, began + 1.0 - time.monotonic()))


def serve_tcp() -> None:
    with socket.create_server(("0.0.0.0", TCP_PORT)) as listener:
        print("ready", flush=True)
        connection, _ = listener.accept()
        block = bytes(65536)
        with connection:
            while True:
                connection.sendall(block)


def fetch_tcp() -> None:
    arrivals: list[float] = []
    with socket.create_connection((SERVER, TCP_PORT), timeout=30) as sock, selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while all(key.fileobj is sock for key, _ in selector.select()):
            sock.recv(1 << 20)
            now = time.monotonic()
            if not arrivals or now - arrivals[-1] > 0.001:
                arrivals.append(now)
    print(json.dumps(arrivals))


# ---- the bench


@dataclass
class Result:
    name: str
    udp_s: list[float]
    tcp_s: list[float]
    lost: int
    sent: int


def measured(name: str, tunnels: Tunnels, cuts: int, cut: Callable[[int], None], settle: Callable[[], int]) -> Result:
    """`cuts` cuts, each of the uplink that carries; `cut` returns when the uplink is dark."""
    made = tunnels.made
    server = made.python("server", __file__, "serve-tcp")
    into = made.python("server", str(HERE / "flow.py"), "receive", SERVER, str(UDP_PORT))
    for process in (server, into):
        _ready(process)
    fetch = made.python("host", __file__, "fetch-tcp")
    _ready(fetch)
    seconds = (cuts + 1) * (PAUSE_S + 3.0)
    out = made.python("host", str(HERE / "flow.py"), "send", SERVER, str(UDP_PORT), str(seconds), str(UDP_RATE), "200", "0")
    time.sleep(1.0)
    instants: list[float] = []
    for _ in range(cuts):
        carrying = settle()
        cut(carrying)
        instants.append(time.monotonic())
        time.sleep(PAUSE_S)
        tunnels.loss(carrying, 0)
        time.sleep(2.0)
    end = time.monotonic()
    tcp = np.asarray(json.loads(fetch.communicate(timeout=60)[0]))
    heard = json.loads(into.communicate(timeout=60)[0])
    for process in (out, server):
        process.kill()
        process.communicate()
    udp = np.asarray(heard["arrivals"])
    numbers = np.asarray(heard["numbers"])
    sent = int(numbers[-1] - numbers[0] + 1)
    return Result(name, _gaps(udp, instants, end), _gaps(tcp, instants, end), sent - len(set(heard["numbers"])), sent)


def _gaps(arrivals: np.ndarray, instants: list[float], end: float) -> list[float]:
    """The longest pause that begins or lasts within `PAUSE_S` of each instant."""
    edges = np.append(arrivals, end)
    found = []
    for instant in instants:
        i = max(0, int(np.searchsorted(edges, instant - 0.2)) - 1)
        j = int(np.searchsorted(edges, instant + PAUSE_S))
        found.append(float(np.max(np.diff(edges[i : j + 1]), initial=0.0)))
    return found


def _ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise SystemExit(process.communicate()[1])


def tramontana(tunnels: Tunnels, cuts: int, *, predicted: bool) -> Result:
    tunnels.start_gateway()
    tunnels.start_site()
    tunnels.settle(1)
    current = [1]

    def settle() -> int:
        tunnels.take_events()
        if tunnels.events:
            current[0] = tunnels.events[-1]["to"]
        return current[0]

    def cut(uplink: int) -> None:
        if predicted:
            tunnels.tell(planned=[uplink, WARNING_S, WARNING_S + PAUSE_S])
            time.sleep(WARNING_S)
        tunnels.loss(uplink, 100)

    try:
        return measured("Tramontana, " + ("predicted" if predicted else "without warning"), tunnels, cuts, cut, settle)
    finally:
        for process in (tunnels.site, tunnels.gateway):
            assert process is not None
            process.communicate(timeout=60)


def by_script(
    name: str, tunnels: Tunnels, cuts: int, place: str, fails: int, addresses: list[str], commands: list[str], way: str
) -> Result:
    """way: what `ip route get` shows of the uplink in use, with {} for its number."""
    made = tunnels.made
    echo = made.start("gateway", *REAL_TIME, sys.executable, __file__, "echo")
    watcher = made.start(place, *REAL_TIME, sys.executable, __file__, "watch", str(fails), json.dumps(addresses), json.dumps(commands))
    time.sleep(3.0)

    def settle() -> int:
        shown = made.run(place, "ip", "route", "get", ONE_ENDPOINT if place == "under" else SERVER)
        return next(uplink for uplink in (1, 2) if f"dev {way.format(uplink)} " in shown)

    try:
        return measured(name, tunnels, cuts, lambda uplink: tunnels.loss(uplink, 100), settle)
    finally:
        for process in (echo, watcher):
            process.kill()
            process.communicate()


def one_tunnel(tunnels: Tunnels) -> None:
    """Uplink 3's tunnel becomes the only one: its endpoint is an address of the gateway that both other uplinks reach."""
    made = tunnels.made
    made.run("gateway", "ip", "address", "add", f"{ONE_ENDPOINT}/32", "dev", "lo")
    for uplink in (1, 2):
        made.run("nat", "ip", "rule", "add", "iif", f"i{uplink}", "lookup", str(100 + uplink))
        made.run("nat", "ip", "route", "add", ONE_ENDPOINT, "via", f"10.9.{uplink}.1", "table", str(100 + uplink))
    made.run("under", "ip", "route", "replace", ONE_ENDPOINT, "via", "10.7.1.1")
    device = tunnels.device("s", 3)
    peer = run("wg", "show", device, "peers").strip()
    run("wg", "set", device, "peer", peer, "endpoint", f"{ONE_ENDPOINT}:51823")
    made.run("site", "ip", "route", "replace", "10.8.0.0/24", "dev", device)
    made.run("gateway", "ip", "route", "replace", SITE_NETWORK, "dev", tunnels.device("g", 3))


def narrow(made: Lab) -> None:
    for uplink in (1, 2, 3):
        for name, device in (("under", f"u{uplink}"), ("gateway", f"p{uplink}")):
            rate = ("rate", f"{LINK_BPS:.0f}bit", "burst", "20000", "limit", "200000")
            made.run(name, "tc", "qdisc", "replace", "dev", device, "root", "tbf", *rate)


def main(cuts: int) -> None:
    reason = why_not()
    if reason:
        raise SystemExit(reason)
    results: list[Result] = []
    with lab() as made, tempfile.TemporaryDirectory() as folder:
        tunnels = build(made, Path(folder))
        narrow(made)
        results.append(tramontana(tunnels, cuts, predicted=False))
        results.append(tramontana(tunnels, cuts, predicted=True))
        tunnel_routes = [
            f"ip route replace 10.8.0.0/24 dev {tunnels.device('s', u)}; "
            f"ip -n {made.real('gateway')} route replace {SITE_NETWORK} dev {tunnels.device('g', u)}"
            for u in (1, 2)
        ]
        for name in ("site", "gateway"):
            made.run(name, "ip", "route", "flush", "table", "main", "metric", "1", check=False)
        mwan3 = ["100.64.1.1", "100.64.2.1"]
        results.append(by_script("mwan3's rule", tunnels, cuts, "site", 2, mwan3, tunnel_routes, tunnels.made.prefix + "s{}"))
        one_tunnel(tunnels)
        underlay = [f"ip route replace {ONE_ENDPOINT} via 10.7.{u}.1" for u in (1, 2)]
        name = "one WireGuard, route script"
        results.append(by_script(name, tunnels, cuts, "under", 1, ["10.9.1.1", "10.9.2.1"], underlay, "u{}"))
    print(f"{cuts} cuts each; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':30} {'UDP gap mean / worst':>24} {'TCP gap mean / worst':>24} {'UDP packets lost':>20}")
    for r in results:
        udp, tcp = (f"{np.mean(g) * 1e3:.0f} / {np.max(g) * 1e3:.0f} ms" for g in (r.udp_s, r.tcp_s))
        print(f"{r.name:30} {udp:>24} {tcp:>24} {r.lost:>10} of {r.sent}")
    ours = results[0]
    for r in results[2:]:
        udp, tcp = (f"{np.mean(theirs) / np.mean(own):.1f}" for theirs, own in ((r.udp_s, ours.udp_s), (r.tcp_s, ours.tcp_s)))
        print(f"{r.name}: {udp} times our UDP gap, {tcp} times our TCP gap")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["echo"]:
            serve_echo()
        case ["watch", fails, addresses, commands]:
            watch(int(fails), json.loads(addresses), json.loads(commands))
        case ["serve-tcp"]:
            serve_tcp()
        case ["fetch-tcp"]:
            fetch_tcp()
        case []:
            main(CUTS)
        case [number]:
            main(int(number))
        case _:
            raise SystemExit(__doc__)
