"""Sealed texts between devices at a real server: keys of real conversations, nothing used twice over restarts, epochs that end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control.house import Houses
from tests.device.world import At, enrolled, online, stored, until
from tramontana.cell.small_text import decode_text, encode_text
from tramontana.control.operators import parse_operators
from tramontana.control.store.sealed_texts import MOST_WAITING, keep
from tramontana.device.device import Device
from tramontana.device.requests import Refusal
from tramontana.device.sealed_post import MOST_HELD, SealedPost
from tramontana.device.store import MemoryStore
from tramontana.keys.sealed_text import EPOCH_KEPT_S, CannotSeal, Gone, NotYet, Refused, Seen

pytestmark = pytest.mark.anyio
FIRST = "1" * 32
NOON = 1_800_000_000.0


async def acquainted(ada: At, bruno: At) -> None:
    """Both have written, and have heard each other in the epoch that they are in."""
    await ada.write(bruno, FIRST, "calm sea")
    await until(lambda: ada.receipts() == [FIRST])


def words(device: Device) -> list[str]:
    return [decode_text(each.plaintext) for each in device.sealed.arrived()]


async def test_texts_are_sealed_and_opened_without_a_network_and_nothing_is_used_twice_over_restarts(
    houses: Houses, tmp_path: Path
) -> None:
    async with houses() as house:
        stores = {name: stored(tmp_path, name) for name in ("ada", "bruno")}
        people = {name: await enrolled(house, store, name) for name, store in stores.items()}
        async with online(stores["bruno"], people["bruno"]) as bruno, online(stores["ada"], people["ada"]) as ada:
            await acquainted(ada, bruno)
            now = ada.online.now()
    here, there = Device(stores["ada"]), Device(stores["bruno"])
    bruno_id = there.enrolment.account_id
    sent = [here.seal_text(bruno_id, encode_text(f"text {number}"), now) for number in range(3)]
    assert all(len(each.datagram) < 40 for each in sent)
    assert there.open_text(sent[2].datagram, now).account_id == here.enrolment.account_id
    assert there.open_text(sent[0].datagram, now + 1).device_id == here.enrolment.device_id
    stores["ada"].close()
    stores["bruno"].close()
    here, there = (Device(stored(tmp_path, name)) for name in stores)  # both end and begin again
    assert [each.datagram for each in here.sealed.departing()] == [each.datagram for each in sent]
    assert here.seal_text(bruno_id, b"\0later", now).datagram[:7] not in {each.datagram[:7] for each in sent}
    assert words(there) == ["text 2", "text 0"]
    for again in (sent[0], sent[2]):
        with pytest.raises(Seen):
            there.open_text(again.datagram, now)
    assert decode_text(there.open_text(sent[1].datagram, now).plaintext) == "text 1"
    for arrived in there.sealed.arrived():
        there.sealed.shown(arrived.id)
    for each in here.sealed.departing():
        here.sealed.departed(each.id)
    assert not there.sealed.arrived()
    assert not here.sealed.departing()


async def test_a_text_of_an_epoch_to_come_is_held_over_a_restart_and_a_late_one_is_told_to_be_gone(houses: Houses, tmp_path: Path) -> None:
    async with houses() as house:
        ada_store, bruno_store = MemoryStore(), stored(tmp_path, "bruno")
        ada_person, bruno_person = await enrolled(house, ada_store, "Ada"), await enrolled(house, bruno_store, "Bruno")
        async with online(ada_store, ada_person) as ada:
            async with online(bruno_store, bruno_person) as bruno:
                await acquainted(ada, bruno)
                conversation_id, bruno_id = ada.with_peer(bruno), bruno.account_id
            late = ada.device.seal_text(bruno_id, b"\0late", ada.online.now())
            for _ in range(2):  # while Bruno is away
                await ada.online.in_conversation(conversation_id, lambda: ada.device.conversations.renew(conversation_id, ada.online.now()))
            ada.device.sealed._conversations[conversation_id].pairs[bruno_person.device_id].texts.confirm(2 + 1)
            early = ada.device.seal_text(bruno_id, b"\0early", ada.online.now())
            with pytest.raises(NotYet):
                Device(bruno_store).open_text(early.datagram, ada.online.now())
            told: list[list[str]] = []
            async with online(bruno_store, bruno_person, on_sealed=lambda at: told.append(words(at.device))) as bruno:
                await until(lambda: ["early"] in told)
                after = bruno.online.now() + EPOCH_KEPT_S + 60
                bruno.device.sealed.open_held(after)
                with pytest.raises(Gone, match="Ask the sender to write it again"):
                    bruno.device.open_text(late.datagram, after)


async def test_a_revoked_device_can_neither_write_nor_read_sealed_texts(houses: Houses) -> None:
    async with houses() as house:
        ada_store, bruno_store = MemoryStore(), MemoryStore()
        ada_person, bruno_person = await enrolled(house, ada_store, "Ada"), await enrolled(house, bruno_store, "Bruno")
        async with online(ada_store, ada_person) as ada, online(bruno_store, bruno_person) as bruno:
            await acquainted(ada, bruno)
            stolen = Device(bruno_store).seal_text(ada.account_id, b"\0before", bruno.online.now())
            await house.custodians.revoke(house, bruno_person)
            await until(lambda: ada.device.membership.is_revoked(bruno_person.device_id))
            with pytest.raises(CannotSeal, match="no key"):
                ada.device.seal_text(bruno.account_id, b"\0x", ada.online.now())
            with pytest.raises((Refused, NotYet)):
                ada.device.open_text(stolen.datagram, ada.online.now())
            assert not ada.device.sealed.arrived()


async def test_a_text_for_another_device_of_the_server_needs_no_operator(houses: Houses, tmp_path: Path) -> None:
    operators = parse_operators('[sealed]\nprefix = "43200"', tmp_path)
    async with houses(operators=operators) as house:
        ada_store, bruno_store = MemoryStore(), MemoryStore()
        ada_person, bruno_person = await enrolled(house, ada_store, "Ada"), await enrolled(house, bruno_store, "Bruno")
        async with online(ada_store, ada_person) as ada, online(bruno_store, bruno_person, on_sealed=lambda at: None) as bruno:
            await acquainted(ada, bruno)
            assert [await at.online.ask(at.device.claim_number()) for at in (ada, bruno)] == ["43200000", "43200001"]
            leaving = ada.device.seal_text(bruno.account_id, encode_text("Come in"), ada.online.now(), number="43200001")
            text_id = await ada.online.ask(ada.device.hand_over(leaving, "routine"))
            assert await ada.online.ask(ada.device.hand_over(leaving, "routine")) == text_id  # an answer that was lost
            await until(lambda: words(bruno.device) == ["Come in"])
            token = {"Authorization": f"Bearer {ada.online._token}"}
            assert (await house.http.get(f"/api/v1/me/sealed-texts/sent/{text_id}", headers=token)).json() == {"state": "delivered"}
            nobody = ada.device.seal_text(bruno.account_id, b"\0x", ada.online.now(), number="43200007")
            with pytest.raises(Refusal, match="number"):
                await ada.online.ask(ada.device.hand_over(nobody, "routine"))
            async with house.store.write() as connection:
                for number in range(MOST_WAITING):
                    await keep(connection, ada_person.device_id, "43200001", bytes([number]) * 23, ada.online.now())
            back = bruno.device.seal_text(ada.account_id, b"\0x", bruno.online.now(), number="43200000")
            with pytest.raises(Refusal, match="full"):
                await bruno.online.ask(bruno.device.hand_over(back, "routine"))
    assert [each.id for each in bruno.device.sealed.departing()] == [back.id]


def test_octets_without_a_key_are_held_within_bounds() -> None:
    store = MemoryStore()
    post = SealedPost(store, FIRST, lambda device: False)
    for number in range(MOST_HELD + 5):
        with pytest.raises(NotYet):
            post.open(number.to_bytes(2, "big") + bytes(21), NOON + number)
    held = store.read("sealed texts held")
    assert len(held) == MOST_HELD
    assert (0).to_bytes(2, "big") + bytes(21) not in {value[8:] for value in held.values()}
    post.open_held(NOON + 100 * 3600)
    assert not store.read("sealed texts held")
