"""What the agents of sites and gateways share: clocks, the files they keep, the log they read, one end of a tunnel, the status socket."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from tramontana.control_socket import private_listener
from tramontana.errors import LocalError
from tramontana.internet.key_renewal import (
    Action,
    Exchange,
    GatewayKey,
    KeyState,
    Message,
    PresharedKey,
    Send,
    SetKey,
    SiteKey,
    Store,
    TunnelKeys,
)
from tramontana.internet.ladder import Networks, Rung
from tramontana.internet.linux.namespace import HostRefused, Namespace
from tramontana.internet.linux.wireguard import Peer, PeerState, WireGuard, new_private_key
from tramontana.internet.log_file import LogFile
from tramontana.internet.overlay import TunnelId
from tramontana.internet.report import Position
from tramontana.internet.service_record import RecordDamaged, ServiceRecord
from tramontana.internet.settings import GatewaySettings, SiteSettings
from tramontana.internet.tunnel_keys import Identity, is_nested
from tramontana.internet.usage import Usage, UsageDamaged
from tramontana.keys.certificate import UnverifiedCertificate
from tramontana.keys.identity import DeviceKey
from tramontana.keys.organisation import Root
from tramontana.private_file import PrivateFileError, make_private, read_private, replace_private

TICK_S = 0.5
"""How often handshakes, timers and the log are looked at."""
KEEPALIVE_S = 10
"""Of WireGuard, so that two ends of which one is behind address translation find each other again, and one-way loss is seen."""
PIECE_BYTES = 1 << 16
"""Read from a control connection at once."""
ALIVE_S = 5.0
"""How often either end of a control connection says that it is there."""
SILENT_S = 15.0
"""A control connection on which nothing came for so long is given up."""
STATUS_SOCKET = "status.sock"


class StateDamaged(LocalError):
    """A file of the state directory cannot be read. Remove it: the tunnel gets new keys."""


def now_s() -> float:
    """Seconds that only grow, over restarts of the process, and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def unix_s() -> float:
    return time.time()


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def standing_fault(trust: LogFile, device_id: str, role: str, now: float, *, nested: bool | None = None) -> str | None:
    """Why a device whose certificate is not at hand does not count any more. `now`: POSIX seconds. nested: its profile has to be."""
    if trust.is_damaged:
        return "log_damaged"
    standing = trust.last(device_id)
    if standing is None or standing.is_revoked or trust.is_out(device_id):
        return "revoked"
    if now >= standing.not_after:
        return "expired"
    if role not in standing.roles:
        return "wrong_role"
    return None if nested is None or is_nested(standing.roles) == nested else "other_profile"


def read_identity(key: Path, certificate: Path, root: Root) -> Identity:
    """Raises `LocalError`, `Refused`."""
    secret = read_private(key)
    try:
        own = Identity(UnverifiedCertificate(certificate.read_bytes()).verify(root), DeviceKey.from_bytes(secret))
    except (OSError, ValueError) as error:
        raise LocalError(f"cannot read {certificate} or {key} ({error})") from error
    if own.key.public_bytes != own.certificate.grant.signature_public_key:
        raise LocalError(f"{certificate} is of another key than {key}")
    return own


def position_of(settings: SiteSettings | GatewaySettings) -> Position | None:
    if settings.latitude_deg is None or settings.longitude_deg is None:
        return None
    return Position(latitude_deg=settings.latitude_deg, longitude_deg=settings.longitude_deg)


def renewed(own: Identity, trust: LogFile, path: Path) -> Identity:
    """The device with its last certificate, which is kept in `path` if it is a new one. Raises `LocalError`, `Refused`."""
    standing = trust.last(own.device_id)
    encoded = None if standing is None or standing.serial == own.certificate.serial else trust.certificate(own.device_id)
    if encoded is None:
        return own
    certificate = UnverifiedCertificate(encoded).verify(trust.root)
    if certificate.grant.signature_public_key != own.key.public_bytes:
        return own  # another key stands for this device now: its old certificate counts no more, wherever it is shown
    replace_private(path, encoded)
    return Identity(certificate, own.key)


class StateDirectory:
    """Keys of WireGuard and of tunnels, one private file each, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def private_key(self, interface: str) -> bytes:
        path = self.path / f"{interface}.key"
        if not path.exists():
            make_private(path, new_private_key())
        return read_private(path)

    def listener(self) -> socket.socket:
        """The status socket, in place of the one that a dead agent left."""
        path = self.path / STATUS_SOCKET
        path.unlink(missing_ok=True)
        return private_listener(path)

    def tunnels(self) -> list[TunnelId]:
        """Those of which something is stored."""
        names = (path.stem.split("-") for path in self.path.glob("*.tunnel"))
        return [TunnelId(site, gateway, int(uplink)) for site, gateway, uplink in names]

    def read_tunnel(self, tunnel: TunnelId) -> tuple[bytes | None, TunnelKeys]:
        """The other end's WireGuard key, and the preshared keys. Raises `StateDamaged`."""
        path = self._tunnel(tunnel)
        if not path.exists():
            return None, TunnelKeys()
        try:
            stored = json.loads(read_private(path))
            keys = TunnelKeys(
                KeyState(stored["state"]), _read_key(stored["agreed"]), _read_key(stored["candidate"]), int(stored["last_number"])
            )
            since = float(stored["since"]) if stored["boot"] == boot_id() else now_s()
            peer = stored["peer"]
            return None if peer is None else b64decode(peer), replace(keys, since=since)
        except (ValueError, KeyError, TypeError) as error:
            raise StateDamaged(f"{path} is damaged; remove it: the tunnel gets new keys") from error

    def write_tunnel(self, tunnel: TunnelId, peer: bytes | None, keys: TunnelKeys) -> None:
        document = {
            "peer": None if peer is None else b64encode(peer).decode(),
            "state": keys.state,
            "agreed": _written_key(keys.agreed),
            "candidate": _written_key(keys.candidate),
            "last_number": keys.last_number,
            "since": keys.since,
            "boot": boot_id(),
        }
        replace_private(self._tunnel(tunnel), json.dumps(document).encode())

    def read_usage(self) -> Usage:
        """Raises `StateDamaged`."""
        path = self.path / "usage.json"
        try:
            return Usage.parse(read_private(path)) if path.exists() else Usage()
        except UsageDamaged as error:
            raise StateDamaged(f"{path}: {error}") from error

    def write_usage(self, usage: Usage) -> None:
        """Raises `PrivateFileError`."""
        replace_private(self.path / "usage.json", usage.serialise())

    def read_service_record(self) -> ServiceRecord:
        """Raises `StateDamaged`."""
        path = self.path / "service.json"
        try:
            return ServiceRecord.parse(read_private(path)) if path.exists() else ServiceRecord()
        except RecordDamaged as error:
            raise StateDamaged(f"{path}: {error}") from error

    def write_service_record(self, record: ServiceRecord) -> None:
        """Raises `PrivateFileError`."""
        replace_private(self.path / "service.json", record.serialise())

    def read_places(self, name: str) -> list[Any]:
        """What was written last under this name; nothing before. Raises `StateDamaged`."""
        path = self.path / f"{name}.json"
        try:
            found = json.loads(read_private(path)) if path.exists() else []
        except ValueError as error:
            raise StateDamaged(f"{path} is damaged; remove it: it comes anew") from error
        return list(found)

    def write_places(self, name: str, places: Iterable[BaseModel]) -> None:
        """Of other routers, for the next start. Raises `PrivateFileError`."""
        replace_private(self.path / f"{name}.json", json.dumps([each.model_dump(mode="json") for each in places]).encode())

    def read_networks(self) -> Networks:
        """Raises `StateDamaged`."""
        path = self.path / "networks.json"
        try:
            stored = json.loads(path.read_bytes()) if path.exists() else []
            return Networks([(str(at), str(gateway), Rung(rung), length and int(length)) for at, gateway, rung, length in stored])
        except (OSError, ValueError, TypeError) as error:
            raise StateDamaged(f"{path} cannot be read; remove it: the ways out of each network are found anew") from error

    def write_networks(self, networks: Networks) -> None:
        """Raises `PrivateFileError`."""
        replace_private(self.path / "networks.json", json.dumps(networks.kept).encode())

    def forget_tunnel(self, tunnel: TunnelId) -> None:
        """Raises `PrivateFileError`."""
        path = self._tunnel(tunnel)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:  # such as a disk that may only be read since it failed
            raise PrivateFileError(f"cannot remove {path} ({error.strerror})") from error

    def _tunnel(self, tunnel: TunnelId) -> Path:
        return self.path / f"{tunnel.site}-{tunnel.gateway}-{tunnel.uplink}.tunnel"


def _written_key(key: PresharedKey | None) -> list[Any] | None:
    return None if key is None else [key.number, b64encode(key.secret).decode()]


def _read_key(stored: list[Any] | None) -> PresharedKey | None:
    return None if stored is None else PresharedKey(int(stored[0]), b64decode(stored[1]))


K = TypeVar("K", SiteKey, GatewayKey)


@dataclass(frozen=True, slots=True)
class PeerPlan:
    """What a peer is apart from its keys."""

    endpoint: tuple[str, int] | None
    allowed: tuple[str, ...]
    keepalive_s: int


class TunnelEnd(Generic[K]):
    """One end of a tunnel on this machine: the state machine of its key, its file, its peer in WireGuard."""

    def __init__(
        self,
        id: TunnelId,
        interface: str,
        plan: PeerPlan,
        wireguard: WireGuard,
        state: StateDirectory,
        machine: Callable[[TunnelKeys], K],
        used_in: Namespace | None = None,
    ) -> None:
        """used_in: where its interface is; None: in this namespace."""
        self.id, self.interface, self.plan = id, interface, plan
        self.used_in = used_in or Namespace()
        self._wireguard, self._state = wireguard, state
        self._machine: Callable[[TunnelKeys], K] = machine
        self.peer_key, keys = state.read_tunnel(id)
        self.key: K = machine(keys)
        self.send: Callable[[Message], None] | None = None
        """While the control connection is up."""
        self.exchange: Callable[[int], PresharedKey] | None = None
        self.peer: PeerState | None = None
        """As WireGuard last said."""
        self.fault: str | None = None
        self._is_behind = False
        """Whether the disk or WireGuard refused what has come into force."""

    def start(self) -> None:
        """Give WireGuard what is in force. Raises `HostRefused`."""
        self.perform(self.key.start())

    def meet(self, peer_key: bytes) -> None:
        """The other end's WireGuard key. Another one than before: that end was made anew, and nothing of the old one counts."""
        if peer_key != self.peer_key:
            self.forget()
            self.peer_key = peer_key
            self._state.write_tunnel(self.id, peer_key, self.key.keys)

    def forget(self) -> None:
        """No key, no peer, nothing stored. Raises `PrivateFileError` where the disk refuses the last; the peer is gone then."""
        with suppress(HostRefused):  # else `look_at` finds a peer of no tunnel
            self._remove_peer()
        self.peer_key, self.peer, self._is_behind = None, None, False
        self.key = self._machine(TunnelKeys())
        self._state.forget_tunnel(self.id)

    def perform(self, actions: Iterable[Action]) -> None:
        """In order. Raises `LocalError`: `look` then makes up for what was not stored or set; what was not said is asked for again."""
        try:
            self._perform(actions)
        except LocalError:
            self._is_behind = True
            raise

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Store(keys):
                    self._state.write_tunnel(self.id, self.peer_key, keys)
                case SetKey(key):
                    if key is None:
                        self._remove_peer()
                    else:
                        self._set_peer(key)
                case Send(message):
                    if self.send is not None:
                        self.send(message)
                case Exchange(number):
                    if self.exchange is not None and isinstance(self.key, SiteKey):
                        self.perform(self.key.handle_exchanged(self.exchange(number), now_s()))

    def look(self, peers: dict[bytes, PeerState]) -> None:
        """What WireGuard says now, and what is due. Raises `LocalError`."""
        if self._is_behind:
            self._state.write_tunnel(self.id, self.peer_key, self.key.keys)
            self.start()
            self._is_behind = False
        now = now_s()
        found = peers.get(self.peer_key) if self.peer_key is not None else None
        before, self.peer = self.peer, found
        if found is not None and found.last_handshake is not None and (before is None or found.last_handshake != before.last_handshake):
            # The first look after a start tells of a handshake of long ago: WireGuard's clock is the wall's.
            at = now if before is not None else min(now, now - (unix_s() - found.last_handshake))
            self.perform(self.key.handle_handshake(now, at=at))
        else:
            self.perform(self.key.handle_timer(now))

    @property
    def is_keyed(self) -> bool:
        return self.key.keys.in_force is not None

    @property
    def handshake_age_s(self) -> float | None:
        at: float | None = self.key.last_handshake
        return None if self.peer is None or at is None else now_s() - at

    @property
    def is_up(self) -> bool:
        """There is a session."""
        age = self.handshake_age_s
        return self.is_keyed and age is not None and age < self.key.timing.dead_s

    def status(self) -> dict[str, Any]:
        keys, age = self.key.keys, self.handshake_age_s
        if self.is_up:
            blocked = None
        elif self.fault is not None:
            blocked = self.fault
        else:
            blocked = "no handshake for too long" if self.is_keyed else "no post-quantum key yet"
        return {
            "site": self.id.site,
            "gateway": self.id.gateway,
            "uplink": self.id.uplink,
            "interface": self.interface,
            "keyed": self.is_keyed,
            "state": keys.state,
            "key_number": keys.in_force.number if keys.in_force else None,
            "agreed_number": keys.agreed.number if keys.agreed else None,
            "key_age_s": round(now_s() - keys.since, 1) if keys.in_force else None,
            "last_handshake_age_s": None if age is None else round(age, 1),
            "up": self.is_up,
            "blocked": blocked,
            "received": self.peer.received if self.peer else 0,
            "sent": self.peer.sent if self.peer else 0,
        }

    def _set_peer(self, key: PresharedKey) -> None:
        if self.peer_key is None:
            return
        peer = Peer(self.peer_key, key.secret, self.plan.endpoint, self.plan.allowed, self.plan.keepalive_s)
        self._wireguard.set_peer(self.interface, self.used_in, peer)

    def _remove_peer(self) -> None:
        if self.peer_key is not None and self.peer_key in self._wireguard.peers(self.interface, self.used_in):
            self._wireguard.remove_peer(self.interface, self.used_in, self.peer_key)


def look_at(wireguard: WireGuard, interface: str, used_in: Namespace, ends: Collection[TunnelEnd[K]]) -> None:
    """What WireGuard says of an interface now, and what is due in its tunnels; a peer of none of them goes. Raises `LocalError`."""
    peers = wireguard.peers(interface, used_in)
    strangers = peers.keys() - {end.peer_key for end in ends}
    do_all([partial(wireguard.remove_peer, interface, used_in, each) for each in strangers] + [partial(end.look, peers) for end in ends])


def do_all(turns: Iterable[Callable[[], None]]) -> None:
    """Whatever fails with one of them, the others get their turn. Raises the first `LocalError` in the end."""
    faults: list[LocalError] = []
    for turn in turns:
        try:
            turn()
        except LocalError as error:
            faults.append(error)
    if faults:
        raise faults[0]


def nested_status(inner: dict[str, Any], outer: dict[str, Any]) -> dict[str, Any]:
    """Of a tunnel within another: what carries traffic is the inner one, and only while both are up."""
    up = inner["up"] and outer["up"]
    blocked = f"outer layer: {outer['blocked']}" if outer["blocked"] else inner["blocked"] and f"inner layer: {inner['blocked']}"
    return {**inner, "keyed": inner["keyed"] and outer["keyed"], "up": up, "blocked": blocked, "outer": outer}


async def serve_status(directory: StateDirectory, status: Callable[[], dict[str, Any]]) -> asyncio.Server:
    """Whoever connects to the socket (mode 0600, in a directory of mode 0700) gets one JSON document."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            writer.write(json.dumps(status()).encode() + b"\n")
            await writer.drain()
        writer.close()

    listener = directory.listener()
    return await asyncio.start_unix_server(answer, sock=listener)


async def close_quietly(writer: asyncio.StreamWriter) -> None:
    """Also where the other end is gone."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
