"""Two server processes, PostgreSQL and NATS under load, and each of them killed in turn: what was accepted arrives, once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.control import mls_bytes, peers
from tests.control.custodians import Custodians, Office, install
from tests.control.house import Phone, b64
from tests.control.peers import PASSWORD, Nats, Postgresql
from tests.control.test_serve import command, reading_ready
from tramontana.control import admission
from tramontana.control.store import audit
from tramontana.control.store.database import PostgresqlAddress, Store

pytestmark = pytest.mark.anyio

MESSAGES = 110
COMMIT_EVERY = 10


class Servers:
    """Processes of `tramontana serve` on fixed ports; one that is killed is started again."""

    def __init__(self, data: Path, *shared: str) -> None:
        self._arguments = ("serve", "--data", str(data), *shared)
        self._ports = [peers.free_port(), peers.free_port()]
        self.urls = [f"http://127.0.0.1:{port}" for port in self._ports]
        self._processes = [self._start(port) for port in self._ports]
        for process in self._processes:
            reading_ready(process)

    def _start(self, port: int) -> subprocess.Popen[str]:
        known = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "TRAMONTANA_"))}
        return subprocess.Popen(
            command(*self._arguments, "--port", str(port), "--log-level", "error"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**known, "TRAMONTANA_DATABASE_PASSWORD": PASSWORD},
        )

    def kill_and_start(self, number: int) -> None:
        self._processes[number].send_signal(signal.SIGKILL)
        self._processes[number].communicate()
        self._processes[number] = self._start(self._ports[number])
        reading_ready(self._processes[number])

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.communicate()


class Front:
    """One address as `Phone` wants it."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url


@asynccontextmanager
async def phones(
    address: PostgresqlAddress, servers: Servers, custodians: Custodians
) -> AsyncIterator[tuple[Phone, Phone, str, list[httpx.AsyncClient]]]:
    """Ada and Bea in one group at epoch 1, and a client for each server."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=30)) for url in servers.urls]
        store = await Store.open(Path(), address)
        stack.push_async_callback(store.close)
        office = await Office.beside(store, custodians.log_key)
        await custodians.found(office)
        pair = []
        for number, name in enumerate(("Ada", "Bea")):
            invited = await admission.invite(store, origin="command", actor="test", note="", now=time.time())
            phone = Phone(Front(clients[number], servers.urls[number]), name)  # type: ignore[arg-type]
            await phone.enrol(invited.token.reveal())
            await custodians.certify(office, phone)
            await phone.login()
            pair.append(phone)
        ada, bea = pair
        await bea.offer(1)
        conversation_id = await ada.open_with(bea)
        assert (await ada.begin_group(conversation_id, bea)).status_code == 201
        yield ada, bea, conversation_id, clients


class Sender:
    """Submits until it has an answer, as phones do: at another server when one is gone, the same bytes under the same id."""

    def __init__(self, phone: Phone, conversation_id: str, clients: list[httpx.AsyncClient], first: int) -> None:
        self._phone = phone
        self._path = f"/api/v1/conversations/{conversation_id}"
        self._clients = clients
        self._next = first
        self.retries = 0

    async def submit(self, what: str, body: dict[str, Any]) -> httpx.Response:
        while True:
            client = self._clients[self._next % 2]
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.post(f"{self._path}/{what}", headers=self._phone.headers, json=body)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
            self._next += 1
            self.retries += 1
            await asyncio.sleep(0.05)


class Receiver:
    """Bea's phone: acknowledges what it has processed, and comes back to any server with what it knows."""

    def __init__(self, phone: Phone, urls: list[str]) -> None:
        self._phone = phone
        self._urls = urls
        self.processed: list[dict[str, Any]] = []
        self.arrived = asyncio.Event()
        self.connections = 0

    async def run(self) -> None:
        while True:
            with contextlib.suppress(WebSocketException, OSError, TimeoutError, EOFError):
                await self._listen(self._urls[self.connections % 2].replace("http", "ws"))
            await asyncio.sleep(0.05)

    async def _listen(self, url: str) -> None:
        self.connections += 1
        async with connect(f"{url}/api/v1/socket", open_timeout=30) as socket:
            after = self.processed[-1]["seq"] if self.processed else 0
            await socket.send(json.dumps({"type": "hello", "token": self._phone.token, "after": after}))
            async for text in socket:
                frame = json.loads(text)
                if frame["type"] == "deliver":
                    self.processed.append(frame)
                    self.arrived.set()
                    await socket.send(json.dumps({"type": "ack", "seq": frame["seq"]}))
                elif frame["type"] == "ping":
                    await socket.send(json.dumps({"type": "pong"}))


async def test_whatever_dies_what_was_accepted_arrives_once(tmp_path: Path, own_postgresql: Postgresql, nats_server: Nats) -> None:
    address = own_postgresql.address(await own_postgresql.create())
    shared = ("--database", address.url, "--events", nats_server.url)
    custodians = await asyncio.to_thread(install, tmp_path / "data", address)
    servers = await asyncio.to_thread(Servers, tmp_path / "data", *shared)
    try:
        async with phones(address, servers, custodians) as (ada, bea, conversation_id, clients):
            await _under_faults(ada, bea, conversation_id, clients, servers, own_postgresql, nats_server)
        store = await Store.open(Path(), address)
        async with store.read() as connection:
            assert (await audit.verify(connection)).intact
        await store.close()
    finally:
        servers.end()


async def _under_faults(
    ada: Phone,
    bea: Phone,
    conversation_id: str,
    clients: list[httpx.AsyncClient],
    servers: Servers,
    database: Postgresql,
    nats_server: Nats,
) -> None:
    at = np.random.default_rng(20261127)  # at which message each fault strikes: anywhere between its answer and the next
    faults: list[tuple[int, Callable[[], object]]] = [
        (int(at.integers(5, 20)), lambda: servers.kill_and_start(0)),
        (int(at.integers(35, 45)), lambda: servers.kill_and_start(1)),
        (int(at.integers(55, 65)), nats_server.restart),
        (int(at.integers(75, 90)), lambda: database.restart(signal.SIGQUIT)),
    ]
    sender, rival, receiver = (
        Sender(ada, conversation_id, clients, 0),
        Sender(bea, conversation_id, clients, 1),
        Receiver(bea, servers.urls),
    )
    sent: list[bytes] = []
    winners: dict[int, list[str]] = {}
    epoch = 1
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(receiver.run())
        striking: list[asyncio.Task[object]] = []
        for number in range(MESSAGES):
            for when, fault in faults:
                if when == number:
                    if striking:
                        await striking[-1]  # one at a time: with every server gone there is nobody to ask
                    striking.append(group.create_task(asyncio.to_thread(fault)))
            message = mls_bytes.private_message(conversation_id, epoch, mls_bytes.APPLICATION)
            answer = await sender.submit("messages", {"message_id": secrets.token_hex(16), "message": b64(message)})
            assert answer.status_code == 201, answer.text
            sent.append(message)
            if number % COMMIT_EVERY == 0:
                commits = [mls_bytes.private_message(conversation_id, epoch, mls_bytes.COMMIT) for _ in range(2)]
                bodies = [{"epoch": epoch, "commit": b64(commit), "welcome": None} for commit in commits]
                answers = await asyncio.gather(sender.submit("commits", bodies[0]), rival.submit("commits", bodies[1]))
                assert sorted(answer.status_code for answer in answers) == [201, 409], [answer.text for answer in answers]
                assert {answer.json()["epoch"] for answer in answers} == {epoch + 1}
                winners[epoch] = [b64(commits[n]) for n, answer in enumerate(answers) if answer.status_code == 201 and n == 0]
                epoch += 1
        await asyncio.gather(*striking)
        by_ada = [commit for listed in winners.values() for commit in listed]
        async with asyncio.timeout(120):
            while len(receiver.processed) < 1 + len(sent) + len(by_ada):
                receiver.arrived.clear()
                await receiver.arrived.wait()
        listening.cancel()
        await asyncio.wait([listening], timeout=30)
    got = receiver.processed
    assert [item["seq"] for item in got] == list(range(1, len(got) + 1))  # in order, without a gap, none twice
    assert [item["payload"] for item in got if item["kind"] == "application"] == [b64(message) for message in sent]
    assert [item["payload"] for item in got if item["kind"] == "commit"] == by_ada
    assert max(Counter(hashlib.sha256(item["payload"].encode()).digest() for item in got).values()) == 1
    assert sender.retries  # the faults were met
    assert receiver.connections > 2
