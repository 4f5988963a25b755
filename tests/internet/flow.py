"""Traffic between two namespaces, as a process of its own.

    python flow.py send ADDRESS PORT SECONDS PACKETS_A_SECOND OCTETS DSCP          says "sending" after ten packets
    python flow.py receive ADDRESS PORT          until its standard input is closed; then a line of JSON: delays in seconds, numbers

Both ends read one machine's monotonic clock, so a one-way delay is a difference.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress

FIRST = 10
HEADER = struct.Struct("!Id")


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def send(address: str, port: int, seconds: float, rate: float, octets: int, dscp: int) -> None:
    with socket.socket(_family(address), socket.SOCK_DGRAM) as out:
        if out.family == socket.AF_INET6:
            out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
        else:
            out.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
        began = time.monotonic()
        for number in range(round(seconds * rate)):
            while (wait := began + number / rate - time.monotonic()) > 0:
                time.sleep(wait)
            with suppress(OSError):  # no route, no buffer: the packet is lost, as it would be on any machine
                out.sendto(HEADER.pack(number, time.monotonic()).ljust(octets, b"\0"), (address, port))
            if number == FIRST:
                print("sending", flush=True)


def receive(address: str, port: int) -> None:
    delays: list[float] = []
    numbers: list[int] = []
    arrivals: list[float] = []
    with socket.socket(_family(address), socket.SOCK_DGRAM) as into, selectors.DefaultSelector() as selector:
        into.bind((address, port))
        selector.register(into, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        print("ready", flush=True)
        while all(key.fileobj is into for key, _ in selector.select()):
            number, sent = HEADER.unpack_from(into.recv(2048))
            now = time.monotonic()
            delays.append(now - sent)
            numbers.append(number)
            arrivals.append(now)
    print(json.dumps({"delays": delays, "numbers": numbers, "arrivals": arrivals}))


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]), int(sys.argv[7]))
    else:
        receive(sys.argv[2], int(sys.argv[3]))
