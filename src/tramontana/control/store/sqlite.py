"""The store of one machine: a SQLite file in WAL mode with full synchronisation, private to its owner.

An accepted message is on disk before it is acknowledged (`synchronous=FULL`). Writers queue on one lock in this process and begin
with `BEGIN IMMEDIATE`, so a transaction that read first never fails on its first write; other processes (`tramontana invite`) are
waited for during `BUSY_TIMEOUT_S`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tramontana.control.store.faults import StoreError, StoreInUse, StoreUnavailable

DATABASE_NAME = "tramontana.db"
LOCK_NAME = "server.lock"
BUSY_TIMEOUT_S = 10


def prepare_directory(directory: Path) -> None:
    """Make the data directory for its owner alone and make sure that it can be written. Raises `StoreError`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = directory / f".write-test-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"the data directory {directory} cannot be used: this user cannot write there ({error.strerror}); nothing was changed. "
            "Give it write permission or free space, or choose another directory with --data"
        ) from error


class DirectoryLock:
    """Held by the one server of a data directory; freed by the operating system when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        """Raises `StoreInUse`."""
        self._descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreInUse(
                f"another server (process {holder}) already uses {directory}; nothing was changed. "
                "Stop it first, or choose another directory with --data"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


def _make_private(path: Path) -> None:
    """Make the file, or take what others may do with it away: a backup may have come back readable by all. Raises `StoreError`."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode & 0o077:
                os.fchmod(descriptor, mode & 0o700)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StoreError(
            f"the database {path} cannot be read, written and kept private by this user ({error.strerror}); nothing was changed. "
            "Check its owner and permissions (chmod 600)"
        ) from error


def _check_file(path: Path) -> None:
    """Read-only look at an existing database. Raises `StoreError` where SQLite finds damage."""
    if not path.exists() or path.stat().st_size == 0:
        return
    finding = "ok"
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        try:
            finding = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"the database {path} cannot be read ({error}); nothing was changed. Check its permissions and the disk"
        ) from error
    except sqlite3.DatabaseError as error:
        finding = str(error)
    if finding != "ok":
        raise StoreError(
            f"the database is damaged: {path}: {' '.join(finding.split())}; nothing was changed. "
            f"Restore {path.name} from a backup, or move it away to begin with an empty one"
        )


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's documented way: we begin transactions ourselves, below
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
        "trusted_schema=OFF",
        "secure_delete=ON",  # what was acknowledged is overwritten, not only unlinked
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("tramontana_write") else "BEGIN")


class SqliteFile:
    """The database file of a data directory."""

    def __init__(self, directory: Path) -> None:
        """Check the file, creating it if need be. Blocks. Raises `StoreError`."""
        prepare_directory(directory)
        self.path = directory / DATABASE_NAME
        self.name = f"the database {self.path}"
        _make_private(self.path)  # first: whoever opens it next gives its WAL the same mode
        _check_file(self.path)
        # hide_parameters: an error message must never carry a digest or a payload into a log
        self.engine = create_async_engine(f"sqlite+aiosqlite:///{self.path}", hide_parameters=True, pool_size=4, max_overflow=4)
        event.listen(self.engine.sync_engine, "connect", _on_connect)
        event.listen(self.engine.sync_engine, "begin", _on_begin)
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self.engine.connect() as connection, connection.begin():
            yield connection

    def read_one(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.read()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self._writing, self.engine.connect() as connection:
            await connection.execution_options(tramontana_write=True)
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def write_beside(self, *, durable: bool) -> AsyncIterator[AsyncConnection]:
        """SQLite has one writer at a time, whatever it writes, and every commit is on disk."""
        async with self.write() as connection:
            yield connection

    def fault(self, error: Exception) -> StoreUnavailable | None:
        """What an exception means, where it means that the store cannot be used now."""
        if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.OperationalError):
            return StoreUnavailable(f"the store cannot be written now ({error.orig}); nothing was changed")
        return None

    async def may_migrate(self) -> bool:
        return True

    async def settle(self) -> None:
        """Nobody else is to be told."""

    async def leads(self) -> bool:
        return True

    async def keep(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        await self.engine.dispose()
