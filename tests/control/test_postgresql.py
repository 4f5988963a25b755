"""The store on PostgreSQL: what is wrong is said in a sentence, writers do not lose each other, and a restart loses nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.control import peers
from tests.control.peers import PASSWORD, Postgresql
from tramontana.control.store import accounts, audit, mailbox, schema
from tramontana.control.store.database import (
    PostgresqlAddress,
    Sharing,
    Store,
    StoreError,
    StoreInUse,
    StoreUnavailable,
    downgrade,
    latest_revision,
)
from tramontana.keys.identity import DeviceKey, VerifiedEnrolment

pytestmark = pytest.mark.anyio


@pytest.fixture
def address(postgresql: Postgresql, migrated: str) -> Iterator[PostgresqlAddress]:
    name = asyncio.run(postgresql.create(migrated))
    yield postgresql.address(name)
    asyncio.run(postgresql.drop(name))


def name_of(address: PostgresqlAddress) -> str:
    return address.url.rpartition("/")[2]


@asynccontextmanager
async def opened(address: PostgresqlAddress, sharing: Sharing = "beside") -> AsyncIterator[Store]:
    store = await Store.open(Path(), address, sharing=sharing)
    try:
        yield store
    finally:
        await store.close()


async def add_account(connection: AsyncConnection, name: str = "Ada") -> str:
    enrolment = VerifiedEnrolment(bytes(32), DeviceKey.generate().public_bytes, name)
    return (await accounts.create(connection, enrolment, 1.0))[1]


async def test_the_migrations_make_the_schema(address: PostgresqlAddress) -> None:
    async with opened(address) as store, store.read() as connection:
        assert await connection.run_sync(lambda c: compare_metadata(MigrationContext.configure(c), schema.metadata)) == []


async def test_the_audit_trail_is_append_only(address: PostgresqlAddress) -> None:
    async with opened(address) as store:
        async with store.write() as connection:
            await audit.append(connection, now=1.0, actor="test", action="test")
        for statement in ("UPDATE audit SET actor = 'nobody'", "DELETE FROM audit", "TRUNCATE audit"):
            with pytest.raises(DBAPIError, match="append-only"):
                async with store.write() as connection:
                    await connection.exec_driver_sql(statement)


async def test_what_is_wrong_with_the_database_is_one_sentence(address: PostgresqlAddress, postgresql: Postgresql) -> None:
    nowhere = replace(address, url=address.url.replace(str(postgresql.port), str(peers.free_port())))
    for wrong, said in (
        (nowhere, "cannot be reached.*start PostgreSQL there"),
        (replace(address, password="a wrong one"), "--database-password-file"),
        (postgresql.address("missing"), "createdb"),
    ):
        with pytest.raises(StoreError, match=said) as refused:
            await Store.open(Path(), wrong)
        assert "a wrong one" not in str(refused.value)
        assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("ALTER DATABASE {} SET default_transaction_read_only = on", "read-only replica: give the address of the primary"),
        ("ALTER DATABASE {} SET synchronous_commit = off", "accepted messages could be lost: set it to on"),
        ("UPDATE alembic_version SET version_num = '9999'", "written by another release"),
    ],
)
async def test_a_database_that_cannot_keep_its_promises_is_refused(
    address: PostgresqlAddress, postgresql: Postgresql, statement: str, said: str
) -> None:
    await postgresql.execute(statement.format(name_of(address)), name_of(address))
    with pytest.raises(StoreError, match=said):
        await Store.open(Path(), address)


async def test_another_encoding_is_refused(postgresql: Postgresql) -> None:
    await postgresql.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1'")
    try:
        with pytest.raises(StoreError, match="--encoding UTF8"):
            await Store.open(Path(), postgresql.address("latin"))
    finally:
        await postgresql.drop("latin")


async def test_one_server_alone_or_several_with_events(address: PostgresqlAddress) -> None:
    async with opened(address, "alone"):
        for sharing, said in (("alone", "with --events"), ("several", "without --events")):
            with pytest.raises(StoreInUse, match=said):
                await Store.open(Path(), address, sharing=sharing)  # type: ignore[arg-type]
        async with opened(address, "beside"):
            pass
    async with opened(address, "several"), opened(address, "several"):
        with pytest.raises(StoreInUse, match="another server"):
            await Store.open(Path(), address, sharing="alone")
    async with opened(address, "alone"):
        pass


async def test_the_schema_does_not_change_under_a_running_process(address: PostgresqlAddress) -> None:
    async with opened(address) as store:
        async with store.write() as connection:
            await connection.run_sync(lambda c: downgrade(c, "0001"))
        with pytest.raises(StoreError, match=r"0001.*another process uses it.*Stop every server process"):
            await Store.open(Path(), address)
    async with opened(address) as store, store.read() as connection:
        assert (await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).scalar_one() == latest_revision()


async def test_processes_that_start_together_migrate_once(postgresql: Postgresql) -> None:
    name = await postgresql.create()
    try:
        stores = await asyncio.gather(*(Store.open(Path(), postgresql.address(name), sharing="several") for _ in range(3)))
        leaders = [await store.leads() for store in stores]
        assert leaders.count(True) == 1
        await stores[leaders.index(True)].close()
        others = [store for store, leads in zip(stores, leaders, strict=True) if not leads]
        assert [await store.leads() for store in others].count(True) == 1
        for store in others:
            await store.close()
    finally:
        await postgresql.drop(name)


async def test_a_read_is_one_snapshot_and_writes_nothing(address: PostgresqlAddress) -> None:
    async with opened(address) as store:
        count = select(func.count()).select_from(schema.accounts)
        async with store.read() as reading:
            before = (await reading.execute(count)).scalar_one()
            async with store.write() as connection:
                await add_account(connection)
            assert (await reading.execute(count)).scalar_one() == before
        with pytest.raises(StoreUnavailable):
            async with store.read() as reading:
                await add_account(reading)


async def test_writers_of_two_processes_keep_one_chain(address: PostgresqlAddress) -> None:
    async with opened(address) as first, opened(address) as second:

        async def write(store: Store, name: str) -> None:
            for number in range(10):
                async with store.write() as connection:
                    await audit.append(connection, now=float(number), actor=name, action="test")

        await asyncio.gather(write(first, "a"), write(second, "b"), write(first, "c"), write(second, "d"))
        async with first.read() as connection:
            report = await audit.verify(connection)
        assert (report.rows, report.intact) == (40, True)


async def test_mailboxes_that_many_write_to_at_once_have_no_gaps_and_no_deadlock(address: PostgresqlAddress) -> None:
    async with opened(address) as first, opened(address) as second:
        async with first.write() as connection:
            devices = [await add_account(connection) for _ in range(6)]
            await connection.run_sync(
                lambda c: c.execute(schema.conversations.insert().values(conversation_id="c" * 32, kind="direct", created_at=1.0))
            )

        async def send(store: Store, number: int) -> None:
            # Each in another order: without one order of locks, PostgreSQL would find deadlocks.
            receivers = devices[number % 6 :] + devices[: number % 6]
            letter = mailbox.Letter("c" * 32, "application", devices[0], b"x", 1.0, frozenset(receivers))
            assert await store.beside(lambda connection: mailbox.put(connection, [letter, letter])) == [True, True]

        await asyncio.gather(*(send((first, second)[number % 2], number) for number in range(40)))

        async def acknowledge(store: Store, device_id: str) -> None:
            kept = await store.beside(lambda connection: mailbox.acknowledge(connection, device_id, 80), durable=False)
            await store.beside(lambda connection: mailbox.forget_unreferenced(connection, kept), durable=False)

        async with first.read() as connection:
            for device_id in devices:
                items = await mailbox.items_after(connection, device_id, 0, 100)
                assert [item.seq for item in items] == list(range(1, 81))
        await asyncio.gather(*(acknowledge((first, second)[n % 2], device_id) for n, device_id in enumerate(devices)))
        async with first.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(schema.messages))).scalar_one() == 0


async def test_work_beside_others_is_begun_again_after_a_conflict(address: PostgresqlAddress) -> None:
    """Two that write the same key: the second sees the first and needs not write."""
    async with opened(address) as store:
        attempts = 0
        both = asyncio.Barrier(2)

        async def remember(connection: AsyncConnection) -> bool:
            nonlocal attempts
            attempts += 1
            known = (await connection.execute(select(schema.service.c.service_id))).scalar_one_or_none()
            if attempts <= 2:
                await both.wait()
            if known is None:
                await connection.execute(schema.service.insert().values(id=1, service_id="a" * 32, created_at=1.0))
            return known is None

        assert sorted(await asyncio.gather(store.beside(remember), store.beside(remember))) == [False, True]
        assert attempts == 3


@pytest.fixture
def own_server() -> Iterator[Postgresql]:
    """A PostgreSQL server that the test may stop."""
    if reason := peers.missing("postgres", "initdb", "pg_isready"):
        pytest.skip(reason)
    with peers.postgresql() as server:
        yield server


async def test_a_restart_of_the_database_loses_nothing_accepted(own_server: Postgresql, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    name = await own_server.create()
    accepted: list[str] = []
    faults = 0
    async with opened(own_server.address(name), "alone") as store:
        assert await store.leads()
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(store.keep())

            async def write() -> None:
                nonlocal faults
                for _ in range(10_000):
                    try:
                        async with store.write() as connection:
                            made = await add_account(connection)
                            await audit.append(connection, now=1.0, actor="test", action="test")
                        accepted.append(made)
                        if faults and len(accepted) > 20:
                            return
                    except StoreUnavailable:
                        faults += 1
                        await asyncio.sleep(0.02)

            writing = group.create_task(write())
            while len(accepted) < 10:  # noqa: ASYNC110 - counted by the task above
                await asyncio.sleep(0.01)
            await asyncio.to_thread(own_server.restart, signal.SIGQUIT)
            await writing
            async with asyncio.timeout(60):
                while not await store.leads():  # noqa: ASYNC110 - its place comes back with the next look
                    await asyncio.sleep(0.05)
            keeping.cancel()
            await asyncio.wait([keeping], timeout=30)
        async with store.read() as connection:
            kept = set((await connection.execute(select(schema.devices.c.device_id))).scalars())
            report = await audit.verify(connection)
    assert faults
    assert set(accepted) <= kept
    assert report.intact
    assert PASSWORD not in caplog.text


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAMONTANA_DATABASE_PASSWORD", "of the environment")
    for url in ("sqlite:///x", "postgresql://", "postgresql://host", "postgresql://host:port/x"):
        with pytest.raises(StoreError, match="postgresql://USER@HOST:PORT/DATABASE"):
            PostgresqlAddress.parse(url)
    for url in ("postgresql://user:hidden@host/x", "postgresql://host/x?password=hidden"):
        with pytest.raises(StoreError, match="must not hold its password") as refused:
            PostgresqlAddress.parse(url)
        assert "hidden" not in str(refused.value)
    file = tmp_path / "password"
    file.write_text("of the file\n")
    file.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        PostgresqlAddress.parse("postgresql://host/x", file)
    file.chmod(0o600)
    far = PostgresqlAddress.parse("postgresql://user@db.example/x", file)
    assert (far.password, str(far)) == ("of the file", "postgresql://user@db.example/x")
    assert "of the file" not in repr(far)
    assert "sslmode=verify-full" in far.url  # what leaves the machine is encrypted and checked
    assert "sslmode" not in PostgresqlAddress.parse("postgresql://user@127.0.0.1/x").url
    assert "sslmode" not in PostgresqlAddress.parse("postgresql:///x?host=/run/postgresql").url
    assert PostgresqlAddress.parse("postgresql://h/x?sslmode=require").url == "postgresql://h/x?sslmode=require"
    assert PostgresqlAddress.parse("postgresql://127.0.0.1/x").password == "of the environment"
