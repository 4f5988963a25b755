"""Calls and the way of their media: docs/protocols.md, "Calls and media"."""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets

import pytest

from tests.control.house import RELAY_SECRET, House, Houses, Phone
from tramontana.control.calls import NOBODY_ONLINE_S
from tramontana.control.media import AHEAD_S, REFRESH_BELOW_S
from tramontana.control.player import AttachedFlow
from tramontana.control.store import calls

pytestmark = pytest.mark.anyio


def body(conversation_id: str, precedence: str = "routine") -> dict[str, str]:
    return {"conversation_id": conversation_id, "precedence": precedence}


async def calls_in_progress(house: House) -> list[dict[str, object]]:
    answer = await house.http.get("/api/v1/admin/calls", headers=await house.administrator())
    assert answer.status_code == 200
    listed: list[dict[str, object]] = answer.json()
    return listed


async def keep(house: House) -> None:
    """What the server does every few seconds."""
    await house.services.calls.reap()
    await house.services.calls.refresh_media()


async def test_joining_gives_credentials_and_a_front_with_a_profile(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        call_id = secrets.token_hex(16)
        grant = (await ada.put(f"/calls/{call_id}", body(conversation_id))).json()
        flow = house.player.flows[ada.device_id]
        [server] = grant["ice_servers"]
        assert server["urls"] == [f"turn:127.0.0.1:{flow.port}?transport=udp"]
        expiry, _, device_id = server["username"].partition(":")
        assert (int(expiry), device_id) == (grant["expires_at"], ada.device_id)
        expected = base64.b64encode(hmac.digest(RELAY_SECRET.encode(), server["username"].encode(), "sha1")).decode()
        assert server["credential"] == expected
        assert grant["simulated"] is True
        assert flow.upstream == ("127.0.0.1", 3478)
        assert flow.profile.end_unix_s - house.clock() > AHEAD_S - 60
        again = (await ada.put(f"/calls/{call_id}", body(conversation_id))).json()
        assert again["ice_servers"][0]["urls"] == server["urls"]


async def test_localhost_is_told_the_address_on_which_the_fronts_listen(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        url = house.url.replace("127.0.0.1", "localhost") + f"/api/v1/calls/{secrets.token_hex(16)}"
        answer = await house.http.put(url, headers=ada.headers, json=body(conversation_id))
        assert answer.json()["ice_servers"][0]["urls"][0].startswith("turn:127.0.0.1:")


async def test_a_call_ends_when_one_of_two_leaves(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        await house.allow(ada, "flash")
        call_id = secrets.token_hex(16)
        await ada.put(f"/calls/{call_id}", body(conversation_id, "flash"))
        await bea.put(f"/calls/{call_id}", body(conversation_id))
        [call] = await calls_in_progress(house)
        assert (call["call_id"], call["precedence"]) == (call_id, "flash")
        assert [p["display_name"] for p in call["participants"]] == ["Ada", "Bea"]  # type: ignore[attr-defined]
        assert (await bea.delete(f"/calls/{call_id}")).status_code == 204
        assert await calls_in_progress(house) == []
        assert house.player.flows == {}
        late = await ada.put(f"/calls/{call_id}", body(conversation_id))
        assert (late.status_code, late.json()["code"]) == (409, "call_ended")
        assert (await ada.delete(f"/calls/{call_id}")).status_code == 204


async def test_a_call_that_nobody_answers_ends_with_its_caller(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        call_id = secrets.token_hex(16)
        await ada.put(f"/calls/{call_id}", body(conversation_id))
        assert len(await calls_in_progress(house)) == 1
        await ada.delete(f"/calls/{call_id}")
        assert await calls_in_progress(house) == []


async def test_a_phone_that_rings_has_its_way_to_the_relay_and_has_not_answered_by_it(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        call_id = secrets.token_hex(16)
        await ada.put(f"/calls/{call_id}", body(conversation_id))
        for _ in range(2):  # it rings, is given up at the callee's end, rings again
            rung = await bea.put(f"/calls/{call_id}", {**body(conversation_id), "ringing": True})
            assert rung.json()["ice_servers"]
            assert set(house.player.flows) == {ada.device_id, bea.device_id}
            await bea.delete(f"/calls/{call_id}")
            assert len(await calls_in_progress(house)) == 1
        await bea.put(f"/calls/{call_id}", {**body(conversation_id), "ringing": True})
        await bea.put(f"/calls/{call_id}", body(conversation_id))  # answered
        await bea.delete(f"/calls/{call_id}")
        assert await calls_in_progress(house) == []


async def test_a_device_is_in_one_call_at_a_time(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        first, second = secrets.token_hex(16), secrets.token_hex(16)
        await ada.put(f"/calls/{first}", body(conversation_id))
        await ada.put(f"/calls/{second}", body(conversation_id))
        assert [call["call_id"] for call in await calls_in_progress(house)] == [second]
        assert list(house.player.flows) == [ada.device_id]


async def test_outsiders_cannot_join_and_ids_belong_to_one_conversation(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        eve = await house.phone("Eve")
        call_id = secrets.token_hex(16)
        await ada.put(f"/calls/{call_id}", body(conversation_id))
        refused = await eve.put(f"/calls/{call_id}", body(conversation_id))
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
        own = await eve.open_with(ada)
        elsewhere = await eve.put(f"/calls/{call_id}", body(own))
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "call_elsewhere")
        assert (await eve.delete(f"/calls/{call_id}")).status_code == 204
        assert len(await calls_in_progress(house)) == 1
        assert eve.device_id not in house.player.flows


async def test_a_call_with_nobody_online_is_reaped(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        call_id = secrets.token_hex(16)
        for phone in (ada, bea):
            await phone.put(f"/calls/{call_id}", body(conversation_id))
        async with ada.socket():
            house.clock.advance(NOBODY_ONLINE_S + 1)
            await keep(house)
            assert len(await calls_in_progress(house)) == 1
        async with asyncio.timeout(5):
            while house.services.hub.devices_online:  # noqa: ASYNC110 - a plain set
                await asyncio.sleep(0.01)
        house.clock.advance(NOBODY_ONLINE_S - 5)
        await keep(house)
        assert len(await calls_in_progress(house)) == 1
        house.clock.advance(6)
        await keep(house)
        assert await calls_in_progress(house) == []
        assert house.player.flows == {}


async def test_a_call_that_another_process_ended_is_forgotten(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        call_id = secrets.token_hex(16)
        await ada.put(f"/calls/{call_id}", body(conversation_id))
        await keep(house)
        assert set(house.services.calls._last_online) == {call_id}
        async with house.store.write() as connection:
            await calls.end(connection, call_id, house.clock(), preempted=False)
        await keep(house)
        assert not house.services.calls._last_online


async def test_a_restarted_server_gives_phones_time_to_come_back(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        call_id = secrets.token_hex(16)
        for phone in (ada, bea):
            await phone.put(f"/calls/{call_id}", body(conversation_id))
        player, ports = house.player, {flow: known.port for flow, known in house.player.flows.items()}
    async with houses(player=player) as house:
        await keep(house)
        assert len(await calls_in_progress(house)) == 1
        assert {flow: known.port for flow, known in player.flows.items()} == ports
        house.clock.advance(NOBODY_ONLINE_S + 1)
        await keep(house)
        assert await calls_in_progress(house) == []


async def test_profiles_are_replaced_before_they_run_out(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        async with ada.socket():
            await ada.put(f"/calls/{secrets.token_hex(16)}", body(conversation_id))
            flow = house.player.flows[ada.device_id]
            end = flow.profile.end_unix_s
            await keep(house)
            assert flow.profile.end_unix_s == end
            house.clock.advance(AHEAD_S - REFRESH_BELOW_S + 1)
            await keep(house)
            assert flow.profile.end_unix_s - house.clock() > AHEAD_S - 60
            assert flow.profile.start_unix_s <= house.clock()


async def test_a_player_that_lost_everything_gets_its_fronts_back(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        await ada.put(f"/calls/{secrets.token_hex(16)}", body(conversation_id))
        port = house.player.flows[ada.device_id].port
        house.player.lose_everything()
        await keep(house)
        assert house.player.flows[ada.device_id].port == port


async def test_who_is_joining_keeps_the_front_while_others_leave(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, _ = await house.pair()
        media = house.services.calls._media

        async def nobody() -> frozenset[str]:
            return frozenset()

        async with media.granted(ada.device_id, "127.0.0.1"):
            attached = house.player.flows[ada.device_id]
            await media.refresh(nobody)  # as when another phone hangs up now
            assert house.player.flows.get(ada.device_id) is attached
        await media.refresh(nobody)
        assert house.player.flows == {}

        # The set of devices in calls is read, and only then the join is done.
        joining = media.granted(bea.device_id, "127.0.0.1")
        await joining.__aenter__()
        attached = house.player.flows[bea.device_id]

        async def read_too_early() -> frozenset[str]:
            await joining.__aexit__(None, None, None)
            return frozenset()

        await media.refresh(read_too_early)
        assert house.player.flows.get(bea.device_id) is attached


async def test_a_front_that_was_granted_stays_open_while_the_call_before_ends(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        for _ in range(10):
            dropped, kept = secrets.token_hex(16), secrets.token_hex(16)
            await ada.put(f"/calls/{dropped}", body(conversation_id))
            await bea.put(f"/calls/{kept}", body(conversation_id))

            async def join() -> AttachedFlow:
                await ada.put(f"/calls/{kept}", body(conversation_id))  # noqa: B023 - awaited in this round of the loop
                return house.player.flows[ada.device_id]

            # As when both dial at once: the one who gives way leaves his call and joins the other one.
            _, granted = await asyncio.gather(ada.delete(f"/calls/{dropped}"), join())
            await keep(house)
            assert house.player.flows[ada.device_id] is granted, "a front that is opened anew loses the relay's allocation"
            for phone in (ada, bea):
                await phone.delete(f"/calls/{kept}")


async def test_a_change_of_access_moves_the_call(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        await ada.put(f"/calls/{secrets.token_hex(16)}", body(conversation_id))
        flow = house.player.flows[ada.device_id]
        assert (flow.profile.place, flow.profile.carrier) == ("rome", "starlink")
        port = flow.port
        assert (await ada.put("/me/access", {"place_id": "palermo", "carrier_id": "fibre"})).status_code == 204
        assert (flow.profile.place, flow.profile.carrier, flow.port) == ("palermo", "fibre", port)


async def test_without_player_or_relay_there_is_no_grant(houses: Houses) -> None:
    async with houses() as house:
        ada, _, conversation_id = await house.pair()
        house.player.is_down = True
        answer = await ada.put(f"/calls/{secrets.token_hex(16)}", body(conversation_id))
        assert (answer.status_code, answer.json()["code"]) == (503, "media_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert await calls_in_progress(house) == []


async def test_a_server_without_relay_says_so(houses: Houses) -> None:
    async with houses(with_relay=False) as house:
        ada, _, conversation_id = await house.pair()
        answer = await ada.put(f"/calls/{secrets.token_hex(16)}", body(conversation_id))
        assert answer.status_code == 503
        assert "without a media relay" in answer.json()["detail"]


async def test_access_and_path(houses: Houses) -> None:
    async with houses() as house:
        ada: Phone = await house.phone("Ada")
        options = (await ada.get("/access-options")).json()
        assert options["chosen"] == {"place_id": "rome", "carrier_id": "starlink"}
        assert {"rome", "palermo"} <= {place["place_id"] for place in options["places"]}
        refused = await ada.put("/me/access", {"place_id": "atlantis", "carrier_id": "starlink"})
        assert (refused.status_code, refused.json()["code"]) == (422, "unknown_access")
        await ada.put("/me/access", {"place_id": "palermo", "carrier_id": "starlink"})
        path = (await ada.get("/me/path", params={"seconds": 60})).json()
        assert path["simulated"] is True
        assert path["profile"]["place"] == "palermo"
        assert "simulated" in path["profile"]["source"]
        assert path["profile"]["time_unix_s"][0] == pytest.approx(house.clock(), abs=20)
        assert (await ada.get("/me/path", params={"seconds": 10**9})).status_code == 422


async def test_a_call_in_progress_is_shown_to_members_and_to_nobody_else(houses: Houses) -> None:
    async with houses() as house:
        ada, bea, conversation_id = await house.pair()
        eve = await house.phone("Eve")
        of_conversation = f"/conversations/{conversation_id}/call"
        assert (await bea.get(of_conversation)).json() == {"call": None}
        call_id = secrets.token_hex(16)
        await ada.put(f"/calls/{call_id}", body(conversation_id))
        present = [{"account_id": ada.account_id, "device_id": ada.device_id}]
        assert (await bea.get(of_conversation)).json() == {"call": {"call_id": call_id, "precedence": "routine", "participants": present}}
        assert (await eve.get(of_conversation)).json()["code"] == "not_found"
        await ada.delete(f"/calls/{call_id}")
        assert (await bea.get(of_conversation)).json() == {"call": None}


async def group_of(house: House, *names: str) -> tuple[list[Phone], str]:
    """Members of a group that nobody has founded yet: calls ask for no more."""
    phones = [await house.phone(name) for name in names]
    conversation_id = secrets.token_hex(16)
    members = [phone.account_id for phone in phones[1:]]
    request = {"kind": "group", "members": members, "conversation_id": conversation_id}
    assert (await phones[0].post("/conversations", request)).status_code == 200
    return phones, conversation_id


async def test_who_opens_a_conference_of_a_group_in_the_same_moment_as_another_joins_that_one(stored_houses: Houses) -> None:
    async with stored_houses() as house:
        phones, conversation_id = await group_of(house, "Ada", "Bea", "Cid", "Dan")
        asked = [phone.put(f"/calls/{secrets.token_hex(16)}", body(conversation_id)) for phone in phones]
        granted = {answer.json()["call_id"] for answer in await asyncio.gather(*asked)}
        [call] = await calls_in_progress(house)
        assert granted == {call["call_id"]}
        assert len(call["participants"]) == 4  # type: ignore[arg-type]
        for phone in phones:
            await phone.delete(f"/calls/{call['call_id']}")
        again = secrets.token_hex(16)
        assert (await phones[0].put(f"/calls/{again}", body(conversation_id))).json()["call_id"] == again, "once it is over, another begins"


async def test_who_opens_a_second_one_gets_the_level_and_the_way_of_the_first(houses: Houses) -> None:
    async with houses() as house:
        (ada, bea, _), conversation_id = await group_of(house, "Ada", "Bea", "Cid")
        await house.allow(ada, "flash")
        first, second = secrets.token_hex(16), secrets.token_hex(16)
        await ada.put(f"/calls/{first}", body(conversation_id, "flash"))
        for _ in range(2):  # its first answer was lost
            grant = (await bea.put(f"/calls/{second}", body(conversation_id, "immediate"))).json()
            assert (grant["call_id"], grant["precedence"]) == (first, "flash")
        [call] = await calls_in_progress(house)
        assert len(call["participants"]) == 2  # type: ignore[arg-type]
        pair = await ada.open_with(bea)
        ids = [secrets.token_hex(16) for _ in range(2)]
        direct = [(await phone.put(f"/calls/{each}", body(pair))).json()["call_id"] for phone, each in zip((ada, bea), ids, strict=True)]
        assert direct == ids, "two who call each other are for their phones to tell apart"


async def test_phones_are_told_when_the_call_they_are_in_changes_and_all_members_when_it_ends(houses: Houses) -> None:
    async with houses() as house:
        (ada, bea, cid), conversation_id = await group_of(house, "Ada", "Bea", "Cid")
        call_id, changed = secrets.token_hex(16), {"type": "call", "conversation_id": conversation_id}
        async with ada.socket() as at_ada, bea.socket() as at_bea, cid.socket() as at_cid:
            await ada.put(f"/calls/{call_id}", body(conversation_id))
            assert await at_ada.next("call") == changed
            await bea.put(f"/calls/{call_id}", body(conversation_id))
            assert await at_ada.next("call") == await at_bea.next("call") == changed
            await ada.delete(f"/calls/{call_id}")
            for socket in (at_ada, at_bea, at_cid):
                assert await socket.next("call") == changed


async def test_every_change_of_a_call_is_told_once_and_to_whom_it_concerns(houses: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    async with houses() as house:
        (ada, bea, cid, dan), conversation_id = await group_of(house, "Ada", "Bea", "Cid", "Dan")
        told: list[tuple[set[str], str]] = []
        monkeypatch.setattr(house.services.hub, "call_changed", lambda accounts, conversation: told.append((set(accounts), conversation)))

        def heard(*expected: tuple[Phone, ...], of: str = conversation_id) -> bool:
            seen = [accounts for accounts, conversation in told if conversation == of]
            told.clear()
            return seen == [{phone.account_id for phone in phones} for phones in expected]

        first, second = secrets.token_hex(16), secrets.token_hex(16)
        for phone in (ada, bea, cid):
            await phone.put(f"/calls/{first}", body(conversation_id))
        assert heard((ada,), (ada, bea), (ada, bea, cid)), "somebody joins"
        await cid.put(f"/calls/{first}", body(conversation_id))
        assert heard(), "a grant is renewed"
        await dan.delete(f"/calls/{first}")
        assert heard(), "somebody leaves who is not in it"
        await cid.delete(f"/calls/{first}")
        assert heard((ada, bea)), "somebody leaves"
        for phone in (cid, dan):
            await phone.put(f"/calls/{first}", body(conversation_id))
        told.clear()
        elsewhere = await cid.open_with(dan)
        await cid.put(f"/calls/{second}", body(elsewhere))
        assert [(accounts, conversation) for accounts, conversation in told] == [
            ({ada.account_id, bea.account_id, dan.account_id}, conversation_id),
            ({cid.account_id}, elsewhere),
        ], "somebody goes into another call"
        told.clear()
        await house.custodians.revoke(house, dan)
        assert heard((ada, bea)), "a device is revoked"
        removed = await ada.delete(f"/conversations/{conversation_id}/members/{bea.account_id}")
        assert removed.status_code == 204
        assert heard((ada, cid, dan)), "somebody is removed from the group, and the call ends"
        await ada.put(f"/calls/{secrets.token_hex(16)}", body(conversation_id))
        told.clear()
        for _ in range(2):
            await keep(house)
            house.clock.advance(NOBODY_ONLINE_S + 1)
        assert heard((ada, cid, dan)), "nobody is there any more"
