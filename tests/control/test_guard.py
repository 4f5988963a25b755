"""What every request passes: host names, origins, sizes, rates, headers; and what errors reveal."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.control.house import Houses
from tramontana.control.guard import host_name, is_same_origin
from tramontana.control.limits import Limits, Rate, TokenBuckets
from tramontana.control.logs import JsonLines
from tramontana.control.store.database import Store, StoreUnavailable
from tramontana.internet.addresses import source_of

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8440", "localhost.evil.example", "", "127.0.0.1@evil.example", "[", "::1"])
async def test_foreign_host_names_are_refused(houses: Houses, host: str) -> None:
    async with houses() as house:
        answer = await house.http.get("/api/v1/service", headers={"Host": host})
        assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8440", "LOCALHOST"])
async def test_own_host_names_are_accepted(houses: Houses, host: str) -> None:
    async with houses() as house:
        assert (await house.http.get("/api/v1/service", headers={"Host": host})).status_code == 200


def test_origins_are_compared_whole() -> None:
    assert is_same_origin("http://localhost:8440", "ws", "localhost:8440")
    assert is_same_origin("https://Example.org", "wss", "example.org")
    for foreign in ("http://localhost:8441", "https://localhost:8440", "null", "http://localhost:8440.evil.example", ""):
        assert not is_same_origin(foreign, "ws", "localhost:8440")
    assert host_name("a:b") is None


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}]
)
async def test_a_page_of_another_site_cannot_use_up_what_the_visitor_may_ask(houses: Houses, headers: dict[str, str]) -> None:
    async with houses(limits=replace(Limits(), any=Rate(3, 0.001), stranger=Rate(2, 0.001))) as house:
        for _ in range(5):
            answer = await house.http.post("/api/v1/sessions/challenge", json={"device_id": "0" * 32}, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
        link_in_a_mail = await house.http.get("/phone", headers={"Sec-Fetch-Site": "cross-site"})
        assert link_in_a_mail.status_code == 503  # the page that says that nothing is built
        own = {"Origin": house.url, "Sec-Fetch-Site": "same-origin"}
        answer = await house.http.post("/api/v1/sessions/challenge", json={"device_id": "0" * 32}, headers=own)
        assert answer.status_code == 200
        assert (await house.http.get("/api/v1/service", headers={"Sec-Fetch-Site": "none"})).status_code == 200


async def test_every_answer_carries_the_security_headers(houses: Houses) -> None:
    async with houses() as house:
        for path in ("/api/v1/service", "/phone", "/console", "/", "/nothing", "/api/v1/nothing", "/assets/nothing.js"):
            answer = await house.http.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["permissions-policy"].startswith("microphone=(self)")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers
        assert (await house.http.get("/api/v1/service")).headers["cache-control"] == "no-store"


async def test_there_is_no_documentation_page(houses: Houses) -> None:
    async with houses() as house:
        for path in ("/docs", "/redoc", "/openapi.json"):
            assert (await house.http.get(path)).status_code == 404


async def test_bodies_are_bounded_with_and_without_a_length(houses: Houses) -> None:
    async with houses(limits=replace(Limits(), body_bytes=1000, large_body_bytes=5000)) as house:
        ada, bea, conversation_id = await house.pair_of_strangers()
        large = b'{"x":"' + b"a" * 2000 + b'"}'

        async def chunks() -> object:
            for start in range(0, len(large), 500):
                yield large[start : start + 500]

        for content in (large, chunks()):
            answer = await house.http.post("/api/v1/sessions", content=content, headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        commits = f"/api/v1/conversations/{conversation_id}/commits"
        assert (await house.http.post(commits, content=large, headers=ada.headers)).status_code == 422
        assert (await house.http.post(commits, content=large * 3, headers=ada.headers)).status_code == 413
        assert (await house.http.put("/api/v1/me/key-packages", content=large * 3, headers=bea.headers)).status_code == 413
        for headers in ({}, {"Authorization": "Bearer nobody"}):  # a stranger's large body is not even read
            for content in (large, chunks()):
                answer = await house.http.post(commits, content=content, headers=headers)  # type: ignore[arg-type]
                assert (answer.status_code, answer.json()["code"]) == (401, "not_logged_in")


async def test_strangers_are_limited_and_told_when_to_come_back(houses: Houses) -> None:
    async with houses(limits=replace(Limits(), stranger=Rate(3, 0.1))) as house:
        body = {"device_id": "0" * 32}
        answers = [await house.http.post("/api/v1/sessions/challenge", json=body) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].json()["code"] == "too_many_requests"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
        house.clock.advance(11)
        assert (await house.http.post("/api/v1/sessions/challenge", json=body)).status_code == 200
        assert (await house.http.get("/api/v1/service")).status_code == 200


async def test_everything_is_limited_by_address_and_by_account(houses: Houses) -> None:
    async with houses(limits=replace(Limits(), any=Rate(12, 0.01))) as house:
        answers = [(await house.http.get("/phone")).status_code for _ in range(14)]
        assert answers[-2:] == [429, 429]
    async with houses(limits=replace(Limits(), account=Rate(5, 0.01), claim=Rate(2, 0.01))) as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        claims = [(await ada.post(f"/accounts/{bea.account_id}/key-packages/claim")).status_code for _ in range(3)]
        assert claims == [200, 200, 429]
        assert [(await ada.get("/me")).status_code for _ in range(3)] == [200, 200, 429]
        assert (await bea.get("/me")).status_code == 200


def test_buckets_refill_and_their_table_is_bounded() -> None:
    buckets, rate = TokenBuckets(max_buckets=3), Rate(2, 0.5)
    assert [buckets.take("x", "a", rate, 0.0) for _ in range(3)] == [0, 0, 2]
    assert buckets.take("x", "a", rate, 2.0) == 0
    assert buckets.take("x", "a", rate, 1.0) > 0  # a clock that goes back gives nothing away
    for number in range(10):
        buckets.take("x", str(number), rate, 3.0)
    assert len(buckets) == 3


def test_many_addresses_do_not_push_out_the_bucket_of_an_account() -> None:
    buckets, rate = TokenBuckets(max_buckets=3), Rate(1, 0.01)
    assert buckets.take("claim", "mallory", rate, 0.0) == 0
    for number in range(10):
        buckets.take("any", str(number), rate, 0.0)
    assert buckets.take("claim", "mallory", rate, 0.0) > 0


def test_one_subscriber_is_one_address() -> None:
    assert source_of("2001:db8:1:2:3::4") == source_of("2001:db8:1:2::ffff")
    assert source_of("2001:db8:1:2::1") != source_of("2001:db8:1:3::1")
    assert source_of("::ffff:192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"invitation": 1}', b"\xff\xfe", b'{"device_id":"' + b"0" * 31 + b'"}', b"[" * 5000]
)
async def test_malformed_bodies_get_a_problem_that_repeats_nothing(houses: Houses, content: bytes) -> None:
    async with houses() as house:
        for path in ("enrolments", "sessions", "sessions/challenge", "admin/sessions"):
            answer = await house.http.post(f"/api/v1/{path}", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "invalid_request"


async def test_a_refused_secret_is_not_repeated(houses: Houses) -> None:
    async with houses() as house:
        answer = await house.http.post("/api/v1/admin/sessions", json={"token": ["very secret"], "extra": "very secret"})
        assert answer.status_code == 422
        assert "very secret" not in answer.text


async def test_a_store_that_cannot_be_written_is_a_clear_answer(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    async with houses() as house:
        phone = await house.phone()

        def full(_store: Store) -> object:
            raise StoreUnavailable("disk full")

        monkeypatch.setattr(Store, "write", full)
        answer = await phone.post("/conversations", {"kind": "direct", "members": ["0" * 32]})
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert "retry-after" in answer.headers


async def test_a_fault_of_ours_reveals_nothing_and_keeps_the_headers(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    async with houses() as house:
        phone = await house.phone()

        def broken(_store: Store) -> object:
            raise RuntimeError("a detail of the inside")

        monkeypatch.setattr(Store, "write", broken)
        answer = await phone.post("/conversations", {"kind": "direct", "members": ["0" * 32]})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "inside" not in answer.text
        assert "content-security-policy" in answer.headers


async def test_the_access_log_has_no_query_and_no_token(houses: Houses, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with houses() as house:
        phone = await house.phone()
        await phone.get("/me/path", params={"seconds": 61})
    text = "\n".join(JsonLines().format(record) for record in caplog.records if record.name.startswith("tramontana"))
    assert "GET /api/v1/me/path 200" in text
    assert "seconds" not in text
    assert phone.token not in text
    assert all(json.loads(line) for line in text.splitlines())


async def test_the_built_client_is_served(houses: Houses, tmp_path: Path) -> None:
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    async with houses(static=static) as house:
        missing = await house.http.get("/phone")
        assert missing.status_code == 503
        assert "make web" in missing.text
        (static / "index.html").write_text("<title>start</title>")
        (static / "phone.html").write_text("<title>phone</title>")
        (static / "console.html").write_text("<title>console</title>")
        (static / "assets" / "phone-abc123.js").write_text("export {}")
        (static / "icon.svg").write_text("<svg/>")
        assert (await house.http.get("/")).text == "<title>start</title>"
        phone: httpx.Response = await house.http.get("/phone")
        assert (phone.text, phone.headers["cache-control"]) == ("<title>phone</title>", "no-cache")
        assert (await house.http.get("/console")).text == "<title>console</title>"
        asset = await house.http.get("/assets/phone-abc123.js")
        assert "immutable" in asset.headers["cache-control"]
        assert asset.headers["content-type"].startswith("text/javascript")
        assert (await house.http.get("/icon.svg")).status_code == 200
        for outside in ("/../data/tramontana.db", "/assets/../../data/tramontana.db", "/%2e%2e/data/tramontana.db"):
            assert (await house.http.get(outside)).status_code == 404
