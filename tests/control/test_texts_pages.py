"""What operators see of texts: pages that leave nothing out, search, links, beams with their waits, and what was pre-empted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cell.couriers import CENTRE, keep_password
from tests.control.house import House, Houses
from tramontana.cell.beam_time import Rank
from tramontana.cell.short_message import submit, write
from tramontana.cell.smpp.pdu import Address, CommandId
from tramontana.control.operators import parse_operators
from tramontana.control.store import texts as rows
from tramontana.control.store.texts import NewText
from tramontana.precedence import Precedence

pytestmark = pytest.mark.anyio
NOBODY_LISTENS = 9


async def put(house: House, number: int, at: float, body: str = "x") -> str:
    phone = f"+3933300000{number:02}"
    addresses = Address.of("43200"), Address.of(phone)
    messages = submit(write(body, 1), *addresses, way="udh", precedence=Precedence.ROUTINE, receipt=False, command_id=CommandId.SUBMIT_SM)
    text = NewText("administrator", "operator", "43200", phone, body, Rank.ROUTINE, at + 3600)
    async with house.store.write() as connection:
        text_id, _ = await rows.put(connection, text, messages, 1, at)
    return text_id


@asynccontextmanager
async def queueing(houses: Houses, folder: Path, more: str = "") -> AsyncIterator[House]:
    """A house whose one operator cannot be reached: what is put stays queued."""
    keep_password(folder)
    operators = parse_operators(CENTRE.format(port=NOBODY_LISTENS) + 'prefixes = ["+39"]\n' + more, folder)
    async with houses(operators=operators) as house, asyncio.timeout(60):
        while not house.services.texts.links:  # before that the links' books are put in order  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield house


async def get(house: House, headers: dict[str, str], address: str) -> Any:
    answer = await house.http.get(f"/api/v1/texts{address}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_pages_show_every_text_once_also_where_many_are_of_one_instant(stored_houses: Houses) -> None:
    async with stored_houses() as house:
        headers, now = await house.administrator(), house.clock()
        made = [await put(house, number, now - number // 4) for number in range(10)]
        seen: list[str] = []
        after = ""
        while True:
            page = await get(house, headers, f"?most=3&after={after}")
            seen += [text["text_id"] for text in page["texts"]]
            if page["next"] is None:
                break
            after = page["next"]
            await put(house, 99, now + 1)  # what comes in meanwhile moves nothing
        assert sorted(seen) == sorted(made)
        assert [made.index(text_id) // 4 for text_id in seen] == [0] * 4 + [1] * 4 + [2] * 2
        assert (await house.http.get("/api/v1/texts?after=x", headers=headers)).status_code == 422


async def test_search_finds_numbers_and_words_and_takes_signs_for_what_they_are(stored_houses: Houses) -> None:
    async with stored_houses() as house:
        headers, now = await house.administrator(), house.clock()
        found = await put(house, 7, now, "Il campo è pieno al 100%")
        await put(house, 8, now, "Il varco è aperto")

        async def search(words: str) -> list[str]:
            answer = await house.http.get("/api/v1/texts", headers=headers, params={"search": words})
            return [text["text_id"] for text in answer.json()["texts"]]

        for words in ("CAMPO", "3300000 07".replace(" ", ""), "100%"):
            assert await search(words) == [found]
        assert len(await search("il")) == 2
        assert await search("%%") == []


async def test_states_are_told_apart(stored_houses: Houses, tmp_path: Path) -> None:
    async with queueing(stored_houses, tmp_path) as house:
        headers = await house.administrator()
        ids = []
        for number in range(3):
            body = {"destination": "+393331234567", "body": "a" * 200, "precedence": "flash", "request_id": str(number)}
            ids.append((await house.http.post("/api/v1/texts", headers=headers, json=body)).json()["text_id"])
        async with house.store.write() as connection:
            keys = await rows.keys_of(connection, ids[1], ["queued"])
            await rows.take(connection, keys, house.clock())
            await rows.apply(connection, "unanswered", house.clock(), keys=keys[:1])
            await rows.apply(connection, "receipt failed", house.clock(), keys=keys[1:], error="034")
        await house.http.post(f"/api/v1/texts/{ids[2]}/withdraw", headers=headers)
        for show, which in (("waiting", [ids[0]]), ("unknown", [ids[1]]), ("failed", [ids[2], ids[1]]), ("delivered", [])):
            page = await get(house, headers, f"?show={show}")
            assert [text["text_id"] for text in page["texts"]] == which
        shown = {text["text_id"]: text for text in (await get(house, headers, ""))["texts"]}
        assert (shown[ids[1]]["state"], shown[ids[1]]["rank"]) == ("unknown", "flash")
        assert [(each["state"], each["error"]) for each in shown[ids[1]]["messages"]] == [("unknown", ""), ("undelivered", "034")]
        assert shown[ids[2]]["wait_s"] is None


async def test_links_beams_and_what_was_preempted(houses: Houses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with queueing(houses, tmp_path, "beam_messages_per_s = 1.0\nwindow = 7\n") as house:
        headers, texts = await house.administrator(), house.services.texts
        fill = texts._fill

        async def not_by_itself() -> None: ...

        monkeypatch.setattr(texts, "_fill", not_by_itself)
        body = {"destination": "+393331234567", "body": "a" * 300, "request_id": "long"}
        long = (await house.http.post("/api/v1/texts", headers=headers, json=body)).json()
        await fill()
        (first,) = await texts.take("operator", 1)
        assert first.key not in texts.queues()["operator"][""]
        body = {"destination": "+393331234568", "body": "subito", "precedence": "flash", "request_id": "flash"}
        await house.http.post("/api/v1/texts", headers=headers, json=body)
        await fill()
        (beam,) = (await get(house, headers, "/links"))["links"][0]["beams"]
        assert (beam["messages_per_s"], beam["waiting"]) == (1.0, {"flash": 1, "routine": 1})
        waits = {text["rank"]: text["wait_s"] for text in (await get(house, headers, ""))["texts"]}
        assert 0 < waits["flash"] < waits["routine"] <= beam["wait_s"]
        house.clock.advance(10)
        assert len(await texts.take("operator", 1)) == 1
        page = await get(house, headers, "/links")
        (link,) = page["links"]
        assert (link["name"], link["kind"], link["window"], link["messages"]) == ("operator", "centre", 7, {"queued": 1, "sending": 2})
        (event,) = page["preempted"]
        assert (event["text_id"], event["link"], event["rank"], event["by_rank"]) == (long["text_id"], "operator", "routine", "flash")
        assert page["kept_days"] == 90


async def test_what_waits_is_read_in_pieces(houses: Houses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows.waiting, "__defaults__", (None, 2))
    monkeypatch.setattr(rows, "MAX_FILLED", 2)
    async with queueing(houses, tmp_path, "beam_messages_per_s = 0.5\n") as house:
        for number in range(3):
            async with house.store.write() as connection:
                await house.services.texts.put(connection, origin="test", destination=f"+39{number}0", body="a" * 300, rank=Rank.ROUTINE)
        await house.services.texts._fill()
        assert len(house.services.texts.queues()["operator"][""]) == 6
