"""One end of a tunnel on a machine that refuses something once: it is made up for at the next look, and others get their turn meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tramontana.internet.driver import PeerPlan, StateDirectory, TunnelEnd, look_at, now_s
from tramontana.internet.key_renewal import GatewayKey, KeyState, Message, PresharedKey, Timing, TunnelKeys, Word
from tramontana.internet.linux.namespace import HostRefused, Namespace
from tramontana.internet.linux.wireguard import Peer, PeerState
from tramontana.internet.overlay import TunnelId
from tramontana.private_file import PrivateFileError

GATEWAY, SHIP, ISLAND = (f"{number:032x}" for number in (1, 2, 3))
FIRST, SECOND = PresharedKey(1, b"1" * 32), PresharedKey(2, b"2" * 32)
PLAN = PeerPlan(None, ("100.64.64.2/32",), 10)


class MemoryWireGuard:
    """The peers of one interface."""

    name = "memory"

    def __init__(self) -> None:
        self.keys: dict[bytes, bytes] = {}
        self.refuses = False

    def set_peer(self, _name: str, _used_in: Namespace, peer: Peer) -> None:
        if self.refuses:
            raise HostRefused("not now")
        self.keys[peer.public_key] = peer.preshared_key

    def remove_peer(self, _name: str, _used_in: Namespace, public_key: bytes) -> None:
        if self.refuses:
            raise HostRefused("not now")
        del self.keys[public_key]

    def peers(self, _name: str, _used_in: Namespace) -> dict[bytes, PeerState]:
        return {key: PeerState(key, "", None, 0, 0) for key in self.keys}

    def ensure(self, *_: object) -> None:
        raise AssertionError

    is_alive = remove = configure = ensure


class World:
    """A gateway's ends of the tunnels of two sites, which have a first key in force, and a disk that may be full."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wireguard, self.state = MemoryWireGuard(), StateDirectory(path)
        self.is_full = False
        write: Callable[..., None] = self.state.write_tunnel

        def write_tunnel(tunnel: TunnelId, peer: bytes | None, keys: TunnelKeys) -> None:
            if self.is_full:
                raise PrivateFileError("the disk is full")
            write(tunnel, peer, keys)

        monkeypatch.setattr(self.state, "write_tunnel", write_tunnel)
        self.ends = [self._end(site) for site in (SHIP, ISLAND)]

    def _end(self, site: str) -> TunnelEnd[GatewayKey]:
        id = TunnelId(site, GATEWAY, 1)
        end = TunnelEnd(id, "gw1", PLAN, self.wireguard, self.state, lambda keys: GatewayKey(keys, Timing()))  # type: ignore[arg-type]
        end.meet(bytes.fromhex(site) * 2)
        self.renew(end, FIRST)
        end.perform(end.key.handle_handshake(now_s()))
        assert self.in_force(end) == FIRST.secret
        return end

    def renew(self, end: TunnelEnd[GatewayKey], key: PresharedKey, ago_s: float = 0.0) -> None:
        at = now_s() - ago_s
        end.perform(end.key.handle_proposal(key, at))
        end.perform(end.key.handle_message(Message(Word.SET, key.number, key.id), at))

    def in_force(self, end: TunnelEnd[GatewayKey]) -> bytes | None:
        return self.wireguard.keys.get(end.peer_key or b"")

    def look(self) -> None:
        look_at(self.wireguard, "gw1", Namespace(), self.ends)  # type: ignore[arg-type]


@pytest.fixture(name="world")
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_a_key_that_the_disk_refused_is_stored_before_wireguard_gets_it(world: World) -> None:
    ship, _ = world.ends
    ship.perform(ship.key.handle_proposal(SECOND, now_s()))
    world.is_full = True
    with pytest.raises(PrivateFileError):
        ship.perform(ship.key.handle_message(Message(Word.SET, 2, SECOND.id), now_s()))
    assert world.in_force(ship) == FIRST.secret  # never a key that a restart would not know of
    with pytest.raises(PrivateFileError):
        world.look()
    assert world.in_force(ship) == FIRST.secret
    world.is_full = False
    world.look()
    assert world.in_force(ship) == SECOND.secret
    peer, kept = world.state.read_tunnel(ship.id)
    assert (peer, kept.state, kept.candidate) == (ship.peer_key, KeyState.SET, SECOND)


def test_a_key_that_wireguard_refused_is_set_at_the_next_look(world: World) -> None:
    ship, _ = world.ends
    world.wireguard.refuses = True
    with pytest.raises(HostRefused):
        world.renew(ship, SECOND)
    assert world.in_force(ship) == FIRST.secret
    world.wireguard.refuses = False
    world.look()
    assert world.in_force(ship) == SECOND.secret
    calls = list(world.wireguard.keys)
    world.wireguard.refuses = True
    world.look()  # nothing is left to make up for
    assert list(world.wireguard.keys) == calls


def test_a_peer_that_wireguard_would_not_remove_goes_at_the_next_look(world: World) -> None:
    ship, island = world.ends
    gone = ship.peer_key
    world.wireguard.refuses = True
    ship.forget()
    assert gone in world.wireguard.keys
    world.wireguard.refuses = False
    world.look()
    assert list(world.wireguard.keys) == [island.peer_key]


def test_what_fails_with_one_tunnel_takes_no_other_its_turn(world: World) -> None:
    ship, island = world.ends
    for end in world.ends:
        world.renew(end, SECOND, ago_s=2 * Timing().proof_s)
    world.is_full = True
    with pytest.raises(PrivateFileError):
        ship.perform(ship.key.handle_timer(now_s()))  # no proof came: back to the key before
    world.is_full = False
    refused, write = ship.id, world.state.write_tunnel

    def write_tunnel(tunnel: TunnelId, peer: bytes | None, keys: TunnelKeys) -> None:
        if tunnel == refused:
            raise PrivateFileError("this file alone")
        write(tunnel, peer, keys)

    world.state.write_tunnel = write_tunnel  # type: ignore[method-assign]
    with pytest.raises(PrivateFileError, match="alone"):
        world.look()
    assert island.key.keys.state is KeyState.AGREED  # its proof was due as well
    assert (world.in_force(ship), world.in_force(island)) == (SECOND.secret, FIRST.secret)
    refused = island.id
    world.look()
    assert world.in_force(ship) == FIRST.secret
