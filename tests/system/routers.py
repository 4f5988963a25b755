"""A site, a gateway, a host on the internet and one in the site's local network, each in a namespace of its own, joined by veth pairs.

The agents are the product's commands in processes of their own. Everything is named after this process and taken away at the end.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.internet.routers import Ministry
from tramontana.internet.linux.namespace import Namespace, run
from tramontana.internet.linux.wireguard import SOCKETS, UserspaceWireGuard
from tramontana.internet.tunnel_keys import Identity
from tramontana.private_file import make_private

NEEDED = ("ip", "nft", "wireguard-go")
MARK = b"tramontana in the clear "
"""In every datagram of the tests' traffic: what may not be seen on an uplink."""
PATIENCE_S = 90.0
ETH_P_ALL = 3
SITE_NUMBER = 2
GUARD_S, FRESH_S = 1.2, 12.0
RENEWAL = f"[renewal]\ninterval_s = 1.0\nfresh_s = {FRESH_S}\nproof_s = 15.0\nguard_s = {GUARD_S}\nresend_s = 1.0\n"


def missing_for_routers() -> str | None:
    """Why the tests of sites and gateways cannot run here, in a sentence."""
    if os.geteuid() != 0:
        return "tests of sites and gateways need root: they make network namespaces"
    missing = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        return f"tests of sites and gateways need {', '.join(missing)} (scripts/requirements tests)"
    if not Path("/dev/net/tun").exists():
        return "tests of sites and gateways need /dev/net/tun"
    return None


def wait_for(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    until = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"within {patience_s} s not: {what}")
        time.sleep(0.4)


_DIES = """
import os
from tramontana.cli.main import main
from tramontana.internet.key_renewal import KeyState, SetKey
from tramontana.internet.driver import TunnelEnd
perform = TunnelEnd.perform
def deadly(self, actions):
    actions = list(actions)
    if self.key.keys.state is KeyState.SET and any(isinstance(action, SetKey) for action in actions) and self.key.keys.agreed is not None:
        os._exit(9)
    perform(self, actions)
TunnelEnd.perform = deadly
main()
"""


@dataclass
class Agent:
    """One of the product's agents, in a namespace."""

    word: str
    namespace: Namespace
    config: Path
    state: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *, dies_at_new_key: bool = False) -> None:
        """dies_at_new_key: the process is gone at the moment in which it would give WireGuard a renewed key."""
        command = [sys.executable, "-m", "tramontana.cli.main", self.word, "run", "--config", str(self.config)]
        if dies_at_new_key:
            command = [sys.executable, "-c", _DIES, self.word, "run", "--config", str(self.config)]
        self.start_command(command)

    def start_command(self, command: list[str]) -> None:
        """Another one that ends in running it."""
        output = self.config.with_suffix(".log").open("ab")
        self.process = subprocess.Popen(self.namespace.command(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        output.close()

    def stop(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait(timeout=PATIENCE_S)
        self.process = None

    def output(self) -> str:
        path = self.config.with_suffix(".log")
        return path.read_text() if path.exists() else ""

    def status(self) -> dict[str, Any] | None:
        """What its status socket says; None where nobody answers."""
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            connection.connect(str(self.state / "status.sock"))
            with connection.makefile("rb") as stream:
                status: dict[str, Any] = json.loads(stream.readline())
                return status
        return None


class Capture:
    """What an observer of the uplinks sees of the site: how much of it is what it may be, and everything else."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets
        self._runs = True
        self.allowed = 0
        self.others: list[str] = []
        """Frames of the site that are none of WireGuard, control channel, ARP and neighbour discovery."""
        self.marks = 0
        """Frames, of either end, in which the tests' traffic can be read."""

    def stop(self) -> None:
        time.sleep(0.2)
        self._runs = False

    def run(self) -> None:
        while self._runs:
            for each in select.select(self._sockets, [], [], 0.1)[0]:
                frame, address = each.recvfrom(1 << 16)
                self.marks += MARK in frame
                if address[2] == socket.PACKET_OUTGOING:
                    continue
                if _may_leave(frame):
                    self.allowed += 1
                else:
                    self.others.append(frame[:60].hex())
        for each in self._sockets:
            each.close()


def _may_leave(frame: bytes) -> bool:
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0806:  # ARP
        return True
    if kind == 0x86DD:  # ICMPv6: router and neighbour solicitation, neighbour advertisement (RFC 4861 §4)
        return frame[20] == 58 and frame[54] in (133, 135, 136)
    if kind != 0x0800 or frame[30:34] != bytes((203, 0, 113, 1)):
        return False
    transport = frame[14 + (frame[14] & 15) * 4 :]
    port = int.from_bytes(transport[2:4], "big")
    if frame[23] == 17:  # UDP: a message of WireGuard has its type in the first octet and zeros in the next three
        return (port == 443 or 51821 <= port <= 51835) and transport[8] in (1, 2, 3, 4) and transport[9:12] == bytes(3)
    return frame[23] == 6 and port in (443, 51819)


class Traffic:
    """Datagrams there and back, and how many came back."""

    def __init__(self, asker: socket.socket, echo: socket.socket) -> None:
        self._asker, self._echo = asker, echo
        self._asks, self._hears = True, True
        self.sent = 0
        self.answered: set[int] = set()
        asker.settimeout(0.2)
        echo.settimeout(0.2)

    @property
    def lost(self) -> int:
        return self.sent - len(self.answered)

    def stop(self) -> None:
        """Ask no more, wait for what is on its way, then end."""
        self._asks = False
        until = time.monotonic() + 2
        while self.lost and time.monotonic() < until:
            time.sleep(0.05)
        self._hears = False

    def ask(self) -> None:
        to = self._echo.getsockname()
        while self._asks:
            with suppress(OSError):
                self._asker.sendto(MARK + self.sent.to_bytes(8, "big"), to)
            self.sent += 1
            time.sleep(0.01)

    def echo_all(self) -> None:
        while self._hears:
            with suppress(OSError):
                self._echo.sendto(*self._echo.recvfrom(100))

    def listen(self) -> None:
        while self._hears:
            with suppress(OSError):
                self.answered.add(int.from_bytes(self._asker.recv(100)[len(MARK) :], "big"))


@dataclass
class Routers:
    """What a test sees."""

    ministry: Ministry
    ship: Identity
    rome: Identity
    folder: Path
    name: str
    uplinks: int
    agents: dict[str, Agent] = field(default_factory=dict)

    def namespace(self, part: str) -> Namespace:
        return Namespace(f"{self.name}-{part}")

    @property
    def site(self) -> Agent:
        return self.agents["site"]

    @property
    def gateway(self) -> Agent:
        return self.agents["gateway"]

    def interface(self, uplink: int) -> str:
        return f"{self.name}s"[:6] + f"g0u{uplink}"

    def add_to_log(self, word: str, *entries: bytes) -> None:
        """Each agent has its own copy of the log."""
        with (self.folder / f"{word}.entries").open("ab") as file:
            file.write(b"".join(len(entry).to_bytes(4, "big") + entry for entry in entries))

    def tunnels(self, agent: Agent) -> list[dict[str, Any]]:
        status = agent.status()
        if status is None:
            return []
        if agent.word == "site":
            return list(status["tunnels"])
        return [tunnel for each in status["sites"] for tunnel in each["tunnels"]]

    def are_up(self) -> bool:
        tunnels = [*self.tunnels(self.site), *self.tunnels(self.gateway)]
        carries = (self.site.status() or {}).get("carrying") is not None and self.reaches()
        return len(tunnels) == 2 * self.uplinks and all(tunnel["up"] for tunnel in tunnels) and carries

    def wait_until_up(self) -> None:
        self.wait_for(self.are_up, "every tunnel is up at both ends, and one carries")

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """As `wait_for`; what the agents say is printed where it fails."""
        try:
            wait_for(condition, what)
        except BaseException:
            print(self.site.output(), self.gateway.output(), self.site.status(), self.gateway.status(), sep="\n")
            raise

    def reaches(self) -> bool:
        """Whether the host behind the site gets an answer from the internet."""
        with self.namespace("net").entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
            echo.bind(("198.51.100.9", 0))
            echo.settimeout(2)
            with self.namespace("host").entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
                asker.settimeout(2)
                with suppress(OSError):
                    asker.sendto(b"anybody?", echo.getsockname())
                    _, sender = echo.recvfrom(100)
                    echo.sendto(b"yes", sender)
                    return asker.recv(100) == b"yes"
        return False

    def block(self, *drops: str) -> None:
        """What the carriers of all uplinks let through no more, in the words of nft; nothing: all passes again."""
        chains = "".join(
            f'chain in{uplink} {{ type filter hook ingress device "in{uplink}" priority 0; policy accept;\n'
            + "".join(f"{drop} drop\n" for drop in drops)
            + "}\n"
            for uplink in range(1, self.uplinks + 1)
        )
        table = "table netdev carriers"
        run(["nft", "-f", "-"], stdin=f"{table}\ndelete {table}\n{table} {{\n{chains}}}\n", namespace=self.namespace("gate"))

    @contextmanager
    def capture(self) -> Iterator[Capture]:
        """Everything that comes over the uplinks, as their carriers see it."""
        with self.namespace("gate").entered():
            sockets = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) for _ in range(self.uplinks)]
        capture = Capture(sockets)
        for uplink, each in enumerate(sockets, start=1):
            each.bind((f"in{uplink}", ETH_P_ALL))
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        thread = threading.Thread(target=capture.run)
        thread.start()
        try:
            yield capture
        finally:
            capture.stop()
            thread.join()

    @contextmanager
    def traffic(self) -> Iterator[Traffic]:
        """A hundred datagrams a second from the host behind the site to the internet, and an answer to each, until the block ends."""
        with self.namespace("net").entered():
            echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with self.namespace("host").entered():
            asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        echo.bind(("198.51.100.9", 0))
        traffic = Traffic(asker, echo)
        threads = [threading.Thread(target=each) for each in (traffic.ask, traffic.echo_all, traffic.listen)]
        for thread in threads:
            thread.start()
        try:
            yield traffic
        finally:
            traffic.stop()
            for thread in threads:
                thread.join()
            asker.close()
            echo.close()

    def tunnel(self, agent: Agent, uplink: int) -> dict[str, Any]:
        """Its status; empty where there is none."""
        return next((tunnel for tunnel in self.tunnels(agent) if tunnel["uplink"] == uplink), {})

    def renew(self, cycles: int) -> None:
        """So many more proven keys in each tunnel, at both ends."""
        aims = {uplink: (self.tunnel(self.gateway, uplink)["agreed_number"] or 0) + cycles for uplink in range(1, self.uplinks + 1)}

        made_at = dict.fromkeys(aims, 0.0)

        def is_there() -> bool:
            reached = 0
            for uplink, aim in aims.items():
                ends = [self.tunnel(agent, uplink) for agent in (self.site, self.gateway)]
                reached += all(end and (end["agreed_number"] or 0) >= aim for end in ends)
                awaits_proof = all(end and end["state"] == "set" and end["key_age_s"] > GUARD_S + 0.5 for end in ends)
                is_stale = all(end and end["state"] == "agreed" and (end["last_handshake_age_s"] or 0) > FRESH_S - 5 for end in ends)
                if (awaits_proof or is_stale) and time.monotonic() > made_at[uplink] + 2:
                    made_at[uplink] = time.monotonic()
                    self.handshake_now(uplink)
            return reached == len(aims)

        self.wait_for(is_there, f"{cycles} more keys in each tunnel")

    def handshake_now(self, uplink: int) -> None:
        """WireGuard makes a handshake every 120 s. To make the next one now, its interface gets another private key, and its own again."""
        name, tool = self.interface(uplink), UserspaceWireGuard()
        own = (self.folder / "site" / f"{name}.key").read_bytes()
        other = bytes([own[0] ^ 8]) + own[1:]
        tool.configure(name, Namespace(), private_key=other, listen_port=0, mark=uplink)
        tool.configure(name, Namespace(), private_key=own, listen_port=0, mark=uplink)


@contextmanager
def routers(folder: Path, *, uplinks: int = 2) -> Iterator[Routers]:
    """A site with uplinks to one gateway; the agents are not running yet."""
    with laid_out(folder, uplinks=uplinks) as made:
        for word, identity, text in (("site", made.ship, _site_settings(made)), ("gateway", made.rome, _gateway_settings(made))):
            own = folder / word
            own.mkdir(mode=0o700)
            made.add_to_log(word, *made.ministry.entries)
            make_private(own / "device.key", identity.key.reveal())
            (own / "certificate").write_bytes(identity.certificate.encoded)
            config = folder / f"{word}.toml"
            config.write_text(text)
            made.agents[word] = Agent(word, made.namespace("site" if word == "site" else "gate"), config, own)
        yield made


@contextmanager
def laid_out(folder: Path, *, uplinks: int) -> Iterator[Routers]:
    """Namespaces and wires alone; whatever agents are given to it end with it."""
    name = f"t{os.getpid() % 10000}"
    ministry = Ministry(now=int(time.time()) - 60)
    made = Routers(ministry, ministry.certify("Ship", "site"), ministry.certify("Rome", "gateway"), folder, name, uplinks)
    spaces = {part: made.namespace(part) for part in ("site", "gate", "net", "host", "under")}
    try:
        for part, space in spaces.items():
            if part != "under":  # the agent's own work
                space.ensure()
                run(["ip", "-n", str(space.name), "link", "set", "lo", "up"])
        _wires(made)
        yield made
    finally:
        for agent in made.agents.values():
            if agent.process is not None:
                agent.stop(signal.SIGKILL)
        tool = UserspaceWireGuard()
        for path in SOCKETS.glob(f"{name}*.sock"):
            tool.remove(path.name.removesuffix(".sock"), Namespace())
        for space in spaces.values():
            with suppress(Exception):
                space.remove()


def _wires(made: Routers) -> None:
    """Uplinks from the site to the gateway, the gateway to the internet host, the site to its local host."""

    def wire(first: str, first_name: str, first_address: str, second: str, second_name: str, second_address: str) -> None:
        one, two = str(made.namespace(first).name), str(made.namespace(second).name)
        run(["ip", "-n", one, "link", "add", first_name, "type", "veth", "peer", "name", second_name, "netns", two])
        for space, link, address in ((one, first_name, first_address), (two, second_name, second_address)):
            if address:
                run(["ip", "-n", space, "address", "add", address, "dev", link])
                run(["ip", "-n", space, "link", "set", link, "up"])

    for uplink in range(1, made.uplinks + 1):
        wire("site", f"up{uplink}", "", "gate", f"in{uplink}", f"192.0.2.{uplink * 16 + 1}/28")
    wire("gate", "out", "198.51.100.1/24", "net", "eth", "198.51.100.9/24")
    wire("site", "lan", "10.64.2.1/24", "host", "eth", "10.64.2.2/24")
    run(["ip", "-n", str(made.namespace("host").name), "route", "add", "default", "via", "10.64.2.1"])
    run(["ip", "-n", str(made.namespace("gate").name), "address", "add", "203.0.113.1/32", "dev", "lo"])


def _common(made: Routers, word: str, tag: str) -> str:
    own = made.folder / word
    return f"""tag = "{tag}"
state = "{own}"
device_key = "{own}/device.key"
certificate = "{own}/certificate"
log = "{made.folder}/{word}.entries"
organisation = "{made.ministry.organisation.key.root.fingerprint_text}"
"""


def _site_settings(made: Routers) -> str:
    text = _common(made, "site", f"{made.name}s"[:6])
    text += f'number = {SITE_NUMBER}\nnetworks = ["10.64.2.0/24"]\nunderlay = "{made.namespace("under").name}"\nlocal = ["lan"]\n'
    for uplink in range(1, made.uplinks + 1):
        text += f"""
[[uplink]]
index = {uplink}
interface = "up{uplink}"
address = "192.0.2.{uplink * 16 + 2}/28"
via = "192.0.2.{uplink * 16 + 1}"
carrier = "{("starlink", "fibre")[uplink - 1]}"
"""
    return f'{text}\n[[gateway]]\nid = "{made.rome.device_id}"\nnumber = 0\naddress = "203.0.113.1"\n\n{RENEWAL}'


def _gateway_settings(made: Routers) -> str:
    text = _common(made, "gateway", f"{made.name}g"[:6])
    served = ", ".join(map(str, range(1, made.uplinks + 1)))
    text += f'number = 0\naddress = "203.0.113.1"\noutside = "out"\nuplinks = [{served}]\n'
    text += f'\n[[site]]\nid = "{made.ship.device_id}"\nnumber = {SITE_NUMBER}\nnetworks = ["10.64.2.0/24"]\n\n{RENEWAL}'
    return text
