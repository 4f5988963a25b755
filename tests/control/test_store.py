"""The store: migrations, durability, and clear errors that change nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, func, insert, select

from tramontana.control import bootstrap
from tramontana.control.store import accounts, audit, schema
from tramontana.control.store.database import (
    DirectoryLock,
    Store,
    StoreError,
    StoreInUse,
    StoreUnavailable,
    downgrade,
    latest_revision,
    upgrade,
)
from tramontana.keys.identity import DeviceKey, VerifiedEnrolment

pytestmark = pytest.mark.anyio


async def _add_account(store: Store) -> None:
    async with store.write() as connection:
        await accounts.create(connection, VerifiedEnrolment(bytes(32), DeviceKey.generate().public_bytes, "Ada"), 1.0)
        await audit.append(connection, now=1.0, actor="test", action="device.enrolled")


async def test_the_migrations_make_the_schema(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    try:
        async with store.read() as connection:
            assert await connection.run_sync(lambda c: compare_metadata(MigrationContext.configure(c), schema.metadata)) == []
            pragmas = {}
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete"):
                pragmas[name] = (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one()
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    finally:
        await store.close()


async def test_migrations_go_up_and_down_with_data(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await _add_account(store)

    def down_and_up(connection: Connection) -> list[str]:
        downgrade(connection, "base")
        left = [row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")]
        upgrade(connection)
        return left

    try:
        async with store.write() as connection:
            assert await connection.run_sync(down_and_up) == ["alembic_version"]
        await _add_account(store)
    finally:
        await store.close()
    again = await Store.open(tmp_path)  # a second start keeps what is there
    try:
        async with again.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(schema.accounts))).scalar_one() == 1
    finally:
        await again.close()


async def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await _add_account(store)

    def fails(connection: Connection) -> None:
        downgrade(connection, "base")
        raise RuntimeError("power cut")

    try:
        with pytest.raises(RuntimeError):
            async with store.write() as connection:
                await connection.run_sync(fails)
        async with store.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(schema.accounts))).scalar_one() == 1
            assert (await connection.exec_driver_sql("SELECT version_num FROM alembic_version")).scalar_one() == latest_revision()
    finally:
        await store.close()


async def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    await (await Store.open(tmp_path)).close()
    with sqlite3.connect(tmp_path / "tramontana.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = (tmp_path / "tramontana.db").read_bytes()
    with pytest.raises(StoreError, match="another release"):
        await Store.open(tmp_path)
    assert (tmp_path / "tramontana.db").read_bytes() == before


@pytest.mark.parametrize("damage", ["middle", "header", "text"])
async def test_a_damaged_database_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    store = await Store.open(tmp_path)
    await _add_account(store)
    await store.close()
    path = tmp_path / "tramontana.db"
    content = bytearray(path.read_bytes())
    if damage == "middle":
        content[4096 : len(content) // 2] = b"\xa5" * (len(content) // 2 - 4096)
    elif damage == "header":
        content[:16] = b"\x00" * 16
    else:
        content = bytearray(b"not a database at all\n" * 1000)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"damaged.*nothing was changed.*Restore"):
        await Store.open(tmp_path)
    assert path.read_bytes() == bytes(content)


async def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write there.*--data"):
        await Store.open(tmp_path / "file" / "data")


async def test_only_its_owner_can_read_the_database(tmp_path: Path) -> None:
    await (await Store.open(tmp_path / "data")).close()
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "data" / "tramontana.db").stat().st_mode & 0o777 == 0o600


async def test_a_database_that_came_back_readable_by_all_is_made_private(tmp_path: Path) -> None:
    await (await Store.open(tmp_path)).close()
    (tmp_path / "tramontana.db").chmod(0o644)
    store = await Store.open(tmp_path)
    try:
        await _add_account(store)
        for name in ("tramontana.db", "tramontana.db-wal", "tramontana.db-shm"):
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    finally:
        await store.close()


async def test_one_server_per_directory(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    with pytest.raises(StoreInUse, match=rf"process {os.getpid()}.*already.*--data"):
        DirectoryLock(tmp_path)
    lock.release()
    DirectoryLock(tmp_path).release()


async def test_a_full_disk_is_an_error_that_changes_nothing(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    try:
        async with store.write() as connection:
            pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
            await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StoreUnavailable, match="full"):
            await _add_many_accounts(store)
        async with store.read() as connection:
            assert (await connection.execute(select(func.count()).select_from(schema.accounts))).scalar_one() == 0
    finally:
        await store.close()


async def _add_many_accounts(store: Store) -> None:
    async with store.write() as connection:
        for n in range(200):
            row = {"account_id": f"{n:032x}", "display_name": "x" * 64, "created_at": 1.0}
            await connection.execute(insert(schema.accounts).values(row))


KILLED_WRITER = """
import asyncio, os, sys
from pathlib import Path
from tramontana.control.store import audit
from tramontana.control.store.database import Store

async def main():
    store = await Store.open(Path(sys.argv[1]))
    number = 0
    while True:
        number += 1
        async with store.write() as connection:
            await audit.append(connection, now=float(number), actor="writer", action="accepted")
        os.write(1, f"{number}\\n".encode())  # the answer to the sender: from now on it must survive

asyncio.run(main())
"""


async def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED_WRITER, str(tmp_path), stdout=subprocess.PIPE)
    assert process.stdout is not None
    accepted = 0
    async for line in process.stdout:
        accepted = int(line)
        if accepted == 25:
            process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert accepted >= 25
    store = await Store.open(tmp_path)
    try:
        async with store.read() as connection:
            report = await audit.verify(connection)
        assert report.intact
        assert report.rows >= accepted
    finally:
        await store.close()


async def test_writers_of_two_processes_keep_one_chain(tmp_path: Path) -> None:
    first, second = await Store.open(tmp_path), await Store.open(tmp_path)  # two stores stand for two processes

    async def write(store: Store, name: str) -> None:
        for number in range(20):
            async with store.write() as connection:
                await audit.append(connection, now=float(number), actor=name, action="test")

    try:
        await asyncio.gather(write(first, "a"), write(second, "b"), write(first, "c"))
        async with first.read() as connection:
            report = await audit.verify(connection)
        assert (report.rows, report.intact) == (60, True)
    finally:
        await first.close()
        await second.close()


TAMPERINGS = {
    "changed": (["UPDATE audit SET actor = 'nobody' WHERE seq = 3"], 3),
    "removed": (["DELETE FROM audit WHERE seq = 3"], 3),
    "cut off": (["DELETE FROM audit WHERE seq > 3"], 4),
    "swapped": (
        ["UPDATE audit SET seq = 99 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3", "UPDATE audit SET seq = 3 WHERE seq = 99"],
        2,
    ),
    "emptied": (["DELETE FROM audit"], 1),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
async def test_tampering_with_the_audit_trail_is_found(tmp_path: Path, kind: str) -> None:
    statements, first_broken = TAMPERINGS[kind]
    store = await Store.open(tmp_path)
    try:
        for number in range(5):
            async with store.write() as connection:
                await audit.append(connection, now=float(number), actor="test", action="test", details={"number": number})
        async with store.read() as connection:
            assert (await audit.verify(connection)).intact
        with sqlite3.connect(store.path) as raw:
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                raw.execute(statements[0])
            raw.execute("DROP TRIGGER audit_no_update")
            raw.execute("DROP TRIGGER audit_no_delete")
            for statement in statements:
                raw.execute(statement)
        raw.close()
        async with store.read() as connection:
            assert (await audit.verify(connection)).first_broken == first_broken
    finally:
        await store.close()


def test_a_start_withdraws_unused_invitations_of_the_start_before(tmp_path: Path) -> None:
    first, second = bootstrap.prepare(tmp_path), bootstrap.prepare(tmp_path)
    tokens = {token.reveal() for token in (*first.invitation_tokens, *second.invitation_tokens)}
    assert len(tokens) == 4
    with sqlite3.connect(tmp_path / "tramontana.db") as raw:
        rows = raw.execute("SELECT token_sha256, withdrawn_at IS NOT NULL FROM invitations").fetchall()
    raw.close()
    withdrawn = {digest for digest, is_withdrawn in rows if is_withdrawn}
    assert withdrawn == {token.sha256() for token in first.invitation_tokens}
    assert not any(token in repr((first, second)) for token in tokens)


def test_links_can_be_made_beside_a_running_server(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    try:
        assert bootstrap.prepare(tmp_path).administrator_token
        assert bootstrap.make_invitation(tmp_path, "Ada").token
        assert bootstrap.make_administrator_link(tmp_path)[1] > 0
    finally:
        lock.release()


def test_links_use_the_address_of_the_last_server(tmp_path: Path) -> None:
    with pytest.raises(bootstrap.AddressUnknown, match="--origin"):
        bootstrap.last_address(tmp_path)
    bootstrap.remember_address(tmp_path, "http://127.0.0.1:8440")
    assert bootstrap.last_address(tmp_path) == "http://127.0.0.1:8440"
