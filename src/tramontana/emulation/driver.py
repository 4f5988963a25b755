"""The path player's process: one thread, one epoll loop, one UDP front per flow.

`phone ↔ front ↔ one upstream socket per client ↔ upstream`. Both directions of a flow run through its two `Link`s. Flows belong
to the process, not to the connection that attached them: they play on when the controller is gone.

Timing: epoll's own timeout counts milliseconds, so the loop waits in `select` (microseconds) on the epoll descriptor itself.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import heapq
import os
import resource
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tramontana.emulation.clients import Client, ClientTable
from tramontana.emulation.control_protocol import (
    MAX_LINE_BYTES,
    Attach,
    Detach,
    MalformedRequest,
    Request,
    encode_line,
    parse_request,
)
from tramontana.emulation.link import Direction, Link, OutageMode
from tramontana.errors import LocalError

MAX_FLOWS: Final = 4096
MAX_CONTROLLERS: Final = 8
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


class _Lane:
    """One direction of a flow, with what its released packets are sent by. An item is (client, datagram)."""

    __slots__ = ("link", "scheduled", "send")

    def __init__(self, link: Link[tuple[_FrontClient, bytes]], send: Callable[[_FrontClient, bytes], object]) -> None:
        self.link = link
        self.send = send
        self.scheduled = False


class _Flow:
    """One phone's path: its front, its clients and its two lanes."""

    __slots__ = ("clients", "down", "front", "port", "unsendable", "up", "upstream")

    def __init__(self, request: Attach, front: socket.socket, outage_mode: OutageMode) -> None:
        self.front = front
        self.port: int = front.getsockname()[1]
        self.upstream = request.upstream
        self.clients: ClientTable[_Upstream] = ClientTable()
        self.unsendable = 0
        self.up = _Lane(Link(request.profile, Direction.UP, request.seed, outage_mode=outage_mode), self._send_up)
        self.down = _Lane(Link(request.profile, Direction.DOWN, request.seed, outage_mode=outage_mode), self._send_down)

    def _send_up(self, client: _FrontClient, datagram: bytes) -> None:
        try:
            client.resource.socket.send(datagram)
        except OSError:  # no buffer, nobody at the upstream, or the client was let go meanwhile
            self.unsendable += 1

    def _send_down(self, client: _FrontClient, datagram: bytes) -> None:
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


class _Upstream:
    """A client's socket towards the upstream. Closing it also ends its watch."""

    __slots__ = ("_player", "socket")

    def __init__(self, player: PathPlayer, upstream: socket.socket) -> None:
        self._player = player
        self.socket = upstream

    def close(self) -> None:
        self._player.close_socket(self.socket)


_FrontClient = Client[_Upstream]


class _Controller:
    """One control connection."""

    __slots__ = ("closing", "connection", "inbox", "outbox")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.closing = False


class PathPlayer:
    """The path player. `run` returns after `stop`, or after SIGTERM or SIGINT once `handle_signals` was called."""

    def __init__(self, control_path: Path, *, host: str = "127.0.0.1", outage_mode: OutageMode = OutageMode.DROP) -> None:
        """Open the control socket (mode 0600). Raises `PlayerError`."""
        self._host = host
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._outage_mode = outage_mode
        # One reading of both clocks: the profile's time then goes on evenly, whatever becomes of the wall clock.
        self._posix_minus_monotonic = time.time() - time.monotonic()
        self._flows: dict[str, _Flow] = {}
        self._handlers: dict[int, Callable[[], None]] = {}
        self._agenda: list[tuple[float, int, _Lane]] = []
        self._agenda_number = 0
        self._controllers: set[_Controller] = set()
        self._stopped = False
        self._control_path = control_path
        self._lock, self._listener = _listen(control_path)
        self._epoll = select.epoll()
        self._waker, self._wakes = socket.socketpair()
        for end in (self._waker, self._wakes):
            end.setblocking(False)
        self._watch(self._listener, self._accept)
        self._watch(self._wakes, self._swallow_wakes)

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
                readable, _, _ = select.select([self._epoll], [], [], max(0.0, next_at - self._now()))
                now = self._now()
                self._release(now)  # first what is due, then what has come
                for descriptor, _ in self._epoll.poll(0) if readable else ():
                    handler = self._handlers.get(descriptor)
                    if handler is not None:  # else an earlier handler of this round closed it
                        handler()
                if now >= housekeeping_at:
                    housekeeping_at = now + HOUSEKEEPING_S
                    for flow in self._flows.values():
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
                self._offer(flow.up, client, datagram, now)

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
            self._offer(flow.down, client, datagram, self._now())

    def _offer(self, lane: _Lane, client: _FrontClient, datagram: bytes, now: float) -> None:
        lane.link.handle_packet((client, datagram), len(datagram), now)
        if not lane.scheduled:
            self._schedule(lane)
        if self._agenda and self._agenda[0][0] <= now:
            self._release(now)

    def _schedule(self, lane: _Lane) -> None:
        release = lane.link.next_release()
        lane.scheduled = release is not None
        if release is not None:
            self._agenda_number += 1
            heapq.heappush(self._agenda, (release, self._agenda_number, lane))

    def _release(self, now: float) -> None:
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            lane = heapq.heappop(agenda)[2]
            for client, datagram in lane.link.release(now):
                lane.send(client, datagram)
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
        self._watch(upstream, lambda: self._read_upstream(flow, client))
        return client

    # --- control ---

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._controllers) >= MAX_CONTROLLERS:
            connection.close()
            return
        connection.setblocking(False)
        controller = _Controller(connection)
        self._controllers.add(controller)
        self._watch(connection, lambda: self._serve(controller))

    def _serve(self, controller: _Controller) -> None:
        """Write what is unsent, else answer what was asked, else read more: so that neither box grows beyond one request or answer."""
        try:
            if not controller.outbox:
                received = controller.connection.recv(1 << 16)
                if not received:
                    self._hang_up(controller)
                    return
                controller.inbox += received
            while self._flush(controller) and not controller.closing:
                end = controller.inbox.find(b"\n")
                if end >= 0:
                    line = bytes(controller.inbox[:end])
                    del controller.inbox[: end + 1]
                    controller.outbox += self._answer(line)
                elif len(controller.inbox) > MAX_LINE_BYTES:
                    controller.outbox += _refusal(f"a request is at most {MAX_LINE_BYTES} octets; the connection ends")
                    controller.closing = True
                else:
                    break
        except BlockingIOError:
            return
        except OSError:
            self._hang_up(controller)
            return
        if controller.closing and not controller.outbox:
            self._hang_up(controller)
        else:
            self._epoll.modify(controller.connection.fileno(), select.EPOLLOUT if controller.outbox else select.EPOLLIN)

    def _flush(self, controller: _Controller) -> bool:
        """Whether all was sent."""
        with suppress(BlockingIOError):
            while controller.outbox:
                del controller.outbox[: controller.connection.send(controller.outbox[: 1 << 16])]
        return not controller.outbox

    def _hang_up(self, controller: _Controller) -> None:
        self._controllers.discard(controller)
        self.close_socket(controller.connection)

    def _answer(self, line: bytes) -> bytes:
        try:
            return encode_line({"ok": True, **self._apply(parse_request(line))})
        except (MalformedRequest, PlayerError) as error:
            return _refusal(str(error))

    def _apply(self, request: Request) -> dict[str, Any]:
        if isinstance(request, Attach):
            return {"port": self._attach(request)}
        if isinstance(request, Detach):
            flow = self._flows.pop(request.flow, None)
            if flow is not None:
                self._close_flow(flow)
            return {}
        return {"flows": {name: flow.stats() for name, flow in self._flows.items()}}

    def _attach(self, request: Attach) -> int:
        flow = self._flows.get(request.flow)
        if flow is None:
            if len(self._flows) >= MAX_FLOWS:
                raise PlayerError(f"the player has {MAX_FLOWS} flows already: detach one")
            flow = _Flow(request, self._open_front(request.port), self._outage_mode)
            self._flows[request.flow] = flow
            self._watch(flow.front, lambda: self._read_front(flow))
            return flow.port
        for lane in (flow.up, flow.down):
            lane.link.set_profile(request.profile)
        if flow.upstream != request.upstream:
            flow.clients.close()  # they come back with their next packet, towards the new upstream
            flow.upstream = request.upstream
        return flow.port

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

    def _watch(self, watched: socket.socket, handler: Callable[[], None]) -> None:
        self._handlers[watched.fileno()] = handler
        self._epoll.register(watched.fileno(), select.EPOLLIN)

    def close_socket(self, watched: socket.socket) -> None:
        """End the watch of a socket and close it; a second time does nothing."""
        if watched.fileno() >= 0:
            self._handlers.pop(watched.fileno(), None)
            self._epoll.unregister(watched.fileno())
            watched.close()

    def _swallow_wakes(self) -> None:
        with suppress(BlockingIOError):
            self._wakes.recv(64)

    def _close_flow(self, flow: _Flow) -> None:
        self.close_socket(flow.front)
        flow.clients.close()

    def _close(self) -> None:
        for flow in self._flows.values():
            self._close_flow(flow)
        self._flows.clear()
        for controller in list(self._controllers):
            self._hang_up(controller)
        with suppress(OSError):
            self._control_path.unlink()
        for opened in (self._listener, self._waker, self._wakes, self._epoll):
            opened.close()
        os.close(self._lock)


def run_player(
    control_path: Path,
    *,
    host: str,
    outage_mode: OutageMode,
    realtime: bool,
    on_ready: Callable[[bool], None],
) -> None:
    """Play until SIGTERM or SIGINT. `on_ready` is told whether real-time priority was granted. Raises `PlayerError`."""
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


def _listen(path: Path) -> tuple[int, socket.socket]:
    """The control socket, and the lock that says it is ours: with it in hand, a socket file found there is a leftover."""
    lock = -1
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise PlayerError(f"{path} exists and is not a socket: remove it, or choose another with --control.")
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            before = os.umask(0o177)
            try:
                listener.bind(str(path))
            finally:
                os.umask(before)
            listener.listen(MAX_CONTROLLERS)
        except BaseException:
            listener.close()
            raise
    except BlockingIOError:
        os.close(lock)
        raise PlayerError(f"Another path player already uses {path}: stop it, or choose another socket with --control.") from None
    except OSError as error:
        if lock >= 0:
            os.close(lock)
        reason = error.strerror or str(error)  # a path that is too long has no errno
        raise PlayerError(f"Cannot make the control socket {path}: {reason}. Choose another place with --control.") from None
    except PlayerError:
        os.close(lock)
        raise
    return lock, listener
