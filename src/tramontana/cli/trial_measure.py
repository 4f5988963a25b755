"""The two ends of a trial over real sockets (asyncio): the endpoint that answers, and the measuring side.

Probes are UDP, throughput tests TCP on the same port. Both are authenticated with a secret that the two ends share: the endpoint stands
on the internet, and answers nobody else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

from tramontana.errors import LocalError
from tramontana.internet.trial import Probing, Record, Throughput, Way, encode_probe, parse_probe

DEFAULT_PORT: Final = 51860
LONGEST_TEST_S: Final = 30.0
LARGEST_TEST_BYTES: Final = 1 << 30
CONNECT_TIMEOUT_S: Final = 10.0
MAX_TESTS: Final = 4
"""Throughput tests that an endpoint runs at once."""
_PIECE = os.urandom(1 << 16)  # not compressible
_TCP_CONGESTION: Final = 13  # linux/tcp.h
_SO_BINDTODEVICE: Final = 25  # asm-generic/socket.h
_CHALLENGE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Line:
    """How to leave this machine: through an interface, from an address, or as the routes have it."""

    interface: str | None = None
    source: str | None = None

    def __str__(self) -> str:
        return " ".join(part for part in (self.interface, self.source) if part) or "default route"

    def open(self, family: socket.AddressFamily, kind: socket.SocketKind) -> socket.socket:
        """A non-blocking socket on this line. Raises `LocalError`."""
        opened = socket.socket(family, kind)
        try:
            opened.setblocking(False)
            if self.interface:
                opened.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, self.interface.encode())
            if self.source:
                opened.bind((self.source, 0))
        except OSError as error:
            opened.close()
            raise LocalError(f"cannot measure over {self}: {error.strerror}; check --interface and --source") from None
        return opened


class Endpoint:
    """The far end: echoes probes, sends and counts for throughput tests."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._tests = 0

    async def serve(self, host: str, port: int, on_ready: Callable[[int], None]) -> None:
        """Answer until cancelled. Raises `LocalError` if the port cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            server = await asyncio.start_server(self._test, host, port)
            bound = int(server.sockets[0].getsockname()[1])
            transport, _ = await loop.create_datagram_endpoint(lambda: _Echo(self._secret), local_addr=(host, bound))
        except OSError as error:
            raise LocalError(
                f"cannot answer at {host} port {port}: {error.strerror or error}; choose another with --host and --port"
            ) from None
        try:
            async with server:
                on_ready(bound)
                await asyncio.Event().wait()
        finally:
            transport.close()

    async def _test(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._tests >= MAX_TESTS:
            writer.close()
            return
        self._tests += 1
        try:
            with suppress(OSError, ValueError, KeyError, TypeError, asyncio.IncompleteReadError, TimeoutError):
                async with asyncio.timeout(CONNECT_TIMEOUT_S + LONGEST_TEST_S + CONNECT_TIMEOUT_S):
                    challenge = os.urandom(_CHALLENGE_BYTES)
                    writer.write(challenge)
                    async with asyncio.timeout(CONNECT_TIMEOUT_S):
                        asked = await reader.readuntil(b"\n")
                        mac = await reader.readexactly(hashlib.sha256().digest_size)
                    if not hmac.compare_digest(mac, _proof(self._secret, challenge, asked)):
                        return
                    document = json.loads(asked)
                    octets, seconds = min(int(document["bytes"]), LARGEST_TEST_BYTES), min(float(document["seconds"]), LONGEST_TEST_S)
                    if Way(document["direction"]) is Way.DOWN:
                        await _pour(writer, octets, seconds)
                    else:
                        writer.write(json.dumps(dict(zip(("bytes", "seconds"), await _count(reader), strict=True))).encode() + b"\n")
                        await writer.drain()
        finally:
            self._tests -= 1
            writer.close()


class _Echo(asyncio.DatagramProtocol):
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        number = parse_probe(self._secret, data)
        if number is not None:
            self._transport.sendto(encode_probe(self._secret, number, echo=True), addr)


@dataclass
class Measurement:
    """The measuring side of one run. It writes every settled second and every test into `record` at once."""

    secret: bytes
    address: tuple[str, int]
    family: socket.AddressFamily
    line: Line
    interval_s: float
    record: TextIO
    test_every_s: float | None
    test_seconds: float
    budget_octets: int
    """What throughput tests may still cost."""
    on_second: Callable[[Measurement], None] = lambda _: None
    seconds: int = 0
    sent: int = 0
    lost: int = 0
    last_round_trip_s: float | None = None
    last_bps: dict[Way, float] = field(default_factory=dict)
    note: str = ""
    """Of the last throughput test that failed."""

    async def run(self, until: asyncio.Event, duration_s: float | None) -> None:
        """Measure until the event or for so long. Raises `LocalError` if the line cannot be used at all."""
        offset = time.time() - time.monotonic()  # one reading of both clocks: a step of the wall clock moves nothing
        probing = Probing(self.interval_s, time.monotonic() + offset)
        with self.line.open(self.family, socket.SOCK_DGRAM) as probes:
            asyncio.get_running_loop().add_reader(probes, self._hear, probes, probing, offset)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self._probe(probes, probing, offset))]
                    if self.test_every_s is not None:
                        tasks.append(group.create_task(self._tests(probing, offset)))
                    with suppress(TimeoutError):
                        await asyncio.wait_for(until.wait(), duration_s)
                    for task in tasks:
                        task.cancel()
            finally:
                asyncio.get_running_loop().remove_reader(probes)
                self._write(probing, time.monotonic() + offset, everything=True)

    async def _probe(self, probes: socket.socket, probing: Probing, offset: float) -> None:
        while True:
            now = time.monotonic() + offset
            number = probing.send(now)
            if number is not None:
                with suppress(OSError):  # no route, no buffer, interface down: a probe that does not come back
                    probes.sendto(encode_probe(self.secret, number), self.address)
            self._write(probing, now)
            await asyncio.sleep(max(0.0, probing.next_at - (time.monotonic() + offset)))

    def _hear(self, probes: socket.socket, probing: Probing, offset: float) -> None:
        while True:
            try:
                packet = probes.recv(64)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier probe
                continue
            number = parse_probe(self.secret, packet, echo=True)
            if number is not None:
                probing.heard(number, time.monotonic() + offset)

    def _write(self, probing: Probing, now: float, *, everything: bool = False) -> None:
        for second in probing.settled(now, everything=everything):
            self.record.write(second.encode())
            self.record.flush()
            self.seconds += 1
            self.sent += len(second.round_trips_s)
            self.lost += sum(trip is None for trip in second.round_trips_s)
            self.last_round_trip_s = next((trip for trip in reversed(second.round_trips_s) if trip is not None), None)
            self.on_second(self)

    async def _tests(self, probing: Probing, offset: float) -> None:
        assert self.test_every_s is not None
        while True:
            for way in Way:
                largest = min(LARGEST_TEST_BYTES, self.budget_octets)
                if largest <= 0:
                    self.note = "the data budget is used up: no more throughput tests"
                    return
                start = time.monotonic() + offset
                try:
                    octets, seconds = await throughput(
                        self.secret, self.line, self.family, self.address, way, octets=largest, seconds=self.test_seconds
                    )
                except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError) as error:
                    self.note = f"throughput {way}: {str(error) or type(error).__name__}"
                else:
                    test = Throughput(start, way, octets, seconds)
                    self.budget_octets -= octets
                    self.last_bps[way] = test.bps
                    self.record.write(test.encode())
                    self.record.flush()
                probing.loaded(start, time.monotonic() + offset)
            await asyncio.sleep(self.test_every_s)


async def throughput(
    secret: bytes,
    line: Line,
    family: socket.AddressFamily,
    address: tuple[str, int],
    way: Way,
    *,
    octets: int,
    seconds: float,
) -> tuple[int, float]:
    """One test over one TCP connection: octets that arrived, and in how many seconds. Raises `OSError`, `TimeoutError`, `ValueError`."""
    async with asyncio.timeout(2 * CONNECT_TIMEOUT_S + seconds):
        with line.open(family, socket.SOCK_STREAM) as opened:
            await asyncio.get_running_loop().sock_connect(opened, address)
            reader, writer = await asyncio.open_connection(sock=opened)
            try:
                challenge = await reader.readexactly(_CHALLENGE_BYTES)
                asked = json.dumps({"direction": way.value, "bytes": octets, "seconds": seconds}).encode() + b"\n"
                writer.write(asked + _proof(secret, challenge, asked))
                if way is Way.DOWN:
                    counted = await _count(reader)
                else:
                    await _pour(writer, octets, seconds)
                    answer = json.loads(await reader.readuntil(b"\n"))
                    counted = int(answer["bytes"]), float(answer["seconds"])
            finally:
                writer.close()
    if not counted[0]:
        raise ValueError("nothing arrived: do both ends have the same secret?")
    return counted


async def _pour(writer: asyncio.StreamWriter, octets: int, seconds: float) -> None:
    """Send for so long or so much, then close this direction. BBR where the kernel has it: random loss would starve cubic."""
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _TCP_CONGESTION, b"bbr")
    end = time.monotonic() + seconds
    while octets > 0 and time.monotonic() < end:
        piece = _PIECE[: min(octets, len(_PIECE))]
        writer.write(piece)
        octets -= len(piece)
        await writer.drain()
    writer.write_eof()


async def _count(reader: asyncio.StreamReader) -> tuple[int, float]:
    """Octets until the other end closes its direction, and the seconds between the first and the last of them."""
    total, first, last = 0, 0.0, 0.0
    while data := await reader.read(1 << 18):
        last = time.monotonic()
        first = first or last
        total += len(data)
    return total, max(last - first, 1e-3)


def _proof(secret: bytes, challenge: bytes, asked: bytes) -> bytes:
    return hmac.new(secret, b"tramontana trial 1\0" + challenge + asked, hashlib.sha256).digest()


def resolve(endpoint: str) -> tuple[tuple[str, int], socket.AddressFamily]:
    """The address of ``HOST``, ``HOST:PORT`` or ``[IPV6]:PORT``. Raises `LocalError`."""
    host, port = endpoint, str(DEFAULT_PORT)
    if endpoint.startswith("["):
        host, _, rest = endpoint[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif endpoint.count(":") == 1:
        host, _, port = endpoint.partition(":")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
    except (OSError, ValueError) as error:
        raise LocalError(f"the endpoint {endpoint!r} cannot be found ({error}): give HOST, HOST:PORT or [IPV6]:PORT") from None
    return (str(address[0]), int(address[1])), family


def spent_budget(record: Record, budget_octets: int) -> int:
    """What is left of the budget after the earlier runs of this record."""
    return max(0, budget_octets - record.tested_octets)


def open_record(path: Path) -> TextIO:
    """The record, to append to; a line that a crash cut off is ended first, so that it stays alone. Raises `LocalError`."""
    try:
        file = path.open("a+", encoding="utf-8")
        file.seek(0)
        text = file.read()
        if text and not text.endswith("\n"):
            file.truncate(len(text[: text.rfind("\n") + 1].encode()))
        return file
    except OSError as error:
        raise LocalError(f"cannot write {path} ({error.strerror}): check the folder and its permissions") from None
