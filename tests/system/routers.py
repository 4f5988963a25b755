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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.internet.routers import Ministry
from tramontana.internet.linux.namespace import Namespace, run
from tramontana.internet.linux.wireguard import SOCKETS, UserspaceWireGuard
from tramontana.internet.overlay import Layer, between, site_interface
from tramontana.internet.tunnel_keys import Identity
from tramontana.private_file import make_private

NEEDED = ("ip", "nft", "wireguard-go")
MARK = b"tramontana in the clear "
"""In every datagram of the tests' traffic: what may not be seen on an uplink."""
PATIENCE_S = 90.0
ETH_P_ALL = 3
DHCP_PORTS = bytes((0, 68, 0, 67))
"""Of a client's message (RFC 2131 §4.1)."""
INTERNET, INTERNET_6 = "198.51.99.9", "2001:db8:51:99::9"
SITE_NUMBER = 2
NETWORKS = '["10.64.2.0/24", "fd64:2::/64"]'
GUARD_S, FRESH_S = 1.2, 12.0
RENEWAL = f"[renewal]\ninterval_s = 1.0\nfresh_s = {FRESH_S}\nproof_s = 15.0\nguard_s = {GUARD_S}\nresend_s = 1.0\n"


@dataclass(frozen=True)
class _Place:
    """A gateway's: in the namespace `part`, its agent is `word`."""

    number: int
    word: str
    part: str

    @property
    def address(self) -> str:
        return f"203.0.113.{self.number * 4 + 1}"

    @property
    def address_6(self) -> str:
        return f"2001:db8:113:{self.number}::1"

    @property
    def lines(self) -> str:
        return f'number = {self.number}\naddress = "{self.address}"\naddress_6 = "{self.address_6}"\n'


_GATEWAYS = (_Place(0, "gateway", "gate"), _Place(1, "gateway2", "gate2"))
_MAY_BE_REACHED = {ip_address(address).packed for place in _GATEWAYS for address in (place.address, place.address_6)}


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
                try:
                    frame, address = each.recvfrom(1 << 16)
                except OSError:  # told once that the link went down
                    continue
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
    if kind == 0x0800 and frame[23] == 17 and frame[34:38] == DHCP_PORTS and MARK not in frame:
        return True
    if kind == 0x86DD and frame[20] == 58:  # ICMPv6: router and neighbour solicitation, neighbour advertisement (RFC 4861 §4)
        return frame[54] in (133, 135, 136)
    if kind == 0x0800 and frame[30:34] in _MAY_BE_REACHED:
        protocol, transport = frame[23], frame[14 + (frame[14] & 15) * 4 :]
    elif kind == 0x86DD and frame[38:54] in _MAY_BE_REACHED:
        protocol, transport = frame[20], frame[54:]
    else:
        return False
    port = int.from_bytes(transport[2:4], "big")
    if protocol == 17:  # UDP: a message of WireGuard has its type in the first octet and zeros in the next three
        return (port == 443 or 51821 <= port <= 51835) and transport[8] in (1, 2, 3, 4) and transport[9:12] == bytes(3)
    return protocol == 6 and port in (443, 51819)


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
    is_6: bool = False
    """Uplinks with IPv6 alone, and IPv6 behind the site as well."""
    agents: dict[str, Agent] = field(default_factory=dict)
    dhcp: bool = False
    nested: bool = False
    """A tunnel in each tunnel."""
    _ports: int = 20_000

    def namespace(self, part: str) -> Namespace:
        return Namespace(f"{self.name}-{part}")

    @property
    def site(self) -> Agent:
        return self.agents["site"]

    @property
    def gateway(self) -> Agent:
        return self.agents["gateway"]

    def interface(self, uplink: int, layer: Layer | None = None) -> str:
        """layer: left out, it is the one into which traffic goes."""
        return site_interface(f"{self.name}s"[:6], 0, uplink, layer or (Layer.INNER if self.nested else Layer.PLAIN))

    def between(self, word: str) -> Namespace:
        return Namespace(between(f"{self.name}s"[:6] if word == "site" else f"{self.name[:5]}g"))

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

    @property
    def gateways(self) -> list[Agent]:
        return [agent for word, agent in self.agents.items() if word != "site"]

    def are_up(self) -> bool:
        tunnels = [tunnel for agent in self.agents.values() for tunnel in self.tunnels(agent)]
        carries = (self.site.status() or {}).get("carrying") is not None and self.reaches()
        return len(tunnels) == 2 * len(self.gateways) * self.uplinks and all(tunnel["up"] for tunnel in tunnels) and carries

    def wait_until_up(self) -> None:
        self.wait_for(self.are_up, "every tunnel is up at both ends, and one carries")

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """As `wait_for`; what the agents say is printed where it fails."""
        try:
            wait_for(condition, what)
        except BaseException:
            for agent in self.agents.values():
                print(agent.output(), agent.status(), sep="\n")
            raise

    def reaches(self, address: str = INTERNET) -> bool:
        """Whether the host behind the site gets an answer from the internet."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.namespace("net").entered(), socket.socket(family, socket.SOCK_DGRAM) as echo:
            echo.bind((address, 0))
            echo.settimeout(2)
            with self.namespace("host").entered(), socket.socket(family, socket.SOCK_DGRAM) as asker:
                asker.settimeout(2)
                with suppress(OSError):
                    asker.sendto(MARK, echo.getsockname())
                    _, sender = echo.recvfrom(100)
                    echo.sendto(b"yes", sender)
                    return asker.recv(100) == b"yes"
        return False

    def ip(self, part: str, *words: str) -> None:
        run(["ip", "-n", str(self.namespace(part).name), *words])

    def make_namespace(self, part: str) -> None:
        self.namespace(part).ensure()
        self.ip(part, "link", "set", "lo", "up")

    def wire(self, *ends: tuple[str, ...]) -> None:
        """A veth pair; each end: part, name, addresses. An end without addresses stays down."""
        (one, first, *_), (two, second, *_) = ends
        self.ip(one, "link", "add", first, "type", "veth", "peer", "name", second, "netns", str(self.namespace(two).name))
        for part, link, *addresses in ends:
            if addresses:
                self.ip(part, "link", "set", link, "up")
            for address in addresses:
                self.ip(part, "address", "add", address, "dev", link, *(["nodad"] if ":" in address else []))

    def uplink_address(self, uplink: int, host: int) -> str:
        return f"2001:db8:2:{uplink}::{host}/64" if self.is_6 else f"192.0.2.{uplink * 16 + host}/28"

    def wire_site(self) -> None:
        """Its uplinks, and its local network with a host."""
        for uplink in range(1, self.uplinks + 1):
            self.wire(("site", f"up{uplink}"), ("sky", f"in{uplink}", self.uplink_address(uplink, 1)))
            self.ip("sky", "link", "set", f"in{uplink}", "address", f"02:00:5e:00:00:{uplink:02x}")  # the carrier's router stays the same
        self.wire(("site", "lan", "10.64.2.1/24", "fd64:2::1/64"), ("host", "eth", "10.64.2.2/24", "fd64:2::2/64"))
        for router in ("10.64.2.1", "fd64:2::1"):
            self.ip("host", "route", "add", "default", "via", router)

    def reboot_site(self) -> None:
        """The machine loses all that is not on its disk: processes, interfaces, namespaces, rules. Nothing of the product runs then."""
        if self.site.process is not None:
            self.site.stop(signal.SIGKILL)
        self.end_wireguard("s")
        for part in ("under", "site"):
            self.namespace(part).remove()
        wait_for(lambda: not self._has_uplinks(), "the uplinks went with the machine")
        self.make_namespace("site")
        self.wire_site()

    def _has_uplinks(self) -> bool:
        with self.namespace("sky").entered():
            return any(name.startswith("in") for _, name in socket.if_nameindex())

    def end_wireguard(self, of: str) -> None:
        """Of the site (`s`), the gateways (`g`, `h`), or of all."""
        tool = UserspaceWireGuard()
        for path in SOCKETS.glob(f"{self.name[:5]}{of}*.sock"):
            tool.remove(path.name.removesuffix(".sock"), Namespace())

    def block(self, *drops: str, uplinks: Sequence[int] = (1, 2)) -> None:
        """What the carriers of these uplinks let through no more towards the gateways, in the words of nft; nothing: all passes again."""
        chains = "".join(
            f'chain in{uplink} {{ type filter hook ingress device "in{uplink}" priority 0; policy accept;\n'
            + "".join(f"{drop} drop\n" for drop in drops)
            + "}\n"
            for uplink in uplinks
            if uplink <= self.uplinks
        )
        table = "table netdev carriers"
        run(["nft", "-f", "-"], stdin=f"{table}\ndelete {table}\n{table} {{\n{chains}}}\n", namespace=self.namespace("sky"))

    def translate(self) -> None:
        """The carriers translate addresses; again: every flow gets another address and port, without a word to anybody."""
        table, ports = "table inet carriers", self._ports
        self._ports += 1000
        body = "chain out { type nat hook postrouting priority srcnat; policy accept;\n"
        body += "".join(
            f'oifname "g{place.number}" meta l4proto {{ tcp, udp }} masquerade to :{ports}-{ports + 999} random\n' for place in _GATEWAYS
        )
        run(["nft", "-f", "-"], stdin=f"{table}\ndelete {table}\n{table} {{\n{body}}}\n}}\n", namespace=self.namespace("sky"))
        for place in _GATEWAYS:  # Linux forgets what is masqueraded by an interface whose address goes
            address = (f"203.0.113.{place.number * 4 + 2}/30", "dev", f"g{place.number}")
            self.ip("sky", "address", "del", *address)
            self.ip("sky", "address", "add", *address)

    @contextmanager
    def dhcp_server(self) -> Iterator[None]:
        """On the first uplink; its lease is of the address that the site has otherwise."""
        address, router = "192.0.2.18", "192.0.2.17"
        lease = self.folder / "leases"
        command = ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=in1", "--bind-interfaces"]
        command += [f"--dhcp-range={address},{address},255.255.255.240,2m", f"--dhcp-option=3,{router}", f"--dhcp-leasefile={lease}"]
        server = subprocess.Popen(self.namespace("sky").command([*command, "--user=root"]), stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            server.terminate()
            server.wait(timeout=PATIENCE_S)

    @contextmanager
    def capture(self) -> Iterator[Capture]:
        """Everything that comes over the uplinks, as their carriers see it."""
        with self.namespace("sky").entered():
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
    def traffic(self, address: str = INTERNET) -> Iterator[Traffic]:
        """A hundred datagrams a second from the host behind the site to the internet, and an answer to each, until the block ends."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.namespace("net").entered():
            echo = socket.socket(family, socket.SOCK_DGRAM)
        with self.namespace("host").entered():
            asker = socket.socket(family, socket.SOCK_DGRAM)
        echo.bind((address, 0))
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

    def tunnel_lives(self, uplink: int) -> bool:
        """As the site's probes say."""
        return bool(self.tunnel(self.site, uplink).get("health") == "alive")

    def tunnel(self, agent: Agent, uplink: int) -> dict[str, Any]:
        """Its status; empty where there is none."""
        return next((tunnel for tunnel in self.tunnels(agent) if tunnel["uplink"] == uplink), {})

    def renew(self, cycles: int) -> None:
        """So many more proven keys in each tunnel, at both ends."""
        layers = (Layer.INNER, Layer.OUTER) if self.nested else (Layer.PLAIN,)
        tunnels = [(uplink, layer) for uplink in range(1, self.uplinks + 1) for layer in layers]

        def end(agent: Agent, uplink: int, layer: Layer) -> dict[str, Any]:
            found = self.tunnel(agent, uplink)
            return found.get("outer", {}) if layer is Layer.OUTER else found

        aims = {each: (end(self.gateway, *each)["agreed_number"] or 0) + cycles for each in tunnels}
        made_at = dict.fromkeys(aims, 0.0)

        def is_there() -> bool:
            reached = 0
            for each, aim in aims.items():
                ends = [end(agent, *each) for agent in (self.site, self.gateway)]
                reached += all(end and (end["agreed_number"] or 0) >= aim for end in ends)
                awaits_proof = all(end and end["state"] == "set" and end["key_age_s"] > GUARD_S + 0.5 for end in ends)
                is_stale = all(end and end["state"] == "agreed" and (end["last_handshake_age_s"] or 0) > FRESH_S - 5 for end in ends)
                if (awaits_proof or is_stale) and time.monotonic() > made_at[each] + 2:
                    made_at[each] = time.monotonic()
                    self.handshake_now(*each)
            return reached == len(aims)

        self.wait_for(is_there, f"{cycles} more keys in each tunnel")

    def handshake_now(self, uplink: int, layer: Layer | None = None) -> None:
        """WireGuard makes a handshake every 120 s. To make the next one now, its interface gets another private key, and its own again."""
        name, tool = self.interface(uplink, layer), UserspaceWireGuard()
        mark = 0 if layer is Layer.INNER else uplink
        own = (self.folder / "site" / f"{name}.key").read_bytes()
        other = bytes([own[0] ^ 8]) + own[1:]
        tool.configure(name, Namespace(), private_key=other, listen_port=0, mark=mark)
        tool.configure(name, Namespace(), private_key=own, listen_port=0, mark=mark)


@contextmanager
def nothing_in_the_clear(network: Routers) -> Iterator[None]:
    """What leaves over the uplinks meanwhile is what may, as captured by their carriers."""
    with network.capture() as capture:
        yield
    assert capture.allowed > 20
    assert capture.others == []
    assert capture.marks == 0


@contextmanager
def routers(
    folder: Path,
    *,
    uplinks: int = 2,
    is_6: bool = False,
    gateways: int = 1,
    dhcp: bool = False,
    nested: bool = False,
    letter: str = "t",
) -> Iterator[Routers]:
    """A site with uplinks to one or two gateways; the agents are not running yet. dhcp: the site asks its carriers for addresses. nested:
    both are certified for nested tunnels. letter: begins the names, so that two of these can be there at once."""
    with laid_out(folder, uplinks=uplinks, is_6=is_6, nested=nested, letter=letter) as made:
        made.dhcp = dhcp
        places = _GATEWAYS[:gateways]
        identities = [made.rome, made.ministry.certify("Milan", "gateway")][:gateways]
        texts = [("site", "site", made.ship, _site_settings(made, identities))]
        for place, identity in zip(places, identities, strict=True):
            texts.append((place.word, place.part, identity, _gateway_settings(made, place)))
        for word, part, identity, text in texts:
            own = folder / word
            own.mkdir(mode=0o700)
            made.add_to_log(word, *made.ministry.entries)
            make_private(own / "device.key", identity.key.reveal())
            (own / "certificate").write_bytes(identity.certificate.encoded)
            config = folder / f"{word}.toml"
            config.write_text(text)
            made.agents[word] = Agent("site" if word == "site" else "gateway", made.namespace(part), config, own)
        yield made


@contextmanager
def laid_out(folder: Path, *, uplinks: int, is_6: bool = False, nested: bool = False, letter: str = "t") -> Iterator[Routers]:
    """Namespaces and wires alone; whatever agents are given to it end with it."""
    name = f"{letter}{os.getpid() % 10000}"
    ministry = Ministry(now=int(time.time()) - 60)
    profile = ["nested"] if nested else []
    ship, rome = ministry.certify("Ship", "site", *profile), ministry.certify("Rome", "gateway", *profile)
    made = Routers(ministry, ship, rome, folder, name, uplinks, is_6, nested=nested)
    spaces = {part: made.namespace(part) for part in ("site", "sky", "gate", "gate2", "net", "host", "under")}
    try:
        for part in spaces:
            if part != "under":  # the agent's own work
                made.make_namespace(part)
        _wires(made)
        yield made
    finally:
        for agent in made.agents.values():
            if agent.process is not None:
                agent.stop(signal.SIGKILL)
        made.end_wireguard("")
        for space in (*spaces.values(), made.between("site"), made.between("gateway")):
            with suppress(Exception):
                space.remove()


def _wires(made: Routers) -> None:
    """Uplinks from the site to the carriers, from there to the gateways, from these to the internet host."""
    for part, address in (("net", INTERNET), ("net", INTERNET_6)):
        made.ip(part, "address", "add", address, "dev", "lo")
    made.namespace("sky").set_sysctl("ipv4/ip_forward", 1)
    made.namespace("sky").set_sysctl("ipv6/conf/all/forwarding", 1)
    for place in _GATEWAYS:
        n = place.number
        made.wire(
            ("sky", f"g{n}", f"203.0.113.{n * 4 + 2}/30", f"2001:db8:113:{n}::2/64"),
            (place.part, "wan", f"{place.address}/30", f"{place.address_6}/64"),
        )
        made.wire(
            (place.part, "out", f"198.51.{100 + n}.1/24", f"2001:db8:51:{n}::1/64"),
            ("net", f"eth{n}", f"198.51.{100 + n}.9/24", f"2001:db8:51:{n}::9/64"),
        )
        made.ip(place.part, "route", "add", "192.0.2.0/24", "via", f"203.0.113.{n * 4 + 2}")
        made.ip(place.part, "route", "add", "2001:db8:2::/48", "via", f"2001:db8:113:{n}::2")
        made.ip(place.part, "route", "add", INTERNET, "via", f"198.51.{100 + n}.9")
        made.ip(place.part, "route", "add", INTERNET_6, "via", f"2001:db8:51:{n}::9")
    made.wire_site()


def _common(made: Routers, word: str, tag: str) -> str:
    own = made.folder / word
    return f"""tag = "{tag}"
state = "{own}"
device_key = "{own}/device.key"
certificate = "{own}/certificate"
log = "{made.folder}/{word}.entries"
organisation = "{made.ministry.organisation.key.root.fingerprint_text}"
"""


def _site_settings(made: Routers, gateways: list[Identity]) -> str:
    text = _common(made, "site", f"{made.name}s"[:6])
    text += f'number = {SITE_NUMBER}\nnetworks = {NETWORKS}\nunderlay = "{made.namespace("under").name}"\nlocal = ["lan"]\n'
    for uplink in range(1, made.uplinks + 1):
        text += f"""
[[uplink]]
index = {uplink}
interface = "up{uplink}"
{"dhcp = true" if made.dhcp else _static(made, uplink)}
carrier = "{("starlink", "fibre")[uplink - 1]}"
"""
    for place, identity in zip(_GATEWAYS, gateways, strict=False):
        text += f'\n[[gateway]]\nid = "{identity.device_id}"\n{place.lines}'
    return f"{text}\n{RENEWAL}"


def _static(made: Routers, uplink: int) -> str:
    router = made.uplink_address(uplink, 1).partition("/")[0]
    return f'address = "{made.uplink_address(uplink, 2)}"\nvia = "{router}"'


def _gateway_settings(made: Routers, place: _Place) -> str:
    text = _common(made, place.word, made.name[:5] + "gh"[place.number])
    served = ", ".join(map(str, range(1, made.uplinks + 1)))
    text += f'{place.lines}outside = "out"\nuplinks = [{served}]\n'
    text += f'\n[[site]]\nid = "{made.ship.device_id}"\nnumber = {SITE_NUMBER}\nnetworks = {NETWORKS}\n\n{RENEWAL}'
    return text
