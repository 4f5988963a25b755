"""What commands do when the server asks them to wait."""

from __future__ import annotations

import time

import httpx
import pytest

from tramontana.cli.server_api import ServerApi, ServerRefused

BUSY = {"code": "too_many_requests", "detail": "Too many requests."}


def api_of(answers: list[httpx.Response]) -> ServerApi:
    return ServerApi("http://127.0.0.1", transport=httpx.MockTransport(lambda _request: answers.pop(0)))


def busy(retry_after_s: int) -> httpx.Response:
    return httpx.Response(429, json=BUSY, headers={"Retry-After": str(retry_after_s)})


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, on a clock that moves by it."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(waits))
    return waits


def test_a_command_waits_as_the_server_says_and_asks_again(waited: list[float]) -> None:
    assert api_of([busy(2), busy(3), httpx.Response(200, json={"size": 7})]).call("GET", "/log/head") == {"size": 7}
    assert waited == [2.0, 3.0]


def test_it_gives_up_when_it_is_asked_to_wait_for_too_long(waited: list[float]) -> None:
    left = [busy(20), busy(20), busy(20)]
    with pytest.raises(ServerRefused, match="Too many requests"):
        api_of(left).call("GET", "/log/head")
    assert waited == [20.0]
    assert len(left) == 1
