"""How much the path player carries without loss, and how exactly it releases: beside a peer and a bound, in one run.

- *player*: the product's path player, with real-time priority where it is permitted (the output says so) and without.
- *asyncio*: the peer. The same link core, released by `loop.call_at`.
- *no emulation*: the bound. The same kind of loop forwards each packet at once; its "error" is the time that two sockets cost.

A sender paces packets of 1,172 octets (1,200 with headers); the kernel stamps their arrival at a receiver. The release error of a packet is
that stamp less (its sending instant + the profile's delay), so it includes everything that the machine adds on both sides.

Run: python bench/emulator.py
"""

from __future__ import annotations

import asyncio
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from tramontana.emulation.control_protocol import Attach
from tramontana.emulation.driver import SOCKET_BUFFER_BYTES, PathPlayer, prepare_process
from tramontana.emulation.link import HEADER_BYTES, Direction, Link
from tramontana.path_profile import PathProfile

DELAY_S = 0.020
CAPACITY_BPS = 1e9
PAYLOAD_BYTES = 1200 - HEADER_BYTES
RATES_MBPS = (25, 50, 100, 150, 200, 250, 300)
SECONDS_A_RATE = 1.5
ERROR_RATE_MBPS = 50
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33  # asm-generic/socket.h
ENGINES = {
    "player, real-time": ("player", "realtime"),
    "player": ("player", "plain"),
    "asyncio": ("asyncio",),
    "no emulation": ("forward",),
}


def profile() -> PathProfile:
    pair = np.ones(2)
    none = np.asarray([], dtype=np.float64)
    start = time.time() - 1
    return PathProfile(
        "bench", "bench", "simulated, for a benchmark", "bench", (), (), np.asarray([start, start + 3600.0]), pair * DELAY_S,
        pair * CAPACITY_BPS, pair * CAPACITY_BPS, pair * 0, pair * 50, np.full(2, -1, np.int32), np.full(2, -1, np.int32), none, none, none,
    )  # fmt: skip


def udp(timeout: float | None = None) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    opened.bind(("127.0.0.1", 0))
    opened.settimeout(timeout)
    return opened


# --- the engines, each a process; the first line that it prints is its port ---


def run_player(upstream: int, priority: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        control = Path(directory) / "control"
        player = PathPlayer(control)
        player.handle_signals()
        granted = prepare_process(realtime=priority == "realtime")
        # The attach request waits in the socket until the loop runs; the answer is read by the parent.
        controller = socket.socket(socket.AF_UNIX)
        controller.connect(str(control))
        controller.sendall(Attach("bench", profile(), 1, ("127.0.0.1", upstream)).encode())
        if os.fork() == 0:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            port = json.loads(controller.makefile("rb").readline())["port"]
            print(json.dumps({"port": port, "granted": granted}), flush=True)
            os._exit(0)
        player.run()
        controller.close()


def run_asyncio(upstream: int) -> None:
    prepare_process(realtime=False)
    link: Link[bytes] = Link(profile(), Direction.UP, 1)
    offset = time.time() - time.monotonic()
    out = udp()
    out.setblocking(False)

    class Front(asyncio.DatagramProtocol):
        armed = False

        def datagram_received(self, data: bytes, addr: object) -> None:
            link.handle_packet(data, len(data), time.monotonic() + offset)
            if not self.armed:
                self.arm()

        def arm(self) -> None:
            due = link.next_release()
            self.armed = due is not None
            if due is not None:
                asyncio.get_running_loop().call_at(due - offset, self.release)

        def release(self) -> None:
            for data in link.release(time.monotonic() + offset):
                out.sendto(data, ("127.0.0.1", upstream))
            self.arm()

    async def serve() -> None:
        front = udp()
        await asyncio.get_running_loop().create_datagram_endpoint(Front, sock=front)
        print(json.dumps({"port": front.getsockname()[1], "granted": False}), flush=True)
        await asyncio.Event().wait()

    asyncio.run(serve())


def run_forward(upstream: int) -> None:
    prepare_process(realtime=False)
    front, out = udp(), udp()
    out.connect(("127.0.0.1", upstream))
    front.setblocking(False)
    print(json.dumps({"port": front.getsockname()[1], "granted": False}), flush=True)
    while True:
        select.select([front], [], [])
        try:
            for _ in range(16):
                out.send(front.recvfrom(65535)[0])
        except BlockingIOError:
            continue


# --- the instruments ---


def run_receiver(delay_s: str) -> None:
    """Prints its port; then, when nothing has come for half a second after the first packet, how many came and their errors."""
    prepare_process(realtime=False)
    here = udp()
    here.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    with suppress(OSError):  # not permitted: then the instrument may lose packets on a busy machine
        here.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
    print(here.getsockname()[1], flush=True)
    delay_ns = round(float(delay_s) * 1e9)
    errors_ns = []
    try:
        while True:
            data, ancillary, _, _ = here.recvmsg(2048, 64)
            here.settimeout(0.5)
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            errors_ns.append(seconds * 10**9 + nanoseconds - int.from_bytes(data[:8], "little") - delay_ns)
    except TimeoutError:
        p50, p99 = np.percentile(np.asarray(errors_ns) / 1000, [50, 99])
        print(json.dumps({"received": len(errors_ns), "p50_us": float(p50), "p99_us": float(p99)}), flush=True)


def send(port: int, rate_mbps: float, seconds: float) -> tuple[int, float]:
    """Pace packets; gives how many were sent and the rate reached in Mbit/s."""
    interval = 1200 * 8 / (rate_mbps * 1e6)
    filling = bytes(PAYLOAD_BYTES - 8)
    with udp() as out:
        out.connect(("127.0.0.1", port))
        begin = time.monotonic()
        count = int(seconds / interval)
        for number in range(count):
            ahead = begin + number * interval - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            out.send(time.time_ns().to_bytes(8, "little") + filling)
        return count, count * 1200 * 8 / (time.monotonic() - begin) / 1e6


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
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


def measure(engine: tuple[str, ...], rate_mbps: float, seconds: float) -> dict[str, float]:
    """One run of one engine at one rate."""
    delay_s = 0.0 if engine[0] == "forward" else DELAY_S
    with process("receiver", str(delay_s)) as (receiver, to), process(engine[0], to.strip(), *engine[1:]) as (running, ready):
        announced = json.loads(ready)
        before = processor_s(running.pid)
        sent, reached = send(announced["port"], rate_mbps, seconds)
        spent_us = (processor_s(running.pid) - before) * 1e6
        assert receiver.stdout is not None
        result: dict[str, float] = json.loads(receiver.stdout.readline())
    return {**result, "sent": sent, "reached": reached, "granted": announced["granted"], "cpu_us": spent_us / sent}


def main() -> None:
    prepare_process(realtime=False)
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"Path player: {DELAY_S * 1e3:.0f} ms one way, 1,200 octets a packet; {machine}")
    best, error = {}, {}
    for name, engine in ENGINES.items():
        error[name] = measure(engine, ERROR_RATE_MBPS, 2 * SECONDS_A_RATE)
        best[name] = 0.0
        for rate in RATES_MBPS:
            result = measure(engine, rate, SECONDS_A_RATE)
            if result["received"] < result["sent"] or result["reached"] < 0.95 * rate:
                break
            best[name] = result["reached"]
    granted = bool(error["player, real-time"]["granted"])
    print("SCHED_FIFO " + ("was available." if granted else "was NOT available: the first line below is without it."))
    print(f"{'':20}{'Mbit/s without loss':>21}{'error p50 µs':>14}{'error p99 µs':>14}{'µs a packet':>13}   (at {ERROR_RATE_MBPS} Mbit/s)")
    for name in ENGINES:
        at = error[name]
        print(f"{name:20}{best[name]:21.0f}{at['p50_us']:14.0f}{at['p99_us']:14.0f}{at['cpu_us']:13.1f}")
    own = "player, real-time"
    print(
        f"Ratios: {best[own] / max(best['no emulation'], 1e-9):.2f} of the bound's rate; "
        f"{best[own] / max(best['asyncio'], 1e-9):.1f} times asyncio's rate; "
        f"p99 error {error['asyncio']['p99_us'] / error[own]['p99_us']:.1f} times smaller than asyncio's."
    )
    if max(best.values()) >= 0.95 * max(RATES_MBPS):
        print(f"{max(RATES_MBPS)} Mbit/s is as far as the sender goes: there the engine was not the limit.")


ROLES = {"player": run_player, "asyncio": run_asyncio, "forward": run_forward}

if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "receiver":
        run_receiver(sys.argv[2])
    else:
        ROLES[sys.argv[1]](int(sys.argv[2]), *sys.argv[3:])  # type: ignore[operator]
