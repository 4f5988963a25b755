"""`tramontana serve` over PostgreSQL and NATS as processes: several servers of one database."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.control import peers
from tests.control.custodians import install
from tests.control.peers import PASSWORD, Nats, Postgresql
from tests.control.test_serve import command, reading_ready
from tramontana.control.bootstrap import load_log_key
from tramontana.control.store.database import PostgresqlAddress


@pytest.fixture(scope="module")
def nats_server() -> Iterator[Nats]:
    if reason := peers.missing("nats-server"):
        pytest.skip(reason)
    with peers.nats() as server:
        yield server


@pytest.fixture
def url(postgresql: Postgresql, migrated: str) -> Iterator[str]:
    """A database of the test's own, migrated."""
    name = asyncio.run(postgresql.create(migrated))
    yield postgresql.url(name)
    asyncio.run(postgresql.drop(name))


def environment() -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "TRAMONTANA_"))}
    return {**known, "TRAMONTANA_DATABASE_PASSWORD": PASSWORD}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120, check=False, env=environment())


@contextmanager
def serving(data: Path, *arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        command("serve", "--data", data, "--port", "0", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield process, reading_ready(process)
    finally:
        process.kill()
        process.communicate()


def refused(data: Path, *arguments: str | Path) -> str:
    ended = run("serve", "--data", data, "--port", "0", *arguments)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert PASSWORD not in ended.stderr
    return ended.stderr


def test_a_second_server_needs_events(tmp_path: Path, url: str, nats_server: Nats) -> None:
    install(tmp_path / "a", PostgresqlAddress(url, PASSWORD))
    with serving(tmp_path / "a", "--database", url):
        assert "without --events uses" in refused(tmp_path / "b", "--database", url, "--events", nats_server.url)
        invitation = run("invite", "--data", tmp_path / "a", "--database", url)
        assert "/phone#invite=" in invitation.stdout, invitation.stderr


def test_servers_of_one_database_need_its_log_key(tmp_path: Path, url: str, nats_server: Nats) -> None:
    install(tmp_path / "a", PostgresqlAddress(url, PASSWORD))
    shared = ("--database", url, "--events", nats_server.url)
    log_key = tmp_path / "a" / "log.key"
    said = refused(tmp_path / "b", *shared)
    assert "copy log.key" in said
    assert "--log-key" in said
    assert not (tmp_path / "b" / "log.key").exists()  # none of its own that would be in the way
    with serving(tmp_path / "b", *shared, "--log-key", log_key) as (_, address):
        assert httpx.get(f"{address}/api/v1/organisation").status_code == 200
    log_key.rename(tmp_path / "kept")
    load_log_key(log_key)
    assert "not the one that 'Ministry' has signed" in refused(tmp_path / "a", *shared)


def test_several_servers_are_ready_and_end_cleanly(tmp_path: Path, url: str, nats_server: Nats) -> None:
    shared = ("--database", url, "--events", nats_server.url)
    with serving(tmp_path, *shared) as (first, one), serving(tmp_path, *shared) as (_, two):
        services = [httpx.get(f"{address}/api/v1/service").json() for address in (one, two)]
        assert services[0] == services[1]
        first.send_signal(signal.SIGTERM)
        _, log = first.communicate(timeout=60)
        assert first.returncode == 0
        assert "Traceback" not in log
        assert httpx.get(f"{two}/api/v1/health").json()["status"] == "ok"
