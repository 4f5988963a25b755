"""A disk that refuses keeps no revoked tunnel open, takes no other its turn, and keeps no traffic from moving."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.internet.routers import Ministry
from tests.internet.test_gateway_driver import NoWireGuard, made
from tramontana.errors import LocalError
from tramontana.internet.control_channel import Refusal
from tramontana.internet.driver import PeerPlan, StateDirectory, TunnelEnd, now_s
from tramontana.internet.gateway.channel.driver import Connection
from tramontana.internet.gateway.driver import GatewayAgent
from tramontana.internet.key_renewal import GatewayKey, Message, PresharedKey, SiteKey, Timing, Word
from tramontana.internet.linux.flow_routes import EVERYTHING
from tramontana.internet.linux.gateway_uplinks import GatewayUplinks
from tramontana.internet.linux.namespace import HostRefused, Namespace
from tramontana.internet.linux.site_uplinks import SiteUplinks
from tramontana.internet.linux.wireguard import Peer, PeerState, WireGuard
from tramontana.internet.overlay import TunnelId
from tramontana.internet.policy import Policy, Rule
from tramontana.internet.settings import SitePlace
from tramontana.internet.site.channel.driver import Channel
from tramontana.internet.switch import Assignment
from tramontana.internet.tunnel_keys import Identity
from tramontana.private_file import PrivateFileError


class Peers(NoWireGuard):
    """The peers of all interfaces."""

    def __init__(self) -> None:
        self.keys: set[bytes] = set()

    def set_peer(self, _name: str, _used_in: Namespace, peer: Peer) -> None:
        self.keys.add(peer.public_key)

    def remove_peer(self, _name: str, _used_in: Namespace, public_key: bytes) -> None:
        self.keys.discard(public_key)

    def peers(self, *_: object) -> dict[bytes, object]:
        return {key: PeerState(key, "", None, 0, 0) for key in self.keys}


@pytest.fixture(name="ministry")
def _ministry() -> Ministry:
    return Ministry(int(time.time()) - 60)


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a fault of the disk: what is there can neither be changed nor removed."""

    def refuse(*_args: object, **_more: object) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for what in ("unlink", "replace", "write_text"):
        monkeypatch.setattr(Path, what, refuse)


def keyed(agent: GatewayAgent, wireguard: Peers, site: Identity) -> TunnelEnd[GatewayKey]:
    id = TunnelId(site.device_id, agent.own.device_id, 1)
    tunnel = agent.tunnels[id] = agent._tunnel(id)
    tunnel.meet(bytes.fromhex(site.device_id) * 2)
    key = PresharedKey(1, b"1" * 32)
    tunnel.perform(tunnel.key.handle_proposal(key, now_s()))
    tunnel.perform(tunnel.key.handle_message(Message(Word.SET, key.number, key.id), now_s()))
    assert tunnel.peer_key in wireguard.keys
    return tunnel


def test_whoever_is_revoked_is_out_of_a_gateway_though_nothing_can_be_read_or_removed(
    tmp_path: Path, ministry: Ministry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ships = [ministry.certify(name, "site") for name in ("Ship", "Boat", "Raft")]
    places = [SitePlace(id=ship.device_id, number=n, networks=(ip_network(f"10.64.{n}.0/24"),)) for n, ship in enumerate(ships, start=2)]
    agent, wireguard = made(tmp_path, ministry, *places), Peers()
    agent.wireguard = agent.outer_wireguard = cast(WireGuard, wireguard)
    tunnels = [keyed(agent, wireguard, ship) for ship in ships]
    stays = tunnels[2].peer_key

    class Open:
        """The control connection of a site."""

        is_closed = False

        def refuse(self, refusal: Refusal) -> None:
            raise AssertionError(f"there was a refusal, though the log cannot be read: {refusal}")

        def close(self) -> None:
            self.is_closed = True

    connection = Open()
    agent.connections[ships[0].device_id] = cast(Connection, connection)
    size = len(ministry.entries)
    agent.trust.extend(size, [ministry.revoke(ship) for ship in ships[:2]])
    agent.settings.log.unlink()
    read_only(monkeypatch)
    with pytest.raises(LocalError):
        agent.look()
    assert wireguard.keys == {stays}
    assert connection.is_closed
    assert not agent.connections
    assert [tunnel.id.site for tunnel in agent.tunnels.values()] == [ships[2].device_id]


def test_a_key_that_the_disk_kept_opens_nothing_at_the_next_start_and_goes_when_it_may(
    tmp_path: Path, ministry: Ministry, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship = ministry.certify("Ship", "site")
    agent, wireguard = made(tmp_path, ministry, SitePlace(id=ship.device_id, number=2, networks=(ip_network("10.64.2.0/24"),))), Peers()
    agent.wireguard = agent.outer_wireguard = cast(WireGuard, wireguard)
    keyed(agent, wireguard, ship)
    size = len(ministry.entries)
    agent.trust.extend(size, [ministry.revoke(ship)])
    with monkeypatch.context() as patched:
        read_only(patched)
        with pytest.raises(PrivateFileError, match="cannot remove"):
            agent.look()
        assert not wireguard.keys
        again = GatewayAgent(agent.settings, cast(WireGuard, wireguard))
        assert not again.tunnels
    assert list(agent.settings.state.glob("*.tunnel"))
    agent.look()
    assert not list(agent.settings.state.glob("*.tunnel"))


def test_a_refused_gateway_has_no_tunnel_left_and_its_keys_go_when_the_disk_lets_them(
    tmp_path: Path, ministry: Ministry, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, wireguard, state = f"{7:032x}", Peers(), StateDirectory(tmp_path)
    tunnels = {}
    for uplink in (1, 2):
        id = TunnelId(f"{8:032x}", gateway, uplink)
        plan = PeerPlan(("192.0.2.1", 51821), ("0.0.0.0/0",), 10)
        end = TunnelEnd(id, f"s{uplink}", plan, cast(WireGuard, wireguard), state, lambda keys: SiteKey(keys, Timing()))
        end.meet(bytes([uplink]) * 32)
        wireguard.keys.add(bytes([uplink]) * 32)
        tunnels[uplink] = end
    told: list[int] = []
    agent: Any = SimpleNamespace(ends=lambda _gateway: tunnels, tell_keyed=lambda tunnel: told.append(tunnel.id.uplink))
    channel = Channel(agent, cast(Any, SimpleNamespace(id=gateway)))
    with monkeypatch.context() as patched:
        read_only(patched)
        with pytest.raises(PrivateFileError, match="cannot remove"):
            channel.refuse("the gateway: revoked")
        assert not wireguard.keys
        assert told == [1, 2]
        assert all(tunnel.fault == "the gateway: revoked" and not tunnel.is_keyed for tunnel in tunnels.values())
    assert len(list(tmp_path.glob("*.tunnel"))) == 2
    channel.refuse("the gateway: revoked")
    assert not list(tmp_path.glob("*.tunnel"))
    channel.refuse("the gateway: revoked")
    assert told == [1, 2, 1, 2]  # all is done, so nothing is done again


def test_traffic_moves_though_the_disk_does_not_keep_whereto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_only(monkeypatch)
    gateway = GatewayUplinks({}, routes_file=tmp_path / "routes.json")
    gateway._keep({"ab" * 16: Assignment(1)})
    assert gateway.keeping_refused == 1
    gateway._counters.close()

    async def site() -> None:
        uplinks = SiteUplinks(Policy(prefer=(), rules=(Rule(name="anything"),)), EVERYTHING, sequence_file=tmp_path / "sequence")
        uplinks._keep(5)
        assert (uplinks._sequence, uplinks.keeping_refused) == (5, 1)
        uplinks._counters.close()

    asyncio.run(site())


def test_a_route_that_the_machine_refuses_ends_no_gateway(tmp_path: Path, ministry: Ministry, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, begun = made(tmp_path, ministry), list[GatewayUplinks]()

    async def run(uplinks: GatewayUplinks) -> None:
        begun.append(uplinks)
        uplinks._counters.close()
        if len(begun) == 1:
            raise HostRefused("no such interface")
        await asyncio.Event().wait()

    monkeypatch.setattr(GatewayUplinks, "run", run)

    async def main() -> Sequence[GatewayUplinks]:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                agent._route(tasks)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert agent._routing is not None
            agent._routing.cancel()
        return begun

    assert len(asyncio.run(main())) == 2
