"""The media relay, and coturn in its place, as processes on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tramontana.phone.relay_secret import RelaySecret, load_relay_secret

COMMAND = "from tramontana.cli.media import relay; relay()"
PATIENCE_S = 20.0


@dataclass
class Relay:
    """A running relay and the secret it shares with us."""

    process: subprocess.Popen[str]
    port: int
    secret: RelaySecret


def start_relay(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def built_in_relay(directory: Path, *arguments: str) -> Iterator[Relay]:
    secret_file = directory / "relay-secret"
    process = start_relay("--port", "0", "--secret-file", str(secret_file), *arguments)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())["ready"]
        yield Relay(process, ready["port"], load_relay_secret(secret_file))
    finally:
        process.kill()
        process.communicate()


@contextmanager
def coturn(directory: Path) -> Iterator[Relay]:
    """coturn with the same credentials; its secret stands in a private file, not among its arguments."""
    text = "a-secret-of-32-characters-or-more"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = directory / "turnserver.conf"
    configuration.touch(0o600)
    configuration.write_text(
        f"listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nuse-auth-secret\nstatic-auth-secret={text}\nrealm=tramontana\n"
        f"allow-loopback-peers\nno-cli\nno-tls\nno-dtls\nno-tcp\nlog-file=stdout\npidfile={directory / 'pid'}\n"
        f"userdb={directory / 'turndb'}\n"
    )
    process = subprocess.Popen(["turnserver", "-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    try:
        await_binding(port)
        yield Relay(process, port, RelaySecret(text))
    finally:
        process.kill()
        process.communicate()


def await_binding(port: int) -> None:
    """Ask for a STUN binding until it is answered."""
    request = bytes.fromhex("000100002112a442") + bytes(12)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.1", port))
        asking.settimeout(0.1)
        for _ in range(int(PATIENCE_S / 0.1)):
            try:
                asking.send(request)
                asking.recv(1000)
            except TimeoutError:
                continue
            except ConnectionRefusedError:  # it comes at once
                time.sleep(0.1)
                continue
            return
    raise AssertionError(f"nothing answers at UDP port {port}")
