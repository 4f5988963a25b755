"""Devices in Python at a real server: enrolment, conversations, receipts, revocation, and what a crash leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.control.house import Houses
from tests.device.world import enrolled, online, stored, until
from tramontana.control.store import conversations
from tramontana.device.conversations import NotReady
from tramontana.device.device import Condemned, Device, NotEnrolled
from tramontana.device.driver import PutOut, TakenOver, ask_once, asked
from tramontana.device.enrolment import Enrolment, Invitation, enrol
from tramontana.device.requests import Request, Unreachable
from tramontana.device.store import Change, MemoryStore
from tramontana.errors import LocalError
from tramontana.keys.follow import SERVERS_DIFFER_S, Alarm, NotOfNow
from tramontana.keys.log import LogKey, UnverifiedTreeHead
from tramontana.keys.organisation import OrganisationKey
from tramontana.keys.refused import Refused

pytestmark = pytest.mark.anyio
FIRST, SECOND, THIRD = "1" * 32, "2" * 32, "3" * 32


async def test_two_devices_write_to_each_other_confirm_and_go_on_after_a_restart(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        ada_store, bruno_store = stored(tmp_path, "ada"), stored(tmp_path, "bruno")
        ada_person = await enrolled(house, ada_store, "Ada")
        bruno_person = await enrolled(house, bruno_store, "Bruno")
        async with online(bruno_store, bruno_person) as bruno:
            async with online(ada_store, ada_person) as ada:
                assert ada.device.find("Bruno", ada.online.now()) == bruno.account_id
                await ada.write(bruno, FIRST, "calm sea")
                await until(lambda: bruno.texts() == ["calm sea"] and ada.receipts() == [FIRST])
                await bruno.write(ada, SECOND, "understood")
                await until(lambda: ada.texts() == ["understood"] and bruno.receipts() == [SECOND])
                await ada.online.in_conversation(
                    ada.with_peer(bruno), lambda: ada.device.conversations.renew(ada.with_peer(bruno), ada.online.now())
                )
            await bruno.write(ada, THIRD, "for later")
            ada_store.close()
            async with online(stored(tmp_path, "ada"), ada_person) as ada:
                await until(lambda: ada.texts() == ["for later"])
                await until(lambda: bruno.receipts() == [SECOND, THIRD])
            assert not ada.refused
            assert not bruno.refused


async def test_a_pending_device_waits_and_is_told(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        store = MemoryStore()
        person = await enrolled(house, store, "Ada", certified=False)
        async with online(store, person) as ada:
            assert ada.device.standing(ada.online.now()) == "waiting"
            await house.custodians.certify(house, person)
            await ada.online.until_certified()
            assert ada.device.membership.name_of(person.account_id) == "Ada"


async def test_a_commit_whose_answer_was_lost_is_sent_again_after_a_crash(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        ada_store, bruno_store = MemoryStore(), MemoryStore()
        ada_person, bruno_person = await enrolled(house, ada_store, "Ada"), await enrolled(house, bruno_store, "Bruno")
        async with online(bruno_store, bruno_person) as bruno:
            async with online(ada_store, ada_person) as ada:
                conversation_id, honest = ada.with_peer(bruno), ada.online.request

                async def lossy(request: Request) -> Any:
                    answer = await honest(request)
                    if request.path.endswith("/commits"):
                        raise Unreachable("the answer was lost")
                    return answer

                ada.online.request = lossy  # type: ignore[method-assign]
                with pytest.raises(Unreachable):
                    await ada.write(bruno, FIRST, "never sealed")
            async with online(ada_store, ada_person) as ada:
                await ada.write(bruno, SECOND, "after the crash")
                await until(lambda: bruno.texts() == ["after the crash"])
                assert ada.device.conversations.ids() == [conversation_id]


async def test_both_begin_at_once_and_one_conversation_comes_of_it(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        stores = [MemoryStore(), MemoryStore()]
        people = [await enrolled(house, store, name) for store, name in zip(stores, ("Ada", "Bruno"), strict=True)]
        async with online(stores[0], people[0]) as ada, online(stores[1], people[1]) as bruno:
            honest = ada.online.request

            async def too_late(request: Request) -> Any:
                if request.path.endswith("/commits"):
                    ada.online.request = honest  # type: ignore[method-assign]
                    await bruno.write(ada, SECOND, "first")
                return await honest(request)

            ada.online.request = too_late  # type: ignore[method-assign]
            with pytest.raises(NotReady) as not_ready:
                await ada.write(bruno, FIRST, "second")
            assert not_ready.value.is_soon
            await until(lambda: ada.texts() == ["first"])
            await ada.write(bruno, FIRST, "second")
            await until(lambda: bruno.texts() == ["second"])


@pytest.mark.parametrize(
    ("rights", "comes_in"), [({"roles": ("archive",)}, True), ({"roles": ("archive",), "unit": "Army"}, False), ({}, False)]
)
async def test_only_an_archive_that_custodians_certified_comes_in(houses: Houses, rights: dict[str, Any], comes_in: bool) -> None:
    async with houses() as house:
        ada_store, bruno_store, archive_store = MemoryStore(), MemoryStore(), MemoryStore()
        ada_person, bruno_person = await enrolled(house, ada_store, "Ada"), await enrolled(house, bruno_store, "Bruno")
        keeper = await enrolled(house, archive_store, "Archive")
        await house.custodians.certify(house, keeper, **rights)
        async with online(archive_store, keeper), online(bruno_store, bruno_person) as bruno, online(ada_store, ada_person) as ada:
            # A server that lists whom it likes.
            conversation_id = ada.with_peer(bruno)
            async with house.store.write() as connection:
                await conversations.direct(connection, ada.account_id, bruno.account_id, house.clock())
                await conversations.add_members(connection, conversation_id, {keeper.account_id}, "archive", house.clock())
            await ada.write(bruno, FIRST, "calm sea")
            await until(lambda: bruno.texts() == ["calm sea"] and ada.receipts() == [FIRST])
            inside = {account_id for account_id, _ in bruno.device.conversations.members(conversation_id)}
            assert inside == {ada.account_id, bruno.account_id} | ({keeper.account_id} if comes_in else set())


async def test_a_connection_that_is_lost_comes_back_and_nothing_is_missed(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        stores = [MemoryStore(), MemoryStore()]
        people = [await enrolled(house, store, name) for store, name in zip(stores, ("Ada", "Bruno"), strict=True)]
        async with online(stores[0], people[0]) as ada, online(stores[1], people[1]) as bruno:
            house.services.hub.close([people[1].device_id], 1012)  # as a server that restarts
            await until(lambda: not bruno.online.online.is_set())
            await ada.write(bruno, FIRST, "while you were away")
            await until(lambda: bruno.texts() == ["while you were away"])
            house.services.hub.close([people[1].device_id], 4401)  # its session has ended
            await ada.write(bruno, SECOND, "and again")
            await until(lambda: bruno.texts() == ["while you were away", "and again"])


async def test_a_device_runs_once(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        store = MemoryStore()
        person = await enrolled(house, store, "Ada")
        async with online(store, person) as first, online(store, person) as second:
            assert first.running is not None
            await until(first.running.done)
            with pytest.raises(TakenOver, match="runs once"):
                first.running.result()
            assert second.online.online.is_set()


async def test_whoever_is_revoked_is_out_and_nothing_is_sealed_for_him(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        stores = [MemoryStore(), MemoryStore()]
        people = [await enrolled(house, store, name) for store, name in zip(stores, ("Ada", "Bruno"), strict=True)]
        async with online(stores[0], people[0]) as ada, online(stores[1], people[1]) as bruno:
            await ada.write(bruno, FIRST, "still a member")
            await until(lambda: bruno.texts() == ["still a member"])
            await house.custodians.revoke(house, people[1])
            await until(lambda: ada.device.membership.is_revoked(people[1].device_id))
            with pytest.raises(NotReady, match="certified"):
                await ada.write(bruno, SECOND, "nobody reads this")
            assert ada.device.conversations.members(ada.with_peer(bruno)) == [(people[0].account_id, people[0].device_id)]
            assert bruno.running is not None
            await until(bruno.running.done)
            with pytest.raises(PutOut, match="revoked"):
                bruno.running.result()
            assert bruno.texts() == ["still a member"]


async def test_the_organisations_order_to_destroy_itself_is_obeyed(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        store, other = stored(tmp_path, "ada"), MemoryStore()
        ada_person, bruno_person = await enrolled(house, store, "Ada"), await enrolled(house, other, "Bruno")
        async with online(store, ada_person) as ada, online(other, bruno_person) as bruno:
            await house.custodians.revoke(house, ada_person, "zeroise: stolen")
            await house.custodians.revoke(house, bruno_person, "left the ministry")
            for each in (ada, bruno):
                assert each.running is not None
                await until(each.running.done)
            with pytest.raises(PutOut, match="destroyed its keys"):
                ada.running.result()  # type: ignore[union-attr]
            with pytest.raises(PutOut, match="revoked"):
                bruno.running.result()  # type: ignore[union-attr]
        assert not (tmp_path / "ada" / "device.db").exists()
        assert other.read("device")  # revoked, not ordered to destroy itself
        assert [entry["actor"] for entry in await house.audited("device.zeroised")] == [f"device {ada_person.device_id}"]


async def test_another_organisation_than_the_invitations_is_refused_before_anything_is_sent(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        other = OrganisationKey.generate("Elsewhere", "hybrid-1", now=house.clock())
        link = f"{house.url}/phone#invite={await house.invitation()}&org={other.root.fingerprint_text}"
        store = MemoryStore()
        with pytest.raises(Refused, match="another organisation"):
            await ask_once(house.url, enrol(store, Invitation.parse(link), "Ada"))
        assert not store.read("device")
        with pytest.raises(NotEnrolled):
            Device(store)


async def test_a_lost_answer_burns_no_invitation(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        link = f"{house.url}/phone#invite={await house.invitation()}&org={house.custodians.key.root.fingerprint_text}"
        store = MemoryStore()
        first = await ask_once(house.url, enrol(store, Invitation.parse(link), "Ada"))
        store.write([Change("device", "enrolment", None)])
        assert await ask_once(house.url, enrol(store, Invitation.parse(link), "Ada")) == first


async def test_a_forked_log_ends_everything_and_its_evidence_stays(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        store = MemoryStore()
        person = await enrolled(house, store, "Ada")
        async with online(store, person) as ada:
            seen = ada.device.membership.head
            assert seen is not None
            forged = house.custodians.log_key.sign_head(seen.tree_size, bytes(32), now=house.clock())
            other = LogKey.generate().sign_head(seen.tree_size, bytes(32), now=house.clock())
            await ada.online.ask(ada.device.membership.heard(_unverified(other)))  # not of this log: says nothing
            with pytest.raises(Alarm, match="two different logs"):
                await ada.online.ask(ada.device._heard({"type": "head", **_document(_unverified(forged))}))
        with pytest.raises(Condemned, match="two different logs"):
            Device(store)


async def test_a_wrong_clock_is_no_evidence(houses: Houses) -> None:
    async with houses() as house:
        store = MemoryStore()
        person = await enrolled(house, store, "Ada")
        device = Device(store)
        async with online(store, person) as ada:
            request = ada.online.request
            with pytest.raises(NotOfNow, match="a clock is wrong"):
                await asked(device.follow(0.0), request)  # as on a machine that has only just started
            await asked(device.follow(house.clock()), request)
            house.clock.advance(-30)  # of another server process
            await asked(device.follow(house.clock()), request)
            house.clock.advance(-SERVERS_DIFFER_S - 10)
            with pytest.raises(NotOfNow, match="set back"):
                await asked(device.follow(house.clock()), request)
            house.clock.advance(SERVERS_DIFFER_S + 10)
            await asked(device.follow(house.clock()), request)
        Device(store)


def _unverified(head: Any) -> UnverifiedTreeHead:
    return UnverifiedTreeHead(head.log_id, head.tree_size, head.root_hash, head.at, head.signature)


def _document(head: UnverifiedTreeHead) -> dict[str, Any]:
    from tramontana.device import messages
    from tramontana.keys.log import TreeHead

    told = TreeHead(head.log_id, head.tree_size, head.root_hash, head.at, head.signature)
    document: dict[str, Any] = json.loads(messages.head_told(told))
    return document


@pytest.mark.parametrize("link", ["", "https://example.invalid/phone", "ftp://a/#invite=x&org=y", "https://a/phone#invite=short&org=short"])
async def test_what_is_no_invitation_says_so(link: str) -> None:
    with pytest.raises(LocalError):
        Invitation.parse(link)


def test_an_enrolment_shows_no_secret() -> None:
    text = "https://a/phone#invite=KW_pgZ_qf06DsTnJow9FxuhcCqWeOLiygzs98Sekb5s&org=KW_pgZ_qf06DsTnJow9FxuhcCqWeOLiygzs98Sekb5s"
    invitation = Invitation.parse(text)
    assert "KW_pgZ" not in repr(invitation)
    assert replace(invitation, origin="https://b").origin == "https://b"
    assert Enrolment.read(MemoryStore()) is None
