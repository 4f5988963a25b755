"""Debian's Kannel (bearerbox and smsbox) as a system that binds to our message centre, on ports of this machine."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx

PROGRAMS = ("bearerbox", "smsbox")
SETTINGS = """
group = core
admin-port = {admin}
admin-password = kannel
smsbox-port = {boxes}
box-allow-ip = 127.0.0.1
log-file = {directory}/bearerbox.log
log-level = 0

group = smsc
smsc = smpp
smsc-id = tramontana
host = 127.0.0.1
port = {port}
transceiver-mode = true
smsc-username = kannel
smsc-password = secret
system-type = ""
enquire-link-interval = 5
reconnect-delay = 1

group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = {boxes}
sendsms-port = {sms}
log-file = {directory}/smsbox.log
log-level = 0

group = sendsms-user
username = office
password = office
concatenation = true
max-messages = 10

group = sms-service
keyword = default
catch-all = true
get-url = "http://127.0.0.1:{web}/incoming?from=%p&to=%P&text=%a&coding=%c&octets=%b"
max-messages = 0
"""


def program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")


def missing() -> str | None:
    """Why Kannel cannot run here, None if it can."""
    return None if all(program(name) for name in PROGRAMS) else "Kannel is missing (Debian: apt-get install kannel)"


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def server_file(port: int, peers: Mapping[str, str]) -> str:
    """Of operators, to begin with (docs/sms.md): our message centre at `port`; by who binds there, the numbers that he carries."""
    lines = ["[server]", f"port = {port}"]
    for system_id, numbers in peers.items():
        lines += ["", "[[server.peer]]", f'system_id = "{system_id}"', 'password_file = "password"', f'numbers = ["{numbers}"]']
    return "\n".join([*lines, ""])


@dataclass
class Kannel:
    sms_port: int
    web_port: int
    calls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """What Kannel fetched from us: the path and the fields; receipts and texts that came in."""
    octets: list[bytes] = field(default_factory=list)
    """The message of each of these calls as octets."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, sender: str, to: str, text: str) -> None:
        """Hand a text to Kannel, asking for a receipt of every kind."""
        fields = {
            "username": "office",
            "password": "office",
            "from": sender,
            "to": to,
            "text": text,
            "charset": "UTF-8",
            "coding": "0" if text.isascii() else "2",
            "dlr-mask": "31",
            "dlr-url": f"http://127.0.0.1:{self.web_port}/receipt?kind=%d&to=%p",
        }
        await self._send(fields)

    async def send_octets(self, sender: str, to: str, octets: bytes) -> None:
        """Hand a binary message to Kannel, as a gateway beside a satellite modem would."""
        fields = {"username": "office", "password": "office", "from": sender, "to": to, "coding": "1"}
        await self._send(fields, "&text=" + quote(octets))

    async def _send(self, fields: dict[str, str], more: str = "") -> None:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{self.sms_port}/cgi-bin/sendsms?{urlencode(fields)}{more}")
        assert answer.status_code == 202, answer.text

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        while (await reader.readline()).strip():
            pass
        address = urlsplit(line.split(" ")[1])
        fields = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        octets = parse_qs(address.query, keep_blank_values=True, encoding="latin-1").get("octets", [""])[0]
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        self.calls.append((address.path, fields))
        self.octets.append(octets.encode("latin-1"))
        self.news.set()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def kannel(directory: Path, port: int) -> AsyncIterator[Kannel]:
    """Kannel, bound or binding to the message centre on `port`."""
    admin, boxes, sms, web = free_ports(4)
    file = directory / "kannel.conf"
    await asyncio.to_thread(file.write_text, SETTINGS.format(admin=admin, boxes=boxes, sms=sms, web=web, port=port, directory=directory))
    there = Kannel(sms, web)
    server = await asyncio.start_server(there._answer, "127.0.0.1", web)
    processes = []
    try:
        for name, its_port in (("bearerbox", boxes), ("smsbox", sms)):
            path = program(name)
            assert path is not None
            log = await asyncio.to_thread((directory / f"{name}.out").open, "wb")
            processes.append(await asyncio.create_subprocess_exec(path, file, cwd=directory, stdout=log, stderr=log))
            log.close()
            async with asyncio.timeout(60):
                while not await _listens(its_port):  # noqa: ASYNC110 - another process opens that port
                    await asyncio.sleep(0.1)
        yield there
    finally:
        for process in reversed(processes):
            if process.returncode is None:
                process.kill()
            await process.wait()
        server.close()
        await server.wait_closed()
