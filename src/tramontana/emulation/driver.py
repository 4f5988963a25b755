"""The path player's process: one thread, one epoll loop, one UDP front or one wire per flow.

`phone ↔ front ↔ one upstream socket per client ↔ upstream`, or `near TUN interface ↔ far TUN interface`. Both directions of a flow run
through its two `Link`s. Flows belong to the process, not to the connection that attached them: they play on when the controller is gone.

Timing: epoll's own timeout counts milliseconds, so the loop waits in `select` (microseconds) on the epoll descriptor itself.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import heapq
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic

from tramontana.control_socket import ControlSocket, Readiness
from tramontana.emulation.clients import Client, ClientTable
from tramontana.emulation.control_protocol import (
    MAX_LINE_BYTES,
    Attach,
    Detach,
    MalformedRequest,
    Request,
    Wire,
    encode_line,
    parse_request,
)
from tramontana.emulation.link import Direction, Item, Link, OutageMode
from tramontana.emulation.tun.driver import Tun, TunError
from tramontana.errors import LocalError

MAX_FLOWS: Final = 4096
MAX_DATAGRAM_BYTES: Final = 65535
SOCKET_BUFFER_BYTES: Final = 4 << 20
"""About 150 ms at 200 Mbit/s; the kernel grants what `net.core.rmem_max` allows."""
BATCH: Final = 16
"""Datagrams read from one socket before the others have their turn."""
HOUSEKEEPING_S: Final = 5.0
REALTIME_PRIORITY: Final = 20
_PR_SET_TIMERSLACK: Final = 29  # prctl(2)


class PlayerError(LocalError):
    """The path player cannot start; the message says why and what to change."""


class _Lane(Generic[Item]):
    """One direction of a flow, with what its released items are sent by."""

    __slots__ = ("link", "scheduled", "send")

    def __init__(self, link: Link[Item], send: Callable[[Item], object]) -> None:
        self.link = link
        self.send = send
        self.scheduled = False


class _Flow:
    """One phone's path: its front, its clients and its two lanes. An item is (client, datagram)."""

    __slots__ = ("clients", "down", "front", "port", "unsendable", "up", "upstream")

    def __init__(self, request: Attach, front: socket.socket, outage_mode: OutageMode) -> None:
        self.front = front
        self.port: int = front.getsockname()[1]
        self.upstream = request.upstream
        self.clients: ClientTable[_Upstream] = ClientTable()
        self.unsendable = 0
        self.up = _Lane(Link[_Datagram](request.profile, Direction.UP, request.seed, outage_mode=outage_mode), self._send_up)
        self.down = _Lane(Link[_Datagram](request.profile, Direction.DOWN, request.seed, outage_mode=outage_mode), self._send_down)

    def _send_up(self, item: _Datagram) -> None:
        client, datagram = item
        try:
            client.resource.socket.send(datagram)
        except OSError:  # no buffer, nobody at the upstream, or the client was let go meanwhile
            self.unsendable += 1

    def _send_down(self, item: _Datagram) -> None:
        client, datagram = item
        try:
            self.front.sendto(datagram, client.address)
        except OSError:
            self.unsendable += 1

    def stats(self) -> dict[str, Any]:
        return {
            "up": self.up.link.stats.as_dict(),
            "down": self.down.link.stats.as_dict(),
            "clients": len(self.clients),
            "displaced": self.clients.displaced,
            "unsendable": self.unsendable,
        }


class _Wire:
    """Two interfaces and the two lanes between them. An item is a whole IP packet."""

    __slots__ = ("down", "far", "far_end", "near", "near_end", "plugged", "unsendable", "up")

    def __init__(self, request: Wire, outage_mode: OutageMode) -> None:
        """Raises `TunError`."""
        self.near_end, self.far_end, self.plugged = request.near, request.far, True
        self.unsendable = 0
        self.near = Tun(request.near.namespace, request.near.name)
        try:
            self.far = Tun(request.far.namespace, request.far.name)
        except BaseException:
            self.near.close()
            raise
        links = (
            Link[bytes](request.profile, direction, request.seed, outage_mode=outage_mode, header_bytes=0)
            for direction in (Direction.UP, Direction.DOWN)
        )
        self.up, self.down = _Lane(next(links), self._send_up), _Lane(next(links), self._send_down)

    def _send_up(self, packet: bytes) -> None:
        try:
            self.far.write(packet)
        except OSError:  # the interface is down or gone
            self.unsendable += 1

    def _send_down(self, packet: bytes) -> None:
        try:
            self.near.write(packet)
        except OSError:
            self.unsendable += 1

    def plug(self, plugged: bool) -> None:
        """Raises `PlayerError` if the kernel cannot pull a cable."""
        if plugged != self.plugged:
            try:
                self.near.set_carrier(plugged)
            except OSError as error:
                raise PlayerError(f"cannot change the carrier of {self.near_end.name}: {error.strerror}") from None
            self.plugged = plugged

    def stats(self) -> dict[str, Any]:
        return {
            "up": self.up.link.stats.as_dict(),
            "down": self.down.link.stats.as_dict(),
            "unsendable": self.unsendable,
            "plugged": self.plugged,
        }


class _Upstream:
    """A client's socket towards the upstream. Closing it also ends its watch."""

    __slots__ = ("_player", "socket")

    def __init__(self, player: PathPlayer, upstream: socket.socket) -> None:
        self._player = player
        self.socket = upstream

    def close(self) -> None:
        self._player.close_socket(self.socket)


_FrontClient = Client[_Upstream]
_Datagram = tuple[_FrontClient, bytes]


class PathPlayer:
    """The path player. `run` returns after `stop`, or after SIGTERM or SIGINT once `handle_signals` was called."""

    def __init__(self, control_path: Path, *, host: str = "127.0.0.1", outage_mode: OutageMode = OutageMode.DROP) -> None:
        """Open the control socket (mode 0600). Raises `ControlSocketError`."""
        self._host = host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._outage_mode = outage_mode
        # One reading of both clocks: the profile's time then goes on evenly, whatever becomes of the wall clock.
        self._posix_minus_monotonic = time.time() - time.monotonic()
        self._flows: dict[str, _Flow | _Wire] = {}
        self._agenda: list[tuple[float, int, _Lane[Any]]] = []
        self._agenda_number = 0
        self._stopped = False
        self._readiness = Readiness()
        self._control = ControlSocket(
            control_path, self._readiness, what="path player", max_line_bytes=MAX_LINE_BYTES, answer=self._answer, refuse=_refusal
        )
        self._waker, self._wakes = socket.socketpair()
        for end in (self._waker, self._wakes):
            end.setblocking(False)
        self._readiness.watch(self._wakes, self._swallow_wakes)

    def handle_signals(self) -> None:
        """End `run` on SIGTERM and SIGINT (main thread only)."""
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self.stop())

    def stop(self) -> None:
        """End `run`; safe from a signal handler or another thread."""
        self._stopped = True
        with suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    def run(self) -> None:
        """Play until stopped, then close everything."""
        housekeeping_at = self._now() + HOUSEKEEPING_S
        try:
            while not self._stopped:
                next_at = min(housekeeping_at, self._agenda[0][0]) if self._agenda else housekeeping_at
                readable, _, _ = select.select([self._readiness.epoll], [], [], max(0.0, next_at - self._now()))
                now = self._now()
                self._release(now)  # first what is due, then what has come
                if readable:
                    self._readiness.handle(0)
                if now >= housekeeping_at:
                    housekeeping_at = now + HOUSEKEEPING_S
                    for flow in self._flows.values():
                        if isinstance(flow, _Flow):
                            flow.clients.close_idle(now)
        finally:
            self._close()

    # --- packets ---

    def _now(self) -> float:
        return time.monotonic() + self._posix_minus_monotonic

    def _read_front(self, flow: _Flow) -> None:
        for _ in range(BATCH):
            try:
                datagram, address = flow.front.recvfrom(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier send
                continue
            now = self._now()
            client = flow.clients.heard(address, now) or self._admit(flow, address, now)
            if client is not None:
                self._offer(flow.up, (client, datagram), len(datagram), now)

    def _read_upstream(self, flow: _Flow, client: _FrontClient) -> None:
        for _ in range(BATCH):
            try:
                datagram = client.resource.socket.recv(MAX_DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.EBADF:  # let go within this very batch
                    return
                continue
            flow.clients.answered(client)
            self._offer(flow.down, (client, datagram), len(datagram), self._now())

    def _read_wire(self, name: str, wire: _Wire, tun: Tun, lane: _Lane[bytes]) -> None:
        for _ in range(BATCH):
            try:
                packet = tun.read()
            except BlockingIOError:
                return
            except OSError:  # the interface was deleted
                if self._flows.get(name) is wire:
                    self._close_flow(self._flows.pop(name))
                return
            self._offer(lane, packet, len(packet), self._now())

    def _offer(self, lane: _Lane[Item], item: Item, size: int, now: float) -> None:
        lane.link.handle_packet(item, size, now)
        if not lane.scheduled:
            self._schedule(lane)
        if self._agenda and self._agenda[0][0] <= now:
            self._release(now)

    def _schedule(self, lane: _Lane[Any]) -> None:
        release = lane.link.next_release()
        lane.scheduled = release is not None
        if release is not None:
            self._agenda_number += 1
            heapq.heappush(self._agenda, (release, self._agenda_number, lane))

    def _release(self, now: float) -> None:
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            lane = heapq.heappop(agenda)[2]
            for item in lane.link.release(now):
                lane.send(item)
            self._schedule(lane)

    def _admit(self, flow: _Flow, address: Any, now: float) -> _FrontClient | None:
        try:
            upstream = _udp_socket(socket.AF_INET6 if ":" in flow.upstream[0] else socket.AF_INET)
        except OSError:  # out of descriptors: those who have a place keep it
            flow.unsendable += 1
            return None
        try:
            upstream.connect(flow.upstream)
        except OSError:
            upstream.close()
            flow.unsendable += 1
            return None
        client = flow.clients.add(address, _Upstream(self, upstream), now)
        self._readiness.watch(upstream, lambda: self._read_upstream(flow, client))
        return client

    # --- control ---

    def _answer(self, line: bytes) -> bytes:
        try:
            return encode_line({"ok": True, **self._apply(parse_request(line))})
        except (MalformedRequest, PlayerError, TunError) as error:
            return _refusal(str(error))

    def _apply(self, request: Request) -> dict[str, Any]:
        if isinstance(request, Attach):
            return {"port": self._attach(request)}
        if isinstance(request, Wire):
            self._wire(request)
            return {}
        if isinstance(request, Detach):
            flow = self._flows.pop(request.flow, None)
            if flow is not None:
                self._close_flow(flow)
            return {}
        return {"flows": {name: flow.stats() for name, flow in self._flows.items()}}

    def _attach(self, request: Attach) -> int:
        flow = self._flows.get(request.flow)
        if flow is None:
            self._check_room()
            flow = _Flow(request, self._open_front(request.port), self._outage_mode)
            self._flows[request.flow] = flow
            self._readiness.watch(flow.front, lambda: self._read_front(flow))
            return flow.port
        if not isinstance(flow, _Flow):
            raise PlayerError(f"{request.flow!r} is a wire: detach it, or choose another flow")
        for lane in (flow.up, flow.down):
            lane.link.set_profile(request.profile)
        if flow.upstream != request.upstream:
            flow.clients.close()  # they come back with their next packet, towards the new upstream
            flow.upstream = request.upstream
        return flow.port

    def _wire(self, request: Wire) -> None:
        wire = self._flows.get(request.flow)
        if wire is None:
            self._check_room()
            made = wire = _Wire(request, self._outage_mode)
            self._flows[request.flow] = made
            self._readiness.watch(made.near, lambda: self._read_wire(request.flow, made, made.near, made.up))
            self._readiness.watch(made.far, lambda: self._read_wire(request.flow, made, made.far, made.down))
        elif not isinstance(wire, _Wire) or (wire.near_end, wire.far_end) != (request.near, request.far):
            raise PlayerError(f"{request.flow!r} has other ends: detach it, or choose another flow")
        else:
            for lane in (wire.up, wire.down):
                lane.link.set_profile(request.profile)
        wire.plug(request.plugged)

    def _check_room(self) -> None:
        if len(self._flows) >= MAX_FLOWS:
            raise PlayerError(f"the player has {MAX_FLOWS} flows already: detach one")

    def _open_front(self, port: int | None) -> socket.socket:
        front = None
        try:
            front = _udp_socket(self._family)
            front.bind((self._host, port or 0))
        except OSError as error:
            if front is not None:
                front.close()
            raise PlayerError(f"cannot open UDP {self._host} port {port or 'any'}: {error.strerror}") from None
        return front

    # --- descriptors ---

    def close_socket(self, watched: socket.socket) -> None:
        """End the watch of a socket and close it; a second time does nothing."""
        self._readiness.close(watched)

    def _swallow_wakes(self) -> None:
        with suppress(BlockingIOError):
            self._wakes.recv(64)

    def _close_flow(self, flow: _Flow | _Wire) -> None:
        if isinstance(flow, _Wire):
            self._readiness.close(flow.near)
            self._readiness.close(flow.far)
            return
        self.close_socket(flow.front)
        flow.clients.close()

    def _close(self) -> None:
        for flow in self._flows.values():
            self._close_flow(flow)
        self._flows.clear()
        self._control.close()
        for opened in (self._waker, self._wakes, self._readiness.epoll):
            opened.close()


def run_player(
    control_path: Path,
    *,
    host: str,
    outage_mode: OutageMode,
    realtime: bool,
    on_ready: Callable[[bool], None],
) -> None:
    """Play until SIGTERM or SIGINT. `on_ready` is told whether real-time priority was granted. Raises `ControlSocketError`."""
    player = PathPlayer(control_path, host=host, outage_mode=outage_mode)
    player.handle_signals()
    granted = prepare_process(realtime=realtime)
    on_ready(granted)
    player.run()


def prepare_process(*, realtime: bool) -> bool:
    """Exact timers, many descriptors and, where asked for and permitted, real-time priority. Gives whether the last was granted."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # nanoseconds; the default of 50 µs shows in the release times
    gc.freeze()  # what was loaded so far is never scanned again: shorter pauses
    if not realtime:
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    except OSError:
        return False
    return True


def _refusal(reason: str) -> bytes:
    return encode_line({"ok": False, "error": reason})


def _udp_socket(family: socket.AddressFamily) -> socket.socket:
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.setblocking(False)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    return udp
