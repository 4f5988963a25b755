"""Sealed attachments: chunks, resumption, limits, retention, and who may fetch (docs/protocols.md, "Attachments")."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from tests.control import mls_bytes
from tests.control.house import Houses, Phone, b64
from tramontana.control.app import forget_old
from tramontana.control.attachments import AttachmentRules
from tramontana.keys.attachment import SEALED_CHUNK_BYTES

pytestmark = pytest.mark.anyio

LAST = 1040
TWO_CHUNKS = SEALED_CHUNK_BYTES + LAST


@pytest.fixture
def houses(stored_houses: Houses) -> Houses:
    """Every test of this module runs on SQLite and on PostgreSQL."""
    return stored_houses


def path(conversation_id: str, attachment_id: str, number: int | None = None) -> str:
    base = f"/conversations/{conversation_id}/attachments/{attachment_id}"
    return base if number is None else f"{base}/chunks/{number}"


async def announce(phone: Phone, conversation_id: str, attachment_id: str, octets: int = TWO_CHUNKS) -> httpx.Response:
    return await phone.put(path(conversation_id, attachment_id), {"octets": octets})


async def put(phone: Phone, conversation_id: str, attachment_id: str, number: int, chunk: bytes) -> httpx.Response:
    headers = {**phone.headers, "Content-Type": "application/octet-stream"}
    return await phone.house.http.put(f"/api/v1{path(conversation_id, attachment_id, number)}", headers=headers, content=chunk)


async def tell(phone: Phone, conversation_id: str, epoch: int, *attachment_ids: str) -> httpx.Response:
    message = mls_bytes.private_message(conversation_id, epoch, mls_bytes.APPLICATION)
    body: dict[str, Any] = {"message_id": secrets.token_hex(16), "message": b64(message), "attachments": list(attachment_ids)}
    return await phone.post(f"/conversations/{conversation_id}/messages", body)


async def send(phone: Phone, conversation_id: str, epoch: int = 1) -> tuple[str, list[bytes]]:
    """Put a whole attachment and tell of it."""
    attachment_id, chunks = secrets.token_hex(16), [secrets.token_bytes(SEALED_CHUNK_BYTES), secrets.token_bytes(LAST)]
    assert (await announce(phone, conversation_id, attachment_id)).status_code == 200
    for number, chunk in enumerate(chunks):
        assert (await put(phone, conversation_id, attachment_id, number, chunk)).status_code == 204
    told = await tell(phone, conversation_id, epoch, attachment_id)
    assert told.status_code == 201, told.text
    return attachment_id, chunks


def code(answer: httpx.Response) -> str:
    return str(answer.json()["code"])


async def test_an_interrupted_upload_goes_on_at_the_missing_chunk_and_the_peer_fetches_it(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        attachment_id, first, last = secrets.token_hex(16), secrets.token_bytes(SEALED_CHUNK_BYTES), secrets.token_bytes(LAST)
        made = (await announce(ada, conversation_id, attachment_id)).json()
        assert (made["octets"], made["chunks"], made["stored"]) == (TWO_CHUNKS, 2, [])
        assert (await put(ada, conversation_id, attachment_id, 1, last)).status_code == 204
        assert (await put(ada, conversation_id, attachment_id, 1, last)).status_code == 204  # its answer was lost
        assert (await announce(ada, conversation_id, attachment_id)).json()["stored"] == [1]
        assert code(await tell(ada, conversation_id, 1, attachment_id)) == "attachment_missing"
        assert (await put(ada, conversation_id, attachment_id, 0, first)).status_code == 204
        assert (await bea.get(path(conversation_id, attachment_id))).status_code == 404  # nobody has told her of it
        assert (await tell(ada, conversation_id, 1, attachment_id)).status_code == 201
        for number, chunk in enumerate((first, last)):
            answer = await bea.get(path(conversation_id, attachment_id, number))
            assert (answer.content, answer.headers["content-type"]) == (chunk, "application/octet-stream")
        assert (await bea.get(path(conversation_id, attachment_id, 2))).status_code == 404


async def test_nothing_takes_the_place_of_what_is_there(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        attachment_id, (first, _) = await send(ada, conversation_id)
        other = secrets.token_bytes(SEALED_CHUNK_BYTES)
        assert code(await put(ada, conversation_id, attachment_id, 0, other)) == "attachment_exists"
        assert code(await announce(ada, conversation_id, attachment_id, LAST)) == "attachment_exists"
        assert code(await announce(bea, conversation_id, attachment_id)) == "attachment_exists"
        assert (await put(bea, conversation_id, attachment_id, 0, first)).status_code == 404
        assert (await bea.delete(path(conversation_id, attachment_id))).status_code == 404
        assert code(await tell(bea, conversation_id, 1, attachment_id)) == "attachment_missing"
        assert (await bea.get(path(conversation_id, attachment_id, 0))).content == first


async def test_strangers_neither_put_nor_fetch(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        eve = await house.phone("Eve")
        attachment_id, (first, _) = await send(ada, conversation_id)
        refused = [
            await announce(eve, conversation_id, secrets.token_hex(16)),
            await put(eve, conversation_id, attachment_id, 0, first),
            await eve.get(path(conversation_id, attachment_id)),
            await eve.get(path(conversation_id, attachment_id, 0)),
        ]
        assert [answer.status_code for answer in refused] == [404] * 4
        elsewhere = await ada.open_with(eve)
        assert (await ada.get(path(elsewhere, attachment_id, 0))).status_code == 404


async def test_who_came_later_gets_what_is_told_later_and_who_was_removed_gets_nothing(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        await bea.offer(3)
        conversation_id = secrets.token_hex(16)
        group = {"kind": "group", "members": [bea.account_id], "conversation_id": conversation_id}
        assert (await ada.post("/conversations", group)).status_code == 200
        assert (await ada.commit(conversation_id, 0)).status_code == 201
        before, _ = await send(ada, conversation_id)
        assert code(await bea.get(path(conversation_id, before))) == "not_joined"
        assert (await ada.commit(conversation_id, 1, await ada.claim(bea))).status_code == 201
        after, _ = await send(ada, conversation_id, epoch=2)
        assert (await bea.get(path(conversation_id, before))).status_code == 404
        assert (await bea.get(path(conversation_id, after))).status_code == 200
        assert (await ada.delete(f"/conversations/{conversation_id}/members/{bea.account_id}")).status_code == 204
        assert (await bea.get(path(conversation_id, after))).status_code == 404
        assert (await announce(bea, conversation_id, secrets.token_hex(16))).status_code == 404


async def test_sizes_are_as_announced(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        attachment_id = secrets.token_hex(16)
        await announce(ada, conversation_id, attachment_id)
        for number, octets in ((0, LAST), (0, SEALED_CHUNK_BYTES - 1), (1, LAST + 1), (1, 0)):
            assert code(await put(ada, conversation_id, attachment_id, number, bytes(octets))) == "invalid_request"
        assert code(await put(ada, conversation_id, attachment_id, 0, bytes(300_000))) == "too_large"
        for octets in (0, 16, SEALED_CHUNK_BYTES + 16):  # a last chunk with nothing but its tag
            assert code(await announce(ada, conversation_id, secrets.token_hex(16), octets)) == "invalid_request"


async def test_limits_are_said_and_withdrawing_makes_room(houses: Houses) -> None:
    rules = AttachmentRules(most_octets=2 << 20, quota_octets=3 << 20)
    async with houses(attachments=rules) as house:
        ada, _, conversation_id = await house.pair()
        too_large = await announce(ada, conversation_id, secrets.token_hex(16), (2 << 20) + 1)
        assert (too_large.status_code, code(too_large)) == (413, "attachment_too_large")
        assert "2 MiB" in too_large.json()["detail"]
        first, second = secrets.token_hex(16), secrets.token_hex(16)
        assert (await announce(ada, conversation_id, first, 2 << 20)).status_code == 200
        assert code(await announce(ada, conversation_id, second, 2 << 20)) == "attachment_quota"
        assert (await announce(ada, conversation_id, first, 2 << 20)).status_code == 200  # it counts once
        for _ in range(2):
            assert (await ada.delete(path(conversation_id, first))).status_code == 204
        assert (await announce(ada, conversation_id, second, 2 << 20)).status_code == 200


async def test_they_are_kept_as_long_as_the_organisation_says(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        attachment_id, _ = await send(ada, conversation_id)
        day_s = 86_400.0
        headers = await house.administrator()
        wanted = {"undelivered_days": None, "call_records_days": 30, "attachments_days": 7}
        assert (await house.http.put("/api/v1/admin/retention", headers=headers, json=wanted)).status_code == 204
        await forget_old(house.store, house.clock() + 6 * day_s)
        await bea.login()
        assert (await bea.get(path(conversation_id, attachment_id, 0))).status_code == 200
        await forget_old(house.store, house.clock() + 8 * day_s)
        await bea.login()
        assert (await bea.get(path(conversation_id, attachment_id))).status_code == 404
