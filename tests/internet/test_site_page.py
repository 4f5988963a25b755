"""The site's own page: what it says, in both languages, and that it serves nothing else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.system.service import free_port
from tramontana.internet.site.page import driver
from tramontana.internet.site.page.render import Language, language_of, page

pytestmark = pytest.mark.anyio
GATEWAY = "ab" * 16
CARRIERS = {1: "Starlink", 2: "4G"}
DEAD = "no carrier lives that the policy allows: Starlink is dead"


def _tunnel(uplink: int, *, up: bool) -> dict[str, Any]:
    return {
        "gateway": GATEWAY,
        "uplink": uplink,
        "up": up,
        "blocked": None if up else "no post-quantum key yet",
        "round_trip_s": 0.0314 if up else None,
        "loss": 0.012,
        "key_age_s": 74.0 if up else None,
    }


def _condition(**changes: Any) -> dict[str, Any]:
    history = [{"ago_s": 65.0, "flows": ["data, routine", "bulk"], "from": 2, "to": 1, "reason": "4G is dead"}]
    usual: dict[str, Any] = {
        "name": "Ship <7>",
        "carrying": {"gateway": GATEWAY, "uplink": 1},
        "blocked": None,
        "blocked_flows": [],
        "copies": {"over": [], "paused": []},
        "tunnels": [_tunnel(1, up=True), _tunnel(2, up=False)],
        "history": history,
    }
    return usual | changes


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words = ""
        self._skip = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._skip = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._skip = False

    def handle_data(self, data: str) -> None:
        if not self._skip:
            self.words += f" {data}"


def _said(condition: dict[str, Any], language: Language) -> str:
    reader = _Words()
    reader.feed(page(condition, CARRIERS, {GATEWAY: 3}, language))
    return re.sub(r"\s+", " ", reader.words)


def test_it_says_what_carries() -> None:
    english, italian = _said(_condition(), "en"), _said(_condition(), "it")
    assert "Connected by Starlink" in english
    assert "31 ms 1.2 % 74 s" in english
    assert "down: no post-quantum key yet" in english
    assert "4G → Starlink: 4G is dead 1:05 ago" in english
    assert "Collegato tramite Starlink" in italian
    assert "31 ms 1,2 % 74 s" in italian
    assert "inattivo: ancora nessuna chiave post-quantistica" in italian
    assert "4G non risponde più 1:05 fa" in italian
    assert GATEWAY not in english


def test_it_says_what_is_blocked_and_why() -> None:
    condition = _condition(carrying=None, blocked=DEAD, blocked_flows=[{"flows": ["data, routine"], "reason": DEAD}])
    assert f"Blocked: nothing leaves this site Why: {DEAD}" in _said(condition, "en")
    assert "Bloccato: da questo sito non esce nulla Perché: nessun vettore consentito" in _said(condition, "it")
    partly = _condition(
        blocked_flows=[{"flows": ["bulk", "voice, flash"], "reason": "Starlink refused by “metered”: its price is not known"}]
    )
    assert "Blocked kinds of traffic bulk, voice flash: Starlink refused" in _said(partly, "en")
    assert "trasferimenti di massa, voce lampo: Starlink rifiutato dalla regola «metered»" in _said(partly, "it")


def test_it_says_what_goes_twice_and_what_should_and_does_not() -> None:
    assert "twice" not in _said(_condition(), "en")
    over = [{"gateway": GATEWAY, "uplink": 2, "flows": ["voice, routine", "voice, flash"]}]
    paused = [{"flows": ["voice, priority"], "reason": "4G takes no copies: its 50 GB of this month are used up"}]
    condition = _condition(copies={"over": over, "paused": paused})
    english, italian = _said(condition, "en"), _said(condition, "it")
    assert "voice routine, voice flash: over 4G too" in english
    assert "voice priority: once only. 4G takes no copies: its 50 GB of this month are used up" in english
    assert "voce ordinaria, voce lampo: anche tramite 4G" in italian
    assert "voce prioritaria: una volta sola. 4G non porta copie: i suoi 50 GB di questo mese sono esauriti" in italian


def test_names_are_no_markup() -> None:
    made = page(_condition(name="<script>alert(1)</script>", blocked="<b>"), {1: "<i>", 2: "{0}"}, {}, "en")
    assert "<script>alert" not in made
    assert "<i>" not in made


@pytest.mark.parametrize(
    ("accepted", "asked", "language"),
    [
        ("", "", "en"),
        ("it-IT,it;q=0.9,en;q=0.8", "", "it"),
        ("de, it", "", "it"),
        ("it", "en", "en"),
        ("en", "it", "it"),
        ("fr", "x", "en"),
    ],
)
def test_language(accepted: str, asked: str, language: str) -> None:
    assert language_of(accepted, asked) == language


@asynccontextmanager
async def _served() -> AsyncIterator[int]:
    port = free_port()
    serving = asyncio.ensure_future(driver.serve(["lo"], port, lambda language: page(_condition(), CARRIERS, {}, language)))
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    (await asyncio.open_connection("127.0.0.1", port))[1].close()
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        yield port
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def _asked(port: int, request: str) -> str:
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request.encode())
        answer = (await reader.read()).decode()
        writer.close()
    return answer


async def test_it_can_be_read_and_nothing_else() -> None:
    async with _served() as port:
        host = f"Host: 127.0.0.1:{port}\r\n"
        answer = await _asked(port, f"GET / HTTP/1.1\r\n{host}Accept-Language: it\r\n\r\n")
        assert answer.startswith("HTTP/1.1 200")
        assert "Collegato tramite Starlink" in answer
        assert "default-src 'none'" in answer
        assert "Connected by" in await _asked(port, f"GET /?lang=en HTTP/1.1\r\n{host}\r\n")
        assert (await _asked(port, f"HEAD / HTTP/1.1\r\n{host}\r\n")).endswith("\r\n\r\n")
        assert (await _asked(port, f"POST / HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n")).startswith("HTTP/1.1 405")
        assert (await _asked(port, f"GET /device.key HTTP/1.1\r\n{host}\r\n")).startswith("HTTP/1.1 404")
        assert (await _asked(port, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")).startswith("HTTP/1.1 421")
        assert (await _asked(port, "GET //[ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")).startswith("HTTP/1.1 400")
        assert await _asked(port, "nonsense\r\n\r\n") == ""
        assert await _asked(port, f"GET / HTTP/1.1\r\n{host}X: {'a' * 20_000}\r\n\r\n") == ""
