"""Talk groups in the hands of an administrator: made, members added, removed and given a priority, and what the floor makes of it."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.control.house import RELAY_SECRET, House, Houses, Phone
from tests.control.test_forwarders import PATIENCE_S, connect, until_connected, until_floor, until_reached
from tests.phone.forwarder_process import running_forwarder

pytestmark = pytest.mark.anyio


async def asked(house: House, method: str, path: str, body: object = None) -> httpx.Response:
    return await house.http.request(method, f"/api/v1/admin/talk-groups{path}", headers=await house.administrator(), json=body)


async def made(house: House, owner: Phone, *others: Phone) -> str:
    conversation_id = secrets.token_hex(16)
    body = {"conversation_id": conversation_id, "owner": owner.account_id, "members": [other.account_id for other in others]}
    for _ in range(2):  # a repeat makes nothing twice
        answer = await asked(house, "POST", "", body)
        assert answer.status_code == 204, answer.text
    return conversation_id


async def test_a_talk_group_is_made_for_its_members_and_its_owner_founds_it(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = [await house.phone(name) for name in ("Ada", "Bea", "Eve")]
        async with ada.socket() as socket:
            conversation_id = await made(house, ada, bea)
            assert (await socket.next("conversation"))["conversation_id"] == conversation_id
        [listed] = (await asked(house, "GET", "")).json()
        assert (listed["founded"], [(each["display_name"], each["owner"]) for each in listed["members"]]) == (
            False,
            [("Ada", True), ("Bea", False)],
        )
        seen = (await bea.get(f"/conversations/{conversation_id}")).json()
        assert (seen["kind"], seen["owners"], seen["epoch"]) == ("talk", [ada.account_id], None)
        # The owner's phone says that it makes the group, and is told that it is there; a member's is not believed.
        body = {"kind": "talk", "conversation_id": conversation_id, "members": [bea.account_id]}
        assert (await ada.post("/conversations", body)).json() == seen
        assert (await bea.post("/conversations", {**body, "members": [ada.account_id]})).json()["code"] == "conversation_exists"
        rival = {"conversation_id": conversation_id, "owner": eve.account_id, "members": []}
        assert (await asked(house, "POST", "", rival)).json()["code"] == "conversation_exists"
        assert [row["actor"] for row in await house.audited("conversation.created")] == ["administrator"]


async def test_members_come_and_go_and_everything_is_audited(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, eve = [await house.phone(name) for name in ("Ada", "Bea", "Eve")]
        conversation_id = await made(house, ada, bea)
        path = f"/{conversation_id}/members"
        assert (await asked(house, "PUT", f"{path}/{eve.account_id}", {"floor": "priority"})).status_code == 204
        assert set((await eve.get(f"/conversations/{conversation_id}")).json()["members"]) == {each.account_id for each in (ada, bea, eve)}
        assert (await asked(house, "DELETE", f"{path}/{bea.account_id}")).status_code == 204
        assert (await bea.get(f"/conversations/{conversation_id}")).json()["code"] == "not_found"
        [listed] = (await asked(house, "GET", "")).json()
        assert [(each["display_name"], each["floor"]) for each in listed["members"]] == [("Ada", None), ("Eve", "priority")]
        # It never is without an owner: neither by a change nor by a removal.
        assert (await asked(house, "PUT", f"{path}/{ada.account_id}", {"owner": False})).json()["code"] == "owner_needed"
        assert (await asked(house, "DELETE", f"{path}/{ada.account_id}")).status_code == 204
        assert (await eve.get(f"/conversations/{conversation_id}")).json()["owners"] == [eve.account_id]
        assert [row["action"] for row in await audited(house, conversation_id)] == [
            "conversation.created",
            "conversation.members_added",
            "conversation.member_changed",
            "conversation.member_removed",
            "conversation.member_removed",
        ]


async def audited(house: House, conversation_id: str) -> list[dict[str, str]]:
    page = (await house.http.get("/api/v1/admin/audit", headers=await house.administrator())).json()
    return [row for row in page["entries"] if row["subject"] == f"conversation {conversation_id}"]


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("PUT", "/{talk}/members/{nobody}", {}, "not_found"),
        ("PUT", "/{nobody}/members/{bea}", {}, "not_found"),
        ("PUT", "/{group}/members/{bea}", {}, "not_found"),
        ("DELETE", "/{group}/members/{bea}", None, "not_found"),
        ("PUT", "/{talk}/members/{bea}", {"floor": "loudest"}, "invalid_request"),
        ("POST", "", {"conversation_id": "{nobody}", "owner": "{nobody}", "members": []}, "not_found"),
    ],
)
async def test_what_is_no_talk_group_or_no_member_is_refused(houses: Houses, method: str, path: str, body: object, code: str) -> None:
    async with houses() as house:
        ada, bea = [await house.phone(name) for name in ("Ada", "Bea")]
        group = {"kind": "group", "members": [bea.account_id], "conversation_id": secrets.token_hex(16)}
        await ada.post("/conversations", group)
        names = {"talk": await made(house, ada), "group": group["conversation_id"], "bea": bea.account_id, "nobody": secrets.token_hex(16)}
        filled = (
            {name: value.format(**names) if isinstance(value, str) else value for name, value in body.items()}
            if isinstance(body, dict)
            else body
        )
        assert (await asked(house, method, path.format(**names), filled)).json()["code"] == code


async def test_priority_of_a_member_takes_the_floor_up_to_his_ceiling_and_who_listens_gets_none(houses: Houses, tmp_path: Path) -> None:
    with running_forwarder(tmp_path, secret=RELAY_SECRET) as process:
        async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control]) as house, process.connected() as forwarder:
            await until_reached(house)
            phones = [await house.phone(name) for name in ("Ada", "Dispatcher", "Listener", "Bruno")]
            ada, dispatcher, listener, bruno = phones
            await house.allow(dispatcher, "immediate")
            conversation_id, call_id = await made(house, ada, dispatcher, listener, bruno), secrets.token_hex(16)
            # Bruno's certificate allows routine only: an administrator gives him no more than that.
            for phone, floor in ((dispatcher, "priority"), (listener, "none"), (bruno, "flash")):
                answer = await asked(house, "PUT", f"/{conversation_id}/members/{phone.account_id}", {"floor": floor})
                assert answer.status_code == 204, answer.text
            for phone in phones:
                joined = await phone.put(f"/calls/{call_id}", {"conversation_id": conversation_id, "precedence": "routine"})
                assert joined.status_code == 200, joined.text
                await connect(phone, call_id)
            await until_connected(forwarder, call_id, *phones)
            ask = {"type": "floor", "call_id": call_id, "op": "request"}
            async with AsyncExitStack() as stack:
                a, d, listens, b = [await stack.enter_async_context(phone.socket()) for phone in phones]
                await listens.send(ask)
                assert (await until_floor(listens, event="denied"))["holder_device_id"] is None
                await a.send(ask)
                await until_floor(a, event="granted")
                await b.send(ask)
                assert (await until_floor(b, event="queued"))["holder_device_id"] == ada.device_id
                await d.send(ask)  # a plain press of the button
                taken = await until_floor(a, event="revoked_precedence")
                assert (taken["holder_device_id"], taken["precedence"]) == (dispatcher.device_id, "priority")
