"""Fetching elements: a real server on loopback in CelesTrak's place, and its usage policy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tramontana.errors import LocalError
from tramontana.space.driver import MINIMUM_INTERVAL_S, USER_AGENT, Fetched, FetchError, TooSoonError, fetch_elements
from tramontana.space.elements import parse_elements

NOW = 1.8e9


@dataclass
class FakeCelesTrak:
    """What the server answers, and what it was asked."""

    url: str = ""
    status: int = 200
    body: bytes = b"[]"
    cut_off: bool = False
    asked: list[tuple[dict[str, list[str]], str]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[FakeCelesTrak]:
    fake = FakeCelesTrak()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            fake.asked.append((parse_qs(urlsplit(self.path).query), self.headers["User-Agent"]))
            self.send_response(fake.status)
            self.send_header("Content-Length", str(len(fake.body) + (100 if fake.cut_off else 0)))
            self.end_headers()
            self.wfile.write(fake.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        fake.url = f"http://127.0.0.1:{httpd.server_address[1]}/gp.php"
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        httpd.shutdown()
        thread.join()


def fetch(server: FakeCelesTrak, directory: Path, now: float = NOW, group: str = "starlink", largest: int = 10_000) -> Fetched:
    return fetch_elements(group, directory=directory, now_unix_s=now, url=server.url, largest_bytes=largest)


def test_one_request_with_our_name_and_a_kept_copy(server: FakeCelesTrak, tmp_path: Path, omm: dict[str, str | int | float]) -> None:
    server.body = json.dumps([omm]).encode()
    fetched = fetch(server, tmp_path)
    assert parse_elements(fetched.data, name="CelesTrak starlink").fleet.names == ("ISS (ZARYA)",)
    assert fetched.path.read_bytes() == server.body
    assert server.asked == [({"GROUP": ["starlink"], "FORMAT": ["json"]}, USER_AGENT)]
    assert "tramontana/" in USER_AGENT


def test_not_more_than_once_in_two_hours(server: FakeCelesTrak, tmp_path: Path) -> None:
    first = fetch(server, tmp_path)
    with pytest.raises(TooSoonError, match=r"119 minutes ago.*try again after 2027-01-15 10:00 UTC.*starlink\.json") as refusal:
        fetch(server, tmp_path, NOW + MINIMUM_INTERVAL_S - 60)
    assert str(first.path) in str(refusal.value)
    assert len(server.asked) == 1
    fetch(server, tmp_path, NOW + 60, group="oneweb")  # each group for itself
    fetch(server, tmp_path, NOW + MINIMUM_INTERVAL_S)
    assert len(server.asked) == 3


def test_a_clock_that_was_wrong_does_not_lock_for_ever(server: FakeCelesTrak, tmp_path: Path) -> None:
    fetch(server, tmp_path, NOW + 1e8)
    fetch(server, tmp_path, NOW)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(403, "refuses this address"), (404, "has no group 'starlink'"), (301, "redirect"), (503, "answers 503: try again in two hours")],
)
def test_refusals_are_explained_and_count_as_asked(server: FakeCelesTrak, tmp_path: Path, status: int, sentence: str) -> None:
    fetch(server, tmp_path, NOW - MINIMUM_INTERVAL_S)
    server.status, server.body = status, b"<html>no</html>"
    with pytest.raises(FetchError, match=sentence):
        fetch(server, tmp_path)
    with pytest.raises(TooSoonError):
        fetch(server, tmp_path, NOW + 60)
    assert len(server.asked) == 2
    assert (tmp_path / "sky" / "celestrak" / "starlink.json").read_bytes() == b"[]"  # the older copy is kept


def test_an_answer_in_words_is_shown(server: FakeCelesTrak, tmp_path: Path) -> None:
    server.body = b"No GP data found\x1b[31m"
    with pytest.raises(FetchError, match=r"it says: 'No GP data found\[31m'"):
        fetch(server, tmp_path)
    assert not (tmp_path / "sky" / "celestrak" / "starlink.json").exists()


def test_the_download_is_bounded(server: FakeCelesTrak, tmp_path: Path) -> None:
    server.body = b"[" + b" " * 100_000
    with pytest.raises(FetchError, match="more than 10,000 bytes"):
        fetch(server, tmp_path)
    assert not (tmp_path / "sky" / "celestrak" / "starlink.json").exists()


def test_a_connection_that_breaks_is_explained(server: FakeCelesTrak, tmp_path: Path) -> None:
    server.body, server.cut_off = b"[{", True
    with pytest.raises(FetchError, match=r"check the internet connection.*sky load FILE"):
        fetch(server, tmp_path)
    assert not (tmp_path / "sky" / "celestrak" / "starlink.json").exists()


def test_without_internet_nothing_is_counted(tmp_path: Path) -> None:
    def unreachable(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Name or service not known", request=request)

    for _ in range(2):  # the second try is not "too soon": CelesTrak was never asked
        with pytest.raises(FetchError, match=r"cannot get elements from celestrak\.org .*Name or service not known"):
            fetch_elements("starlink", directory=tmp_path, now_unix_s=NOW, transport=httpx.MockTransport(unreachable))


@pytest.mark.parametrize("group", ["", "../etc", "a b", "Starlink", "x" * 41, "starlink\n"])
def test_names_that_no_group_has_are_refused_before_any_request(server: FakeCelesTrak, tmp_path: Path, group: str) -> None:
    with pytest.raises(LocalError, match="is no group of CelesTrak"):
        fetch(server, tmp_path, group=group)
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_stamp_refuses(server: FakeCelesTrak, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    (tmp_path / "sky" / "celestrak" / "starlink.stamp").write_text("rubbish")
    with pytest.raises(LocalError, match="delete it if that was two hours ago"):
        fetch(server, tmp_path, NOW + 1e6)
    assert len(server.asked) == 1
