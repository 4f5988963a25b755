"""taky, a TAK server, as a process on a port of this machine, and the authority that signs for it and its clients."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tramontana.cell.cot import Event, EventStream, encode, parse

PYTHON = Path(__file__).parents[2] / ".venv-tak" / "bin" / "python"
NEEDS_TAKY = pytest.mark.skipif(not PYTHON.exists(), reason="taky is not installed (make .venv-tak)")
TIMEOUT_S = 120.0
SETTINGS = """
[taky]
bind_ip = 127.0.0.1
root_dir = {directory}
[cot_server]
port = {port}
mon_ip
[ssl]
enabled = true
client_cert_required = true
ca = {directory}/ca.pem
ca_key = {directory}/ca.key
cert = {directory}/server.pem
key = {directory}/server.key
cert_db = {directory}/cert-db.txt
"""


class Authority:
    """Signs for one server and one client."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")])
        self.write("ca", self._sign(self._name, self._key.public_key(), is_authority=True), self._key)

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool = False, days: int = 1) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(2)).not_valid_after(now + timedelta(days))
        builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        if not is_authority:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def issue(self, name: str, *, days: int = 1) -> None:
        """days: for which it is good from now; -1: it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        self.write(name, self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key.public_key(), days=days), key)

    def write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        (self.directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path = self.directory / f"{name}.key"
        path.write_bytes(encoded)
        path.chmod(0o600)


def authority(directory: Path) -> Authority:
    directory.mkdir()
    made = Authority(directory)
    made.issue("server")
    made.issue("client")
    return made


class Client:
    """A unit in the field with a TAK client."""

    def __init__(self, directory: Path, port: int) -> None:
        context = ssl.create_default_context(cafile=directory / "ca.pem")
        context.load_cert_chain(directory / "client.pem", directory / "client.key")
        plain = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._socket = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self._stream = EventStream()
        self._heard: list[Event] = []

    def say(self, event: Event) -> None:
        self._socket.sendall(encode(event))

    def hears(self, kind: str) -> Event:
        """The first event of this type, whenever it comes."""
        while True:
            for event in self._heard:
                if event.kind == kind:
                    return event
            octets = self._socket.recv(65536)
            assert octets, "taky closed the connection"
            self._heard += [parse(whole) for whole in self._stream.receive(octets)]

    def close(self) -> None:
        self._socket.close()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S).close()
    except OSError:
        return False
    return True


@contextmanager
def taky(directory: Path) -> Iterator[int]:
    """taky over TLS; yields its port. `directory` holds what `authority` has made."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings, log = directory / "taky.conf", directory / "taky.log"
    settings.write_text(SETTINGS.format(directory=directory, port=port))
    with log.open("wb") as out:
        process = subprocess.Popen([PYTHON, "-m", "taky.cot", "-l", "debug", "-c", settings], cwd=directory, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
