"""Real peers for the server's tests: PostgreSQL and NATS, started on loopback in a temporary directory as a user without rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from tramontana.control.store.database import PostgresqlAddress

PASSWORD = "a password of the tests"
START_S = 60.0


def _executable(name: str) -> str | None:
    """A server's program, which Debian keeps beside the path."""
    beside = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)] + ["/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join([*beside, os.environ.get("PATH", "")]))


def missing(*names: str) -> str | None:
    """Why a test is skipped on this machine, None where every program is there."""
    absent = [name for name in names if _executable(name) is None]
    return f"this machine lacks {', '.join(absent)} (scripts/requirements tests)" if absent else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _unprivileged() -> tuple[dict[str, object], int]:
    """How to start a program as nobody where we are root (PostgreSQL refuses root), and that user's id."""
    if os.geteuid() != 0:
        return {}, os.geteuid()
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}, nobody.pw_uid


class Postgresql:
    """One PostgreSQL server. Each test takes a database of its own."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self._as_nobody, owner = _unprivileged()
        self._directory = directory
        self._settings = settings
        os.chown(directory, owner, -1)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--pgdata", directory / "data", "--username=owner", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync",
                  "--locale=C", f"--pwfile={self._password_file()}")  # fmt: skip
        self.start()

    def _password_file(self) -> Path:
        path = self._directory / "password"
        path.write_text(PASSWORD)
        path.chmod(0o644)
        return path

    def _run(self, name: str, *arguments: object) -> None:
        program = _executable(name)
        assert program is not None
        subprocess.run(
            [program, *map(str, arguments)], check=True, capture_output=True, cwd=self._directory, **self._as_nobody  # type: ignore[call-overload]
        )  # fmt: skip

    def start(self) -> None:
        program = _executable("postgres")
        assert program is not None
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",  # processes are killed here, never the power
            "max_connections": "120",
            "log_min_messages": "panic",
            **self._settings,
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [program, "-D", str(self._directory / "data"), "-p", str(self.port), *options],
            cwd=self._directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as_nobody,  # type: ignore[call-overload]
        )
        deadline = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None, "PostgreSQL did not start"
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process that starts all others."""
        assert self._process is not None
        return self._process.pid

    def _answers(self) -> bool:
        program = _executable("pg_isready")
        assert program is not None
        return subprocess.run([program, "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast shutdown. SIGQUIT: at once, as in a crash (PostgreSQL 15 §19.5)."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(START_S)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql://owner@127.0.0.1:{self.port}/{database}"

    def address(self, database: str) -> PostgresqlAddress:
        return PostgresqlAddress(self.url(database), PASSWORD)

    async def create(self, template: str = "template0") -> str:
        """A new database. Returns its name."""
        name = f"test_{secrets.token_hex(6)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING 'UTF8'")
        return name

    async def drop(self, database: str) -> None:
        await self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    async def execute(self, statement: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(self.url(database), password=PASSWORD)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def postgresql(**settings: str) -> Iterator[Postgresql]:
    """A running PostgreSQL server with these settings, and no trace of it afterwards."""
    with tempfile.TemporaryDirectory(prefix="tramontana-postgresql-") as directory:
        Path(directory).chmod(0o755)
        server = Postgresql(Path(directory), **settings)
        try:
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.stop(signal.SIGQUIT)


class Nats:
    """One NATS server."""

    def __init__(self, directory: Path, token: str | None = None, *, jetstream: bool = False) -> None:
        self._as_nobody, owner = _unprivileged()
        self._directory = directory
        os.chown(directory, owner, -1)
        self._token = token
        self._jetstream = jetstream
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        program = _executable("nats-server")
        assert program is not None
        options = ["--addr", "127.0.0.1", "--port", str(self.port)]
        if self._token is not None:
            options += ["--auth", self._token]
        if self._jetstream:
            options += ["--jetstream", "--store_dir", str(self._directory)]
        self._process = subprocess.Popen(
            [program, *options],
            cwd=self._directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._as_nobody,  # type: ignore[call-overload]
        )
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            assert self._process.poll() is None, "the NATS server did not start"
            assert time.monotonic() < deadline, "the NATS server does not answer"
            time.sleep(0.05)

    def stop(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(START_S)

    def restart(self) -> None:
        self.stop()
        self.start()


@contextmanager
def nats(token: str | None = None, *, jetstream: bool = False) -> Iterator[Nats]:
    """A running NATS server."""
    with tempfile.TemporaryDirectory(prefix="tramontana-nats-") as directory:
        Path(directory).chmod(0o755)
        server = Nats(Path(directory), token, jetstream=jetstream)
        try:
            yield server
        finally:
            server.stop()
