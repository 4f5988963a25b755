"""The relay as a process, used by a TURN client that somebody else wrote (aioice)."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from pathlib import Path

import aioice
import pytest

from tests.phone.relay_process import PATIENCE_S, Relay, built_in_relay, start_relay

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def ice(relay: Relay, device: str, *, controlling: bool) -> aioice.Connection:
    issued = relay.secret.issue(device, time.time() + 600)
    return aioice.Connection(
        ice_controlling=controlling,
        turn_server=("127.0.0.1", relay.port),
        turn_username=issued.username,
        turn_password=issued.credential,
        transport_policy=aioice.TransportPolicy.RELAY,
    )


async def test_two_ice_agents_meet_on_relayed_addresses_only(tmp_path: Path) -> None:
    with built_in_relay(tmp_path) as relay:
        a, b = ice(relay, "a", controlling=True), ice(relay, "b", controlling=False)
        try:
            async with asyncio.timeout(PATIENCE_S):
                for one, other in ((a, b), (b, a)):
                    await one.gather_candidates()
                    assert [candidate.type for candidate in one.local_candidates] == ["relay"]
                    for candidate in one.local_candidates:
                        await other.add_remote_candidate(candidate)
                    await other.add_remote_candidate(None)
                a.remote_username, a.remote_password = b.local_username, b.local_password
                b.remote_username, b.remote_password = a.local_username, a.local_password
                await asyncio.gather(a.connect(), b.connect())
                for number in range(100):
                    await a.send(b"from a %d" % number)
                    assert await b.recv() == b"from a %d" % number
                    await b.send(b"from b %d" % number)
                    assert await a.recv() == b"from b %d" % number
        finally:
            await a.close()
            await b.close()


async def test_a_wrong_credential_gets_no_allocation(tmp_path: Path) -> None:
    with built_in_relay(tmp_path) as relay:
        agent = ice(relay, "a", controlling=True)
        agent.turn_password = "guess"
        try:
            async with asyncio.timeout(PATIENCE_S):
                await agent.gather_candidates()
            assert agent.local_candidates == []
        finally:
            await agent.close()


def test_sigterm_ends_it_cleanly_and_nothing_secret_was_printed(tmp_path: Path) -> None:
    with built_in_relay(tmp_path) as relay:
        relay.process.send_signal(signal.SIGTERM)
        output, errors = relay.process.communicate(timeout=PATIENCE_S)
        assert (relay.process.returncode, errors) == (0, "")
        assert output == "The media relay stops. Nothing came.\n"
    secret = (tmp_path / "relay-secret").read_text().strip()
    assert secret not in output


def refusal(*arguments: str) -> str:
    """What the relay says when it cannot start; `cli.main` prints the exception's text."""
    process = start_relay(*arguments)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert output == ""
    return errors.splitlines()[-1]


def test_why_it_does_not_start_is_one_sentence(tmp_path: Path) -> None:
    secret_file = ("--secret-file", str(tmp_path / "relay-secret"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        assert f"port {port}: Address already in use. Choose another" in refusal("--port", port, *secret_file)
    assert "give it with --advertise" in refusal("--port", "0", "--host", "0.0.0.0", *secret_file)
    assert "give one with --advertise" in refusal("--port", "0", "--advertise", "relay.example", *secret_file)
    (tmp_path / "relay-secret").chmod(0o644)
    assert "chmod 600" in refusal("--port", "0", *secret_file)
