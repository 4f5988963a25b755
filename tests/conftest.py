"""Peers of a test's own, which it may stop and start again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.control import peers
from tests.control.peers import Nats, Postgresql


@pytest.fixture
def own_postgresql() -> Iterator[Postgresql]:
    if reason := peers.missing("postgres", "initdb", "pg_isready"):
        pytest.skip(reason)
    with peers.postgresql() as server:
        yield server


@pytest.fixture
def nats_server() -> Iterator[Nats]:
    if reason := peers.missing("nats-server"):
        pytest.skip(reason)
    with peers.nats() as server:
        yield server
