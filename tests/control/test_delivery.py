"""Conversations, commits and messages: the rules of docs/protocols.md, "Conversations"."""

from __future__ import annotations

import asyncio
import secrets

import httpx
import pytest

from tests.control import mls_bytes
from tests.control.house import Houses, b64
from tramontana.control.store import mailbox

pytestmark = pytest.mark.anyio


@pytest.fixture
def houses(stored_houses: Houses) -> Houses:
    """Every test of this module runs on SQLite and on PostgreSQL."""
    return stored_houses


async def test_a_pair_has_one_conversation(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await house.phone("Ada"), await house.phone("Bea"), await house.phone("Eve")
        opened = await asyncio.gather(*(a.open_with(b) for a, b in ((ada, bea), (bea, ada), (ada, bea))))
        assert len(set(opened)) == 1
        listed = (await bea.get("/conversations")).json()
        assert listed == [
            {
                "conversation_id": opened[0],
                "kind": "direct",
                "members": sorted([ada.account_id, bea.account_id]),
                "owners": [],
                "archives": [],
                "epoch": None,
                "creator_device_id": None,
            }
        ]
        assert (await eve.get("/conversations")).json() == []


async def test_conversations_with_oneself_or_nobody_are_refused(houses: Houses) -> None:
    async with houses() as house:
        ada = await house.phone("Ada")
        for peer in (ada.account_id, secrets.token_hex(16)):
            answer = await ada.post("/conversations", {"kind": "direct", "members": [peer]})
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_first_commit_makes_the_creator_and_delivers_the_welcome(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        conversation = (await ada.get("/conversations")).json()[0]
        assert (conversation["epoch"], conversation["creator_device_id"]) == (1, ada.device_id)
        async with bea.socket() as socket:
            assert socket.ready["pending"] == 1
            item = await socket.next("deliver")
            assert (item["kind"], item["seq"], item["sender_device_id"]) == ("welcome", 1, ada.device_id)
            assert item["conversation_id"] == conversation_id


async def test_of_two_creators_one_wins_and_the_other_is_welcomed(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        await ada.offer(1)
        await bea.offer(1)
        conversation_id = await ada.open_with(bea)
        for_bea, for_ada = await ada.claim(bea), await bea.claim(ada)
        answers = await asyncio.gather(ada.commit(conversation_id, 0, for_bea), bea.commit(conversation_id, 0, for_ada))
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        refused = next(answer for answer in answers if answer.status_code == 409).json()
        assert (refused["code"], refused["epoch"]) == ("epoch_taken", 1)


async def test_of_many_commits_in_one_epoch_exactly_one_is_accepted(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        for epoch in (1, 2, 3):
            answers = await asyncio.gather(*((ada, bea)[n % 2].commit(conversation_id, epoch) for n in range(8)))
            assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
            assert {answer.json()["epoch"] for answer in answers} == {epoch + 1}


async def test_a_repeated_commit_gets_the_same_answer_and_is_delivered_once(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        commit = mls_bytes.private_message(conversation_id, 1, mls_bytes.COMMIT)
        first = await ada.commit(conversation_id, 1, commit=commit)
        await bea.commit(conversation_id, 2)
        again = await ada.commit(conversation_id, 1, commit=commit)
        assert (again.status_code, again.json()) == (201, first.json())
        stolen = await bea.commit(conversation_id, 1, commit=commit)
        assert stolen.json()["code"] == "epoch_taken"
        async with bea.socket() as socket:
            assert socket.ready["pending"] == 2  # the welcome and one commit


async def test_a_commit_goes_to_the_others_and_a_welcome_to_whom_it_admits(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        await ada.commit(conversation_id, 1)
        async with ada.socket() as ada_socket, bea.socket() as bea_socket:
            assert ada_socket.ready["pending"] == 0
            assert [(await bea_socket.next("deliver"))["kind"] for _ in range(2)] == ["welcome", "commit"]
            # Bea has lost her group and is added again: she gets the welcome, not the commit.
            answer = await ada.commit(conversation_id, 2, await ada.claim(bea))
            assert answer.status_code == 201, answer.text
            assert (await bea_socket.next("deliver"))["kind"] == "welcome"
            await bea.commit(conversation_id, 3)
            assert (await ada_socket.next("deliver"))["kind"] == "commit"


async def test_commits_of_epochs_to_come_are_refused(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        answer = await ada.commit(conversation_id, 5)
        assert (answer.status_code, answer.json()["code"], answer.json()["epoch"]) == (409, "epoch_out_of_range", 1)


async def test_what_is_not_a_commit_of_this_group_and_epoch_is_refused(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        wrong = [
            mls_bytes.private_message(secrets.token_hex(16), 1, mls_bytes.COMMIT),
            mls_bytes.private_message(conversation_id, 2, mls_bytes.COMMIT),
            mls_bytes.private_message(conversation_id, 1, mls_bytes.APPLICATION),
            mls_bytes.private_message(conversation_id, 1, mls_bytes.COMMIT) + b"\x00",
            b"\x00\x01\x00\x01" + secrets.token_bytes(40),
            b"\xff",
        ]
        for commit in wrong:
            answer = await ada.commit(conversation_id, 1, commit=commit)
            assert (answer.status_code, answer.json()["code"]) == (422, "bad_mls_message")
        assert (await ada.commit(conversation_id, 1)).status_code == 201


async def test_a_welcome_admits_only_packages_claimed_of_members(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await house.phone("Ada"), await house.phone("Bea"), await house.phone("Eve")
        offered, _ = await bea.offer(2)
        await eve.offer(1)
        conversation_id = await ada.open_with(bea)
        not_a_member = await ada.claim(eve)
        for admitted in (not_a_member, [bea.key_package()], [offered[0]]):
            answer = await ada.commit(conversation_id, 0, admitted)
            assert (answer.status_code, answer.json()["code"]) == (422, "welcome_refused")
        assert (await ada.get("/conversations")).json()[0]["epoch"] is None
        assert (await ada.begin_group(conversation_id, bea)).status_code == 201


async def test_outsiders_and_devices_that_have_not_joined_cannot_send(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = await house.phone("Ada"), await house.phone("Bea"), await house.phone("Eve")
        conversation_id = await ada.open_with(bea)
        assert (await ada.commit(conversation_id, 0)).status_code == 201  # a group of Ada alone
        assert (await bea.commit(conversation_id, 1)).json()["code"] == "not_joined"
        assert (await bea.send(conversation_id, 1)).json()["code"] == "not_joined"
        for answer in (await eve.send(conversation_id, 1), await eve.commit(conversation_id, 1)):
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        unknown = await eve.send(secrets.token_hex(16), 1)
        assert unknown.text == (await eve.send(conversation_id, 1)).text


async def test_messages_arrive_in_order_and_repeats_are_harmless(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        messages = [mls_bytes.private_message(conversation_id, 1, mls_bytes.APPLICATION) for _ in range(20)]
        ids = [secrets.token_hex(16) for _ in messages]
        for message_id, message in zip(ids, messages, strict=True):
            first = await ada.send(conversation_id, 1, message_id, message)
            again = await ada.send(conversation_id, 1, message_id, message)
            assert (first.status_code, first.json()) == (again.status_code, again.json()) == (201, first.json())
        reused = await ada.send(conversation_id, 1, ids[0], messages[1])
        assert (reused.status_code, reused.json()["code"]) == (409, "message_id_reused")
        async with bea.socket() as socket:
            items = [await socket.next("deliver") for _ in range(21)]
        assert [item["seq"] for item in items] == list(range(1, 22))
        assert [item["payload"] for item in items[1:]] == [b64(message) for message in messages]


async def test_messages_of_the_current_epoch_and_two_before_are_accepted(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        for epoch in (1, 2, 3):
            assert (await ada.commit(conversation_id, epoch)).status_code == 201
        status = {epoch: (await bea.send(conversation_id, epoch)).status_code for epoch in range(6)}
        assert status == {0: 409, 1: 409, 2: 201, 3: 201, 4: 201, 5: 409}


async def test_a_message_older_than_a_device_is_not_sent_to_it(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        await bea.offer(1)
        conversation_id = await ada.open_with(bea)
        await ada.commit(conversation_id, 0)
        await ada.commit(conversation_id, 1, await ada.claim(bea))
        assert (await ada.send(conversation_id, 1)).status_code == 201
        async with bea.socket() as socket:
            assert socket.ready["pending"] == 1  # the welcome only: she could not decrypt the message


async def test_a_full_mailbox_refuses_and_changes_nothing(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MAX_PENDING_ITEMS", 3)
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        assert [(await ada.send(conversation_id, 1)).status_code for _ in range(3)] == [201, 201, 409]
        answer = await ada.commit(conversation_id, 1)
        assert (answer.status_code, answer.json()["code"]) == (409, "mailbox_full")
        assert (await ada.get("/conversations")).json()[0]["epoch"] == 1
        async with bea.socket() as socket:
            await socket.send({"type": "ack", "seq": (await socket.next("deliver"))["seq"]})
            await socket.send({"type": "ping"})
            await socket.next("pong")
            assert (await ada.send(conversation_id, 1)).status_code == 201


@pytest.mark.parametrize(("share", "most"), [("MAX_ITEMS_OF_ONE_SENDER", 4), ("MAX_BYTES_OF_ONE_SENDER", 4000)])
async def test_one_sender_cannot_fill_the_mailbox_of_another(
    houses: Houses, monkeypatch: pytest.MonkeyPatch, share: str, most: int
) -> None:
    monkeypatch.setattr(mailbox, "SHARE_CHECKED_FROM", 0)
    monkeypatch.setattr(mailbox, share, most)
    async with houses() as house:
        mallory, bea, flooded = await house.pair()
        answers: list[httpx.Response] = []
        while not answers or (answers[-1].status_code == 201 and len(answers) < 10):
            message = mls_bytes.private_message(flooded, 1, mls_bytes.APPLICATION, size=1400)
            answers.append(await mallory.send(flooded, 1, message=message))
        assert (answers[-1].status_code, answers[-1].json()["code"]) == (409, "mailbox_full")
        assert 2 <= len(answers) <= 4  # the welcome counts as well
        cid = await house.phone("Cid")
        conversation_id = await cid.open_with(bea)
        assert (await cid.begin_group(conversation_id, bea)).status_code == 201
        assert (await cid.send(conversation_id, 1)).status_code == 201


async def test_key_packages_are_handed_out_once_and_the_last_resort_again(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        assert await ada.claim(bea) == []
        single_use, last_resort = await bea.offer(5)
        claimed = [packages[0] for packages in await asyncio.gather(*(ada.claim(bea) for _ in range(8)))]
        assert sorted(claimed[:5] + claimed[5:]) == sorted([*single_use, *[last_resort] * 3])
        assert (await bea.get("/me/key-packages")).json() == {"remaining": 0}
        await bea.offer(2)
        assert (await bea.get("/me/key-packages")).json() == {"remaining": 2}
        assert (await ada.post(f"/accounts/{secrets.token_hex(16)}/key-packages/claim")).status_code == 404


async def test_a_package_claimed_before_a_new_offer_can_still_be_welcomed(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        await bea.offer(1)
        conversation_id = await ada.open_with(bea)
        claimed = await ada.claim(bea)
        await bea.offer(1)
        assert (await ada.commit(conversation_id, 0, claimed)).status_code == 201


async def test_an_offer_repeated_after_a_claim_does_not_offer_it_twice(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        package, last_resort = bea.key_package(), bea.key_package()
        body = {"key_packages": [b64(package)], "last_resort": b64(last_resort)}
        await bea.put("/me/key-packages", body)
        assert await ada.claim(bea) == [package]
        await bea.put("/me/key-packages", body)
        assert await ada.claim(bea) == [last_resort]


@pytest.mark.parametrize("fault", ["suite", "key", "identity", "expired", "not yet", "leaf source", "bytes"])
async def test_key_packages_that_are_not_the_devices_own_are_refused(houses: Houses, fault: str) -> None:
    async with houses() as house:
        bea = await house.phone("Bea")
        own = f"{bea.account_id}/{bea.device_id}"
        faulty = {
            "suite": bea.key_package(suite=1),
            "key": mls_bytes.key_package(own, secrets.token_bytes(32)),
            "identity": mls_bytes.key_package(own + "x", bea.key.public_bytes),
            "expired": bea.key_package(not_after=1000),
            "not yet": bea.key_package(not_before=2**39),
            "leaf source": bea.key_package(source=2),
            "bytes": bea.key_package()[:-1],
        }[fault]
        for body in (
            {"key_packages": [b64(faulty)], "last_resort": b64(bea.key_package())},
            {"key_packages": [], "last_resort": b64(faulty)},
        ):
            answer = await bea.put("/me/key-packages", body)
            assert (answer.status_code, answer.json()["code"]) == (422, "key_package_refused")
