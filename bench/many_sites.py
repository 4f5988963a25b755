"""How many sites one gateway's agent serves: a thousand that probe, and a thousand that change their carrier in the same moment.

The product's `GatewayUplinks` runs in a network namespace of its own, with an interface for each uplink; another process plays the sites
behind them: every one probes the tunnel that carries (idle: 10 a second) and a standby (4 a second), and says SWITCH. Beside it, as the
bound, the same load on a loop that does nothing but send each datagram back. Kernel, routes and `ip` are real; WireGuard is left out.
Both have real-time priority, as an agent should; the sites have none.

Run as root: python bench/many_sites.py [--sites 1000] [--seconds 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import struct
import sys
import tempfile
import time
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.tunnel_throughput import processor_s
from tests.internet.namespaces import Lab, lab, run, why_not
from tests.internet.tunnels import REAL_TIME
from tramontana.emulation.tun.driver import Tun
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux.gateway_uplinks import GatewaySite, GatewayUplinks
from tramontana.internet.linux.tunnel_socket import open_socket, received, send
from tramontana.internet.overlay import GATEWAY_END, tunnel_address
from tramontana.internet.probe import CARRYING_S, IDLE_S, PORT, STANDBY_S, Probe
from tramontana.internet.switch import SWITCHED_TYPE, Assignment, encode_switch

UPLINKS = (1, 2)
FIRST_NUMBER = 2


def device(uplink: int) -> str:
    return f"many{uplink}"


def address(uplink: int, number: int) -> IPv4Address:
    return tunnel_address(0, uplink, number)


def network(number: int) -> str:
    return f"10.{64 + (number >> 8)}.{number & 255}.0/24"


# ---- the gateway's end, a process of its own


def serve(sites: int, folder: str) -> None:
    async def main() -> None:
        own = {uplink: (device(uplink), str(address(uplink, GATEWAY_END))) for uplink in UPLINKS}
        agent = GatewayUplinks(own, routes_file=Path(folder) / "routes.json")
        began = time.monotonic()
        for number in range(FIRST_NUMBER, FIRST_NUMBER + sites):
            addresses = {uplink: str(address(uplink, number)) for uplink in UPLINKS}
            agent.add(GatewaySite(f"{number:032x}", [ip_network(network(number))], addresses, number - 1))
        print(json.dumps({"admitted_s": time.monotonic() - began}), flush=True)
        await agent.run()

    asyncio.run(main())


def bounce() -> None:
    """The bound: sends every datagram back."""
    sockets = [open_socket(device(uplink), str(address(uplink, GATEWAY_END))) for uplink in UPLINKS]
    print(json.dumps({"admitted_s": 0.0}), flush=True)
    while True:
        for each in select.select(sockets, [], [])[0]:
            for datagram, sender, port in received(each):
                send(each, datagram, sender, port)


# ---- the sites


class Sites:
    """All of them: they write IP packets into the gateway's interfaces, and read what comes out."""

    def __init__(self, namespace: str, sites: int) -> None:
        self.numbers = range(FIRST_NUMBER, FIRST_NUMBER + sites)
        self.tuns = {uplink: Tun(namespace, device(uplink)) for uplink in UPLINKS}
        for uplink in UPLINKS:
            run("ip", "-n", namespace, "address", "add", f"{address(uplink, GATEWAY_END)}/18", "dev", device(uplink))
            run("ip", "-n", namespace, "link", "set", device(uplink), "txqueuelen", "20000", "up")

    def say(self, uplink: int, number: int, message: bytes) -> None:
        self.tuns[uplink].write(_packet(address(uplink, number), address(uplink, GATEWAY_END), message))

    def hear(self, wait_s: float) -> list[tuple[int, bytes]]:
        """(site's number, message)."""
        found = []
        for tun in select.select(list(self.tuns.values()), [], [], wait_s)[0]:
            for _ in range(512):
                try:
                    packet = tun.read()
                except BlockingIOError:
                    break
                if packet[0] >> 4 == 4 and packet[9] == 17:
                    found.append((int.from_bytes(packet[16:20], "big") & 0x3FFF, packet[28:]))
        return found

    def probe(self, seconds: float) -> int:
        """Probes sent by sites that carry by uplink 1 and stand by on uplink 2. Answers are read, and counted by the kernel."""
        sent = 0
        began = time.monotonic()
        plan = [(began + IDLE_S * i / len(self.numbers), 1, number, IDLE_S) for i, number in enumerate(self.numbers)]
        plan += [(began + STANDBY_S * i / len(self.numbers), 2, number, STANDBY_S) for i, number in enumerate(self.numbers)]
        heaped = {1: [p for p in plan if p[1] == 1], 2: [p for p in plan if p[1] == 2]}
        cursors = dict.fromkeys(UPLINKS, 0)
        rounds = dict.fromkeys(UPLINKS, 0)
        while (now := time.monotonic()) < began + seconds:
            for uplink, entries in heaped.items():
                while True:
                    at, _, number, interval = entries[cursors[uplink]]
                    if at + rounds[uplink] * interval > now:
                        break
                    self.say(uplink, number, Probe(round(now * 1e6), 0).encode())
                    sent += 1
                    cursors[uplink] = (cursors[uplink] + 1) % len(entries)
                    rounds[uplink] += cursors[uplink] == 0
            self.hear(0.001)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            self.hear(0.1)
        return sent

    def switch(self, uplink: int, sequence: int, numbers: range) -> np.ndarray:
        """Seconds until each site heard that its SWITCH is carried out."""
        asked = encode_switch(Assignment.of(sequence, dict.fromkeys(FlowClass, uplink)))
        began = time.monotonic()
        answered: dict[int, float] = {}
        repeat_at = began
        while len(answered) < len(numbers):
            if time.monotonic() >= repeat_at:
                for number in numbers:
                    if number not in answered:
                        self.say(uplink, number, asked)
                repeat_at += 1.0
            for number, message in self.hear(0.01):
                if message[:1] == bytes([SWITCHED_TYPE]):
                    answered.setdefault(number, time.monotonic() - began)
            if time.monotonic() > began + 120:
                raise SystemExit(f"only {len(answered)} of {len(numbers)} sites were answered")
        return np.asarray(list(answered.values()))


def _packet(source: IPv4Address, target: IPv4Address, message: bytes) -> bytes:
    """RFC 791 and 768; no UDP checksum."""
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(message), 0, 0, 64, 17, 0, source.packed, target.packed)
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return head[:10] + struct.pack("!H", total) + head[12:] + struct.pack("!HHHH", PORT, PORT, 8 + len(message), 0) + message


def _sent_datagrams(made: Lab) -> int:
    """Of UDP, by the gateway's namespace (RFC 4113 udpOutDatagrams)."""
    names, values = (line.split() for line in made.run("gateway", "grep", "^Udp:", "/proc/net/snmp").splitlines())
    return int(values[names.index("OutDatagrams")])


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    options = argparse.ArgumentParser(description="Many sites on one gateway agent.")
    options.add_argument("--sites", type=int, default=1000)
    options.add_argument("--seconds", type=float, default=10.0)
    asked = options.parse_args()
    reason = why_not()
    if reason:
        raise SystemExit(reason)
    shares: dict[str, float] = {}
    machine = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{asked.sites} sites, {asked.sites * (1 / IDLE_S + 1 / STANDBY_S):.0f} probes a second; {machine}")
    for name in ("bound: sends back", "gateway agent"):
        with lab() as made, tempfile.TemporaryDirectory() as folder:
            made.add("gateway")
            sites = Sites(made.real("gateway"), asked.sites)
            words = ("bounce",) if name.startswith("bound") else ("serve", str(asked.sites), folder)
            process = made.start("gateway", *REAL_TIME, sys.executable, "-u", __file__, *words)
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(process.communicate()[1])
            pid = process.pid
            if not name.startswith("bound"):
                print(f"{name}: all sites admitted in {json.loads(line)['admitted_s']:.1f} s, {resident_mb(pid):.0f} MB")
                sites.switch(1, 1, sites.numbers)
            before, answered, began = processor_s([pid]), _sent_datagrams(made), time.monotonic()
            sent = sites.probe(asked.seconds)
            spent, took = processor_s([pid]) - before, time.monotonic() - began
            answered = _sent_datagrams(made) - answered
            shares[name] = spent / max(1, answered)
            each = f"{shares[name] * 1e6:.0f} µs each"
            print(f"{name}: {answered / sent:.1%} of {sent} probes answered, {spent / took:.0%} of one core, {each}")
            if not name.startswith("bound"):
                alone = [float(sites.switch(2, 10 + i, range(number, number + 1))[0]) for i, number in enumerate(list(sites.numbers)[:20])]
                together = sites.switch(2, 1000, sites.numbers)
                print(f"one site changes its carrier: routes set and told in {np.median(alone) * 1e3:.0f} ms (median of 20)")
                each_s = np.max(together) / len(together)
                print(f"all change in one moment: median {np.median(together):.2f} s, last {np.max(together):.2f} s; ", end="")
                print(f"{each_s * 1e3:.2f} ms a site, {np.median(alone) / each_s:.0f} times as fast as one by one")
                print(f"memory at the end {resident_mb(pid):.0f} MB")
    print(f"Ratio to the bound, processor time a probe: {shares['gateway agent'] / shares['bound: sends back']:.1f}")
    carrying = asked.sites / CARRYING_S
    cores = carrying * shares["gateway agent"]
    print(f"If every site's tunnel were busy ({carrying:.0f} probes a second) the agent would need {cores:.1f} cores")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", sites, folder]:
            serve(int(sites), folder)
        case ["bounce"]:
            bounce()
        case _:
            main()
