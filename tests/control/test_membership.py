"""Groups and talk groups: who may change the members, what a removed one still gets, trees apart from their welcomes."""

from __future__ import annotations

import secrets
from base64 import b64decode

import pytest

from tests.control.house import House, Houses, Phone
from tramontana.control.store import audit
from tramontana.keys.identity import direct_conversation_id

pytestmark = pytest.mark.anyio


async def three(house: House) -> tuple[Phone, Phone, Phone]:
    phones = [await house.phone(name) for name in ("Ada", "Bea", "Eve")]
    for phone in phones:
        await phone.offer(3)
    return phones[0], phones[1], phones[2]


async def group(house: House, creator: Phone, *others: Phone, kind: str = "group") -> str:
    """A conversation whose members have all joined, at epoch 1."""
    conversation_id = secrets.token_hex(16)
    members = [other.account_id for other in others]
    made = await creator.post("/conversations", {"kind": kind, "members": members, "conversation_id": conversation_id})
    assert made.status_code == 200, made.text
    packages = [package for other in others for package in await creator.claim(other)]
    answer = await creator.commit(conversation_id, 0, packages)
    assert answer.status_code == 201, answer.text
    return conversation_id


async def kinds_delivered(phone: Phone) -> list[str]:
    async with phone.socket() as socket:
        return [(await socket.next("deliver"))["kind"] for _ in range(socket.ready["pending"])]


async def test_a_direct_conversation_has_the_id_that_both_phones_compute(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        assert await ada.open_with(bea) == direct_conversation_id(bea.account_id, ada.account_id)
        assert await ada.open_with(eve) != await ada.open_with(bea)


async def test_a_group_is_made_once_and_listed_for_its_members(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        body = {"kind": "group", "members": [bea.account_id], "conversation_id": secrets.token_hex(16)}
        made, again = await ada.post("/conversations", body), await ada.post("/conversations", body)
        assert (made.status_code, made.json()) == (200, again.json())
        assert made.json()["owners"] == [ada.account_id]
        assert (await bea.get("/conversations")).json() == [made.json()]
        assert (await eve.get(f"/conversations/{body['conversation_id']}")).json()["code"] == "not_found"
        assert (await eve.post("/conversations", body)).json()["code"] == "conversation_exists"
        rows = [entry for entry in (await _trail(house)) if entry.action == "conversation.created"]
        assert [row.subject for row in rows] == [f"conversation {body['conversation_id']}"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"conversation_id": None}, "invalid_request"),
        ({"members": [secrets.token_hex(16)]}, "not_found"),
        ({"kind": "direct"}, "invalid_request"),
        ({"kind": "choir"}, "invalid_request"),
        ({"members": [secrets.token_hex(16) for _ in range(200)]}, "too_many_members"),
        ({"kind": "talk", "members": [secrets.token_hex(16) for _ in range(1000)]}, "too_many_members"),
    ],
)
async def test_what_is_no_group_is_refused(houses: Houses, change: dict[str, object], code: str) -> None:
    async with houses() as house:
        ada, bea, _ = await three(house)
        body = {"kind": "group", "members": [bea.account_id], "conversation_id": secrets.token_hex(16)} | change
        assert (await ada.post("/conversations", body)).json()["code"] == code
        assert (await ada.get("/conversations")).json() == []


async def test_any_member_of_a_group_may_add_and_remove(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        conversation_id = await group(house, ada, bea)
        path = f"/conversations/{conversation_id}/members"
        assert (await eve.post(path, {"members": [eve.account_id]})).json()["code"] == "not_found"
        async with eve.socket() as socket:
            added = await bea.post(path, {"members": [eve.account_id, ada.account_id]})
            assert added.json()["members"] == sorted(phone.account_id for phone in (ada, bea, eve))
            assert (await socket.next("conversation"))["conversation_id"] == conversation_id
        assert (await bea.commit(conversation_id, 1, await bea.claim(eve))).status_code == 201
        assert (await eve.delete(f"{path}/{ada.account_id}")).status_code == 204
        assert (await ada.get(f"/conversations/{conversation_id}")).status_code == 404
        assert (await eve.get(f"/conversations/{conversation_id}")).json()["owners"] == [bea.account_id]  # the one there longest


async def test_a_talk_group_is_changed_by_its_owner_and_left_by_anybody(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        conversation_id = await group(house, ada, bea, kind="talk")
        path = f"/conversations/{conversation_id}/members"
        assert (await bea.post(path, {"members": [eve.account_id]})).json()["code"] == "not_yours"
        assert (await bea.delete(f"{path}/{ada.account_id}")).json()["code"] == "not_yours"
        assert (await ada.post(path, {"members": [eve.account_id]})).status_code == 200
        assert (await bea.delete(f"{path}/{bea.account_id}")).status_code == 204
        assert (await ada.get(f"/conversations/{conversation_id}")).json()["members"] == sorted([ada.account_id, eve.account_id])


async def test_the_members_of_a_direct_conversation_are_fixed(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        path = f"/conversations/{await ada.open_with(bea)}/members"
        assert (await ada.post(path, {"members": [eve.account_id]})).json()["code"] == "members_fixed"
        assert (await ada.delete(f"{path}/{ada.account_id}")).json()["code"] == "members_fixed"


async def test_a_removed_device_gets_the_commit_that_removes_it_and_nothing_after(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        conversation_id = await group(house, ada, bea, eve)
        assert (await ada.send(conversation_id, 1)).status_code == 201
        assert (await ada.delete(f"/conversations/{conversation_id}/members/{eve.account_id}")).status_code == 204
        assert (await ada.send(conversation_id, 1)).status_code == 201  # off the list: no content, though its keys would still do
        assert (await eve.send(conversation_id, 1)).json()["code"] == "not_found"
        assert (await bea.commit(conversation_id, 1)).status_code == 201  # it must be able to follow until it is out
        assert (await ada.commit(conversation_id, 2, removed=[eve])).status_code == 201
        assert (await ada.send(conversation_id, 3)).status_code == 201
        assert (await bea.commit(conversation_id, 3)).status_code == 201
        assert await kinds_delivered(eve) == ["welcome", "application", "commit", "commit"]
        assert await kinds_delivered(bea) == ["welcome", "application", "application", "commit", "application"]


async def test_a_commit_that_removes_its_sender_or_a_stranger_is_refused(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        conversation_id = await group(house, ada, bea)
        for removed in (ada, eve):
            assert (await ada.commit(conversation_id, 1, removed=[removed])).json()["code"] == "removal_refused"
        assert (await ada.commit(conversation_id, 1, removed=[bea])).status_code == 201
        assert (await bea.send(conversation_id, 2)).json()[
            "code"
        ] == "not_joined"  # its account is still on the list: it may be added again
        again = await ada.commit(conversation_id, 2, await ada.claim(bea))
        assert again.status_code == 201, again.text
        assert (await bea.send(conversation_id, 3)).status_code == 201


async def test_a_tree_is_served_to_members_once_its_commit_is_accepted(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        conversation_id = await group(house, ada, bea)
        path = f"/api/v1/conversations/{conversation_id}/trees"
        by_ada, by_bea = secrets.token_bytes(500_000), secrets.token_bytes(10)
        for phone, tree in ((ada, by_ada), (bea, by_bea)):
            answer = await house.http.put(f"{path}/2", headers=phone.headers, content=tree)
            assert answer.status_code == 204, answer.text
        assert (await house.http.get(f"{path}/2", headers=bea.headers)).status_code == 404
        assert (await ada.commit(conversation_id, 1)).status_code == 201
        assert (await house.http.get(f"{path}/2", headers=bea.headers)).content == by_ada
        assert (await house.http.get(f"{path}/2", headers=eve.headers)).status_code == 404
        refused = await house.http.put(f"{path}/2", headers=ada.headers, content=by_ada)
        assert (refused.status_code, refused.json()["code"]) == (409, "epoch_out_of_range")
        large = await house.http.put(f"{path}/3", headers=ada.headers, content=bytes((4 << 20) + 1))
        assert large.json()["code"] == "too_large"


async def test_key_packages_of_members_are_claimed_together(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await three(house)
        conversation_id = secrets.token_hex(16)
        body = {"kind": "group", "members": [bea.account_id, eve.account_id], "conversation_id": conversation_id}
        assert (await ada.post("/conversations", body)).status_code == 200
        everybody = {"accounts": [phone.account_id for phone in (ada, bea, eve)]}
        path = f"/conversations/{conversation_id}/key-packages/claim"
        claimed = (await ada.post(path, everybody)).json()
        assert {entry["device_id"] for entry in claimed} == {bea.device_id, eve.device_id}  # never one's own
        of_bea = [b64decode(entry["key_package"]) for entry in claimed if entry["account_id"] == bea.account_id]
        assert (await ada.commit(conversation_id, 0, of_bea)).status_code == 201
        again = (await bea.post(path, everybody)).json()
        assert [entry["device_id"] for entry in again] == [eve.device_id]  # who is in the group is not claimed again
        stranger = await house.phone("Stranger")
        assert (await stranger.post(path, everybody)).json()["code"] == "not_found"


async def _trail(house: House) -> list[audit.Entry]:
    async with house.store.read() as connection:
        return list(await audit.entries(connection, 0, 1000))
