"""Events over a real NATS server: sealed, numbered, and no more than hints when it is away."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.control import peers
from tramontana.control import events
from tramontana.control.nats_events import MAX_AGE_S, EventsError, NatsAddress, NatsEvents, Sealing

pytestmark = pytest.mark.anyio

REALM, KEY, DEVICE = "f" * 32, bytes(range(32)), "1" * 32
MAIL = events.Mail(device_ids=[DEVICE])


class Ear:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[events.Event] = []
        self.gaps = 0

    def handle(self, event: events.Event) -> None:
        self.heard.append(event)

    def handle_gap(self) -> None:
        self.gaps += 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the driver under test has no event for it
            await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(server: peers.Nats, *, key: bytes = KEY, secret: str | None = None) -> AsyncIterator[tuple[NatsEvents, Ear]]:
    """A process's way to the others."""
    bus, ear = NatsEvents(NatsAddress(server.url, secret=secret)), Ear()
    bus.listen(ear)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(bus.run(REALM, key))
        await until(lambda: bus.state == "connected")
        try:
            yield bus, ear
        finally:
            running.cancel()


@pytest.fixture(scope="module")
def nats_server() -> Iterator[peers.Nats]:
    if reason := peers.missing("nats-server"):
        pytest.skip(reason)
    with peers.nats() as server:
        yield server


async def test_events_reach_every_other_process_in_order_and_not_their_own(nats_server: peers.Nats) -> None:
    async with connected(nats_server) as (first, own), connected(nats_server) as (_, other), connected(nats_server) as (_, third):
        said = [events.Pushed(device_ids=[DEVICE], frame=str(number)) for number in range(200)]
        for event in said:
            first.publish(event)
        await until(lambda: len(other.heard) == len(third.heard) == 200)
        assert other.heard == third.heard == said
        assert own.heard == []


async def test_what_passes_says_nothing_to_who_listens_and_nobody_can_join_in(nats_server: peers.Nats) -> None:
    overheard: list[bytes] = []
    stranger = Client()
    await stranger.connect(nats_server.url)

    async def keep(message: object) -> None:
        overheard.append(message.data)  # type: ignore[attr-defined]

    await stranger.subscribe(">", cb=keep)
    await stranger.flush()
    async with (
        connected(nats_server) as (first, _),
        connected(nats_server) as (_, other),
        connected(nats_server, key=bytes(32)) as (_, foreign),
    ):
        first.publish(MAIL)
        await until(lambda: other.heard == [MAIL])
        await until(lambda: len(overheard) > 0)
        for sealed in overheard:
            assert DEVICE.encode() not in sealed
            await stranger.publish(f"tramontana.{REALM}.events", sealed)  # again
            await stranger.publish(f"tramontana.{REALM}.events", sealed[:-1] + bytes([sealed[-1] ^ 1]))  # forged
        await stranger.publish(f"tramontana.{REALM}.events", b"")
        await stranger.flush()
        first.publish(MAIL)
        await until(lambda: len(other.heard) >= 2)
        assert other.heard == [MAIL, MAIL]
        assert foreign.heard == []
    await stranger.close()


async def test_an_outage_is_said_once_and_what_was_lost_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    if reason := peers.missing("nats-server"):
        pytest.skip(reason)
    with peers.nats() as server:
        async with connected(server) as (first, _), connected(server) as (_, other):
            first.publish(MAIL)
            await until(lambda: len(other.heard) == 1)
            gaps = other.gaps
            await asyncio.to_thread(server.stop)
            await until(lambda: first.state == "degraded")
            for _ in range(5):
                first.publish(MAIL)  # neither waits nor fails
            await asyncio.to_thread(server.start)
            await until(lambda: first.state == "connected" and other.gaps > gaps)
            first.publish(events.CallsChanged())
            await until(lambda: events.CallsChanged() in other.heard)
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([line for line in told if "cannot be reached" in line]) == 2  # once for each process
    assert all("nothing is lost" in line for line in told if "cannot be reached" in line)
    assert len([line for line in told if "are back" in line]) == 2


async def test_a_wrong_password_is_named(caplog: pytest.LogCaptureFixture) -> None:
    if reason := peers.missing("nats-server"):
        pytest.skip(reason)
    with peers.nats(token="the right one") as server:
        async with connected(server, secret="the right one"):
            pass
        bus = NatsEvents(NatsAddress(server.url, secret="a wrong one"))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(bus.run(REALM, KEY))
            await until(lambda: "authorization" in caplog.text.lower())
            assert bus.state == "degraded"
            running.cancel()
    assert "a wrong one" not in caplog.text


def test_lost_events_are_noticed_by_the_next_one_or_by_a_heartbeat() -> None:
    a, b = Sealing(KEY, "s"), Sealing(KEY, "s")
    assert b.open(a.seal(b"1", 0), 0) == (b"1", False)
    assert b.open(a.seal(b"", 0), 0) is None  # a heartbeat with nothing new
    a.seal(b"2", 0)
    assert b.open(a.seal(b"3", 0), 0) == (b"3", True)
    a.skip()
    assert b.open(a.seal(b"", 0), 0) == (b"", True)
    assert b.open(a.seal(b"4", 0), 0) == (b"4", False)


def test_what_is_old_played_again_or_of_another_subject_is_left_out() -> None:
    a, b = Sealing(KEY, "s"), Sealing(KEY, "s")
    first, second = a.seal(b"1", 100.0), a.seal(b"2", 100.0)
    assert b.open(second, 100.0) == (b"2", False)
    assert b.open(second, 100.0) is None
    assert b.open(first, 100.0) is None
    assert b.open(a.seal(b"3", 100.0), 101.0 + MAX_AGE_S) is None
    assert Sealing(KEY, "t").open(a.seal(b"4", 100.0), 100.0) is None
    assert a.open(a.seal(b"5", 100.0), 100.0) is None
    for text in (b"", secrets.token_bytes(11), secrets.token_bytes(40)):
        assert b.open(text, 100.0) is None


@pytest.mark.parametrize("url", ["http://x", "nats://", "nats://host:port", "nats://host/path", "host:4222", "nats://host?x=1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(EventsError, match="nats://HOST:PORT"):
        NatsAddress.parse(url)


def test_a_password_in_the_address_is_refused_and_one_in_a_file_is_private(tmp_path: Path) -> None:
    with pytest.raises(EventsError, match="must not hold a password") as refused:
        NatsAddress.parse("nats://user:hidden@host")
    assert "hidden" not in str(refused.value)
    file = tmp_path / "password"
    file.write_text("hidden\n")
    file.chmod(0o644)
    with pytest.raises(EventsError, match="chmod 600"):
        NatsAddress.parse("nats://host", file)
    file.chmod(0o600)
    address = NatsAddress.parse("tls://user@host", file)
    assert (address.url, address.user, address.secret) == ("tls://host:4222", "user", "hidden")
    assert "hidden" not in repr(address)
