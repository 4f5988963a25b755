"""The process of a TCP proxy: it holds SYNs, connects in the clients' names, lets them in, and relays (internet/tcp_proxy.py).

It outlives the agent that started it, so that a new agent breaks no connection; the next one finds it by its status socket. Its nftables
table belongs to it: when the process ends, however it ends, the kernel takes the table away, new connections go through as they are, and
those that it carried are reset.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tramontana.control_socket import private_listener
from tramontana.errors import LocalError
from tramontana.internet.flow_class import FlowClass
from tramontana.internet.linux import mptcp
from tramontana.internet.linux.flow_marks import mark
from tramontana.internet.linux.namespace import HostRefused, run
from tramontana.internet.linux.tcp_relay import Relay, adopt
from tramontana.internet.tcp_proxy import (
    CAPTURED_MARK,
    JOIN_ADDRESS,
    REFUSED_MARK,
    ROUTE_PREFERENCE,
    TABLE,
    Answer,
    Endpoint,
    MalformedSyn,
    ProxySettings,
    Role,
    Syn,
    answer_to,
    log_requests,
    logged,
    parse_syn,
    routes,
    rules,
    unreachable,
)

CONGESTION_CONTROL: Final = b"bbr"
CONNECT_TIMEOUT_S: Final = 130.0
"""Linux gives up after its sixth SYN, 127 s."""
CLIENT_TIMEOUT_S: Final = 30.0
"""So long a client may take to come in whose connection was made."""
MOST_PENDING: Final = 4096
FILES_A_CONNECTION: Final = 6
SPARE_FILES: Final = 192
"""For listening sockets and everything else."""
MOST_CONNECTIONS: Final = 8192
MOST_PORTS: Final = 64
"""Of servers that are called by connections over several uplinks; those to others have one way."""
BUFFER_BYTES: Final = "4096 131072 33554432"
"""tcp_rmem and tcp_wmem: 33 MB fill 400 Mbit/s over a geostationary satellite."""
RESTART_S: Final = 2.0
STATUS_SOCKET: Final = "tcp-proxy.sock"
START_TIMEOUT_S: Final = 15.0
_NETLINK_NETFILTER: Final = 12
_IP_TRANSPARENT, _IPV6_TRANSPARENT, _IPV6_HDRINCL = 19, 75, 36  # linux/in.h, linux/in6.h
_CLASSES: Final = {mark(flow): flow for flow in FlowClass}

log = logging.getLogger("tramontana.tcp_proxy")


class TcpProxy:
    """One end. Raises `HostRefused` where the system lacks what it needs."""

    def __init__(self, settings: ProxySettings) -> None:
        self.settings = settings
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.is_multipath = mptcp.is_supported()
        self.most_connections = min(MOST_CONNECTIONS, (hard - SPARE_FILES) // FILES_A_CONNECTION)
        self._waiting: dict[tuple[Endpoint, Endpoint], asyncio.Future[socket.socket] | None] = {}
        """By client and server: None while the connection is made, then who comes in."""
        self._ports: dict[int, tuple[socket.socket, int]] = {}
        """Where further ways of connections come in, and how many connections each port has."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._relays = 0
        self.carried = 0
        self.refused = 0
        self.passed_on = 0
        """Connections that went through as they are, because there were too many."""
        self.octets_up = 0
        self.octets_down = 0
        self._log = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_NETFILTER)
        self._log.bind((0, 0))
        self._log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._raw = {False: _raw_socket(socket.AF_INET), True: _raw_socket(socket.AF_INET6)}
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        self._icmp = {
            False: socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP),
            True: socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6),
        }
        for each in self._icmp.values():
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # never read
        try:
            joined = self.is_joined
            self._listeners = [_listener(socket.AF_INET, "127.0.0.1", joined=joined), _listener(socket.AF_INET6, "::1")]
        except OSError as error:
            raise HostRefused(f"no listening socket with BBR ({error.strerror}); load the module tcp_bbr and run as root") from error

    @property
    def is_joined(self) -> bool:
        """Whether connections may come in by several uplinks: the site decides whether one does."""
        return self.is_multipath and self.settings.role is Role.GATEWAY

    async def run(self) -> None:
        """Until cancelled. Raises `HostRefused`."""
        if self.is_multipath and (self.is_joined or self.settings.several):
            mptcp.allow()
        loop = asyncio.get_running_loop()
        for request in log_requests():
            self._log.send(request)
        for listener in self._listeners:
            listener.listen(1024)
            loop.add_reader(listener, self._accept, listener)
        loop.add_reader(self._log, self._read_log)
        _prepare_routes()
        ports = (listener.getsockname()[1] for listener in self._listeners)
        with _owned_table(rules(self.settings, *ports, joined=self.is_joined)) as nft:
            server = await asyncio.start_unix_server(self._answer, sock=_status_listener(Path(self.settings.status_socket)))
            async with server:
                print("ready", flush=True)
                await asyncio.to_thread(nft.wait)
        raise HostRefused("nft, which keeps the proxy's rules, has ended")

    # ---- connections

    def _read_log(self) -> None:
        while True:
            try:
                datagram = self._log.recv(1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # SYNs were lost: their clients send them again
                    raise
                continue
            for packet, class_mark in logged(datagram):
                with suppress(MalformedSyn):
                    self._begin(parse_syn(packet, class_mark))

    def _begin(self, syn: Syn) -> None:
        key = syn.client, syn.server
        if key in self._waiting:
            return
        if len(self._waiting) >= MOST_PENDING or self._relays + len(self._waiting) >= self.most_connections:
            self.passed_on += 1
            self._throw(syn, syn.mark)
            return
        self._waiting[key] = None
        task = asyncio.get_running_loop().create_task(self._connect(syn))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a connection failed unexpectedly: %s", error)

    async def _connect(self, syn: Syn) -> None:
        key = syn.client, syn.server
        loop = asyncio.get_running_loop()
        onward: socket.socket | None = None
        port = None
        try:
            onward = self._onward(syn)
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await _established(onward, syn.server)
            port = self._open_port(syn)
            coming = self._waiting[key] = loop.create_future()
            self._throw(syn, CAPTURED_MARK)
            async with asyncio.timeout(CLIENT_TIMEOUT_S):
                client = await coming
        except (OSError, TimeoutError) as error:
            if onward is not None:
                onward.close()
            self._leave_port(port)
            if self._waiting[key] is None:
                self.refused += 1
                self._reply(syn, answer_to(error.errno if isinstance(error, OSError) else None))
            return
        finally:
            del self._waiting[key]
        self._relays += 1
        self.carried += 1
        try:
            if self.settings.role is Role.GATEWAY:
                _classify(client, syn)
            adopt(client)
            Relay(client, onward, lambda up, down: self._ended(up, down, port))
        except OSError as error:
            self._leave_port(port)
            log.warning("a connection is given up: %s", error.strerror)
            client.close()
            onward.close()
            self._relays -= 1

    def _onward(self, syn: Syn) -> socket.socket:
        """To the server: a site in the client's name and class and with BBR, a gateway by its own address and way out. Raises `OSError`."""
        over_several = self.is_multipath and not syn.is_ipv6 and _class_of(syn) in self.settings.several
        protocol = mptcp.IPPROTO_MPTCP if over_several else socket.IPPROTO_TCP
        onward = socket.socket(socket.AF_INET6 if syn.is_ipv6 else socket.AF_INET, socket.SOCK_STREAM, protocol)
        try:
            adopt(onward)
            if self.settings.role is Role.SITE:
                onward.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL)
                onward.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                _make_transparent(onward)
                _classify(onward, syn)
                onward.bind(syn.client)
            elif self.settings.outside is not None:
                onward.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.settings.outside.encode())
        except BaseException:
            onward.close()
            raise
        return onward

    def _throw(self, syn: Syn, packet_mark: int) -> None:
        """Send the held SYN on its way again, with a mark that says whither."""
        raw = self._raw[syn.is_ipv6]
        with suppress(OSError):  # the client sends it again
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, packet_mark)
            raw.sendto(syn.packet, (syn.server[0], 0))

    def _reply(self, syn: Syn, answer: Answer) -> None:
        if answer is Answer.REFUSED:
            self._throw(syn, REFUSED_MARK)
        elif answer is Answer.UNREACHABLE:
            with suppress(OSError):
                self._icmp[syn.is_ipv6].sendto(unreachable(syn), (syn.client[0], 0))

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("no connection can be taken: %s", error.strerror)
                return
            here = connection.getsockname()
            coming = self._waiting.get((peer[:2], here[:2]))
            if coming is None or coming.done():
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
            else:
                coming.set_result(connection)

    def _open_port(self, syn: Syn) -> int | None:
        """Let further ways of this connection come in. None: it has one way, or as many ports are open as may be."""
        if not self.is_joined or not syn.is_multipath or syn.is_ipv6:
            return None
        port = syn.server[1]
        listener, connections = self._ports.get(port, (None, 0))
        if listener is None:
            if len(self._ports) >= MOST_PORTS:
                return None
            try:
                listener = _listener(socket.AF_INET, JOIN_ADDRESS, port, joined=True)
                listener.listen(64)
            except OSError as error:  # a service of this machine has that port at every address
                log.info("connections to port %d have one way: %s", port, error.strerror)
                return None
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)
        self._ports[port] = listener, connections + 1
        return port

    def _leave_port(self, port: int | None) -> None:
        if port is None:
            return
        listener, connections = self._ports[port]
        if connections > 1:
            self._ports[port] = listener, connections - 1
            return
        del self._ports[port]
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()

    def _ended(self, up: int, down: int, port: int | None) -> None:
        self._leave_port(port)
        self._relays -= 1
        self.octets_up += up
        self.octets_down += down

    # ---- status

    def status(self) -> dict[str, Any]:
        """Of all connections since the start; octets of those that have ended."""
        return {
            "pid": os.getpid(),
            "settings": self.settings.model_dump(mode="json"),
            "connections": self._relays,
            "being_made": len(self._waiting),
            "carried": self.carried,
            "multipath": self.is_multipath,
            "refused": self.refused,
            "passed_on": self.passed_on,
            "octets_up": self.octets_up,
            "octets_down": self.octets_down,
        }

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(json.dumps(self.status()).encode() + b"\n")
            await writer.drain()
        writer.close()


def _class_of(syn: Syn) -> FlowClass:
    return _CLASSES.get(syn.mark, FlowClass.DATA_ROUTINE)


def _classify(connection: socket.socket, syn: Syn) -> None:
    """Packets of this machine go by the class of the client's: by the route of it, and marked for the other end."""
    flow = _class_of(syn)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark(flow))
    if syn.is_ipv6:
        connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, flow.dscp << 2)
    else:
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, flow.dscp << 2)


async def _established(connection: socket.socket, to: Endpoint) -> None:
    """As asyncio does it, but without its resolver, which does not know MPTCP's sockets. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    error = connection.connect_ex(to)
    if error == errno.EINPROGRESS:
        ready = asyncio.Event()
        loop.add_writer(connection, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(connection)
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _make_transparent(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)


def _listener(family: socket.AddressFamily, address: str, port: int = 0, *, joined: bool = False) -> socket.socket:
    """Clients come in here with the address that they called. What they are sent goes by BBR: at a gateway that is the carrier's side.

    joined: one connection may come in by several ways.
    """
    listener = socket.socket(family, socket.SOCK_STREAM, mptcp.IPPROTO_MPTCP if joined else socket.IPPROTO_TCP)
    try:
        listener.setblocking(False)
        _make_transparent(listener)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CONGESTION_CONTROL)
        listener.bind((address, port))
    except BaseException:
        listener.close()
        raise
    return listener


def _raw_socket(family: socket.AddressFamily) -> socket.socket:
    raw = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_RAW)
    if family == socket.AF_INET6:
        raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_HDRINCL, 1)
    else:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    return raw


def _prepare_routes() -> None:
    for version, lines in routes().items():
        there = json.loads(run(["ip", f"-{version}", "-j", "rule", "show"]) or "[]")
        wanted = lines[1:] if any(rule["priority"] == ROUTE_PREFERENCE for rule in there) else lines
        run(["ip", f"-{version}", "-batch", "-"], stdin="\n".join(wanted) + "\n")
    for name in ("tcp_rmem", "tcp_wmem"):
        Path("/proc/sys/net/ipv4", name).write_text(BUFFER_BYTES)


@contextmanager
def _owned_table(commands: list[str]) -> Iterator[subprocess.Popen[str]]:
    """While the returned process of nft lives, and no longer than this one does, the table is there. Raises `HostRefused`."""
    pipe = subprocess.PIPE
    try:
        nft = subprocess.Popen(["nft", "-i"], stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    except FileNotFoundError as error:
        raise HostRefused("nft is missing; install nftables") from error
    assert nft.stdin is not None
    assert nft.stdout is not None
    try:
        nft.stdin.write("".join(line + "\n" for line in commands))
        nft.stdin.flush()
        until = time.monotonic() + START_TIMEOUT_S
        while _things_in_place() != len(commands):
            if time.monotonic() > until or nft.poll() is not None:
                nft.stdin.close()
                raise HostRefused(f"nft refused the proxy's rules: {nft.stdout.read().strip() or 'another proxy runs here'}")
            time.sleep(0.02)
        yield nft
    finally:
        with suppress(OSError):
            nft.stdin.close()
        nft.wait()


def _things_in_place() -> int:
    """The table, its chains and rules."""
    with suppress(HostRefused):
        return run(["nft", "-a", "list", "table", "inet", TABLE]).count("# handle ")
    return 0


def _status_listener(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    return private_listener(path)


def read_status(path: Path) -> dict[str, Any] | None:
    """What a running proxy says; None where none runs."""
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(START_TIMEOUT_S)
        connection.connect(str(path))
        with connection.makefile("rb") as lines:
            found: dict[str, Any] = json.loads(lines.readline())
            return found
    return None


def stop(path: Path) -> None:
    """End the proxy that answers at this socket; its connections are reset. Nothing if there is none."""
    running = read_status(path)
    if running is None:
        return
    with suppress(ProcessLookupError):
        os.kill(running["pid"], signal.SIGTERM)
    until = time.monotonic() + START_TIMEOUT_S
    while read_status(path) is not None and time.monotonic() < until:
        time.sleep(0.05)


async def keep(settings: ProxySettings | None, path: Path) -> None:
    """See to it that a proxy with these settings runs, and no other; until cancelled, and then it goes on. None: none is wanted."""
    told = ""
    while True:
        running = await asyncio.to_thread(read_status, path)
        if running is not None and (settings is None or running["settings"] != settings.model_dump(mode="json")):
            await asyncio.to_thread(stop, path)
            running = None
        if settings is None:
            return
        if running is None:
            fault = await asyncio.to_thread(_start, settings)
            if fault != told:
                told = fault
                log.warning("the TCP proxy %s", f"does not run, connections go through as they are: {fault}" if fault else "runs")
        await asyncio.sleep(RESTART_S)


def _start(settings: ProxySettings) -> str:
    """Start a process that outlives this one. What it complains of; empty if it runs."""
    command = [sys.executable, "-P", "-m", __name__, settings.model_dump_json()]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
    last = ""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if line == "ready\n":
                return ""
            last = line
    process.wait()
    return last.strip() or "it said nothing"


def main(argument: str) -> None:
    """The process. One line says "ready", or what is wrong."""

    async def until_stopped() -> None:
        task = asyncio.ensure_future(TcpProxy(ProxySettings.model_validate_json(argument)).run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with suppress(asyncio.CancelledError):
            await task

    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # an agent with real-time priority hands it down
    try:
        asyncio.run(until_stopped())
    except LocalError as error:
        print(error, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
