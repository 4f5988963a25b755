"""What both agents need of a tunnel: a UDP socket that is bound to its interface, and the interfaces' counters."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tramontana.errors import LocalError
from tramontana.internet.flow_class import CONTROL_DSCP
from tramontana.internet.linux.flow_marks import CONTROL_MARK
from tramontana.internet.probe import PORT

LONGEST_DATAGRAM: Final = 256
RECEIVE_BUFFER_BYTES: Final = 4 << 20
"""Probes of a thousand sites wait here while a gateway's agent is held up for a third of a second."""
PIECE_OCTETS: Final = 1 << 16
_SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h
DATAGRAMS_A_TURN: Final = 512
"""Taken from a socket before anything else gets its turn."""


class TunnelSocketError(LocalError):
    """The agent cannot use a tunnel's interface; the message says which. It needs CAP_NET_ADMIN, and the interface with its address."""


def open_socket(device: str, address: str) -> socket.socket:
    """A socket for probes and SWITCH: at `PORT` of the tunnel address, never through another interface. Raises `TunnelSocketError`."""
    version_6 = ":" in address
    sock = socket.socket(socket.AF_INET6 if version_6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, CONTROL_MARK)
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        if version_6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, CONTROL_DSCP << 2)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, CONTROL_DSCP << 2)
        sock.bind((address, PORT))
    except OSError as error:
        sock.close()
        raise TunnelSocketError(f"no socket at {address} port {PORT} on {device}: {error.strerror}") from None
    return sock


def received(sock: socket.socket) -> Iterator[tuple[bytes, str, int]]:
    """(datagram, sender's address, its port) of everything that waits, without blocking."""
    for _ in range(DATAGRAMS_A_TURN):
        try:
            datagram, sender = sock.recvfrom(LONGEST_DATAGRAM)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error of an earlier datagram, or the interface is down
            continue
        yield datagram, sender[0], sender[1]


def send(sock: socket.socket, datagram: bytes, address: str, port: int = PORT) -> bool:
    """False if it did not leave (no link, full queue): for a probe or SWITCH the same as lost on the way."""
    try:
        sock.sendto(datagram, (address, port))
    except OSError:
        return False
    return True


class Counters:
    """Of the interfaces of the namespace in which this is made. The file stays open, as they are read with every probe."""

    def __init__(self) -> None:
        self._file = Path("/proc/thread-self/net/dev").open("rb", buffering=0)  # noqa: SIM115 - `close` closes it

    def read(self) -> dict[str, tuple[int, int]]:
        """(received, sent) octets of every interface."""
        pieces: list[bytes] = []
        while piece := os.pread(self._file.fileno(), PIECE_OCTETS, sum(map(len, pieces))):
            pieces.append(piece)
        rows = (line.partition(b":") for line in b"".join(pieces).splitlines()[2:])
        fields = ((name.strip().decode(), values.split(None, 9)) for name, _, values in rows)
        return {name: (int(values[0]), int(values[8])) for name, values in fields}

    def close(self) -> None:
        self._file.close()


def counters() -> dict[str, tuple[int, int]]:
    """`Counters.read`, once."""
    made = Counters()
    try:
        return made.read()
    finally:
        made.close()
