"""Fixtures of the server's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.control import peers
from tests.control.house import House, Houses
from tests.control.peers import Postgresql
from tramontana.control.sky import SkyService
from tramontana.control.store.database import PostgresqlAddress, Store
from tramontana.space.shells import starlink_gen1_as_filed
from tramontana.space.sky import Sky


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def sky() -> SkyService:
    return SkyService(Sky(starlink_gen1_as_filed(), seed=1))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """One PostgreSQL server for all tests; the test is skipped where there is none."""
    if reason := peers.missing("postgres", "initdb", "pg_isready"):
        pytest.skip(reason)
    with peers.postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def migrated(postgresql: Postgresql) -> str:
    """The name of a database with this release's schema, to make others from."""

    async def make() -> str:
        name = await postgresql.create()
        await (await Store.open(Path(), postgresql.address(name))).close()
        return name

    return asyncio.run(make())


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[PostgresqlAddress | None]:
    """Where the server keeps its data: in SQLite (None) or in a PostgreSQL database of the test's own."""
    if request.param == "sqlite":
        yield None
        return
    server: Postgresql = request.getfixturevalue("postgresql")
    name = asyncio.run(server.create(request.getfixturevalue("migrated")))
    yield server.address(name)
    asyncio.run(server.drop(name))


@pytest.fixture
def houses(tmp_path: Path, sky: SkyService) -> Houses:
    """Starts servers on one data directory: `async with houses(limits=...) as house`."""

    def start(**options: Any) -> AbstractAsyncContextManager[House]:
        return House.running(options.pop("directory", tmp_path / "data"), sky, **options)

    return start


@pytest.fixture
def stored_houses(houses: Houses, database: PostgresqlAddress | None) -> Houses:
    """The same on each kind of database in turn."""
    return partial(houses, database=database)
