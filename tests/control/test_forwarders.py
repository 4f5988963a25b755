"""Conferences and talk groups through the server: admission, the way through the front, the floor, a forwarder that dies or drains."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.control.house import RELAY_SECRET, House, Houses, Phone, Socket
from tests.phone.forwarder_process import Admission, ForwarderProcess, running_forwarder
from tests.phone.headless import Headless, headless
from tests.phone.test_forwarder_parts import offer_text
from tramontana.phone.aiortc_private import EncodedFrame, gather_loopback
from tramontana.phone.forwarder.control_protocol import Drain, Stats

pytestmark = pytest.mark.anyio
PATIENCE_S = 60.0


async def in_call(house: House, *names: str, kind: str = "talk") -> tuple[str, list[Phone]]:
    """A conversation of these people, all of them in one call of it."""
    phones = [await house.phone(name) for name in names]
    call_id, conversation_id = secrets.token_hex(16), secrets.token_hex(16)
    members = [phone.account_id for phone in phones[1:]]
    made = await phones[0].post("/conversations", {"kind": kind, "members": members, "conversation_id": conversation_id})
    assert made.status_code == 200, made.text
    for phone in phones:
        joined = await phone.put(f"/calls/{call_id}", {"conversation_id": conversation_id, "precedence": "routine"})
        assert joined.status_code == 200, joined.text
    return call_id, phones


async def until_reached(house: House) -> None:
    for client in house.services.forwarders._clients:
        await client._connected.wait()


async def connect(phone: Phone, call_id: str, offer: str | None = None) -> dict[str, Any]:
    answer = await phone.post(
        f"/calls/{call_id}/connection", {"offer": offer or offer_text(fingerprint=":".join([secrets.token_hex(1)] * 32))}
    )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def candidate(answer: dict[str, Any]) -> tuple[str, int]:
    words = answer["answer"].split("a=candidate:")[1].split()
    return words[4], int(words[5])


async def until_connected(forwarder: Admission, call_id: str, *phones: Phone) -> None:
    """Until these and no others are connected to the forwarder."""
    while True:
        if (await forwarder.devices(call_id)).keys() == {phone.device_id for phone in phones}:
            return
        await asyncio.sleep(0.02)


async def until_floor(socket: Socket, **wanted: object) -> dict[str, Any]:
    while True:
        frame = await socket.next("floor")
        if wanted.items() <= frame.items():
            return frame


@pytest.fixture
def process(tmp_path: Path) -> Any:
    with running_forwarder(tmp_path, secret=RELAY_SECRET) as running:
        yield running


async def test_phones_reach_the_forwarder_by_their_fronts_and_direct_calls_the_relay(houses: Houses, process: ForwarderProcess) -> None:
    async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control]) as house:
        await until_reached(house)
        call_id, (ada, bruno) = await in_call(house, "Ada", "Bruno", kind="group")
        answer = await connect(ada, call_id, offer_text(3))
        assert (answer["kind"], answer["slots"], answer["answer"].count("a=ssrc")) == ("conference", 3, 3)
        flow = house.player.flows[ada.device_id]
        assert candidate(answer) == ("127.0.0.1", flow.port)
        assert flow.upstream == ("127.0.0.1", process.port)
        await house.services.calls.refresh_media()
        assert flow.upstream == ("127.0.0.1", process.port)
        # A call of two afterwards leads to the relay again, by the same front.
        direct = await ada.open_with(bruno)
        await ada.put(f"/calls/{secrets.token_hex(16)}", {"conversation_id": direct, "precedence": "routine"})
        assert house.player.flows[ada.device_id].upstream == ("127.0.0.1", 3478)
        assert house.player.flows[ada.device_id].port == flow.port
        await house.services.calls.refresh_media()
        assert house.player.flows[ada.device_id].upstream == ("127.0.0.1", 3478)


async def test_only_who_is_in_a_forwarded_call_is_admitted(houses: Houses, process: ForwarderProcess) -> None:
    async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control]) as house:
        await until_reached(house)
        call_id, (ada, bruno) = await in_call(house, "Ada", "Bruno")
        stranger = await house.phone("Stranger")
        direct, direct_call = await ada.open_with(bruno), secrets.token_hex(16)
        refused = [
            (stranger, call_id, offer_text(), "not_found"),
            (ada, secrets.token_hex(16), offer_text(), "not_found"),
            (ada, call_id, offer_text().replace("red/48000", "blue/48000"), "offer_refused"),
            (ada, call_id, "x" * 20_000, "invalid_request"),
        ]
        for phone, call, offer, code in refused:
            assert (await phone.post(f"/calls/{call}/connection", {"offer": offer})).json()["code"] == code
        await bruno.delete(f"/calls/{call_id}")
        await bruno.put(f"/calls/{direct_call}", {"conversation_id": direct, "precedence": "routine"})
        assert (await bruno.post(f"/calls/{direct_call}/connection", {"offer": offer_text()})).json()["code"] == "call_not_forwarded"


async def test_without_a_forwarder_the_phone_is_told_to_try_again(houses: Houses, tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_S), houses(forwarders=[tmp_path / "nobody.sock"]) as house:
        call_id, (ada, _) = await in_call(house, "Ada", "Bruno")
        answer = await ada.post(f"/calls/{call_id}/connection", {"offer": offer_text()})
        assert (answer.status_code, answer.json()["code"]) == (503, "media_unavailable")
        assert "Retry-After" in answer.headers


async def test_floor_by_precedence_up_to_the_ceiling_and_lost_with_the_socket(houses: Houses, process: ForwarderProcess) -> None:
    async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control]) as house:
        await until_reached(house)
        call_id, (ada, bruno, duty) = await in_call(house, "Ada", "Bruno", "Duty")
        await house.allow(duty, "flash")
        for phone in (ada, bruno, duty):
            await connect(phone, call_id)
        ask = {"type": "floor", "call_id": call_id, "op": "request"}
        async with AsyncExitStack() as stack:
            a, b = [await stack.enter_async_context(phone.socket()) for phone in (ada, bruno)]
            async with duty.socket() as d:
                await a.send(ask)
                granted = await until_floor(a, event="granted")
                assert granted["until"] > house.clock()
                assert (await until_floor(b, state="taken"))["holder_device_id"] == ada.device_id
                # Bruno asks for more than he may: he queues as the routine that he is.
                await b.send({**ask, "precedence": "flash-override"})
                queued = await until_floor(b, event="queued")
                assert (queued["position"], queued["queued"], queued["holder_device_id"]) == (1, 1, ada.device_id)
                await d.send({**ask, "precedence": "flash"})
                revoked = await until_floor(a, event="revoked_precedence")
                assert (revoked["holder_device_id"], revoked["precedence"]) == (duty.device_id, "flash")
            # The duty officer's socket is gone: the next in the queue has the floor.
            assert (await until_floor(b, event="granted"))["holder_device_id"] == bruno.device_id
            await b.send({**ask, "op": "release"})
            idle = await until_floor(a, state="idle")
            assert (idle["holder_device_id"], idle["queued"], idle["position"]) == (None, 0, None)
            await a.send({**ask, "call_id": secrets.token_hex(16)})
            assert (await until_floor(a, event="denied"))["state"] == "idle"
            # Who leaves the call loses the floor as well.
            await a.send(ask)
            await until_floor(b, holder_device_id=ada.device_id)
            await ada.delete(f"/calls/{call_id}")
            await until_floor(b, state="idle")


async def test_phones_of_a_forwarder_that_dies_connect_to_another(houses: Houses, tmp_path: Path) -> None:
    with ExitStack() as stack:
        processes = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            processes.append(stack.enter_context(running_forwarder(tmp_path / name, secret=RELAY_SECRET)))
        controls = [process.control for process in processes]
        async with asyncio.timeout(PATIENCE_S), houses(forwarders=controls) as house:
            await until_reached(house)
            call_id, (ada, bruno) = await in_call(house, "Ada", "Bruno")
            await connect(ada, call_id)
            await connect(bruno, call_id)
            upstreams = {house.player.flows[phone.device_id].upstream[1] for phone in (ada, bruno)}
            assert len(upstreams) == 1  # a call is at one forwarder
            [dies] = [process for process in processes if process.port in upstreams]
            [stays] = [process for process in processes if process is not dies]
            async with ada.socket() as socket:
                dies.process.kill()
                assert (await socket.next("reconnect"))["call_id"] == call_id
            for phone in (ada, bruno):
                await connect(phone, call_id)
                assert house.player.flows[phone.device_id].upstream == ("127.0.0.1", stays.port)


async def test_a_forwarder_that_drains_keeps_its_call_and_gets_no_new_one(houses: Houses, tmp_path: Path) -> None:
    with ExitStack() as stack:
        processes = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            processes.append(stack.enter_context(running_forwarder(tmp_path / name, secret=RELAY_SECRET)))
        async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control for process in processes]) as house:
            await until_reached(house)
            first, (ada, bruno) = await in_call(house, "Ada", "Bruno", kind="group")
            await connect(ada, first, offer_text(3))
            [drains] = [process for process in processes if process.port == house.player.flows[ada.device_id].upstream[1]]
            [stays] = [process for process in processes if process is not drains]
            async with drains.connected() as forwarder:
                await forwarder.client.request(Drain())
                await connect(bruno, first, offer_text(3))
                await until_connected(forwarder, first, ada, bruno)  # the call is where it was, and can be joined
            async with stays.connected() as forwarder:
                # It carries more, and is chosen for every new call all the same.
                for number in range(3):
                    call_id, phones = await in_call(house, f"Duty {number}", f"Embassy {number}", kind="group")
                    for phone in phones:
                        await connect(phone, call_id, offer_text(3))
                    await until_connected(forwarder, call_id, *phones)
            for phone in (ada, bruno):
                await phone.delete(f"/calls/{first}")
            assert await asyncio.to_thread(drains.process.wait) == 0


async def test_ended_calls_end_at_the_forwarder_too(houses: Houses, process: ForwarderProcess) -> None:
    async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control]) as house, process.connected() as forwarder:
        await until_reached(house)
        call_id, phones = await in_call(house, "Ada", "Bruno", "Duty")
        for phone in phones:
            await connect(phone, call_id)
        assert (await forwarder.devices(call_id)).keys() == {phone.device_id for phone in phones}
        await phones[2].delete(f"/calls/{call_id}")
        assert (await forwarder.devices(call_id)).keys() == {phone.device_id for phone in phones[:2]}
        house.clock.advance(5 * 3600.0)  # every grant has run out
        await house.services.calls.reap()
        await house.services.forwarders.reconcile()
        assert await forwarder.devices(call_id) == {}


async def test_who_is_removed_or_revoked_is_cut_off_at_the_forwarder_at_once(houses: Houses, process: ForwarderProcess) -> None:
    async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control]) as house, process.connected() as forwarder:
        await until_reached(house)
        call_id, (ada, bruno, duty, embassy) = await in_call(house, "Ada", "Bruno", "Duty", "Embassy")
        for phone in (ada, bruno, duty, embassy):
            await connect(phone, call_id)
        conversation = (await ada.get("/conversations")).json()[0]
        removed = await ada.delete(f"/conversations/{conversation['conversation_id']}/members/{bruno.account_id}")
        assert removed.status_code == 204, removed.text
        await until_connected(forwarder, call_id, ada, duty, embassy)
        # He is not let in again, neither to the call nor with another connection.
        assert (await bruno.post(f"/calls/{call_id}/connection", {"offer": offer_text()})).json()["code"] == "not_found"
        again = await bruno.put(f"/calls/{call_id}", {"conversation_id": conversation["conversation_id"], "precedence": "routine"})
        assert again.json()["code"] == "not_found"
        await house.custodians.revoke(house, duty)
        await until_connected(forwarder, call_id, ada, embassy)


async def test_sealed_frames_through_server_and_forwarder(houses: Houses, process: ForwarderProcess) -> None:
    """Three real WebRTC phones, no emulation: offer and answer go through the server, media straight to the forwarder."""
    gather_loopback()
    async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control], emulated=False) as house:
        await until_reached(house)
        call_id, (ada, *listeners) = await in_call(house, "Ada", "Bruno", "Duty")
        ends = {phone: headless(speaks=phone is ada) for phone in (ada, *listeners)}

        async def signal(phone: Phone, offer: str) -> str:
            return str((await connect(phone, call_id, offer))["answer"])

        for phone, end in ends.items():
            await end.connect(lambda offer, phone=phone: signal(phone, offer))  # type: ignore[misc]
        async with process.connected() as forwarder, ada.socket() as socket:
            await forwarder.until_open(3, call_id)
            await socket.send({"type": "floor", "call_id": call_id, "op": "request"})
            await until_floor(socket, event="granted")
        # Ada's socket is closed now, and with it her floor: nothing more is heard of her.
        async with process.connected() as forwarder, ada.socket() as socket:
            await socket.send({"type": "floor", "call_id": call_id, "op": "request"})
            await until_floor(socket, event="granted")
            frames = [secrets.token_bytes(100) for _ in range(25)]
            for number, frame in enumerate(frames):
                ends[ada].frames.put_nowait(EncodedFrame(frame, 960 * number, 30))
            await until_all_heard([ends[phone] for phone in listeners], frames)
        await asyncio.gather(*(end.connection.close() for end in ends.values()))


async def until_all_heard(phones: list[Headless], frames: list[bytes]) -> None:
    while True:
        if all(phone.payloads == frames for phone in phones):
            return
        await asyncio.sleep(0.02)


async def test_a_revoked_device_is_out_of_the_forwarder_at_once(houses: Houses, process: ForwarderProcess) -> None:
    async with asyncio.timeout(PATIENCE_S), houses(forwarders=[process.control]) as house:
        await until_reached(house)
        call_id, (ada, bruno, eve) = await in_call(house, "Ada", "Bruno", "Eve", kind="group")
        for phone in (ada, bruno, eve):
            await connect(phone, call_id)
        [client] = house.services.forwarders._clients
        carried = (await client.request(Stats()))["calls"][call_id]["devices"]
        assert carried.keys() == {ada.device_id, bruno.device_id, eve.device_id}
        await house.custodians.revoke(house, eve)
        carried = (await client.request(Stats()))["calls"][call_id]["devices"]
        assert carried.keys() == {ada.device_id, bruno.device_id}
        assert house.player.flows.keys() == {ada.device_id, bruno.device_id}, "its way is closed"
        late = await eve.post(f"/calls/{call_id}/connection", {"offer": offer_text()})
        assert late.status_code == 401
