"""A private Unix stream socket that answers lines, within somebody else's epoll loop: how the server steers the media processes.

Answers come in order. Neither direction holds more than one request or answer and what the kernel holds.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from tramontana.errors import LocalError

MAX_CONTROLLERS: Final = 8
MAX_UNREAD_BYTES: Final = 4 << 20
"""Of events, on one connection."""
_PIECE_BYTES: Final = 1 << 16


class ControlSocketError(LocalError):
    """The control socket cannot be made; the message says why and what to change."""


class Watched(Protocol):
    """A socket, or whatever else has a descriptor that epoll takes."""

    def fileno(self) -> int:
        """The descriptor, -1 once closed."""

    def close(self) -> None:
        """Give the descriptor up."""


class Readiness:
    """An epoll set whose descriptors each have a handler."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}

    def watch(self, watched: Watched, handler: Callable[[], None]) -> None:
        """Call `handler` whenever it can be read."""
        self._handlers[watched.fileno()] = handler
        self.epoll.register(watched.fileno(), select.EPOLLIN)

    def wait_for(self, watched: Watched, events: int) -> None:
        """Wait for other events from now on."""
        self.epoll.modify(watched.fileno(), events)

    def close(self, watched: Watched) -> None:
        """End the watch and close what was watched; a second time does nothing."""
        if watched.fileno() >= 0:
            self._handlers.pop(watched.fileno(), None)
            self.epoll.unregister(watched.fileno())
            watched.close()

    def handle(self, timeout_s: float | None) -> None:
        """Wait up to a time and call the handlers of what is ready."""
        for descriptor, _ in self.epoll.poll(timeout_s):
            handler = self._handlers.get(descriptor)
            if handler is not None:  # else an earlier handler of this round closed it
                handler()


class _Controller:
    """One control connection."""

    __slots__ = ("closing", "connection", "inbox", "outbox", "watches")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.closing = False
        self.watches = False


class ControlSocket:
    """The listening socket (mode 0600) and its connections. `what` names the process in errors."""

    def __init__(
        self,
        path: Path,
        readiness: Readiness,
        *,
        what: str,
        max_line_bytes: int,
        answer: Callable[[bytes], bytes],
        refuse: Callable[[str], bytes],
    ) -> None:
        """`answer` gets a line without its end and gives one with it, never raising; `refuse` words a refusal.

        Raises `ControlSocketError`.
        """
        self._path = path
        self._readiness = readiness
        self._max_line_bytes = max_line_bytes
        self._answer = answer
        self._refuse = refuse
        self._controllers: set[_Controller] = set()
        self._asker: _Controller | None = None
        self._lock, self._listener = _listen(path, what)
        readiness.watch(self._listener, self._accept)

    def close(self) -> None:
        """Hang up and remove the socket file."""
        for controller in list(self._controllers):
            self._hang_up(controller)
        with suppress(OSError):
            self._path.unlink()
        self._readiness.close(self._listener)
        os.close(self._lock)

    def watch_asker(self) -> None:
        """The connection whose request is being answered is told events from now on. Call it within `answer`."""
        assert self._asker is not None
        self._asker.watches = True

    def tell_watchers(self, line: bytes) -> None:
        """Send a line to every connection that watches. One that does not read is hung up on: it comes back and asks for the state."""
        for controller in [each for each in self._controllers if each.watches and not each.closing]:
            if len(controller.outbox) > MAX_UNREAD_BYTES:
                self._hang_up(controller)
                continue
            controller.outbox += line
            try:
                is_sent = _flush(controller)
            except OSError:
                self._hang_up(controller)
                continue
            if not is_sent:
                self._readiness.wait_for(controller.connection, select.EPOLLOUT)

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
        self._readiness.watch(connection, lambda: self._serve(controller))

    def _serve(self, controller: _Controller) -> None:
        """Write what is unsent, else answer what was asked, else read more: so that neither box grows beyond one request or answer."""
        try:
            if not controller.outbox:
                received = controller.connection.recv(_PIECE_BYTES)
                if not received:
                    self._hang_up(controller)
                    return
                controller.inbox += received
            while _flush(controller) and not controller.closing:
                end = controller.inbox.find(b"\n")
                if end >= 0:
                    line = bytes(controller.inbox[:end])
                    del controller.inbox[: end + 1]
                    self._asker = controller
                    controller.outbox += self._answer(line)
                    self._asker = None
                elif len(controller.inbox) > self._max_line_bytes:
                    controller.outbox += self._refuse(f"a request is at most {self._max_line_bytes} octets; the connection ends")
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
            self._readiness.wait_for(controller.connection, select.EPOLLOUT if controller.outbox else select.EPOLLIN)

    def _hang_up(self, controller: _Controller) -> None:
        self._controllers.discard(controller)
        self._readiness.close(controller.connection)


def _flush(controller: _Controller) -> bool:
    """Whether all was sent."""
    with suppress(BlockingIOError):
        while controller.outbox:
            del controller.outbox[: controller.connection.send(controller.outbox[:_PIECE_BYTES])]
    return not controller.outbox


def private_listener(path: Path) -> socket.socket:
    """A stream socket bound at `path` for its owner alone; it does not listen yet. Raises `OSError`."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def _listen(path: Path, what: str) -> tuple[int, socket.socket]:
    """The control socket, and the lock that says it is ours: with it in hand, a socket file found there is a leftover."""
    lock = -1
    try:
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise ControlSocketError(f"{path} exists and is not a socket: remove it, or choose another with --control.")
            path.unlink()
        listener = private_listener(path)
        try:
            listener.setblocking(False)
            listener.listen(MAX_CONTROLLERS)
        except BaseException:
            listener.close()
            raise
    except BlockingIOError:
        os.close(lock)
        raise ControlSocketError(f"Another {what} already uses {path}: stop it, or choose another socket with --control.") from None
    except OSError as error:
        if lock >= 0:
            os.close(lock)
        reason = error.strerror or str(error)  # a path that is too long has no errno
        raise ControlSocketError(f"Cannot make the control socket {path}: {reason}. Choose another place with --control.") from None
    except ControlSocketError:
        os.close(lock)
        raise
    return lock, listener
