"""What a packet costs in the media relay: processor time and packets a core-second, beside peers and a bound, in one run.

- *relay*: the product's relay, two phones with a channel each (ChannelData in, ChannelData out).
- *coturn*: the peer, if `turnserver` is installed, with the same credentials and channels.
- *plain forward*: the bound, a Python loop that receives a datagram and sends it on.

Both phones stand in this process and keep a window of packets under way, so nothing is lost and nothing is paced; what is compared is the
processor time of the other process for each packet that arrived.

Run: python bench/relay.py
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tramontana.phone import stun
from tramontana.phone.driver import SOCKET_BUFFER_BYTES, run_relay
from tramontana.phone.relay_secret import RelaySecret, load_or_make_relay_secret, load_relay_secret
from tramontana.phone.stun import Attribute, Class, Method, StunMessage

PACKETS = 150_000
WINDOW = 64
PAYLOAD = bytes(160)
"""About a sealed Opus frame with its RTP header."""
CHANNEL = 0x4000
REALM = "tramontana"


class Phone:
    """A TURN client that does what the benchmark needs."""

    def __init__(self, server: tuple[str, int], secret: RelaySecret, device: str) -> None:
        self.socket = udp()
        self.socket.settimeout(5)
        self.socket.connect(server)
        issued = secret.issue(device, time.time() + 600)
        self._key = secret.long_term_key(issued.username, REALM)
        self._credentials = [(Attribute.USERNAME, issued.username.encode()), (Attribute.REALM, REALM.encode())]
        transport = (Attribute.REQUESTED_TRANSPORT, bytes([17, 0, 0, 0]))
        nonce = self._ask(Method.ALLOCATE, [transport], signed=False).get(Attribute.NONCE)
        assert nonce is not None
        self._credentials.append((Attribute.NONCE, nonce))
        allocated = self._ask(Method.ALLOCATE, [transport])
        relayed = allocated.get(Attribute.XOR_RELAYED_ADDRESS)
        assert relayed is not None
        self.relayed = stun.parse_xor_address(relayed, allocated.transaction_id)

    def bind(self, peer: tuple[str, int]) -> None:
        transaction_id = secrets.token_bytes(12)
        number = (Attribute.CHANNEL_NUMBER, CHANNEL.to_bytes(2, "big") + bytes(2))
        wanted = [number, (Attribute.XOR_PEER_ADDRESS, stun.pack_xor_address(peer, transaction_id))]
        answer = self._ask(Method.CHANNEL_BIND, wanted, transaction_id=transaction_id)
        assert answer.message_class == Class.SUCCESS

    def _ask(
        self, method: Method, attributes: list[tuple[Attribute, bytes]], *, signed: bool = True, transaction_id: bytes | None = None
    ) -> StunMessage:
        wanted = attributes + (self._credentials if signed else [])
        transaction_id = transaction_id or secrets.token_bytes(12)
        self.socket.send(stun.encode(method, Class.REQUEST, transaction_id, wanted, key=self._key if signed else None))
        return stun.parse(self.socket.recv(2048))


def udp() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    opened.bind(("127.0.0.1", 0))
    return opened


# --- the engines; each is a process that prints its port when it is ready ---


def serve_relay(secret_file: str) -> None:
    run_relay(host="127.0.0.1", port=0, secret_file=Path(secret_file), on_ready=lambda port: print(port, flush=True))


def serve_forward(upstream: str) -> None:
    here, destination = udp(), ("127.0.0.1", int(upstream))
    here.setblocking(False)
    print(here.getsockname()[1], flush=True)
    while True:
        select.select([here], [], [])
        try:
            for _ in range(64):
                here.sendto(here.recvfrom(65535)[0], destination)
        except BlockingIOError:
            continue


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def own(role: str, argument: str) -> list[str]:
    return [sys.executable, __file__, role, argument]


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


# --- the measurement ---


def processor_s(pid: int) -> float:
    """User and system time of a process with all its threads, in seconds (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cost(pid: int, sender: socket.socket, packet: bytes, receiver: socket.socket) -> tuple[float, float]:
    """(processor µs a packet, packets a second) over `PACKETS` packets. Raises `TimeoutError` if one is lost."""
    receiver.settimeout(5)
    before, begin = processor_s(pid), time.monotonic()
    for _ in range(PACKETS // WINDOW):
        for _ in range(WINDOW):
            sender.send(packet)
        for _ in range(WINDOW):
            receiver.recv(2048)
    count = PACKETS // WINDOW * WINDOW
    return (processor_s(pid) - before) / count * 1e6, count / (time.monotonic() - begin)


def cost_of_turn(process: subprocess.Popen[str], port: int, secret: RelaySecret) -> tuple[float, float]:
    a, b = (Phone(("127.0.0.1", port), secret, device) for device in ("a", "b"))
    with a.socket, b.socket:
        a.bind(b.relayed)
        b.bind(a.relayed)
        packet = CHANNEL.to_bytes(2, "big") + len(PAYLOAD).to_bytes(2, "big") + PAYLOAD
        return cost(process.pid, a.socket, packet, b.socket)


def cost_of_coturn(directory: Path) -> tuple[float, float]:
    secret_file = directory / "coturn-secret"
    secret = load_or_make_relay_secret(secret_file)
    with udp() as free:
        port = free.getsockname()[1]
    configuration = directory / "turnserver.conf"
    configuration.touch(0o600)
    configuration.write_text(
        f"listening-ip=127.0.0.1\nrelay-ip=127.0.0.1\nlistening-port={port}\nuse-auth-secret\nrealm={REALM}\nallow-loopback-peers\n"
        f"static-auth-secret={secret_file.read_text().strip()}\nno-cli\nno-tls\nno-dtls\nno-tcp\nlog-file={directory / 'log'}\n"
        f"pidfile={directory / 'pid'}\nuserdb={directory / 'turndb'}\n"
    )
    with started(["turnserver", "-c", str(configuration)]) as process:
        for _ in range(100):
            try:
                return cost_of_turn(process, port, secret)
            except ConnectionRefusedError:  # not yet there
                time.sleep(0.1)
    raise SystemExit("coturn did not start")


def main() -> None:
    results: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        secret_file = directory / "relay-secret"
        with started(own("relay", str(secret_file))) as process:
            port = port_of(process)
            results["relay"] = cost_of_turn(process, port, load_relay_secret(secret_file))
        if shutil.which("turnserver"):
            results["coturn"] = cost_of_coturn(directory)
        with udp() as sender, udp() as receiver, started(own("forward", str(receiver.getsockname()[1]))) as process:
            sender.connect(("127.0.0.1", port_of(process)))
            results["plain forward"] = cost(process.pid, sender, bytes(4) + PAYLOAD, receiver)
    print(
        f"Media relay: {PACKETS} packets of {len(PAYLOAD)} octets, window {WINDOW}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':16}{'µs a packet':>12}{'packets a core-second':>24}{'packets/s here':>16}")
    for name, (microseconds, rate) in results.items():
        print(f"{name:16}{microseconds:12.1f}{1e6 / microseconds:24.0f}{rate:16.0f}")
    ratios = [f"{results['relay'][0] / results['plain forward'][0]:.2f} times the bound's processor time a packet"]
    if "coturn" in results:
        ratios.append(f"{results['relay'][0] / results['coturn'][0]:.2f} times coturn's")
    print("Ratios: " + "; ".join(ratios) + "." + ("" if "coturn" in results else " coturn is not installed, so it was left out."))


ROLES = {"relay": serve_relay, "forward": serve_forward}

if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        ROLES[sys.argv[1]](sys.argv[2])
