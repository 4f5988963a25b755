"""Precedence of calls at the server: ceilings, admission against the carriers in the path, pre-emption, audit."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest

from tests.control.house import House, Houses, Phone, Socket
from tramontana.control import admission
from tramontana.control.api.admin import AUDIT_PAGE
from tramontana.control.store.call_rules import CALL_BPS
from tramontana.phone.admission import SILENT_S, WAIT_S
from tramontana.precedence import Precedence

pytestmark = pytest.mark.anyio
ONE_CALL = {"fibre": int(1.5 * CALL_BPS)}
"""What a carrier with room for one call, but not for two, can carry."""


class Line:
    """Two phones in one conversation, each at a place of its own."""

    def __init__(self, caller: Phone, callee: Phone, conversation_id: str) -> None:
        self.caller, self.callee, self.conversation_id = caller, callee, conversation_id
        self.call_id = secrets.token_hex(16)

    async def dial(self, precedence: str = "routine") -> httpx.Response:
        body = {"conversation_id": self.conversation_id, "precedence": precedence}
        return await self.caller.put(f"/calls/{self.call_id}", body)

    async def answer(self) -> httpx.Response:
        return await self.callee.put(f"/calls/{self.call_id}", {"conversation_id": self.conversation_id, "precedence": "routine"})

    async def talk(self, precedence: str = "routine") -> None:
        for answer in (await self.dial(precedence), await self.answer()):
            assert answer.status_code == 200, answer.text
            assert answer.json()["precedence"] == precedence


async def line(house: House, caller: tuple[str, str] = ("rome", "fibre"), callee: tuple[str, str] = ("palermo", "fibre")) -> Line:
    phones = []
    for place_id, carrier_id in (caller, callee):
        phone = await house.phone(f"Phone {secrets.token_hex(4)}")
        assert (await phone.put("/me/access", {"place_id": place_id, "carrier_id": carrier_id})).status_code == 204
        phones.append(phone)
    return Line(phones[0], phones[1], await phones[0].open_with(phones[1]))


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def calls_in_progress(house: House) -> list[tuple[str, str]]:
    listed = (await house.http.get("/api/v1/admin/calls", headers=await house.administrator())).json()
    return [(call["call_id"], call["precedence"]) for call in listed]


async def told(socket: Socket) -> dict[str, Any]:
    return await socket.next("preempted")


async def test_nobody_calls_above_his_ceiling(houses: Houses) -> None:
    async with houses() as house:
        one = await line(house)
        assert (await one.caller.get("/me")).json()["precedence_ceiling"] == "routine"
        assert problem(await one.dial("priority")) == (403, "precedence_refused")
        await house.allow(one.caller, "immediate")
        assert problem(await one.dial("flash")) == (403, "precedence_refused")
        assert await calls_in_progress(house) == []
        await one.talk("immediate")  # the callee's own ceiling does not matter
        # What the callee asks for changes nothing, and neither does a repetition by the caller.
        assert (await one.dial("routine")).json()["precedence"] == "immediate"
        refused = await house.audited("call.refused")
        assert [(entry["details"]["precedence"], entry["details"]["ceiling"]) for entry in refused] == [
            ("priority", "routine"),
            ("flash", "immediate"),
        ]
        assert {entry["actor"] for entry in refused} == {f"device {one.caller.device_id}"}


async def test_the_ceiling_is_that_of_the_certificate(houses: Houses) -> None:
    async with houses() as house:
        one, headers = await line(house), await house.administrator()
        await one.caller.offer(1)
        async with one.callee.socket() as socket:
            await house.allow(one.caller, "flash")
            await socket.next("directory")
        in_console = (await house.http.get("/api/v1/admin/accounts", headers=headers)).json()
        for listed in (in_console, (await one.callee.get("/accounts")).json()):
            assert {found["account_id"]: found["precedence_ceiling"] for found in listed}[one.caller.account_id] == "flash"
        url = f"/api/v1/admin/accounts/{one.caller.account_id}/precedence"
        # No administrator gives more than the custodians did: there is nothing to ask.
        assert (await house.http.put(url, headers=headers, json={"ceiling": "flash-override"})).status_code == 405
        assert problem(await one.dial("flash-override")) == (403, "precedence_refused")
        await one.talk("flash")
        await one.caller.delete(f"/calls/{one.call_id}")
        one.call_id = secrets.token_hex(16)
        await house.allow(one.caller, "priority")  # a lower one in its place
        assert problem(await one.dial("flash")) == (403, "precedence_refused")


async def test_each_device_calls_at_its_own_ceiling(houses: Houses) -> None:
    async with houses() as house:
        one = await line(house)
        await house.allow(one.caller, "flash")
        invited = await admission.invite(
            house.store, origin="command", actor="test", note="", now=house.clock(), of_account=one.caller.account_id
        )
        tablet = Phone(house, one.caller.name)
        await tablet.enrol(invited.token.reveal())
        await house.custodians.certify(house, tablet)
        await tablet.login()
        assert (await tablet.get("/me")).json()["precedence_ceiling"] == "routine"
        assert (await one.caller.get("/me")).json()["precedence_ceiling"] == "flash"
        second = Line(tablet, one.callee, one.conversation_id)
        assert problem(await second.dial("priority")) == (403, "precedence_refused")


async def test_a_flash_call_ends_a_routine_one_and_both_phones_are_told(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps=ONE_CALL)
        routine, flash = await line(house), await line(house, ("rome", "fibre"), ("milan", "starlink"))
        await house.allow(flash.caller, "flash")
        await routine.talk()
        async with routine.caller.socket() as at_caller, routine.callee.socket() as at_callee:
            await flash.talk("flash")
            for socket in (at_caller, at_callee):
                heard = []
                while (frame := await socket.receive())["type"] != "call":
                    heard.append(frame)
                assert {"type": "preempted", "call_id": routine.call_id, "by": "flash"} in heard, "told before anybody asks"
        assert await calls_in_progress(house) == [(flash.call_id, "flash")]
        assert set(house.player.flows) == {flash.caller.device_id, flash.callee.device_id}, "the ended call has no way to the relay"
        assert problem(await routine.dial()) == (409, "call_preempted")
        [entry] = await house.audited("call.preempted")
        assert entry["subject"] == f"call {routine.call_id}"
        assert entry["actor"] == f"device {flash.caller.device_id}"
        assert entry["details"] == {"by": "flash", "by_call": flash.call_id, "precedence": "routine", "room": "rome/fibre"}
        assert [entry["details"]["reason"] for entry in await house.audited("call.ended")] == ["preempted"]


async def test_an_equal_call_is_refused_and_says_where_and_what_to_do(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps=ONE_CALL)
        first, second = await line(house), await line(house, ("milan", "starlink"), ("palermo", "fibre"))
        await first.talk()
        answer = await second.dial()
        assert problem(answer) == (409, "no_capacity")
        assert "palermo over fibre" in answer.json()["detail"]
        assert "another carrier" in answer.json()["detail"]
        assert await calls_in_progress(house) == [(first.call_id, "routine")]
        [entry] = await house.audited("call.refused")
        assert entry["details"] == {"reason": "no capacity", "precedence": "routine", "room": "palermo/fibre"}
        # Another carrier at the far end, and it fits.
        assert (await second.callee.put("/me/access", {"place_id": "palermo", "carrier_id": "starlink"})).status_code == 204
        await second.talk()


async def test_flash_override_ends_flash_and_flash_waits_for_flash(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps=ONE_CALL)
        flash, second, override = await line(house), await line(house), await line(house)
        for each, ceiling in ((flash, "flash"), (second, "flash"), (override, "flash-override")):
            await house.allow(each.caller, ceiling)
        await flash.talk("flash")
        waiting = await second.dial("flash")
        assert problem(waiting) == (409, "call_waiting")
        assert int(waiting.headers["retry-after"]) == 2
        await override.talk("flash-override")
        assert await calls_in_progress(house) == [(override.call_id, "flash-override")]
        assert problem(await second.dial("flash")) == (409, "call_waiting")
        await override.caller.delete(f"/calls/{override.call_id}")
        assert (await second.dial("flash")).status_code == 200


async def test_a_waiting_call_keeps_its_place_and_is_refused_in_the_end(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps=ONE_CALL)
        held, waiting, other = await line(house), await line(house), await line(house)
        for each in (held, waiting):
            await house.allow(each.caller, "priority")
        await held.talk("priority")
        assert problem(await waiting.dial("priority")) == (409, "call_waiting")
        await held.caller.delete(f"/calls/{held.call_id}")
        assert problem(await other.dial()) == (409, "no_capacity"), "a routine call overtook one that waits"
        await waiting.caller.delete(f"/calls/{waiting.call_id}")  # its caller hung up
        await other.talk()
        await house.allow(waiting.caller, "routine")
        waiting.call_id = secrets.token_hex(16)
        assert problem(await waiting.dial()) == (409, "no_capacity"), "a routine call does not wait"
        await house.allow(waiting.caller, "priority")
        await house.allow(other.caller, "priority")
        await other.caller.delete(f"/calls/{other.call_id}")
        held.call_id, waiting.call_id = secrets.token_hex(16), secrets.token_hex(16)
        await held.talk("priority")
        for _ in range(int(WAIT_S[Precedence.PRIORITY] // (SILENT_S / 2))):
            assert problem(await waiting.dial("priority")) == (409, "call_waiting")
            house.clock.advance(SILENT_S / 2)
        assert problem(await waiting.dial("priority")) == (409, "no_capacity")


async def test_a_callee_who_answers_elsewhere_is_admitted_there(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps={"fibre": int(1.5 * CALL_BPS)})
        busy, ringing = await line(house), await line(house, ("milan", "starlink"), ("naples", "starlink"))
        await busy.talk()
        assert (await ringing.dial()).status_code == 200
        assert (await ringing.callee.put("/me/access", {"place_id": "palermo", "carrier_id": "fibre"})).status_code == 204
        answer = await ringing.answer()
        assert problem(answer) == (409, "no_capacity")
        assert set(await calls_in_progress(house)) == {(busy.call_id, "routine"), (ringing.call_id, "routine")}


async def test_calls_end_lowest_and_youngest_first_when_their_path_becomes_smaller(houses: Houses) -> None:
    async with houses() as house:
        old, young, flash = await line(house), await line(house), await line(house)
        await house.allow(flash.caller, "flash")
        await old.talk()
        house.clock.advance(1)
        await young.talk()
        house.clock.advance(1)
        await flash.talk("flash")
        async with young.callee.socket() as socket:
            await house.rules(carrier_bps={"fibre": 2 * CALL_BPS})
            assert await told(socket) == {"type": "preempted", "call_id": young.call_id, "by": None}
        assert {call_id for call_id, _ in await calls_in_progress(house)} == {old.call_id, flash.call_id}
        await house.rules(carrier_bps=ONE_CALL)
        assert await calls_in_progress(house) == [(flash.call_id, "flash")]
        entries = await house.audited("call.preempted")
        assert [entry["subject"] for entry in entries] == [f"call {young.call_id}", f"call {old.call_id}"]
        assert {(entry["actor"], entry["details"]["by"]) for entry in entries} == {("server", None)}


async def test_a_move_to_a_full_carrier_ends_the_youngest_call_there(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps=ONE_CALL)
        staying, moving = await line(house), await line(house, ("milan", "starlink"), ("naples", "starlink"))
        await staying.talk()
        house.clock.advance(1)
        await moving.talk()
        async with moving.callee.socket() as socket:
            assert (await moving.caller.put("/me/access", {"place_id": "rome", "carrier_id": "fibre"})).status_code == 204
            assert (await told(socket))["call_id"] == moving.call_id
        assert await calls_in_progress(house) == [(staying.call_id, "routine")]


async def test_two_phones_of_one_place_share_its_carrier_and_all_share_the_relay(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps=ONE_CALL)
        beside = await line(house, ("rome", "fibre"), ("rome", "fibre"))
        assert problem(await beside.dial()) == (409, "no_capacity")
        await house.rules(carrier_bps={}, relay_bps=2 * CALL_BPS, flash_share=0.0)
        one, two = await line(house), await line(house, ("milan", "starlink"), ("naples", "starlink"))
        await one.talk()
        answer = await two.dial()
        assert problem(answer) == (409, "no_capacity")
        assert "the media relay" in answer.json()["detail"]


async def test_the_reserve_lets_flash_in_without_ending_a_call(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps={"fibre": 3 * CALL_BPS}, flash_share=0.34)
        routine, another, flash = await line(house), await line(house), await line(house)
        await house.allow(flash.caller, "flash")
        await routine.talk()
        await another.talk()
        assert problem(await (await line(house)).dial()) == (409, "no_capacity")
        await flash.talk("flash")
        assert await house.audited("call.preempted") == []


async def test_calling_somebody_else_gives_back_what_the_last_call_held(houses: Houses) -> None:
    async with houses() as house:
        await house.rules(carrier_bps=ONE_CALL)
        one = await line(house)
        await one.talk()
        one.call_id = secrets.token_hex(16)  # the same phone dials again: it leaves the call before
        await one.talk()
        assert await calls_in_progress(house) == [(one.call_id, "routine")]


async def test_the_rules_are_checked_and_audited(houses: Houses) -> None:
    async with houses() as house:
        headers = await house.administrator()
        rules = (await house.http.get("/api/v1/admin/call-rules", headers=headers)).json()
        assert rules["call_bps"] == CALL_BPS
        for wrong in ({"call_bps": 0}, {"flash_share": 1.0}, {"carrier_bps": {"Not A Carrier": 1}}, {"relay_bps": -1}, {"surplus": 1}):
            answer = await house.http.put("/api/v1/admin/call-rules", headers=headers, json={**rules, **wrong})
            assert answer.status_code == 422
        await house.rules(flash_share=0.2)
        [entry] = await house.audited("call_rules.changed")
        assert entry["details"] == {**rules, "flash_share": 0.2}
        assert AUDIT_PAGE > 100, "`audited` reads one page"


async def test_the_capacity_of_a_path_is_that_of_its_profile(houses: Houses) -> None:
    async with houses() as house:
        sky, now = house.services.sky, house.clock()
        for carrier_id in ("starlink", "fibre"):
            span = await sky.capacity_bps("rome", carrier_id, now)
            profile = await sky.profile("rome", carrier_id, now, 60.0)
            states = [profile.at(now + second) for second in range(15)]
            assert span is not None
            assert span[0] <= min(min(state.capacity_up_bps, state.capacity_down_bps) for state in states)
            assert span[1] >= max(min(state.capacity_up_bps, state.capacity_down_bps) for state in states)
        assert await sky.capacity_bps("rome", "starlink", now + 3600.0) != await sky.capacity_bps("rome", "starlink", now)
