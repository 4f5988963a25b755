"""Server processes over PostgreSQL with many subscribers: messages a second, their cost, fan-out latency and memory, beside a bound.

- *the same rows*: the bound, what a message leaves in the database (its id, its payload, the receiver's counter and item), written with the
  same driver over as many connections, one transaction a message, without any server and without any check.
- *messages*: accepted over HTTP by one and by two server processes; each is checked, recorded, put into a mailbox and committed to disk.
  With the processor time of the server processes and of PostgreSQL.
- *round trips*: to the database and back, counted on the wire (ReadyForQuery, PostgreSQL 15 §55.7) in a run of their own.
- *fan-out*: one message to 200 connected phones of a group, from when it was accepted until each has it.
- *hints*: what an event costs through NATS, published and subscribed to as the server does, and acknowledged by a JetStream stream on disk.

The phones of the measurement stand in this process on the same machine and take their share of its processors.

Run: python bench/subscribers.py [--subscribers 4000000]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import secrets
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import asyncpg
from nats.aio.client import Client
from websockets.asyncio.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.control import mls_bytes, peers
from tests.control.peers import PASSWORD, Nats, Postgresql
from tramontana.control.store.database import Store
from tramontana.keys.secret import Token

SUBSCRIBERS = 100_000
BATCH = 50_000
SENDERS = 32
MESSAGES_EACH = 100
RECEIVERS = 200
FANNED_OUT = 25
PAYLOAD_BYTES = 1200
HINTS = 2000
LATER = 4e9


@dataclass(frozen=True)
class Phone:
    """A device with a session."""

    account_id: str
    device_id: str
    token: str


def identity(number: int) -> str:
    """An id that is spread like a random one."""
    return hashlib.sha256(b"id" + number.to_bytes(8, "big")).hexdigest()[:32]


async def fill(connection: asyncpg.Connection, count: int) -> float:
    """Accounts with a certified device each, by COPY: this benchmark is not about certifying. Returns the seconds it took."""
    began = time.perf_counter()
    for first in range(0, count, BATCH):
        numbers = range(first, min(count, first + BATCH))
        ids = [identity(number) for number in numbers]
        await connection.copy_records_to_table(
            "accounts",
            columns=["account_id", "display_name", "created_at"],
            records=[(one, f"Subscriber {n}", 1.0) for one, n in zip(ids, numbers, strict=True)],
        )
        await connection.copy_records_to_table(
            "devices",
            columns=["device_id", "account_id", "signature_public_key", "enrolled_at", "path_seed", "certified_until"],
            records=[(one, one, hashlib.sha256(one.encode()).digest(), 1.0, n, LATER) for one, n in zip(ids, numbers, strict=True)],
        )
    await connection.execute("VACUUM ANALYZE accounts")
    await connection.execute("VACUUM ANALYZE devices")
    return time.perf_counter() - began


async def log_in(connection: asyncpg.Connection, numbers: range) -> list[Phone]:
    """Sessions of subscribers, put into the store: this benchmark is not about logging in."""
    phones = []
    for number in numbers:
        token = Token.generate()
        one = identity(number)
        await connection.execute(
            "INSERT INTO sessions (token_sha256, role, device_id, created_at, expires_at) VALUES ($1, 'device', $2, 1, $3)",
            token.sha256(), one, LATER,
        )  # fmt: skip
        phones.append(Phone(one, one, token.reveal()))
    return phones


async def group_of(connection: asyncpg.Connection, members: list[Phone]) -> str:
    """A conversation at epoch 1 that these are in."""
    conversation_id = secrets.token_hex(16)
    await connection.execute(
        "INSERT INTO conversations (conversation_id, kind, epoch, creator_device_id, created_at) VALUES ($1, 'group', 1, $2, 1)",
        conversation_id, members[0].device_id,
    )  # fmt: skip
    for member in members:
        await connection.execute(
            "INSERT INTO conversation_members (conversation_id, account_id) VALUES ($1, $2)", conversation_id, member.account_id
        )
        await connection.execute("INSERT INTO conversation_devices VALUES ($1, $2, 1)", conversation_id, member.device_id)
    return conversation_id


def request(phone: Phone, host: str, conversation_id: str) -> bytes:
    """One message as HTTP."""
    message = mls_bytes.private_message(conversation_id, 1, mls_bytes.APPLICATION, size=PAYLOAD_BYTES)
    body = json.dumps({"message_id": secrets.token_hex(16), "message": b64encode(message).decode()}).encode()
    head = (
        f"POST /api/v1/conversations/{conversation_id}/messages HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {phone.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def answer(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer, which must be 201."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    body = await reader.readexactly(length)
    assert head.startswith(b"HTTP/1.1 201"), head + body
    return body


async def send_many(url: str, number: int, phone: Phone, conversation_id: str) -> None:
    """Send one after another over one connection, from an address of its own: the limits count addresses."""
    host = urlsplit(url).netloc
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port, local_addr=(f"127.0.1.{number + 1}", 0))
    requests = [request(phone, host, conversation_id) for _ in range(MESSAGES_EACH)]
    for each in requests:
        writer.write(each)
        await answer(reader)
    writer.close()


async def same_rows(url: str, senders: list[Phone], mates: list[Phone], pairs: list[str]) -> float:
    """Messages a second of which the rows alone are written, over as many connections as there are senders."""
    connections = [await asyncpg.connect(url, password=PASSWORD) for _ in senders]
    payload = bytes(PAYLOAD_BYTES)

    async def write(connection: asyncpg.Connection, sender: str, receiver: str, pair: str) -> None:
        for _ in range(MESSAGES_EACH):
            async with connection.transaction():
                await connection.execute(
                    "INSERT INTO sent_messages (sender_device_id, message_id, conversation_id, digest, accepted_at) "
                    "VALUES ($1, $2, $3, $4, 1)",
                    sender, secrets.token_hex(16), pair, bytes(32),
                )  # fmt: skip
                key = await connection.fetchval(
                    "INSERT INTO messages (conversation_id, kind, sender_device_id, payload, accepted_at) "
                    "VALUES ($1, 'application', $2, $3, 1) RETURNING message_key",
                    pair, sender, payload,
                )  # fmt: skip
                seq = await connection.fetchval(
                    "UPDATE devices SET mailbox_seq = mailbox_seq + 1 WHERE device_id = $1 RETURNING mailbox_seq", receiver
                )
                await connection.execute("INSERT INTO mailbox (device_id, seq, message_key) VALUES ($1, $2, $3)", receiver, seq, key)

    began = time.perf_counter()
    await asyncio.gather(
        *(
            write(connection, sender.device_id, mate.device_id, pair)
            for connection, sender, mate, pair in zip(connections, senders, mates, pairs, strict=True)
        )
    )
    took = time.perf_counter() - began
    for connection in connections:
        await connection.close()
    return len(senders) * MESSAGES_EACH / took


class RoundTrips:
    """Stands between the server and PostgreSQL and counts how often the database says that it is ready for the next query."""

    def __init__(self, port: int) -> None:
        self.count = 0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    def reset(self) -> None:
        self.count = 0

    @asynccontextmanager
    async def standing(self, url: str) -> AsyncIterator[str]:
        """The address of the database through here."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield url.replace(f":{self._port}/", f":{server.sockets[0].getsockname()[1]}/")
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        database, to_database = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, to_database))
                group.create_task(self._count(database, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            to_database.close()
            self._tasks.discard(task)

    async def _count(self, database: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await database.readexactly(5)
            self.count += head[:1] == b"Z"
            writer.write(head + await database.readexactly(int.from_bytes(head[1:], "big") - 4))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(1 << 16):
        writer.write(octets)
    raise asyncio.IncompleteReadError(b"", None)


def processor_s(pid: int) -> float:
    """Processor time of a process so far (proc(5), utime and stime of /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that a process has started itself."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(file.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(file.parent.name))
        except (OSError, IndexError):
            continue  # it has ended meanwhile
    return found


@dataclass(frozen=True)
class Crowd:
    """Those who send, each to a mate of his own, and a group that one of them is in."""

    senders: list[Phone]
    mates: list[Phone]
    pairs: list[str]
    receivers: list[Phone]
    group: str

    async def send(self, urls: list[str]) -> None:
        await asyncio.gather(
            *(send_many(urls[n % len(urls)], n, phone, pair) for n, (phone, pair) in enumerate(zip(self.senders, self.pairs, strict=True)))
        )

    def alone(self) -> Crowd:
        """One of them."""
        return Crowd(self.senders[1:2], self.mates[1:2], self.pairs[1:2], [], self.group)


async def crowd(connection: asyncpg.Connection, first: int) -> Crowd:
    """Subscribers from this number on, logged in."""
    senders = await log_in(connection, range(first, first + SENDERS))
    mates = [Phone(identity(number), identity(number), "") for number in range(first + SENDERS, first + 2 * SENDERS)]
    pairs = [await group_of(connection, [sender, mate]) for sender, mate in zip(senders, mates, strict=True)]
    receivers = await log_in(connection, range(first + 100, first + 100 + RECEIVERS))
    return Crowd(senders, mates, pairs, receivers, await group_of(connection, [senders[0], *receivers]))


@asynccontextmanager
async def serving(count: int, database: str, events: str) -> AsyncIterator[tuple[list[str], list[int]]]:
    """Server processes: their addresses and process ids."""
    environment = {**os.environ, "TRAMONTANA_DATABASE_PASSWORD": PASSWORD}
    with TemporaryDirectory() as data:
        arguments = ["serve", "--data", data, "--port", "0", "--database", database, "--events", events, "--log-level", "error"]
        command = [sys.executable, "-m", "tramontana.cli.main", *arguments]
        processes = [await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=environment) for _ in range(count)]
        try:
            yield (
                [json.loads(await process.stdout.readline())["ready"]["address"] for process in processes if process.stdout],
                [process.pid for process in processes],
            )
        finally:
            for process in processes:
                process.kill()
                await process.wait()


def resident_mib(pid: int) -> float:
    """Resident memory of a process (proc(5), VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


@asynccontextmanager
async def connected(url: str, number: int, phone: Phone) -> AsyncIterator[ClientConnection]:
    where = url.replace("http", "ws") + "/api/v1/socket"
    await asyncio.sleep(number * 0.02)  # phones do not come all at once
    async with connect(where, local_addr=(f"127.0.2.{number // 20 + 1}", 0), open_timeout=60, ping_interval=None) as socket:
        await socket.send(json.dumps({"type": "hello", "token": phone.token, "after": 0}))
        while json.loads(await socket.recv())["type"] != "ready":
            pass
        yield socket


async def fan_out(
    urls: list[str], pids: list[int], everybody: Crowd, on_start: Callable[[], None] = lambda: None
) -> tuple[list[float], float]:
    """(latency of each delivery in ms, memory of the largest process in MiB) with all receivers connected."""
    receivers = everybody.receivers
    latencies: list[float] = []
    missing = 0
    all_have_it = asyncio.Event()

    async def receive(number: int, phone: Phone, ready: asyncio.Barrier) -> None:
        nonlocal missing
        async with connected(urls[number % len(urls)], number, phone) as socket:
            await ready.wait()
            for _ in range(FANNED_OUT):
                while True:
                    text = await socket.recv()
                    now = time.time()
                    frame = json.loads(text)
                    if frame["type"] == "deliver":
                        break
                latencies.append((now - frame["accepted_at"]) * 1000)
                await socket.send(json.dumps({"type": "ack", "seq": frame["seq"]}))
                missing -= 1
                if missing == 0:
                    all_have_it.set()
            await ready.wait()

    ready = asyncio.Barrier(len(receivers) + 1)
    async with asyncio.TaskGroup() as group:
        for number, phone in enumerate(receivers):
            group.create_task(receive(number, phone, ready))
        await ready.wait()
        await asyncio.sleep(2)  # presence of 200 phones has been told
        on_start()
        host = urlsplit(urls[0])
        for _ in range(FANNED_OUT):
            missing = len(receivers)
            all_have_it.clear()
            reader, writer = await asyncio.open_connection("127.0.0.1", host.port)  # a server closes one that was idle for 5 s
            writer.write(request(everybody.senders[0], host.netloc, everybody.group))
            await answer(reader)
            writer.close()
            await all_have_it.wait()
            await asyncio.sleep(0.2)  # what the acknowledgements cost is not part of the next
        memory = max(map(resident_mib, pids))
        await ready.wait()
    return latencies, memory


async def hints(server: Nats) -> tuple[float, float]:
    """(median ms from publishing to hearing, median ms until JetStream has it on disk)."""
    client, other = Client(), Client()
    await client.connect(server.url)
    await other.connect(server.url)
    heard = asyncio.Event()

    async def hear(_: object) -> None:
        heard.set()

    await other.subscribe("hint", cb=hear)
    await other.flush()
    core, stream = [], []
    payload = bytes(100)
    jetstream = client.jetstream()
    await jetstream.add_stream(name="hints", subjects=["kept"])
    for _ in range(HINTS):
        heard.clear()
        began = time.perf_counter()
        await client.publish("hint", payload)
        await heard.wait()
        core.append(time.perf_counter() - began)
        began = time.perf_counter()
        await jetstream.publish("kept", payload)
        stream.append(time.perf_counter() - began)
    await client.close()
    await other.close()
    return statistics.median(core) * 1000, statistics.median(stream) * 1000


async def measure(postgresql: Postgresql, nats: Nats, subscribers: int) -> None:
    name = await postgresql.create()
    await (await Store.open(Path(), postgresql.address(name))).close()
    connection = await asyncpg.connect(postgresql.url(name), password=PASSWORD)
    took = await fill(connection, subscribers)
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    print(f"{subscribers:,} subscribers in PostgreSQL: {size / 2**20:,.0f} MiB, filled by COPY in {took:.0f} s", flush=True)
    everybody = await crowd(connection, 1000)
    bound = await same_rows(postgresql.url(name), everybody.senders, everybody.mates, everybody.pairs)
    print(f"the same rows, {SENDERS} connections: {bound:,.0f} messages/s", flush=True)
    for count in (1, 2):
        everybody = await crowd(connection, 2000 * count)
        async with serving(count, postgresql.url(name), nats.url) as (urls, pids):
            idle = max(map(resident_mib, pids))
            databases = children(postgresql.pid)
            before = sum(map(processor_s, pids)), sum(map(processor_s, databases))
            began = time.perf_counter()
            await everybody.send(urls)
            rate = SENDERS * MESSAGES_EACH / (time.perf_counter() - began)
            # A connection that the server's pool opened meanwhile counts from its first moment.
            after = sum(map(processor_s, pids)), sum(map(processor_s, children(postgresql.pid)))
            server_ms, database_ms = (1000 * (late - early) / (SENDERS * MESSAGES_EACH) for early, late in zip(before, after, strict=True))
            latencies, memory = await fan_out(urls, pids, everybody)
        cuts = statistics.quantiles(latencies, n=100)
        print(
            f"{count} process{'es' if count > 1 else ''}: {rate:,.0f} messages/s accepted ({rate / bound:.2f} of the same rows), "
            f"processor time a message {server_ms:.1f} ms and {database_ms:.1f} ms of PostgreSQL; "
            f"fan-out to {RECEIVERS}: p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms; "
            f"memory of a process {idle:.0f} MiB, with its phones {memory:.0f} MiB",
            flush=True,
        )
    everybody = await crowd(connection, 8000)
    counter = RoundTrips(postgresql.port)
    async with counter.standing(postgresql.url(name)) as through, serving(1, through, nats.url) as (urls, pids):
        for what, few in ((f"{SENDERS} at a time", everybody), ("one at a time", everybody.alone())):
            counter.reset()
            await few.send(urls)
            print(f"round trips to the database a message, {what}: {counter.count / len(few.senders) / MESSAGES_EACH:.1f}", flush=True)
        await fan_out(urls, pids, everybody, counter.reset)
        print(f"round trips a message to {RECEIVERS} phones, and its acknowledgements: {counter.count / FANNED_OUT:.0f}", flush=True)
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=SUBSCRIBERS)
    subscribers = parser.parse_args().subscribers
    if reason := peers.missing("postgres", "initdb", "pg_isready", "nats-server"):
        print(reason)
        return
    # On disk before it counts, as in service.
    with peers.postgresql(fsync="on", shared_buffers="256MB", max_wal_size="4GB") as postgresql, peers.nats(jetstream=True) as nats:
        core, stream = asyncio.run(hints(nats))
        print(f"a hint through NATS: {core:.2f} ms to the other process; kept by JetStream: {stream:.2f} ms ({stream / core:.1f} times)")
        asyncio.run(measure(postgresql, nats, subscribers))
    print(f"load average of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
