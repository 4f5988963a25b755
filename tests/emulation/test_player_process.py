"""The player as a process of its own, and the client that keeps it in the wanted state."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.emulation.sample_profiles import profile, steady
from tramontana.emulation.client.driver import PathPlayerClient, PathPlayerRefused, PathPlayerUnavailable
from tramontana.errors import LocalError

COMMAND = "from tramontana.cli.media import player; player()"
PATIENCE_S = 20.0

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def player_process(control: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "--control", str(control), "--no-realtime"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"]["control"] == str(control)
        yield process
    finally:
        process.kill()
        process.communicate()


@asynccontextmanager
async def running(client: PathPlayerClient) -> AsyncIterator[PathPlayerClient]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.run())
        yield client
        task.cancel()


async def until_connected(client: PathPlayerClient, wanted: bool) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while client.connected is not wanted:  # noqa: ASYNC110 - the state of another process
            await asyncio.sleep(0.005)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(phone, upstream)"""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        for end in (phone, upstream):
            end.bind(("127.0.0.1", 0))
            end.settimeout(PATIENCE_S)
        yield phone, upstream


def carries(phone: socket.socket, upstream: socket.socket, port: int) -> bool:
    phone.sendto(b"ping", ("127.0.0.1", port))
    data, client = upstream.recvfrom(100)
    upstream.sendto(data, client)
    return phone.recv(100) == b"ping"


async def test_a_restarted_player_gets_every_flow_back_at_its_old_port(tmp_path: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    control, (phone, upstream) = tmp_path / "player.sock", ends
    async with running(PathPlayerClient(control)) as client:
        with player_process(control):
            ports = {}
            for flow in ("a", "b"):
                ports[flow] = await client.attach(flow, steady(start=time.time()), seed=1, upstream=upstream.getsockname())
                assert carries(phone, upstream, ports[flow])
        await until_connected(client, False)  # killed, not asked: its socket file is still there
        assert control.exists()
        with player_process(control):
            await until_connected(client, True)
            assert {flow: client.port(flow) for flow in ports} == ports
            assert all(carries(phone, upstream, port) for port in ports.values())
            assert set(await client.stats()) == set(ports)


async def test_a_lost_port_is_replaced_and_told(tmp_path: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    control, (phone, upstream) = tmp_path / "player.sock", ends
    moved: dict[str, int] = {}
    async with running(PathPlayerClient(control, on_port_change=moved.__setitem__)) as client:
        with player_process(control):
            port = await client.attach("a", steady(start=time.time()), seed=1, upstream=upstream.getsockname())
        await until_connected(client, False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as thief:
            thief.bind(("127.0.0.1", port))
            with player_process(control):
                await until_connected(client, True)
                assert moved == {"a": client.port("a")}
                assert moved["a"] != port
                assert carries(phone, upstream, moved["a"])


async def test_a_taken_port_is_a_wish_that_is_not_granted(tmp_path: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    control, (phone, upstream) = tmp_path / "player.sock", ends
    with player_process(control):
        async with running(PathPlayerClient(control)) as client:
            taken = phone.getsockname()[1]
            port = await client.attach("a", steady(start=time.time()), seed=1, upstream=upstream.getsockname(), port=taken)
            assert port not in (taken, None)
            assert carries(phone, upstream, port)
            assert await client.attach("a", steady(start=time.time()), seed=1, upstream=upstream.getsockname(), port=taken) == port


async def test_requests_wait_for_a_player_that_is_just_starting(tmp_path: Path, ends: tuple[socket.socket, socket.socket]) -> None:
    control = tmp_path / "player.sock"
    async with running(PathPlayerClient(control)) as client, asyncio.TaskGroup() as group:
        attached = group.create_task(client.attach("a", steady(), seed=1, upstream=ends[1].getsockname()))
        await asyncio.sleep(0)
        with player_process(control):
            assert await attached > 0
            await client.detach("a")
            assert await client.stats() == {}
            assert client.port("a") is None


async def test_faults_are_one_sentence_each(
    tmp_path: Path, ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tramontana.emulation.client.driver.ANSWER_TIMEOUT_S", 0.05)
    client = PathPlayerClient(tmp_path / "player.sock")
    with pytest.raises(PathPlayerUnavailable, match="tramontana player"):
        await client.stats()
    n = 50_000
    long = profile(range(n), delay_s=[0.01] * n, up_bps=[1e6] * n)
    with pytest.raises(LocalError, match="shorter span"):
        await client.attach("a", long, seed=1, upstream=("127.0.0.1", 9))
    monkeypatch.setattr("tramontana.emulation.client.driver.ANSWER_TIMEOUT_S", PATIENCE_S)
    with player_process(tmp_path / "player.sock"):
        async with running(client):
            with pytest.raises(PathPlayerRefused, match="upstream"):
                await client.attach("a", steady(), seed=1, upstream=("localhost", 9))
            assert client.port("a") is None


def test_sigterm_ends_it_cleanly(tmp_path: Path) -> None:
    control = tmp_path / "player.sock"
    with player_process(control) as process:
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, errors) == (0, "")
        assert output.endswith("The path player stops.\n")
        assert not control.exists()
