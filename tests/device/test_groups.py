"""Groups of a device in Python: let in by somebody else's commit, with a tree that travels apart, called as its members call it."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.control.house import Houses
from tests.device.world import At, enrolled, online, stored, until
from tramontana.device import messages
from tramontana.device.device import posting
from tramontana.device.driver import client as http_client
from tramontana.device.requests import Request, b64, unb64
from tramontana.keys.mls.client import parse_key_package
from tramontana.keys.mls.group import Group
from tramontana.keys.mls.messages import Add, Remove

pytestmark = pytest.mark.anyio


async def founded(ada: At, other: At, conversation_id: str) -> Group:
    """What Ada's browser would do: a talk group of two, its tree beside the welcome."""
    request, house = ada.online.request, ada.device.enrolment.origin
    await request(Request("POST", "/conversations", {"kind": "talk", "members": [other.account_id], "conversation_id": conversation_id}))
    (claimed,) = [
        each
        for each in await request(Request("POST", f"/conversations/{conversation_id}/key-packages/claim", {"accounts": [other.account_id]}))
        if each["account_id"] == other.account_id
    ]
    group = ada.device.conversations._client.create(bytes.fromhex(conversation_id), ada.online.now())
    package = parse_key_package(unb64(claimed["key_package"]))
    made = group.adopt(group.commit(Add(package), now=ada.online.now(), tree_in_welcome=False))
    assert made.welcome is not None
    assert made.tree is not None
    async with http_client() as http:
        headers = {"Authorization": f"Bearer {await ada.online._session()}", "Content-Type": "application/octet-stream"}
        url = f"{house}/api/v1/conversations/{conversation_id}/trees/1"
        (await http.put(url, content=made.tree, headers=headers)).raise_for_status()
    body = {"epoch": 0, "commit": b64(made.commit), "welcome": b64(made.welcome), "removed": []}
    await request(Request("POST", f"/conversations/{conversation_id}/commits", body))
    group.adopt(group.merge())
    return group


async def test_a_device_follows_a_talk_group_and_knows_its_name(houses: Houses, tmp_path: Path) -> None:
    conversation_id = secrets.token_hex(16)
    async with houses() as house:
        ada_store, store = stored(tmp_path, "ada"), stored(tmp_path, "listener")
        ada_person, person = await enrolled(house, ada_store, "Ada"), await enrolled(house, store, "Listener")
        async with online(ada_store, ada_person) as ada:
            async with online(store, person) as listener:
                group = await founded(ada, listener, conversation_id)
                await until(lambda: listener.device.conversations.talk_groups() == {conversation_id: ""})
                title = messages.encode({"type": "group", "title": "Strait"})
                await ada.online.request(posting(conversation_id, group.adopt(group.seal(title))))
                text = messages.written("1" * 32, "calm sea", ada.online.now())
                await ada.online.request(posting(conversation_id, group.adopt(group.seal(text))))
                await until(lambda: listener.texts() == ["calm sea"])
                assert listener.device.conversations.talk_groups() == {conversation_id: "Strait"}
                keys = listener.device.conversations.keys(conversation_id)
                assert keys is not None
                assert keys.export("x", b"", 16) == group.export("x", b"", 16)
                assert not [each for each in listener.refused if "groups" in each]
            store.close()
            async with online(stored(tmp_path, "listener"), person) as listener:
                assert listener.device.conversations.talk_groups() == {conversation_id: "Strait"}
                leaf = next(each.leaf_index for each in group.members if each.leaf_index != group.own_leaf)
                made = group.adopt(group.commit(Remove(leaf), now=ada.online.now()))
                body = {"epoch": group.epoch, "commit": b64(made.commit), "welcome": None, "removed": [listener.person.device_id]}
                await ada.online.request(Request("POST", f"/conversations/{conversation_id}/commits", body))
                await until(lambda: listener.device.conversations.epoch(conversation_id) is None)
                assert listener.device.conversations.keys(conversation_id) is None
                assert listener.device.conversations.talk_groups() == {}
