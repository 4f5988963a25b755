"""Every revision of the schema, up and down, with data in every table: what both revisions know must come through unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, Double, Float, Integer, LargeBinary, MetaData, Numeric, String, Table, insert, inspect
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import BLOB

from tests.control.peers import Postgresql
from tramontana.control.store import schema
from tramontana.control.store.database import PostgresqlAddress, Store, alembic_config, downgrade, upgrade
from tramontana.control.store.postgresql import PostgresqlDatabase
from tramontana.control.store.sqlite import SqliteFile

pytestmark = pytest.mark.anyio

ROWS = 2
REVISIONS = [script.revision for script in reversed(list(ScriptDirectory.from_config(alembic_config()).walk_revisions()))]

FITTING: Mapping[str, Callable[[int], dict[str, Any]]] = {
    "service": lambda _: {"id": 1},
    "audit_head": lambda _: {"id": 1},
    "call_rules": lambda _: {"id": 1},
    "organisation": lambda _: {"id": 1},
    "retention": lambda _: {"id": 1},
    "sessions": lambda _: {"role": "device"},
    "conversations": lambda _: {"kind": "direct"},  # the only kind that every revision knows
    "conversation_members": lambda _: {"role": "member"},
}
"""What a row must have beside its types, where the schema says so with a CHECK, or where its values decide what an older one keeps."""
ONE_ROW = frozenset({"service", "audit_head", "call_rules", "organisation", "retention"})

NEVER_FILLED = frozenset({"alembic_version", "archive_rules"})
"""Tables without data to bring along: nothing could write archive rules before the revision that replaced them."""

Rows = dict[str, list[dict[str, Any]]]


def _value(table: Table, name: str, number: int) -> Any:
    """A value of the column's type, another one for each number."""
    kind = table.c[name].type
    if isinstance(kind, Boolean):
        return bool(number % 2)
    if isinstance(kind, Double | Float | Numeric) and not isinstance(kind, Integer):
        return 1_700_000_000.25 + number
    if isinstance(kind, Integer):
        return number + 1
    if isinstance(kind, LargeBinary | BLOB):
        return bytes([number + 1]) * 32
    assert isinstance(kind, String), f"say here what a value of {table.name}.{name} ({kind}) looks like"
    return f"{number + 1:032x}"[-(kind.length or 32) :]


def _populate(connection: Connection) -> None:
    """Put rows into every table that there is."""
    found = MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        if table.name in NEVER_FILLED:
            continue
        for number in range(1 if table.name in ONE_ROW else ROWS):
            row = {column.name: _value(table, column.name, number) for column in table.columns}
            for key in table.foreign_keys:
                row[key.parent.name] = _value(key.column.table, key.column.name, number)
            fitting = FITTING[table.name](number) if table.name in FITTING else {}
            row |= {name: value for name, value in fitting.items() if name in table.c}
            try:
                connection.execute(insert(table).values(row))
            except IntegrityError as error:
                raise AssertionError(f"say in FITTING what a row of {table.name} must have: {error.orig}") from error


def _order(row: dict[str, Any]) -> str:
    return repr(sorted(row.items()))


def _read(connection: Connection) -> Rows:
    """Everything as the database has it, whatever columns that are; the rows of a table in an order of their content."""
    read: Rows = {}
    for name in inspect(connection).get_table_names():
        if name not in NEVER_FILLED:
            rows = connection.exec_driver_sql(f'SELECT * FROM "{name}"').mappings()
            read[name] = sorted(map(dict, rows), key=_order)
    return read


def _as_known(rows: Rows, known: Rows) -> Rows:
    """`rows` with only the tables and columns of `known`."""
    return {name: sorted(({column: row[column] for column in known[name][0]} for row in rows[name]), key=_order) for name in known}


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest) -> Iterator[PostgresqlAddress | None]:
    """Where nothing has been migrated yet: None for SQLite."""
    if request.param == "sqlite":
        yield None
        return
    server: Postgresql = request.getfixturevalue("postgresql")
    name = asyncio.run(server.create())
    yield server.address(name)
    asyncio.run(server.drop(name))


@pytest.mark.parametrize("revision", REVISIONS)
async def test_up_and_down_with_data(tmp_path: Path, empty_database: PostgresqlAddress | None, revision: str) -> None:
    store = Store(SqliteFile(tmp_path) if empty_database is None else await PostgresqlDatabase.open(empty_database, "beside"))

    def work(connection: Connection) -> None:
        upgrade(connection, revision)
        _populate(connection)
        before = _read(connection)
        assert all(before.values())
        upgrade(connection)
        assert _as_known(_read(connection), before) == before
        downgrade(connection, revision)
        assert _read(connection) == before
        upgrade(connection)
        assert _as_known(_read(connection), before) == before
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []

    try:
        async with store.write() as connection:
            await connection.run_sync(work)
    finally:
        await store.close()


async def test_data_of_this_release_goes_down_to_nothing(tmp_path: Path, database: PostgresqlAddress | None) -> None:
    """From the newest schema, with data, down through every older one: nothing in the way stops it."""
    store = await Store.open(tmp_path, database)

    def work(connection: Connection) -> None:
        _populate(connection)
        for revision in reversed(REVISIONS[:-1]):
            downgrade(connection, revision)
            assert _read(connection)["accounts"]
        downgrade(connection, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        upgrade(connection)
        _populate(connection)

    try:
        async with store.write() as connection:
            await connection.run_sync(work)
    finally:
        await store.close()
