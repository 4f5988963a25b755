"""The store: a SQLite file (`sqlite.py`, one machine) or a PostgreSQL server (`postgresql.py`), migrated to this release.

Both keep the same promises. `write` is one transaction at a time over all processes, so code may read, decide and write without a
thought for others. `beside` is for what must run at the same time, messages and acknowledgements: such work takes its own row locks,
and it is begun again when the database has found a conflict.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tramontana.control.store.faults import StoreConflict, StoreError, StoreInUse, StoreUnavailable
from tramontana.control.store.postgresql import PostgresqlDatabase, Sharing
from tramontana.control.store.postgresql_address import PostgresqlAddress
from tramontana.control.store.sqlite import DATABASE_NAME, DirectoryLock, SqliteFile, prepare_directory

__all__ = [
    "DATABASE_NAME",
    "DirectoryLock",
    "PostgresqlAddress",
    "Sharing",
    "Store",
    "StoreConflict",
    "StoreError",
    "StoreInUse",
    "StoreUnavailable",
    "prepare_directory",
]

MIGRATIONS = Path(__file__).parent / "migrations"
ATTEMPTS = 8
"""How often work `beside` others is begun before it fails."""
PAUSE_MS = 40
"""At most this long between two attempts, times their number, by chance: those who met must not meet again."""

T = TypeVar("T")


class Database(Protocol):
    """What stands behind a store: `sqlite.SqliteFile` or `postgresql.PostgresqlDatabase`."""

    engine: AsyncEngine
    name: str
    """For messages: "the database …"."""

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]: ...

    def read_one(self) -> AbstractAsyncContextManager[AsyncConnection]: ...

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]: ...

    def write_beside(self, *, durable: bool) -> AbstractAsyncContextManager[AsyncConnection]: ...

    def fault(self, error: Exception) -> StoreUnavailable | None:
        """What an exception means, where it means that the store cannot be used now."""

    async def may_migrate(self) -> bool:
        """Whether nobody else uses the database, so that its schema may change."""

    async def settle(self) -> None:
        """The schema is right: let others in."""

    async def leads(self) -> bool: ...

    async def keep(self) -> None: ...

    async def close(self) -> None: ...


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration for the migrations in the package, bound to a connection."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the schema up to a revision."""
    command.upgrade(alembic_config(connection), revision)


def downgrade(connection: Connection, revision: str) -> None:
    """Take the schema down to a revision; what it added is lost."""
    command.downgrade(alembic_config(connection), revision)


def latest_revision() -> str:
    """The revision that this release writes."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def current_revision(connection: Connection) -> str | None:
    """The revision that the database has, None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


class Store:
    """The open store. `read`, `write` and `beside` give a connection inside a transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, directory: Path, address: PostgresqlAddress | None = None, *, sharing: Sharing = "beside") -> Store:
        """Open the SQLite file of a directory, or a PostgreSQL database; create and migrate what is there. Raises `StoreError`.

        sharing: how this process stands to the servers of a PostgreSQL database; a SQLite file has one server (`DirectoryLock`).
        """
        database: Database
        if address is None:
            database = await asyncio.to_thread(SqliteFile, directory)
        else:
            database = await PostgresqlDatabase.open(address, sharing)
        store = cls(database)
        try:
            await store._migrate()
        except BaseException:
            await store.close()
            raise
        return store

    async def _migrate(self) -> None:
        name = self._database.name
        try:
            if await self._database.may_migrate():
                async with self.write() as connection:
                    await connection.run_sync(upgrade)
            else:
                async with self.read() as connection:
                    found = await connection.run_sync(current_revision)
                if found != latest_revision():
                    raise StoreError(
                        f"{name} has the schema of another release ({found or 'none yet'}; this one needs {latest_revision()}) and another "
                        "process uses it; nothing was changed. Stop every server process of the other release, then start this one"
                    )
            await self._database.settle()
        except CommandError as error:
            raise StoreError(
                f"{name} was written by another release ({error}); nothing was changed. Install the release that wrote it"
            ) from error
        except DBAPIError as error:
            raise StoreError(f"{name} cannot be prepared ({error.orig}); nothing was changed. Restore it from a backup") from error
        except StoreUnavailable as error:
            raise StoreError(f"{name} cannot be opened: {error}") from error

    @property
    def path(self) -> Path:
        """The file of a SQLite store."""
        assert isinstance(self._database, SqliteFile)
        return self._database.path

    @property
    def has_one_writer(self) -> bool:
        """Whether transactions `beside` each other are in truth one after the other."""
        return isinstance(self._database, SqliteFile)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One consistent snapshot. Raises `StoreUnavailable`."""
        async with self._naming_faults(), self._database.read() as connection:
            yield connection

    @asynccontextmanager
    async def read_one(self) -> AsyncIterator[AsyncConnection]:
        """For one statement, which sees one snapshot anyhow: one way to the database and back. Raises `StoreUnavailable`."""
        async with self._naming_faults(), self._database.read_one() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, alone over all processes, committed at the end and rolled back by an exception. Raises `StoreUnavailable`."""
        async with self._naming_faults(), self._database.write() as connection:
            yield connection

    async def beside(self, work: Callable[[AsyncConnection], Awaitable[T]], *, durable: bool = True) -> T:
        """One transaction at the same time as others of this kind, never at the same time as a `write`.

        `work` locks the rows that it changes, in one order for all, and may be begun several times. With `durable=False` a crash of
        the database may undo the last half second of it, which is right for what will be said again. Raises `StoreUnavailable`.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._naming_faults(), self._database.write_beside(durable=durable) as connection:
                    return await work(connection)
            except (StoreConflict, IntegrityError):  # a key that two wrote at once is a conflict as well: the second attempt sees the first
                if attempt == ATTEMPTS:
                    raise
            await asyncio.sleep(secrets.randbelow(PAUSE_MS * attempt) / 1000)
        raise AssertionError

    @asynccontextmanager
    async def _naming_faults(self) -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:
            fault = self._database.fault(error)
            if fault is None:
                raise
            raise fault from error

    async def leads(self) -> bool:
        """Whether this process is the one that does what must be done once only (ending calls, forgetting, fronts)."""
        return await self._database.leads()

    async def still_leads(self) -> bool:
        """Whether a process that leads goes on: nobody else can lead over a store that does not answer."""
        try:
            return await self.leads()
        except StoreUnavailable:
            return True

    async def keep(self) -> None:
        """Hold this process's place at the database until cancelled. Raises `StoreError` when it was lost for good."""
        await self._database.keep()

    async def close(self) -> None:
        await self._database.close()
