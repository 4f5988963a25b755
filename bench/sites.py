"""Ten thousand sites on one server: what their reports cost, and how long a change takes until every gateway acts by it.

The server is `tramontana serve` with its store on disk, reached by its own HTTP and WebSocket. Simulated are the sites (their keys,
certificates and reports are real, their tunnels are not) and the gateways' data plane; what a gateway has of the server, `ServerLink` with
its device, its log and its socket, is the product's. All of them stand in this process, on the same machine.

- *a new gateway*: from nothing to the whole log, every entry checked, and every place.
- *reports*: every site reports twice a minute, spread over time, by the hands of its gateway; then all of them at once, as after an outage
  of the server. The bound: the same signatures checked and the same rows written to the same kind of file, without a server.
- *change to applied*: a revocation over HTTP, until each gateway's log has it (its peers go within the agent's next half second); a site
  with another network, and one that joins, until each gateway was told. Meanwhile the reports go on. The bound: as many octets, sent over
  plain TCP to as many receivers that write them to disk.
- *console*: the list of all sites, as an administrator's browser asks for it.

Run: python bench/sites.py [--sites 10000] [--gateways 8] [--changes 60] [--seconds 60]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import secrets
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.subscribers import resident_mib
from bench.tunnel_throughput import processor_s
from tests.control.custodians import Custodians, Office, Person, b64, install
from tramontana.cli.router_link import ServerLink
from tramontana.control.custody import Custody
from tramontana.control.store import routers, sessions
from tramontana.control.store.database import Store
from tramontana.device.device import LOG_TABLE, Device
from tramontana.device.driver import OnlineDevice, ask_once
from tramontana.device.enrolment import ENROLMENT_ROW, KEY_ROW, TABLE, Enrolment, login
from tramontana.device.membership import CERTIFICATES, Membership
from tramontana.device.storage.driver import SealedStore
from tramontana.device.store import Change
from tramontana.internet.control_channel import GatewayAt
from tramontana.internet.gateway.driver import GatewayAgent
from tramontana.internet.log_file import EntryFile, LogFile
from tramontana.internet.overlay import site_network, site_network_6
from tramontana.internet.report import Carrying, GatewayReport, SignedReport, SiteReport, Switched, Tunnel, sign_report, verify_report
from tramontana.internet.settings import SitePlace
from tramontana.internet.site.driver import REPORT_PERIOD_S
from tramontana.keys import merkle
from tramontana.keys.certificate import issue_revocation
from tramontana.keys.merkle import Node
from tramontana.keys.secret import Token


@dataclass
class Router:
    """A simulated site, or a simulated gateway's device."""

    person: Person
    serial: str = ""
    number: int = 0

    @property
    def device_id(self) -> str:
        return self.person.device_id


def fill(data: Path, made: Custodians, service_id: str, role: str, names: Sequence[str]) -> list[Router]:
    """Certified routers, as the product's store and log keep them; what custodians and server do for each is left out."""
    office, now = Office(cast(Store, None), cast(Custody, None), service_id), time.time()
    found, rows = [], defaultdict[str, list[Sequence[object]]](list)
    connection = sqlite3.connect(data / "tramontana.db")
    (index,) = connection.execute("SELECT count(*) FROM log_entries").fetchone()
    nodes = {Node(level, place): value for level, place, value in connection.execute("SELECT level, place, hash FROM log_nodes")}
    for name in names:
        person = Person(name, account_id=secrets.token_hex(16), device_id=secrets.token_hex(16))
        grant = made.grant(office, person, roles=(role,))
        certificate = made.signed(office, grant, (made.first, made.second)[: grant.approvals_needed()])
        grown = merkle.grown(index, merkle.leaf_hash(certificate.encoded), nodes.__getitem__)
        nodes.update(grown)
        rows["log_nodes (level, place, hash)"] += [(node.level, node.place, value) for node, value in grown]
        rows["log_entries (log_index, entry, added_at)"].append((index, certificate.encoded, now))
        rows["accounts (account_id, display_name, created_at)"].append((person.account_id, name, now))
        device = person.device_id, person.account_id, person.key.public_bytes, now, index, certificate.serial, grant.not_after
        rows["devices (device_id, account_id, signature_public_key, enrolled_at, path_seed, serial, certified_until)"].append(device)
        rows[
            "certificates (serial, log_index, device_id, account_id, display_name, unit, roles, precedence_ceiling, not_before, not_after)"
        ].append(
            (
                certificate.serial,
                index,
                person.device_id,
                person.account_id,
                name,
                "",
                role,
                "routine",
                certificate.not_before,
                grant.not_after,
            )
        )
        found.append(Router(person, certificate.serial))
        index += 1
    with connection:
        for table, values in rows.items():
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values[0]))})", values)
    connection.close()
    return found


async def prepare(data: Path, made: Custodians, sites: int, gateways: int, joining: int) -> tuple[list[Router], list[Router], str, str]:
    """Fill a server's data directory: (sites, gateways, id of the service, an administrator's token)."""
    store = await Store.open(data)
    try:
        office = await Office.beside(store, made.log_key)
        await made.found(office)
        there = fill(data, made, office.service_id, "site", [f"Site {n}" for n in range(2, sites + joining + 2)])
        organisation_id = made.key.root.organisation_id
        async with store.write() as connection:
            for number, site in enumerate(there[:sites], start=2):
                site.number = number
                networks = site_network(number), site_network_6(organisation_id, number)
                await routers.set_site(connection, site.device_id, number, networks, time.time())
        found = fill(data, made, office.service_id, "gateway", [f"Gateway {n}" for n in range(gateways)])
        token = Token.generate()
        async with store.write() as connection:
            for number, gateway in enumerate(found):
                gateway.number = number
                await routers.set_gateway(connection, gateway.device_id, number, f"203.0.113.{number + 1}", None, time.time())
            await sessions.begin_administrator(connection, token.sha256(), time.time())
        return there, found, office.service_id, token.reveal()
    finally:
        await store.close()


async def session_of(data: Path, device_ids: Sequence[str]) -> list[str]:
    """Tokens put into the store: this benchmark is not about logging in, which is limited by address."""
    store, tokens = await Store.open(data), [Token.generate() for _ in device_ids]
    try:
        async with store.write() as connection:
            for token, device_id in zip(tokens, device_ids, strict=True):
                await sessions.begin_device(connection, token.sha256(), device_id, time.time())
    finally:
        await store.close()
    return [token.reveal() for token in tokens]


@contextmanager
def serving(data: Path) -> Iterator[tuple[str, int]]:
    """`tramontana serve`: its address and process id."""
    words = ["serve", "--data", str(data), "--port", "0", "--log-level", "error"]
    process = subprocess.Popen([sys.executable, "-m", "tramontana.cli.main", *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["ready"]["address"], process.pid
    finally:
        process.terminate()
        process.communicate()


# ---- gateways without a data plane


class WatchedLog(LogFile):
    """Says when a device is out by it."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        super().__init__(path, fingerprint)
        self.out_at: dict[str, float] = {}
        self.waited: set[str] = set()

    def extend(self, start: int, entries: Sequence[bytes]) -> bool:
        changed = super().extend(start, entries)
        for device_id in [each for each in self.waited if (last := self.last(each)) and last.is_revoked]:
            self.waited.discard(device_id)
            self.out_at[device_id] = time.perf_counter()
        return changed


@dataclass
class SimulatedGateway:
    """What `ServerLink` needs of an agent."""

    router: Router
    trust: WatchedLog
    organisation_id: str
    reports: dict[str, SignedReport] = field(default_factory=dict)
    places: dict[str, SitePlace] = field(default_factory=dict)
    placed_at: dict[tuple[str, str], float] = field(default_factory=dict)
    """When it was first told that a site has a network."""

    def report(self) -> SignedReport:
        made = GatewayReport(at=time.time(), log_size=self.trust.size, sites=len(self.places), fault=None)
        return sign_report(made, self.router.device_id, self.organisation_id, self.router.person.key)

    def set_places(self, sites: Sequence[SitePlace], gateways: tuple[GatewayAt, ...]) -> None:
        now = time.perf_counter()
        for place in sites:
            if self.places.get(place.id) != place:
                self.placed_at[place.id, str(place.networks[0])] = now
        self.places |= {place.id: place for place in sites}


def store_of(directory: Path, router: Router, origin: str, service_id: str, made: Custodians, log_key: bytes) -> SealedStore:
    """As enrolling leaves it."""
    store = SealedStore.of_machine(directory)
    root, person = made.key.root, router.person
    enrolment = Enrolment(origin, service_id, person.account_id, person.device_id, person.name, root.fingerprint_text)
    begun = Membership.begin(root.fingerprint, root.encoded, log_key)
    rows = [Change(TABLE, KEY_ROW, person.key.reveal()), Change(TABLE, ENROLMENT_ROW, json.dumps(asdict(enrolment)).encode())]
    store.write([*rows, *begun.changes()])
    return store


async def read_whole_log(store: SealedStore, path: Path) -> float:
    """Seconds that a gateway needs which has nothing yet."""
    file = EntryFile(path)
    online = OnlineDevice(Device(store, lambda start, entries: file.append(file.missing(start, entries))))
    began = time.perf_counter()
    try:
        await online.follow()
    finally:
        await online.close()
    return time.perf_counter() - began


# ---- reports


def report_of(site: Router, gateways: Sequence[Router], organisation_id: str) -> SignedReport:
    """Of a site with three uplinks and two gateways, with a full history."""
    now, carriers = time.time(), ("starlink", "oneweb", "4g")
    tunnels = tuple(
        Tunnel(
            gateway=gateway.device_id,
            uplink=uplink,
            carrier=carrier,
            up=True,
            health="alive",
            delay_ms=31.5,
            loss=0.01,
            key_age_s=12.0,
            handshake_age_s=50.0,
        )
        for gateway in gateways[:2]
        for uplink, carrier in enumerate(carriers, start=1)
    )
    switches = tuple(
        Switched(at=now - 100 * n, before=carriers[n % 3], after=carriers[(n + 1) % 3], reason="first choice that lives and is allowed")
        for n in range(12, 0, -1)
    )
    carrying = Carrying(gateway=gateways[0].device_id, uplink=1, carrier="starlink")
    made = SiteReport(at=now, log_size=6, carrying=carrying, blocked=None, tunnels=tunnels, switches=switches)
    return sign_report(made, site.device_id, organisation_id, site.person.key)


def agent_of(agents: Sequence[SimulatedGateway], site: Router) -> SimulatedGateway:
    return agents[site.number % len(agents)]


async def keep_reporting(agents: Sequence[SimulatedGateway], sites: Sequence[Router], reported: list[int]) -> None:
    """Every site every `REPORT_PERIOD_S`, spread evenly, until cancelled."""
    gateways = [agent.router for agent in agents]
    began, said = time.perf_counter(), 0
    while True:
        due = int((time.perf_counter() - began) / REPORT_PERIOD_S * len(sites))
        for number in range(said, due):
            site = sites[number % len(sites)]
            agent = agent_of(agents, site)
            agent.reports[site.device_id] = report_of(site, gateways, agent.organisation_id)
            reported[0] += 1
        said = due
        await asyncio.sleep(0.05)


def bound_of_reports(reports: Sequence[SignedReport], keys: dict[str, bytes], organisation_id: str, folder: Path) -> float:
    """Processor seconds a report."""
    connection = sqlite3.connect(folder / "bound.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("CREATE TABLE reports (device_id TEXT PRIMARY KEY, at REAL, received_at REAL, gateway_id TEXT, report TEXT)")
    began = time.process_time()
    for _ in range(2):  # the second time every row is there already
        for first in range(0, len(reports), 50):
            connection.execute("BEGIN IMMEDIATE")
            for each in reports[first : first + 50]:
                found = verify_report(each, SiteReport, organisation_id, keys[each.device_id])
                row = (each.device_id, found.at, found.at, each.device_id, each.report.decode())
                connection.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?, ?, ?)", row)
            connection.execute("COMMIT")
    connection.close()
    return (time.process_time() - began) / (2 * len(reports))


def lateness_s(data: Path, devices: set[str]) -> list[float]:
    """From when each site made its last report until the server had it."""
    connection = sqlite3.connect(f"file:{data / 'tramontana.db'}?mode=ro", uri=True)
    rows = connection.execute("SELECT device_id, received_at - at FROM router_reports").fetchall()
    connection.close()
    return [late for device_id, late in rows if device_id in devices]


# ---- changes


async def until(condition: Callable[[], bool], what: str, within_s: float = 300) -> None:
    ends = time.perf_counter() + within_s
    while not condition():
        if time.perf_counter() > ends:
            raise SystemExit(f"{what}: not within {within_s:.0f} s")
        await asyncio.sleep(0.005)


async def revoke(http: httpx.AsyncClient, token: str, made: Custodians, agents: Sequence[SimulatedGateway], site: Router) -> list[float]:
    """Seconds until each gateway's log has it."""
    encoded = issue_revocation(made.key, site.serial, site.device_id, "lost", now=time.time()).encoded
    for agent in agents:
        agent.trust.waited.add(site.device_id)
    began = time.perf_counter()
    answer = await http.post("/custody/revocations", json={"revocation": b64(encoded)}, headers=bearer(token))
    assert answer.status_code == 201, answer.text
    await until(lambda: all(site.device_id in agent.trust.out_at for agent in agents), "a revocation at every gateway")
    return [agent.trust.out_at[site.device_id] - began for agent in agents]


async def place(http: httpx.AsyncClient, token: str, agents: Sequence[SimulatedGateway], site: Router, network: str | None) -> list[float]:
    """Seconds until each gateway was told of a site's place."""
    began = time.perf_counter()
    answer = await http.put("/me/site", json={"networks": [] if network is None else [network]}, headers=bearer(token))
    assert answer.status_code == 200, answer.text
    key = site.device_id, answer.json()["networks"][0]
    await until(lambda: all(key in agent.placed_at for agent in agents), "a place at every gateway")
    return [agent.placed_at[key] - began for agent in agents]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def bound_of_changes(receivers: int, octets: int, rounds: int, folder: Path) -> list[float]:
    """Seconds until each of so many receivers has so many octets on its disk."""
    writers: list[asyncio.StreamWriter] = []
    ready = asyncio.Event()

    async def welcome(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if len(writers) == receivers:
            ready.set()

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    took: list[float] = []
    began = 0.0

    async def receive(number: int) -> None:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with (folder / f"bound-{number}").open("wb") as file:
            for _ in range(rounds):
                file.write(await reader.readexactly(octets))
                file.flush()
                os.fsync(file.fileno())
                took.append(time.perf_counter() - began)
        writer.close()

    async with asyncio.TaskGroup() as group:
        for number in range(receivers):
            group.create_task(receive(number))
        await ready.wait()
        for done in range(1, rounds + 1):
            began = time.perf_counter()
            for writer in writers:
                writer.write(bytes(octets))
            await until(lambda done=done: len(took) == done * receivers, "the bound")  # type: ignore[misc]
    server.close()
    return took


def spread(seconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"p50 {cuts[49] * 1e3:.0f} ms, p99 {cuts[98] * 1e3:.0f} ms, worst {max(seconds) * 1e3:.0f} ms"


# ---- all of it


@asynccontextmanager
async def linked(agents: Sequence[SimulatedGateway], stores: Sequence[SealedStore]) -> AsyncIterator[None]:
    links = [ServerLink(cast(GatewayAgent, agent), store) for agent, store in zip(agents, stores, strict=True)]
    tasks = [asyncio.create_task(link.run()) for link in links]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def reporting(work: Awaitable[None], agents: Sequence[SimulatedGateway], sites: Sequence[Router]) -> int:
    """Do it while all sites report; how many reports that were."""
    count = [0]
    task = asyncio.create_task(keep_reporting(agents, sites, count))
    try:
        await work
    finally:
        task.cancel()
    return count[0]


@dataclass
class Trial:
    """One run, with the server up."""

    folder: Path
    made: Custodians
    url: str
    pid: int
    service_id: str
    administrator: str
    http: httpx.AsyncClient
    routers: list[Router]
    sites: list[Router]
    agents: list[SimulatedGateway] = field(default_factory=list)

    @property
    def organisation_id(self) -> str:
        return self.made.key.root.organisation_id

    def spent_s(self) -> float:
        return processor_s([self.pid])

    async def new_gateway(self) -> list[SealedStore]:
        """The first one reads the whole log; the others get a copy of what it then has. Their stores."""
        log_key = b64decode((await self.http.get("/organisation")).json()["log_key"])
        directories = [self.folder / f"gateway-{each.number}" for each in self.routers]
        stores = [store_of(*each, self.url, self.service_id, self.made, log_key) for each in zip(directories, self.routers, strict=True)]
        before, log_path = self.spent_s(), directories[0] / "log"
        took = await read_whole_log(stores[0], log_path)
        print(
            f"a new gateway reads and checks the whole log ({log_path.stat().st_size / 2**20:.0f} MiB) in {took:.1f} s; "
            f"the server spends {self.spent_s() - before:.1f} s on it",
            flush=True,
        )
        for directory, store in zip(directories[1:], stores[1:], strict=True):
            for table in (LOG_TABLE, CERTIFICATES):
                store.write([Change(table, row, value) for row, value in stores[0].read(table).items()])
            shutil.copy(log_path, directory / "log")
        fingerprint = self.made.key.root.fingerprint_text
        for router, directory in zip(self.routers, directories, strict=True):
            self.agents.append(SimulatedGateway(router, WatchedLog(directory / "log", fingerprint), self.organisation_id))
        return stores

    async def reports(self, data: Path, seconds: float) -> float:
        """The server's processor seconds for one."""
        idle, before, began = resident_mib(self.pid), self.spent_s(), time.perf_counter()
        count = await reporting(asyncio.sleep(seconds), self.agents, self.sites)
        took = time.perf_counter() - began
        each_s = (self.spent_s() - before) / count
        await self._handed_on()
        late = lateness_s(data, {each.device_id for each in self.sites})
        some = [report_of(each, self.routers, self.organisation_id) for each in self.sites[:2000]]
        keys = {each.device_id: each.person.key.public_bytes for each in self.sites}
        bound = bound_of_reports(some, keys, self.organisation_id, self.folder)
        print(
            f"reports of {len(some[0].report)} octets, {count / took:.0f} a second: {each_s * 1e6:.0f} µs of the server's processor each, "
            f"{each_s / bound:.1f} times the bound's {bound * 1e6:.0f} µs; {each_s * count / took:.0%} of one core, "
            f"{each_s / REPORT_PERIOD_S * 1e6:.0f} µs a second for a site; at the server {spread(late)} after they were made; "
            f"memory {idle:.0f} MiB before, {resident_mib(self.pid):.0f} MiB after",
            flush=True,
        )
        for site in self.sites:
            agent_of(self.agents, site).reports[site.device_id] = report_of(site, self.routers, self.organisation_id)
        before, began = self.spent_s(), time.perf_counter()
        await self._handed_on()
        took, spent = time.perf_counter() - began, self.spent_s() - before
        rate = len(self.sites) / took
        print(
            f"all at once, as after an outage: in {took:.1f} s, {rate:.0f} a second, {spent / len(self.sites) * 1e6:.0f} µs each",
            flush=True,
        )
        return each_s

    async def _handed_on(self) -> None:
        await until(lambda: not any(agent.reports for agent in self.agents), "all reports handed on")

    async def console(self) -> None:
        asked, octets = [], 0
        for _ in range(5):
            began = time.perf_counter()
            answer = await self.http.get("/admin/routers", headers=bearer(self.administrator))
            asked.append(time.perf_counter() - began)
            octets = len(answer.content)
            assert len(answer.json()["sites"]) == len(self.sites)
        print(
            f"console: all sites ({octets / 2**20:.1f} MiB) in {statistics.median(asked):.2f} s, the first time {asked[0]:.2f} s",
            flush=True,
        )

    async def changes(self, data: Path, newcomers: list[Router], report_s: float) -> None:
        count = len(newcomers)
        chosen = random.Random(1).sample(self.sites, 2 * count)
        moving, leaving = chosen[:count], chosen[count:]
        given = await session_of(data, [each.device_id for each in moving + newcomers])
        tokens = {each.device_id: token for each, token in zip(moving + newcomers, given, strict=True)}
        first = self.made.first
        fingerprint = self.made.key.root.fingerprint_text
        enrolment = Enrolment(self.url, self.service_id, first.account_id, first.device_id, first.name, fingerprint)
        custodian = await ask_once(self.url, login(enrolment, first.key))
        took: dict[str, list[float]] = defaultdict(list)

        async def work() -> None:
            for n, (site, mover, newcomer) in enumerate(zip(leaving, moving, newcomers, strict=True)):
                took["a revocation"] += await revoke(self.http, custodian, self.made, self.agents, site)
                network = f"172.16.{n}.0/24"
                took["a site's other network"] += await place(self.http, tokens[mover.device_id], self.agents, mover, network)
                took["a site that joins"] += await place(self.http, tokens[newcomer.device_id], self.agents, newcomer, None)

        before = self.spent_s()
        staying = [each for each in self.sites if each not in leaving]
        reports = await reporting(work(), self.agents, staying)
        spent = self.spent_s() - before - reports * report_s
        plain = await bound_of_changes(len(self.agents), 4000, count, self.folder)
        for what, seconds in took.items():
            ratio = statistics.median(seconds) / statistics.median(plain)
            print(f"{what}, until all {len(self.agents)} gateways have it: {spread(seconds)}; {ratio:.0f} times the bound", flush=True)
        print(f"the bound, 4000 octets to as many disks: {spread(plain)}")
        print(
            f"a change: {spent / (3 * count) * 1e3:.0f} ms of the server's processor; its memory {resident_mib(self.pid):.0f} MiB",
            flush=True,
        )


async def measure(folder: Path, made: Custodians, sites: int, gateways: int, changes: int, seconds: float) -> None:
    data, began = folder / "server", time.perf_counter()
    there, routers_made, service_id, administrator = await prepare(data, made, sites, gateways, changes)
    print(f"{sites} sites and {gateways} gateways certified, in the log and placed, in {time.perf_counter() - began:.0f} s", flush=True)
    with serving(data) as (url, pid):
        async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=60) as http:
            trial = Trial(folder, made, url, pid, service_id, administrator, http, routers_made, there[:sites])
            stores = await trial.new_gateway()
            began = time.perf_counter()
            async with linked(trial.agents, stores):
                await until(lambda: all(len(agent.places) == sites for agent in trial.agents), "all places at every gateway")
                print(f"all {gateways} gateways have all places {time.perf_counter() - began:.1f} s after they connect", flush=True)
                each_s = await trial.reports(data, seconds)
                await trial.console()
                await trial.changes(data, there[sites:], each_s)
            for store in stores:
                store.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sites", type=int, default=10_000)
    options.add_argument("--gateways", type=int, default=8)
    options.add_argument("--changes", type=int, default=60)
    options.add_argument("--seconds", type=float, default=60.0)
    asked = options.parse_args()
    with TemporaryDirectory() as folder:
        made = install(Path(folder) / "server")
        asyncio.run(measure(Path(folder), made, asked.sites, asked.gateways, asked.changes, asked.seconds))
    print(f"load average of this machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main()
