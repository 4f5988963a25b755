"""`tramontana serve`, `invite` and `admin-link` as processes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.control.custodians import install
from tramontana.cli.serve import _listen
from tramontana.control import bootstrap
from tramontana.control.store.database import DirectoryLock


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "tramontana.cli.main", *map(str, arguments)]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, check=False)


def reading_ready(process: subprocess.Popen[str]) -> str:
    """The address in the first line of a server."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    return str(json.loads(line)["ready"]["address"])


@contextmanager
def serving(data: Path, *arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address."""
    process = subprocess.Popen(
        command("serve", "--data", data, "--port", "0", *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process, reading_ready(process)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_says_when_it_is_ready_and_ends_cleanly(tmp_path: Path, end: signal.Signals) -> None:
    with serving(tmp_path / "data", "--log-level", "info") as (process, address):
        assert httpx.get(f"{address}/api/v1/health").json() == {"status": "ok", "events": "alone"}
        process.send_signal(end)
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Traceback" not in log
        lines = [json.loads(line) for line in log.splitlines()]
        assert any("GET /api/v1/health 200" in line["what"] for line in lines)


def test_no_log_level_shows_a_token(tmp_path: Path) -> None:
    with serving(tmp_path / "data", "--log-level", "debug") as (process, address):
        with connect(address.replace("http", "ws") + "/api/v1/socket") as socket:
            socket.send(json.dumps({"type": "hello", "token": "S" * 43, "after": 0}))
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=10)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        assert "SSS" not in log


def test_accepted_connections_do_not_wait_for_delayed_acknowledgements() -> None:
    listener = _listen("127.0.0.1", 0)
    assert listener.proto == socket.IPPROTO_TCP  # what asyncio looks at before it sets TCP_NODELAY
    listener.close()


def test_it_listens_in_the_clear_on_this_machine_only(tmp_path: Path) -> None:
    refused = run("serve", "--data", tmp_path, "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode != 0
    assert "--tls-cert" in refused.stderr
    assert "--behind-proxy" in refused.stderr
    with serving(tmp_path, "--host", "0.0.0.0", "--behind-proxy", "--host-name", "phone.example") as (_, address):
        url = f"http://127.0.0.1:{address.rpartition(':')[2]}/api/v1/service"
        assert httpx.get(url, headers={"Host": "phone.example"}).status_code == 200
        assert httpx.get(url, headers={"Host": "127.0.0.1"}).status_code == 421


def test_events_need_a_database_that_can_be_shared(tmp_path: Path) -> None:
    refused = run("serve", "--data", tmp_path, "--port", "0", "--events", "nats://127.0.0.1:4222")
    assert refused.returncode != 0
    assert "--database" in refused.stderr


def test_one_server_per_data_directory(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    refused = run("serve", "--data", tmp_path, "--port", "0")
    lock.release()
    assert refused.returncode == 1
    assert "already uses" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_damaged_database_and_a_wrong_certificate_are_one_sentence(tmp_path: Path) -> None:
    bootstrap.prepare(tmp_path)
    (tmp_path / "tramontana.db").write_bytes(b"damaged" * 1000)
    refused = run("serve", "--data", tmp_path, "--port", "0")
    assert refused.returncode == 1
    assert "damaged" in refused.stderr
    (tmp_path / "cert.pem").write_text("not a certificate")
    other = run("serve", "--data", tmp_path / "new", "--port", "0", "--tls-cert", tmp_path / "cert.pem", "--tls-key", tmp_path / "cert.pem")
    assert other.returncode == 1
    assert "--tls-cert" in other.stderr
    for process in (refused, other):
        assert "Traceback" not in process.stderr


def test_links_made_beside_the_server_work(tmp_path: Path) -> None:
    assert "tramontana init" in run("invite", "--data", tmp_path / "data").stderr
    custodians = install(tmp_path / "data")
    assert "--origin" in run("invite", "--data", tmp_path / "data").stderr
    with serving(tmp_path / "data") as (_, address):
        invitation = run("invite", "--data", tmp_path / "data", "--note", "for Ada").stdout
        assert re.match(
            re.escape(address) + r"/phone#invite=[A-Za-z0-9_-]{43}&org=" + custodians.key.root.fingerprint_text + "\n", invitation
        )
        assert "█" in invitation
        link = run("admin-link", "--data", tmp_path / "data").stdout.splitlines()[0]
        token = link.removeprefix(f"{address}/console#admin=")
        session = httpx.post(f"{address}/api/v1/admin/sessions", json={"token": token})
        assert session.status_code == 201
        headers = {"Authorization": f"Bearer {session.json()['token']}"}
        [listed] = httpx.get(f"{address}/api/v1/admin/invitations", headers=headers).json()
        assert (listed["origin"], listed["note"]) == ("command", "for Ada")
        elsewhere = run("invite", "--data", tmp_path / "data", "--origin", "https://phone.example/").stdout
        assert elsewhere.startswith("https://phone.example/phone#invite=")
