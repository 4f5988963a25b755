"""Archives: certified by two custodians, switched on by an administrator, in new conversations of their unit, and nowhere else."""

from __future__ import annotations

import secrets

import pytest

from tests.control.house import House, Houses, Phone
from tramontana.keys.refused import Refused

pytestmark = pytest.mark.anyio


async def archive_of(house: House, unit: str = "", kinds: tuple[str, ...] = ("direct", "group", "talk")) -> Phone:
    """A phone that two custodians certified as an archive, and that keeps these kinds of conversation."""
    archive = await house.phone(f"Archive {unit}".strip())
    await house.custodians.certify(house, archive, roles=("archive",), unit=unit)
    answer = await keep(house, archive, *kinds)
    assert answer == (204, ""), answer
    return archive


async def keep(house: House, archive: Phone, *kinds: str) -> tuple[int, str]:
    path, headers = f"/api/v1/admin/archives/{archive.account_id}", await house.administrator()
    answer = await house.http.put(path, headers=headers, json={"kinds": kinds})
    return answer.status_code, "" if answer.status_code == 204 else answer.json()["code"]


async def opened(creator: Phone, kind: str, *others: Phone) -> dict[str, list[str]]:
    """A new conversation as the server lists it."""
    body: dict[str, object] = {"kind": kind, "members": [other.account_id for other in others]}
    if kind != "direct":
        body["conversation_id"] = secrets.token_hex(16)
    answer = await creator.post("/conversations", body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_one_custodian_cannot_make_an_archive(houses: Houses) -> None:
    async with houses() as house:
        device = await house.phone("Archive")
        custodians = house.custodians
        grant = custodians.grant(house, device, roles=("archive",))
        assert grant.approvals_needed() == 2
        with pytest.raises(Refused) as refused:
            custodians.signed(house, grant, (custodians.first,)).check_approvers(9)
        assert refused.value.reason == "missing_approver"
        # The administrator alone cannot either: without that certificate nothing can be switched on.
        assert await keep(house, device, "direct") == (409, "not_an_archive")


@pytest.mark.parametrize("kind", ["direct", "group", "talk"])
async def test_an_archive_comes_into_new_conversations_of_its_unit_and_kind(houses: Houses, kind: str) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        before = await opened(ada, "group", bea)
        archive = await archive_of(house, "Fleet", (kind,))
        assert (await opened(ada, kind, bea))["archives"] == [], "nobody of the fleet"
        carla = await house.phone("Carla")
        await house.custodians.certify(house, carla, unit="Fleet")
        made = await opened(ada, kind, carla)
        assert (made["archives"], set(made["members"])) == (
            [archive.account_id],
            {ada.account_id, carla.account_id, archive.account_id},
        )
        other = next(each for each in ("direct", "group", "talk") if each != kind)
        assert (await opened(ada, other, carla))["archives"] == [], "not this kind"
        assert (await ada.get(f"/conversations/{before['conversation_id']}")).json()["archives"] == [], "it was there before"
        [entry] = [row for row in await house.audited("conversation.archived") if row["subject"].endswith(str(made["conversation_id"]))]
        assert entry["details"] == {"archives": [archive.account_id]}


async def test_the_organisations_archive_is_everywhere_and_no_member_can_put_it_out(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        archive = await archive_of(house)
        made = await opened(ada, "group", bea)
        assert made["archives"] == [archive.account_id]
        path = f"/conversations/{made['conversation_id']}/members"
        assert (await ada.delete(f"{path}/{archive.account_id}")).json()["code"] == "archive_fixed"
        assert (await archive.post(path, {"members": [bea.account_id]})).json()["code"] == "archive_fixed"
        assert (await archive.delete(f"{path}/{archive.account_id}")).json()["code"] == "archive_fixed"
        # Switched off, it is in no new conversation; what is archived stays so.
        assert await keep(house, archive) == (204, "")
        assert (await opened(ada, "group", bea))["archives"] == []
        assert (await ada.get(f"/conversations/{made['conversation_id']}")).json()["archives"] == [archive.account_id]
        assert [row["details"]["kinds"] for row in await house.audited("archive.changed")] == [["direct", "group", "talk"], []]


async def test_who_comes_later_brings_the_archive_of_his_unit_with_him(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, carla = await house.phone("Ada"), await house.phone("Bea"), await house.phone("Carla")
        await house.custodians.certify(house, carla, unit="Fleet")
        archive = await archive_of(house, "Fleet")
        made = await opened(ada, "group", bea)
        assert made["archives"] == []
        added = await ada.post(f"/conversations/{made['conversation_id']}/members", {"members": [carla.account_id]})
        assert added.json()["archives"] == [archive.account_id]


async def test_a_revoked_archive_gets_nothing_new(houses: Houses) -> None:
    async with houses() as house:
        ada, bea = await house.phone("Ada"), await house.phone("Bea")
        archive = await archive_of(house)
        headers = await house.administrator()
        [listed] = (await house.http.get("/api/v1/admin/archives", headers=headers)).json()
        assert (listed["account_id"], listed["unit"], listed["kinds"]) == (archive.account_id, "", ["direct", "group", "talk"])
        await house.custodians.revoke(house, archive)
        assert (await house.http.get("/api/v1/admin/archives", headers=headers)).json() == []
        assert (await opened(ada, "direct", bea))["archives"] == []
