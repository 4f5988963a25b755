"""Carries octets between two TCP connections, both ways, without touching them: splice(2) through a pipe each way.

What one end does the other end sees: an end of stream after the last octet, a reset as a reset. Of what a slow reader has not taken, a pipe
and the sockets' buffers hold a bounded amount, and then the sender is not read any more. A process that dies leaves resets behind, never an
end of stream that was none.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

PIPE_BYTES: Final = 1 << 18
UNSENT_BYTES: Final = 1 << 18
"""What waits in a socket before it is sent at all (TCP_NOTSENT_LOWAT): beyond that the pipe fills, and the sender waits."""
KEEPALIVE_S, KEEPALIVE_TRIES = 600, 5
"""A connection whose end host is gone ends after an hour; two packets in ten minutes otherwise."""
_TCP_NOTSENT_LOWAT: Final = 25  # linux/tcp.h
_F_SETPIPE_SZ: Final = 1031  # linux/fcntl.h
_SPLICE: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_RESET, _ORDERLY = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)


def adopt(connection: socket.socket) -> None:
    """Prepare a connection for a relay. From now on closing it is a reset, whoever closes it: this process, or its death."""
    connection.setblocking(False)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES)


class Relay:
    """Between two connections that were adopted; closes both. `ended(octets from the first, from the second)` is called once."""

    def __init__(self, first: socket.socket, second: socket.socket, ended: Callable[[int, int], None]) -> None:
        """Raises `OSError` if there are no more files to be had; both connections are closed then."""
        self._connections = first, second
        self._ended = ended
        made: list[_Way] = []
        try:
            for source, sink in ((first, second), (second, first)):
                made.append(_Way(source, sink, self._progress))
        except OSError:
            for way in made:
                way.close()
            first.close()
            second.close()
            raise
        self._ways = made
        for way in self._ways:
            way.start()

    def _progress(self, failed: bool) -> None:
        """A way has ended, or an end has reset its connection."""
        if not failed and not all(way.is_over for way in self._ways):
            return
        for way in self._ways:
            way.close()
        for connection in self._connections:
            if not failed:
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ORDERLY)
            connection.close()
        self._ended(*(way.octets for way in self._ways))


class _Way:
    """From one connection to the other: either it waits for octets, or it has some and waits for room."""

    def __init__(self, source: socket.socket, sink: socket.socket, progress: Callable[[bool], None]) -> None:
        self._source, self._sink, self._progress = source, sink, progress
        self._loop = asyncio.get_running_loop()
        self._out, self._in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with suppress(OSError):  # an unprivileged user has only so much of it
            fcntl.fcntl(self._in, _F_SETPIPE_SZ, PIPE_BYTES)
        self._held = 0
        self._waits = False
        """For room in the sink."""
        self.octets = 0
        self.is_over = False

    def start(self) -> None:
        self._loop.add_reader(self._source, self._read)

    def _read(self) -> None:
        try:
            got = os.splice(self._source.fileno(), self._in, PIPE_BYTES, flags=_SPLICE)
        except BlockingIOError:
            return
        except OSError:
            self._progress(True)
            return
        if got:
            self._held = got
            self.octets += got
            self._write()
            return
        self._loop.remove_reader(self._source)
        self.is_over = True
        try:
            self._sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._progress(True)
            return
        self._progress(False)

    def _write(self) -> None:
        try:
            while self._held:
                self._held -= os.splice(self._out, self._sink.fileno(), self._held, flags=_SPLICE)
        except BlockingIOError:
            if not self._waits:
                self._loop.remove_reader(self._source)
                self._loop.add_writer(self._sink, self._write)
                self._waits = True
            return
        except OSError:
            self._progress(True)
            return
        if self._waits:
            self._loop.remove_writer(self._sink)
            self._loop.add_reader(self._source, self._read)
            self._waits = False

    def close(self) -> None:
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._sink)
        os.close(self._in)
        os.close(self._out)
