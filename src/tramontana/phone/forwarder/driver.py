"""The forwarder's process: one UDP socket and a control socket around `Forwarder`, on one thread."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tramontana.control_socket import ControlSocket, Readiness
from tramontana.phone.driver import BATCH, RelayError, open_udp_socket
from tramontana.phone.forwarder.control_protocol import MAX_LINE_BYTES, RequestRefused, Watch, encode_line, encode_refusal, parse_request
from tramontana.phone.forwarder.core import MAX_SESSIONS, Forwarder
from tramontana.phone.forwarder.dtls import DtlsCertificate
from tramontana.phone.forwarder.room import Datagram
from tramontana.phone.relay_secret import load_or_make_relay_secret

MAX_READ_BYTES = 2048
"""Longer datagrams are cut and then refused."""


def run_forwarder(
    *,
    host: str,
    port: int,
    control_path: Path,
    secret_file: Path,
    advertised_host: str | None = None,
    max_sessions: int = MAX_SESSIONS,
    on_ready: Callable[[int], None],
) -> Forwarder:
    """Forward until SIGTERM or SIGINT, or until drained; gives the core, for its counts.

    `on_ready` gets the UDP port once everything is open. Raises `RelayError`, `RelaySecretError` or `ControlSocketError`.
    """
    advertised_host = advertised_host or host
    if advertised_host in ("0.0.0.0", "::"):  # noqa: S104 - a comparison, not a bind
        raise RelayError("The forwarder must know the address that phones reach it at: give it with --advertise.")
    secret = load_or_make_relay_secret(secret_file)
    udp = open_udp_socket(host, port, what="forwarder")
    bound_port: int = udp.getsockname()[1]
    core = Forwarder(
        secret=secret,
        certificate=DtlsCertificate.at(time.time()),
        advertised=(advertised_host, bound_port),
        max_sessions=max_sessions,
    )

    def answer(line: bytes) -> bytes:
        try:
            request = parse_request(line)
            if isinstance(request, Watch):
                assert control is not None  # who asks came through it
                control.watch_asker()
            return encode_line({"ok": True, **core.handle_request(request, time.monotonic(), time.time())})
        except RequestRefused as error:
            return encode_refusal(error.code, str(error))

    stopped = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    readiness = Readiness()
    waker, wakes = socket.socketpair()
    waker.setblocking(False)
    wakes.setblocking(False)

    def swallow_wakes() -> None:
        with suppress(BlockingIOError):
            wakes.recv(64)

    control: ControlSocket | None = None
    previous_wakeup = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        control = ControlSocket(
            control_path,
            readiness,
            what="forwarder",
            max_line_bytes=MAX_LINE_BYTES,
            answer=answer,
            refuse=lambda reason: encode_refusal("malformed", reason),
        )
        readiness.watch(udp, lambda: forward_batch(core, udp))
        readiness.watch(wakes, swallow_wakes)
        on_ready(bound_port)
        while not stopped and not core.is_drained:
            deadline = core.next_timer()
            readiness.handle(None if deadline is None else max(0.0, deadline - time.monotonic()))
            send(core, udp, core.handle_timer(time.monotonic(), time.time()))
            for event in core.take_events():
                control.tell_watchers(event.encode())
    finally:
        signal.set_wakeup_fd(previous_wakeup)
        for number, handler in previous.items():
            signal.signal(number, handler)
        if control is not None:
            control.close()
        for opened in (udp, waker, wakes, readiness.epoll):
            opened.close()
    return core


def forward_batch(core: Forwarder, udp: socket.socket) -> None:
    """Handle what lies in the socket, up to `BATCH` datagrams."""
    for _ in range(BATCH):
        try:
            data, source = udp.recvfrom(MAX_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # an ICMP error of an earlier send; nothing to do with what comes next
            core.counts["socket_errors"] += 1
            continue
        send(core, udp, core.handle_datagram(data, source[:2], time.monotonic(), time.time()))


def send(core: Forwarder, udp: socket.socket, datagrams: list[Datagram]) -> None:
    """Send what the core wants sent; a full buffer or an unreachable phone costs that datagram only."""
    for payload, destination in datagrams:
        try:
            udp.sendto(payload, destination)
        except OSError:
            core.counts["dropped_unsendable"] += 1
