"""The store of many server processes: a PostgreSQL database (tested with release 15).

What SQLite's one lock did, an advisory lock does here over all processes: `write` takes it alone, `write_beside` shares it. So code
that reads, decides and writes is as safe as before, and what must run at the same time (messages, acknowledgements) does, with row
locks of its own. A commit is flushed to disk before it counts (`synchronous_commit`).

Each process keeps one connection of its own beside the pool, its anchor. It holds three more locks for as long as the process lives
(however it ends, the server frees them): the schema (shared, so that nobody migrates under a running process), the place of a
server, and the leadership for what must be done once only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tramontana.control.store.faults import StoreConflict, StoreError, StoreInUse, StoreUnavailable
from tramontana.control.store.postgresql_address import PASSWORD_VARIABLE, PostgresqlAddress

Sharing = Literal["alone", "several", "beside"]
"""`alone`: the one server of the database. `several`: one of its servers, which tell each other by events. `beside`: a command."""

LOCKS = 0x7472616D  # "tram": the first half of our advisory locks, PostgreSQL 15 §13.3.5
WRITE, SCHEMA, SERVER, LEADER = range(1, 5)

CONNECT_TIMEOUT_S = 10.0
LOCK_TIMEOUT_S = 10
"""How long a transaction waits for others, as long as SQLite does."""
STATEMENT_TIMEOUT_S = 60
IDLE_IN_TRANSACTION_S = 30
"""A process that was stopped in mid-transaction stops all others for at most this long."""
MIGRATION_TIMEOUT_S = 600
"""How long a second process waits for the first to migrate."""
POOL_CONNECTIONS = 8
POOL_OVERFLOW = 4
POOL_TIMEOUT_S = 30
"""How long a transaction waits for a connection: many phones that come back at once after a restart queue here."""
KEEP_EVERY_S = 2.0
MIN_VERSION = 140000

_CONFLICTS = frozenset({"40001", "40P01"})
"""Serialisation failure, deadlock: PostgreSQL 15 Appendix A."""
_UNAVAILABLE_CLASSES = frozenset({"08", "53", "57", "58"})
"""Connection exception, insufficient resources, operator intervention, system error."""
_UNAVAILABLE = frozenset({"25006", "25P03", "55P03"})
"""Read-only transaction, idle-in-transaction timeout, lock not available."""

logger = logging.getLogger(__name__)


async def _connect(address: PostgresqlAddress, **settings: str) -> asyncpg.Connection[Any]:
    return await asyncpg.connect(
        address.url,
        password=address.password,
        # An address of this machine without a word about it: no TLS. (An address of another one always has the word.)
        ssl=None if "sslmode=" in address.url else False,
        timeout=CONNECT_TIMEOUT_S,
        server_settings={
            "application_name": "tramontana",
            "lock_timeout": f"{LOCK_TIMEOUT_S}s",
            "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_S}s",
            "tcp_keepalives_idle": "10",  # a machine that vanished frees its locks within half a minute
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
            **settings,
        },
    )


def _why_not_connected(address: PostgresqlAddress, error: BaseException) -> StoreError:
    name = f"the database {address}"
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return StoreError(
            f"{name} refused the user or password: check {PASSWORD_VARIABLE} or --database-password-file, and pg_hba.conf of the server"
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return StoreError(f"{name} does not exist: make it with createdb, with an owner that is the user of the address")
    if isinstance(error, asyncpg.CannotConnectNowError):
        return StoreError(f"{name} is starting or stopping ({error}): try again in a moment")
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return StoreError(f"{name} takes no more connections ({error}): raise max_connections; a server process uses up to 13")
    if isinstance(error, OSError | TimeoutError):
        return StoreError(f"{name} cannot be reached ({error or 'no answer'}): start PostgreSQL there, or correct --database")
    return StoreError(f"{name} cannot be opened ({' '.join(str(error).split())})")


_REFUSALS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError)
"""What asyncpg raises when it cannot connect."""


class PostgresqlDatabase:
    """A database of which this process holds the anchor."""

    def __init__(self, address: PostgresqlAddress, sharing: Sharing) -> None:
        self.name = f"the database {address}"
        self._address = address
        self._sharing = sharing
        self._anchor: asyncpg.Connection[Any] | None = None
        self._anchoring = asyncio.Lock()
        self._is_leader = False
        self._revision: str | None = None
        self.engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._pooled,
            hide_parameters=True,
            pool_size=POOL_CONNECTIONS,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=POOL_TIMEOUT_S,
        )
        event.listen(self.engine.sync_engine, "begin", _on_begin)
        event.listen(self.engine.sync_engine, "checkout", _on_checkout)

    @classmethod
    async def open(cls, address: PostgresqlAddress, sharing: Sharing) -> PostgresqlDatabase:
        """Connect, and check that this database can keep what it is given. Raises `StoreError`."""
        database = cls(address, sharing)
        try:
            database._anchor = await _connect(address)
            await database._check(database._anchor)
            await database._take_place(database._anchor)
        except _REFUSALS as error:
            await database.close()
            raise _why_not_connected(address, error) from error
        except BaseException:
            await database.close()
            raise
        return database

    async def _check(self, anchor: asyncpg.Connection[Any]) -> None:
        found = await anchor.fetchrow(
            "SELECT pg_is_in_recovery() AS is_replica, current_setting('transaction_read_only') AS read_only, "
            "current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding, "
            "current_setting('synchronous_commit') AS synchronous, current_setting('fsync') AS fsync"
        )
        assert found is not None
        if found["version"] < MIN_VERSION:
            raise StoreError(f"{self.name} is PostgreSQL {found['version'] // 10000}: this release needs {MIN_VERSION // 10000} or newer")
        if found["is_replica"] or found["read_only"] == "on":
            raise StoreError(f"{self.name} is a read-only replica: give the address of the primary (--database)")
        if found["encoding"] != "UTF8":
            raise StoreError(f"{self.name} has the encoding {found['encoding']}: make it anew with createdb --encoding UTF8")
        if found["synchronous"] == "off":
            raise StoreError(
                f"{self.name} acknowledges before it writes (synchronous_commit=off), so accepted messages could be lost: set it to on"
            )
        if found["fsync"] == "off":
            logger.warning("%s runs with fsync=off: a power cut loses accepted messages", self.name)

    async def _take_place(self, anchor: asyncpg.Connection[Any]) -> None:
        """Take the place of a server. Raises `StoreInUse`."""
        if self._sharing == "beside":
            return
        function = "pg_try_advisory_lock" if self._sharing == "alone" else "pg_try_advisory_lock_shared"
        if not await anchor.fetchval(f"SELECT {function}($1, $2)", LOCKS, SERVER):
            if self._sharing == "alone":
                raise StoreInUse(
                    f"another server uses {self.name}; nothing was changed. Start all of them with --events, so that they tell each other "
                    "what is new, or stop the other one"
                )
            raise StoreInUse(
                f"a server without --events uses {self.name} for itself; nothing was changed. Stop it, and start it with --events too"
            )

    async def may_migrate(self) -> bool:
        """Take the schema for this process alone where nobody else uses it; else share it, after whoever is migrating now."""
        assert self._anchor is not None
        if await self._anchor.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOCKS, SCHEMA):
            return True
        await self._share_schema(self._anchor)
        return False

    async def _share_schema(self, anchor: asyncpg.Connection[Any]) -> None:
        async with anchor.transaction():
            await anchor.execute(f"SET LOCAL lock_timeout = '{MIGRATION_TIMEOUT_S}s'; SET LOCAL statement_timeout = 0")
            await anchor.execute("SELECT pg_advisory_lock_shared($1, $2)", LOCKS, SCHEMA)

    async def settle(self) -> None:
        """Share the schema from now on, and remember which it is."""
        assert self._anchor is not None
        alone = await self._anchor.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = $1 AND objid = $2 "
            "AND mode = 'ExclusiveLock'",
            LOCKS,
            SCHEMA,
        )
        if alone:
            await self._share_schema(self._anchor)
            await self._anchor.execute("SELECT pg_advisory_unlock($1, $2)", LOCKS, SCHEMA)
        self._revision = await self._anchor.fetchval("SELECT version_num FROM alembic_version")

    async def _pooled(self) -> asyncpg.Connection[Any]:
        try:
            return await _connect(self._address)
        except _REFUSALS as error:
            raise StoreUnavailable(f"{_why_not_connected(self._address, error)}; nothing was changed") from error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def read_one(self) -> AsyncIterator[AsyncConnection]:
        async with self.engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        async with self._locked("SELECT pg_advisory_xact_lock(%d, %d)") as connection:
            yield connection

    @asynccontextmanager
    async def write_beside(self, *, durable: bool) -> AsyncIterator[AsyncConnection]:
        without_waiting = "" if durable else ", set_config('synchronous_commit', 'off', true)"
        async with self._locked("SELECT pg_advisory_xact_lock_shared(%d, %d)" + without_waiting) as connection:
            yield connection

    @asynccontextmanager
    async def _locked(self, statement: str) -> AsyncIterator[AsyncConnection]:
        async with self.engine.connect() as connection:
            await connection.execution_options(isolation_level="READ COMMITTED", tramontana_lock=statement % (LOCKS, WRITE))
            async with connection.begin():
                yield connection

    def fault(self, error: Exception) -> StoreUnavailable | None:
        """What an exception means, where it means that the store cannot be used now."""
        if isinstance(error, PoolTimeout):
            return StoreUnavailable(f"every connection to {self.name} is busy; nothing was changed")
        if not isinstance(error, DBAPIError):
            return None
        state = getattr(error.orig, "sqlstate", None) or ""
        if state in _CONFLICTS:
            return StoreConflict(f"{self.name} found a conflict with another transaction ({state}); nothing was changed")
        if error.connection_invalidated or state[:2] in _UNAVAILABLE_CLASSES or state in _UNAVAILABLE:
            return StoreUnavailable(f"{self.name} cannot be used now ({state or 'connection lost'})")
        return None

    async def leads(self) -> bool:
        """Whether this process holds the leadership, or could take it now."""
        async with self._anchoring:
            if self._anchor is None or self._anchor.is_closed():
                self._is_leader = False
                return False
            try:
                if self._is_leader:
                    await self._anchor.execute("SELECT 1")
                else:
                    self._is_leader = bool(await self._anchor.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOCKS, LEADER))
            except _REFUSALS:
                self._is_leader = False
            return self._is_leader

    async def keep(self) -> None:
        """Hold the anchor; after a restart of PostgreSQL, take the place again. Raises `StoreError` if the schema is another by then."""
        while True:
            await asyncio.sleep(KEEP_EVERY_S)
            async with self._anchoring:
                try:
                    if self._anchor is not None and not self._anchor.is_closed():
                        await self._anchor.execute("SELECT 1")
                        continue
                except _REFUSALS as error:
                    logger.warning("%s was lost (%s); trying to reach it again", self.name, error)
                self._is_leader = False
                try:
                    anchor = await _connect(self._address)
                except _REFUSALS as error:
                    logger.warning("%s", _why_not_connected(self._address, error))
                    continue
                try:
                    await self._check(anchor)
                    await self._take_place(anchor)
                    await self._share_schema(anchor)
                    revision = await anchor.fetchval("SELECT version_num FROM alembic_version")
                except _REFUSALS as error:
                    await anchor.close()
                    logger.warning("%s", _why_not_connected(self._address, error))
                    continue
                except StoreError:
                    await anchor.close()
                    raise
                if revision != self._revision:
                    await anchor.close()
                    raise StoreError(f"{self.name} was migrated to another release ({revision}) meanwhile: start that release")
                self._anchor = anchor
                logger.warning("%s is back", self.name)

    async def close(self) -> None:
        await self.engine.dispose()
        if self._anchor is not None and not self._anchor.is_closed():
            try:
                await self._anchor.close(timeout=CONNECT_TIMEOUT_S)
            except _REFUSALS:
                self._anchor.terminate()


def _on_begin(connection: Connection) -> None:
    statement = connection.get_execution_options().get("tramontana_lock")
    if statement is not None:
        connection.exec_driver_sql(statement)


def _on_checkout(connection: Any, _record: Any, _proxy: Any) -> None:
    """A server that ended or was restarted has closed its connections, which we know without asking it each time."""
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError
