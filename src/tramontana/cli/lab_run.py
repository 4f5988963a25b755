"""The laboratory while it runs: its network, its path player, its carriers' paths, and the private socket that the other commands ask.

One line of JSON is one request, one line the answer: ``{"op": "status"}``; cut, rain, outage, restore, use (with ``carrier``); rebind;
down.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tramontana.carriers.downpour import USUAL_EXCEEDANCE
from tramontana.cli.lab_agents import Agents, remove_wireguard
from tramontana.cli.lab_carriers import RENEW_S, PlayedCarrier, Treatment
from tramontana.cli.lab_network import INTERNET_HOST, NAT_ADDRESSES, UPLINKS, LabError, Network
from tramontana.cli.lab_pings import Pings
from tramontana.cli.supervise import Child
from tramontana.emulation.client.driver import PathPlayerClient
from tramontana.emulation.control_protocol import Wire
from tramontana.errors import LocalError, TramontanaError
from tramontana.space.ground import Place
from tramontana.space.sky import Sky

RUNTIME: Final = Path("/run")
ANSWER_TIMEOUT_S: Final = 30.0
CHANGES_SHOWN: Final = 4
"""Of the site's switches from carrier to carrier, in the status."""
LARGEST_ANSWER_BYTES: Final = 1 << 20


@dataclass
class Laboratory:
    """One running laboratory. Times are POSIX seconds."""

    network: Network
    place: Place
    sky: Sky
    seed: int
    say: Callable[[str], None]
    protected: bool
    """With the agents of site and gateways; else the site's traffic goes in the clear."""
    data: Path
    """Where the sky comes from, for the forecasts of the site's agent."""
    carriers: dict[str, PlayedCarrier] = field(init=False)
    used: str = field(init=False)
    """The uplink that carries the site's traffic."""
    _nat: int = 0
    _pings: dict[str, Pings] = field(init=False, default_factory=dict)
    _player: PathPlayerClient = field(init=False)
    _realtime: bool = False
    _stop: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    _agents: Agents | None = None

    def __post_init__(self) -> None:
        self.carriers = {uplink.carrier_id: PlayedCarrier.of(uplink, self.place, self.sky) for uplink in UPLINKS}
        self.used = UPLINKS[0].carrier_id
        self._player = PathPlayerClient(self.directory / "player.sock")

    @property
    def directory(self) -> Path:
        return directory(self.network.name)

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Build, run until stopped, remove everything. Raises `LocalError`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        agents: list[asyncio.subprocess.Process] = []
        player = Child("path player", ["player", "--control", str(self.directory / "player.sock")], self.say)
        try:
            await asyncio.to_thread(self.network.build)
            await player.start()
            self._realtime = bool(player.ready.get("realtime"))
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._player.run()), group.create_task(self._mind(player))]
                await self._connect()
                if self.protected:
                    agents = await self._start_agents()
                    hosts = ("gateway1", "gateway2", "site")
                    tasks += [group.create_task(self._mind_agent(*each)) for each in zip(agents, hosts, strict=True)]
                tasks += [group.create_task(each.run()) for each in self._pings.values()]
                tasks.append(group.create_task(self._renew()))
                server = await asyncio.start_unix_server(self._serve, str(self.directory / "control.sock"), limit=1 << 16)
                async with server:
                    on_ready()
                    await self._stop.wait()
                for task in tasks:
                    task.cancel()
        except* TramontanaError as failures:
            raise failures.exceptions[0] from None
        finally:
            for agent in agents:
                agent.terminate()
            await player.stop()
            await asyncio.to_thread(remove, self.network)

    async def _start_agents(self) -> list[asyncio.subprocess.Process]:
        """The agents of gateways and site, each in its namespace; what they say goes into a file beside their configuration."""
        self._agents = Agents(self.network, self.directory, self.place, self.data)
        await asyncio.to_thread(self._agents.prepare)
        started = []
        for host in ("gateway1", "gateway2", "site"):
            command = ["ip", "netns", "exec", self.network.namespace(host), sys.executable, "-m", "tramontana.cli.main"]
            with (self.directory / f"{host}.log").open("ab") as output:
                started.append(
                    await asyncio.create_subprocess_exec(
                        *command,
                        *self._agents.command(host),
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                    )
                )
        return started

    async def _mind_agent(self, agent: asyncio.subprocess.Process, host: str) -> None:
        status = await agent.wait()
        raise LabError(f"the agent of {host} ended (exit status {status}): {_last_line(self.directory / f'{host}.log')}")

    async def _mind(self, player: Child) -> None:
        """Wires do not outlive their player, and the addresses on them neither."""
        status = await player.forward_until_exit()
        raise LabError(f"the path player ended (exit status {status}), and the carriers with it: run `lab up` again")

    async def _connect(self) -> None:
        for carrier in self.carriers.values():
            await asyncio.to_thread(carrier.prepare, time.time())
            await self._play(carrier)
            await asyncio.to_thread(self.network.connect_far, carrier.uplink)
            if self.protected:
                continue
            await asyncio.to_thread(self.network.connect_near, carrier.uplink)
            self._pings[carrier.uplink.carrier_id] = Pings(
                self.network.namespace("underlay"),
                INTERNET_HOST[0],
                source=carrier.uplink.near_address[0],
                interface=self.network.ends(carrier.uplink)[0].name,
            )
        if not self.protected:
            await asyncio.to_thread(self.network.open_plainly)
            await asyncio.to_thread(self.network.use, self.carriers[self.used].uplink)
        self._pings["lan"] = Pings(self.network.namespace("lan"), INTERNET_HOST[0])

    async def _play(self, carrier: PlayedCarrier) -> None:
        # The site's agent moves the near end into the underlay; until then it is the machine's own, as a real uplink is.
        near, far = self.network.ends(carrier.uplink, near_host="site" if self.protected else "underlay")
        profile = await asyncio.to_thread(carrier.played)
        plugged = carrier.treatment is not Treatment.UNPLUGGED
        await self._player.wire(Wire(carrier.uplink.carrier_id, profile, self.seed + carrier.uplink.number, near, far, plugged))

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            for carrier in self.carriers.values():
                await asyncio.to_thread(carrier.prepare, time.time())
                await self._play(carrier)

    # --- requests ---

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), suppress(ConnectionError, ValueError, asyncio.IncompleteReadError):
            request = json.loads(await reader.readuntil(b"\n"))
            try:
                answer = {"ok": True, **await self._answer(request)}
            except TramontanaError as error:
                answer = {"ok": False, "error": str(error)}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        op = request.get("op")
        if op == "status":
            return await self.status()
        if op == "down":
            self._stop.set()
            return {}
        if op == "rebind":
            self._nat = (self._nat + 1) % len(NAT_ADDRESSES)
            await asyncio.to_thread(self.network.translate_to, NAT_ADDRESSES[self._nat])
            self.say(f"4g: the operator translates to {NAT_ADDRESSES[self._nat]} now and has forgotten every connection")
            return {"address": NAT_ADDRESSES[self._nat]}
        carrier = self.carriers.get(str(request.get("carrier")))
        if carrier is None:
            raise LabError(f"no carrier {request.get('carrier')!r} in this laboratory: use one of {', '.join(self.carriers)}")
        if op == "use" and self.protected:
            raise LabError("the site's agent chooses the carrier: cut one, or start the laboratory with --plain")
        if op == "use":
            await asyncio.to_thread(self.network.use, carrier.uplink)
            self.used = carrier.uplink.carrier_id
            return {}
        if op == "outage":
            start = time.time() + float(request["in_s"])
            carrier.announced = start, start + float(request["for_s"])
            await self._play(carrier)
            if self._agents is not None:
                self._agents.announce({name: each.announced for name, each in self.carriers.items() if each.announced is not None})
            self.say(f"{carrier.uplink.carrier_id}: outage announced, in {request['in_s']:.0f} s for {request['for_s']:.0f} s")
            return {}
        try:
            treatment = {"cut": Treatment.CUT, "unplug": Treatment.UNPLUGGED, "rain": Treatment.RAIN, "restore": Treatment.CLEAR}[str(op)]
        except KeyError:
            raise LabError(f"no request {op!r}") from None
        await self._treat(carrier, treatment, float(request.get("exceedance", USUAL_EXCEEDANCE)))
        return carrier.as_dict(time.time())

    async def _treat(self, carrier: PlayedCarrier, treatment: Treatment, exceedance: float) -> None:
        before = carrier.treatment, carrier.exceedance
        carrier.treatment, carrier.exceedance = treatment, exceedance
        try:
            await self._play(carrier)
        except TramontanaError:
            carrier.treatment, carrier.exceedance = before
            raise
        self.say(f"{carrier.uplink.carrier_id}: {treatment}")

    async def status(self) -> dict[str, Any]:
        """Every carrier as its path says and as it was measured, and what the host in the LAN sees."""
        now = time.time()
        counts = await self._player.stats()
        site = None if self._agents is None else await asyncio.to_thread(self._agents.status, "site")
        carrying = None if site is None else site["carrying"]
        indexes = {uplink.number: uplink.carrier_id for uplink in UPLINKS}
        changes = [each for each in site.get("history", []) if each["from"] or each["to"]][-CHANGES_SHOWN:] if site else []
        if self.protected:
            self.used = indexes.get(carrying["uplink"], "") if carrying else ""
        carriers = [
            {
                **carrier.as_dict(now),
                "measured": self._pings[name].as_dict() if name in self._pings else None,
                "packets": counts.get(name, {}),
                "tunnels": [] if site is None else [each for each in site["tunnels"] if each["uplink"] == carrier.uplink.number],
            }
            for name, carrier in self.carriers.items()
        ]
        return {
            "name": self.network.name,
            "place": self.place.name,
            "realtime": self._realtime,
            "uses": self.used,
            "protected": self.protected,
            "gateway": self._agents.hosts.get(carrying["gateway"]) if self._agents and carrying else None,
            "blocked": site["blocked"] if site else "the site's agent does not answer yet" if self.protected else None,
            "changes": [{**each, "from": indexes.get(each["from"]), "to": indexes.get(each["to"])} for each in changes],
            "carriers": carriers,
            "lan_to_internet": self._pings["lan"].as_dict(),
            "translated_to": NAT_ADDRESSES[self._nat],
        }


def directory(name: str) -> Path:
    """Where a laboratory keeps its sockets and its lock."""
    return RUNTIME / f"tramontana-{name}"


@contextmanager
def sole(network: Network) -> Iterator[None]:
    """Be the only one who runs this laboratory, after whatever a killed one left behind is gone. Raises `LabError`."""
    folder = directory(network.name)
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"the laboratory {network.name} already runs: `tramontana lab down` ends it") from None
        remove(network)
        for left in folder.iterdir():  # sockets, keys and logs of one that was killed
            if left.name != "lock":
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def remove(network: Network) -> None:
    """Everything of a laboratory but its directory."""
    network.remove()
    remove_wireguard(network)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def ask(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Ask a running laboratory. Raises `LabError` if none runs, or with the reason that it gives."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(directory(name) / "control.sock"))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline(LARGEST_ANSWER_BYTES))
    except PermissionError:
        raise LabError("the laboratory belongs to root: ask as root (sudo)") from None
    except (OSError, ValueError):
        raise LabError("no laboratory runs: start one with `tramontana lab up`") from None
    if not answer.pop("ok", False):
        raise LabError(str(answer.get("error")))
    return answer


def until_gone(network: Network, timeout_s: float = 30.0) -> None:
    """Wait for a laboratory that was told to end. Raises `LocalError` if it does not."""
    deadline = time.monotonic() + timeout_s
    while network.leftovers() or (directory(network.name) / "control.sock").exists():
        if time.monotonic() > deadline:
            raise LocalError(f"the laboratory {network.name} does not end: look at the terminal in which `lab up` runs")
        time.sleep(0.05)
