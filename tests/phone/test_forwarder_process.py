"""The forwarder as a process, with real WebRTC phones (aiortc): who is heard, who is not, drain and reconnection."""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.phone.forwarder_process import CALL, COMMAND, ForwarderProcess, running_forwarder
from tests.phone.headless import Headless, headless
from tramontana.phone import stun
from tramontana.phone.aiortc_private import EncodedFrame, gather_loopback
from tramontana.phone.forwarder.client.driver import ForwarderRefused
from tramontana.phone.forwarder.control_protocol import Connect, Disconnect, Drain, FloorRequest, Stats
from tramontana.phone.forwarder.ticket import Kind, issue_ticket
from tramontana.phone.relay_secret import RelaySecret
from tramontana.phone.stun import Attribute, Class, Method
from tramontana.precedence import Precedence

pytestmark = [pytest.mark.system, pytest.mark.anyio]
PATIENCE_S = 60.0
FRAME_S = 0.02
LISTENERS = 50
FRAMES = 150


@pytest.fixture(autouse=True, scope="module")
def _loopback() -> None:
    gather_loopback()


def sealed(speaker: str, number: int) -> bytes:
    """Stands for a sealed frame: the forwarder sees nothing but octets."""
    return f"{speaker} {number} ".encode() + secrets.token_bytes(120)


async def speak(phone: Headless, payloads: list[bytes], *, level: int = 30) -> None:
    """Send frames at the pace of speech."""
    begin = time.monotonic()
    for number, payload in enumerate(payloads):
        phone.frames.put_nowait(EncodedFrame(payload, 960 * number, level))
        await asyncio.sleep(max(0.0, begin + (number + 1) * FRAME_S - time.monotonic()))


async def until_heard(phones: list[Headless], count: int) -> None:
    """Wait until all have so many packets, or no more come."""
    before = -1
    while (total := sum(len(phone.heard) for phone in phones)) != before:
        if all(len(phone.heard) >= count for phone in phones):
            return
        before = total
        await asyncio.sleep(0.5)


async def hang_up(*phones: Headless) -> None:
    await asyncio.gather(*(phone.connection.close() for phone in phones))
    await asyncio.sleep(0)  # what closing has scheduled runs before the loop ends


async def test_talk_group_of_fifty_listeners_and_the_floor_moves(tmp_path: Path) -> None:
    with running_forwarder(tmp_path) as process:
        async with asyncio.timeout(PATIENCE_S), process.connected() as server:
            ada, bruno = headless(), headless()
            listeners = [headless(speaks=False) for _ in range(LISTENERS)]
            phones = {"ada": ada, "bruno": bruno, **{f"listener {number}": phone for number, phone in enumerate(listeners)}}
            for device_id, phone in phones.items():
                await phone.connect(lambda offer, device_id=device_id: server.admit(offer, device_id))  # type: ignore[misc]
            await server.until_open(len(phones))

            # Nobody holds the floor: nothing is forwarded, whoever speaks.
            await speak(bruno, [sealed("bruno", number) for number in range(5)])
            assert not any(phone.heard for phone in phones.values())

            await server.client.request(FloorRequest(CALL, "ada", Precedence.ROUTINE))
            first = [sealed("ada", number) for number in range(FRAMES)]
            await asyncio.gather(speak(ada, first), speak(bruno, [sealed("bruno", number) for number in range(FRAMES)]))
            await until_heard(listeners, FRAMES)
            for phone in [bruno, *listeners]:
                assert len(set(phone.payloads) & set(first)) >= 0.99 * FRAMES
                assert set(phone.payloads) <= set(first)  # sealed frames pass unchanged, and Bruno's do not pass
            assert not ada.heard

            # A higher precedence takes the floor; everybody is told, and the late comers were told who spoke.
            assert {event.tell for event in server.floors if len(event.tell) == 1} >= {(device_id,) for device_id in phones}
            await server.client.request(FloorRequest(CALL, "bruno", Precedence.FLASH))
            taken = await server.until_floor("bruno")
            assert set(taken.told) == {("ada", "revoked_precedence"), ("bruno", "granted")}
            assert set(taken.tell) == set(phones)
            second = [sealed("bruno", number) for number in range(50)]
            await speak(bruno, second)
            await until_heard(listeners, FRAMES + 50)
            for phone in listeners:
                assert len(set(phone.payloads) & set(second)) >= 0.99 * 50
                packets = [packet for _, packet in phone.heard]
                assert len({packet.ssrc for packet in packets}) == 1
                turn = next(index for index, packet in enumerate(packets) if packet.payload in set(second))
                # One stream to the receiver: the numbers run on, and the time that passed is in the timestamps.
                assert packets[turn].sequence_number == packets[turn - 1].sequence_number + 1
                assert packets[turn].marker
                assert packets[turn].timestamp > packets[turn - 1].timestamp
            await hang_up(*phones.values())


async def test_conference_of_six_hears_the_three_loudest_and_nobody_himself(tmp_path: Path) -> None:
    with running_forwarder(tmp_path) as process:
        async with asyncio.timeout(PATIENCE_S), process.connected() as server:
            phones = {name: headless(slots=3) for name in "abcdef"}
            for name, phone in phones.items():
                await phone.connect(lambda offer, name=name: server.admit(offer, name, kind=Kind.CONFERENCE))  # type: ignore[misc]
            await server.until_open(6)
            # The quiet ones come first and take the slots; the loud ones must take them over.
            await asyncio.gather(*(speak(phones[name], [sealed(name, number) for number in range(10)], level=100) for name in "def"))
            spoken = {name: [sealed(name, number) for number in range(100)] for name in "abcdef"}
            await asyncio.gather(*(speak(phones[name], spoken[name], level=30 if name in "abc" else 90) for name in "abcdef"))
            await until_heard([phones[name] for name in "def"], 300)
            for name, phone in phones.items():
                heard = set(phone.payloads)
                assert not heard & set(spoken[name])
                for loud in set("abc") - {name}:
                    assert len(heard & set(spoken[loud][-80:])) >= 0.99 * 80
                for quiet in "def":
                    assert not heard & set(spoken[quiet][-80:])
                # Each of the loud has one slot, and each slot is one stream without gaps.
                last = {loud: set(spoken[loud][-80:]) for loud in set("abc") - {name}}
                slots = {loud: {slot for slot, packet in phone.heard if packet.payload in last[loud]} for loud in last}
                assert all(len(slot) == 1 for slot in slots.values())
                assert len(set.union(*slots.values())) == len(slots)
                for slot in range(3):
                    numbers = sorted(packet.sequence_number for which, packet in phone.heard if which == slot)
                    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
            await hang_up(*phones.values())


async def test_without_a_valid_ticket_there_is_nothing(tmp_path: Path) -> None:
    with running_forwarder(tmp_path) as process:
        async with asyncio.timeout(PATIENCE_S), process.connected() as server:
            ada, stranger = headless(), headless()
            await ada.connect(lambda offer: server.admit(offer, "ada"))
            await server.until_open(1)
            await stranger.connection.setLocalDescription(await stranger.connection.createOffer())
            offer = stranger.connection.localDescription.sdp
            good = {"call_id": CALL, "kind": Kind.TALK, "device_id": "stranger", "may_speak": True}
            soon = time.time() + 60
            forged = issue_ticket(RelaySecret("another secret of 32 characters!"), **good, offer=offer, expires_at_unix_s=soon)  # type: ignore[arg-type]
            late = issue_ticket(process.secret, **good, offer=offer, expires_at_unix_s=time.time() - 1)  # type: ignore[arg-type]
            elsewhere = issue_ticket(process.secret, **good, offer=offer + "a=x\r\n", expires_at_unix_s=soon)  # type: ignore[arg-type]
            for ticket in (forged, late, elsewhere, "x"):
                with pytest.raises(ForwarderRefused) as refused:
                    await server.client.request(Connect(ticket, offer, None))
                assert refused.value.code == "ticket_refused"
            # On the wire a check with a right user name and a wrong password, a handshake, media: not one octet comes back.
            remote = ada.connection.remoteDescription.sdp
            ufrag = remote.split("a=ice-ufrag:")[1].split("\r\n")[0]
            check = stun.encode(
                Method.BINDING,
                Class.REQUEST,
                secrets.token_bytes(12),
                [(Attribute.USERNAME, f"{ufrag}:abcd".encode())],
                key=b"wrong",
                fingerprint=True,
            )
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.setblocking(False)
                for datagram in (check, check[:-8], b"\x16\xfe\xff" + bytes(60), b"\x80\x78" + bytes(60), bytes(1400), b""):
                    udp.sendto(datagram, ("127.0.0.1", process.port))
                counts: dict[str, int] = {}
                while sum(count for name, count in counts.items() if name.startswith("dropped")) < 6:
                    counts = (await server.client.request(Stats()))["counts"]
                with pytest.raises(BlockingIOError):
                    udp.recv(100)
            assert list(await server.devices()) == ["ada"]
            await hang_up(ada, stranger)


async def test_drain_ends_with_the_last_call(tmp_path: Path) -> None:
    with running_forwarder(tmp_path) as process:
        async with asyncio.timeout(PATIENCE_S), process.connected() as server:
            ada, bruno, late = headless(), headless(), headless()
            await ada.connect(lambda offer: server.admit(offer, "ada"))
            await server.until_open(1)
            await server.client.request(Drain())
            with pytest.raises(ForwarderRefused) as refused:
                await late.connect(lambda offer: server.admit(offer, "ada", call_id="d" * 32))
            assert refused.value.code == "draining"
            # The call that is there goes on, and may still be joined.
            await bruno.connect(lambda offer: server.admit(offer, "bruno"))
            await server.until_open(2)
            await server.client.request(FloorRequest(CALL, "ada", Precedence.ROUTINE))
            await speak(ada, [sealed("ada", number) for number in range(10)])
            await until_heard([bruno], 10)
            assert len(bruno.heard) == 10
            assert process.process.poll() is None
            await server.client.request(Disconnect(CALL, None))
            assert await asyncio.to_thread(process.process.wait) == 0
            await hang_up(ada, bruno, late)


async def test_drain_command_waits_for_the_last_call_and_says_what_is_left(tmp_path: Path) -> None:
    with running_forwarder(tmp_path) as process:
        async with asyncio.timeout(PATIENCE_S), process.connected() as server:
            ada, bruno = headless(), headless()
            for device_id, phone in (("ada", ada), ("bruno", bruno)):
                await phone.connect(lambda offer, device_id=device_id: server.admit(offer, device_id))  # type: ignore[misc]
            await server.until_open(2)
            limited = await drain_command(process, "--limit", "0")
            _, complaint = await limited.communicate()
            assert limited.returncode == 1
            assert "still has 2 connections in 1 call" in complaint.decode()
            assert (await server.client.request(Stats()))["draining"]
            assert process.process.poll() is None, "whoever is in a call stays in it"

            waiting = await drain_command(process)
            assert waiting.stdout is not None
            assert await waiting.stdout.readline() == b"Draining: 2 connections in 1 call left.\n"
            await bruno.connection.close()
            assert await waiting.stdout.readline() == b"Draining: 1 connection in 1 call left.\n"
            await server.client.request(Disconnect(CALL, None))
            assert await asyncio.to_thread(process.process.wait) == 0
            said, _ = await waiting.communicate()
            assert (waiting.returncode, said.splitlines()[-1]) == (0, b"The forwarder has ended.")
            await hang_up(ada, bruno)


async def drain_command(process: ForwarderProcess, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", COMMAND, "drain", "--control", str(process.control), *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_new_connection_takes_the_place_of_the_old_and_a_lost_one_is_let_go(tmp_path: Path) -> None:
    with running_forwarder(tmp_path) as process:
        async with asyncio.timeout(PATIENCE_S), process.connected() as server:
            first, second, listener = headless(), headless(), headless(speaks=False)
            await first.connect(lambda offer: server.admit(offer, "ada"))
            await listener.connect(lambda offer: server.admit(offer, "bruno"))
            await server.until_open(2)
            await server.client.request(FloorRequest(CALL, "ada", Precedence.ROUTINE))
            await speak(first, [b"first"])
            await second.connect(lambda offer: server.admit(offer, "ada"))
            await second.until_connected()
            await server.until_counted("opened", 3)
            await speak(first, [b"first again"])
            await speak(second, [b"second"] * 5)
            await until_heard([listener], 6)
            assert listener.payloads == [b"first"] + [b"second"] * 5
            await second.connection.close()  # its DTLS says goodbye
            await server.until_counted("closed_by_phone", 1)
            assert list(await server.devices()) == ["bruno"]
            await hang_up(first, listener)
