"""WireGuard: the kernel's where there is one, else wireguard-go; both through the same face.

wireguard-go is spoken to over its Unix socket in the words of https://www.wireguard.com/xplatform/, the kernel through `wg` fed by standard
input. Keys are set at living peers only: a peer that is removed and added again loses seconds of traffic.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tramontana.internet.linux import links
from tramontana.internet.linux.namespace import HostRefused, Namespace, run

SOCKETS = Path("/var/run/wireguard")
"""Shared by all network namespaces: names of interfaces are unique on the machine."""
START_TIMEOUT_S = 10.0
UAPI_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Peer:
    """What a peer has to be. `endpoint` None: it is learned from what the peer sends."""

    public_key: bytes
    preshared_key: bytes = field(repr=False)
    endpoint: tuple[str, int] | None
    allowed: tuple[str, ...]
    """Networks."""
    keepalive_s: int


@dataclass(frozen=True, slots=True)
class PeerState:
    public_key: bytes
    endpoint: str
    last_handshake: float | None
    """POSIX seconds, to the nanosecond; None where there was none."""
    received: int
    """Octets."""
    sent: int


class WireGuard(Protocol):
    """Interfaces are made in the namespace where their UDP sockets are to be, and moved to where they are used."""

    name: str
    """Which implementation it is."""

    def ensure(self, name: str, sockets_in: Namespace, used_in: Namespace) -> None:
        """Make the interface unless it lives. Raises `HostRefused`."""
        ...

    def is_alive(self, name: str, used_in: Namespace) -> bool: ...

    def remove(self, name: str, used_in: Namespace) -> None: ...

    def configure(self, name: str, used_in: Namespace, *, private_key: bytes, listen_port: int, mark: int) -> None: ...

    def set_peer(self, name: str, used_in: Namespace, peer: Peer) -> None:
        """Add it, or change what differs."""
        ...

    def remove_peer(self, name: str, used_in: Namespace, public_key: bytes) -> None: ...

    def peers(self, name: str, used_in: Namespace) -> dict[bytes, PeerState]: ...


def new_private_key() -> bytes:
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private_key: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


class UserspaceWireGuard:
    """One process of wireguard-go for each interface. It outlives whoever started it."""

    name = "wireguard-go"

    def ensure(self, name: str, sockets_in: Namespace, used_in: Namespace) -> None:
        if not self.is_alive(name, used_in):
            self.remove(name, used_in)
            self._start(name, sockets_in)
        links.move_link(name, sockets_in, used_in)

    def _start(self, name: str, sockets_in: Namespace) -> None:
        if links.has_link(sockets_in, name):  # of another process, or left by a crash between making and moving
            run(["ip", *([] if sockets_in.name is None else ["-n", sockets_in.name]), "link", "del", name])
        environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LOG_LEVEL": "error"}
        command = sockets_in.command(["wireguard-go", "-f", name])
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise HostRefused("neither this kernel has WireGuard nor is wireguard-go installed (Debian: wireguard-go)") from error
        except OSError as error:  # no more files or processes to be had
            raise HostRefused(f"wireguard-go cannot be started ({error.strerror})") from error
        until = time.monotonic() + START_TIMEOUT_S
        while not self._answers(name):
            if process.poll() is not None or time.monotonic() > until:
                raise HostRefused(f"wireguard-go did not start for {name}; is /dev/net/tun there, and the name not taken?")
            time.sleep(0.01)

    def is_alive(self, name: str, used_in: Namespace) -> bool:
        return self._answers(name) and links.has_link(used_in, name)

    def remove(self, name: str, used_in: Namespace) -> None:
        with suppress(OSError), self._connect(name) as connection:
            pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            os.kill(pid, signal.SIGTERM)
            until = time.monotonic() + UAPI_TIMEOUT_S
            while Path(f"/proc/{pid}/exe").exists() and time.monotonic() < until:
                time.sleep(0.01)
        (SOCKETS / f"{name}.sock").unlink(missing_ok=True)

    def configure(self, name: str, used_in: Namespace, *, private_key: bytes, listen_port: int, mark: int) -> None:
        port = [f"listen_port={listen_port}"] if listen_port else []
        self._ask(name, "set=1", f"private_key={private_key.hex()}", *port, f"fwmark={mark}")

    def set_peer(self, name: str, used_in: Namespace, peer: Peer) -> None:
        lines = [f"public_key={peer.public_key.hex()}", f"preshared_key={peer.preshared_key.hex()}"]
        known = self.peers(name, used_in).get(peer.public_key)
        if peer.endpoint is not None and (known is None or known.endpoint != _endpoint(peer.endpoint)):
            lines.append(f"endpoint={_endpoint(peer.endpoint)}")
        lines += [f"persistent_keepalive_interval={peer.keepalive_s}", "replace_allowed_ips=true"]
        self._ask(name, "set=1", *lines, *(f"allowed_ip={network}" for network in peer.allowed))

    def remove_peer(self, name: str, used_in: Namespace, public_key: bytes) -> None:
        self._ask(name, "set=1", f"public_key={public_key.hex()}", "remove=true")

    def peers(self, name: str, used_in: Namespace) -> dict[bytes, PeerState]:
        found: list[dict[str, str]] = []
        for line in self._ask(name, "get=1"):
            word, _, value = line.partition("=")
            if word == "public_key":
                found.append({})
            if found:
                found[-1][word] = value
        return {bytes.fromhex(each["public_key"]): _state(each) for each in found}

    def _answers(self, name: str) -> bool:
        with suppress(OSError), self._connect(name):
            return True
        return False

    def _connect(self, name: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(UAPI_TIMEOUT_S)
        try:
            connection.connect(str(SOCKETS / f"{name}.sock"))
        except OSError:
            connection.close()
            raise
        return connection

    def _ask(self, name: str, *lines: str) -> list[str]:
        """The lines of the answer. Raises `HostRefused`."""
        try:
            with self._connect(name) as connection, connection.makefile("rw", encoding="ascii", newline="\n") as stream:
                stream.write("".join(line + "\n" for line in lines) + "\n")
                stream.flush()
                answer = []
                while (line := stream.readline().rstrip("\n")) and not line.startswith("errno="):
                    answer.append(line)
        except OSError as error:
            raise HostRefused(f"wireguard-go of {name} does not answer ({error.strerror or error}); it is started again") from error
        if line != "errno=0":
            raise HostRefused(f"wireguard-go of {name} refused ({line or 'no answer'})")
        return answer


class KernelWireGuard:
    """The kernel's own: an interface keeps its UDP socket in the namespace where it was made."""

    name = "kernel"

    def ensure(self, name: str, sockets_in: Namespace, used_in: Namespace) -> None:
        if not self.is_alive(name, used_in):
            if not links.has_link(sockets_in, name):
                links.batch(sockets_in, [f"link add {name} type wireguard"])
            links.move_link(name, sockets_in, used_in)

    def is_alive(self, name: str, used_in: Namespace) -> bool:
        return links.has_link(used_in, name)

    def remove(self, name: str, used_in: Namespace) -> None:
        if links.has_link(used_in, name):
            links.batch(used_in, [f"link del {name}"])

    def configure(self, name: str, used_in: Namespace, *, private_key: bytes, listen_port: int, mark: int) -> None:
        port = f"ListenPort = {listen_port}\n" if listen_port else ""
        self._add(name, used_in, f"[Interface]\nPrivateKey = {_base64(private_key)}\n{port}FwMark = {mark}\n")

    def set_peer(self, name: str, used_in: Namespace, peer: Peer) -> None:
        text = f"[Peer]\nPublicKey = {_base64(peer.public_key)}\nPresharedKey = {_base64(peer.preshared_key)}\n"
        known = self.peers(name, used_in).get(peer.public_key)
        if peer.endpoint is not None and (known is None or known.endpoint != _endpoint(peer.endpoint)):
            text += f"Endpoint = {_endpoint(peer.endpoint)}\n"
        self._add(name, used_in, f"{text}PersistentKeepalive = {peer.keepalive_s}\nAllowedIPs = {', '.join(peer.allowed)}\n")

    def remove_peer(self, name: str, used_in: Namespace, public_key: bytes) -> None:
        run(["wg", "set", name, "peer", _base64(public_key), "remove"], namespace=used_in)

    def peers(self, name: str, used_in: Namespace) -> dict[bytes, PeerState]:
        found = {}
        for line in run(["wg", "show", name, "dump"], namespace=used_in).splitlines()[1:]:
            public_key, _, endpoint, _, handshake, received, sent, _ = line.split("\t")
            key = b64decode(public_key)
            endpoint = "" if endpoint == "(none)" else endpoint
            at = float(handshake) or None
            found[key] = PeerState(key, endpoint, at, int(received), int(sent))
        return found

    def _add(self, name: str, used_in: Namespace, text: str) -> None:
        try:
            run(["wg", "addconf", name, "/dev/stdin"], stdin=text, namespace=used_in)
        except HostRefused:
            raise HostRefused(f"`wg addconf {name}` was refused") from None  # its complaint quotes the line, which may be a key


def wireguard_here() -> WireGuard:
    """The kernel's if it makes interfaces, else wireguard-go."""
    probe = f"wgtry{os.getpid() % 100000}"
    try:
        links.batch(Namespace(), [f"link add {probe} type wireguard", f"link del {probe}"])
    except HostRefused:
        return UserspaceWireGuard()
    return KernelWireGuard()


def layers_here() -> tuple[WireGuard, WireGuard]:
    """(outer, inner) of nested tunnels: two implementations where the kernel has one and wireguard-go is installed, else one for both."""
    kernel = wireguard_here()
    if isinstance(kernel, KernelWireGuard) and shutil.which("wireguard-go") is not None:
        return UserspaceWireGuard(), kernel
    return kernel, kernel


def remove_outer(between: str, names: Iterable[str]) -> None:
    """Outer tunnels, with the namespace between the layers; nothing where there is none. Raises `HostRefused`."""
    namespace = Namespace(between)
    if namespace.exists:
        tool, _ = layers_here()
        for name in names:
            tool.remove(name, namespace)
        namespace.remove()


def _state(fields: dict[str, str]) -> PeerState:
    handshake = int(fields.get("last_handshake_time_sec", 0)) + int(fields.get("last_handshake_time_nsec", 0)) / 1e9
    return PeerState(
        bytes.fromhex(fields["public_key"]),
        fields.get("endpoint", ""),
        handshake or None,
        int(fields.get("rx_bytes", 0)),
        int(fields.get("tx_bytes", 0)),
    )


def _endpoint(endpoint: tuple[str, int]) -> str:
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _base64(key: Sequence[int] | bytes) -> str:
    return b64encode(bytes(key)).decode()
