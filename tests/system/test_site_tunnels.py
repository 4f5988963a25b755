"""A site and a gateway with real WireGuard and real rules: traffic, renewal of keys, and nothing in the clear whatever dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.routers import (
    ETH_P_ALL,
    FRESH_S,
    INTERNET_6,
    MARK,
    Agent,
    Routers,
    missing_for_routers,
    nothing_in_the_clear,
    routers,
    wait_for,
)
from tramontana.carrier_hours import HOUR_S
from tramontana.internet.checksum import internet_checksum
from tramontana.internet.kill_switch import GATEWAY_TABLE
from tramontana.internet.linux.namespace import Namespace, run
from tramontana.internet.linux.wireguard import SOCKETS
from tramontana.internet.overlay import CONTROL_PORT, HTTPS_PORT
from tramontana.internet.service_record import ServiceRecord

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(missing_for_routers() is not None, reason=str(missing_for_routers())),
]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Routers]:
    with routers(tmp_path) as made:
        yield made


def inject(namespace: Namespace, interface: str, count: int = 50) -> None:
    """Whole frames past the IP stack, as root."""
    with namespace.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as raw:
        raw.bind((interface, ETH_P_ALL))
        payload = struct.pack("!HHHH", 9, 53, 8 + len(MARK), 0) + MARK
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, 17, 0, bytes((10, 64, 2, 1)), bytes((203, 0, 113, 1)))
        for _ in range(count):
            with suppress(OSError):  # a rule that drops says so to the sender
                raw.send(b"\xff" * 12 + b"\x08\x00" + header + payload)


def wireguard_pid(interface: str) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(SOCKETS / f"{interface}.sock"))
        return int(struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def command(agent: Agent, word: str, *options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "tramontana.cli.main", agent.word, word, *options, "--config", str(agent.config)]
    return subprocess.run(agent.namespace.command(line), capture_output=True, text=True, timeout=90, check=False)


def test_nothing_leaves_but_through_a_tunnel_that_has_its_key(network: Routers) -> None:
    """Before there is a key, with tunnels up, with WireGuard killed, and by frames past the IP stack."""
    with network.capture() as capture:
        network.site.start()
        wait_for(lambda: network.site.status() is not None, "the site answers")
        assert not network.reaches()
        status = network.site.status()
        assert status is not None
        assert status["carrying"] is None
        assert "no post-quantum key yet" in status["blocked"]

        network.gateway.start()
        network.wait_until_up()
        assert network.reaches()
        shown = command(network.site, "status")
        assert json.loads(shown.stdout)["blocked"] is None

        main, underlay = network.namespace("site"), network.namespace("under")
        for interface in ("lan", "lo", *(network.interface(uplink) for uplink in (1, 2))):
            inject(main, interface)
        dropped_before = network.site.status()["dropped"]["uplinks"]  # type: ignore[index]
        inject(underlay, "up1")
        assert network.site.status()["dropped"]["uplinks"] >= dropped_before + 50  # type: ignore[index]

        with network.traffic() as traffic:
            wait_for(lambda: len(traffic.answered) > 20, "traffic flows")
            for uplink in (1, 2):
                os.kill(wireguard_pid(network.interface(uplink)), signal.SIGKILL)
            answered = len(traffic.answered)
            network.wait_until_up()
            wait_for(lambda: len(traffic.answered) > answered + 100, "traffic flows again")
    assert capture.allowed > 100
    assert capture.others == []
    assert capture.marks == 0
    with network.capture() as sanity:
        inject(network.namespace("sky"), "in1")
    assert sanity.marks >= 50  # the capture would have seen it

    network.site.stop(signal.SIGTERM)
    down = command(network.site, "down")
    assert down.returncode == 0, down.stderr
    assert not network.namespace("under").exists


GATEWAY_OWN = ("203.0.113.1", "2001:db8:113::1", "100.64.64.1")
"""Its addresses of both families, and that of its end of the tunnel over the first uplink."""


def had_by_the_host(network: Routers, kind: socket.SocketKind, port: int) -> set[str]:
    """At which addresses of the gateway a host behind the site comes in."""
    found = set()
    for address in GATEWAY_OWN:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with network.namespace("gate").entered(), socket.socket(family, kind) as there:
            there.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            there.bind((address, port))
            there.settimeout(2)
            with network.namespace("host").entered(), socket.socket(family, kind) as here:
                here.settimeout(2)
                with suppress(TimeoutError):
                    if kind is socket.SOCK_STREAM:
                        there.listen()
                        here.connect((address, port))
                    else:
                        here.sendto(MARK, (address, port))
                        there.recv(100)
                    found.add(address)
    return found


def answers_pings(network: Routers, address: str) -> bool:
    """ICMP echoes (RFC 792, RFC 4443 §4.1) from the host behind the site."""
    is_6 = ":" in address
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if is_6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    asks, answers = (128, 129) if is_6 else (8, 0)
    bare = struct.pack("!BBHHH", asks, 0, 0, os.getpid() & 0xFFFF, 1)
    echo = bare if is_6 else bare[:2] + internet_checksum(bare).to_bytes(2, "big") + bare[4:]  # of ICMPv6 the kernel makes it
    with network.namespace("host").entered(), socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(5)
        raw.sendto(echo, (address, 0))
        with suppress(TimeoutError):
            while True:
                packet, sender = raw.recvfrom(200)
                if sender[0] == address and (packet if is_6 else packet[20:])[0] == answers:
                    return True
    return False


def test_a_site_reaches_nothing_that_the_gateway_itself_serves(tmp_path: Path) -> None:
    everywhere, ways = set(GATEWAY_OWN), (socket.SOCK_STREAM, socket.SOCK_DGRAM)
    with routers(tmp_path, uplinks=1) as network:
        network.gateway.start()
        network.site.start()
        network.wait_until_up()
        with network.traffic() as traffic:
            assert [had_by_the_host(network, way, 8440) for way in ways] == [set(), set()]
            assert {address for address in GATEWAY_OWN if answers_pings(network, address)} == everywhere
            for way in (CONTROL_PORT, HTTPS_PORT):
                with network.namespace("host").entered(), socket.socket() as door:
                    door.settimeout(2)
                    with pytest.raises(TimeoutError):
                        door.connect((GATEWAY_OWN[0], way))  # open to the internet, where the site's agent comes from
            network.renew(1)
        assert traffic.lost < traffic.sent // 10  # a busy machine may lose some; what a filter takes is all
        assert network.reaches(INTERNET_6)

        run(["nft", "flush", "chain", "inet", GATEWAY_TABLE, "of_site"], namespace=network.namespace("gate"))
        assert [had_by_the_host(network, way, 8440) for way in ways] == [everywhere, everywhere]

        network.gateway.stop(signal.SIGTERM)
        network.gateway.config.write_text(f'open_to_sites = ["tcp/8440"]\n{network.gateway.config.read_text()}')
        network.gateway.start()
        network.wait_until_up()
        assert had_by_the_host(network, socket.SOCK_STREAM, 8440) == everywhere
        assert had_by_the_host(network, socket.SOCK_STREAM, 8441) == set()
        assert had_by_the_host(network, socket.SOCK_DGRAM, 8440) == set()


def test_keys_are_renewed_and_agents_die_without_one_packet_lost(network: Routers) -> None:
    network.gateway.start()
    network.site.start()
    network.wait_until_up()
    interfaces = [network.interface(uplink) for uplink in (1, 2)]
    with network.capture() as capture, network.traffic() as traffic:
        network.renew(4)
        pids = [wireguard_pid(interface) for interface in interfaces]
        for agent in (network.site, network.gateway):
            agent.stop(signal.SIGKILL)
        answered = len(traffic.answered)
        wait_for(lambda: len(traffic.answered) > answered + 200, "traffic without agents")
        network.gateway.start()
        network.site.start()
        network.wait_until_up()
        network.renew(2)
        assert [wireguard_pid(interface) for interface in interfaces] == pids
    assert traffic.sent > 500
    assert traffic.lost == 0
    assert capture.marks == 0
    assert capture.others == []

    network.site.stop(signal.SIGTERM)
    record = ServiceRecord.parse((network.site.state / "service.json").read_bytes())
    record.look({}, time.time() + HOUR_S)
    hours = {each.carrier: each for each in record.closed}
    assert len(hours) == 2
    assert all(each.observed_s > 0 and each.delays for each in hours.values())


def test_a_renewal_that_fails_at_one_end_is_taken_back_without_an_outage(tmp_path: Path) -> None:
    """The site dies at the moment in which it would set the new key: the gateway has set it already."""
    with routers(tmp_path, uplinks=1) as network, nothing_in_the_clear(network):
        # A renewal then begins at a handshake alone: not before there is traffic.
        network.site.config.write_text(network.site.config.read_text().replace(f"fresh_s = {FRESH_S}", "fresh_s = 0.001"))
        network.gateway.start()
        network.site.start(dies_at_new_key=True)
        network.wait_until_up()
        network.wait_for(lambda: network.tunnel(network.site, 1)["key_age_s"] > 2, "the interval between two renewals is over")
        network.handshake_now(1)
        assert network.site.process is not None
        with_first_key = network.site.process
        network.wait_for(lambda: with_first_key.poll() is not None, "the site dies")
        network.site.process = None
        assert network.tunnel(network.gateway, 1)["state"] == "set"
        number = network.tunnel(network.gateway, 1)["key_number"]
        with network.traffic() as traffic:
            wait_for(lambda: network.tunnel(network.gateway, 1)["state"] == "agreed", "the gateway goes back to the key before")
            assert network.tunnel(network.gateway, 1)["key_number"] == number - 1
            network.handshake_now(1)
            answered = len(traffic.answered)
            wait_for(lambda: len(traffic.answered) > answered + 50, "traffic under the key before")
        assert traffic.lost == 0
        network.site.start()
        network.wait_until_up()
        network.renew(1)
        assert network.reaches()


def test_a_revoked_site_is_cut_off_and_destroys_its_keys_if_that_is_the_order(network: Routers) -> None:
    with nothing_in_the_clear(network):
        network.gateway.start()
        network.site.start()
        network.wait_until_up()
        assert network.reaches()
        network.add_to_log("gateway", network.ministry.revoke(network.ship, "zeroise: stolen"))
        wait_for(lambda: network.tunnels(network.gateway) == [], "the gateway has no tunnel of the site", patience_s=10)
        assert not network.reaches()
        assert list((network.folder / "gateway").glob("*.tunnel")) == []
        ordered = "zeroised; the organisation ordered it"
        network.wait_for(
            lambda: ordered in str((network.site.status() or {}).get("blocked")), "the site, to which the gateway gave the order"
        )
        own = network.folder / "site"
        network.wait_for(lambda: [path.name for path in own.iterdir() if path.is_file()] == ["zeroised"], "all of its keys are destroyed")


_DIES_WHILE_IT_DESTROYS = """
import os
from tramontana.cli.main import main
from tramontana.internet import zeroise
erase, left = zeroise.erase, iter(range(3))
zeroise.erase = lambda path: os._exit(9) if next(left, None) is None else erase(path)
main()
"""


def test_a_site_is_zeroised_though_the_command_dies_in_the_middle(tmp_path: Path) -> None:
    with routers(tmp_path, uplinks=1) as network:
        network.gateway.start()
        network.site.start()
        network.wait_until_up()
        own, interface = network.folder / "site", network.interface(1)
        secret = (own / f"{interface}.key").read_bytes()
        network.site.stop(signal.SIGKILL)
        line = [sys.executable, "-c", _DIES_WHILE_IT_DESTROYS, "site", "zeroise", "--yes", "--config", str(network.site.config)]
        died = subprocess.run(network.site.namespace.command(line), capture_output=True, text=True, timeout=90, check=False)
        assert died.returncode == 9, died.stderr
        assert not (own / "device.key").exists()
        assert wireguard_pid(interface)  # it had not come that far
        with network.capture() as capture:
            assert not network.reaches()  # but so far
            network.site.start()
            wait_for(lambda: (network.site.status() or {}).get("zeroised"), "the site says that it was zeroised")
            wait_for(
                lambda: network.site.config.read_text().count(network.ministry.organisation.key.root.fingerprint_text) == 0, "all is done"
            )
            assert not network.reaches()
        assert capture.others == []
        blocked = str((network.site.status() or {})["blocked"])
        assert blocked.startswith("zeroised; somebody did so on this machine")
        assert "join with a new invitation" in blocked
        assert not (SOCKETS / f"{interface}.sock").exists()
        left = {path.name: path.read_bytes() for path in own.rglob("*") if path.is_file()}
        assert sorted(left) == ["zeroised"]
        assert not any(secret in content for content in left.values())
        again = command(network.site, "zeroise", "--yes")
        assert again.returncode == 0, again.stderr
        network.site.stop(signal.SIGTERM)
        assert command(network.site, "down").returncode == 0


def is_zeroised(network: Routers, why: str, *secrets: bytes) -> None:
    """Nothing is left of the gateway's keys and of what it knew, and a restart finds it as it is."""
    own, config = network.folder / "gateway", network.gateway.config
    network.wait_for(lambda: why in str((network.gateway.status() or {}).get("blocked")), "the gateway says that it was zeroised")
    fingerprint = network.ministry.organisation.key.root.fingerprint_text
    network.wait_for(lambda: fingerprint not in config.read_text(), "all is done")
    files = [path for path in own.rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["zeroised"]
    assert not any(secret in path.read_bytes() for path in files for secret in secrets)
    assert not (network.folder / "gateway.entries").exists()
    assert not network.reaches()
    gate = network.namespace("gate")
    assert f"{network.name[:5]}gu1" not in run(["ip", "link", "show"], namespace=gate)
    rules = run(["nft", "list", "ruleset"], namespace=gate)
    assert "10.64.2.0" not in rules
    assert "tramontana_front" not in rules
    assert "policy drop" in rules.partition("chain forward")[2]


def test_a_gateway_is_zeroised_by_command_beside_its_agent(tmp_path: Path) -> None:
    with routers(tmp_path, uplinks=1) as network:
        network.gateway.start()
        network.site.start()
        network.wait_until_up()
        interface = f"{network.name[:5]}gu1"
        secret = (network.folder / "gateway" / f"{interface}.key").read_bytes()
        process = network.gateway.process
        done = command(network.gateway, "zeroise", "--yes")
        assert done.returncode == 0, done.stderr
        is_zeroised(network, "zeroised; somebody did so on this machine", secret)
        assert process is not None
        assert process.poll() is None  # the service goes on, and says why it serves nobody
        assert command(network.gateway, "zeroise", "--yes").returncode == 0
        network.gateway.stop(signal.SIGTERM)
        assert command(network.gateway, "down").returncode == 0
        assert GATEWAY_TABLE not in run(["nft", "list", "tables"], namespace=network.namespace("gate"))


@pytest.mark.parametrize("runs", [True, False])
def test_a_gateway_destroys_its_keys_if_its_revocation_orders_it(tmp_path: Path, runs: bool) -> None:
    """Also where it finds the order in its log when it starts."""
    with routers(tmp_path, uplinks=1) as network:
        network.gateway.start()
        network.site.start()
        network.wait_until_up()
        if not runs:
            network.gateway.stop(signal.SIGKILL)
        network.add_to_log("gateway", network.ministry.revoke(network.rome, "zeroise: captured"))
        if not runs:
            network.gateway.start()
        is_zeroised(network, "zeroised; the organisation ordered it")
