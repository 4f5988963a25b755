"""ICMP echoes (RFC 792) from a host of the laboratory: what a carrier does right now, seen from the site."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from tramontana.internet.checksum import internet_checksum
from tramontana.network_namespace import within

INTERVAL_S: Final = 0.5
PATIENCE_S: Final = 2.0
KEPT: Final = 20
_ECHO, _ECHO_REPLY = 8, 0
_SO_BINDTODEVICE: Final = 25  # asm-generic/socket.h


@dataclass(slots=True)
class _Echo:
    sent: float
    round_trip: float | None = None


class Pings:
    """Echoes from one host, through one interface if told, to one IPv4 address; counts the last ten seconds. `run` sends and listens."""

    def __init__(self, namespace: str, destination: str, *, source: str | None = None, interface: str | None = None) -> None:
        """Raises `OSError`."""
        with within(namespace):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        if interface:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, interface.encode())
        if source:
            self._socket.bind((source, 0))
        self._socket.setblocking(False)
        self._destination = destination
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._sent: deque[_Echo] = deque(maxlen=KEPT)
        """The oldest first; the last one is number `_number`."""
        self._number = 0

    async def run(self) -> None:
        """Send and listen until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._hear)
        try:
            while True:
                self._send()
                await asyncio.sleep(INTERVAL_S)
        finally:
            loop.remove_reader(self._socket)
            self._socket.close()

    def as_dict(self) -> dict[str, Any]:
        """Median round trip of what came back, and the share of what should have and did not."""
        now = time.monotonic()
        settled = [echo.round_trip for echo in self._sent if echo.round_trip is not None or now - echo.sent > PATIENCE_S]
        heard = [trip for trip in settled if trip is not None]
        return {
            "round_trip_ms": 1e3 * median(heard) if heard else None,
            "loss": 1 - len(heard) / len(settled) if settled else None,
            "heard_last": bool(settled) and settled[-1] is not None,
        }

    def _send(self) -> None:
        self._number = (self._number + 1) & 0xFFFF
        packet = struct.pack("!BBHHH", _ECHO, 0, 0, self._identifier, self._number) + bytes(8)
        packet = packet[:2] + struct.pack("!H", internet_checksum(packet)) + packet[4:]
        self._sent.append(_Echo(time.monotonic()))
        with suppress(OSError):  # no route, or the interface is down: an echo that does not come back
            self._socket.sendto(packet, (self._destination, 0))

    def _hear(self) -> None:
        now = time.monotonic()
        with suppress(BlockingIOError):
            while True:
                packet = self._socket.recv(256)
                kind, _, _, identifier, number = struct.unpack_from("!BBHHH", packet, (packet[0] & 15) * 4)
                back = (self._number - number) & 0xFFFF
                if kind == _ECHO_REPLY and identifier == self._identifier and back < len(self._sent):
                    echo = self._sent[-1 - back]
                    if echo.round_trip is None:
                        echo.round_trip = now - echo.sent
