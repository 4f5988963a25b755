"""The media relay's process: one UDP socket around `TurnServer`, on one thread."""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tramontana.errors import LocalError
from tramontana.phone.relay_secret import load_or_make_relay_secret
from tramontana.phone.turn import DEFAULT_REALM, TurnServer

SOCKET_BUFFER_BYTES = 4 << 20
"""Room for the packets of some 50 ms at full rate; the kernel grants what `net.core.rmem_max` allows."""
MAX_DATAGRAM_BYTES = 65535
BATCH = 64
"""Datagrams between two looks at clock and stop signal."""


class RelayError(LocalError):
    """The media relay cannot start; the message says why and what to change."""


def open_udp_socket(host: str, port: int, *, what: str) -> socket.socket:
    """A bound, non-blocking UDP socket with large buffers. Raises `RelayError` that names the port."""
    udp = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        udp.setblocking(False)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
        udp.bind((host, port))
    except (OSError, OverflowError) as error:
        udp.close()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RelayError(f"The {what} cannot use UDP {host} port {port}: {reason}. Choose another with --host and --port.") from None
    return udp


def run_relay(
    *,
    host: str,
    port: int,
    secret_file: Path,
    advertised_host: str | None = None,
    realm: str = DEFAULT_REALM,
    max_allocations: int = 4096,
    max_allocations_per_device: int = 32,
    on_ready: Callable[[int], None],
) -> TurnServer:
    """Relay until SIGTERM or SIGINT; gives the core, for its counts.

    `on_ready` gets the UDP port once it is open (of use with port 0). `advertised_host` is the IP address that phones
    are told; it must be given where `host` is a wildcard address. Raises `RelayError` or `RelaySecretError`.
    """
    advertised_host = advertised_host or host
    if advertised_host in ("0.0.0.0", "::"):  # noqa: S104 - a comparison, not a bind
        raise RelayError("The relay must know the address that phones reach it at: give it with --advertise.")
    secret = load_or_make_relay_secret(secret_file)
    try:
        core = TurnServer(
            secret=secret,
            advertised_host=advertised_host,
            realm=realm,
            max_allocations=max_allocations,
            max_allocations_per_device=max_allocations_per_device,
        )
    except ValueError:
        raise RelayError(f"{advertised_host!r} is not an IP address: give one with --advertise.") from None
    udp = open_udp_socket(host, port, what="media relay")
    waker, wakes = socket.socketpair()
    waker.setblocking(False)
    wakes.setblocking(False)
    previous_wakeup = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    stopped = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        on_ready(udp.getsockname()[1])
        with selectors.DefaultSelector() as selector:
            selector.register(udp, selectors.EVENT_READ)
            selector.register(wakes, selectors.EVENT_READ)
            while not stopped:
                deadline = core.next_timer()
                selector.select(None if deadline is None else max(0.0, deadline - time.monotonic()))
                forward_batch(core, udp)
                core.handle_timer(time.monotonic())
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        for number, handler in previous.items():
            signal.signal(number, handler)
        for opened in (udp, waker, wakes):
            opened.close()
    return core


def forward_batch(core: TurnServer, udp: socket.socket) -> None:
    """Handle what lies in the socket, up to `BATCH` datagrams."""
    now, unix_s = time.monotonic(), time.time()
    for _ in range(BATCH):
        try:
            data, source = udp.recvfrom(MAX_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error of an earlier send; nothing to do with what comes next
            core.counts["socket_errors"] += 1
            continue
        for payload, destination in core.handle_datagram(data, source[:2], now, unix_s):
            try:
                udp.sendto(payload, destination)
            except OSError:  # a full buffer or an unreachable client: UDP may lose it
                core.counts["dropped_unsendable"] += 1
