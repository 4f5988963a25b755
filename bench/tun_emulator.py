"""How much a wire of the path player carries without loss, and how exactly it releases: beside its bounds, in one run.

- *wire*: the product's path player between two TUN interfaces in two network namespaces, with real-time priority and without.
- *TUN, no link*: a bound. The same kind of loop hands each packet on at once; its "error" is the time that two TUN interfaces cost.
- *veth*: the other bound. The kernel alone.

A sender in one namespace paces IP packets of 1,500 octets; the kernel stamps their arrival at a receiver in the other. The release error
of a packet is that stamp less (its sending instant + the profile's delay), so it includes everything that the machine adds on both sides.

Run as root: python bench/tun_emulator.py [--rate 200] [--seconds 4]
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from tramontana.emulation.control_protocol import Interface, Wire
from tramontana.emulation.driver import PathPlayer, prepare_process
from tramontana.emulation.tun.driver import Tun
from tramontana.path_profile import PathProfile

DELAY_S = 0.020
CAPACITY_BPS = 1e12  # a burst of the sender must not queue behind itself: that would be the link, not an error
PACKET_BYTES = 1500
PAYLOAD_BYTES = PACKET_BYTES - 28  # less the headers of IPv4 and UDP
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33  # asm-generic/socket.h
NEAR, FAR = f"trbench-{os.getpid()}-near", f"trbench-{os.getpid()}-far"
HOSTS = ("198.18.0.1", "198.18.0.2")
PORT = 9000
ENGINES = {
    "wire, real-time": ("player", "realtime"),
    "wire": ("player", "plain"),
    "TUN, no link": ("forward",),
    "veth": ("veth",),
}


def profile() -> PathProfile:
    pair = np.ones(2)
    none = np.asarray([], dtype=np.float64)
    start = time.time() - 1
    return PathProfile(
        "bench", "bench", "simulated, for a benchmark", "bench", (), (), np.asarray([start, start + 3600.0]), pair * DELAY_S,
        pair * CAPACITY_BPS, pair * CAPACITY_BPS, pair * 0, pair * 50, np.full(2, -1, np.int32), np.full(2, -1, np.int32), none, none, none,
    )  # fmt: skip


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def ends(names: tuple[str, str]) -> tuple[Interface, Interface]:
    return Interface(names[0], "near"), Interface(names[1], "far")


# --- the engines, each a process; it prints a line once its interfaces are there ---


def run_player(near: str, far: str, priority: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        control = Path(directory) / "control"
        player = PathPlayer(control)
        player.handle_signals()
        granted = prepare_process(realtime=priority == "realtime")
        controller = socket.socket(socket.AF_UNIX)
        controller.connect(str(control))
        controller.sendall(Wire("bench", profile(), 1, *ends((near, far))).encode())
        if os.fork() == 0:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            answer = json.loads(controller.makefile("rb").readline())
            print(json.dumps({**answer, "granted": granted}), flush=True)
            os._exit(0)
        player.run()
        controller.close()


def run_forward(near: str, far: str) -> None:
    granted = prepare_process(realtime=True)
    one, other = (Tun(end.namespace, end.name) for end in ends((near, far)))
    print(json.dumps({"ok": True, "granted": granted}), flush=True)
    while True:
        select.select([one, other], [], [])
        for source, sink in ((one, other), (other, one)):
            with suppress(OSError):  # nothing waits, or an interface is not up yet
                for _ in range(16):
                    sink.write(source.read())


# --- the instruments, each within its namespace ---


def run_receiver(delay_s: str) -> None:
    """Says that it listens; then, when nothing has come for half a second after the first packet, how many came and their errors."""
    prepare_process(realtime=False)
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind((HOSTS[1], PORT))
    here.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    here.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
    here.settimeout(20)
    print("listening", flush=True)
    delay_ns = round(float(delay_s) * 1e9)
    errors_ns = []
    with suppress(TimeoutError):
        while True:
            data, ancillary, _, _ = here.recvmsg(2048, 64)
            here.settimeout(0.5)
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            errors_ns.append(seconds * 10**9 + nanoseconds - int.from_bytes(data[:8], "little") - delay_ns)
    p50, p99 = np.percentile(np.asarray(errors_ns or [np.nan]) / 1000, [50, 99])
    print(json.dumps({"received": len(errors_ns), "p50_us": float(p50), "p99_us": float(p99)}), flush=True)


def run_sender(rate_mbps: str, seconds: str) -> None:
    """Pace packets; prints how many were sent and the rate reached in Mbit/s."""
    prepare_process(realtime=False)
    interval = PACKET_BYTES * 8 / (float(rate_mbps) * 1e6)
    filling = bytes(PAYLOAD_BYTES - 8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect((HOSTS[1], PORT))
        begin = time.monotonic()
        count = int(float(seconds) / interval)
        for number in range(count):
            ahead = begin + number * interval - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            out.send(time.time_ns().to_bytes(8, "little") + filling)
        print(json.dumps({"sent": count, "reached": count * PACKET_BYTES * 8 / (time.monotonic() - begin) / 1e6}))


@contextmanager
def process(*arguments: str, namespace: str | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    within = ["ip", "netns", "exec", namespace] if namespace else []
    child = subprocess.Popen([*within, sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield child, child.stdout.readline()
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate()


def processor_s(pid: int) -> float:
    """User and system time of a process, in seconds (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def transfer(rate_mbps: float, seconds: float, delay_s: float) -> dict[str, float]:
    for namespace, name, host in ((NEAR, "near", HOSTS[0]), (FAR, "far", HOSTS[1])):
        ip("-n", namespace, "addr", "add", f"{host}/24", "dev", name)
        ip("-n", namespace, "link", "set", name, "up")
    listening = process("receiver", str(delay_s), namespace=FAR)
    with listening as (receiver, _), process("sender", str(rate_mbps), str(seconds), namespace=NEAR) as (_, sent):
        assert receiver.stdout is not None
        return {**json.loads(sent), **json.loads(receiver.stdout.readline())}


def measure(engine: tuple[str, ...], rate_mbps: float, seconds: float) -> dict[str, float]:
    """One run of one engine at one rate."""
    if engine[0] == "veth":
        ip("-n", NEAR, "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", FAR)
        try:
            return {**transfer(rate_mbps, seconds, 0.0), "granted": False, "cpu_us": 0.0}
        finally:
            ip("-n", NEAR, "link", "del", "near")
    with process(engine[0], NEAR, FAR, *engine[1:]) as (running, ready):
        announced = json.loads(ready)
        assert announced["ok"], announced
        before = processor_s(running.pid)
        result = transfer(rate_mbps, seconds, DELAY_S if engine[0] == "player" else 0.0)
        spent_us = (processor_s(running.pid) - before) * 1e6
    return {**result, "granted": announced["granted"], "cpu_us": spent_us / result["sent"]}


def main() -> None:
    options = argparse.ArgumentParser(description="Throughput and release error of a wire of the path player.")
    options.add_argument("--rate", type=float, default=200.0, help="Mbit/s at which the error is measured")
    options.add_argument("--seconds", type=float, default=4.0)
    asked = options.parse_args()
    if os.geteuid() != 0:
        sys.exit("Wires between network namespaces need root: run it as root.")
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"Wire of the path player: {DELAY_S * 1e3:.0f} ms one way, 1,500 octets a packet; {machine}")
    try:
        for name in (NEAR, FAR):
            ip("netns", "add", name)
        results = {name: measure(engine, asked.rate, asked.seconds) for name, engine in ENGINES.items()}
    finally:
        for name in (NEAR, FAR):
            subprocess.run(["ip", "netns", "del", name], check=False)
    own = results["wire, real-time"]
    print("SCHED_FIFO " + ("was available." if own["granted"] else "was NOT available: the first line below is without it."))
    print(f"{'':18}{'Mbit/s':>8}{'lost':>8}{'error p50 µs':>14}{'error p99 µs':>14}{'µs a packet':>13}")
    for name, at in results.items():
        lost = 1 - at["received"] / at["sent"]
        print(f"{name:18}{at['reached'] * (1 - lost):8.0f}{lost:8.2%}{at['p50_us']:14.0f}{at['p99_us']:14.0f}{at['cpu_us']:13.1f}")
    print(
        f"Ratios: {own['received'] / own['sent'] * own['reached'] / results['veth']['reached']:.3f} of veth's rate; "
        f"p99 error {own['p99_us'] - results['TUN, no link']['p99_us']:.0f} µs above that of TUN without a link."
    )


PARTS: dict[str, Callable[..., None]] = {"player": run_player, "forward": run_forward, "receiver": run_receiver, "sender": run_sender}

if __name__ == "__main__":
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-"):
        PARTS[sys.argv[1]](*sys.argv[2:])
    else:
        main()
